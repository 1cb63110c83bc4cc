"""Which components are adapted and which are tuned in full (CITI, arXiv:2409.13202, sections 3.1, 3.2 and 4.2)."""

from __future__ import annotations

import math
import random
from collections.abc import Mapping
from dataclasses import asdict, dataclass
from typing import Any, Literal

from ..errors import OptionError

End = Literal["top", "bottom", "random"]


@dataclass(frozen=True)
class Selection:
    """The outcome of `select_components`.

    Attributes:
        adapted: components that tool data trains most: with a MOLoRA adapter in CITI. In the order of `end`: most
            important for tool use first, least important first, or as drawn.
        tuned: components of phase UCO, tuned in full, least important for the general abilities first.
        displaced: components that the bottom ratio also chose and that stay with `adapted` alone.
        total: number of components ranked.
        end: the end of the ranking by tool importance that `adapted` comes from; the method takes the top.
    """

    adapted: tuple[str, ...]
    tuned: tuple[str, ...]
    displaced: tuple[str, ...]
    total: int
    end: End = "top"

    def to_dict(self) -> dict[str, Any]:
        return asdict(self)

    @classmethod
    def from_dict(cls, data: Mapping[str, Any]) -> Selection:
        adapted, tuned, displaced = (tuple(data[key]) for key in ("adapted", "tuned", "displaced"))
        return cls(adapted, tuned, displaced, int(data["total"]), data.get("end", "top"))


_TOO_LARGE = 1e300  # sums stay finite


def _is_score(score: object) -> bool:
    return isinstance(score, int | float) and not isinstance(score, bool) and 0 <= score < _TOO_LARGE


def normalise(scores: Mapping[str, float]) -> dict[str, float]:
    """Return I_h divided by its sum over components (eq. 5: M_h)."""
    bad = [name for name, score in scores.items() if not _is_score(score)]
    if bad:
        raise OptionError(
            f"importance scores of {', '.join(bad[:3])}{' and others' if len(bad) > 3 else ''} are not finite and "
            ">= 0; the model overflows on this data: try `citi_importance_dtype: float32`."
        )
    total = math.fsum(scores.values())
    if total == 0:
        raise OptionError(
            "every component has importance 0: no token is trained (is every answer cut off by `cutoff_len`?) or the "
            "model does not depend on its linears."
        )
    return {name: score / total for name, score in scores.items()}


def general_importance(scores: Mapping[str, Mapping[str, float]]) -> dict[str, float]:
    """Return C_h: the normalised importance summed over the general tasks (eq. 10)."""
    tasks = [normalise(task_scores) for task_scores in scores.values()]
    return {name: math.fsum(task[name] for task in tasks) for name in tasks[0]}


def select_components(
    tool_scores: Mapping[str, float],
    general_scores: Mapping[str, float],
    top: float = 0.2,
    bottom: float = 0.1,
    end: End = "top",
    seed: int = 0,
) -> Selection:
    """Return the top share by M_h gets MOLoRA, the bottom share by C_h is tuned in full.

    Counts are rounded down. Equal scores keep the order of `tool_scores`, the model's own. A component in both shares
    goes to MOLoRA alone and the next in rank takes its place ("important parameters ... immobilised", section 3.3).
    Other ends than the top are for the paper's experiment on the ranking (section 2, Table 2).

    Args:
        tool_scores: M_h, or any scores of the same order, per component.
        general_scores: C_h per component; the same names.
        top: share of all components that is adapted, in (0, 1].
        bottom: share of all components that is tuned in full, in [0, 1).
        end: which end of M_h `top` is taken from; `random`: from anywhere.
        seed: of the draw with `random`.

    Raises:
        OptionError: a ratio selects nothing or more than there is; the names differ.
    """
    names = list(tool_scores)
    if set(names) != set(general_scores):
        odd = sorted(set(names) ^ set(general_scores))
        raise OptionError(f"tool and general importance rank different components, {odd[:3]} for example.")
    n_top, n_bottom = selected_counts(len(names), top, bottom)
    if end == "random":
        adapted = random.Random(seed).sample(names, n_top)
    else:
        sign = -1 if end == "top" else 1
        adapted = sorted(names, key=lambda name: sign * tool_scores[name])[:n_top]
    ascending = sorted(names, key=lambda name: general_scores[name])
    tuned = [name for name in ascending if name not in set(adapted)][:n_bottom]
    displaced = [name for name in ascending[:n_bottom] if name in set(adapted)]
    return Selection(tuple(adapted), tuple(tuned), tuple(displaced), len(names), end)


def extremes(scores: Mapping[str, float], share: float, end: End) -> tuple[str, ...]:
    """Return the share of components at one end of a ranking; none at a random one."""
    if end == "random":
        return ()
    count = math.floor(share * len(scores) + 1e-9)
    sign = -1 if end == "top" else 1
    return tuple(sorted(scores, key=lambda name: sign * scores[name])[:count])


def selected_counts(total: int, top: float, bottom: float) -> tuple[int, int]:
    """Return how many of `total` components are adapted and how many are tuned in full; both rounded down.

    Raises:
        OptionError: a ratio selects nothing, or both select more than there is.
    """
    n_top, n_bottom = (math.floor(ratio * total + 1e-9) for ratio in (top, bottom))
    problems = []
    if n_top == 0:
        problems.append(_nothing("citi_top_ratio", top, total))
    if bottom > 0 and n_bottom == 0:
        problems.append(_nothing("citi_bottom_ratio", bottom, total) + ", or set it to 0 to skip the UCO phase")
    if n_top + n_bottom > total:
        problems.append(
            f"citi_top_ratio={top:g} and citi_bottom_ratio={bottom:g} select {n_top + n_bottom} of {total}"
        )
    if problems:
        raise OptionError("; ".join(problems) + ".")
    return n_top, n_bottom


def _nothing(option: str, ratio: float, total: int) -> str:
    return f"{option}={ratio:g} selects 0 of {total} linears; raise it to at least {math.ceil(1e4 / total) / 1e4:g}"
