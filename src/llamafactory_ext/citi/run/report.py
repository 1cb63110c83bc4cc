"""What the training changed: loss and exact answers per task before and after, and what the routers do."""

from __future__ import annotations

import math
from collections.abc import Callable, Mapping, Sequence
from contextlib import AbstractContextManager, nullcontext
from dataclasses import asdict, dataclass
from typing import Any

import torch
from torch import Tensor, nn

from ...data.marks import MARKS_COLUMN, TokenMarks
from ...training.devices import widest
from ...training.losses import IGNORE_INDEX
from ...training.token_weights import WEIGHTS_COLUMN
from ..router_backward import RouterLoss
from ..scoring import Collate

Autocast = Callable[[], AbstractContextManager[Any]]


@dataclass(frozen=True)
class TaskFigures:
    """Figures of one task.

    Attributes:
        examples: n.
        loss: next-token loss of the answer in nats per token, mean over examples; `loss_se` its standard error.
        exact: share of examples whose answer is, token by token, the model's first choice: the exact-match rate of
            greedy decoding; `exact_se` its standard error.
    """

    examples: int
    loss: float
    loss_se: float
    exact: float
    exact_se: float


@dataclass(frozen=True)
class Report:
    """Before and after.

    Attributes:
        source: which examples the figures come from.
        before: per task, with the adapter off: the base model.
        after: per task, as trained.
        marks: task to "tool" or "general".
        gates: router name to the mean gates of general and of tool tokens, E numbers each; empty without routers.
    """

    source: str
    before: dict[str, TaskFigures]
    after: dict[str, TaskFigures]
    marks: dict[str, str]
    gates: dict[str, dict[str, list[float]]]

    def to_dict(self) -> dict[str, Any]:
        return asdict(self)


def make_report(
    model: nn.Module,
    router: RouterLoss | None,
    dataset: Any,
    rows: Mapping[str, tuple[str, Sequence[int]]],
    collate: Collate,
    *,
    source: str,
    batch_size: int,
    autocast: Autocast = nullcontext,
) -> Report:
    """Evaluate the PEFT model with and without its adapter.

    Args:
        model: the PEFT model; left in the mode it was in.
        router: a `RouterLoss` that knows the model's routers and only watches here; None if there are none.
        dataset: tokenised examples, one per row, with marks.
        rows: task to (mark, rows of `dataset`).
        collate: makes a batch of rows.
        source: what the examples are, in words.
        batch_size: examples per forward pass.
        autocast: the mixed precision of the training.
    """
    training = model.training
    model.eval()
    before, after = {}, {}
    gates = None if router is None else _Gates(router)
    with torch.no_grad(), autocast():
        for task, (_, chosen) in rows.items():
            parts = [chosen[i : i + batch_size] for i in range(0, len(chosen), batch_size)]
            with model.disable_adapter():  # type: ignore[operator]
                before[task] = _figures([_judge(model, collate([dataset[row] for row in part])) for part in parts])
            judged = []
            for part in parts:
                batch = collate([dataset[row] for row in part])
                if gates is not None:
                    gates.begin(batch[MARKS_COLUMN].to(next(model.parameters()).device))
                judged.append(_judge(model, batch))
                if gates is not None:
                    gates.add()
            after[task] = _figures(judged)
    model.train(training)
    marks = {task: mark for task, (mark, _) in rows.items()}
    return Report(source, before, after, marks, {} if gates is None else gates.means())


class _Gates:
    """Mean gates of every router per class."""

    def __init__(self, router: RouterLoss) -> None:
        self.router = router
        self.sums: Tensor | None = None
        self.counts = torch.zeros(2, dtype=torch.float64)

    def begin(self, codes_BT: Tensor) -> None:
        marks = TokenMarks.from_codes(codes_BT)
        self.router.begin(marks.is_tool, marks.mask, marks.sample)

    def add(self) -> None:
        gates_L2E, counts_2 = self.router.class_gates()
        self.sums = gates_L2E.to(widest(gates_L2E.device)) if self.sums is None else self.sums + gates_L2E
        self.counts = self.counts.to(counts_2.device, widest(counts_2.device)) + counts_2
        self.router.end()

    def means(self) -> dict[str, dict[str, list[float]]]:
        assert self.sums is not None, "add() was never called"
        means_L2E = self.sums / self.counts.clamp(min=1)[None, :, None]
        return {
            name: {"general": means_L2E[i, 0].tolist(), "tool": means_L2E[i, 1].tolist()}
            for name, i in self.router.layers.items()
        }


def _judge(model: nn.Module, batch: dict[str, Tensor]) -> tuple[Tensor, Tensor]:
    """Return per example: mean loss of the answer's tokens, and whether each of them is the first choice."""
    device = next(model.parameters()).device
    beside = (MARKS_COLUMN, WEIGHTS_COLUMN, "labels")
    inputs = {key: value.to(device) for key, value in batch.items() if key not in beside}
    labels_BT = batch["labels"].to(device)[:, 1:]
    logits_BTV = model(**inputs, use_cache=False).logits[:, :-1].float()
    kept_BT = labels_BT != IGNORE_INDEX
    nll_BT = nn.functional.cross_entropy(
        logits_BTV.transpose(1, 2), labels_BT, ignore_index=IGNORE_INDEX, reduction="none"
    )
    right_BT = (logits_BTV.argmax(-1) == labels_BT) | ~kept_BT
    return (nll_BT.sum(1) / kept_BT.sum(1).clamp(min=1)).cpu(), right_BT.all(1).cpu()


def _figures(judged: Sequence[tuple[Tensor, Tensor]]) -> TaskFigures:
    losses = torch.cat([loss for loss, _ in judged]).double()
    exact = torch.cat([right for _, right in judged]).double()
    n = len(losses)
    loss_se = losses.std().item() / math.sqrt(n) if n > 1 else 0.0
    rate = exact.mean().item()
    return TaskFigures(n, losses.mean().item(), loss_se, rate, math.sqrt(rate * (1 - rate) / n))


def as_table(report: Report) -> str:
    """Return the report as text for terminal and log."""
    columns = ("loss before", "loss after", "exact before", "exact after")
    lines = [
        f"Before and after training, on {report.source}",
        f"{'task':<16}{'mark':<9}{'n':>5}  " + "  ".join(f"{name:>15}" for name in columns),
    ]
    for task, before in report.before.items():
        after = report.after[task]
        cells = [f"{side.loss:.3f} ± {side.loss_se:.3f}" for side in (before, after)]
        cells += [f"{side.exact:.1%} ± {side.exact_se:.1%}" for side in (before, after)]
        lines.append(
            f"{' '.join(task.split())[:15]:<16}{report.marks[task]:<9}{before.examples:>5}  "
            + "  ".join(f"{cell:>15}" for cell in cells)
        )
    lines.append("± is one standard error. exact: every answer token is the model's first choice (greedy decoding).")
    return "\n".join(lines)
