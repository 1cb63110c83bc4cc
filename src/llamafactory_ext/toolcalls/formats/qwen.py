r"""`<tool_call>\n{"name": ..., "arguments": {...}}\n</tool_call>`: Qwen 2.5 (TL-Training, Table 11).

A list of calls in one pair of tags is read as well, as some models write it.
"""

from __future__ import annotations

import re

from llamafactory_ext.toolcalls.call_objects import read_call_objects
from llamafactory_ext.toolcalls.cursor import Cursor

from .form import Format, any_name
from .json_object import write_object

_OPENING, _CLOSING = "<tool_call>", "</tool_call>"
_TAG = re.compile(re.escape(_OPENING))
# Not meant as a call: "<tool_call> and </tool_call>", as prose names the tags.
_CALL = re.compile(
    rf"{_OPENING}(?![ `'\"]++[^\W\d]++(?: [^\W\d]++)*+[ `'\"]++{_CLOSING})\s*+(?:[{{\[<]|\Z|[^<]*+{_CLOSING})"
)


def _read(cursor: Cursor, _: re.Match[str]) -> None:
    read_call_objects(cursor)
    if not cursor.take_text(_CLOSING) and cursor.peek():  # generation may have stopped at the mark
        cursor.fail(f"{_CLOSING} is expected after a call")


FORMAT = Format(
    name="qwen",
    example=f'{_OPENING}\n{{"name": "get_weather", "arguments": {{"city": "Paris"}}}}\n{_CLOSING}',
    mark=_TAG,
    needs=("<tool_call>",),
    read=_read,
    render=lambda calls: "\n".join(f"{_OPENING}\n{write_object(call)}\n{_CLOSING}" for call in calls),
    can_name=any_name,
    as_json=True,
    closing=_CLOSING,
    meant=lambda begun, _: _CALL.match(begun) is not None,  # the bare tag may stand in prose
)
