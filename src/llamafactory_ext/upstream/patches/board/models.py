"""Loading and exporting models from LLaMA Board: no remote code unasked, and our errors as one message."""

from __future__ import annotations

import functools
import json
from collections.abc import Callable, Iterator
from typing import Any

from ....errors import ExtError

Function = Callable[..., Any]
TRUST = "trust_remote_code"


def extend_chatter(base: type) -> type:
    """Return the class that replaces upstream's WebChatModel, which trusts remote code whatever was asked."""
    import gradio as gr

    from ...pipeline.trained_with import template_remark

    class WebChatModel(base):  # type: ignore[misc, valid-type]
        def load_model(self, data: dict[Any, Any]) -> Iterator[str]:
            asked = data[self.manager.get_elem_by_id(f"top.{TRUST}")]
            extra = self.manager.get_elem_by_id("infer.extra_args")
            if remark := self._template_remark(data):
                gr.Warning(remark)
            yield from told(super().load_model({**data, extra: with_trust(data[extra], bool(asked))}))

        def _template_remark(self, data: dict[Any, Any]) -> str | None:
            from llamafactory.webui.common import get_save_dir

            names = ("template", "checkpoint_path", "model_path", "model_name", "finetuning_type")
            elements = (self.manager.get_elem_by_id(f"top.{name}") for name in names)
            template, chosen, path, model, method = (data.get(element) for element in elements)
            chosen = [chosen] if isinstance(chosen, str) and chosen else chosen or []
            return template_remark([get_save_dir(model, method, name) for name in chosen] or path, template)

    WebChatModel.__module__, WebChatModel.__qualname__ = base.__module__, base.__qualname__
    return WebChatModel


def wrap_save_model(original: Function) -> Function:
    """Wrap `save_model` of the export tab; its last argument is the text of the extra arguments."""

    @functools.wraps(original)
    def save_model(*values: Any) -> Iterator[str]:
        *others, extra_args = values
        yield from told(original(*others, with_trust(extra_args, False)))

    return save_model


def with_trust(extra_args: str, asked: bool) -> str:
    """Return the extra arguments, saying whether remote code is trusted if they do not.

    Unreadable ones stay as they are.
    """
    try:
        extra = json.loads(extra_args)
    except ValueError:
        return extra_args
    return json.dumps({TRUST: asked} | extra) if isinstance(extra, dict) else extra_args


def told(steps: Iterator[str]) -> Iterator[str]:
    """Return the steps; an error of ours is the last of them and a warning on the page."""
    import gradio as gr

    try:
        yield from steps
    except ExtError as error:
        gr.Warning(error.message)
        yield error.message
