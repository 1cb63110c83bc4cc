"""Objects that are shaped like a call but for their keys: text to a parser, and yet meant as a call."""

from __future__ import annotations

import re
from collections.abc import Mapping
from typing import Any

from .call_keys import ALL_KEYS, ARGUMENT_KEYS, NAME_KEYS, OTHER_ARGUMENT_KEYS
from .model import Tool
from .near import is_slip, near_word
from .thoughts import split_thought

_ALONE = re.compile(r"\s*+\[?[*`]*+([\w.-]++)[*`]*+\([^\n]*\)[*`]*+\]?\s*+")
WRAPPERS = ("tool_calls", "function_call")
_IN_CALL = ("function", "name", "arguments", "parameters")
_NAME = ("name",)
# Words of their own that are like the keys of a call; beside a tool that is declared they are slips all the same.
_WORDS = {"argument", "parameter", "names", "named"}
_OTHER_WORDS = {"game", "fame", "same", "tame", "lame", "dame", "nape", "nave"}


def misspelt_key(
    members: Mapping[str, tuple[Any, int, int]], arguments: tuple[str, ...], declared: Mapping[str, Tool]
) -> tuple[str, int] | None:
    """Return what is wrong with the keys of an object that means a call, and where; None for any other object.

    Such an object names a declared tool and holds arguments for it, under keys that are those of a call but for slips.
    Where the tool is not declared, the keys alone must tell: a slip that is no word, beside the other key.

    Args:
        members: value, start and end by key; they are no call as they are written.
        arguments: the keys under which arguments stand.
        declared: the tools.
    """
    names = [key for key, (value, _, _) in members.items() if isinstance(value, str) and _like_name(key)]
    givens = [key for key, (value, _, _) in members.items() if _holds(value) and near_word(key, arguments)]
    for name in names:
        tool = declared.get(members[name][0])
        for given in givens:
            slips = [key for key in (name, given) if key not in (*_NAME, *arguments)]
            told = tool is not None or (isinstance(members[given][0], dict) and _WORDS.isdisjoint(slips))
            if slips and told:
                wanted = "name" if slips[0] == name else " or ".join(map('"{}"'.format, arguments)).strip('"')
                return f'the key "{slips[0]}" of a call must be "{wanted}"', members[slips[0]][1]
        if tool is not None and len(members) > 1 and members.keys() - {name} <= tool.parameters.keys():
            return 'the arguments of a call stand under "arguments" or "parameters", not beside its name', members[
                name
            ][1]
    return _under_another_name(members, arguments, declared)


def lone_call(text: str, declared: Mapping[str, Tool]) -> int | None:
    """Return where a text is nothing but a declared tool's name and something in parentheses; None elsewhere."""
    thought, said = split_thought(text) if declared else ("", "")
    alone = _ALONE.fullmatch(said)
    return len(thought) + alone.start(1) if alone is not None and alone[1] in declared else None


def misspelt_wrapper(members: Mapping[str, tuple[Any, int, int]]) -> tuple[str, int] | None:
    """Return what is wrong with the key under which calls stand, and where; None for any other object."""
    for key, (value, place, _) in members.items():
        wanted = near_word(key, WRAPPERS)
        first = value[0] if isinstance(value, list) and value else value
        if not isinstance(first, dict):
            continue
        if wanted not in (None, key) and not first.keys().isdisjoint(_IN_CALL):
            return f'the key "{key}" must be "{wanted}"', place
        if key == "tool_uses" and "recipient_name" in first:  # OpenAI's multi_tool_use.parallel
            return 'calls stand under "tool_calls", not "tool_uses"', place
    return None


def nested_call(members: Mapping[str, tuple[Any, int, int]], declared: Mapping[str, Tool]) -> tuple[str, int] | None:
    """Return what is wrong where an object holds calls of declared tools under keys of its own, and where.

    Such a call has no other keys than a call's, or nothing but its tool's name as key.
    """
    if not declared:
        return None
    for key, (value, place, _) in members.items():
        as_text = isinstance(value, str) and value.lstrip()[:1] == "{"
        if key in declared and len(members) == 1 and (as_text or stated_inside(value, declared[key])):
            return "the arguments of a call are an object under its name, and nothing else", place
        inside = [value]
        while inside:
            one = inside.pop()
            if isinstance(one, list):
                inside += one
            elif isinstance(one, dict):
                if _is_call(one, declared):
                    return f'calls stand alone or under "tool_calls", not under "{key}"', place
                inside += one.values()
    return None


def _is_call(value: Mapping[str, Any], declared: Mapping[str, Tool]) -> bool:
    if value and all(key in declared for key in value):
        return all(
            isinstance(given, dict) and bool(given) and given.keys() <= declared[key].parameters.keys()
            for key, given in value.items()
        )
    names = [value[key] for key in NAME_KEYS if isinstance(value.get(key), str)]
    given = [value[key] for key in (*ARGUMENT_KEYS, *OTHER_ARGUMENT_KEYS) if key in value and _holds(value[key])]
    known = any(name.removeprefix("functions.") in declared for name in names)
    return known and len(given) == 1 and value.keys() <= ALL_KEYS and not _is_schema(given[0])


def _is_schema(value: Any) -> bool:
    return isinstance(value, dict) and isinstance(value.get("properties"), dict)


def stated_inside(value: Any, tool: Tool) -> bool:
    """Tell whether a tool's arguments stand under one more key, which is none of its parameters."""
    if not isinstance(value, dict) or len(value) != 1:
        return False
    key, given = next(iter(value.items()))
    if key in tool.parameters or key not in (*ARGUMENT_KEYS, *OTHER_ARGUMENT_KEYS):
        return False
    return isinstance(given, dict) and given.keys() <= tool.parameters.keys()


def _under_another_name(
    members: Mapping[str, tuple[Any, int, int]], arguments: tuple[str, ...], declared: Mapping[str, Tool]
) -> tuple[str, int] | None:
    """Return what is wrong where nothing but a declared tool's name under any key and its arguments stand."""
    given = next((members[key][0] for key in arguments if key in members), None)
    if len(members) != 2 or not isinstance(given, dict):
        return None
    for key, (value, place, _) in members.items():
        tool = declared.get(value) if isinstance(value, str) else None
        if tool is not None and given.keys() <= tool.parameters.keys():
            return f'the name of a call stands under "name", not "{key}"', place
    return None


def _like_name(key: str) -> bool:
    return near_word(key, _NAME) is not None and key not in _OTHER_WORDS


def _holds(value: Any) -> bool:
    """Tell whether a value may be arguments: an object, its JSON text, or nothing."""
    return value is None or isinstance(value, dict) or (isinstance(value, str) and value.lstrip()[:1] in ("", "{"))


def begins_misspelt(key: str, known: tuple[str, ...]) -> bool:
    """Tell whether the first key of an object is one of a call's but for a slip."""
    return is_slip(key, known) and key not in _OTHER_WORDS
