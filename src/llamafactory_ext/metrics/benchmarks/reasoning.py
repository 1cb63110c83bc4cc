"""Score BBH (arXiv:2210.09261), AGIEval's English multiple choice (arXiv:2304.06364) and ARC (arXiv:1803.05457).

`strict` gives each item two figures, the share of right answers behind the cue and, as "lenient", of right last
candidates where the cue is missing. `official` reads as the published evaluator of arXiv:2409.13183 does
(`reference_answer`).
"""

from __future__ import annotations

import re
from collections.abc import Callable, Sequence
from dataclasses import dataclass
from decimal import Decimal, InvalidOperation
from functools import partial
from typing import Final

from ...data.public.reasoning import arc_choices
from ...errors import DataError
from ..answers import Answered, Context, Scored
from ..references import Item
from ..report import Mode, Verdict
from .cued_answers import (
    behind_cue,
    last_candidate,
    read_brackets,
    read_choice,
    read_list,
    read_number,
    read_word,
    reference_answer,
)

_OPTION: Final = re.compile(r"^\s*\(([A-Z])\)\s*(.+?)\s*$", re.MULTILINE)
_WORDS: Final = (("yes", "no"), ("true", "false"), ("valid", "invalid"))
_LISTS: Final = "word_sorting"


@dataclass(frozen=True)
class Gold:
    """The right answer of an item, how to read one from a text, and the text of the right option."""

    answer: object
    read: Callable[[str], object]
    written: str
    option: str = ""


def run_bbh(answered: Sequence[Answered], context: Context) -> Scored:
    """Score BBH; the answer's kind follows from the target."""
    return _scored(answered, context.mode, "BBH", _bbh)


def run_agieval(answered: Sequence[Answered], context: Context) -> Scored:
    """Score AGIEval's multiple choice."""
    return _scored(answered, context.mode, "AGIEval", _agieval)


def run_arc(answered: Sequence[Answered], context: Context) -> Scored:
    """Score ARC."""
    return _scored(answered, context.mode, "ARC", _arc)


def _scored(answered: Sequence[Answered], mode: Mode, name: str, gold_of: Callable[[Item], Gold]) -> Scored:
    return Scored(tuple(_verdict(one, mode, name, gold_of(one.item)) for one in answered))


def _verdict(one: Answered, mode: Mode, name: str, gold: Gold) -> Verdict:
    reply = one.prediction.prediction
    if mode == "official":
        said = reference_answer(reply)
        right = _reference_right(said, gold)
        return Verdict(one.item.id, {name: float(right)}, "right" if right else "wrong", bool(said), said)
    cued = behind_cue(reply)
    said_strictly = gold.read(cued) if cued is not None else None
    lenient = said_strictly if cued is not None else last_candidate(reply, gold.read)
    right = said_strictly is not None and said_strictly == gold.answer
    figures = {
        name: float(right),
        f"{name} lenient": float(lenient is not None and lenient == gold.answer),
        "cue missing": float(cued is None),
    }
    category = "right" if right else "no cue" if cued is None else "no answer" if said_strictly is None else "wrong"
    return Verdict(one.item.id, figures, category, cued is not None, str(said_strictly or ""))


def _reference_right(said: str, gold: Gold) -> bool:
    """Compare as the published evaluator does: a letter anywhere in the answer counts, and "invalid" anywhere."""
    if gold.option or re.fullmatch(r"\([A-Z]\)", gold.written):
        letter = gold.written.strip("()")
        return letter in said or (bool(gold.option) and said == gold.option)
    if gold.written in ("valid", "invalid"):
        return ("invalid" in said.lower()) == (gold.written == "invalid")
    return said.lower() == gold.written.lower()


def _bbh(item: Item) -> Gold:
    return gold_of(str(item.record["target"]), str(item.record["input"]), lists=item.group == _LISTS)


def gold_of(target: str, question: str, *, lists: bool = False) -> Gold:
    """Return the right answer by its text; its kind follows from it: a letter, a word, brackets, a number or a list.

    Args:
        target: the answer.
        question: with the options, written as "(A) text", if it has any.
        lists: the answer is a list of words, whatever it looks like.
    """
    target = target.strip()
    if letter := re.fullmatch(r"\(([A-Z])\)", target):
        options = dict(_OPTION.findall(question))
        return Gold(letter[1], partial(read_choice, options=options), target, options.get(letter[1], ""))
    for words in _WORDS:
        if target.lower() in words:
            return Gold(target.lower(), partial(read_word, words=words), target)
    if (brackets := read_brackets(target)) is not None:
        return Gold(brackets, read_brackets, target)
    if not lists and (number := _number(target)) is not None:
        return Gold(number, read_number, target)
    return Gold(read_list(target), read_list, target)


def _number(text: str) -> Decimal | None:
    try:
        return Decimal(text.replace(",", "")).normalize()
    except InvalidOperation:
        return None


def _agieval(item: Item) -> Gold:
    label = item.record.get("label")
    options = _agieval_options(item)
    if not isinstance(label, str) or label not in options:
        raise DataError(f"{item.id}: its label {label!r} names none of its options; get the published file again.")
    return Gold(label, partial(read_choice, options=options), f"({label})", options[label])


def _agieval_options(item: Item) -> dict[str, str]:
    """Return the options of an AGIEval item by letter.

    Raises:
        DataError: they are not written as "(A)text".
    """
    found = [re.match(r"\s*\(([A-Z])\)\s*(.*)", str(option), re.DOTALL) for option in item.record["options"]]
    if not all(found) or not found:
        raise DataError(f'{item.id}: its options are not written as "(A)text"; get the published file again.')
    return {match[1]: match[2].strip() for match in found if match}


def _arc(item: Item) -> Gold:
    choices, key = arc_choices(item.record), str(item.record["answerKey"])
    if not choices:
        raise DataError(f"{item.id}: its choices are no labels with texts; get the published file again.")
    options = {chr(65 + index): text for index, (_, text) in enumerate(choices)}
    letter = next((chr(65 + index) for index, (label, _) in enumerate(choices) if label == key), None)
    if letter is None:
        raise DataError(f"{item.id}: its answerKey {key!r} names none of its choices; get the published file again.")
    return Gold(letter, partial(read_choice, options=options), f"({letter})", options[letter])
