"""The published reply loop, with its faults L1 to L13 (docs/etapp.md names those that show).

The model reads its own messages; `history` is what the published code keeps of them and its judge reads.
"""

from __future__ import annotations

import json
import time
from collections.abc import Callable, Mapping
from dataclasses import dataclass, field
from typing import Any

from ..errors import DataError
from ..serving.agent.dialogue import PromptTooLongError
from ..toolcalls import ToolCall
from ..toolcalls.feedback.parts import content_text
from .cases import Case
from .prompts import Strategy
from .reference import ReferenceSandbox
from .reference_reading import FINISH, RefusedError, literal, read_reply
from .sandbox import Setting
from .strategies import Ask, Episode, Limits, Said
from .wording import OURS, Wording

_CALL = "PLA.toolkit.tool_manager.ToolManager.api_call()"


@dataclass
class _Loop:
    """One case under way.

    Attributes:
        sandbox: where calls run.
        ask: the model.
        setting: whether tools are given.
        strategy: how they are called.
        limits: of the episode.
        wording: whose words the model reads.
        done: the episode so far.
        calls: that were counted.
    """

    sandbox: ReferenceSandbox
    ask: Ask
    setting: Setting
    strategy: Strategy
    limits: Limits
    wording: Wording
    done: Episode
    calls: int = 0
    history: list[dict[str, Any]] = field(default_factory=list)

    def plan(self, case: Case) -> None:
        """Ask for the key points of E-ReAct; they are kept as they are (no limit, no reading)."""
        said = self._asked()
        text = content_text(said.message.get("content"))
        self.done.plan = text
        self._keep({"role": "assistant", "content": text}, {"role": "assistant", "content": text, "tool_calls": []})
        go_on = {"role": "user", "content": self.wording.go_on(case, self.setting)}
        self._keep(go_on, go_on)

    def turn(self) -> None:
        """Let the model reply once, and run what it calls; the last reply is never executed (L1)."""
        said = self._asked()
        self.done.turns += 1
        self.sandbox.turn = self.done.turns
        is_last = self.done.turns >= self.limits.turns
        if self.strategy == "fc":
            self._functions(said, is_last)
        else:
            self._text(content_text(said.message.get("content")), is_last)
        if is_last and self.done.end in ("", "answer"):  # an answer as last reply is kept and disowned (L2)
            self.stop("turns")

    def stop(self, end: str) -> None:
        """End the episode with the published sentence."""
        self.done.end = end
        text = self.wording.sentences[end]
        self.history.append({"role": "assistant", "content": text, "tool_calls": []})

    def _asked(self) -> Said:
        said = self.ask(self.done.messages, self.sandbox.tools() if self.strategy == "fc" else (), self.limits.tokens)
        self.done.count(said)
        return said

    def _keep(self, shown: Mapping[str, Any], kept: Mapping[str, Any]) -> None:
        self.done.messages.append(shown)
        self.history.append(dict(kept))

    def _functions(self, said: Said, is_last: bool) -> None:
        stated = said.message.get("tool_calls")
        made = [_function(call, place) for place, call in enumerate(stated if isinstance(stated, list) else ())]
        finish = said.finish or ("tool_calls" if made else "stop")
        calling = finish in ("tool_calls", "length") and bool(made)
        self.calls += len(made) if calling else 0
        if calling and (len(made) > self.limits.parallel or self.calls > self.limits.calls):
            return self.stop("calls")  # the reply that breaks the limit is not recorded
        if said.prompt_tokens + said.completion_tokens > self.limits.tokens:
            return self.stop("tokens")
        text = content_text(said.message.get("content"))
        shown: dict[str, Any] = {"role": "assistant", "content": text}
        if made:
            calls = [{"id": key, "type": "function", "function": dict(function)} for key, function in made]
            shown["tool_calls"] = calls
        if finish == "stop":
            kept: dict[str, Any] = {"content": "", "tool_calls": [{"name": FINISH, "arguments": text}]}
            self.done.end, self.done.answer = "answer", text
        else:
            kept = {"content": text, "tool_calls": [dict(function) for _, function in made] if calling else None}
        self._keep(shown, {"role": "assistant"} | kept)
        if finish != "stop" and not is_last:
            for place, (_, function) in enumerate(dict(made).items()):  # of calls with one id the last counts
                told = self._told(function["name"], function["arguments"])
                self._keep(
                    {"role": "tool", "tool_call_id": made[place][0], "content": told},
                    {"role": "tool", "content": told},
                )
        return None

    def _text(self, text: str, is_last: bool) -> None:
        read = read_reply(text)
        kept = {"content": read.thought, "tool_calls": [{"name": read.action, "arguments": read.given}]}
        self._keep({"role": "assistant", "content": text}, {"role": "assistant"} | kept)
        if read.action.lower() == FINISH:
            self.done.end, self.done.answer = "answer", read.given
        elif is_last:
            return
        elif not read.action:
            self.sandbox.unreadable("")
            self._reminder("no call")
        else:
            told = self._told(read.action, read.given)
            if told is None:
                self._reminder(self.strategy)
            else:
                self._keep({"role": "user", "content": told}, {"role": "tool", "content": told})

    def _reminder(self, which: str) -> None:
        told = {"role": "user", "content": self.wording.sentences[which]}
        self._keep(told, told)

    def _told(self, name: str, given: str) -> Any:
        """Return the observation of a call.

        None where arguments cannot be read, which ReAct and functions tell apart.
        """
        is_text = self.strategy != "fc"
        try:
            value = literal(given, null_is_text=is_text)
            if not isinstance(value, dict):
                return self._no_mapping(value)
            if not all(isinstance(key, str) for key in value):
                self.sandbox.unreadable("")
                return "keywords must be strings"
            if not name:
                self.sandbox.unreadable("")
                return "invalid tool name ."
            call = ToolCall(name, value)
        except RefusedError as error:
            self.done.refused_expressions += error.would_run
        except (DataError, RecursionError, TypeError):  # sets, bytes, infinite numbers: nothing that a file can keep
            self.done.refused_expressions += 1
        else:
            return self.sandbox.call(call)
        self.sandbox.unreadable("")
        return None if is_text else self.wording.sentences["fc"]

    def _no_mapping(self, value: Any) -> str | None:
        self.sandbox.unreadable("")
        return None if self.strategy != "fc" else f"{_CALL} argument after ** must be a mapping, not {_kind(value)}"


def _kind(value: Any) -> str:
    return type(value).__name__


def _function(call: Any, place: int) -> tuple[str, dict[str, str]]:
    stated = call if isinstance(call, Mapping) else {}
    key, function = stated.get("id"), stated.get("function")
    named = function if isinstance(function, Mapping) else {}
    name, arguments = named.get("name"), named.get("arguments")
    written = arguments if isinstance(arguments, str) else json.dumps(arguments)
    return str(key) if key else f"call_{place}", {"name": name if isinstance(name, str) else "", "arguments": written}


def run_published(
    case: Case,
    sandbox: ReferenceSandbox,
    ask: Ask,
    setting: Setting = "given",
    strategy: Strategy = "fc",
    limits: Limits | None = None,
    clock: Callable[[], float] = time.monotonic,
    wording: Wording = OURS,
) -> Episode:
    """Let a model act in a case as the published loop does; the user of a case says nothing more there.

    Args:
        case: the request.
        sandbox: where its calls run.
        ask: the model.
        setting: whether tools are given.
        strategy: how they are called.
        limits: turns, calls, and tokens of one request with its reply.
        clock: seconds that never go back.
        wording: whose words the model reads.
    """
    started = clock()
    opening = wording.opening(sandbox.start, case, setting, strategy, sandbox.tools())
    loop = _Loop(sandbox, ask, setting, strategy, limits or Limits(), wording, Episode(messages=[*opening]))
    try:
        if strategy == "e-react":
            loop.plan(case)
        while not loop.done.end:
            loop.turn()
    except PromptTooLongError:
        loop.stop("context")
    loop.done.history, loop.done.seconds = loop.history, clock() - started
    return loop.done
