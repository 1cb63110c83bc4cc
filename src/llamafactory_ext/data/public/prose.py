"""System texts without what only the published format of tools and calls needs: the template writes its own."""

from __future__ import annotations

import re

_BETWEEN = re.compile(r"((?<=[.!?])\s+|\n+)")
_BLANK_LINES = re.compile(r"\n{3,}")


def without_sentences(text: str, pattern: re.Pattern[str]) -> str:
    """Leave out the sentences and lines in which the pattern is found; the rest stays as it is."""
    parts = _BETWEEN.split(text)
    kept = []
    for index in range(0, len(parts), 2):
        if not pattern.search(parts[index]):
            kept += parts[index : index + 2]
    return _BLANK_LINES.sub("\n\n", "".join(kept)).strip()
