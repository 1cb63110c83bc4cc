"""`<|channel|>commentary to=functions.f <|constrain|>json<|message|>{...}<|call|>`: gpt-oss.

As in OpenAI's Harmony guide and vLLM's parser `openai`. The recipient may stand in the header of the role as well:
`<|start|>assistant to=functions.f<|channel|>commentary <|constrain|>json<|message|>{...}<|call|>`. A recipient without
`functions.` is a tool too, as the model's own (`browser.search`) are; one with a slip in `functions.` is an error.
What a prompt may have ended with, `<|start|>assistant` or `<|channel|>` as well, may be missing. Without any mark, as
decoders leave it, it is an error.
"""

from __future__ import annotations

import re
from collections.abc import Sequence

from ..cursor import Cursor
from ..json_text import dump
from ..model import ToolCall
from .form import Format
from .parts import read_named, refuse_prefix, separators, stops

_START, _CHANNEL, _MESSAGE, _CALL = "<|start|>assistant", "<|channel|>", "<|message|>", "<|call|>"
_NAME = re.compile(r"[^\s<=]++")
_ROLE = r"(?:assistant|user|system|developer)(?:[\s<=]|\Z)"
_RECIPIENT = rf"to=(?:functions\.|(?!{_ROLE}))({_NAME.pattern})"
_NEXT = r"(?=\s*+(?:<\|constrain\|>|(?:\w++\s*+)?+<\|message\|>|(?:json|code)?+\s*+\{))"
_MARK = re.compile(
    rf"(?:{re.escape(_START)}\s*+)?+"
    rf"(?:{re.escape(_CHANNEL)}[a-z]++\s++{_RECIPIENT}|{_RECIPIENT}(?=\s*+{re.escape(_CHANNEL)})"
    rf"|(?<![a-z])(?:assistant)?(?:commentary|analysis)\s++{_RECIPIENT}{_NEXT})"
)
_HEADER = re.compile(
    rf"\s*+(?:{re.escape(_CHANNEL)}[a-z]++\s*+)?+(?:<\|constrain\|>\s*+)?+(?:\w++\s*+)?+{re.escape(_MESSAGE)}"
)
_END = re.compile(r"\s*+<\|(?:call|end|return)\|>")


def _read(cursor: Cursor, mark: re.Match[str]) -> None:
    if cursor.take(_HEADER) is None:
        cursor.fail(f"{_MESSAGE} is expected after a call's recipient")
    group = next(number for number in (1, 2, 3) if mark[number])
    refuse_prefix(cursor, mark[group], mark.start(group))
    read_named(cursor, mark[group], mark.start(group), _CALL)
    if cursor.take(_END) is None and not stops(cursor):
        cursor.fail(f"{_CALL} is expected after a call")


def _render(calls: Sequence[ToolCall]) -> str:
    return _START.join(
        f"{_CHANNEL}commentary to=functions.{call.name} <|constrain|>json{_MESSAGE}{dump(call.arguments)}{_CALL}"
        for call in calls
    )


FORMAT = Format(
    name="harmony",
    example=f'{_CHANNEL}commentary to=functions.get_weather <|constrain|>json{_MESSAGE}{{"city": "Paris"}}{_CALL}',
    mark=_MARK,
    needs=("to=",),
    read=_read,
    render=_render,
    can_name=lambda name: _NAME.fullmatch(name) is not None,
    between=separators(_CALL, "<|end|>", _START),
    closing=_CALL,
)
