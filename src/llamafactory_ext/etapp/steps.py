"""Which call of an episode each message of its dialogue shows; the two say the same, or one of them was changed."""

from __future__ import annotations

import json
from collections.abc import Mapping, Sequence
from dataclasses import dataclass, field
from typing import Any, NoReturn

from ..errors import CallParseError, DataError
from ..toolcalls import Tool, ToolCall
from .arguments import UnreadableError, read_call
from .prompts import FEEDBACK
from .reference_reading import read_reply
from .registry import SPECS
from .sandbox import UNREADABLE
from .strategies import called_in

_TOOLS = tuple(Tool(name) for name in SPECS)
_SUCCESS = '"status": "success"'
_EXECUTED = ("turns", "tokens", "seconds", "context")  # ends at which the calls of the last reply have results


class UnlikeError(ValueError):
    """A dialogue that does not show what the episode logged; the text says where."""


@dataclass
class Step:
    """One reply with what follows it.

    Attributes:
        number: of its message, from 1.
        reply: the message.
        calls: as the episode logged them, one for each result.
        results: what the model was shown, as messages.
        said: what the user says next; None where that is nothing.
    """

    number: int
    reply: Mapping[str, Any]
    calls: list[Mapping[str, Any]] = field(default_factory=list)
    results: list[Mapping[str, Any]] = field(default_factory=list)
    said: str | None = None

    @property
    def text(self) -> str:
        """What the reply says."""
        return str(self.reply.get("content") or "")

    @property
    def stated(self) -> list[Mapping[str, Any]]:
        """The functions that the reply calls; of several with one id the last, as the published loop takes them."""
        made = self.reply.get("tool_calls") or ()
        return [*{call.get("id") or place: call for place, call in enumerate(made)}.values()]


def steps_of(messages: Sequence[Mapping[str, Any]], episode: Mapping[str, Any]) -> list[Step]:
    """Return the replies, each with its results and their calls; the opening and a plan come before.

    Raises:
        UnlikeError: a result without a call, a call without a result, or a message that no run writes there.
    """
    steps: list[Step] = []
    logged = iter(episode["calls"])
    is_text, is_published = episode["strategy"] != "fc", episode["sandbox"] == "reference"
    for number, message in enumerate(messages[_opening(messages, episode) :], start=1 + _opening(messages, episode)):
        role, text = message["role"], str(message.get("content") or "")
        is_result = role == ("user" if is_text else "tool")
        is_result = is_result and (not is_text or is_published or text.startswith(f"{FEEDBACK} "))
        if role == "assistant":
            steps.append(Step(number, message))
        elif not steps or steps[-1].said is not None:
            raise UnlikeError(f"message {number} follows no reply")
        elif is_result:
            if (call := next(logged, None)) is None:
                raise UnlikeError(f"message {number} shows a result, and there is no call for it")
            steps[-1].calls.append(call)
            steps[-1].results.append(message)
        elif role == "user" and not is_published and not steps[-1].calls:
            steps[-1].said = text
        else:
            raise UnlikeError(f"message {number} is none that a run writes there")
    if (left := len([*logged])) > 0:
        raise UnlikeError(f"{left} calls have no result in the dialogue")
    return steps


def _opening(messages: Sequence[Mapping[str, Any]], episode: Mapping[str, Any]) -> int:
    """Return how many messages come before the first reply: system and request, of e-react also plan and answer."""
    roles = ["system", "user", "assistant", "user"]
    count = 4 if episode["strategy"] == "e-react" and len(messages) > 2 else 2
    if [message["role"] for message in messages[:count]] != roles[:count]:
        raise UnlikeError("the dialogue does not begin with its system text and the request")
    if count == 4 and episode.get("plan") not in (None, messages[2].get("content")):
        raise UnlikeError("the plan is another than the dialogue's")
    return count


def check_dialogue(messages: Sequence[Mapping[str, Any]], episode: Mapping[str, Any], answer: str | None) -> None:
    """Make sure that a dialogue shows the calls, the turns and the end that the episode states.

    Args:
        messages: all of the dialogue.
        episode: of the right form; see `episodes.fault_of`.
        answer: the prediction; None where it is not known.

    Raises:
        UnlikeError: it shows others.
    """
    steps, end = steps_of(messages, episode), episode["end"]
    is_published = episode["sandbox"] == "reference"
    unwritten = 1 if is_published and end in ("calls", "tokens") else 0  # that reply is not recorded
    if episode["turns"] != len(steps) + unwritten:
        raise UnlikeError(f"the dialogue has {len(steps)} replies, and the episode {episode['turns']} turns")
    for turn, step in enumerate(steps, start=1):
        if any(call.get("turn", turn) != turn for call in step.calls):
            raise UnlikeError(f"a call of message {step.number} is of another turn")
        (_published_step if is_published else _strict_step)(step, episode, is_last=turn == len(steps))
        for result, call in zip(step.results, step.calls, strict=True):
            if not _is_result_of(str(result.get("content") or ""), call, is_published=is_published):
                raise UnlikeError(f"a result of message {step.number} is none of what its call is said to have done")
    said = sum(step.said is not None for step in steps)
    if episode.get("follow_ups", said) != said:
        raise UnlikeError(f"the user says {said} things more, and the episode states another number")
    if end != "answer":
        if answer and not any(answer in step.text for step in steps):
            raise UnlikeError("the prediction is no answer of the dialogue")
        return
    if not steps or steps[-1].calls or steps[-1].said is not None:
        raise UnlikeError("the dialogue does not end with an answer")
    written = steps[-1].text
    if answer is not None and not (answer == written if episode["strategy"] == "fc" else answer in written):
        raise UnlikeError("the dialogue ends with another answer than the prediction")


def _is_result_of(text: str, call: Mapping[str, Any], *, is_published: bool) -> bool:
    """Tell whether a result is an error where the call fails, and a success where it has an effect."""
    if is_published:
        name = call["name"]
        is_sure = call["failed"] is None and name in SPECS and SPECS[name].mutates  # other texts may say anything
        return not is_sure or (_SUCCESS in text) == (call["effect"] is not None)
    try:
        told = json.loads(text.removeprefix(f"{FEEDBACK} "))
    except (ValueError, RecursionError):
        return False
    return (isinstance(told, dict) and told.keys() == {"error"}) == (call["failed"] is not None)


def _strict_step(step: Step, episode: Mapping[str, Any], *, is_last: bool) -> None:
    made = step.reply.get("tool_calls") or []
    ends = is_last and episode["end"] not in _EXECUTED
    if not step.calls and step.said is None and not (ends and _calls(step, episode) == (episode["end"] == "calls")):
        raise UnlikeError(f"nothing follows message {step.number}, which does not end the episode")
    if episode["strategy"] != "fc":
        if len(step.calls) > 1:
            raise UnlikeError(f"message {step.number} has more than one result")
        if step.calls and step.calls[0]["failed"] != UNREADABLE:
            one = ToolCall(step.calls[0]["name"], step.calls[0]["arguments"])
            # Which tools were on offer decides between readings; the dialogue does not tell which these were.
            if not any(_in_text(step.text, tools) == one for tools in ((), _TOOLS)):
                _refuse(step)
        return
    if len(made) != len(step.calls) and not (ends and not step.calls):
        raise UnlikeError(f"message {step.number} makes {len(made)} calls, and {len(step.calls)} results follow")
    for call, result, logged in zip(made, step.results, step.calls, strict=False):
        if result.get("tool_call_id") != call.get("id"):
            raise UnlikeError(f"the results of message {step.number} are those of other calls")
        made_call = _in_function(call["function"])
        if logged["failed"] != UNREADABLE and made_call != ToolCall(logged["name"], logged["arguments"]):
            _refuse(step)


def _calls(step: Step, episode: Mapping[str, Any]) -> bool:
    """Tell whether a reply makes calls, read or not."""
    if episode["strategy"] == "fc":
        return bool(step.reply.get("tool_calls"))
    try:
        return called_in(step.text) is not None
    except CallParseError:
        return episode["end"] == "calls"  # it may be either, as the reader of replies knew more tools


def _published_step(step: Step, episode: Mapping[str, Any], *, is_last: bool) -> None:
    if episode["strategy"] != "fc":
        if len(step.calls) > 1 or (not step.calls and not is_last):
            raise UnlikeError(f"message {step.number} has {len(step.calls)} results")
        names = [read_reply(step.text).action]
    else:
        names = [str(call["function"]["name"]) for call in step.stated]
        if len(step.calls) not in ((0, len(names)) if is_last else (len(names),)):
            raise UnlikeError(f"message {step.number} makes {len(names)} calls, and {len(step.calls)} results follow")
    for name, logged in zip(names, step.calls, strict=False):
        if logged["failed"] != UNREADABLE and logged["name"] != name:
            raise UnlikeError(f"message {step.number} calls another tool than the episode")


def _refuse(step: Step) -> NoReturn:
    raise UnlikeError(f"message {step.number} makes another call than the episode")


def _in_function(function: Mapping[str, Any]) -> ToolCall | None:
    try:
        return read_call(function["name"], function["arguments"])
    except UnreadableError:
        return None


def _in_text(text: str, declared: Sequence[Tool]) -> ToolCall | None:
    try:
        return called_in(text, declared)
    except (CallParseError, DataError):
        return None
