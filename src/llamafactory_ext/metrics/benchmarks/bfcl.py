"""BFCL v3: TS, PI and CF on the executable split (TL-Training, arXiv:2412.15495, section 5.1), AST on the other.

TL-Training does not define its three figures here; 87 % TS for a model of one call exceeds what is possible if all
calls were needed, so `official` compares the first predicted call with any gold call, as in RoTBench. `strict` wants
all calls, in any order. Nothing is executed: most functions of the split need the network.
"""

from __future__ import annotations

from collections.abc import Sequence
from contextlib import suppress

from ...errors import CallParseError, DataError, NoCallError
from ...toolcalls import ToolCall
from ..answers import Answered, Scored, predicted_calls
from ..report import Mode, Verdict
from .python_calls import decode
from .rotbench import level_verdict

_NOTES = {
    "official": "TS/PI/CF compare the first predicted call with any gold call; arguments are compared, not executed.",
    "strict": "TS/PI/CF want all gold calls, in any order; arguments are compared, not executed.",
}


def score(answered: Sequence[Answered], mode: Mode) -> Scored:
    """Scores the executable split."""
    return Scored(tuple(_verdict(one, mode) for one in answered), (_NOTES[mode],))


def _verdict(one: Answered, mode: Mode) -> Verdict:
    golds = _gold(one)
    try:
        calls = _predicted(one)
    except CallParseError as error:
        category = "no call" if isinstance(error, NoCallError) else "malformed call"
        return level_verdict(one.item, 0, category, error.message, parsed=False)
    if mode == "official":
        return level_verdict(one.item, max(_level(gold, calls[0]) for gold in golds))
    if len(calls) != len(golds):
        return level_verdict(one.item, 0, "wrong number of calls", f"{len(calls)} of {len(golds)}")
    return level_verdict(one.item, max(level for level in range(4) if _all_reach(level, golds, calls)))


def _all_reach(level: int, golds: Sequence[ToolCall], calls: Sequence[ToolCall]) -> bool:
    """Whether each gold call has a predicted call of its own at this level.

    Agreement at a level is an equivalence, so taking the first that fits never blocks a later one.
    """
    left = list(calls)
    for gold in golds:
        found = next((call for call in left if _level(gold, call) >= level), None)
        if found is None:
            return False
        left.remove(found)
    return True


def _level(gold: ToolCall, call: ToolCall) -> int:
    if gold.name != call.name:
        return 0
    if gold.arguments.keys() != call.arguments.keys():
        return 1
    return 3 if gold == call else 2


def _gold(one: Answered) -> list[ToolCall]:
    try:
        return [ToolCall(*call) for text in one.item.record["ground_truth"] for call in decode(text)]
    except (CallParseError, DataError, AttributeError) as error:
        raise DataError(f"{one.item.id}: a published call is none ({error}); get BFCL's files again.") from None


def _predicted(one: Answered) -> list[ToolCall]:
    """By the published decoder, which reads expressions too (`p=1/6`); else calls in any format."""
    if not one.prediction.messages:
        with suppress(CallParseError, DataError):
            calls = [ToolCall(*call) for call in decode(one.prediction.prediction)]
            if calls:
                return calls
    return predicted_calls(one.prediction)
