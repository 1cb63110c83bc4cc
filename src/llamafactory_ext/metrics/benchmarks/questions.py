"""Questions with one answer: GSM8K (arXiv:2110.14168) and TriviaQA (arXiv:1705.03551).

`official` reads answers as the common evaluations do: GSM8K's last number as OpenCompass finds it, which takes the end
of "1,234" for 234, and TriviaQA's exact match of the whole text. `strict` reads what a chat reply gives as its answer
(see `final_answers`), without thoughts.
"""

from __future__ import annotations

import re
import string
from collections.abc import Sequence

from ...errors import DataError
from ..answers import Answered, Context, Scored
from ..references import Item
from ..report import Mode, Verdict
from .final_answers import final_number, short_answers

_NUMBER = re.compile(r"-?\d+\.\d+|-?\d+")
_ARTICLES = re.compile(r"\b(a|an|the)\b")
_PUNCTUATION = str.maketrans(dict.fromkeys(string.punctuation + "‘’´`", " "))


def score_gsm8k(answered: Sequence[Answered], mode: Mode) -> Scored:
    """Return the share of right final numbers."""
    return Scored(tuple(_number_verdict(one, mode) for one in answered))


def _number_verdict(one: Answered, mode: Mode) -> Verdict:
    text, gold = one.prediction.prediction.split("Question:")[0], _gold_number(one.item)
    said = final_number(text) if mode == "strict" else _last_number(text)
    right = said is not None and abs(float(said) - gold) < 1e-6
    category = "right" if right else "no number" if said is None else "wrong"
    return Verdict(one.item.id, {"GSM": float(right)}, category, said is not None, "" if said is None else str(said))


def _gold_number(item: Item) -> float:
    try:
        return float(str(item.record["answer"]).split("#### ")[1].replace(",", ""))
    except (IndexError, ValueError):
        raise DataError(
            f"{item.id}: the answer does not end in '#### NUMBER'; get GSM8K's test.jsonl again."
        ) from None


def _last_number(text: str) -> str | None:
    numbers = _NUMBER.findall(text)
    return numbers[-1] if numbers else None


def score_triviaqa(answered: Sequence[Answered], mode: Mode) -> Scored:
    """Return exact match with any of the answers, normalised as in the published evaluation."""
    return Scored(tuple(_match_verdict(one, mode) for one in answered))


def _match_verdict(one: Answered, mode: Mode) -> Verdict:
    answers = one.item.record["answer"]
    if not answers:
        raise DataError(f'{one.item.id}: "answer" is empty; write one question with its answers per line.')
    text = one.prediction.prediction
    said = short_answers(text) if mode == "strict" else [text]
    golds = {_normalised(str(answer)) for answer in answers}
    right = bool(text.strip()) and any(_normalised(words) in golds for words in said)
    return Verdict(one.item.id, {"TQA": float(right)}, "right" if right else "wrong", bool(text.strip()))


def _normalised(text: str) -> str:
    """Return the text in lower case, without punctuation, articles and surplus blanks."""
    return " ".join(_ARTICLES.sub(" ", text.replace("_", " ").lower().translate(_PUNCTUATION)).split())


def run_gsm8k(answered: Sequence[Answered], context: Context) -> Scored:
    """Score GSM8K as its row asks."""
    return score_gsm8k(answered, context.mode)


def run_triviaqa(answered: Sequence[Answered], context: Context) -> Scored:
    """Score TriviaQA as its row asks."""
    return score_triviaqa(answered, context.mode)
