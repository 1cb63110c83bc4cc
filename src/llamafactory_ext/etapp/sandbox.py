"""Where an agent's calls run: one world for each case, every call logged, errors in the words of TL-Training.

It is a tool server of `serving.agent`: a call goes in, the observation comes out as a text.
"""

from __future__ import annotations

import hashlib
import json
import random
from collections.abc import Mapping, Sequence
from dataclasses import dataclass
from datetime import datetime
from typing import Any, Literal, get_args

from ..toolcalls import ToolCall
from ..toolcalls.feedback.categories import OTHERS, TOOL_HALLUCINATION, TOOL_INSTABILITY
from .calls import ToolError, ToolSpec, refusal
from .registry import ALL, DOCUMENT, FINDERS, SEARCH, SPECS, nearest
from .retrieval import BY_WORDS, Search
from .world import World

LONGEST = 8192  # characters of an observation
Setting = Literal["given", "retrieval"]
SETTINGS: tuple[str, ...] = get_args(Setting)
UNREADABLE = "unreadable"


@dataclass(frozen=True)
class Logged:
    """One call as it went.

    Attributes:
        turn: of the dialogue, from 1.
        name: of the tool.
        arguments: as the model gave them.
        failed: the error's category; None for a call with a result.
        effect: what a successful call changed: the tool and all its arguments as it took them.
    """

    turn: int
    name: str
    arguments: Mapping[str, Any]
    failed: str | None
    effect: Mapping[str, Any] | None

    def record(self) -> dict[str, Any]:
        """Return it as JSON has it."""
        return {
            "turn": self.turn,
            "name": self.name,
            "arguments": dict(self.arguments),
            "failed": self.failed,
            "effect": None if self.effect is None else dict(self.effect),
        }


class Sandbox:
    """The tools of one case.

    Args:
        world: at the start.
        now: the time, which stands still.
        given: names of the tools that the model is offered.
        setting: given, or retrieval: any tool, once it was found or explained.
        faults: share of calls that fail as an unstable service does.
        seed: decides which.
        name: of the case, so that its faults are its own.
        search: finds tools by descriptions.
        configs: of tools that are described in other words than ours.

    Attributes:
        start: the world at the start.
        world: the world now.
        log: all calls.
        turn: of the dialogue; whoever drives it sets it.
        found: the tools that searches gave, in order.
    """

    def __init__(
        self,
        world: World,
        now: datetime,
        given: Sequence[str],
        setting: Setting = "given",
        *,
        faults: float = 0.0,
        seed: int = 0,
        name: str = "",
        search: Search = BY_WORDS,
        configs: Mapping[str, Any] | None = None,
    ) -> None:
        self.start = self.world = world
        self.log: list[Logged] = []
        self.turn = 1
        self.found: dict[str, None] = {}
        self._now = now
        self._setting = setting
        self._listed = dict.fromkeys(FINDERS if setting == "retrieval" else given)
        self._documented: dict[str, None] = {}
        self._faults = faults
        self._dice = random.Random(f"{seed}/{name}")
        self._search = search
        self._configs = configs or {}

    def tools(self) -> list[dict[str, Any]]:
        """Return the tools that a model may call now, in OpenAI's form; explained ones join those that find others."""
        names = [*self._listed, *self._documented] if self._setting == "retrieval" else list(self._listed)
        return [self._configs.get(name) or ALL[name].config() for name in dict.fromkeys(names) if name in ALL]

    def call(self, call: ToolCall) -> str:
        """Run a call; see `serving.agent.tools.ToolServer`."""
        before = self.world
        effect: Mapping[str, Any] | None = None
        failed: str | None = None
        try:
            result, spec, arguments = self._run(call)
        except ToolError as error:
            self.world, failed = before, error.category
            told = json.dumps({"error": error.text}, ensure_ascii=False)
        else:
            told = as_text(result)
            if spec.mutates:
                effect = {"tool": spec.name, "args": arguments}
        self.log.append(Logged(self.turn, call.name, call.arguments, failed, effect))
        return told

    def unreadable(self, why: str) -> str:
        """Log a call that could not be read; returns what the model is told."""
        self.log.append(Logged(self.turn, "", {}, UNREADABLE, None))
        return json.dumps({"error": f"The call cannot be read: {why}"}, ensure_ascii=False)

    def _run(self, call: ToolCall) -> tuple[Any, ToolSpec, dict[str, Any]]:
        spec = ALL.get(call.name)
        if spec is None:
            raise ToolError(
                TOOL_HALLUCINATION, f"invalid tool name {call.name[:60]}; like it are {nearest(call.name)}"
            )
        if call.name not in self._listed and call.name not in self._documented:
            how = (
                f"look for it with {SEARCH} and read it with {DOCUMENT} first"
                if self._setting == "retrieval"
                else f"it is not offered here; call one of {', '.join(self._listed)}"
            )
            raise ToolError(TOOL_HALLUCINATION, f"invalid tool name {call.name}: {how}")
        arguments = spec.checked(call.arguments)
        if self._faults and self._dice.random() < self._faults:
            raise ToolError(TOOL_INSTABILITY, "service unavailable, try again later")
        if spec.name == SEARCH:
            return self._found(arguments["keywords"]), spec, arguments
        if spec.name == DOCUMENT:
            return self._explained(arguments["tools_name"]), spec, arguments
        if spec.name in self.world.shared.missing:
            raise ToolError(OTHERS, f"{spec.name} has no data here; go on without it")
        result, self.world = spec.run(self.world, self._now, arguments)
        return result, spec, arguments

    def _found(self, keywords: Sequence[str]) -> dict[str, Any]:
        names = self._search(keywords)
        self.found |= dict.fromkeys(names)
        self._documented |= dict.fromkeys(names)
        return {"status": "success", "data": names} | ({} if names else {"note": "no tool has these words"})

    def _explained(self, names: Sequence[str]) -> dict[str, Any]:
        known = [name for name in names if name in SPECS]
        if not known:
            raise refusal(f"there is no tool {names[0][:60]!r}; like it are {nearest(names[0])}")
        self._documented |= dict.fromkeys(known)
        domains = dict.fromkeys(SPECS[name].domain for name in known)
        liked = {domain: self.world.preferences[domain] for domain in domains if domain in self.world.preferences}
        absent = [name[:60] for name in names if name not in SPECS]
        told = {"status": "success", "data": {name: SPECS[name].config()["function"] for name in known}}
        return told | ({"preferences": liked} if liked else {}) | ({"unknown": absent} if absent else {})

    def digest(self) -> str:
        """Return a hash of all calls and of the world's state, for comparing two runs of one case."""
        state = [self.world.events, self.world.alarms, self.world.mails, self.world.cart, self.world.home]
        content = json.dumps([[one.record() for one in self.log], state, self.world.player], default=str)
        return hashlib.sha256(content.encode("utf-8", "replace")).hexdigest()


def as_text(result: Any, longest: int = LONGEST) -> str:
    """Return a result as JSON of at most so many characters; of a long list whole records are left out at the end."""
    text = _dump(result)
    if len(text) <= longest:
        return text
    rows = result.get("data") if isinstance(result, dict) else None
    if isinstance(rows, list) and rows:
        kept, low = len(rows), 0
        while low < kept:  # the most records that fit
            half = (low + kept + 1) // 2
            if len(_dump(result | {"data": rows[:half], "truncated": len(rows) - half})) <= longest:
                low = half
            else:
                kept = half - 1
        text = _dump(result | {"data": rows[:low], "truncated": len(rows) - low})
        if len(text) <= longest:
            return text
    return _dump({"status": "success", "data": text[: longest // 8], "truncated": "the rest of one long text"})


def _dump(value: Any) -> str:
    return json.dumps(finite(value), ensure_ascii=False, allow_nan=False)


def finite(value: Any) -> Any:
    """Return a value without NaN: gaps of tables become null."""
    if isinstance(value, float) and (value != value or value in (float("inf"), float("-inf"))):
        return None
    if isinstance(value, Mapping):
        return {key: finite(one) for key, one in value.items()}
    if isinstance(value, list | tuple):
        return [finite(one) for one in value]
    return value
