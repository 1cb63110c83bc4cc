"""RoTBench (arXiv:2401.08326, section 3.3): tool selection, parameter identification, content filling, one turn.

A gold turn lists alternatives; each figure asks for one alternative that agrees, and each includes the one before. The
noise levels (clean, slight, medium, heavy, union) are groups of the report, those of the third turn (third-clean, ...)
too: its files go by the same rules, with ids and ceilings of their own.
"""

from __future__ import annotations

import json
from collections.abc import Mapping, Sequence
from typing import Any

from ...errors import CallParseError, DataError, NoCallError
from ...toolcalls import ToolCall, parse_calls
from ..answers import REWRITTEN, Answered, Context, Scored, in_published_form, predicted_calls, rewritten_note
from ..references import Item
from ..report import Mode, Verdict

FIGURES = ("TS", "PI", "CF")
CATEGORIES = ("wrong tool", "wrong parameters", "wrong content", "right")
THIRD_TURN = "third turn"
# What gold answers score with the published evaluator, in per cent, all three figures: empty arguments fail.
_CEILING = {
    "clean": "92.38",
    "slight": "92.38",
    "medium": "92.38",
    "heavy": "95.24",
    "union": "92.38",
    "third-clean": "95.71",
    "third-slight": "95.71",
    "third-medium": "95.71",
    "third-heavy": "97.86",
    "third-union": "98.57",
}
# Their content is free, also where noise gives these names to other tools (the published script goes by both).
_FREE = ("ask_to_user", "finish")
_ACTION, _INPUT = "Action:", "Action Input:"


def score(answered: Sequence[Answered], mode: Mode) -> Scored:
    """Score answers of one turn, the first or the third."""
    verdicts = tuple((_official if mode == "official" else _strict)(one) for one in answered)
    part = THIRD_TURN if any(one.item.group.startswith("third-") for one in answered) else ""
    if mode == "strict":
        return Scored(verdicts, ("TS/PI/CF compare the first call, also one without arguments.",), part=part)
    levels = dict.fromkeys(one.item.group for one in answered)
    shown = ", ".join(f"{level} {_CEILING[level]}" for level in levels if level in _CEILING)
    ceiling = f"Gold answers score with the published evaluator (all figures, per cent): {shown}."
    return Scored(verdicts, (ceiling, *rewritten_note(verdicts)), part=part)


def level_verdict(item: Item, level: int, category: str = "", detail: str = "", parsed: bool = True) -> Verdict:
    """Return TS, PI and CF of an item that reached this level (0 to 3)."""
    scores = {name: float(level > place) for place, name in enumerate(FIGURES)}
    return Verdict(item.id, scores, category or CATEGORIES[level], parsed, detail, item.group)


def _gold(item: Item) -> tuple[list[str], list[str]]:
    """Return the alternatives, and the names of the declared tools."""
    try:
        conversation = item.record["conversations"]
        system = conversation[0]["value"]
        tools, _ = json.JSONDecoder().raw_decode(system, system.index("["))
        alternatives = conversation[-1]["value"]
        names = [tool["name"] for tool in tools]
        if len(names) < 2 or not isinstance(alternatives, list):
            raise DataError(f"{item.id}: no alternatives, or fewer than two tools; get RoTBench's files again.")
    except (TypeError, AttributeError, LookupError, ValueError, RecursionError) as error:
        raise DataError(f"{item.id}: not in RoTBench's form ({error!r}); get its files again.") from None
    return alternatives, names


def _official(one: Answered) -> Verdict:
    alternatives, names = _gold(one.item)
    text = one.prediction.prediction
    rewritten = in_published_form(text, "react") if _ACTION not in text else None
    try:
        action, given = _official_parts(text if rewritten is None else rewritten)
        if not given:
            return level_verdict(one.item, 0, "no call", "no arguments, or no strict JSON", parsed=False)
        levels = [_official_level(alternatives, names, action, given, target) for target in (1, 2, 3)]
    except (IndexError, AttributeError, KeyError, TypeError, ValueError, RecursionError) as error:
        return level_verdict(
            one.item, 0, "no call", f"the published script stops here ({type(error).__name__})", parsed=False
        )
    return level_verdict(one.item, max(levels), detail="" if rewritten is None else REWRITTEN)


def _official_parts(text: str) -> tuple[str, Any]:
    """Return name and decoded input by the published script's offsets, which are kept where a label is missing."""
    action = _cut_name(text)
    try:
        given = json.loads(text[text.find(_INPUT) + len(_INPUT) + 1 :])
    except json.JSONDecodeError:
        return action, None
    return action, None if isinstance(given, str) else given


def _cut_name(text: str) -> str:
    name = text[text.find(_ACTION) + len(_ACTION) + 1 : text.find(_INPUT)]
    return name[:-1] if name[-1] == "\n" else name


def _official_level(alternatives: list[str], names: list[str], action: str, given: Any, target: int) -> int:
    """Return how far the prediction gets when the published script asks for this level: 0, or `target` and below.

    `finish` stands for the last tool's noisy name from the first alternative that is that tool on. What "None" in an
    alternative lets through stays deleted for the alternatives after it.
    """
    given = dict(given) if isinstance(given, dict) else given
    reached = 0
    for alternative in alternatives:
        gold_name = _cut_name(alternative)
        gold = json.loads(alternative[alternative.find(_INPUT) + len(_INPUT) + 1 :])
        if gold_name == names[-1] and action == "finish":
            action = gold_name
        if gold_name != action:
            continue
        reached = max(reached, 1)
        if target == 1:
            break
        if gold.keys() != given.keys():
            continue
        reached = max(reached, 2)
        if target == 2:
            break
        for free in [key for key, value in gold.items() if value == "None"]:
            del gold[free]
            del given[free]
        if gold == given or gold_name in (*names[-2:], *_FREE):
            return 3
    return reached


def _strict(one: Answered) -> Verdict:
    alternatives, names = _gold(one.item)
    try:
        call = predicted_calls(one.prediction)[0]
    except CallParseError as error:
        category = "no call" if isinstance(error, NoCallError) else "malformed call"
        return level_verdict(one.item, 0, category, error.message, parsed=False)
    golds = [parse_calls(alternative, "react")[0] for alternative in alternatives]
    return level_verdict(one.item, max(_strict_level(gold, call, names) for gold in golds))


def _strict_level(gold: ToolCall, call: ToolCall, names: list[str]) -> int:
    if call.name != gold.name and not (call.name == "finish" and gold.name == names[-1]):
        return 0
    if gold.arguments.keys() != call.arguments.keys():
        return 1
    same = ToolCall(gold.name, _fixed(gold, gold)) == ToolCall(gold.name, _fixed(call, gold))
    return 3 if same or gold.name in names[-2:] else 2


def _fixed(call: ToolCall, gold: ToolCall) -> Mapping[str, Any]:
    """Return the arguments whose value the gold call fixes: "None" leaves it open."""
    return {key: value for key, value in call.arguments.items() if gold.arguments[key] != "None"}


def run(answered: Sequence[Answered], context: Context) -> Scored:
    """Score as the benchmark's row asks."""
    return score(answered, context.mode)
