r"""`name\n{...}`: ChatGLM-4 (TL-Training, Table 8), and the assistant's turns of TL-Training's released data.

A call is a line of one name, followed by a JSON object that is no call itself.
"""

from __future__ import annotations

import re

from llamafactory_ext.errors import CallParseError
from llamafactory_ext.toolcalls.call_keys import ARGUMENT_KEYS
from llamafactory_ext.toolcalls.cursor import Cursor
from llamafactory_ext.toolcalls.json_text import dump, read_json, read_object

from .form import Format, begins_with_a_tool

_WORD = r"[^\s\ufeff{}\"'`<>()\[\]|:,;!?]++"
_CALL = re.compile(rf"(?:^|(?<=[>\]▷]))[ \t\ufeff]*+({_WORD})[ \t\r]*+\n\s*+(?=\{{)", re.MULTILINE)
_NAME = re.compile(_WORD)
_OBJECT = re.compile(r"""\{\s*+["']?+(?:name|function|arguments|parameters|tool_calls|function_call)["']?+\s*+:""")
_BARE = {"name", "id", "type"}


def _read(cursor: Cursor, call: re.Match[str]) -> None:
    if cursor.others and call[1] not in cursor.declared and _is_call(cursor):
        return
    arguments, _, _ = read_json(cursor)
    cursor.add(call[1], arguments, call.start(1), call.span(1))


def _is_call(cursor: Cursor) -> bool:
    """Tell whether the object that stands here states a call by itself.

    A tool may have an argument called "name" too.
    """
    if _OBJECT.match(cursor.text, cursor.pos) is None:
        return False
    inner = Cursor(cursor.text, pos=cursor.pos)
    try:
        members = {key: value for key, (value, _, _) in read_object(inner).items()}
    except CallParseError:
        return False
    finally:
        cursor.steps += inner.steps
    if isinstance(members.get("function", members.get("function_call")), dict) or "tool_calls" in members:
        return True
    name = members.get("name")
    if any(key in members for key in ARGUMENT_KEYS):
        return isinstance(name, str)
    return name in cursor.declared and members.keys() <= _BARE


FORMAT = Format(
    name="glm4",
    example='get_weather\n{"city": "Paris"}',
    mark=_CALL,
    needs=("{",),
    read=_read,
    render=lambda calls: "\n".join(f"{call.name}\n{dump(call.arguments)}" for call in calls),
    can_name=lambda name: _NAME.fullmatch(name) is not None,
    marked=False,
    name_apart=True,
    meant=begins_with_a_tool,
)
