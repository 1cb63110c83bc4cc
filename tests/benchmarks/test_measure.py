"""The benchmarks' peak memory is what one counts by hand."""

from __future__ import annotations

import sys
from collections.abc import Callable
from pathlib import Path

import pytest
import torch
from torch import Tensor, nn
from torch.utils.checkpoint import checkpoint

sys.path.insert(0, str(Path(__file__).parents[2] / "benchmarks"))

from measure import kept_bytes, peak_bytes, times_of_runs

CPU = torch.device("cpu")
UNIT = 4096  # bytes of one tensor below


def ones() -> Tensor:
    return torch.ones(UNIT // 4)


def chain() -> None:
    """Each result replaces the one before: two at a time."""
    x = ones()
    for _ in range(5):
        x = x + 1


def kept_alive() -> None:
    found = [ones() for _ in range(5)]
    del found


def views_and_in_place() -> None:
    x = ones()
    x.view(2, -1).t()[0].add_(1)
    x.mul_(2)


def freed_then_new() -> None:
    for _ in range(3):
        ones()


def old_freed_then_new(held: list[Tensor]) -> None:
    """Memory from before that is freed within does not hide what takes its place."""
    held[0].add_(1)
    held.clear()
    found = [ones(), ones()]
    del found


def squares(depth: int) -> Callable[[], None]:
    """Squares a tensor `depth` times, and back: autograd keeps every result (1 each)."""
    x = ones().requires_grad_()

    def call() -> None:
        x.grad = None
        y = x
        for _ in range(depth):
            y = y.square()
        y.sum().backward()

    return call


@pytest.mark.parametrize(
    ("call", "units"),
    [(chain, 2), (kept_alive, 5), (views_and_in_place, 1), (freed_then_new, 1)],
)
def test_peak_of_plain_operators(call: Callable[[], None], units: int) -> None:
    assert peak_bytes(call, CPU) == units * UNIT


def test_memory_from_before_does_not_hide_new_memory() -> None:
    held = [ones()]
    assert peak_bytes(lambda: old_freed_then_new(held), CPU) == 2 * UNIT


def test_arguments_are_not_counted_and_results_that_stay_are() -> None:
    x, kept = ones(), []
    assert peak_bytes(lambda: kept.append(x + 1), CPU) == UNIT
    assert peak_bytes(lambda: x.add_(1), CPU) == 0


def test_what_autograd_keeps_counts_until_backward_has_used_it() -> None:
    """Depth d: d results, of which d - 1 are saved and one is alive; backward adds gradients as it frees."""
    peaks = [peak_bytes(squares(depth), CPU) for depth in (4, 8, 16)]
    assert peaks[1] - peaks[0] == 4 * UNIT
    assert peaks[2] - peaks[1] == 8 * UNIT
    assert 4 * UNIT < peaks[0] <= 8 * UNIT


@pytest.mark.parametrize("reentrant", [True, False])
def test_checkpointing_shows(reentrant: bool) -> None:
    """Four blocks of eight squarings keep four results and one block instead of all."""
    x = ones().requires_grad_()

    def block(y: Tensor) -> Tensor:
        for _ in range(8):
            y = y.square()
        return y

    def call() -> None:
        x.grad = None
        y = x
        for _ in range(4):
            y = checkpoint(block, y, use_reentrant=reentrant)
        y.sum().backward()

    plain, ours = peak_bytes(squares(32), CPU), peak_bytes(call, CPU)
    assert 32 * UNIT <= plain <= 36 * UNIT
    assert 11 * UNIT <= ours <= 17 * UNIT


def test_gradients_and_new_optimiser_state_count_and_old_state_does_not() -> None:
    weight = nn.Parameter(ones())
    optimiser = torch.optim.AdamW([weight], fused=True)

    def call() -> None:
        (weight * 1.0).sum().backward()
        optimiser.step()
        optimiser.zero_grad(set_to_none=True)

    first, second = peak_bytes(call, CPU), peak_bytes(call, CPU)
    assert 3 * UNIT <= first <= 3 * UNIT + 64, "gradient and two moments"
    assert UNIT <= second <= UNIT + 64, "the product, and after it the gradient"


def test_kept_bytes_counts_each_storage_once_and_not_what_is_named() -> None:
    x = torch.ones(UNIT // 4, requires_grad=True)
    assert kept_bytes(lambda: x * x, {"x": x}) == 0
    assert kept_bytes(lambda: (x * 2).square().square(), {"x": x}) == 2 * UNIT


def test_runs_advance_together() -> None:
    seen: list[str] = []
    runs = {
        name: [lambda name=name, i=i: seen.append(f"{name}{i}") for i in range(n)] for name, n in (("a", 2), ("b", 4))
    }
    found = times_of_runs(runs, rounds=2, device=CPU)
    assert seen == 2 * ["b0", "a0", "b1", "b2", "a1", "b3"]
    assert {name: len(seconds) for name, seconds in found.items()} == {"a": 2, "b": 2}
    assert all(second > 0 for seconds in found.values() for second in seconds)
