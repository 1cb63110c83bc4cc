"""BFCL's executable split: TS, PI and CF (TL-Training, arXiv:2412.15495, section 5.1).

TL-Training does not define its three figures here; 87 % TS for a model of one call exceeds what is possible if all
calls were needed, so `official` compares the first predicted call with any gold call, as in RoTBench. `strict` wants
all calls, in any order. Nothing is executed: most functions of the split need the network. Arguments are compared as
the functions would get them from the published evaluator, which writes the decoded call out as python text.

Two things differ from that evaluator, and the report counts them: arguments by position are bound in the declared
order (its decoder drops them, so a gold call of its own fails), and calls of other formats are read.
"""

from __future__ import annotations

import ast
from collections.abc import Mapping, Sequence
from contextlib import suppress
from dataclasses import dataclass
from functools import partial
from typing import Any

from ...data.public.bfcl_files import bound, parameter_names
from ...errors import CallParseError, DataError, NoCallError
from ...toolcalls import ToolCall
from ..answers import Answered, Context, Scored
from ..report import Mode, Verdict
from .bfcl_items import decoder
from .bfcl_reading import OTHER_FORMAT, TOOL_CALLS, count_note, other_calls, stated_calls, version_note
from .pairing import can_pair
from .python_calls import PythonCall, Version, decode, value_of
from .rotbench import level_verdict

BY_POSITION = "arguments by position"
_NOTES = {
    "official": "TS/PI/CF compare the first predicted call with any gold call; arguments are compared, not executed.",
    "strict": "TS/PI/CF want all gold calls, in any order; arguments are compared, not executed.",
}


@dataclass(frozen=True)
class _Made:
    """A predicted call: its name, the names of its arguments, and the call itself if it could be executed."""

    name: str
    keys: frozenset[Any]
    call: ToolCall | None


def score(answered: Sequence[Answered], mode: Mode, version: Version = "v3") -> Scored:
    """Score the executable split."""
    verdicts = tuple(_verdict(one, mode, version) for one in answered)
    notes = (
        _NOTES[mode],
        version_note(version),
        *count_note(verdicts, TOOL_CALLS, "give calls as tool_calls, as function-calling models do"),
        *count_note(verdicts, OTHER_FORMAT, "are no list of python calls and were read in another format"),
        *count_note(verdicts, BY_POSITION, "give arguments by position, which the published decoder drops"),
    )
    return Scored(verdicts, notes)


def _verdict(one: Answered, mode: Mode, version: Version) -> Verdict:
    golds = _gold(one)
    try:
        calls, detail = _predicted(one, version)
    except CallParseError as error:
        category = "no call" if isinstance(error, NoCallError) else "malformed call"
        return level_verdict(one.item, 0, category, error.message, parsed=False)
    if mode == "official":
        return level_verdict(one.item, max(_level(gold, calls[0]) for gold in golds), detail=detail)
    if len(calls) != len(golds):
        return level_verdict(one.item, 0, "wrong number of calls", f"{len(calls)} of {len(golds)}")
    reached = max(level for level in range(4) if can_pair(golds, calls, partial(_reaches, level)))
    return level_verdict(one.item, reached, detail=detail)


def _reaches(level: int, gold: ToolCall, made: _Made) -> bool:
    return _level(gold, made) >= level


def _level(gold: ToolCall, made: _Made) -> int:
    if gold.name != made.name:
        return 0
    if gold.arguments.keys() != made.keys:
        return 1
    return 3 if gold == made.call else 2


def _gold(one: Answered) -> list[ToolCall]:
    try:
        texts = one.item.record["ground_truth"]
        golds = [_bound(call, one) for text in texts for call in decode(text, "v4")]
        return [ToolCall(name, arguments) for name, arguments in golds]
    except (CallParseError, DataError, ValueError, TypeError, AttributeError) as error:
        raise DataError(f"{one.item.id}: a published call is none ({error}); get BFCL's files again.") from None


def _predicted(one: Answered, version: Version) -> tuple[list[_Made], str]:
    """Return the calls of a prediction and how they were read: by the published decoder, else in any format."""
    found, detail = stated_calls(one), TOOL_CALLS
    if found is None:
        with suppress(CallParseError):
            calls = decode(one.prediction.prediction, version)
            if calls:
                return [_made(call, one) for call in calls], BY_POSITION if any(c.positional for c in calls) else ""
        found, detail = other_calls(one), OTHER_FORMAT
    return [_Made(call.name, frozenset(call.arguments), call) for call in found], detail


def _made(call: PythonCall, one: Answered) -> _Made:
    """Return what a decoded call comes to.

    Raises:
        CallParseError: an empty object, at which the published evaluator gives the whole prediction up.
    """
    try:
        name, arguments = _bound(call, one)
    except (ValueError, TypeError, ArithmeticError, LookupError):
        return _Made(call.name, frozenset(call.arguments), None)
    if any(_has_empty(value) for value in arguments.values()):
        raise CallParseError("an empty object as a value")
    keys = frozenset(arguments)
    try:
        return _Made(name, keys, ToolCall(name, {key: _written(value) for key, value in arguments.items()}))
    except (DataError, ValueError, SyntaxError):
        return _Made(name, keys, None)


def _bound(call: PythonCall, one: Answered) -> tuple[str, Mapping[Any, Any]]:
    if not call.positional:
        return call.name, call.arguments
    names = parameter_names(one.item.record["function"], call.name)
    return call.name, bound(names, [value_of(node) for node in call.positional], call.arguments)


def _has_empty(value: Any) -> bool:
    return isinstance(value, dict) and (not value or any(_has_empty(inner) for inner in value.values()))


def _written(value: Any) -> Any:
    """Return a value as it comes back from the python text that the published evaluator executes.

    Objects are written member by member with their keys in single quotes; one whose members are all objects is
    written as a call, which no function answers here.

    Raises:
        ValueError, SyntaxError: such a call, or a key that breaks the text.
    """
    if not isinstance(value, dict):
        return value
    if all(isinstance(inner, dict) for inner in value.values()):
        raise ValueError("a call within a call")
    return {ast.literal_eval(f"'{key}'"): _written(inner) for key, inner in value.items()}


def run(answered: Sequence[Answered], context: Context) -> Scored:
    """Score as the benchmark's row asks."""
    return score(answered, context.mode, decoder(context))
