"""Reading what a judge has filled in: as the published code does, quirks included, or as it should be read."""

from __future__ import annotations

import json
import re
from collections.abc import Iterator, Mapping
from dataclasses import dataclass
from typing import Any

from ..toolcalls.thoughts import split_thought
from .cases import Case
from .judge_prompt import CRITERIA, PROCEDURE_POINTS, Mode

_OFFICIAL = re.compile(r"```json(.*?)```", re.DOTALL)
_MARK = re.compile("```")
_WORD = re.compile(r"\A[a-zA-Z]*+[ \t]*+\n?")
_OF_FIVE = re.compile(r"\s*([0-5])(?:\s*/\s*5)?\s*")
_LONGEST = 1 << 18
_MOST_STARTS = 200
_LARGEST_SCORE = 10**6


@dataclass(frozen=True)
class Verdict:
    """What a judge says of a case.

    Attributes:
        finals: the three final scores, by criterion.
        points: by criterion, a score from 0 to 2 for each key point; None where there is none.
    """

    finals: Mapping[str, int]
    points: Mapping[str, tuple[int | None, ...]]

    def rate(self, criterion: str) -> float | None:
        """Return the share of what its key points could give; None unless all are scored."""
        scores = self.points[criterion]
        known = [score for score in scores if score is not None]
        return sum(known) / (2 * len(scores)) if scores and len(known) == len(scores) else None

    def inconsistent(self) -> list[str]:
        """Return the criteria whose final score lies more than 2 from five times their key points' rate."""
        rates = {name: self.rate(name) for name in CRITERIA}
        return [name for name, rate in rates.items() if rate is not None and abs(5 * rate - self.finals[name]) > 2]


def read_verdict(reply: str, case: Case, mode: Mode = "strict") -> Verdict | None:
    """Return what a reply says; None if it cannot be read.

    Args:
        reply: the judge's words.
        case: has the key points.
        mode: "official": the first fenced block that begins with ```json, its backslashes doubled (those before
            quotes once more), scores by Python's int(). "strict": any fence or bare object, the last that holds all
            three criteria, behind the thought that a reply begins with; scores are whole numbers from 0 to 5, or texts
            such as "4/5".
    """
    if mode == "official":
        form = _official(reply)
        finals = {name: _official_score(form, name) for name in CRITERIA}
    else:
        form = _strict(split_thought(reply)[1][-_LONGEST:])
        finals = {name: _strict_score(_final(form, name)) for name in CRITERIA}
    if any(score is None for score in finals.values()):
        return None
    return Verdict({name: score for name, score in finals.items() if score is not None}, _points(form, case))


def _official(reply: str) -> Any:
    found = _OFFICIAL.search(reply)
    if found is None:
        return None
    try:
        return json.loads(found[1].strip().replace("\\", "\\\\").replace('\\"', '\\\\"'))
    except (ValueError, RecursionError):
        return None


def _official_score(form: Any, name: str) -> int | None:
    """Return the final score as the published code takes it: 4.9 is 4, true is 1, 7 stays 7.

    What makes it crash is None.
    """
    try:
        score = int(form[name]["Final Assessment"]["score"])
        return score if abs(score) < _LARGEST_SCORE else None
    except (TypeError, KeyError, ValueError, OverflowError, IndexError):
        return None


def _strict(reply: str) -> Any:
    """Return the last object that holds all three criteria."""
    for text in _candidates(reply):
        try:
            form = json.loads(text, strict=False)
        except (ValueError, RecursionError):
            continue
        if isinstance(form, dict) and all(isinstance(form.get(name), dict) for name in CRITERIA):
            return form
    return None


def _candidates(reply: str) -> Iterator[str]:
    """Return fenced blocks, last first; then objects from the outermost braces on."""
    # Two by two, as marks of fences open and close: one search, however many there are.
    marks = list(_MARK.finditer(reply))
    fenced = [reply[opens.end() : closes.start()] for opens, closes in zip(marks[::2], marks[1::2], strict=False)]
    yield from (_WORD.sub("", text, count=1) for text in reversed(fenced))
    end = reply.rfind("}") + 1
    decoder = json.JSONDecoder(strict=False)
    found: list[str] = []
    start = reply.find("{")
    for _ in range(_MOST_STARTS):
        if not 0 <= start < end:
            break
        try:
            _, stop = decoder.raw_decode(reply, start)
        except (ValueError, RecursionError):
            start = reply.find("{", start + 1)
            continue
        found.append(reply[start:stop])
        start = reply.find("{", stop)
    yield from reversed(found)


def _final(form: Any, name: str) -> Any:
    final = form[name].get("Final Assessment") if form is not None else None
    return final.get("score") if isinstance(final, dict) else None


def _strict_score(value: Any, most: int = 5) -> int | None:
    if isinstance(value, str):
        found = _OF_FIVE.fullmatch(value)
        value = int(found[1]) if found else None
    if isinstance(value, float) and value.is_integer():
        value = int(value)
    if isinstance(value, bool) or not isinstance(value, int) or not 0 <= value <= most:
        return None
    return value


def _points(form: Any, case: Case) -> dict[str, tuple[int | None, ...]]:
    listed = {"Procedure": PROCEDURE_POINTS, "Personalization": case.personal, "Proactivity": case.proactive}
    return {name: tuple(_point(form, name, point) for point in dict.fromkeys(listed[name])) for name in CRITERIA}


def _point(form: Any, name: str, point: str) -> int | None:
    part = form[name]
    points = part.get(f"Keypoints for {name}") if isinstance(part, dict) else None
    row = points.get(point) if isinstance(points, dict) else None
    return _strict_score(row.get("score"), 2) if isinstance(row, dict) else None


def holds_form(text: str) -> bool:
    """Tell whether a trajectory holds a filled form, which may be meant to deceive a judge."""
    return all(f"Keypoints for {name}" in text for name in CRITERIA) or text.count("Final Assessment") > 2
