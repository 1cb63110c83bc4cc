"""Numbers of files that a user may have changed."""

from __future__ import annotations

import math
from typing import Any, Final

_MOST: Final = 1e300


def number(value: Any, least: float = -_MOST, most: float = _MOST) -> float:
    """Return a finite number as it stands.

    Raises:
        ValueError: it is something else, or beyond the bounds.
    """
    if type(value) not in (int, float) or not least <= value <= most or not math.isfinite(value):
        raise ValueError(f"{str(value)[:40]!r} is no number of this kind")
    found: float = value
    return found


def whole(value: Any, least: int = 0) -> int:
    """Return a whole number as it stands.

    Raises:
        ValueError: it is something else, or too small.
    """
    if type(value) is not int or not least <= value <= _MOST:
        raise ValueError(f"{str(value)[:40]!r} is no whole number of this kind")
    return value


def text(value: Any) -> str:
    """Return a text that can be written to a page.

    Raises:
        ValueError: it is something else, or holds half a character.
    """
    if not isinstance(value, str):
        raise ValueError(f"{str(value)[:40]!r} is no text")
    value.encode()
    return value
