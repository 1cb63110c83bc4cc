"""How well a judge agrees with people."""

from __future__ import annotations

import json
from collections.abc import Mapping
from pathlib import Path
from typing import Any

from ..errors import DataError
from ..metrics.report import read_verdicts
from .figures import quadratic_kappa, spearman
from .judge_prompt import CRITERIA, finals_of

PUBLISHED = "The paper is reported to state a mean difference of 0.01 and 89.6 % of scores within one point."


def agreement(human: Path, verdicts: Path) -> str:
    """Return a table: mean difference, share within one point, quadratic kappa and rank correlation.

    Raises:
        DataError: a file is missing or malformed, or they have no case in common.
    """
    said = _human(human)
    judged = {one.id: finals_of(one, verdicts) for one in read_verdicts(verdicts) if one.parsed and one.scores}
    both = [key for key in said if key in judged]
    if not both:
        raise DataError(f"{human} and {verdicts} have no judged case in common; check that they are of one run.")
    lines = ["| score | n | judge - people | within 1 | kappa | rank correlation |", "|---|---|---|---|---|---|"]
    for criterion in (name.lower() for name in CRITERIA):
        pairs = [(round(judged[key][criterion]), said[key][criterion]) for key in both]
        differences = [one - other for one, other in pairs]
        within = sum(abs(gap) <= 1 for gap in differences) / len(pairs)
        measures = (quadratic_kappa(pairs), spearman(pairs))
        shown = " | ".join("-" if value is None else f"{value:.2f}" for value in measures)
        average = sum(differences) / len(pairs)
        lines.append(f"| {criterion} | {len(pairs)} | {average:+.2f} | {within:.1%} | {shown} |")
    return "\n".join([*lines, "", PUBLISHED])


def _human(path: Path) -> dict[str, Mapping[str, Any]]:
    try:
        lines = path.read_text("utf-8").splitlines()
    except (OSError, ValueError) as error:
        raise DataError(f"{path} cannot be read ({error}); name the file of people's scores.") from None
    found: dict[str, Mapping[str, Any]] = {}
    for number, line in enumerate(lines, start=1):
        try:
            record = json.loads(line)
            scores = {name.lower(): record[name.lower()] for name in CRITERIA}
            if not all(type(score) is int and 0 <= score <= 5 for score in scores.values()):
                raise ValueError("a score is no whole number from 0 to 5")
            found[str(record["id"])] = scores
        except (ValueError, KeyError, TypeError, RecursionError) as error:
            raise DataError(f"{path}, line {number}: {error!r}; write id and three scores from 0 to 5.") from None
    return found
