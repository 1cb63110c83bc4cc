"""The paper's points of accuracy against cost (SKIntern, arXiv:2409.13183, table 1 and figure 1)."""

from __future__ import annotations

from dataclasses import dataclass
from typing import Final

SOURCE: Final = "SKIntern, arXiv:2409.13183, table 1; one seed each, no deviations given"


@dataclass(frozen=True)
class Point:
    """One row of the table.

    Attributes:
        group: the model.
        method: how it was tuned.
        mean: unweighted mean accuracy over seven test sets, in per cent.
        cost: multiply-accumulates of the prompts, relative to TinyLLaMA without tuning.
    """

    group: str
    method: str
    mean: float
    cost: float


POINTS: Final = (
    Point("TinyLLaMA", "zero-shot", 12.5, 1.0),
    Point("TinyLLaMA", "FT", 22.3, 0.9),
    Point("TinyLLaMA", "KAFT", 22.9, 3.7),
    Point("TinyLLaMA", "Std-CoT", 23.2, 1.0),
    Point("TinyLLaMA", "MT-CoT", 22.3, 0.9),
    Point("TinyLLaMA", "Step-by-step", 21.8, 0.9),
    Point("TinyLLaMA", "KARD", 23.3, 3.9),
    Point("TinyLLaMA", "CasCoD", 22.6, 3.0),
    Point("TinyLLaMA", "SKIntern", 27.5, 1.0),
    Point("LLaMA2-7B", "FT", 37.6, 5.6),
    Point("LLaMA2-7B", "KAFT", 38.5, 23.7),
    Point("LLaMA2-7B", "Std-CoT", 39.2, 6.4),
    Point("LLaMA2-7B", "KARD", 40.8, 24.5),
    Point("LLaMA2-7B", "CasCoD", 43.2, 19.0),
    Point("LLaMA2-7B", "SKIntern", 47.6, 6.4),
    Point("LLaMA3-8B", "Std-CoT", 60.5, 6.2),
    Point("LLaMA3-8B", "KARD", 63.2, 24.2),
    Point("LLaMA3-8B", "CasCoD", 34.5, 17.7),
    Point("LLaMA3-8B", "SKIntern", 63.4, 6.2),
    Point("Qwen2-0.5B", "Std-CoT", 34.3, 0.4),
    Point("Qwen2-0.5B", "KARD", 36.7, 1.7),
    Point("Qwen2-0.5B", "SKIntern", 36.7, 0.4),
    Point("Qwen2-1.5B", "Std-CoT", 50.5, 1.3),
    Point("Qwen2-1.5B", "KARD", 53.1, 5.2),
    Point("Qwen2-1.5B", "SKIntern", 54.1, 1.3),
    Point("Qwen2-7B", "Std-CoT", 68.0, 6.0),
    Point("Qwen2-7B", "KARD", 69.2, 23.6),
    Point("Qwen2-7B", "SKIntern", 69.6, 6.0),
)
GROUPS: Final = tuple(dict.fromkeys(point.group for point in POINTS))


def beside(group: str) -> tuple[Point, ...]:
    """Return the points of a model, their cost relative to its own without knowledge: Std-CoT's, or zero-shot's."""
    chosen = [point for point in POINTS if point.group == group]
    base = next(point.cost for point in chosen if point.method in ("zero-shot", "Std-CoT"))
    return tuple(Point(point.group, point.method, point.mean, round(point.cost / base, 2)) for point in chosen)
