"""Messages of a dialogue, and what data records write into a message that holds calls."""

from __future__ import annotations

from collections.abc import Sequence
from dataclasses import dataclass
from typing import Literal

from ..errors import CallParseError, DataError
from ..toolcalls import ToolCall, detect_turn

Role = Literal["user", "assistant", "function", "observation"]
# LLaMA-Factory puts this between the results of several calls that one message holds.
RESULT_SEPARATOR = "\n</tool_response>\n<tool_response>\n"
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
    """A reply that calls tools: the thought before the calls, which may be empty, and the calls.

    Attributes:
        as_code: whether the calls are Python's, without marks.
        behind: the part of the thought that stands behind the calls.
        repeated: a key that an object of the calls has twice, of which the last value was read.
    """

    thought: str
    calls: tuple[ToolCall, ...]
    repeated: str | None = None
    behind: str = ""
    as_code: bool = False


def read_calls(content: str) -> CallTurn | None:
    """Return the thought and the calls of a `function` message as data records write them; None for another text.

    Records hold calls in any format that `toolcalls.detect` reads, mostly as JSON; other text around them is taken for
    the thought.
    """
    try:
        found = detect_turn(content)
    except CallParseError:
        return None
    if not found.calls:
        return None
    around = (content[: found.start].strip(), content[found.end :].strip())
    return CallTurn(
        "\n".join(part for part in around if part),
        tuple(one.call for one in found.calls),
        found.repeated,
        around[1],
        found.format is not None and found.format.is_code,
    )


def unreadable_calls(content: str, style: str) -> DataError:
    """Return the error for a `function` message that holds no calls in any way we know."""
    shown = content if len(content) <= _SHOWN else content[:_SHOWN] + " ..."
    return DataError(
        f'A function_call message holds no calls: {shown!r}; write JSON with "name" and "arguments" there, a list of '
        f"such objects for several calls, or calls in the format of {style}; a thought may stand on lines before them"
    )


def results(content: str) -> Sequence[str]:
    """Return the results that an `observation` message holds."""
    return content.split(RESULT_SEPARATOR)
