"""Arithmetic word problems with a rationale and knowledge, for training that takes knowledge out of the prompt."""

from __future__ import annotations

from typing import Any, Final

from . import world

RECORDS: Final = 300
_SEED: Final = 17
_KINDS: Final = {
    "add": ("1. Find both numbers.\n2. Add them.", "Getting, buying and being given more is adding."),
    "sub": ("1. Find both numbers.\n2. Take the second from the first.", "Losing, selling and giving is taking away."),
    "mul": ("1. Find the number of boxes and what each holds.\n2. Multiply them.", "Each means once for every box."),
    "addsub": ("1. Add what comes.\n2. Take away what goes.", "What comes is added, what goes is taken away."),
    "muladd": ("1. Multiply boxes and what each holds.\n2. Add what comes.", "Multiply before you add."),
    "mulsub": ("1. Multiply boxes and what each holds.\n2. Take away what goes.", "Multiply before you take away."),
}


def knowledge_file(count: int = RECORDS) -> list[dict[str, Any]]:
    """Return records with `knowledge`, `rationale` and `task`; always the same."""
    return [
        _record(example.prompt, example.answer, example.key) for example in world.sample("math", "train", count, _SEED)
    ]


def _record(prompt: str, answer: str, key: str) -> dict[str, Any]:
    rationale, _, result = answer.partition(" Answer: ")
    kind = key.partition(" ")[0]
    summary, supplement = _KINDS[kind]
    return {
        "instruction": prompt,
        "input": "",
        "output": result,
        "rationale": rationale,
        "knowledge": {"summary": summary, "supplement": supplement},
        "mark": "general",
        "task": kind,
    }
