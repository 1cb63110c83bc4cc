"""`[Name(key='value')]`, mostly after `API-Request: ` (API-Bank, Li et al. 2023).

Several calls stand in one bracket, as in the published level-3 data. That data also has values without quotes
(`location=New York`): such a value is a text up to the next comma.
"""

from __future__ import annotations

import re

from llamafactory_ext.toolcalls.cursor import Cursor
from llamafactory_ext.toolcalls.literals import NAME, peek, read_call, take_text

from .form import Format, begins_with_a_tool
from .python import can_name, write_call

LABEL = "API-Request:"
_REQUEST = re.compile(rf"(?:{LABEL}\s*+)?\[\s*+(?={NAME}\()")


def _read(cursor: Cursor, _: re.Match[str]) -> None:
    read_call(cursor, bare_values=True)
    while take_text(cursor, ","):
        peek(cursor)
        read_call(cursor, bare_values=True)
    if not take_text(cursor, "]"):
        cursor.fail("a closing bracket is expected after a request")


FORMAT = Format(
    name="api_bank",
    example="[GetWeather(city='Paris')]",
    mark=_REQUEST,
    needs=("[",),
    read=_read,
    render=lambda calls: f"[{', '.join(map(write_call, calls))}]",
    can_name=can_name,
    between=re.compile(rf"(?:[\s,;]|{LABEL})*+"),
    closing="]",
    marked=False,
    is_code=True,
    meant=lambda begun, declared: begun.startswith(LABEL) or begins_with_a_tool(begun, declared),
    mark_with=lambda names: re.compile(rf"(?:{LABEL}\s*+)?\[\s*+(?=(?:{names}|{NAME})\()"),
)
