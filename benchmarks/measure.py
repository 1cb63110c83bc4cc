"""How the benchmarks measure: side by side, interleaved, in one process; ratios of medians with their spread.

Time: the variants of a case take turns, round after round; each round gives one ratio per variant, and what is
reported is the ratio of the medians with the quartiles of the rounds' own ratios. Memory: the peak of what tensors
hold at once during a call beyond what was there before, counted at every operator (CPU) or by the allocator (GPU).
"""

from __future__ import annotations

import gc
import importlib.metadata
import json
import platform
import statistics
import time
import weakref
from collections.abc import Callable, Mapping, Sequence
from dataclasses import asdict, dataclass, field
from datetime import UTC, datetime
from pathlib import Path
from typing import Any

import torch
from torch.utils._python_dispatch import TorchDispatchMode
from torch.utils._pytree import tree_iter

PACKAGES = ("torch", "transformers", "peft", "accelerate", "llamafactory", "llamafactory_ext", "cut-cross-entropy")
Call = Callable[[], Any]
clock = time.perf_counter
"""What times are read from; `--own-clock` takes the processor's time of this process."""


@dataclass(frozen=True)
class Figure:
    """One measured number.

    Attributes:
        name: what was measured.
        value: the number; a ratio to the first variant unless `unit` says otherwise.
        goal: what it should not exceed, if there is a goal.
        low, high: quartiles of the single rounds, for times.
        rounds: number of rounds.
        unit: of `value`.
    """

    name: str
    value: float
    goal: float | None = None
    low: float | None = None
    high: float | None = None
    rounds: int | None = None
    unit: str = "ratio"

    @property
    def met(self) -> bool | None:
        """Whether the goal is met; None without one."""
        return None if self.goal is None else self.value <= self.goal


@dataclass
class Row:
    """One row of the table of goals: a title, the settings, the figures."""

    number: str
    title: str
    settings: dict[str, Any] = field(default_factory=dict)
    figures: list[Figure] = field(default_factory=list)


def times(variants: Mapping[str, Call], *, rounds: int, device: torch.device) -> dict[str, list[float]]:
    """Seconds of every round per variant; one round of warm-up is not counted."""
    found: dict[str, list[float]] = {name: [] for name in variants}
    for turn in range(rounds + 1):
        order = list(variants.items())
        for name, call in order if turn % 2 else reversed(order):
            _wait(device)
            start = clock()
            call()
            _wait(device)
            if turn:
                found[name].append(clock() - start)
    return found


def times_of_runs(runs: Mapping[str, Sequence[Call]], *, rounds: int, device: torch.device) -> dict[str, list[float]]:
    """Seconds of every round per variant, where a variant is a run of many steps.

    The runs advance together, each by a step when it is the furthest behind, so that a machine that becomes slower for
    a while slows all of them: runs one after the other would each have a machine of their own. No round is left out as
    a warm-up, which would cost as much as a round.
    """
    found: dict[str, list[float]] = {name: [0.0] * rounds for name in runs}
    order = [((i + 0.5) / len(steps), name, step) for name, steps in runs.items() for i, step in enumerate(steps)]
    order.sort(key=lambda item: item[0])
    for turn in range(rounds):
        for _, name, step in order:
            _wait(device)
            start = clock()
            step()
            _wait(device)
            found[name][turn] += clock() - start
    return found


def time_ratio(
    name: str, ours: str, reference: str, found: Mapping[str, list[float]], goal: float | None = None
) -> Figure:
    """Ratio of medians, with the quartiles of the ratios within each round."""
    value = statistics.median(found[ours]) / statistics.median(found[reference])
    ratios = sorted(a / b for a, b in zip(found[ours], found[reference], strict=True))
    low, _, high = statistics.quantiles(ratios, n=4) if len(ratios) > 1 else (value, value, value)
    return Figure(name, value, goal, low, high, len(ratios))


def peak_bytes(call: Call, device: torch.device) -> int:
    """The most that tensors held at once during the call, beyond what they held before."""
    gc.collect()
    if device.type == "cuda":
        _drop_gradients()
        torch.cuda.synchronize(device)
        torch.cuda.reset_peak_memory_stats(device)
        before = torch.cuda.memory_allocated(device)
        call()
        torch.cuda.synchronize(device)
        return int(torch.cuda.max_memory_allocated(device)) - before
    with _Live() as live:
        call()
    return live.peak


def _drop_gradients() -> None:
    """Those of the call before, which the next one would drop itself: they must not count as there before."""
    for leaf in gc.get_objects():
        if type(leaf) in (torch.Tensor, torch.nn.Parameter) and leaf.is_leaf:
            leaf.grad = None


class _Live(TorchDispatchMode):
    """Counts the bytes of storages that came into being within, as long as they live."""

    def __init__(self) -> None:
        super().__init__()
        self.now = self.peak = 0
        self.known: set[int] = set()

    def __torch_dispatch__(self, func: Any, types: Any, args: Any = (), kwargs: Any = None) -> Any:
        for tensor in tree_iter((args, kwargs)):
            if isinstance(tensor, torch.Tensor):
                self._see(tensor.untyped_storage(), ours=False)  # it was there before, or is known
        out = func(*args, **(kwargs or {}))
        for tensor in tree_iter(out):
            if isinstance(tensor, torch.Tensor):
                self._see(tensor.untyped_storage(), ours=True)
        return out

    def _see(self, storage: torch.UntypedStorage, *, ours: bool) -> None:
        key, size = storage._cdata, storage.nbytes() if ours else 0
        if key in self.known:
            return
        self.known.add(key)
        self.now += size
        self.peak = max(self.peak, self.now)
        weakref.finalize(storage, self._forget, key, size)

    def _forget(self, key: int, size: int) -> None:
        self.known.discard(key)
        self.now -= size


def kept_bytes(call: Call, besides: Mapping[str, torch.Tensor]) -> int:
    """Bytes that autograd keeps from a forward pass, each storage once, without those of the tensors named."""
    storages = {tensor.untyped_storage()._cdata for tensor in besides.values()}
    kept: dict[int, int] = {}

    def pack(tensor: torch.Tensor) -> torch.Tensor:
        storage = tensor.untyped_storage()
        if storage._cdata not in storages and not isinstance(tensor, torch.nn.Parameter):
            kept[storage._cdata] = tensor.numel() * tensor.itemsize
        return tensor

    with torch.autograd.graph.saved_tensors_hooks(pack, lambda tensor: tensor):
        result = call()
    del result
    return sum(kept.values())


def write(rows: list[Row], path: Path, device: torch.device, seconds: float) -> None:
    """The results as JSON, with versions and machine."""
    machine = {
        "device": torch.cuda.get_device_name(device) if device.type == "cuda" else _processor(),
        "threads": torch.get_num_threads(),
        "python": platform.python_version(),
        "system": platform.system(),
    }
    versions = {}
    for name in PACKAGES:
        try:
            versions[name] = importlib.metadata.version(name)
        except importlib.metadata.PackageNotFoundError:
            continue
    data = {
        "date": datetime.now(UTC).date().isoformat(),
        "seconds": round(seconds),
        "machine": machine,
        "versions": versions,
        "rows": [
            {**asdict(row), "figures": [{**asdict(figure), "met": figure.met} for figure in row.figures]}
            for row in rows
        ],
    }
    path.parent.mkdir(parents=True, exist_ok=True)
    path.write_text(json.dumps(data, indent=1) + "\n", encoding="utf-8")


def _processor() -> str:
    for line in Path("/proc/cpuinfo").read_text(encoding="utf-8").splitlines() if platform.system() == "Linux" else ():
        if line.startswith("model name"):
            return line.partition(":")[2].strip()
    return platform.processor() or platform.machine()


def _wait(device: torch.device) -> None:
    if device.type == "cuda":
        torch.cuda.synchronize(device)
