"""A tiny data set with knowledge, deterministic."""

from __future__ import annotations

import json
from pathlib import Path
from typing import Any

COLUMNS = {"prompt": "q", "response": "a", "knowledge": "k", "rationale": "r", "task": "t"}


def knowledge_records(count: int) -> list[dict[str, Any]]:
    """Sums with knowledge in two parts, of two tasks."""
    return [
        {
            "q": f"What is {number} plus {number + 1}, in words number{number % 3}?",
            "a": f"{2 * number + 1}",
            "r": f"{number} and {number + 1} make {2 * number + 1}.",
            "k": {
                "summary": f"1. Add the numbers of task {number}.\n2. Say the sum.",
                "supplement": "Sums commute always.",
            },
            "t": "sums" if number % 2 else "more",
        }
        for number in range(count)
    ]


def write_knowledge(folder: Path, count: int) -> Path:
    """Write them as the data set `knowledge`; return the folder."""
    folder.mkdir(parents=True, exist_ok=True)
    (folder / "knowledge.json").write_text(json.dumps(knowledge_records(count)), "utf-8")
    info = {"knowledge": {"file_name": "knowledge.json", "columns": COLUMNS}}
    (folder / "dataset_info.json").write_text(json.dumps(info), "utf-8")
    return folder
