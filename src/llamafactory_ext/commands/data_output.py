"""What the verbs of this room print."""

from __future__ import annotations

from collections.abc import Sequence
from itertools import islice

from rich.console import Console
from rich.table import Table

from ..data.checks.audit import Audit
from ..data.entries import DataEntry
from ..data.mix import Mixture
from ..data.public.convert import Conversion
from ..tl.statistics import Statistics

_SHOWN_NOTES = 5


def _table(title: str, unit: str = "records") -> Table:
    table = Table(title=title)
    table.add_column("what")
    table.add_column(unit, justify="right")
    return table


def _say(console: Console, text: str) -> None:
    """Print with long paths unbroken, so that they can be copied."""
    console.print(text, markup=False, soft_wrap=True)


def _next(console: Console, name: str, folder: object) -> None:
    _say(console, f'Next: name "{name}" under "dataset:" of a YAML with "dataset_dir: {folder}".')


def show_conversion(result: Conversion) -> None:
    """Print the counts, the first notes, and what to do next."""
    console = Console()
    table = _table(f"{result.family} ({result.split}) -> {result.output}")
    for file, count in result.read.items():
        table.add_row(f"read from {file}", f"{count:,}")
    for reason, count in sorted(result.dropped.counts.items()):
        table.add_row(f"dropped: {reason}", f"{count:,}")
    if result.limit:
        table.add_row(f"not drawn (--limit {result.limit}, --seed {result.seed})", f"{result.not_drawn:,}")
    table.add_row(f'written, marked "{result.mark}", task "{result.task}"', f"{result.written:,}", style="bold")
    for reason, count in sorted(result.findings.counts.items()):
        table.add_row(f"of these, {reason}", f"{count:,}")
    if result.duplicates_kept:
        table.add_row("of these, repeats of an earlier record (kept)", f"{result.duplicates_kept:,}")
    console.print(table)
    for file, reason in result.left_out.items():
        _say(console, f"Not read: {file} ({reason}).")
    for word, notes in (("Dropped", result.dropped), ("Published so", result.findings)):
        for note in islice(notes, _SHOWN_NOTES):
            _say(console, f"{word}: {note.file}, {note.place}: {note.reason}")
    report = result.output.with_name(f"{result.dataset_name}.report.json")
    if len(result.dropped) > _SHOWN_NOTES or len(result.findings) > _SHOWN_NOTES:
        counts = f"{len(result.dropped):,} dropped records and all {len(result.findings):,} findings"
        _say(console, f"All {counts}: {report}")
    if result.written < result.limit:
        _say(console, f"Fewer than --limit {result.limit} are usable: all were taken.")
    _next(console, result.dataset_name, result.output.parent)


def show_mixture(result: Mixture) -> None:
    """Print each part's share, and the hash."""
    console = Console()
    table = _table(f"mixture -> {result.output}")
    for part in result.parts:
        table.add_row(f'{part.name} ("{part.mark}"), of {part.records:,}', f"{part.taken:,}")
    table.add_row("written", f"{result.written:,}", style="bold")
    console.print(table)
    for part in result.parts:
        if part.mark == "general" and part.taken < result.per_general:
            _say(console, f"{part.name} holds fewer than --per_general {result.per_general}: all were taken.")
    for what, count in result.lost.items():
        _say(console, f"Of {count:,} turns or records: {what}.")
    _say(console, f"SHA-256: {result.sha256}")
    _next(console, result.output.stem, result.output.parent)


def show_statistics(statistics: Sequence[Statistics]) -> None:
    """Print the calls by category, one column for each data set, and the trajectories that hold errors."""
    console = Console()
    table = Table(title="calls by what their feedback reports")
    table.add_column("category")
    for one in statistics:
        table.add_column(one.name, justify="right")
    for category in dict.fromkeys(category for one in statistics for category in one.categories()):
        table.add_row(category, *(_of(one.calls[category], one.calls.total()) for one in statistics))
    table.add_section()
    table.add_row("calls with feedback", *(f"{one.calls.total():,}" for one in statistics), style="bold")
    table.add_row("calls without feedback", *(f"{one.unanswered:,}" for one in statistics))
    table.add_row("trajectories with judged calls", *(f"{one.trajectories:,}" for one in statistics))
    table.add_row("trajectories with errors", *(_of(one.faulty, one.trajectories) for one in statistics), style="bold")
    console.print(table)
    for one in statistics:
        for reason, count in one.left_out.most_common():
            _say(console, f"{one.name}: {count:,} of {one.records:,} records are not counted: {reason}.")
        for what, count in one.lost.items():
            _say(console, f"{one.name}, of {count:,} turns or records: {what}.")


def _of(part: int, whole: int) -> str:
    return f"{part:,} ({part / whole:.1%})" if whole else "-"


def show_audit(entry: DataEntry, result: Audit, *, encoded: bool) -> None:
    """Print the counts and the remarks; errors are the caller's to raise."""
    console = Console()
    table = _table(f"{entry.name}: {entry.path}", "number")
    table.add_row("records", f"{result.records:,}")
    for mark, count in sorted(result.marks.items()):
        table.add_row(f'marked "{mark}"', f"{count:,}")
    table.add_row("calls", f"{result.calls:,}")
    if result.silenced:
        table.add_row("turns left out of the loss by their own marks", f"{result.silenced:,}")
    if encoded:
        table.add_row("tokens after the cut", f"{result.tokens:,}")
        table.add_row("trained tokens", f"{result.trained:,}", style="bold")
        table.add_row("longest example, in tokens", f"{result.longest:,}")
        table.add_row("examples cut by cutoff_len", f"{result.cut:,}")
        table.add_row("examples without a trained token", f"{result.untrained:,}")
    console.print(table)
    for remark in result.remarks.lines():
        _say(console, f"Remark: {remark}")
    if not len(result.errors) and not result.problem:
        _say(console, "No errors.")
