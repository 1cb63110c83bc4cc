"""What is left of tools whose documentation has left the prompt: shares of right calls, and what a call costs.

Three shares belong together: calls of trained tools with a bare prompt, with documents, and calls of tools that were
never trained, with documents. The fourth counts calls of tools that do not exist.
"""

from __future__ import annotations

import json
import math
from collections.abc import Mapping, Sequence
from dataclasses import asdict, dataclass
from pathlib import Path
from typing import Any, Final

from ..errors import DataError
from .typed import number, text, whole

FILE: Final = "internalised.json"
KIND: Final = "skintern internalised"
SEEN_BARE, SEEN_DOCUMENTS, UNSEEN_DOCUMENTS = "seen, bare", "seen, documents", "unseen, documents"
INVENTED: Final = "invented names, bare"
FIGURES: Final = (SEEN_BARE, SEEN_DOCUMENTS, UNSEEN_DOCUMENTS, INVENTED)
COSTS: Final = ("documents", "bare")


@dataclass(frozen=True)
class Share:
    """A count of items among n."""

    count: int
    n: int

    @property
    def value(self) -> float:
        """The share itself."""
        return self.count / self.n

    @property
    def error(self) -> float:
        """Binomial standard error."""
        return math.sqrt(self.value * (1 - self.value) / self.n)

    def __str__(self) -> str:
        return f"{100 * self.value:.1f} ± {100 * self.error:.1f}"


@dataclass(frozen=True)
class CallCost:
    """What a call of a trained tool costs on average: tokens of the prompt and of the right answer, cache, FLOPs."""

    prompt_tokens: float
    answer_tokens: float
    kv_bytes: float
    flops: float


@dataclass(frozen=True)
class Row:
    """A model at one point of training.

    Attributes:
        step: after which step, 0 for the model before training.
        share: of the knowledge in that step's prompts; before training 1.
        accuracies: by name, of `FIGURES`; unseen tools only where there is a set of them.
    """

    step: int
    share: float
    accuracies: Mapping[str, Share]


@dataclass(frozen=True)
class Internalised:
    """All rows of a run, with the cost of a call with and without documents."""

    rows: tuple[Row, ...]
    costs: Mapping[str, CallCost]
    seed: int

    def table(self) -> tuple[tuple[str, ...], list[tuple[str, ...]]]:
        """Return headings and rows, in per cent ± one standard error; costs stand below."""
        names = [name for name in FIGURES if any(name in row.accuracies for row in self.rows)]
        last = self.rows[-1].step
        lines = [
            (
                "before" if row.step == 0 else f"after step {row.step}" + (" (last)" if row.step == last else ""),
                *(str(row.accuracies[name]) if name in row.accuracies else "–" for name in names),
            )
            for row in self.rows
        ]
        counts = {name: next(row.accuracies[name].n for row in self.rows if name in row.accuracies) for name in names}
        return ("", *(f"{name}, % (n = {counts[name]})" for name in names)), lines

    def cost_table(self) -> tuple[tuple[str, ...], list[tuple[str, ...]]]:
        """Return what a call costs before, with documents, and after, without."""
        rows: list[tuple[str, ...]] = [
            (
                f"{'before: ' if name == 'documents' else 'after: '}{name}",
                f"{cost.prompt_tokens:.1f}",
                f"{cost.kv_bytes:,.0f}",
                f"{cost.flops:.3g}",
            )
            for name, cost in self.costs.items()
        ]
        if len(self.costs) == len(COSTS):
            before, after = (self.costs[name] for name in COSTS)
            rows.append(
                (
                    "before / after",
                    f"{before.prompt_tokens / after.prompt_tokens:.2f}",
                    f"{before.kv_bytes / after.kv_bytes:.2f}",
                    f"{before.flops / after.flops:.2f}",
                )
            )
        return ("a call", "prompt tokens", "KV bytes", "FLOPs"), rows

    def text(self) -> str:
        """Return both tables as text."""
        return "\n\n".join(_aligned(*table) for table in (self.table(), self.cost_table()))

    def to_json(self) -> dict[str, Any]:
        """Return plain JSON values."""
        rows = [
            {
                "step": row.step,
                "share": row.share,
                "accuracies": {
                    name: {**asdict(share), "value": share.value, "standard_error": share.error}
                    for name, share in row.accuracies.items()
                },
            }
            for row in self.rows
        ]
        return {"kind": KIND, "seed": self.seed, "rows": rows, "costs": {n: asdict(c) for n, c in self.costs.items()}}


def from_json(record: Any) -> Internalised:
    """Return what `to_json` wrote.

    Raises:
        ValueError, TypeError, KeyError, AttributeError, OverflowError: something else.
    """
    if record["kind"] != KIND:
        raise ValueError("another kind of file")
    rows = tuple(
        Row(
            whole(row["step"]),
            number(row["share"], 0, 1),
            {text(name): Share(whole(one["count"]), whole(one["n"], 1)) for name, one in row["accuracies"].items()},
        )
        for row in record["rows"]
    )
    if not rows or any(share.count > share.n for row in rows for share in row.accuracies.values()):
        raise ValueError("a count is none")
    costs = {text(name): CallCost(**cost) for name, cost in record["costs"].items()}
    for figure in (figure for cost in costs.values() for figure in asdict(cost).values()):
        number(figure, 0)
    return Internalised(rows, costs, whole(record["seed"]))


def read_internalised(path: Path) -> Internalised:
    """Read the file of a run.

    Raises:
        DataError: missing, malformed, or something else.
    """
    try:
        return from_json(json.loads(path.read_text("utf-8")))
    except OSError as error:
        raise DataError(f"{path} cannot be read ({error.strerror}); name the output_dir of a measured run.") from None
    except (ValueError, TypeError, KeyError, AttributeError, OverflowError, RecursionError) as error:
        raise DataError(
            f"{path} is no measurement of skintern_measure ({error}); remove it and repeat the training's command."
        ) from None


def _aligned(heads: Sequence[str], rows: Sequence[Sequence[str]]) -> str:
    widths = [max(len(row[place]) for row in (heads, *rows)) for place in range(len(heads))]
    return "\n".join(
        "  ".join(
            cell.ljust(width) if place == 0 else cell.rjust(width)
            for place, (cell, width) in enumerate(zip(row, widths, strict=True))
        ).rstrip()
        for row in (heads, *rows)
    )
