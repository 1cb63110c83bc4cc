"""A small data file, the options of a run over it, and what a run wrote."""

from __future__ import annotations

import json
from pathlib import Path
from typing import Any

from llamafactory_ext.serving.infer.options import InferOptions
from llamafactory_ext.serving.infer.run import run

TOOLS = [
    {
        "name": name,
        "description": f"Tells the {name}.",
        "parameters": {"type": "object", "properties": {"city": {"type": "string"}}, "required": ["city"]},
    }
    for name in ("weather", "time")
]


def records(count: int, tools: bool = True) -> list[dict[str, Any]]:
    """Questions of growing length, each with an id of its own."""
    return [
        {
            "conversations": [
                {"from": "human", "value": f"How is city {i}? " + "Say more. " * (i % 5)},
                {"from": "gpt", "value": "fine"},
            ],
            "system": "",
            "tools": json.dumps(TOOLS if tools else []),
            "id": f"item:{i}",
        }
        for i in range(count)
    ]


def data_file(folder: Path, count: int = 6, tools: bool = True) -> Path:
    path = folder / "questions.json"
    path.write_text(json.dumps(records(count, tools)), encoding="utf-8")
    return path


def ask(folder: Path, count: int = 6, **changes: Any) -> list[dict[str, Any]]:
    """Run over `count` questions and return the records of the file."""
    tools = changes.pop("tools", True)
    options = {"dataset": str(data_file(folder, count, tools)), "out": str(folder / "out.jsonl"), "benchmark": "mine"}
    return lines(run(InferOptions.of(options | changes)))


def lines(path: Path) -> list[dict[str, Any]]:
    return [json.loads(line) for line in path.read_text("utf-8").splitlines()]
