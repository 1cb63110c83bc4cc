"""The published sandbox: any tool runs, errors are Python's texts, a user's tools live over all cases of the user.

Its figures must not stand beside those of the strict one: here an agent cannot see its own changes.
"""

from __future__ import annotations

import inspect
import json
from collections.abc import Mapping, Sequence
from datetime import datetime
from typing import Any

from ..toolcalls import ToolCall
from ..toolcalls.feedback.categories import OTHERS, PARAMETER_HALLUCINATION, PARAMETER_MISSING, TOOL_HALLUCINATION
from . import reference_home, reference_tools
from .calls import TIME, ToolError
from .prompts import PREFERENCES
from .reference_tools import Instances
from .registry import ALL, DOCUMENT, FINDERS, SEARCH, SPECS
from .retrieval import BY_WORDS, Search
from .sandbox import LONGEST, UNREADABLE, Logged, Setting

CLASSES: Mapping[str, str] = {
    **dict.fromkeys((name for name, spec in SPECS.items() if spec.domain == "calendar"), "Calendar"),
    **dict.fromkeys((name for name, spec in SPECS.items() if spec.domain == "email"), "Email"),
    **dict.fromkeys((name for name, spec in SPECS.items() if spec.domain == "health"), "HealthMonitoringApp"),
    **dict.fromkeys((name for name, spec in SPECS.items() if spec.domain == "music"), "MusicStreamingApp"),
    **dict.fromkeys((name for name, spec in SPECS.items() if spec.domain == "navigation"), "Navigation_And_Map"),
    **dict.fromkeys((name for name, spec in SPECS.items() if spec.domain == "shopping"), "ECommerce"),
    **dict.fromkeys((name for name, spec in SPECS.items() if spec.domain == "web_browsing"), "Browser"),
    **dict.fromkeys((name for name, spec in SPECS.items() if spec.domain == "smart_home_devices"), "SmartAppliance"),
    "set_temperature_and_humidity_in_home": "Thermostat",
    "get_home_temperature_and_humidity": "Thermostat",
    "control_light_in_home": "Light",
    "get_today_weather": "WeatherData",
    "get_future_weather": "WeatherData",
    SEARCH: "Tool_And_History_Searcher",
    DOCUMENT: "Tool_And_History_Searcher",
}
"""Whose methods the tools are; the names stand in the texts of errors."""
_FINDER_PARAMS = {SEARCH: (("keywords",), ("K",)), DOCUMENT: (("tools_name",), ())}
TOOLS = {**reference_tools.TOOLS, **reference_home.TOOLS}


def _params(name: str) -> tuple[tuple[str, ...], tuple[str, ...]]:
    """Return the parameters that a tool needs, and those that it may have."""
    if name in _FINDER_PARAMS:
        return _FINDER_PARAMS[name]
    given = list(inspect.signature(TOOLS[name]).parameters.values())[2:]
    needed = tuple(one.name for one in given if one.default is one.empty)
    return needed, tuple(one.name for one in given if one.default is not one.empty)


_PARAMS = {name: _params(name) for name in ALL if name != "search_from_wikipedia"}
_PARAMS["search_from_wikipedia"] = (("query",), ("topk",))


class CallError(Exception):
    """A call that Python refuses.

    Args:
        category: of TL-Training.
        text: Python's.
    """

    def __init__(self, category: str, text: str) -> None:
        super().__init__(text)
        self.category, self.text = category, text


def bind(name: str, arguments: Mapping[str, Any]) -> None:
    """Refuse arguments as Python does.

    Raises:
        CallError: no such tool, an unknown argument, or missing ones.
    """
    for own in ("self", "tool_name"):  # B20: the manager's own parameters
        if own in arguments:
            text = f"ToolManager.api_call() got multiple values for argument '{own}'"
            raise CallError(PARAMETER_HALLUCINATION, text)
    if name not in ALL:
        raise CallError(TOOL_HALLUCINATION, f"invalid tool name {name}.")
    method, (needed, optional) = f"{CLASSES[name]}.{name}()", _PARAMS[name]
    unknown = [one for one in arguments if one not in (*needed, *optional)]
    if unknown:
        raise CallError(PARAMETER_HALLUCINATION, f"{method} got an unexpected keyword argument '{unknown[0]}'")
    missing = [f"'{one}'" for one in needed if one not in arguments]
    if missing:
        named = missing[0]
        if len(missing) > 1:
            named = f"{', '.join(missing[:-1])}{',' * (len(missing) > 2)} and {missing[-1]}"
        plural = "s" * (len(missing) > 1)
        text = f"{method} missing {len(missing)} required positional argument{plural}: {named}"
        raise CallError(PARAMETER_MISSING, text)


def observe(own: Instances, now: str, name: str, arguments: Mapping[str, Any]) -> tuple[str, Any, str | None]:
    """Return what a call shows, its result, and the category of its error.

    Args:
        own: the user's tools.
        now: the time, as the cases write it.
        name: of a tool other than those that find tools.
        arguments: by name.
    """
    try:
        bind(name, arguments)
        if name in own.world.shared.missing or name == "search_from_wikipedia":
            return f"{name} has no data here", None, OTHERS
        result = TOOLS[name](own, now, **arguments)
        return json.dumps(result, ensure_ascii=False), result, None
    except CallError as error:
        return error.text, None, error.category
    except Exception as error:  # the published loop shows every exception's text
        return str(error), None, OTHERS


class ReferenceSandbox:
    """The tools of one case as published; a tool server as `sandbox.Sandbox` is one.

    Args:
        own: the user's tools, which go on from case to case.
        now: the time.
        given: names of the tools on offer; others run as well (B3).
        setting: given or retrieval.
        search: finds tools by descriptions.
        configs: of tools that are described in other words than ours.
        first: character of a result with which it begins, if it is too long (L5).
        label: what stands before preferences, where a document comes with them.

    Attributes:
        start: the world, which nothing changes.
        world: the same.
        log: all calls.
        turn: of the dialogue.
        found: the tools that searches gave, in order.
    """

    def __init__(
        self,
        own: Instances,
        now: datetime,
        given: Sequence[str],
        setting: Setting = "given",
        search: Search = BY_WORDS,
        configs: Mapping[str, Any] | None = None,
        first: int = 0,
        label: str = PREFERENCES,
    ) -> None:
        self.start = self.world = own.world
        self.log: list[Logged] = []
        self.turn = 1
        self.found: dict[str, None] = {}
        self._own, self._now, self._search = own, now.strftime(TIME), search
        self._configs = configs or {}
        self._first, self._label, self._finds = first, label, setting == "retrieval"
        self._listed = tuple(FINDERS) if self._finds else tuple(given)

    def tools(self) -> list[dict[str, Any]]:
        """Return the tools of requests; in retrieval they stay the two that find others (L11)."""
        return [self._configs.get(name) or ALL[name].config() for name in self._listed if name in ALL]

    def call(self, call: ToolCall) -> str:
        """Run a call; see `serving.agent.tools.ToolServer`."""
        if call.name in FINDERS:
            told, result, failed = self._find(call)
        else:
            told, result, failed = observe(self._own, self._now, call.name, call.arguments)
        is_effect = _is_done(result) and _mutates(call.name)
        effect = {"tool": call.name, "args": normalised(call.name, call.arguments)} if is_effect else None
        self.log.append(Logged(self.turn, call.name, call.arguments, failed, effect))
        is_whole = failed is not None or len(told) <= LONGEST or (call.name == DOCUMENT and self._finds)
        return told if is_whole else told[self._first : LONGEST]

    def unreadable(self, why: str) -> str:
        """Log a call that could not be read; returns what the model is told."""
        self.log.append(Logged(self.turn, "", {}, UNREADABLE, None))
        return f"The call cannot be read: {why}"

    def _find(self, call: ToolCall) -> tuple[str, Any, str | None]:
        try:
            bind(call.name, call.arguments)
        except CallError as error:
            return error.text, None, error.category
        asked = next(iter(call.arguments.values()))
        listed = [asked] if isinstance(asked, str) else asked
        words = [word for word in listed if isinstance(word, str)] if isinstance(listed, list) else []
        if not words:
            return f"{type(asked).__name__} is no text and no list of texts", None, OTHERS
        if call.name == SEARCH:
            names = self._search(words)
            self.found |= dict.fromkeys(names)
            told = {"status": "success", "input": {"keywords": asked}, "output": names, "exception": None}
            return json.dumps(told, ensure_ascii=False), told, None
        data = {name: self._configs.get(name) or spec.config() for name, spec in ALL.items() if name in words}
        found = {"status": "success", "data": data}
        if not self._finds:
            return json.dumps(found, ensure_ascii=False), found, None
        liked = dict.fromkeys(ALL[name].domain for name in data)
        preferences = [self.world.preferences[domain] for domain in liked if domain in self.world.preferences]
        return f"{found}{self._label}{preferences}", found, None


def normalised(name: str, arguments: Mapping[str, Any]) -> dict[str, Any]:
    """Return the arguments in the form that checks compare; as they are where the strict sandbox would refuse them."""
    try:
        return SPECS[name].checked(arguments)
    except ToolError:
        return dict(arguments)


def _mutates(name: str) -> bool:
    return name in SPECS and SPECS[name].mutates


def replay(own: Instances, now: datetime, calls: Sequence[Mapping[str, Any]]) -> int | None:
    """Make the recorded calls of an earlier case again; return the number of one that goes otherwise now, or None.

    Args:
        own: the user's tools, which change.
        now: the time of the case.
        calls: as they were logged.
    """
    for number, call in enumerate(calls, start=1):
        if call["failed"] is None and _mutates(call["name"]):
            _, result, failed = observe(own, now.strftime(TIME), call["name"], call["arguments"])
            if failed is not None or _is_done(result) != (call["effect"] is not None):
                return number
    return None


def _is_done(result: Any) -> bool:
    return isinstance(result, dict) and result.get("status") == "success"
