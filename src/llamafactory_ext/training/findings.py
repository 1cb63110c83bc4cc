"""What was found in the data of a run: calls, errors by category, examples that cannot be used."""

from __future__ import annotations

import json
from collections import Counter
from collections.abc import Iterable
from dataclasses import dataclass, field
from typing import Any

from ..data.intake import Intake
from ..errors import DataError
from .weighing import Judged, Weigher

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
        """Return all counts, as JSON has them."""
        counts = {"errors": dict(self.errors), "problems": dict(self.problems), "intake": self.intake.to_dict()}
        return {name: value for name, value in vars(self).items() if name != "content"} | counts

    def to_text(self, settings: Weigher | None, action: str | None = None) -> str:
        """Return one line that `from_texts` reads back, with the settings and the `cutoff_action` that led to it."""
        return json.dumps({"settings": _given(settings, action), **self.to_dict()})

    @classmethod
    def from_texts(cls, texts: Iterable[str], settings: Weigher | None, action: str | None = None) -> Findings:
        """Return the sum of what `to_text` wrote.

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


def _given(settings: Weigher | None, action: str | None) -> dict[str, Any]:
    """Return what the outcome depends on, by the names of the options."""
    weighs = settings.given() if settings else {}
    return weighs if action is None else {**weighs, "cutoff_action": action}


def _changed(name: str, value: Any) -> str:
    family, code, _ = name.partition("_code")  # the hash of a function's module
    return f"other code of {family}_function" if code else f"{name}: {value}"
