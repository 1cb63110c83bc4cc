"""Runs that are interrupted on one day and go on on another, under upstream's `llama3`, whose tools say the day."""

from __future__ import annotations

import datetime as calendar
import json
from collections.abc import Iterator
from contextlib import contextmanager
from pathlib import Path
from typing import Any

import pytest
from llamafactory.data import tool_utils
from transformers import TrainerCallback

TOOL = {
    "name": "get_weather",
    "description": "The weather.",
    "parameters": {"type": "object", "properties": {"city": {"type": "string"}}, "required": ["city"]},
}
FIRST, LATER = "2025-12-31", "2026-01-02"


@contextmanager
def day(date: str) -> Iterator[None]:
    """Have upstream's templates see this date."""

    class Clock:
        @staticmethod
        def now() -> calendar.datetime:
            return calendar.datetime.fromisoformat(date)

    with pytest.MonkeyPatch.context() as patch:
        patch.setattr(tool_utils, "datetime", Clock)
        yield


def write_dated_data(folder: Path, count: int = 8) -> Path:
    """The data sets `calls` (with tools, feedback and a mark) and `talk` (general), for every method."""
    called, talk = [], []
    for i in range(count):
        call = json.dumps({"name": "get_weather", "arguments": {"city": f"C{i}"}})
        turns = [
            {"from": "human", "value": f"Weather in C{i}?"},
            {"from": "function_call", "value": call},
            {"from": "observation", "value": '{"sun": true}'},
            {"from": "gpt", "value": "Sunny."},
        ]
        called.append({"conversations": turns, "tools": json.dumps([TOOL])})
        asked = [{"from": "human", "value": f"What is {i}+{i}?"}, {"from": "gpt", "value": str(2 * i)}]
        talk.append({"conversations": asked, "tools": ""})
    folder.mkdir(parents=True, exist_ok=True)
    columns = {"messages": "conversations", "tools": "tools"}
    info = {}
    for name, mark, records in (("calls", "tool", called), ("talk", "general", talk)):
        (folder / f"{name}.json").write_text(json.dumps(records), encoding="utf-8")
        entry = {"file_name": f"{name}.json", "formatting": "sharegpt", "columns": columns}
        info[name] = {**entry, "mark": mark, "task": name}
    (folder / "dataset_info.json").write_text(json.dumps(info), encoding="utf-8")
    return folder


class InterruptAt(TrainerCallback):
    """Ctrl+C after one step."""

    def __init__(self, step: int) -> None:
        self.step = step

    def on_step_end(self, args: Any, state: Any, control: Any, **_: Any) -> None:
        if state.global_step == self.step:
            raise KeyboardInterrupt
