"""`llamafactory-ext infer`: batch inference, with LLaMA-Factory's templates where it is installed."""

from __future__ import annotations

from collections.abc import Callable
from importlib.util import find_spec
from typing import Any


def infer(*extra: object, **given: object) -> None:
    """Ask a model all questions; `--help` lists the options (see `InferOptions`).

    Args:
        extra: nothing; more words are an error.
        given: the options.

    Raises:
        ExtError: with what was kept and how to go on.
    """
    from ..serving.infer import prompts, run

    prompts.ELSEWHERE[:] = [_upstreams]
    run.infer(*extra, **given)


def _upstreams(name: str) -> Callable[[Any], Any] | None:
    """Look for a template of LLaMA-Factory's; it is imported only for a name that is none of ours."""
    if find_spec("llamafactory") is None:
        return None
    from ..upstream.pipeline.asking import upstream_template

    return upstream_template(name)
