"""How much knowledge each step keeps in the prompt (SKIntern, arXiv:2409.13183, section 3.3)."""

from __future__ import annotations

import math
from collections.abc import Sequence
from itertools import pairwise
from typing import Final

from ..errors import OptionError

PATTERNS: Final = ("linear", "exp", "inverse_exp", "step")
_ROUNDING: Final = 1e-9  # floating point must not turn 6 x 2/3 into 3


def schedule(steps: int, pattern: str | Sequence[float], decay: float = 3.0) -> tuple[float, ...]:
    """Return the share S_t of the knowledge that step t keeps: 1 first, 0 last, never rising.

    With u = t / (T - 1): linear is 1 - u; exp is (e^(-decay u) - e^(-decay)) / (1 - e^(-decay)), which falls fast at
    first; inverse_exp is 1 - (e^(decay u) - 1) / (e^decay - 1), which falls late; step is 1 in the first half, then
    0.5, and 0 at the end. The paper states no formula for "exp" and "exp^-1"; these are ours.

    Args:
        steps: T, at least 2.
        pattern: one of `PATTERNS`, or the shares themselves, as numbers or as text such as "1,0.5,0".
        decay: of exp and inverse_exp, above 0.

    Raises:
        OptionError: too few steps, an unknown pattern, or shares that rise or do not run from 1 to 0.
    """
    if isinstance(steps, bool) or not isinstance(steps, int) or steps < 2:
        raise OptionError(
            f"skintern_steps={steps!r}: give a whole number of at least 2; the last step has no knowledge."
        )
    if not isinstance(decay, int | float) or not 0 < decay <= 100:
        raise OptionError(f"skintern_decay={decay!r}: give a number above 0, at most 100.")
    if pattern not in PATTERNS:
        return _listed(steps, pattern)
    inner = [_share(t, steps, pattern, decay) for t in range(1, steps - 1)]
    return (1.0, *inner, 0.0)


def listed_shares(pattern: str | Sequence[float]) -> tuple[float, ...] | None:
    """Return the shares that a pattern lists; None for the name of a pattern.

    Raises:
        OptionError: neither a name nor a list of numbers.
    """
    if pattern in PATTERNS:
        return None
    written = pattern.strip("[]() ").split(",") if isinstance(pattern, str) else pattern
    try:
        return tuple(float(share) for share in written)
    except (TypeError, ValueError):
        raise OptionError(
            f"skintern_pattern={pattern!r}: choose one of {', '.join(PATTERNS)}, or list the shares, such as 1,0.5,0."
        ) from None


def shots(share: float, most: int) -> int:
    """Return how many examples a step keeps: floor(K S), whatever floating point makes of the product."""
    return math.floor(most * share + _ROUNDING)


def _share(t: int, steps: int, pattern: str | Sequence[float], decay: float) -> float:
    done = t / (steps - 1)
    if pattern == "exp":
        return math.expm1(decay * (1 - done)) / math.expm1(decay)
    if pattern == "inverse_exp":
        return 1 - math.expm1(decay * done) / math.expm1(decay)
    if pattern == "step":
        return 1.0 if t < steps / 2 else 0.5
    return 1 - done


def _listed(steps: int, pattern: str | Sequence[float]) -> tuple[float, ...]:
    shares = listed_shares(pattern) or ()
    wrong = (
        "it names too few shares"
        if len(shares) < 2
        else f"it names {len(shares)} shares for {steps} steps"
        if len(shares) != steps
        else "a share lies outside of 0 to 1"
        if not all(0 <= share <= 1 for share in shares)
        else "shares may not rise"
        if any(later > earlier for earlier, later in pairwise(shares))
        else "the first share is 1 and the last 0"
        if shares[0] != 1 or shares[-1] != 0
        else ""
    )
    if wrong:
        raise OptionError(f"skintern_pattern={pattern!r}: {wrong}. A list runs from 1 down to 0, such as 1,0.5,0.")
    return shares
