"""Messages of a dialogue, and what data records write into a message that holds calls."""

from __future__ import annotations

import json
import re
from collections.abc import Sequence
from dataclasses import dataclass
from typing import Any, Literal

from ..errors import DataError
from ..toolcalls import ToolCall

Role = Literal["user", "assistant", "function", "observation"]
# LLaMA-Factory puts this between the results of several calls that one message holds.
RESULT_SEPARATOR = "\n</tool_response>\n<tool_response>\n"
_TAGGED = re.compile(r"<tool_call>(.*?)</tool_call>", re.DOTALL)
_SHOWN = 120


@dataclass(frozen=True)
class Message:
    """One turn of a dialogue, with LLaMA-Factory's role names.

    Attributes:
        role: `function` is a reply that calls tools, `observation` what they returned.
        content: the text; of a `function` message see `read_calls`.
    """

    role: Role
    content: str

    @property
    def by_model(self) -> bool:
        """Whether the model writes this turn."""
        return self.role in ("assistant", "function")


@dataclass(frozen=True)
class CallTurn:
    """A reply that calls tools: the thought before the calls, which may be empty, and the calls."""

    thought: str
    calls: tuple[ToolCall, ...]


def read_calls(content: str) -> CallTurn | None:
    """The thought and the calls of a `function` message as data records write them; None for another text.

    Records hold one call as JSON (`{"name": ..., "arguments": {...}}`) or several as a list of such objects; a thought
    may stand before it, on lines of its own, or the calls stand in `<tool_call>` tags among other text.
    """
    tagged = _TAGGED.findall(content)
    if tagged:
        blocks = [_calls(text) for text in tagged]
        if all(blocks):
            return CallTurn(_TAGGED.sub("", content).strip(), tuple(call for block in blocks for call in block))
        return None
    start = 0
    while start >= 0:  # the JSON begins on a line of its own and runs to the end
        if content[start : start + 1] in ("{", "["):
            calls = _calls(content[start:])
            if calls:
                return CallTurn(content[:start].strip(), calls)
        start = content.find("\n", start) + 1 or -1
    return None


def unreadable_calls(content: str, style: str) -> DataError:
    """The error for a `function` message that holds no calls in any way we know."""
    shown = content if len(content) <= _SHOWN else content[:_SHOWN] + " ..."
    return DataError(
        f'A function_call message holds no calls: {shown!r}; write JSON with "name" and "arguments" there, a list of '
        f"such objects for several calls, or calls in the format of {style}; a thought may stand on lines before them"
    )


def results(content: str) -> Sequence[str]:
    """The results that an `observation` message holds."""
    return content.split(RESULT_SEPARATOR)


def _calls(text: str) -> tuple[ToolCall, ...]:
    try:
        value: Any = json.loads(text)
    except (ValueError, RecursionError):
        return ()
    objects = value if isinstance(value, list) else [value]
    calls = [_call(item) for item in objects]
    return tuple(call for call in calls if call is not None) if all(calls) else ()


def _call(item: Any) -> ToolCall | None:
    if not isinstance(item, dict) or not isinstance(item.get("name"), str):
        return None
    arguments = item.get("arguments", item.get("parameters"))
    if isinstance(arguments, str):  # as in OpenAI's messages
        try:
            arguments = json.loads(arguments)
        except (ValueError, RecursionError):
            return None
    try:
        return ToolCall(item["name"], arguments) if isinstance(arguments, dict) else None
    except DataError:  # no name, or values that are no JSON
        return None
