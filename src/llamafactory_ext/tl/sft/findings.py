"""What `tl_sft` found in the data: calls, errors by category, examples that cannot be used."""

from __future__ import annotations

import json
from collections import Counter
from collections.abc import Collection, Iterable, Mapping
from dataclasses import asdict, dataclass, field
from io import StringIO
from typing import Any

from rich.console import Console
from rich.table import Table

from ...data.intake import Intake
from ...errors import DataError
from ...toolcalls.feedback.errors import CATEGORIES, UNCATEGORISED
from .examples import ADVICE, Judged, Settings

SHOWN = 3  # examples of each problem
_CHARACTERS = 160


@dataclass
class Findings:
    """Counts over examples; those of parts of a data set add up.

    Attributes:
        examples: all of them, the unusable ones included.
        with_calls: those with at least one call.
        calls: turns that hold calls; several calls in one turn are one target and count once.
        errors: such turns by the category of the error that their feedback reports, all of them out of the loss.
        key_tokens: tokens with a weight above 1.
        problems: unusable examples by what is wrong with them.
        shown: a few of them, as short texts, by the same.
        intake: what becomes of the records, trained or not.
        content: the hash of a stream's rows; nothing for what can be read again.
    """

    examples: int = 0
    with_calls: int = 0
    calls: int = 0
    key_tokens: int = 0
    errors: Counter[str] = field(default_factory=Counter)
    problems: Counter[str] = field(default_factory=Counter)
    shown: dict[str, list[str]] = field(default_factory=dict)
    intake: Intake = field(default_factory=Intake)
    content: str = ""

    @property
    def unusable(self) -> int:
        """How many examples cannot be used."""
        return self.problems.total()

    def note(self, problem: str, example: str) -> None:
        """Count one unusable example."""
        self.problems[problem] += 1
        shown = self.shown.setdefault(problem, [])
        if len(shown) < SHOWN:
            shown.append(example if len(example) <= _CHARACTERS else example[: _CHARACTERS - 3] + "...")

    def count(self, judged: Judged, key_tokens: int) -> None:
        """Count the calls of one example that is trained."""
        self.with_calls += bool(judged.calls)
        self.calls += len(judged.calls)
        self.errors.update(judged.errors.values())
        self.key_tokens += key_tokens

    def add(self, other: Findings) -> None:
        """Count what another part of the data holds."""
        self.examples += other.examples
        self.with_calls += other.with_calls
        self.calls += other.calls
        self.key_tokens += other.key_tokens
        self.errors.update(other.errors)
        self.problems.update(other.problems)
        self.intake.add(other.intake)
        for problem, shown in other.shown.items():
            self.shown[problem] = [*self.shown.get(problem, []), *shown][:SHOWN]

    def to_dict(self) -> dict[str, Any]:
        """All counts, as JSON has them."""
        counts = {"errors": dict(self.errors), "problems": dict(self.problems), "intake": self.intake.to_dict()}
        return {name: value for name, value in vars(self).items() if name != "content"} | counts

    def to_text(self, settings: Settings | None, action: str | None = None) -> str:
        """One line that `from_texts` reads back, with the settings and the `cutoff_action` that led to it."""
        return json.dumps({"settings": _given(settings, action), **self.to_dict()})

    @classmethod
    def from_texts(cls, texts: Iterable[str], settings: Settings | None, action: str | None = None) -> Findings:
        """The sum of what `to_text` wrote.

        Raises:
            DataError: something was found under other settings.
        """
        total = cls()
        for text in texts:
            facts = json.loads(text)
            if "misread" not in facts.get("intake", {}):
                raise DataError(
                    "tokenized_path holds data of an earlier version of llamafactory_ext; delete that folder, or name "
                    "another one, to have the data tokenized again"
                )
            given, now = facts.pop("settings"), _given(settings, action)
            changed = [name for name in now if given.get(name) != now[name]]
            if changed:
                raise DataError(
                    "tokenized_path holds data made with "
                    + ", ".join(_changed(name, given.get(name)) for name in changed)
                    + "; delete that folder, name another one, or restore the options"
                )
            facts |= {name: Counter(facts[name]) for name in ("errors", "problems")}
            total.add(cls(**facts | {"intake": Intake.from_dict(facts["intake"])}))
        return total


def _given(settings: Settings | None, action: str | None) -> dict[str, Any]:
    """What the outcome depends on, by the names of the options."""
    weighs = {f"tl_{name}": value for name, value in asdict(settings).items()} if settings else {}
    return weighs if action is None else {**weighs, "cutoff_action": action}


def _changed(name: str, value: Any) -> str:
    return "other code of tl_feedback_function" if name == "tl_feedback_code" else f"{name}: {value}"


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
    """What to say about unusable examples of the data sets; None if there are none.

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
    """The report for `tl_report.json`."""
    return {"settings": asdict(settings), **{name: found.to_dict() for name, found in findings.items()}}


def as_table(findings: Findings, settings: Settings) -> str:
    """The report on the training data for a terminal."""
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
