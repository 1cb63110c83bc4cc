"""Computes the importance file: task after task over seeded samples, resumable after each task."""

from __future__ import annotations

import contextlib
import math
from collections.abc import Callable, Iterator, Mapping, Sequence
from pathlib import Path
from typing import Any, cast

import torch
from torch import distributed, nn
from tqdm.auto import tqdm

from ..checkpoint.base import quantization
from ..data.marks import MARKS_COLUMN, TASK_COLUMN, is_tool
from ..errors import CheckpointError, DataError, OptionError
from ..progress import short
from ..training.devices import free_memory
from ..training.losses import IGNORE_INDEX
from ..training.processes import rank as process_number
from ..training.processes import world as process_count
from ..training.recompute import recompute_everywhere
from ..training.token_weights import WEIGHTS_COLUMN
from .importance import PartScores, Reduction, Score, VanishingError, linear_components, part_scores
from .importance_file import GENERAL, TOOL, Importance, TaskScores
from .stopping import Stable, blocks

ROOM = 1.5  # of what the weights take more, for activations

Collate = Callable[[list[dict[str, Any]]], dict[str, torch.Tensor]]


def shapes_of(model: nn.Module) -> dict[str, list[int]]:
    """Return output and input width of every component."""
    return {name: [module.out_features, module.in_features] for name, module in linear_components(model).items()}


def group_by_task(dataset: Any, *, both: bool = True, left: str = "") -> dict[str, tuple[str, list[int]]]:
    """Return task to (mark, row numbers) of an unpacked data set; all tool data is the one task `tool`.

    Args:
        dataset: one example per row, with marks and tasks.
        both: insist on tool and on general examples.
        left: what has been left of examples of both kinds, where the files hold them.

    Raises:
        DataError: tool or general examples are missing, or a general task is called `tool`.
    """
    groups: dict[str, tuple[str, list[int]]] = {}
    for row, (task, codes) in enumerate(zip(dataset[TASK_COLUMN], dataset[MARKS_COLUMN], strict=True)):
        mark = TOOL if is_tool(codes[0]) else GENERAL
        name = TOOL if mark == TOOL else task
        if groups.setdefault(name, (mark, []))[0] != mark:
            raise DataError(f"a general example has the task {TOOL!r}; give it another task name.")
        groups[name][1].append(row)
    for mark in (TOOL, GENERAL) if both else ():
        if not any(found == mark for found, _ in groups.values()):
            if left:
                raise DataError(f"no {mark} example is among those that are trained: {left}. CITI needs both kinds.")
            raise DataError(
                f"the training data has no {mark} examples; add a data set whose entry in dataset_info.json or whose "
                f'records say "mark": "{mark}". CITI needs both kinds.'
            )
    return groups


def check_trained(dataset: Any, groups: Mapping[str, tuple[str, list[int]]]) -> None:
    """Make sure that every task has a token to learn from.

    Raises:
        OptionError: all answers of a task are cut off or empty.
    """
    labels = dataset["labels"]
    for task, (_, rows) in groups.items():
        if not any(label != IGNORE_INDEX for row in rows for label in labels[row][1:]):
            raise OptionError(
                f"no token of task {task} is trained: is every answer empty, or cut off? Raise cutoff_len."
            )


def sample_rows(rows: Sequence[int], count: int, seed: int) -> list[int]:
    """Return `count` of the rows, seeded, without replacement; all of them if there are no more."""
    return sorted(_drawn(rows, count, seed))


def _drawn(rows: Sequence[int], count: int, seed: int) -> list[int]:
    """Return the same rows in the order in which they are drawn."""
    order = torch.randperm(len(rows), generator=torch.Generator().manual_seed(seed))[:count]
    return [rows[i] for i in order.tolist()]


def trained_tokens(dataset: Any, rows: Sequence[int]) -> range:
    """Return how many tokens of these rows have a loss; the first of a row counts only behind padding."""
    labels = dataset.select(rows)["labels"]
    counts = [sum(label != IGNORE_INDEX for label in row[1:]) for row in labels]
    first = sum(row[0] != IGNORE_INDEX for row in labels)
    return range(sum(counts), sum(counts) + first + 1)


def compute_importance(
    model: nn.Module,
    dataset: Any,
    collate: Collate,
    start: Importance,
    *,
    samples: int,
    batch_size: int,
    reduction: Reduction,
    seed: int,
    path: Path,
    score: Score = "eq4",
    stable: Stable | None = None,
    tell: Callable[[str], None] = lambda _: None,
) -> Importance:
    """Score every task that `start` does not have yet, half by half, and write `path` after each task.

    Args:
        model: the base model, without adapters.
        dataset: one example per row, with marks and tasks.
        collate: makes a batch of rows.
        start: an importance without scores, or the file that an interrupted run left.
        samples: examples per task.
        batch_size: examples per forward pass.
        reduction: as for `score_components`.
        seed: of the sample.
        path: the importance file.
        score: as for `score_components`.
        stable: when a task has seen enough; None: when it has seen all its samples.
        tell: gets a line about each task that ended early.

    Raises:
        VanishingError: eq. 4 vanishes for some component; nothing of this task was written.
    """
    importance = start
    for task, (mark, rows) in group_by_task(dataset).items():
        drawn = _drawn(rows, samples, seed)
        found = importance.tasks.get(task)
        if found is not None and found.tokens in trained_tokens(dataset, drawn[: found.examples]):
            continue
        halves: list[PartScores] = []
        seen: list[int] = []
        for block in blocks(drawn, growing=stable is not None):
            parts = [
                part_scores(
                    model,
                    _batches(dataset, half, collate, batch_size, f"importance: {short(task, 30)}, {name} half"),
                    reduction,
                    score,
                    strict=True,
                )
                for half, name in ((block[::2], "first"), (block[1::2], "second"))
            ]
            halves = [old + new for old, new in zip(halves, parts, strict=True)] if halves else parts
            seen += block
            if stable is not None and len(seen) < len(drawn) and stable(mark, *halves):
                tell(f"Importance of task {task} is stable after {len(seen)} of {len(drawn)} examples.")
                break
        whole = halves[0] + halves[1]
        if whole.vanishing:
            raise VanishingError(whole.vanishing, len(whole.sums))
        tokens = trained_tokens(dataset, seen)
        if whole.trained not in tokens:
            raise CheckpointError(
                f"importance of task {task}: the processes scored {whole.trained:,} tokens together instead of "
                f"{tokens.start:,}; nothing was written. Give all machines the same data, then repeat the command."
            )
        importance = importance.with_task(
            task,
            TaskScores(
                mark,
                len(seen),
                whole.scores(),
                halves=[half.scores() for half in halves] if all(half.trained for half in halves) else [],
                tokens=whole.trained,
            ),
        )
        if process_number() == 0:
            importance.save(path)
    return importance


def _batches(
    dataset: Any, rows: Sequence[int], collate: Collate, batch_size: int, title: str
) -> Iterator[dict[str, torch.Tensor]]:
    """Return this process's share of the rows, of similar lengths; every process gets the same number of batches."""
    rank, world = process_number(), process_count()
    mine = sorted(rows[rank::world], key=lambda row: len(dataset[row]["input_ids"]))
    parts = [mine[i : i + batch_size] for i in range(0, len(mine), batch_size)]
    missing = math.ceil(len(rows[::world]) / batch_size) - len(parts)
    for part in tqdm(parts, desc=f"{title} ({len(rows)} examples)", disable=rank != 0):
        yield _plain(collate([dataset[row] for row in part]))
    for _ in range(missing):  # engines that spread weights over processes need all of them in every pass
        batch = _plain(collate([dataset[rows[0]]]))
        yield batch | {"labels": torch.full_like(batch["labels"], IGNORE_INDEX)}


def _plain(batch: dict[str, torch.Tensor]) -> dict[str, torch.Tensor]:
    batch.pop(MARKS_COLUMN)
    batch.pop(WEIGHTS_COLUMN, None)
    return batch


def fits_float32(model: nn.Module) -> bool:
    """Tell whether a half-precision model can be raised to float32 here, on every process, with room to work in."""
    device = next(model.parameters()).device
    extra = sum(parameter.numel() * (4 - parameter.itemsize) for parameter in model.parameters())
    fits = torch.tensor(float(extra * ROOM <= free_memory(device)), device=device)
    if distributed.is_initialized():
        distributed.all_reduce(fits, op=distributed.ReduceOp.MIN)
    return bool(fits)


@contextlib.contextmanager
def scoring_mode(model: nn.Module, *, float32: bool, checkpointing: bool) -> Iterator[None]:
    """Return the model as importance needs it: evaluation mode or checkpointed, in float32 if asked; restored on exit.

    Raising a half-precision model to float32 and lowering it again gives the same weights. FlashAttention computes in
    16 bits only; torch's own attention stands in for it meanwhile.
    """
    dtype = next(model.parameters()).dtype
    training = model.training
    raised = float32 and dtype in (torch.float16, torch.bfloat16) and not quantization(model)
    dtypes = {name: parameter.dtype for name, parameter in model.named_parameters()} if raised else {}
    flash = str(getattr(model.config, "_attn_implementation", None))
    flash = flash if flash.startswith("flash_attention") else ""
    enabled = bool(getattr(model, "is_gradient_checkpointing", False))
    try:
        if raised:
            model.float()
            if flash:
                cast(Any, model).set_attn_implementation("sdpa")
        model.train(checkpointing and enabled)
        with recompute_everywhere(model):
            yield
    finally:
        for name, parameter in model.named_parameters():
            if name in dtypes:
                parameter.data = parameter.data.to(dtypes[name])
        if raised and flash:
            cast(Any, model).set_attn_implementation(flash)
        model.train(training)
