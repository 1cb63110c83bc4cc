"""What a scorer says: a verdict for each item, and figures that name all they rest on."""

from __future__ import annotations

import hashlib
import json
import math
from collections.abc import Iterable, Mapping, Sequence
from dataclasses import asdict, dataclass, field, fields, replace
from pathlib import Path
from typing import Any, Literal

from ..checkpoint.own import own_json, own_text, refuse_special
from ..errors import DataError

Mode = Literal["official", "strict"]
MODES: tuple[Mode, ...] = ("official", "strict")
_OPTIONAL = ("part", "verdicts_sha256")


@dataclass(frozen=True)
class Verdict:
    """What was found about one item.

    Attributes:
        id: of the item.
        scores: by the name of the figure; 0 to 1. A figure that does not apply to the item is absent.
        category: what kind of right or wrong it is, in the benchmark's words.
        parsed: whether the prediction (or the judge's answer on it) could be read at all.
        detail: for people: what differed.
        group: a part of the benchmark with figures of its own, such as a level; "" for none.
    """

    id: str
    scores: Mapping[str, float]
    category: str = ""
    parsed: bool = True
    detail: str = ""
    group: str = ""


@dataclass(frozen=True)
class Figure:
    """A mean over items.

    Attributes:
        name: such as "TS" or "TS (slight)".
        value: 0 to 1.
        n: items it rests on.
        parse_failures: how many of them could not be read; they count as wrong.
        standard_error: of the mean, from the spread of the items' scores; None for n < 2.
        interval: in which it lies with 95 %, where the scorer computed one (crossed designs do).
    """

    name: str
    value: float
    n: int
    parse_failures: int
    standard_error: float | None
    interval: tuple[float, float] | None = None


@dataclass(frozen=True)
class Report:
    """The figures of one benchmark from one prediction file.

    Attributes:
        benchmark: its name.
        mode: "official" (verdicts of the published evaluator, quirks included) or "strict" (what it should be).
        figures: one for each score, and one for each score within each group.
        predictions_sha256: of the prediction file's bytes.
        references_sha256: over the reference files' bytes.
        model_hashes: of the models that answered; more than one means a mixed file.
        n_references: items of the benchmark as given.
        n_predictions: items with a prediction.
        notes: what a reader must know beside the figures, the published ceiling among them.
        judge: the judge's model, tokens and cost, where there was one.
        part: what of the benchmark was scored, such as "third turn"; "" for what the papers report.
        verdicts_sha256: of the verdicts' file beside it; "" before it is written, and from earlier versions.
    """

    benchmark: str
    mode: Mode
    figures: tuple[Figure, ...]
    predictions_sha256: str
    references_sha256: str
    model_hashes: tuple[str, ...]
    n_references: int
    n_predictions: int
    notes: tuple[str, ...] = ()
    judge: Mapping[str, Any] | None = None
    verdicts: tuple[Verdict, ...] = field(default=(), repr=False, compare=False)
    part: str = ""
    verdicts_sha256: str = field(default="", compare=False)

    @property
    def name(self) -> str:
        """The benchmark's name, with the part that was scored."""
        return f"{self.benchmark} ({self.part})" if self.part else self.benchmark

    @property
    def partial(self) -> bool:
        """Whether some items have no prediction: the figures are over the others, not over zeros."""
        return self.n_predictions < self.n_references

    def figure(self, name: str) -> Figure:
        """Return the figure of this name."""
        for figure in self.figures:
            if figure.name == name:
                return figure
        names = ", ".join(figure.name for figure in self.figures)
        raise DataError(f"The report on {self.benchmark} has no figure {name!r}; it has {names}.")

    def to_json(self) -> dict[str, Any]:
        """Return all but the verdicts, which have a file of their own; part and their hash where there are any."""
        record = {part.name: getattr(self, part.name) for part in fields(self) if part.name != "verdicts"}
        record = {name: value for name, value in record.items() if value or name not in _OPTIONAL}
        figures = [
            {name: value for name, value in asdict(figure).items() if name != "interval" or value is not None}
            for figure in self.figures
        ]
        return (
            record
            | {"figures": figures, "partial": self.partial, "notes": list(self.notes)}
            | {"model_hashes": list(self.model_hashes)}
        )

    @classmethod
    def from_json(cls, record: Any, place: str = "The report") -> Report:
        """Return the report that `to_json` wrote, without verdicts.

        Raises:
            DataError: no such report; `place` begins the message.
        """
        try:
            figures = tuple(_checked_figure(figure) for figure in record["figures"])
            known = record | {name: record.get(name, "") for name in _OPTIONAL}
            named = {part.name: known[part.name] for part in fields(cls) if part.name != "verdicts"}
            lists = {name: tuple(named[name]) for name in ("notes", "model_hashes")}
            texts = [named[name] for name in ("benchmark", "predictions_sha256", "references_sha256", *_OPTIONAL)]
            if not all(isinstance(text, str) for text in (*texts, *lists["notes"], *lists["model_hashes"])):
                raise TypeError("a text is none")
            if named["mode"] not in MODES or not isinstance(named["judge"], dict | None):
                raise TypeError("mode or judge is none")
            if not all(type(named[name]) is int and named[name] >= 0 for name in ("n_references", "n_predictions")):
                raise TypeError("a number of items is none")
        except (TypeError, KeyError, AttributeError, OverflowError) as error:
            raise DataError(f"{place} is no report of `llamafactory-ext score` ({error}); write it anew.") from None
        return cls(**(named | lists | {"figures": figures}))


def _checked_figure(record: Any) -> Figure:
    """Return a figure whose parts have their types."""
    interval = record.get("interval")
    figure = Figure(**(record | {"interval": None if interval is None else tuple(interval)}))
    if interval is not None and len(interval) != 2:
        raise TypeError("an interval is none")
    numbers = [
        figure.value,
        *([] if figure.standard_error is None else [figure.standard_error]),
        *(figure.interval or ()),
    ]
    if not isinstance(figure.name, str) or not all(
        isinstance(number, int | float) and not isinstance(number, bool) and math.isfinite(number)
        for number in numbers
    ):
        raise TypeError("a figure is none")
    if not all(type(number) is int and number >= 0 for number in (figure.n, figure.parse_failures)):
        raise TypeError(f"figure {figure.name}: n or parse_failures is no number")
    return figure


def figures_of(verdicts: Sequence[Verdict]) -> tuple[Figure, ...]:
    """Return the mean of each score over all verdicts, then within each group if there are several."""
    names = list(dict.fromkeys(name for verdict in verdicts for name in verdict.scores))
    groups = list(dict.fromkeys(verdict.group for verdict in verdicts))
    figures = [_figure(name, name, verdicts) for name in names]
    for group in groups if len(groups) > 1 else ():
        members = [verdict for verdict in verdicts if verdict.group == group]
        present = [name for name in names if any(name in verdict.scores for verdict in members)]
        figures.extend(_figure(f"{name} ({group})", name, members) for name in present)
    return tuple(figures)


def _figure(title: str, name: str, verdicts: Iterable[Verdict]) -> Figure:
    chosen = [verdict for verdict in verdicts if name in verdict.scores]
    values = [float(verdict.scores[name]) for verdict in chosen]
    failures = sum(not verdict.parsed for verdict in chosen)
    mean = math.fsum(values) / len(values)
    return Figure(title, mean, len(values), failures, standard_error(values))


def standard_error(values: Sequence[float]) -> float | None:
    """Return the sample standard deviation over the square root of n, for independent items; None for n < 2."""
    n = len(values)
    if n < 2:
        return None
    mean = math.fsum(values) / n
    return math.sqrt(math.fsum((value - mean) ** 2 for value in values) / (n - 1) / n)


def read_report(path: Path) -> Report:
    """Read a report file.

    Raises:
        DataError: missing, malformed, or no report.
    """
    refuse_special(path)
    try:
        record = json.loads(path.read_text(encoding="utf-8"))
    except FileNotFoundError:
        raise DataError(f"{path}: there is no report here; run `llamafactory-ext score` or check the path.") from None
    except OSError as error:
        raise DataError(f"{path} cannot be read ({error.strerror}); name a report file.") from None
    except (ValueError, RecursionError) as error:
        raise DataError(f"{path} is no JSON ({error}); run `llamafactory-ext score` again.") from None
    return Report.from_json(record, str(path))


def verdicts_path(report_path: Path) -> Path:
    """Return where the verdicts of a report lie: beside it, as JSON lines."""
    return report_path.with_suffix(".verdicts.jsonl")


def write_report(report: Report, path: Path) -> None:
    """Write one verdict per line and, last, the report, which names them by their hash; each file appears whole."""
    text = "".join(json.dumps(asdict(verdict), ensure_ascii=False) + "\n" for verdict in report.verdicts)
    own_text(verdicts_path(path), text)
    own_json(path, replace(report, verdicts_sha256=hashlib.sha256(text.encode()).hexdigest()).to_json())


def verdict_of(record: Any) -> Verdict:
    """Return the verdict that a line holds; TypeError or ValueError where a value is of another kind."""
    verdict = Verdict(**record)
    texts = (verdict.id, verdict.category, verdict.detail, verdict.group)
    if not all(isinstance(text, str) for text in texts) or not isinstance(verdict.parsed, bool):
        raise TypeError("a field is of another kind")
    json.dumps(record, ensure_ascii=False).encode()  # no half of a surrogate pair
    scores: Iterable[Any] = verdict.scores.values() if isinstance(verdict.scores, dict) else (None,)
    if not all(type(score) in (int, float) and math.isfinite(score) for score in scores):
        raise TypeError("scores are no numbers by name")
    return verdict


def lines_of(text: str) -> list[str]:
    """Return the lines of JSON lines: a line feed alone ends one, since texts may hold any other separator."""
    return text.removesuffix("\n").split("\n") if text else []


def read_verdicts(path: Path) -> tuple[Verdict, ...]:
    """Read the verdicts that `write_report` wrote.

    Raises:
        DataError: names file and line.
    """
    verdicts = []
    refuse_special(path)
    try:
        lines = lines_of(path.read_text(encoding="utf-8"))
    except (OSError, ValueError) as error:
        raise DataError(
            f"{path}: the verdicts cannot be read ({error}); run `llamafactory-ext score` again."
        ) from None
    for number, line in enumerate(lines, start=1):
        try:
            verdicts.append(verdict_of(json.loads(line)))
        except (TypeError, ValueError, RecursionError, OverflowError) as error:
            raise DataError(f"{path}, line {number}: no verdict ({error}); score again.") from None
    return tuple(verdicts)
