"""What becomes of the records of a data set on their way into training: read, left out, cut, not wholly kept."""

from __future__ import annotations

import re
from collections import Counter
from collections.abc import Iterable, Mapping
from dataclasses import asdict, dataclass, field
from typing import Any, Final

ACTIONS: Final = ("keep", "drop", "error")
KEEP, DROP, ERROR = ACTIONS
CUT_DROPPED = "cutoff_len cuts it (cutoff_action: drop)"
_PLACES = 3  # shown of each reason


@dataclass
class Cut:
    """What cutoff_len does to the examples of one category.

    Attributes:
        examples: all of the category.
        cut: those that are longer.
        calls, answers: trained turns with calls, and without, that lose tokens.
        untrained: examples that lose every trained token.
    """

    examples: int = 0
    cut: int = 0
    calls: int = 0
    answers: int = 0
    untrained: int = 0

    def add(self, other: Cut) -> None:
        """Count what another part of the data holds."""
        for name, value in vars(other).items():
            setattr(self, name, getattr(self, name) + value)


@dataclass
class Reasons:
    """Counts by reason, with the first places of each."""

    counts: Counter[str] = field(default_factory=Counter)
    places: dict[str, list[str]] = field(default_factory=dict)

    def note(self, reason: str, place: str) -> None:
        """Count one."""
        self.counts[reason] += 1
        self._show(reason, [place])

    def add(self, other: Reasons) -> None:
        """Count what another part of the data holds."""
        self.counts.update(other.counts)
        for reason, places in other.places.items():
            self._show(reason, places)

    def _show(self, reason: str, places: Iterable[str]) -> None:
        shown = self.places.setdefault(reason, [])
        shown += [place for place in places if place][: _PLACES - len(shown)]

    def __str__(self) -> str:
        return "; ".join(f"{reason} ({count:,}{self._at(reason, count)})" for reason, count in self.counts.items())

    def _at(self, reason: str, count: int) -> str:
        places = self.places.get(reason)
        return f": {'; '.join(places)}{'; ...' if count > len(places) else ''}" if places else ""

    def to_dict(self) -> dict[str, Any]:
        """Return it as JSON."""
        return {reason: {"count": count, "places": self.places[reason]} for reason, count in self.counts.items()}

    @classmethod
    def from_dict(cls, facts: Mapping[str, Any]) -> Reasons:
        """Undo `to_dict`."""
        counts = Counter({reason: fact["count"] for reason, fact in facts.items()})
        return cls(counts, {reason: list(fact["places"]) for reason, fact in facts.items()})


@dataclass
class Intake:
    """Counts over the records of a data set; those of its parts add up.

    Attributes:
        read: all records.
        left_out: those that are not trained.
        lost: what of records that are trained is not kept.
        misread: what the template writes otherwise than the record says.
        silenced: turns that records leave out of the loss by marks of their own.
        cut: what cutoff_len cuts, by category.
        highest_id: the highest token id; -1 for none.
    """

    read: int = 0
    left_out: Reasons = field(default_factory=Reasons)
    lost: Reasons = field(default_factory=Reasons)
    misread: Reasons = field(default_factory=Reasons)
    silenced: int = 0
    cut: dict[str, Cut] = field(default_factory=dict)
    highest_id: int = -1

    @property
    def trained(self) -> int:
        """How many records are trained."""
        return self.read - self.left_out.counts.total()

    def add(self, other: Intake) -> None:
        """Count what another part of the data holds."""
        self.read += other.read
        self.left_out.add(other.left_out)
        self.lost.add(other.lost)
        self.misread.add(other.misread)
        self.silenced += other.silenced
        for category, cut in other.cut.items():
            self.cut.setdefault(category, Cut()).add(cut)
        self.highest_id = max(self.highest_id, other.highest_id)

    def leave_out(self, fault: str, place: str) -> None:
        """Count one record that is not trained; equal faults at different turns are one reason."""
        number = re.search(r"turn (\d+)", fault)
        where = f"{place}, turn {number[1]}" if number and place else place
        self.left_out.note(re.sub(r"turn \d+", "a turn", fault), where)

    def to_dict(self) -> dict[str, Any]:
        """Return all counts, as JSON has them."""
        return {
            "read": self.read,
            "trained": self.trained,
            "left_out": self.left_out.to_dict(),
            "lost": self.lost.to_dict(),
            "misread": self.misread.to_dict(),
            "silenced": self.silenced,
            "cut": {category: asdict(cut) for category, cut in self.cut.items()},
            "highest_id": self.highest_id,
        }

    @classmethod
    def from_dict(cls, facts: Mapping[str, Any]) -> Intake:
        """Undo `to_dict`."""
        return cls(
            facts["read"],
            Reasons.from_dict(facts["left_out"]),
            Reasons.from_dict(facts["lost"]),
            Reasons.from_dict(facts["misread"]),
            facts["silenced"],
            {category: Cut(**cut) for category, cut in facts["cut"].items()},
            facts["highest_id"],
        )

    def lines(self, cutoff_len: int) -> list[str]:
        """Return what to say about the data: counts that add up, what is cut, what is not kept."""
        out = self.left_out.counts.total()
        reasons = f": {self.left_out}" if out else ""
        silenced = f"; {self.silenced:,} turns out of the loss by their own marks" if self.silenced else ""
        lines = [f"read {self.read:,}, trained {self.trained:,}, left out {out:,}{reasons}{silenced}"]
        if any(cut.cut for cut in self.cut.values()):
            lines.append(f"cutoff_len: {cutoff_len} cuts {self.cut_text()}")
        if self.lost.counts:
            lines.append(f"not kept: {self.lost}")
        if self.misread.counts:
            lines.append(f"trained otherwise than recorded (record_check): {self.misread}")
        return lines

    def cut_text(self) -> str:
        """Return what cutoff_len cuts, by category, on one line."""
        return "; ".join(
            f"{category}: {cut.cut:,} of {cut.examples:,} examples, {cut.calls:,} calls and {cut.answers:,} answers "
            f"cut, {cut.untrained:,} examples left without a trained token"
            for category, cut in sorted(self.cut.items())
            if cut.cut
        )
