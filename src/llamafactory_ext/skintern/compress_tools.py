"""Shorten the documentation of tools to a share of its tokens; what is left is valid JSON with the names of the tools.

Parts leave in one order, so that a smaller share keeps part of what a larger one keeps: words of the parameters'
descriptions, words of the tools' descriptions, enums and other constraints, types, optional parameters, required
parameters, then whole tools that the answer does not call, the least similar first. A called tool keeps its name.
"""

from __future__ import annotations

import copy
import json
import re
from bisect import bisect_left
from collections.abc import Callable, Collection, Iterator, Mapping, Sequence
from dataclasses import dataclass
from typing import Any, Final

from ..errors import DataError
from .compress import Extractive, Ranked, check_share, words_of
from .similarity import cosine, vectors

VERSION: Final = 1  # part of the hash of built data
Path = tuple[str | int, ...]

_STRUCTURE: Final = frozenset(
    {"name", "description", "type", "properties", "required", "items", "parameters", "function"}
)


@dataclass(frozen=True)
class _Word:
    """A word of the description at a path leaves."""

    path: Path
    index: int


@dataclass(frozen=True)
class _Key:
    """What stands at a path leaves, and its name in the list of required parameters."""

    path: Path


@dataclass(frozen=True)
class _Tool:
    """A whole tool leaves."""

    index: int


class ToolDocuments:
    """The documentation of one record's tools, and the order in which its parts leave."""

    def __init__(
        self,
        tools: str | Sequence[Mapping[str, Any]],
        called: Collection[str] = (),
        count: Callable[[str], int] | None = None,
        corpus: Extractive | None = None,
    ) -> None:
        """Rank the parts.

        Args:
            tools: their list, or its JSON text; each as OpenAI writes it, with or without "function" around it.
            called: names of the tools that the answer calls; they leave last and keep their names.
            count: tokens of a text; by default its words and punctuation marks.
            corpus: in which words are counted; by default these descriptions.

        Raises:
            DataError: no list of tools with names.
        """
        self.tools = read_tools(tools)
        self.count = count or _units
        descriptions = dict(_descriptions(self.tools))
        extractive = corpus or Extractive.over(descriptions.values())
        self._ranked: dict[Path, Ranked] = {path: extractive.rank(text) for path, text in descriptions.items()}
        self._parts = [*self._words(extractive), *_keys(self.tools), *_whole(self.tools, called)]
        self._whole = self.count(_dumped(self.tools))

    def at(self, shares: Sequence[float]) -> list[list[dict[str, Any]]]:
        """Return the tools at each share: all of them at 1, none at 0; a smaller share keeps part of a larger one.

        Args:
            shares: not rising. The budget is the share of the tokens of the whole JSON text. Names of called tools
                stay while the share is above 0, even where they alone exceed it.
        """
        found, gone = [], 0
        for share in shares:
            budget = check_share(share) * self._whole
            if share in (0, 1):
                found.append(copy.deepcopy(self.tools) if share else [])
                continue
            options = range(gone, len(self._parts))
            gone += bisect_left(options, True, key=lambda parts: self.count(_dumped(self._without(parts))) <= budget)
            found.append(self._without(gone))
        return found

    def _words(self, extractive: Extractive) -> Iterator[_Word]:
        """Yield the words of parameters' descriptions, then of tools' own, the most common first."""
        for own in (False, True):
            words = [
                (-extractive.score(ranked.text[slice(*ranked.spans[index])]), place, _Word(path, index))
                for path, ranked in self._ranked.items()
                if (path[1:-1] == _inside(self.tools[int(path[0])])) is own
                for place, index in enumerate(ranked.order)
            ]
            yield from (word for _, _, word in sorted(words, key=lambda item: item[:2], reverse=True))

    def _without(self, gone: int) -> list[dict[str, Any]]:
        """Return the tools without the first parts."""
        left = copy.deepcopy(self.tools)
        words: dict[Path, set[int]] = {}
        tools = set()
        for part in self._parts[:gone]:
            if isinstance(part, _Word):
                words.setdefault(part.path, set()).add(part.index)
            elif isinstance(part, _Tool):
                tools.add(part.index)
        for path, indices in words.items():
            ranked = self._ranked[path]
            kept = [index for index in range(len(ranked.spans)) if index not in indices]
            parent = _at(left, path[:-1])
            parent["description"] = ranked.of(kept)
            if not kept:
                del parent["description"]
        for part in self._parts[:gone]:
            if isinstance(part, _Key):
                _remove(left, part.path)
        return [tool for index, tool in enumerate(left) if index not in tools]


def compress_tools(
    tools: str | Sequence[Mapping[str, Any]],
    share: float,
    called: Collection[str] = (),
    count: Callable[[str], int] | None = None,
) -> list[dict[str, Any]]:
    """Return the tools at a share of the tokens of their JSON text; see `ToolDocuments`."""
    return ToolDocuments(tools, called, count).at([share])[0]


def read_tools(tools: str | Sequence[Mapping[str, Any]]) -> list[dict[str, Any]]:
    """Return a list of tools, from itself or its JSON text.

    Raises:
        DataError: it is none.
    """
    try:
        read = json.loads(tools) if isinstance(tools, str) else list(tools)
        names = [tool_name(tool) for tool in read]
    except (ValueError, TypeError, KeyError, AttributeError, RecursionError) as error:
        raise DataError(f"these tools are no JSON list of objects with names ({error}); write one.") from None
    if not isinstance(read, list) or not all(isinstance(name, str) and name for name in names):
        raise DataError("these tools are no JSON list of objects with names; write one.")
    return [copy.deepcopy(dict(tool)) for tool in read]


def tool_name(tool: Mapping[str, Any]) -> str:
    """Return the name of a tool, with or without "function" around it."""
    name: str = _at(tool, _inside(tool))["name"]
    return name


def _inside(tool: Mapping[str, Any]) -> Path:
    return ("function",) if isinstance(tool.get("function"), Mapping) else ()


def _units(text: str) -> int:
    return len(words_of(text))


def _dumped(tools: Sequence[Mapping[str, Any]]) -> str:
    return json.dumps(tools, ensure_ascii=False)


def _prose(tools: Sequence[Mapping[str, Any]]) -> str:
    """Return the words of names and descriptions, without JSON's and the schemas' own."""
    names = [tool_name(tool) for tool in tools]
    names += [str(name) for path, _ in _schemas(tools) for name in path if isinstance(name, str)]
    texts = [re.sub(r"[_\W]+|(?<=[a-z])(?=[A-Z])", " ", name) for name in names if name not in _STRUCTURE]
    return " ".join([*texts, *(text for _, text in _descriptions(tools))])


def _at(value: Any, path: Path) -> Any:
    for key in path:
        value = value[key]
    return value


def _remove(tools: list[dict[str, Any]], path: Path) -> None:
    """Remove what stands at a path, if it is still there, and its name among the required parameters."""
    try:
        parent = _at(tools, path[:-1])
    except KeyError:
        return
    parent.pop(path[-1], None)
    if len(path) > 2 and path[-2] == "properties":
        schema = _at(tools, path[:-2])
        if isinstance(schema.get("required"), list):
            schema["required"] = [name for name in schema["required"] if name != path[-1]]


def _walk(value: Any, path: Path) -> Iterator[tuple[Path, Mapping[str, Any]]]:
    """Yield the schemas of a tool's parameters, outer before inner ones."""
    if not isinstance(value, Mapping):
        return
    yield path, value
    properties = value.get("properties")
    for name, schema in (properties if isinstance(properties, Mapping) else {}).items():
        yield from _walk(schema, (*path, "properties", name))
    yield from _walk(value.get("items"), (*path, "items"))


def _schemas(tools: Sequence[Mapping[str, Any]]) -> Iterator[tuple[Path, Mapping[str, Any]]]:
    for index, tool in enumerate(tools):
        inside = (index, *_inside(tool))
        yield from _walk(_at(tools, inside).get("parameters"), (*inside, "parameters"))


def _descriptions(tools: Sequence[Mapping[str, Any]]) -> Iterator[tuple[Path, str]]:
    """Yield the descriptions with their paths."""
    owners = [((index, *_inside(tool)), _at(tool, _inside(tool))) for index, tool in enumerate(tools)]
    for path, owner in (*_schemas(tools), *owners):
        if isinstance(owner.get("description"), str):
            yield (*path, "description"), owner["description"]


def _keys(tools: Sequence[Mapping[str, Any]]) -> Iterator[_Key]:
    """Yield constraints, types, optional and required parameters: in each group the later ones first."""
    schemas = [*_schemas(tools)]
    groups: tuple[list[_Key], ...] = ([], [], [], [])
    for path, schema in schemas:
        groups[0].extend(_Key((*path, key)) for key in schema if key not in _STRUCTURE)
        if path[-1] != "parameters" and "type" in schema:
            groups[1].append(_Key((*path, "type")))
        required = schema.get("required")
        required = required if isinstance(required, list) else []
        properties = schema.get("properties")
        for name in properties if isinstance(properties, Mapping) else {}:
            groups[3 if name in required else 2].append(_Key((*path, "properties", name)))
    for group in groups:
        yield from reversed(group)


def _whole(tools: Sequence[Mapping[str, Any]], called: Collection[str]) -> Iterator[_Tool]:
    """Yield the tools that are not called, the least similar to the called ones first."""
    vector = vectors([_prose([tool]) for tool in tools])
    goals = [vector[index] for index, tool in enumerate(tools) if tool_name(tool) in called]
    others = [index for index, tool in enumerate(tools) if tool_name(tool) not in called]
    likeness = {index: max((cosine(vector[index], goal) for goal in goals), default=0.0) for index in others}
    yield from (_Tool(index) for index in sorted(others, key=lambda index: (round(likeness[index], 9), -index)))
