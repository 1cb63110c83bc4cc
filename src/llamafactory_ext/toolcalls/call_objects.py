"""The JSON objects of calls, `{"name": ..., "arguments": ...}` and their kin."""

from __future__ import annotations

import re
from collections.abc import Mapping
from typing import Any, NamedTuple

from ..errors import CallParseError
from .call_keys import ARGUMENT_KEYS, HARMLESS, NAME_KEYS, OTHER_ARGUMENT_KEYS, OTHER_NAME_KEYS
from .cursor import Cursor
from .json_text import BARE_KEY, Members, decode, peek, read_json, read_object
from .meant import named_before
from .misspelt import begins_misspelt, misspelt_key, misspelt_wrapper, nested_call, stated_inside
from .model import Tool
from .values import Json

_QUOTES = "\"'“”„‘’"  # typographic ones are refused, but tell that a call was meant
_FIRST_KEYS = "|".join((*NAME_KEYS, "id", "type", "tool_calls", "function_call", *ARGUMENT_KEYS))
# A JSON object, or a list of them, in which calls may stand; code and prose have other words behind a brace.
OBJECT_AHEAD = re.compile(rf"(?:\[\s*+)?(?=\{{\s*+(?:[{_QUOTES}]|(?:{_FIRST_KEYS})\s*+:))")
# A colon that is left out tells a call too, where quotes on both sides show that a key and its value stand there.
_COLON = rf"(?:[{_QUOTES}]?+\s*+[:：]|[{_QUOTES}]\s*+(?=[{_QUOTES}]))"
_CALL = re.compile(rf"(?:\[\s*+)?\{{\s*+[{_QUOTES}]?+(?:{_FIRST_KEYS}){_COLON}")
_KEYED = re.compile(rf"(?:\[\s*+)?\{{\s*+[{_QUOTES}]?+(\w++){_COLON}")
_BARE = re.compile(r"(?:\[\s*+)?\{\s*+\w")
_NAMED = re.compile(
    rf"[{_QUOTES}{{,\s](?:{'|'.join(NAME_KEYS)}){_COLON}\s*+"
    rf"(?:[{_QUOTES}]([^\\{_QUOTES}]*+)[{_QUOTES}]|([\w.-]++))"
)
_MOST_CODINGS = 3  # how often arguments may be written as JSON text within JSON text
_PLAIN_CALL = re.compile(r'\{\s*+"name"\s*+:\s*+"([^"\\]++)"\s*+,')


def begun_call(begun: str, declared: Mapping[str, Tool]) -> bool:
    """Tell whether a malformed object begins like a call, of a declared tool if there are any."""
    if _CALL.match(begun) is None:
        keyed = _KEYED.match(begun)
        if keyed is not None and begins_misspelt(keyed[1], ("name", *ARGUMENT_KEYS)):
            return any(f'"{name}"' in begun or f"'{name}'" in begun for name in declared)
        return any(re.match(rf"(?:\[\s*+)?\{{\s*+[{_QUOTES}]{re.escape(name)}[{_QUOTES}]", begun) for name in declared)
    names = {found[1] or found[2] for found in _NAMED.finditer(begun)}
    if not declared:
        return bool(names) and any(f'"{key}"' in begun or f"'{key}'" in begun for key in ARGUMENT_KEYS)
    if names.isdisjoint(declared):
        return False
    return _BARE.match(begun) is None or any(key in begun for key in ARGUMENT_KEYS)


def read_call_objects(cursor: Cursor) -> None:
    """Read the object of one call, or a list of them, and add all to the cursor's calls."""
    if not cursor.take_text("["):
        read_call_object(cursor)
        return
    read_call_object(cursor)
    while cursor.take_text(","):
        read_call_object(cursor)
    if not cursor.take_text("]"):
        cursor.fail("a comma or the closing bracket is expected after a call")


def read_call_object(cursor: Cursor, *, optional: bool = False) -> bool:
    """Read the object of one call and add it to the cursor's calls.

    `{"name": ..., "arguments": ...}` or `"parameters"`, also inside `{"type": "function", "function": {...}}`;
    arguments may be an object or, as in OpenAI's messages, its JSON text. Nothing, null and an empty text stand for no
    arguments. Other members, such as an "id", are passed over. `{"f": {...}}` is a call of f where f is declared.

    Args:
        cursor: stands at the object.
        optional: whether an object that lacks a name or arguments is passed over instead of refused. Without
            arguments it is a call then if its name is a declared tool's, or if it holds nothing but a name.

    Returns:
        Whether the object was a call.
    """
    cursor.skip_blanks()
    start = cursor.pos
    if _read_plain_call(cursor):
        return True
    members = read_object(cursor)
    if _is_named_by_key(cursor, members, optional=optional):
        read_named_members(cursor, start)
        return True
    if isinstance(members.get("function", ("",))[0], dict):
        inner = Cursor(cursor.text, pos=members["function"][1])
        outer, members = members, read_object(inner)
        _refuse_beside(cursor, outer, members)
        cursor.steps += inner.steps
        cursor.note_repeated(inner.repeated)
    arguments = next((members[key] for key in ARGUMENT_KEYS if key in members), None)
    name, name_start, name_end = members.get("name", (None, 0, 0))
    if arguments is not None and _is_definition(members, arguments[0]):
        arguments = None
        if optional:
            return False
    named = isinstance(name, str)
    if not named:
        _refuse_odd_name(cursor, members)
        _refuse_other_name(cursor, members)
    if optional and not (named and (arguments is not None or _is_bare(cursor, name, members))):
        refuse_misspelt(cursor, members)
        tool = named_before(cursor.text, start, members.keys(), cursor.declared)
        if tool is not None:
            cursor.meant = True
            cursor.fail(f"the arguments of {tool!a} stand here, but no call of any format", start)
        return False
    if not named:
        cursor.fail('the object of a call needs "name" (a text) and "arguments" or "parameters"', start)
    _refuse_lost(cursor, members)
    given = {} if arguments is None else read_arguments(cursor, *arguments[:2])
    cursor.add(name, given, start, (name_start + 1, name_end - 1))
    return True


def _refuse_beside(cursor: Cursor, outer: Members, inner: Members) -> None:
    """Fail if arguments stand beside "function", where nobody would read them."""
    if not isinstance(inner.get("name", (None,))[0], str):
        return
    for key in (*ARGUMENT_KEYS, *OTHER_ARGUMENT_KEYS):
        if outer.get(key, (None,))[0] not in (None, {}, ""):
            cursor.meant = True
            cursor.fail(
                f'the arguments of a call stand inside "function", but "{key}" stands beside it', outer[key][1]
            )


def refuse_misspelt(cursor: Cursor, members: Members, *, itself: bool = True) -> None:
    """Fail if an object that is no call means one by its keys: that it holds calls, or that it is one `itself`."""
    wrong = misspelt_wrapper(members)
    if wrong is None and itself:
        wrong = misspelt_key(members, ARGUMENT_KEYS, cursor.declared) or nested_call(members, cursor.declared)
    if wrong is not None:
        cursor.meant = True
        cursor.fail(*wrong)


def _refuse_lost(cursor: Cursor, members: Members) -> None:
    """Fail if a call has arguments that nobody would read: under another key, or under both keys."""
    given = [key for key in ARGUMENT_KEYS if key in members]
    if len(given) > 1 and members[given[1]][0] not in (members[given[0]][0], None, {}, ""):
        cursor.fail('a call has either "arguments" or "parameters", not both', members[given[1]][1])
    if given:
        return
    for key, (value, place, _) in members.items():
        if key not in HARMLESS and value not in (None, {}, ""):
            cursor.fail(f'the arguments of a call stand under "arguments" or "parameters", not "{key}"', place)


class PlainCall(NamedTuple):
    """A call of a text, its end, where its name stands, and how many members its object has."""

    name: str
    arguments: dict[str, Json]
    end: int
    span: tuple[int, int]
    members: int


def plain_call(text: str, pos: int) -> PlainCall | None:
    """Return the call at `pos` if it begins with its name, has an object of arguments and is proper JSON, as most."""
    opening = _PLAIN_CALL.match(text, pos)
    if opening is None:
        return None
    try:
        value, end, repeated = decode(text, pos)
    except (ValueError, RecursionError):
        return None
    if repeated is not None:
        return None
    arguments = next((value[key] for key in ARGUMENT_KEYS if key in value), None)
    if value["name"] != opening[1] or not isinstance(arguments, dict) or "function" in value:
        return None
    if _is_definition(value, arguments) or all(key in value for key in ARGUMENT_KEYS):
        return None
    return PlainCall(opening[1], arguments, end, opening.span(1), len(value))


def _read_plain_call(cursor: Cursor) -> bool:
    start = cursor.pos
    found = plain_call(cursor.text, start)
    if found is None:
        return False
    cursor.jump(found.end)
    cursor.add(found.name, found.arguments, start, found.span)
    return True


def _is_bare(cursor: Cursor, name: str, members: Members) -> bool:
    """Tell whether an object without arguments is a call; it fails if a declared tool's stand under another name."""
    if members.keys() <= {"name", "id", "type"}:
        return not cursor.declared or name in cursor.declared
    other = next((key for key in members if key in OTHER_ARGUMENT_KEYS), None)
    if name in cursor.declared and other is not None:
        cursor.fail(
            f'the arguments of a call stand under "arguments" or "parameters", not "{other}"', members[other][1]
        )
    return False


def _is_named_by_key(cursor: Cursor, members: Members, *, optional: bool) -> bool:
    """Tell whether an object's keys are names of declared tools, and its values their arguments.

    Where other objects may stand too, the values must be objects of nothing but declared parameters.
    """
    tools = cursor.declared
    if not members or not tools or not all(name in tools for name in members):
        return False
    values = {name: value for name, (value, _, _) in members.items()}
    if not optional:
        return all(
            value is None or (isinstance(value, dict | str) and not stated_inside(value, tools[name]))
            for name, value in values.items()
        )
    return all(
        isinstance(value, dict) and value.keys() <= tools[name].parameters.keys() for name, value in values.items()
    )


def read_named_members(cursor: Cursor, start: int) -> None:
    """Read calls from an object whose keys are their names; the cursor stands behind it already."""
    inner = Cursor(cursor.text, cursor.declared, start)
    inner.calls = cursor.calls
    inner.take_text("{")
    while peek(inner) != "}":
        quoted = peek(inner) in ('"', "'")
        begin = inner.pos
        bare = inner.take(BARE_KEY)
        name = bare[1] if bare is not None else read_json(inner)[0]
        span = (begin + quoted, inner.pos - quoted)
        peek(inner)
        inner.take_text(":")
        peek(inner)
        value, place, _ = read_json(inner)
        inner.add(name, read_arguments(inner, value, place), begin, span)
        peek(inner)
        inner.take_text(",")
    cursor.steps += inner.steps
    cursor.note_repeated(inner.repeated)


def _refuse_odd_name(cursor: Cursor, members: Members) -> None:
    """Fail if a name that is no text, such as 3 or a list, stands beside arguments and nothing else."""
    name, place, _ = members.get("name", (None, 0, 0))
    if name is None or isinstance(name, dict) or members.keys() - HARMLESS != {"arguments"}:
        return
    if isinstance(members["arguments"][0], dict | str):
        cursor.meant = True
        cursor.fail('the "name" of a call must be a text', place)


def _refuse_other_name(cursor: Cursor, members: Members) -> None:
    """Fail if a declared tool's name stands under another key than "name", beside arguments."""
    stated = {key: members[key][0] for key in OTHER_NAME_KEYS if isinstance(members.get(key, (None,))[0], str)}
    declared = cursor.declared
    other = next(
        (key for key, name in stated.items() if {name, name.removeprefix("functions.")} & declared.keys()), None
    )
    given = [members[key][0] for key in (*ARGUMENT_KEYS, *OTHER_ARGUMENT_KEYS) if key in members]
    if other is not None and any(value is None or isinstance(value, dict | str) for value in given):
        cursor.meant = True
        cursor.fail(f'the name of a call stands under "name", not "{other}"', members[other][1])


def _is_definition(members: Mapping[str, Any], arguments: Any) -> bool:
    """Tell whether an object describes a tool: its parameters are a JSON Schema."""
    return (
        "arguments" not in members
        and isinstance(arguments, dict)
        and arguments.get("type") == "object"
        and isinstance(arguments.get("properties"), dict)
    )


def read_arguments(cursor: Cursor, value: Any, start: int) -> dict[str, Json]:
    """Return a call's arguments, of which `value` is an object, its JSON text, nothing, or null."""
    for _ in range(_MOST_CODINGS):
        if not isinstance(value, str):
            break
        if not value.strip():
            return {}
        inner = Cursor(value.strip())
        try:
            value, _, end = read_json(inner)
        except CallParseError:
            cursor.fail("the arguments are a text that is no JSON", start)
        if end < len(inner.text):
            cursor.fail("the arguments are a text that is no JSON", start)
        cursor.note_repeated(inner.repeated)
    if value is None:
        return {}
    if not isinstance(value, dict):
        cursor.fail("the arguments are no JSON object", start)
    return value
