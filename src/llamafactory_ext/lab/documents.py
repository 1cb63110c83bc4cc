"""Requests for tools whose documentation is given as data, in LLaMA-Factory's `tools` column.

For training that takes documentation out of the prompt: some tools are trained, the others never. A record has the
documents of the tool that is needed and of one other.
"""

from __future__ import annotations

import json
from collections.abc import Sequence
from random import Random
from typing import Any

from . import words
from .tools import TOOLS, Tool
from .trajectories import describe

TRAINED_TOOLS = 24
TRAIN, TEST = 300, 200
_SEED = 13
_OPENINGS = ("Please", "I want to", "Can you", "I need to", "Help me to", "We would like to")


def trained_tools() -> tuple[Tool, ...]:
    """Return the tools whose documentation is to leave the prompt; always the same."""
    return tuple(Random(_SEED).sample(TOOLS["seen"], TRAINED_TOOLS))


def document_files(train: int = TRAIN, test: int = TEST) -> dict[str, list[dict[str, Any]]]:
    """Return the records of each file by its name: training, held-out calls of the same tools, calls of others.

    Args:
        train: calls to train on.
        test: calls in each of the other files, none of which asks what a training record asks.
    """
    trained = trained_tools()
    files: dict[str, list[dict[str, Any]]] = {}
    asked: set[str] = set()
    for name, tools, count in (
        ("lab_docs.json", trained, train),
        ("lab_docs_seen.json", trained, test),
        ("lab_docs_unseen.json", TOOLS["unseen"], test),
    ):
        files[name] = _drawn(tools, count, Random(f"{name}/{_SEED}"), asked)
    return files


def _drawn(tools: Sequence[Tool], count: int, rng: Random, asked: set[str]) -> list[dict[str, Any]]:
    """Draw records that nobody has asked before."""
    records: list[dict[str, Any]] = []
    while len(records) < count:
        record = _record(tools[len(records) % len(tools)], tools, rng)
        question = record["conversations"][0]["value"]
        if question not in asked:
            asked.add(question)
            records.append(record)
    rng.shuffle(records)
    return records


def _record(tool: Tool, tools: Sequence[Tool], rng: Random) -> dict[str, Any]:
    other = rng.choice([one for one in tools if one.name != tool.name])
    values = {slot.key: slot.draw(rng) for slot in tool.slots}
    told = " ".join(
        rng.choice(slot.phrases).format(values[slot.key]) for slot in rng.sample(tool.slots, len(tool.slots))
    )
    opening = rng.choice(_OPENINGS)
    end = "?" if opening == "Can you" else "."
    shown = [describe(one) for one in rng.sample([tool, other], 2)]
    return {
        "conversations": [
            {"from": "human", "value": f"{opening} {tool.verb} {words.a(tool.noun)} {told}{end}"},
            {"from": "function_call", "value": json.dumps({"name": tool.name, "arguments": values})},
        ],
        "system": "",
        "tools": json.dumps(shown),
        "mark": "tool",
        "task": "tool",
    }
