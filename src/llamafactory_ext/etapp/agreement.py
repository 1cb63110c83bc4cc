"""How well a judge agrees with people."""

from __future__ import annotations

import json
from collections.abc import Mapping, Sequence
from pathlib import Path
from typing import Any

from ..checkpoint.own import refuse_special
from ..errors import DataError
from ..metrics.crossed import quadratic_kappa, spearman
from ..metrics.report import lines_of
from .judge_prompt import CRITERIA, finals_of
from .judges import read_judged

PUBLISHED = "The paper is reported to state a mean difference of 0.01 and 89.6 % of scores within one point."


def agreement(human: Path, verdicts: Path) -> str:
    """Return a table: mean difference, share within one point, quadratic kappa and rank correlation.

    A judge's score is its mean over samples; it is compared as it is.

    Raises:
        DataError: a file is missing or malformed, the verdicts are not their report's, or no case is in both.
    """
    said = _human(human)
    read = [one for one in read_judged(verdicts).values() if one.parsed and one.scores]
    judged = {one.id: finals_of(one, verdicts) for one in read}
    both = [key for key in said if key in judged]
    if not both:
        raise DataError(f"{human} and {verdicts} have no judged case in common; check that they are of one run.")
    lines = ["| score | n | judge - people | within 1 | kappa | rank correlation |", "|---|---|---|---|---|---|"]
    for criterion in (name.lower() for name in CRITERIA):
        pairs = [(judged[key][criterion], said[key][criterion]) for key in both]
        differences = [one - other for one, other in pairs]
        within = sum(abs(gap) <= 1 for gap in differences) / len(pairs)
        measures = (quadratic_kappa(pairs), spearman(pairs))
        shown = " | ".join("-" if value is None else f"{value:z.2f}" for value in measures)
        average = sum(differences) / len(pairs)
        lines.append(f"| {criterion} | {len(pairs)} | {average:+z.2f} | {within:.1%} | {shown} |")
    alone = {"scores of people have no verdict": len(said) - len(both)}
    alone |= {"verdicts have no score of people": len(judged) - len(both)}
    left = [f"{count} {what}, and are left out." for what, count in alone.items() if count]
    return "\n".join([*lines, "", *left, PUBLISHED])


def _human(path: Path) -> dict[str, Mapping[str, Any]]:
    refuse_special(path)
    try:
        lines = lines_of(path.read_text("utf-8-sig"))
    except (OSError, ValueError) as error:
        why = error.strerror if isinstance(error, OSError) else "no text in UTF-8"
        raise DataError(f"{path} cannot be read ({why}); name the file of people's scores.") from None
    found: dict[str, Mapping[str, Any]] = {}
    for number, line in enumerate(lines, start=1):
        if not line.strip():
            continue
        try:
            record = json.loads(line, object_pairs_hook=_once)
            if not isinstance(record, dict):
                raise ValueError("no object")
            if absent := [name for name in ("id", *map(str.lower, CRITERIA)) if name not in record]:
                raise ValueError(f'"{absent[0]}" is missing')
            scores = {name.lower(): record[name.lower()] for name in CRITERIA}
            if not all(type(score) is int and 0 <= score <= 5 for score in scores.values()):
                raise ValueError("a score is no whole number from 0 to 5")
            if str(record["id"]) in found:
                raise ValueError(f"the case {record['id']} stands on an earlier line")
            found[str(record["id"])] = scores
        except (ValueError, RecursionError) as error:
            why = "nested too deep" if isinstance(error, RecursionError) else str(error)
            raise DataError(
                f"{path}, line {number}: {why}; write each case once, its id and three scores from 0 to 5."
            ) from None
    if not found:
        raise DataError(f"{path} holds no scores; write one case a line, its id and three scores from 0 to 5.")
    return found


def _once(pairs: Sequence[tuple[str, Any]]) -> dict[str, Any]:
    """Return an object of JSON whose names stand once each."""
    found = dict(pairs)
    if len(found) < len(pairs):
        raise ValueError("a name stands twice")
    return found
