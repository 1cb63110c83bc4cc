"""How `tl_sft` reports what it found in the data: what cannot be used, a table, the file."""

from __future__ import annotations

from collections.abc import Collection, Mapping
from dataclasses import asdict
from io import StringIO
from typing import Any

from rich.console import Console
from rich.table import Table

from ...errors import DataError
from ...toolcalls.feedback.errors import CATEGORIES, UNCATEGORISED
from ...training.findings import Findings
from .examples import ADVICE, Settings

__all__ = ["Findings", "as_dict", "as_table", "categories_of", "check_usable"]


def categories_of(rules: str, function: str | None, found: Collection[str]) -> list[str]:
    """Return the categories that a report lists, in the paper's order.

    Args:
        rules: as in `feedback_error`; the released ones know no kinds.
        function: a user's own, whose categories are listed only where they occur.
        found: the categories that occur.
    """
    if function is None:
        return list(CATEGORIES if rules == "structured" else (UNCATEGORISED,))
    return [name for name in CATEGORIES if name in found] + sorted({*found} - {*CATEGORIES})


def check_usable(findings: Mapping[str, Findings], skip: bool, *, may_skip: bool = True) -> str | None:
    """Return what to say about unusable examples of the data sets; None if there are none.

    Args:
        findings: by the data set's name.
        skip: train without them.
        may_skip: whether the run has an option for that.

    Raises:
        DataError: there are some and they may not be skipped, or nothing else is left to train on.
    """
    lines = []
    for name, found in findings.items():
        for problem, count in found.problems.most_common():
            examples = "example" if found.examples == 1 else "examples"
            lines.append(f"  - {count} of {found.examples} {examples} ({name}): {problem}; {ADVICE[problem]}")
            lines += [f"      {text}" for text in found.shown[problem]]
    if not lines:
        return None
    if not skip:
        remedy = " (tl_skip_bad: true trains without them)" if may_skip else ""
        raise DataError("\n".join([f"These examples cannot be used{remedy}:", *lines]))
    if any(found.unusable == found.examples for found in findings.values()):
        raise DataError("\n".join(["No example is left:", *lines]))
    return "\n".join(["Training without these examples (tl_skip_bad: true):", *lines])


def as_dict(findings: Mapping[str, Findings], settings: Settings) -> dict[str, Any]:
    """Return the report for `tl_report.json`."""
    return {"settings": asdict(settings), **{name: found.to_dict() for name, found in findings.items()}}


def as_table(findings: Findings, settings: Settings) -> str:
    """Return the report on the training data for a terminal."""
    table = Table(title="TL-Training: calls judged by their feedback")
    table.add_column("")
    table.add_column("calls", justify="right")
    table.add_column("share", justify="right")
    wrong = findings.errors.total()
    known = categories_of(settings.feedback_rules, settings.feedback_function, findings.errors)
    rows = [("all calls", findings.calls), ("trained", findings.calls - wrong), ("out of the loss", wrong)]
    rows += [(f"  {name}", findings.errors[name]) for name in known]
    for name, count in rows:
        table.add_row(name, f"{count:,}", f"{count / findings.calls:.1%}" if findings.calls else "-")
    out = findings.intake.left_out.counts.total() or findings.unusable
    used = (findings.intake.read or findings.examples) - out
    summary = (
        f"{used:,} examples, {findings.with_calls:,} with calls; {findings.key_tokens:,} key tokens; "
        f"{out:,} examples left out" + ("" if settings.use_mae else "; not judged (tl_use_mae: false)")
    )
    text = StringIO()
    Console(width=100, file=text).print(table)
    return f"{text.getvalue().rstrip()}\n{summary}"
