"""The items of the benchmarks' published files, one after the other; BFCL's are in `bfcl_items.py`."""

from __future__ import annotations

from collections.abc import Iterator, Mapping
from pathlib import Path
from typing import Any

from ...errors import DataError
from ..references import Item, Required, records


def _stem(path: Path) -> str:
    return path.name.partition(".")[0]


def numbered(path: Path, required: Required) -> Iterator[Item]:
    """Yield records under their file and place."""
    for number, (_, record) in enumerate(records(path, required)):
        yield Item(f"{_stem(path)}:{number}", _stem(path), record)


def bbh(path: Path, required: Required) -> Iterator[Item]:
    """Yield the examples of a task, which stand in an object beside BIG-bench's canary."""
    for number, (_, record) in enumerate(records(path, required, "examples")):
        yield Item(f"{_stem(path)}:{number}", _stem(path), record)


def arc(path: Path, required: Required) -> Iterator[Item]:
    """Yield ARC's questions; one without a question is damaged."""
    for number, (place, record) in enumerate(records(path, required)):
        if not isinstance(record.get("question"), str | dict):
            raise DataError(f"{path}, {place}: 'question' is missing; get the published file again.")
        yield Item(f"{_stem(path)}:{number}", _stem(path), record)


def rotbench(path: Path, required: Required) -> Iterator[Item]:
    """Yield RoTBench's records, whose id names the turn: files of both turns have the same names."""
    for number, (_, record) in enumerate(records(path, required)):
        group = rotbench_prefix(record) + _stem(path)
        yield Item(f"{group}:{number}", group, record)


def rotbench_prefix(record: Mapping[str, Any]) -> str:
    """Return what begins ids and group of a record of RoTBench: "third-" for the third turn, "" for the first."""
    turns = record["conversations"]
    said = sum(isinstance(turn, Mapping) and turn.get("from") == "assistant" for turn in turns)
    return "third-" if said > 1 else ""


def tooleyes(path: Path, required: Required) -> Iterator[Item]:
    """Yield ToolEyes' dialogues by their scenario."""
    for number, (_, record) in enumerate(records(path, required)):
        yield Item(f"tooleyes:{number}", str(record["scenario"]), record)


def humaneval(path: Path, required: Required) -> Iterator[Item]:
    """Yield HumanEval's tasks."""
    for _, record in records(path, required):
        yield Item(str(record["task_id"]), "", record)


def toolalpaca(path: Path, required: Required) -> Iterator[Item]:
    """Yield ToolAlpaca's instructions, each with its API."""
    for place, api in records(path, required):
        if len(api["Instructions"]) != len(api["Golden_Answers"]):
            raise DataError(f"{path}, {place}: Instructions and Golden_Answers differ in number; get the file again.")
        if not all(_is_gold(gold) for gold in api["Golden_Answers"]):
            raise DataError(f"{path}, {place}: a gold step lacks Action or Action_Input; get the file again.")
        for index, (text, gold) in enumerate(zip(api["Instructions"], api["Golden_Answers"], strict=True)):
            record = {"api": api, "index": index, "instruction": text, "golden_answer": gold}
            yield Item(f"{api['Name']}:{index}", str(api["Name"]), record)


def _is_gold(gold: Any) -> bool:
    return isinstance(gold, list) and all(isinstance(step, dict) and step.keys() >= _STEP_KEYS for step in gold)


_STEP_KEYS = {"Action", "Action_Input"}
