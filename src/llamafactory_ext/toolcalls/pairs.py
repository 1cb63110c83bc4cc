"""Notes keys that a JSON object has twice: decoders keep the last value and say nothing."""

from __future__ import annotations

from typing import Any


class Pairs:
    """A hook for JSON decoders.

    Attributes:
        key: the first key that an object had twice; None for none.
    """

    def __init__(self) -> None:
        self.key: str | None = None

    def __call__(self, pairs: list[tuple[str, Any]]) -> dict[str, Any]:
        """Make an object of its pairs; the last of equal keys counts."""
        made = dict(pairs)
        if len(made) < len(pairs) and self.key is None:
            names = [key for key, _ in pairs]
            self.key = next(key for place, key in enumerate(names) if key in names[:place])
        return made

    def take(self) -> str | None:
        """Return the key and forget it."""
        key, self.key = self.key, None
        return key
