"""How a model acts: function calls, or calls as text (ReAct), with a plan before (E-ReAct)."""

from __future__ import annotations

import json
import re
import time
from collections.abc import Callable, Mapping, Sequence
from dataclasses import dataclass, field
from typing import Any

from ..errors import CallParseError
from ..metrics.thoughts import spoken
from ..serving.agent.dialogue import PromptTooLongError
from ..toolcalls import Tool, ToolCall, detect
from ..toolcalls.feedback.parts import content_text
from .arguments import UnreadableError, read_call
from .cases import Case
from .checks import Slots, fits
from .prompts import FEEDBACK, Strategy
from .reference import ReferenceSandbox
from .sandbox import Sandbox, Setting
from .wording import OURS, Wording
from .world import diff

Messages = Sequence[Mapping[str, Any]]
AnySandbox = Sandbox | ReferenceSandbox
_LABEL = "Final Answer:"
_LONGEST = 1 << 16  # characters of a reply that is read for calls; more than the tokens of an episode can write
_INVENTED = re.compile(rf"\n\s*{re.escape(FEEDBACK)}")


@dataclass(frozen=True)
class Said:
    """A model's reply.

    Attributes:
        message: the assistant's.
        completion_tokens: of it.
        prompt_tokens: of what it answers.
        finish: why it ends, as the server says; "" of one that does not.
    """

    message: Mapping[str, Any]
    completion_tokens: int = 0
    prompt_tokens: int = 0
    finish: str = ""


Ask = Callable[[Messages, Sequence[Mapping[str, Any]], int], Said]
"""(messages, tools of function calling, most tokens) -> the reply."""


@dataclass(frozen=True)
class Limits:
    """When an episode ends at the latest.

    Attributes:
        turns: replies; the calls of the last are still executed.
        calls: in all.
        parallel: in one reply.
        tokens: that the model writes in all.
        seconds: of the whole episode.
    """

    turns: int = 20
    calls: int = 50
    parallel: int = 10
    tokens: int = 16384
    seconds: float = 600.0


@dataclass
class Episode:
    """What happened in a case.

    Attributes:
        answer: the model's last words; empty where a limit ended the episode.
        end: answer, turns, calls, tokens, seconds or context.
        messages: all of them, calls in OpenAI's form.
        turns: replies, without the plan.
        prompt_tokens: summed over all replies.
        completion_tokens: summed over all replies.
        invented_feedback: replies that wrote a tool's result themselves.
        premature_answers: replies that answered behind a call.
        plan: of E-ReAct.
        follow_ups: what the user has said meanwhile.
        refused_expressions: arguments that the published loop would have evaluated; in the reference alone.
        history: the messages as the published code keeps them; in the reference alone.
        cut: replies that end where the most tokens were written, in the middle of a sentence, a call or a thought.
    """

    answer: str = ""
    end: str = ""
    messages: list[Mapping[str, Any]] = field(default_factory=list)
    turns: int = 0
    prompt_tokens: int = 0
    completion_tokens: int = 0
    invented_feedback: int = 0
    premature_answers: int = 0
    plan: str | None = None
    follow_ups: int = 0
    seconds: float = 0.0
    refused_expressions: int = 0
    history: list[dict[str, Any]] | None = None
    cut: int = 0

    def count(self, said: Said) -> None:
        """Add a reply's tokens, and whether it was cut."""
        self.cut += said.finish == "length"
        self.prompt_tokens += said.prompt_tokens
        self.completion_tokens += said.completion_tokens


@dataclass(frozen=True)
class _Turn:
    """A reply, read: what goes into the dialogue, what it calls (or why a call cannot be read), what it says."""

    message: Mapping[str, Any]
    calls: Sequence[tuple[str, ToolCall | str]]
    text: str


def run_case(
    case: Case,
    sandbox: AnySandbox,
    ask: Ask,
    slots: Slots,
    setting: Setting = "given",
    strategy: Strategy = "fc",
    limits: Limits = Limits(),
    clock: Callable[[], float] = time.monotonic,
    wording: Wording = OURS,
) -> Episode:
    """Let a model act in a case until it answers or a limit ends it.

    Args:
        case: the request.
        sandbox: where its calls run.
        ask: the model.
        slots: of the user, for what the user says meanwhile.
        setting: whether tools are given.
        strategy: how they are called.
        limits: of the episode.
        clock: seconds that never go back.
        wording: whose words the model reads.

    Raises:
        PromptTooLongError: the opening alone fills the model's context.
    """
    started = clock()
    done = Episode(messages=[*wording.opening(sandbox.start, case, setting, strategy, sandbox.tools())])
    waiting = list(case.follow_ups)
    if strategy == "e-react":
        _plan(done, ask, limits, wording.go_on(case, setting))
    while not done.end:
        try:
            said = ask(
                done.messages, sandbox.tools() if strategy == "fc" else (), limits.tokens - done.completion_tokens
            )
        except PromptTooLongError:
            if not done.turns:
                raise
            done.end = "context"
            break
        done.count(said)
        done.turns += 1
        sandbox.turn = done.turns
        turn = _read_fc(said) if strategy == "fc" else _read_react(said, sandbox, done)
        done.messages.append(turn.message)
        if turn.calls:
            done.end = _execute(turn, sandbox, strategy, limits, done)
        else:
            done.answer = turn.text
            done.end = "" if _goes_on(waiting, sandbox, slots, done) else "answer"
        if not done.end:
            done.end = _exceeded(limits, done, clock() - started)
            done.answer = "" if done.end else done.answer
    done.seconds, done.answer = clock() - started, done.answer if done.end == "answer" else ""
    return done


def _plan(done: Episode, ask: Ask, limits: Limits, go_on: str) -> None:
    said = ask(done.messages, (), limits.tokens)
    done.count(said)
    done.plan = content_text(said.message.get("content"))
    done.messages += [{"role": "assistant", "content": done.plan}, {"role": "user", "content": go_on}]


def _execute(turn: _Turn, sandbox: AnySandbox, strategy: Strategy, limits: Limits, done: Episode) -> str:
    """Run the calls of a reply; tell why that ends the episode, if it does."""
    if len(turn.calls) > limits.parallel or len(sandbox.log) + len(turn.calls) > limits.calls:
        return "calls"
    for key, call in turn.calls:
        told = sandbox.unreadable(call) if isinstance(call, str) else sandbox.call(call)
        if strategy == "fc":
            done.messages.append({"role": "tool", "tool_call_id": key, "content": told})
        else:
            done.messages.append({"role": "user", "content": f"{FEEDBACK} {told}"})
    return ""


def _goes_on(waiting: list[Mapping[str, Any]], sandbox: AnySandbox, slots: Slots, done: Episode) -> bool:
    """Let the user say the first thing that waits for something that has not happened."""
    effects = [call.effect for call in sandbox.log if call.effect is not None]
    while waiting:
        follow_up = waiting.pop(0)
        if not any(fits(follow_up["unless"], effect, slots) for effect in effects):
            done.messages.append({"role": "user", "content": follow_up["say"]})
            done.follow_ups += 1
            return True
    return False


def _exceeded(limits: Limits, done: Episode, seconds: float) -> str:
    if done.turns >= limits.turns:
        return "turns"
    if done.completion_tokens >= limits.tokens:
        return "tokens"
    return "seconds" if seconds >= limits.seconds else ""


def _read_fc(said: Said) -> _Turn:
    text = content_text(said.message.get("content"))
    stated = said.message.get("tool_calls")
    made = [call for call in stated if isinstance(call, Mapping)] if isinstance(stated, list) else []
    calls: list[tuple[str, ToolCall | str]] = []
    kept = []
    for place, call in enumerate(made):
        key = call.get("id") if isinstance(call.get("id"), str) else f"call_{place}"
        function = call.get("function")
        named = function if isinstance(function, Mapping) else {}
        name, arguments = named.get("name"), named.get("arguments")
        try:
            calls.append((str(key), read_call(name, arguments)))
        except UnreadableError as error:
            calls.append((str(key), str(error)))
        shown = arguments if isinstance(arguments, str) else json.dumps(arguments)
        shown_name = name if isinstance(name, str) else ""
        kept.append({"id": key, "type": "function", "function": {"name": shown_name, "arguments": shown}})
    message: dict[str, Any] = {"role": "assistant", "content": text}
    return _Turn(message | ({"tool_calls": kept} if kept else {}), calls, text)


def _read_react(said: Said, sandbox: AnySandbox, done: Episode) -> _Turn:
    written = content_text(said.message.get("content"))[:_LONGEST]
    text = spoken(written)
    thought = written.removesuffix(text) if written.endswith(text) else ""  # the dialogue shows one at the beginning
    cut = _INVENTED.search(text)
    if cut is not None:
        text = text[: cut.start()]
        done.invented_feedback += 1
    message = {"role": "assistant", "content": thought + text}
    declared = [Tool(tool["function"]["name"]) for tool in sandbox.tools()]
    _, label, answer = text.rpartition(_LABEL)
    try:
        call = called_in(text, declared)
    except CallParseError as error:
        return _Turn(message, () if label else [("", error.message)], answer.strip())
    if call is not None:
        done.premature_answers += bool(label)
        return _Turn(message, [("", call)], "")
    return _Turn(message, (), answer.strip() if label else text.strip())


def called_in(text: str, declared: Sequence[Tool] = ()) -> ToolCall | None:
    """Return the call of a reply of ReAct, one at a time; None where it makes none outside of its thoughts.

    Raises:
        CallParseError: a malformed call.
    """
    said = spoken(text)
    head, label, _ = said.rpartition(_LABEL)
    found = detect(head if label else said, declared, call_format="react")
    return found[0].call if found else None


def record(done: Episode, sandbox: AnySandbox, setting: str, strategy: str, mode: str, trial: int) -> dict[str, Any]:
    """Return an episode as the prediction file keeps it."""
    kept = {} if done.history is None else {"history": done.history, "refused_expressions": done.refused_expressions}
    return {
        "strategy": strategy,
        "setting": setting,
        "sandbox": mode,
        "trial": trial,
        "end": done.end,
        "turns": done.turns,
        "calls": [call.record() for call in sandbox.log],
        "found": list(sandbox.found),
        "diff": [list(change) for change in diff(sandbox.start, sandbox.world)],
        "prompt_tokens": done.prompt_tokens,
        "completion_tokens": done.completion_tokens,
        "seconds": round(done.seconds, 3),
        "invented_feedback": done.invented_feedback,
        "premature_answers": done.premature_answers,
        "follow_ups": done.follow_ups,
        "cut": done.cut,
        "plan": done.plan,
    } | kept
