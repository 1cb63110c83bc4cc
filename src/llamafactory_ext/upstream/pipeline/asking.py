"""Prompts by a template of LLaMA-Factory's own, for models that are asked: the tokens that training wrote."""

from __future__ import annotations

import json
from collections.abc import Callable, Mapping, Sequence
from typing import Any

from llamafactory.data import get_template_and_fix_tokenizer
from llamafactory.data.template import TEMPLATES
from llamafactory.hparams import DataArguments

from ...errors import CallParseError, DataError
from ...toolcalls import detect_turn


class UpstreamWriter:
    """One template and the tokenizer, with the tokens that the template gives it.

    Args:
        name: of the template.
        tokenizer: of the model.
    """

    def __init__(self, name: str, tokenizer: Any) -> None:
        self._name, self._tokenizer = name, tokenizer
        self._template = get_template_and_fix_tokenizer(tokenizer, DataArguments(template=name))
        self.stop_ids: Sequence[int] = [
            token for token in self._template.get_stop_token_ids(tokenizer) if token is not None
        ]

    def prompt_ids(
        self, messages: Sequence[Mapping[str, str]], system: str, tools: Sequence[Mapping[str, Any]]
    ) -> list[int]:
        """Return the tokens before the next reply, as `encode_multiturn` has them in training.

        Args:
            messages: with LLaMA-Factory's roles, from a user's turn to one of the user or of a tool.
            system: the system text, if any.
            tools: bare function objects.

        Raises:
            DataError: the template cannot write them.
        """
        turns = [{"role": message["role"], "content": _content(message)} for message in messages]
        turns.append({"role": "assistant", "content": ""})
        listed = json.dumps(list(tools), ensure_ascii=False) if tools else ""
        try:
            pairs = self._template.encode_multiturn(self._tokenizer, turns, system or None, listed or None)
        except (RuntimeError, ValueError, NotImplementedError) as error:
            raise DataError(f"the template {self._name} cannot write it ({error})") from error
        ids = [token for pair in pairs for part in pair for token in part]
        if None in ids:
            raise DataError(f"the tokenizer lacks a special token of the template {self._name}; name the model's own")
        return ids[: len(ids) - len(pairs[-1][1])]


def upstream_template(name: str) -> Callable[[Any], UpstreamWriter] | None:
    """Return what makes a writer for a tokenizer; None where LLaMA-Factory has no template of this name."""
    if name not in TEMPLATES:
        return None
    return lambda tokenizer: UpstreamWriter(name, tokenizer)


def _content(message: Mapping[str, str]) -> str:
    """Return the content of a turn; calls in another form than JSON as JSON, which is what upstream's writers take."""
    content = message["content"]
    if message["role"] != "function":
        return content
    try:
        turn = detect_turn(content)
    except CallParseError:
        return content
    if turn.format is None or turn.format.as_json:
        return content
    calls = [{"name": found.call.name, "arguments": dict(found.call.arguments)} for found in turn.calls]
    return content[: turn.start] + json.dumps(calls[0] if len(calls) == 1 else calls, ensure_ascii=False)
