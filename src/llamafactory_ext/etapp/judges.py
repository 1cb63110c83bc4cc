"""Judges told apart: what makes one, which reports of judges lie beside a run, and which verdicts are a report's."""

from __future__ import annotations

from collections.abc import Collection, Mapping
from dataclasses import dataclass
from pathlib import Path
from typing import Any

from ..checkpoint.own import sha256
from ..errors import DataError, OptionError
from ..metrics.report import Report, Verdict, read_report, read_verdicts, verdicts_path

STANDARD = ("", ".official", ".checkout", ".official.checkout")
"""What `etapp judge` puts into the names of its reports, by mode and prompt."""
_PARTS = ("model", "temperature", "prompt", "samples", "good_from")
_AGAIN = "repeat the command of `llamafactory-ext etapp judge`; replies that its log holds are not asked for again"


@dataclass(frozen=True)
class Judgement:
    """What one judge said of a run.

    Attributes:
        report: of the judge.
        verdicts: by case.
    """

    report: Report
    verdicts: Mapping[str, Verdict]

    @property
    def judge(self) -> Mapping[str, Any]:
        """See `judge_of`."""
        return judge_of(self.report)


def judge_of(report: Report) -> dict[str, Any]:
    """Return what a judge's figures depend on: figures of two judges are compared only where all of it is equal.

    Parts that an earlier version did not write are None.
    """
    told = report.judge or {}
    return {**{part: told.get(part) for part in _PARTS}, "reading": report.mode}


def described(judge: Mapping[str, Any]) -> str:
    """Return a judge in words."""
    least = ", ".join(f"{name} {score:g}" for name, score in (judge["good_from"] or {}).items())
    parts = (
        f"model {judge['model']}",
        f"temperature {judge['temperature']}",
        f"prompt {judge['prompt']}",
        f"replies read {judge['reading']}",
        f"samples {judge['samples']}",
        f"good from {least or 'unknown'}",
    )
    return ", ".join(parts)


def report_beside(predictions: Path, what: str) -> Path:
    """Return where a report on a prediction file lies: `a.check.json` for `a.jsonl`, `a.txt.check.json` for `a.txt`.

    So files that differ in their suffix alone have reports of their own.
    """
    stem = predictions.stem if predictions.suffix == ".jsonl" else predictions.name
    return predictions.with_name(f"{stem}.{what}.json")


def report_for(predictions: Path, what: str) -> Path:
    """Return where a command puts the report on a prediction file that it was given no place for.

    Raises:
        OptionError: another file there has a report of the same name.
    """
    target = report_beside(predictions, what)
    is_lines = predictions.suffix == ".jsonl"
    twin = predictions.with_name(predictions.stem if is_lines else f"{predictions.name}.jsonl")
    if twin.is_file():
        raise OptionError(f"{target} would be the report on {twin.name} as well; name another place with --out.")
    return target


def judgements(predictions: Path, digest: str) -> tuple[list[Judgement], list[str]]:
    """Return what judges said of a prediction file, by the reports beside it, and notes on reports left out.

    A report under a name of `etapp judge` must be about this very file. One under another name
    (`--out a.judge.other.json`) counts if it is.

    Args:
        predictions: the file.
        digest: its SHA-256.

    Raises:
        DataError: a report is of another file, of no judge, or its verdicts are not its own.
    """
    standard = [report_beside(predictions, f"judge{word}") for word in STANDARD]
    found = [read_judgement(path, digest) for path in standard if path.is_file()]
    notes = []
    begin = standard[0].name.removesuffix("json")
    for path in sorted(predictions.parent.iterdir()):
        is_named = path.name.startswith(begin) and path.suffix == ".json" and not path.name.endswith(".settings.json")
        if not is_named or path in standard or not path.is_file():
            continue
        try:
            report = read_report(path)
        except DataError:
            continue
        if report.judge is None:
            continue
        if report.predictions_sha256 != digest:
            notes.append(f"{path.name} is of another prediction file, or of the same before it grew; left out")
        else:
            found.append(read_judgement(path, digest))
    return found, notes


def read_judgement(path: Path, digest: str | None = None) -> Judgement:
    """Read a judge's report and the verdicts beside it.

    Args:
        path: of the report.
        digest: of the prediction file that it must be about; None takes any.

    Raises:
        DataError: it is of another file or of no judge, or the verdicts are not those that it names.
    """
    report = read_report(path)
    if report.judge is None or digest not in (None, report.predictions_sha256):
        what = "no judge's" if report.judge is None else "of another prediction file, or of the same before it grew"
        raise DataError(f"{path} is {what}; run `llamafactory-ext etapp judge` again, or move it away.")
    beside = verdicts_path(path)
    verdicts = by_id(beside)
    if not report.verdicts_sha256:
        raise DataError(f"{path} does not name its verdicts by their hash: an earlier version wrote it; {_AGAIN}.")
    if report.verdicts_sha256 != sha256(beside):
        raise DataError(
            f"{beside} holds other verdicts than those of {path.name}: it was changed, or is of another command; "
            f"{_AGAIN}."
        )
    return Judgement(report, verdicts)


def read_judged(path: Path, digest: str | None = None) -> dict[str, Verdict]:
    """Read a judge's verdicts by case.

    Args:
        path: of the verdicts; the judge's report lies beside them.
        digest: of the prediction file that they must be about; None takes any.

    Raises:
        DataError: there is none, or they are about another file, or are not those of the report.
    """
    report = path.with_name(path.name.removesuffix(".verdicts.jsonl") + ".json")
    if not path.name.endswith(".verdicts.jsonl") or not report.is_file():
        raise DataError(f"{path} is no file of verdicts with its report beside it; name what `etapp judge` wrote.")
    if not by_id(path):
        raise DataError(f"{path} holds no verdict; run `llamafactory-ext etapp judge`.")
    return dict(read_judgement(report, digest).verdicts)


def by_id(path: Path) -> dict[str, Verdict]:
    """Read verdicts by case.

    Raises:
        DataError: they cannot be read, or two lines are about one case.
    """
    found: dict[str, Verdict] = {}
    for number, one in enumerate(read_verdicts(path), start=1):
        if one.id in found:
            raise DataError(f"{path}, line {number}: a second verdict on {one.id}; delete the line that is not meant.")
        found[one.id] = one
    return found


def claim_judged(target: Path, judge: Mapping[str, Any], ids: Collection[str]) -> None:
    """Make sure, before anybody is asked, that a judge's report replaces none of another judge or on more cases.

    Args:
        target: where it will be written.
        judge: who judges, as `judge_of` has it.
        ids: of the cases that are judged.

    Raises:
        OptionError: something else lies there.
    """
    if not target.is_file():
        return
    old = _old_report(target)
    if old is None or old.judge is None:
        raise OptionError(f"{target} is no judge's report and would be replaced; name another --out.")
    before = {name: value for name, value in judge_of(old).items() if value is not None}
    differs = [f"{name} was {value}, is now {judge[name]}" for name, value in before.items() if judge[name] != value]
    if differs:
        raise OptionError.listing(
            f"{target} is another judge's report; nothing was asked or changed. Name another --out, such as "
            f"{target.with_suffix('')}.other.json, or move it away:",
            differs,
        )
    try:
        lost = sorted(by_id(verdicts_path(target)).keys() - set(ids))
    except DataError:
        return
    if lost:
        raise OptionError(
            f"{target} holds verdicts on {len(lost)} cases that would not be judged now, such as {lost[0]}; nothing "
            "was asked or changed. Leave --limit out, name another --out, or move it away."
        )


def claim_checked(target: Path) -> None:
    """Make sure that a report of checks replaces none of a judge.

    Raises:
        OptionError: a judge's lies there.
    """
    if target.is_file() and (old := _old_report(target)) is not None and old.judge is not None:
        raise OptionError(f"{target} is a judge's report and would be replaced; name another --out.")


def _old_report(path: Path) -> Report | None:
    try:
        return read_report(path)
    except DataError:
        return None
