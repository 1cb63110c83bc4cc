"""What all scorers share: an item with its prediction, the calls in a prediction, and what a scorer returns."""

from __future__ import annotations

import json
from collections.abc import Callable, Mapping, Sequence
from contextlib import suppress
from dataclasses import dataclass, field
from pathlib import Path
from typing import Any

from ..errors import CallParseError, DataError, NoCallError
from ..toolcalls import Tool, ToolCall, detect, detect_turn, render_calls
from .predictions import Prediction
from .references import Item, References
from .report import Mode, Verdict

REWRITTEN = "call rewritten from JSON"


@dataclass(frozen=True)
class Answered:
    """An item and what the model answered."""

    item: Item
    prediction: Prediction


@dataclass(frozen=True)
class Scored:
    """What a scorer found.

    Attributes:
        verdicts: in the order of the items.
        notes: for the report.
        judge: who judged, tokens and cost; None without a judge.
        part: of the benchmark, where its figures must not stand beside the published ones; "" for the usual one.
    """

    verdicts: tuple[Verdict, ...]
    notes: tuple[str, ...] = ()
    judge: Mapping[str, Any] | None = None
    part: str = ""


@dataclass(frozen=True)
class Context:
    """What a scorer is given beside the items.

    Attributes:
        mode: official or strict.
        references: the files that the items come from.
        identity: hashes of predictions and references, with the mode.
        options: of `llamafactory-ext score`, by name; a benchmark's row says which of them it reads.
    """

    mode: Mode
    references: References
    identity: str = ""
    options: Mapping[str, Any] = field(default_factory=dict)

    @property
    def folder(self) -> Path:
        """Where the test files lie."""
        return self.references.files[0].parent


Scorer = Callable[[Sequence[Answered], Context], Scored]


def message_calls(message: Mapping[str, Any]) -> list[ToolCall]:
    """Return the calls of an assistant's message: its `tool_calls` (OpenAI), else those in its text.

    Raises:
        CallParseError: malformed calls; NoCallError if there are none.
    """
    stated = message.get("tool_calls")
    if not stated:
        content = message.get("content")
        return find_any_calls(content if isinstance(content, str) else "")
    try:
        return [_stated_call(call["function"]) for call in stated]
    except (TypeError, KeyError, ValueError, AttributeError, RecursionError, DataError) as error:
        raise CallParseError(f"malformed tool_calls ({error})") from None


def _stated_call(function: Mapping[str, Any]) -> ToolCall:
    arguments = function.get("arguments") or {}
    return ToolCall(function["name"], json.loads(arguments) if isinstance(arguments, str) else arguments)


def predicted_calls(prediction: Prediction, declared: Sequence[Tool] = ()) -> list[ToolCall]:
    """Return the calls of a prediction of one turn; declared tools type values that a format writes without types.

    Raises:
        CallParseError: malformed calls; NoCallError if there are none.
    """
    last = prediction.messages[-1] if prediction.messages else {}
    if last.get("role") == "assistant" and last.get("tool_calls"):
        return message_calls(last)
    return find_any_calls(prediction.prediction, declared)


def in_published_form(text: str, format_name: str) -> str | None:
    """Return the first call of a text that states calls as JSON, rewritten as the published evaluator reads calls.

    Chat templates make models write calls as JSON whatever the benchmark's prompt says; the published inference code
    does this conversion, not the published evaluator. None if the text states no such call.
    """
    with suppress(CallParseError, DataError):
        found = detect_turn(text)
        if found.format is not None and found.format.as_json:
            return render_calls([found.calls[0].call], format_name)
    return None


def rewritten_note(verdicts: Sequence[Verdict]) -> tuple[str, ...]:
    """Return how many predictions `in_published_form` changed, if any."""
    count = sum(verdict.detail == REWRITTEN for verdict in verdicts)
    return (f"{count} predictions state calls as JSON and were put into the benchmark's form first.",) if count else ()


def find_any_calls(text: str, declared: Sequence[Tool] = ()) -> list[ToolCall]:
    """Return the calls of a text, by the reader that all of this package uses.

    Raises:
        CallParseError: malformed calls; NoCallError if there are none.
    """
    calls = [found.call for found in detect(text, declared)]
    if not calls:
        raise NoCallError("there is no call in any known format")
    return calls
