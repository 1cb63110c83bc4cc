"""What shipped environments read of a record: its turns, whatever layout its file has.

The turns are those that LLaMA-Factory's dialogue is made of, handed over in the record as TURNS.
"""

from __future__ import annotations

from collections.abc import Mapping
from typing import Any, Final

TURNS: Final = "turns"


def turns_of(record: Mapping[str, Any]) -> list[tuple[str, str]]:
    """Return role ("user", "assistant", "function", "observation") and text of all turns.

    Raises:
        LookupError: the record has none.
    """
    turns = record.get(TURNS)
    if not isinstance(turns, list) or not turns:
        raise LookupError(f"it has no {TURNS}")
    return [(str(turn["role"]), str(turn["content"])) for turn in turns]


def final_text(record: Mapping[str, Any]) -> str:
    """Return the text of the last turn, which is the right answer.

    Raises:
        LookupError: the last turn is no answer.
    """
    role, text = turns_of(record)[-1]
    if role not in ("assistant", "function"):
        raise LookupError("its last turn is no answer")
    return text
