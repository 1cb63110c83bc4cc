r"""`name\n{...}`: ChatGLM-4 (TL-Training, Table 8), and the assistant's turns of TL-Training's released data.

A call is a line of one word, followed by a JSON object.
"""

from __future__ import annotations

import re

from llamafactory_ext.toolcalls.cursor import Cursor
from llamafactory_ext.toolcalls.json_text import dump, read_json

from .form import Format

_WORD = r'[^\s{}"]++'
_CALL = re.compile(rf"^[ \t]*+({_WORD})[ \t\r]*+\n\s*+(?=\{{)", re.MULTILINE)
_NAME = re.compile(_WORD)


def _read(cursor: Cursor, call: re.Match[str]) -> None:
    arguments, _, _ = read_json(cursor)
    cursor.add(call[1], arguments, call.start(1), call.span(1))


FORMAT = Format(
    name="glm4",
    example='get_weather\n{"city": "Paris"}',
    mark=_CALL,
    read=_read,
    render=lambda calls: "\n".join(f"{call.name}\n{dump(call.arguments)}" for call in calls),
    can_name=lambda name: _NAME.fullmatch(name) is not None,
    marked=False,
)
