"""The agent loop: a model and its tools in turn, until it answers or a limit ends the dialogue.

What it does: asks, executes the calls of each reply, shows their feedback, asks again. What it does not do: judge. A
dialogue that a limit ends has no answer; ToolEyes counts it as no valid one (TL-Training, arXiv:2412.15495, section
4.3: "within nine turns").
"""

from __future__ import annotations

import json
import time
from collections.abc import Callable, Mapping, Sequence
from dataclasses import dataclass
from typing import Any, Literal, Protocol

from ...errors import CallParseError, DataError, ExtError
from ...templates.styles import ToolStyle
from ...toolcalls import ToolCall, detect
from ...toolcalls.feedback.parts import content_text
from .tools import ToolServer

Messages = Sequence[Mapping[str, Any]]
Ask = Callable[[Messages, int], tuple[Mapping[str, Any], int]]
"""(messages, most tokens) -> (the reply's message, its tokens)."""
End = Literal["answer", "finish", "turns", "seconds", "tokens", "context"]
FINISH = "finish"  # the tool by which ToolEyes' models give their answer


class PromptTooLongError(ExtError):
    """Messages that leave no room for a reply in the model's context."""


@dataclass(frozen=True)
class Limits:
    """When a dialogue ends at the latest.

    Attributes:
        turns: replies of the model.
        seconds: of the whole dialogue; a reply under way is waited for.
        tokens: that the model writes in all.
    """

    turns: int = 9
    seconds: float = 300.0
    tokens: int = 8192


@dataclass(frozen=True)
class Turn:
    """A reply, read.

    Attributes:
        message: as it goes into the dialogue.
        record: the message with its calls in OpenAI's form, whatever form the model wrote.
        text: what it says, calls and all.
        calls: to execute, each with its id where it has one; a text in place of a call says why it cannot be read.
        tokens: it consists of.
    """

    message: Mapping[str, Any]
    record: Mapping[str, Any]
    text: str
    calls: tuple[tuple[str, ToolCall | str], ...]
    tokens: int


class Chat(Protocol):
    """A model in one way of calling tools."""

    def turn(self, messages: Messages, tokens: int) -> Turn:
        """Return the next reply."""

    def feedback(self, answered: Sequence[tuple[str, str]]) -> list[Mapping[str, Any]]:
        """Return the messages that tell what the calls gave, from (id, feedback)."""


@dataclass(frozen=True)
class Episode:
    """A finished dialogue.

    Attributes:
        answer: the model's last words; empty where a limit ended it.
        end: why it ended: the model answered (with words, or by the tool `finish`), a limit, or a full context.
        messages: all of them, calls in OpenAI's form.
        turns: replies of the model.
        tokens: they consist of.
    """

    answer: str
    end: End
    messages: tuple[Mapping[str, Any], ...]
    turns: int
    tokens: int


def dialogue(
    chat: Chat,
    tools: ToolServer,
    opening: Messages,
    limits: Limits,
    clock: Callable[[], float] = time.monotonic,
) -> Episode:
    """Run one dialogue to its end.

    Raises:
        PromptTooLongError: the opening alone fills the model's context.
    """
    sent, kept = list(opening), list(opening)
    started, turns, tokens = clock(), 0, 0
    answer = ""
    end: End | None = None
    while end is None:
        try:
            turn = chat.turn(sent, limits.tokens - tokens)
        except PromptTooLongError:
            if not turns:
                raise
            end = "context"
            break
        sent.append(turn.message)
        kept.append(turn.record)
        turns, tokens = turns + 1, tokens + turn.tokens
        finish = next((call for _, call in turn.calls if isinstance(call, ToolCall) and call.name == FINISH), None)
        if finish is not None:
            answer, end = _last_words(finish), "finish"
        elif not turn.calls:
            answer, end = turn.text, "answer"
        else:
            answered = [(key, call if isinstance(call, str) else tools.call(call)) for key, call in turn.calls]
            feedback = chat.feedback(answered)
            sent.extend(feedback)
            kept.extend(feedback)
            end = _exceeded(limits, turns, tokens, clock() - started)
    return Episode(answer, end, tuple(kept), turns, tokens)


def _exceeded(limits: Limits, turns: int, tokens: int, seconds: float) -> End | None:
    """Return the first limit that is reached."""
    if turns >= limits.turns:
        return "turns"
    if tokens >= limits.tokens:
        return "tokens"
    return "seconds" if seconds >= limits.seconds else None


def _last_words(call: ToolCall) -> str:
    """Return the answer that a call of `finish` carries, whatever it calls the argument."""
    if len(call.arguments) == 1:
        (value,) = call.arguments.values()
        if isinstance(value, str):
            return value
    for name in ("answer", "final_answer", "content"):
        if isinstance(call.arguments.get(name), str):
            return str(call.arguments[name])
    return json.dumps(dict(call.arguments), ensure_ascii=False)


class ToolChat:
    """OpenAI's tool calling: the server reads the calls.

    Args:
        ask: asks the server.
    """

    def __init__(self, ask: Ask) -> None:
        self._ask = ask

    def turn(self, messages: Messages, tokens: int) -> Turn:
        """See `Chat`."""
        message, used = self._ask(messages, tokens)
        said = content_text(message.get("content"))
        stated = message.get("tool_calls")
        made = [call for call in stated if isinstance(call, dict)] if isinstance(stated, list) else []
        calls = tuple((str(call.get("id", place)), _read_call(call)) for place, call in enumerate(made))
        kept = {"role": "assistant", "content": said} | ({"tool_calls": made} if made else {})
        return Turn(kept, kept, said, calls, used)

    def feedback(self, answered: Sequence[tuple[str, str]]) -> list[Mapping[str, Any]]:
        """Return one message for each call."""
        return [{"role": "tool", "tool_call_id": key, "content": text} for key, text in answered]


class TextChat:
    """Calls as text in a template's style, read by `toolcalls`.

    Args:
        ask: asks the server; tools stand in the system text, as `styled_messages` writes them.
        style: of the calls.
    """

    def __init__(self, ask: Ask, style: ToolStyle) -> None:
        self._ask, self._style = ask, style

    def turn(self, messages: Messages, tokens: int) -> Turn:
        """See `Chat`."""
        message, used = self._ask(messages, tokens)
        text = content_text(message.get("content"))
        kept = {"role": "assistant", "content": text}
        try:
            calls = [found.call for found in detect(text, call_format=self._style.call_format)]
        except CallParseError as error:
            told = json.dumps({"error": f"The call cannot be read: {error.message}"})
            return Turn(kept, kept, text, (("", told),), used)
        if not calls:
            return Turn(kept, kept, self._without_label(text), (), used)
        made = [_written(call, f"call_{len(messages)}_{place}") for place, call in enumerate(calls)]
        return Turn(kept, kept | {"tool_calls": made}, text, tuple(("", call) for call in calls), used)

    def feedback(self, answered: Sequence[tuple[str, str]]) -> list[Mapping[str, Any]]:
        """Return one message for each call."""
        return [{"role": "tool", "content": text} for _, text in answered]

    def _without_label(self, text: str) -> str:
        """Return the final answer behind its label, as ReAct styles write it."""
        for label in ("Response:", "Final Answer:"):
            _, found, answer = text.rpartition(label)
            if found and self._style.call_format == "react":
                return answer.strip()
        return text


def _written(call: ToolCall, key: str) -> dict[str, Any]:
    arguments = json.dumps(dict(call.arguments), ensure_ascii=False)
    return {"id": key, "type": "function", "function": {"name": call.name, "arguments": arguments}}


def _read_call(call: Mapping[str, Any]) -> ToolCall | str:
    """Return the call of an OpenAI message, or what is wrong with it, for the model to read; no arguments are `{}`."""
    function = call.get("function")
    try:
        if not isinstance(function, dict):
            raise TypeError('there is no "function"')
        arguments = function.get("arguments")
        value = json.loads(arguments.strip() or "{}") if isinstance(arguments, str) else arguments
        return ToolCall(function["name"], value or {})
    except (TypeError, KeyError, ValueError, RecursionError, DataError) as error:
        return json.dumps({"error": f"The call cannot be read: {error}"})
