"""Small trajectories for the tests of tl_sft: erroneous calls, corrections, several calls in a turn, plain answers."""

from __future__ import annotations

import json
from pathlib import Path
from typing import Any

TOOLS = json.dumps(
    [
        {
            "name": name,
            "description": f"Does {name}.",
            "parameters": {"type": "object", "properties": {"city": {"type": "string", "description": "The city."}}},
        }
        for name in ("get_weather", "get_weather_today", "find_city")
    ]
)
COLUMNS = {
    "messages": "conversations",
    "system": "system",
    "tools": "tools",
    "mark": "mark",
    "task": "task",
}


def call(*names: str, city: str = "Paris") -> dict[str, str]:
    """A turn that calls tools."""
    made = [{"name": name, "arguments": {"city": city}} for name in names]
    return {"from": "function_call", "value": json.dumps(made if len(made) > 1 else made[0])}


def turn(role: str, text: str) -> dict[str, str]:
    return {"from": role, "value": text}


def record(*turns: dict[str, str], tools: str = TOOLS, mark: str = "tool") -> dict[str, Any]:
    task = "tool" if mark == "tool" else "talk"
    return {"conversations": list(turns), "system": "", "tools": tools, "mark": mark, "task": task}


def corrected(number: int) -> dict[str, Any]:
    """A wrong call, the corrected one, an answer."""
    return record(
        turn("human", f"Weather of town {number}?"),
        call("get_weather_today", city=f"Town{number}"),
        turn("observation", "get_weather_today() got an unexpected keyword argument 'city'"),
        call("get_weather", city=f"Town{number}"),
        turn("observation", '{"degrees": 21}'),
        turn("gpt", f"It is {number} degrees."),
    )


def parallel(number: int) -> dict[str, Any]:
    """Two calls in one turn."""
    return record(
        turn("human", f"Find and tell {number}."),
        call("find_city", "get_weather", city=f"City{number}"),
        turn("observation", "[{}, {}]"),
        turn("gpt", f"Both done, {number}."),
    )


def talk(number: int) -> dict[str, Any]:
    """No tools at all."""
    return record(turn("human", f"Say {number}."), turn("gpt", f"Number {number}."), tools="", mark="general")


def records(count: int) -> list[dict[str, Any]]:
    """The three kinds in turn."""
    return [(corrected, parallel, talk)[i % 3](i) for i in range(count)]


def write_data(folder: Path, rows: list[dict[str, Any]], name: str = "trajectories") -> Path:
    """A `dataset_dir` with one data set."""
    folder.mkdir(parents=True, exist_ok=True)
    (folder / f"{name}.json").write_text(json.dumps(rows), encoding="utf-8")
    entry = {name: {"file_name": f"{name}.json", "formatting": "sharegpt", "columns": COLUMNS}}
    (folder / "dataset_info.json").write_text(json.dumps(entry), encoding="utf-8")
    return folder
