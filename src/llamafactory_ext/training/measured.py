"""A few measured steps of a run scaled up to the whole: time, disk and memory."""

from __future__ import annotations

from collections.abc import Mapping, Sequence
from dataclasses import asdict, dataclass
from typing import Any

from .scale import GIB, kept_checkpoints
from .stopwatch import Laps

_EVALUATING = 1 / 3  # of a training step's time for as many examples: forward without backward


@dataclass(frozen=True)
class Phase:
    """One training of a run.

    Attributes:
        name: of the phase; "training" where there is one only.
        trained: weights that move.
        total: of the model with what was added.
        steps: optimiser steps of the whole training.
        seconds_per_step: measured.
        seconds: of all steps, checkpoints and evaluations.
    """

    name: str
    trained: int
    total: int
    steps: int
    seconds_per_step: float
    seconds: float


@dataclass(frozen=True)
class Estimate:
    """What a run would take.

    Attributes:
        name: of the method.
        device: that computes.
        phases: in their order.
        importance_seconds: of the importance pass.
        other_seconds: of starting, loading, data and reports.
        seconds: of all.
        peak_bytes: of memory.
        disk_bytes: of output_dir at the end.
    """

    name: str
    device: str
    phases: Sequence[Phase]
    importance_seconds: float
    other_seconds: float
    seconds: float
    peak_bytes: int
    disk_bytes: int

    def to_dict(self) -> dict[str, Any]:
        """Return all figures."""
        return asdict(self)

    def text(self) -> str:
        """Return the figures for a reader."""
        lines = [f"Dry run of {self.name}: measured in a few steps here, nothing was trained or kept."]
        lines.append(f"{'phase':<10}{'trains':>16}{'of':>18}{'steps':>8}{'s / step':>10}{'time':>10}")
        lines += [
            f"{phase.name:<10}{phase.trained:>16,}{phase.total:>18,}{phase.steps:>8,}{phase.seconds_per_step:>10.3g}"
            f"{_time(phase.seconds):>10}"
            for phase in self.phases
        ]
        if self.importance_seconds:
            lines.append(f"{'importance':<62}{_time(self.importance_seconds):>10}")
        lines.append(f"{'starting, loading, data, reports':<62}{_time(self.other_seconds):>10}")
        lines.append(
            f"Time {_time(self.seconds)}; peak memory {_size(self.peak_bytes)} ({self.device}); disk "
            f"{_size(self.disk_bytes)}."
        )
        return "\n".join(lines)


@dataclass(frozen=True)
class Trial:
    """A few steps of a run.

    Attributes:
        name: of the method.
        seconds: of the whole trial.
        before: seconds of the process before it.
        phases: what a timer noted of each training.
        laps: seconds and amounts of the parts that are no steps.
        sizes: bytes of checkpoints by phase, and of the rest.
        peak: bytes of memory.
    """

    name: str
    seconds: float
    before: float
    phases: Sequence[Mapping[str, Any]]
    laps: Laps
    sizes: Mapping[str, int]
    peak: int

    def scaled(self, args: Any, *, device: str) -> Estimate:
        """Scale the trial up.

        Args:
            args: transformers' options of the whole run.
            device: its kind.
        """
        phases, disk = [], self.sizes["rest"]
        once = self.seconds
        for noted in self.phases:
            steps = args.max_steps if args.max_steps > 0 else max(1, round(noted["epochs"] * noted["updates"] + 0.499))
            ends = noted["ends"]
            each = _seconds_per_step(noted)
            once -= ends[-1] - noted["began"]
            count = kept_checkpoints(
                steps,
                args.save_steps,
                None,
                str(getattr(args.save_strategy, "value", args.save_strategy)),
                noted["epochs"],
            )
            kept = min(count, args.save_total_limit) if args.save_total_limit else count
            disk += kept * self.sizes.get(noted["name"], 0)
            saving = max(0, count - 1) * noted["saved"]
            evaluating = self._evaluations(args, steps, noted["epochs"]) * each * noted["updates"] * _EVALUATING
            phases.append(
                Phase(noted["name"], noted["trained"], noted["total"], steps, each, steps * each + saving + evaluating)
            )
        scored, reported = (self._lap(name) for name in ("importance", "report"))
        once = max(0.0, once - sum(self.laps.seconds.get(name, 0.0) for name in ("importance", "report")))
        other = self.before + once + reported
        total = other + scored + sum(phase.seconds for phase in phases)
        return Estimate(self.name, device, tuple(phases), scored, other, total, self.peak, int(disk))

    def _lap(self, name: str) -> float:
        done, planned = self.laps.done.get(name, 0), self.laps.planned.get(name, 0)
        return self.laps.seconds.get(name, 0.0) * (planned / done if done else 1.0)

    def _evaluations(self, args: Any, steps: int, epochs: float) -> float:
        """Return how many evaluations there are, times the share of the data that they look at."""
        strategy = str(getattr(args.eval_strategy, "value", args.eval_strategy))
        each = {"steps": steps / args.eval_steps if args.eval_steps else 0, "epoch": epochs}.get(strategy, 0)
        return (each + bool(args.do_eval)) * self.laps.planned.get("evaluated_percent", 0) / 100


def _seconds_per_step(noted: Mapping[str, Any]) -> float:
    """Return seconds of a step, the first half of the trial, which warms up, left out."""
    ends = noted["ends"]
    half = len(ends) // 2
    begin = ends[half - 1] if half else noted["began"]
    return float((ends[-1] - begin) / (len(ends) - half))


def _time(seconds: float) -> str:
    if seconds < 120:
        return f"{seconds:.0f} s"
    return f"{seconds / 60:.0f} min" if seconds < 7200 else f"{seconds / 3600:.1f} h"


def _size(count: float) -> str:
    return f"{count / GIB:.1f} GiB" if count >= GIB else f"{count / 2**20:.0f} MiB"
