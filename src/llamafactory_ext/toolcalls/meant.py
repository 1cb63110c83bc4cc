"""Texts that no format reads, and that mean a call all the same: XML, YAML and labelled lines.

One rule holds for all of them. A declared tool is named, its parameters stand with the name, every required one among
them, and nothing else does. Such a text is a malformed call. Prose, other keys and undeclared tools are text.
"""

from __future__ import annotations

import re
from collections.abc import Collection, Mapping
from functools import lru_cache
from itertools import islice

from ..errors import CallParseError
from .cursor import Cursor
from .json_text import read_object
from .model import Tool
from .thoughts import LONE_END, closes, split_thought

_LONGEST = 4_000  # characters of an element, and of a text of lines
_MOST_ELEMENTS = 50
_STEPS = 40  # per character of a text, as objects that are never closed are read to its end
_NEAR = 120  # characters before an object in which its tool may be named
_LABEL = (
    r"(?i:(?:tool|function|action|api|call|name|args|arguments|parameters|input)(?:[ _](?:name|call|input|args))?)"
)
_WORDS = r"[^\W\d_]++(?:[ _]{1,2}[^\W\d_]++){0,4}"  # a label in any language
_BEFORE = rf"(?:\d{{1,2}}[.)]\s*)?(?:{_LABEL}\W*|{_WORDS}\s*[:：]\W*)?"
_FENCE = r"(?:```\w*\s*)?"
_OBJECT = re.compile(r"\{(?=\s*[\"'\w}])")
_FENCE_LINE = re.compile(r"[ \t]*```\w*[ \t]*")
_CALLING = re.compile(r"(?i)call|tool|func|invoke|action|api|name")
_TELLING = re.compile(r"(?i)result|response|output|error|observation|doc")
_KEYS = re.compile(r"<([\w.-]++)|\bname=[\"']([^\"'<>]++)[\"']|(?<=\s)([\w.-]++)\s*+=|[\"']([\w.-]++)[\"']\s*+:")
_TAG = re.compile(r"<([\w.:-]++)")
_MARKED_LINE = rf"[ \t]*+(?:(?:-|\d{{1,2}}[.)])[ \t]++)?(?:{_WORDS}[ \t]*+[:：=][ \t]*+|->[ \t]*+)?[\"'`*\[]*+"
_LABEL_LINE = re.compile(rf"[ \t]*+[\"']?{_WORDS}[\"']?[ \t]*+[:：=][ \t]*+(?:\{{\}})?+")
_TYPES = re.compile(r"(?i)(?:str(?:ing)?|text|int(?:eger)?|number|float|bool(?:ean)?|array|list|object|dict|any)\b")


def meant_call(text: str, declared: Mapping[str, Tool], *, objects: bool = False) -> tuple[str, int] | None:
    """Return the declared tool whose call a text without calls means, and where; None for any other text.

    Args:
        text: all of it.
        declared: the tools.
        objects: look only for an object of arguments behind a tool's name, as ChatGLM-4 writes calls.
    """
    named = {name: tool for name, tool in declared.items() if name in text}
    if not named:
        return None
    start = _spoken(text)
    if objects:
        return _behind_a_name(text, start, named)
    said = text[start:]
    found = _element(said, named) or _lines(said, named)
    return None if found is None else (found[0], start + found[1])


def named_before(text: str, start: int, keys: Collection[str], declared: Mapping[str, Tool]) -> str | None:
    """Return the declared tool whose arguments an object is, if its name stands before it, alone or with a label.

    The name may also end a line of prose, with the object on the next one.

    Args:
        text: all of it.
        start: where the object begins.
        keys: of the object.
        declared: the tools.
    """
    near = max(start - _NEAR, 0)
    for name, tool in declared.items():
        if keys and _fits(tool, keys) and text.find(name, near, start) >= 0 and _named(name).search(text, near, start):
            return name
    return None


@lru_cache(maxsize=512)
def _named(name: str) -> re.Pattern[str]:
    label = rf"(?:{_LABEL}\W*|{_WORDS}\s*[:：]\W*)?"
    own = re.escape(name)
    return re.compile(rf"(?:(?m:^)\W*+{_BEFORE}{own}\W*{label}{_FENCE}|(?<![\w.-]){own}[\"'`*]*[ \t]*\n\s*{_FENCE})\Z")


def _fits(tool: Tool, keys: Collection[str]) -> bool:
    return set(tool.required) <= set(keys) <= tool.parameters.keys()


def _spoken(text: str) -> int:
    """Return where a text goes on behind its thoughts."""
    start = len(split_thought(text)[0])
    for end in LONE_END.finditer(text, start):
        start = end.end() if closes(text, end) else start
    return start


def _behind_a_name(text: str, start: int, named: Mapping[str, Tool]) -> tuple[str, int] | None:
    cursor = Cursor(text, pos=start)
    while cursor.steps < _STEPS * (len(text) + 100) and cursor.seek(_OBJECT) is not None:
        cursor.pos -= 1
        place = cursor.pos
        try:
            keys = read_object(cursor).keys()
        except CallParseError:
            cursor.pos = max(cursor.pos, place + 1)
            continue
        tool = named_before(text, place, keys, named)
        if tool is not None:
            return tool, place
    return None


@lru_cache(maxsize=64)
def _elements(names: tuple[str, ...]) -> re.Pattern[str]:
    tool = "|".join(map(re.escape, sorted(names, key=len, reverse=True)))
    return re.compile(
        rf"<(?:(?P<tag>{tool})(?=[\s/>])|(?P<outer>[\w.:-]++)(?:\s[^<>]*?[\"'](?P<value>{tool})[\"'][^<>]*+>"
        rf"|>\s*+(?P<text>{tool})\s*+</))"
    )


def _element(said: str, named: Mapping[str, Tool]) -> tuple[str, int] | None:
    """Return an element of XML that names a tool: by its tag, an attribute or its text."""
    if "<" not in said:
        return None
    elements = list(islice(_elements(tuple(named)).finditer(said), _MOST_ELEMENTS))
    ends = [*(after.start() for after in elements[1:]), len(said)]
    for found, stop in zip(elements, ends, strict=False):
        before = said[max(found.start() - _NEAR, 0) : found.start()].rpartition("\n")[2].rstrip()
        if before and not before.endswith(">"):
            continue
        name = found["tag"] or found["value"] or found["text"]
        tool, body = named[name], said[found.end() : min(stop, found.end() + _LONGEST)]
        if found["tag"]:
            end = re.search(rf"\A[^<>]*/>|</{re.escape(name)}\s*>", body)
            body = body[: end.end()] if end is not None else body
        keys = {next(filter(None, key)) for key in _KEYS.findall(found[0] + body)} - {name}
        if found["tag"]:
            if end is not None and _fits(tool, keys):
                return name, found.start()
        elif _CALLING.search(found["outer"]) and not any(map(_TELLING.search, _TAG.findall(found[0] + body))):
            given = keys & tool.parameters.keys()
            if set(tool.required) <= given and (given or not tool.parameters):
                return name, found.start()
    return None


@lru_cache(maxsize=64)
def _line_patterns(names: tuple[str, ...], keys: tuple[str, ...]) -> tuple[re.Pattern[str], re.Pattern[str]]:
    tool, key = ("|".join(map(re.escape, sorted(words, key=len, reverse=True))) for words in (names, keys))
    given = rf"(?:--|[\"'])?(?:{key})[\"']?(?:[ \t]*+[:：=]|(?<=\w)[ \t])[ \t]*+\S"
    named = rf"{_MARKED_LINE}(?P<name>{tool})(?![\w.(-])[\"'`*\]]*+(?:\(\))?[ \t]*+(?:[:：][ \t]*+)?"
    pair = rf"(?P<indent>[ \t]*+)[\"']?(?P<key>{key})[\"']?[ \t]*+[:：=][ \t]*+(?P<value>.*)"
    return re.compile(rf"{named}(?P<more>(?={given}).*)?"), re.compile(pair)


def _lines(said: str, named: Mapping[str, Tool]) -> tuple[str, int] | None:
    """Return lines that are nothing but a tool's name, labels, and its parameters with their values."""
    if len(said) > _LONGEST:
        return None
    keys = tuple(dict.fromkeys(key for tool in named.values() for key in tool.parameters))
    if not keys:
        return None
    head, pair = _line_patterns(tuple(named), keys)
    tool, values, depth, place, called = "", {}, -1, 0, set()
    for line in map(str.rstrip, said.split("\n")):
        found = head.fullmatch(line)
        if not line or _FENCE_LINE.fullmatch(line):
            continue
        if found is not None:
            tool, place, depth = tool or found["name"], place or said.find(line), -1
            called.add(found["name"])
            for key in keys if found["more"] else ():
                if re.search(rf"(?<!\w){re.escape(key)}[\"']?\s*+(?:[:：=]|\S)", found["more"]):
                    values[key] = found["more"]
        elif (one := pair.fullmatch(line)) is not None:
            values[one["key"]], depth = one["value"], len(one["indent"])
        elif (depth < 0 or len(line) - len(line.lstrip()) <= depth) and _LABEL_LINE.fullmatch(line) is None:
            return None
    if tool not in called or not values or all(map(_TYPES.match, values.values())):
        return None
    takes = {key for name in called for key in named[name].parameters}
    return (tool, place) if set(named[tool].required) <= values.keys() <= takes else None
