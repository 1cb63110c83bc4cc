r"""DeepSeek's calls between `<｜tool▁calls▁begin｜>` and `<｜tool▁calls▁end｜>`, in its chat templates.

vLLM's parsers `deepseek_v3` and `deepseek_v31` read them. V3 and R1:
`<｜tool▁call▁begin｜>function<｜tool▁sep｜>f\n```json\n{...}\n```<｜tool▁call▁end｜>`. V3.1 writes
`<｜tool▁call▁begin｜>f<｜tool▁sep｜>{...}<｜tool▁call▁end｜>`.
"""

from __future__ import annotations

import re
from collections.abc import Sequence

from ..cursor import Cursor
from ..json_text import dump
from ..model import ToolCall
from .form import Format
from .parts import read_named, separators, take_end

_ALL, _ALL_END = "<｜tool▁calls▁begin｜>", "<｜tool▁calls▁end｜>"
_ONE, _SEPARATOR, _ONE_END = "<｜tool▁call▁begin｜>", "<｜tool▁sep｜>", "<｜tool▁call▁end｜>"
_FENCE = "```"
_NAME = re.compile(r"[^\s<`{}]++")
# V3 has a type before the name, which a fence follows; a V3.1 tool may be named "function".
_TYPED = rf"(?:(function){_SEPARATOR}\s*+(?=[^\s{{])|[^\s<]*+<[^<>\s]*+>\s*+(?={_NAME.pattern}\s*+{_FENCE}))"
_NAME_V3 = re.compile(rf"({_NAME.pattern})\s*+{_FENCE}(?:json)?+")
_NAME_V31 = re.compile(rf"\s*+({_NAME.pattern})\s*+{_SEPARATOR}")
_BETWEEN = separators(_ALL, _ALL_END, _ONE_END)


def _read_v3(cursor: Cursor, mark: re.Match[str]) -> None:
    if mark[1] is None:
        cursor.fail(f"function{_SEPARATOR} and a tool's name are expected")
    name = cursor.take(_NAME_V3)
    if name is None:
        cursor.fail(f"a tool's name and {_FENCE}json are expected")
    read_named(cursor, name[1], name.start(1), _FENCE)
    take_end(cursor, _FENCE, "the arguments")
    take_end(cursor, _ONE_END)


def _read_v31(cursor: Cursor, _: re.Match[str]) -> None:
    name = cursor.take(_NAME_V31)
    if name is None:
        cursor.fail(f"a tool's name and {_SEPARATOR} are expected")
    read_named(cursor, name[1], name.start(1), _ONE_END)
    take_end(cursor, _ONE_END)


def _render_v3(calls: Sequence[ToolCall]) -> str:
    written = (
        f"{_ONE}function{_SEPARATOR}{call.name}\n{_FENCE}json\n{dump(call.arguments)}\n{_FENCE}{_ONE_END}"
        for call in calls
    )
    return _ALL + "\n".join(written) + _ALL_END


def _render_v31(calls: Sequence[ToolCall]) -> str:
    written = (f"{_ONE}{call.name}{_SEPARATOR}{dump(call.arguments)}{_ONE_END}" for call in calls)
    return _ALL + "".join(written) + _ALL_END


def _can_name(name: str) -> bool:
    return _NAME.fullmatch(name) is not None


V3 = Format(
    name="deepseek_v3",
    example=(
        f'{_ALL}{_ONE}function{_SEPARATOR}get_weather\n{_FENCE}json\n{{"city": "Paris"}}\n{_FENCE}{_ONE_END}{_ALL_END}'
    ),
    mark=re.compile(rf"(?:{_ALL}\s*+)?+{_ONE}\s*+{_TYPED}"),
    needs=("<｜tool▁call▁begin｜>",),
    read=_read_v3,
    render=_render_v3,
    can_name=_can_name,
    between=_BETWEEN,
    closing=_ALL_END,
)
V31 = Format(
    name="deepseek_v31",
    example=f'{_ALL}{_ONE}get_weather{_SEPARATOR}{{"city": "Paris"}}{_ONE_END}{_ALL_END}',
    mark=re.compile(rf"(?:{_ALL}\s*+)?+{_ONE}(?!\s*+{_TYPED})"),
    needs=("<｜tool▁call▁begin｜>",),
    read=_read_v31,
    render=_render_v31,
    can_name=_can_name,
    between=_BETWEEN,
    closing=_ALL_END,
)
