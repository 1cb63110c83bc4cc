"""Names of tools for servers that take no dots in them: sent with "_", and turned back in what comes."""

from __future__ import annotations

from collections.abc import Iterable, Mapping, Sequence
from typing import Any

Json = Mapping[str, Any]


class SentNames:
    """The names of one question's tools, as declared and as sent.

    Args:
        names: as declared.

    Attributes:
        changed: whether any name is sent otherwise, and each can be told from the others.
    """

    def __init__(self, names: Iterable[str]) -> None:
        declared = list(names)
        self._sent = {name: name.replace(".", "_") for name in declared}
        self._declared = {sent: name for name, sent in self._sent.items()}
        self.changed = len(self._declared) == len(self._sent) and any("." in name for name in declared)

    def tools(self, tools: Sequence[Json]) -> list[Json]:
        """Return the tools, in OpenAI's form, under the names that are sent."""
        return [{**tool, "function": _named(tool["function"], self._sent)} for tool in tools]

    def messages(self, messages: Sequence[Json]) -> list[Json]:
        """Return the messages with the names of earlier calls as they are sent."""
        return [_renamed(message, self._sent) for message in messages]

    def reply(self, message: Json) -> Json:
        """Return a server's message with declared names."""
        return _renamed(message, self._declared)


def _renamed(message: Json, names: Mapping[str, str]) -> Json:
    calls = message.get("tool_calls")
    if not isinstance(calls, list):
        return message
    return {**message, "tool_calls": [_renamed_call(call, names) for call in calls]}


def _renamed_call(call: Any, names: Mapping[str, str]) -> Any:
    if not isinstance(call, Mapping) or not isinstance(call.get("function"), Mapping):
        return call
    return {**call, "function": _named(call["function"], names)}


def _named(function: Json, names: Mapping[str, str]) -> Json:
    name = function.get("name")
    return {**function, "name": names.get(name, name)} if isinstance(name, str) else function
