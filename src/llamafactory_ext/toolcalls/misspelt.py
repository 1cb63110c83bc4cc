"""Objects that are shaped like a call but for their keys: text to a parser, and yet meant as a call."""

from __future__ import annotations

import re
from collections.abc import Collection, Mapping
from functools import lru_cache
from typing import Any

from .model import Tool
from .near import is_slip, near_word
from .thoughts import split_thought

_ALONE = re.compile(r"\s*+\[?([\w.-]++)\([^\n]*\)\]?\s*+")
_NEAR = 120  # characters before an object in which its tool may be named
_LABEL = (
    r"(?i:(?:tool|function|action|api|call|name|args|arguments|parameters|input)(?:[ _](?:name|call|input|args))?)"
)
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


def named_before(text: str, start: int, keys: Collection[str], declared: Mapping[str, Tool]) -> str | None:
    """Return the declared tool whose arguments an object is, if its name stands before it, alone or with a label.

    Args:
        text: all of it.
        start: where the object begins.
        keys: of the object.
        declared: the tools.
    """
    near = max(start - _NEAR, 0)
    for name, tool in declared.items():
        if not keys or not set(tool.required) <= set(keys) <= tool.parameters.keys():
            continue
        if text.find(name, near, start) >= 0 and _named(name).search(text, near, start):
            return name
    return None


@lru_cache(maxsize=512)
def _named(name: str) -> re.Pattern[str]:
    return re.compile(
        rf"(?m:^)\W*+(?:\d{{1,2}}[.)]\s*)?(?:{_LABEL}\W*)?{re.escape(name)}\W*(?:{_LABEL}\W*)?(?:```\w*\s*)?\Z"
    )


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


def _under_another_name(
    members: Mapping[str, tuple[Any, int, int]], arguments: tuple[str, ...], declared: Mapping[str, Tool]
) -> tuple[str, int] | None:
    """What is wrong where nothing but a declared tool's name under any key and its arguments stand."""
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
    """Whether a value may be arguments: an object, its JSON text, or nothing."""
    return value is None or isinstance(value, dict) or (isinstance(value, str) and value.lstrip()[:1] in ("", "{"))


def begins_misspelt(key: str, known: tuple[str, ...]) -> bool:
    """Whether the first key of an object is one of a call's but for a slip."""
    return is_slip(key, known) and key not in _OTHER_WORDS
