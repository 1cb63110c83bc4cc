"""`Call: f(x=1); g(y=2)<bot_end>`: NexusRaven-V2, whose prompt is Table 7 of TL-Training.

The end marker may be missing: generation often stops at it.
"""

from __future__ import annotations

import re

from llamafactory_ext.toolcalls.cursor import Cursor
from llamafactory_ext.toolcalls.literals import NAME, read_call

from .form import Format, begins_with_a_tool
from .python import can_name, write_call

_CALL = re.compile(r"(?<!\w)Call:\s*+")
_END = "<bot_end>"
_MEANT = re.compile(rf"Call:\s*+{NAME}\(")


def _read(cursor: Cursor, _: re.Match[str]) -> None:
    read_call(cursor)
    while cursor.take_text(";") and not cursor.take_text(_END) and cursor.peek():
        read_call(cursor)
    cursor.take_text(_END)


FORMAT = Format(
    name="nexusraven",
    example="Call: get_weather(city='Paris')<bot_end>",
    mark=_CALL,
    needs=("Call:",),
    meant=lambda begun, declared: _MEANT.match(begun) is not None or begins_with_a_tool(begun, declared),
    read=_read,
    render=lambda calls: f"Call: {'; '.join(map(write_call, calls))}{_END}",
    can_name=can_name,
    between=re.compile(rf"(?:[\s,;]|{_END})*+"),
    closing=")",
)
