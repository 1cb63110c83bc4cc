"""Rows 5, 6 and 17: importance from activations against weight gradients, how exact it is, what other scores cost."""

from __future__ import annotations

import json
import tempfile
from collections.abc import Iterator, Mapping, Sequence
from contextlib import contextmanager
from functools import partial
from pathlib import Path
from typing import Any

import torch
from measure import Figure, Row, peak_bytes, time_ratio, times
from setting import SHAPES, Batch, Setting, draw_batch, packed_batch, twin, unpadded
from steps import full_loss
from torch import distributed, multiprocessing, nn

from llamafactory_ext.citi import importance, taps
from llamafactory_ext.citi.importance import linear_components, score_components
from llamafactory_ext.citi.scoring import scoring_mode

SCORES: tuple[importance.Score, ...] = ("eq4", "snip", "fisher", "wanda")
MANY_LENGTHS = [11, 7, 12, 9, 5, 12, 8, 10]


def by_weight_gradients(model: nn.Module, batches: Sequence[Batch]) -> dict[str, float]:
    """The naive way: gradients of the linears' weights summed over all batches, times the weights at the end."""
    components = linear_components(model)
    model.zero_grad(set_to_none=True)
    for batch in batches:
        full_loss(model, batch, "sum").backward()
    return {name: abs((module.weight * module.weight.grad).sum().item()) for name, module in components.items()}


def careful_model(base: nn.Module) -> Any:
    """Gradients of the linears' weights and of nothing else, which is the least that autograd needs."""
    model = twin(base)
    for module in linear_components(model).values():
        module.weight.requires_grad_(True)
    return model


@contextmanager
def steady_state() -> Iterator[None]:
    """A batch from the middle of a data set: without what is done once, or for its first batches only.

    That is the look at the output head, and the check for vanishing scores.
    """
    checked, look = importance.CHECKED_BATCHES, taps.plain_head
    importance.CHECKED_BATCHES, taps.plain_head = 0, lambda model: model.get_output_embeddings()
    try:
        yield
    finally:
        importance.CHECKED_BATCHES, taps.plain_head = checked, look


def cost(setting: Setting) -> list[Row]:
    """Row 5."""
    base = setting.model()
    batches = [setting.batch()]
    data = [batch.as_mapping() for batch in batches]
    plain, careful = twin(base).requires_grad_(True).eval(), careful_model(base).eval()
    ours, checkpointed = twin(base).train(), twin(base).requires_grad_(True).train()
    for model in (ours, checkpointed):
        model.gradient_checkpointing_enable({"use_reentrant": False})

    def tapped(checkpointing: bool) -> None:
        with scoring_mode(ours, float32=False, checkpointing=checkpointing):
            score_components(ours, data)

    def naive(model: nn.Module) -> None:
        by_weight_gradients(model, batches)
        model.zero_grad(set_to_none=True)

    calls = {
        "ours": lambda: tapped(False),
        "autograd": lambda: naive(plain),
        "autograd of linears only": lambda: naive(careful),
        "ours, checkpointed": lambda: tapped(True),
        "autograd, checkpointed": lambda: naive(checkpointed),
    }
    with steady_state():
        found = times(calls, rounds=setting.rounds, device=setting.device)
        memory = {name: peak_bytes(call, setting.device) for name, call in calls.items()}
    row = Row("5", "importance from activations, without full logits / autograd with weight gradients")
    row.settings = setting.describe(base, memory)
    for ours_is, other, name, goals in (
        ("ours", "autograd", "autograd", (0.62, 0.50)),
        ("ours", "autograd of linears only", "autograd of linears only", (None, None)),
        ("ours, checkpointed", "autograd, checkpointed", "autograd, both checkpointed", (0.80, 0.35)),
    ):
        row.figures += [
            time_ratio(f"time / {name}", ours_is, other, found, goals[0]),
            Figure(f"peak / {name}", memory[ours_is] / memory[other], goals[1]),
        ]
    return [row]


def exactness(setting: Setting) -> list[Row]:
    """Row 6."""
    model, whole = _exact_case()
    expected = by_weight_gradients(careful_model(model), [whole])
    examples = unpadded(whole)
    pairs = [examples[i : i + 2] for i in range(0, len(examples), 2)]
    packed = packed_batch(pairs, max(sum(part.shape[1] for part in pair) for pair in pairs), torch.float64)
    single = [packed_batch([[example]], example.shape[1], torch.float64) for example in examples]
    found = {
        "per example": score_components(model, [batch.as_mapping() for batch in single]),
        "two examples per row, packed": score_components(model, [packed.as_mapping()]),
        "2 processes": _on_two_processes(),
    }
    row = Row("6", "importance against float64 autograd, worst component", {"linears": len(expected)})
    row.figures = [
        Figure(name, _worst(scores, expected), 1e-12, unit="relative error") for name, scores in found.items()
    ]
    return [row]


def stand_ins(setting: Setting) -> list[Row]:
    """Row 17: the scores that stand in where eq. 4 vanishes; short examples, then long ones on a narrow model."""
    rows = []
    for length, place in (("short", setting), ("long", setting.long())):
        model = place.model().eval()
        data = [place.batch().as_mapping()]
        calls = {score: partial(score_components, model, data, score=score) for score in SCORES}
        with steady_state():
            found = times(calls, rounds=setting.rounds, device=setting.device)
            memory = {name: peak_bytes(call, setting.device) for name, call in calls.items()}
        row = Row("17", f"importance by other scores / by eq. 4, {length} examples")
        row.settings = place.describe(model, memory)
        for score in SCORES[1:]:
            row.figures += [
                time_ratio(f"{score}: time / eq. 4", score, SCORES[0], found, None),
                Figure(f"{score}: peak / eq. 4", memory[score] / memory[SCORES[0]], None),
            ]
        rows.append(row)
    return rows


def _exact_case() -> tuple[Any, Batch]:
    model, _ = Setting.exact()
    return model.eval(), draw_batch(MANY_LENGTHS, SHAPES["toy"].vocabulary, seed=1)


def _worst(found: Mapping[str, float], expected: Mapping[str, float]) -> float:
    return max(abs(found[name] - expected[name]) / expected[name] for name in expected)


def _on_two_processes() -> dict[str, float]:
    with tempfile.TemporaryDirectory() as folder:
        multiprocessing.spawn(_score_a_part, args=(folder, 2), nprocs=2)
        return json.loads((Path(folder) / "scores.json").read_text("utf-8"))


def _score_a_part(rank: int, folder: str, world: int) -> None:
    torch.set_num_threads(1)
    distributed.init_process_group("gloo", init_method=f"file://{folder}/meet", rank=rank, world_size=world)
    model, whole = _exact_case()
    rows = slice(rank, None, world)
    part = {name: value[rows] for name, value in whole.as_mapping().items()}
    scores = score_components(model, [part])
    if rank == 0:
        (Path(folder) / "scores.json").write_text(json.dumps(scores), encoding="utf-8")
    distributed.destroy_process_group()
