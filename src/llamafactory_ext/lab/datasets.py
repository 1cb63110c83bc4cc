"""The lab's training files in LLaMA-Factory's formats, with "mark" and "task" on every record."""

import hashlib
from pathlib import Path
from random import Random
from typing import Any

from ..checkpoint.own import as_json, claim, claim_plain, own_json
from . import world
from .chains import chains
from .documents import document_files
from .example import Example
from .knowledge import knowledge_file
from .trajectories import trajectories

DATA_SEED = 1
TOOL_RECORDS = 300
REPLAY_RECORDS = 225  # of each ability: three general examples to a call
TRAJECTORIES = 300
CHAINS = 300
_COLUMNS = {"prompt": "instruction", "query": "input", "response": "output", "mark": "mark", "task": "task"}
_DIALOGUES = {"messages": "conversations", "system": "system", "tools": "tools", "mark": "mark", "task": "task"}
ENTRIES: dict[str, dict[str, Any]] = {
    "lab_tool": {"file_name": "lab_tool.json", "columns": _COLUMNS},
    "lab_general": {"file_name": "lab_general.json", "columns": _COLUMNS},
    "lab_trajectories": {"file_name": "lab_trajectories.json", "formatting": "sharegpt", "columns": _DIALOGUES},
    "lab_chains": {"file_name": "lab_chains.json", "formatting": "sharegpt", "columns": _DIALOGUES},
    **{
        name: {"file_name": f"{name}.json", "formatting": "sharegpt", "columns": _DIALOGUES}
        for name in ("lab_docs", "lab_docs_seen", "lab_docs_unseen")
    },
    "lab_sums": {
        "file_name": "lab_sums.json",
        "columns": {**_COLUMNS, "knowledge": "knowledge", "rationale": "rationale"},
    },
}


def record(example: Example) -> dict[str, str]:
    """Return one alpaca record; a tool prompt is split before its dialogue, as API-Bank's files do."""
    instruction, query = example.prompt, ""
    if example.mark == "tool":
        at = example.prompt.index("\nUser: ")
        instruction, query = example.prompt[:at], example.prompt[at + 1 :]
    return {
        "instruction": instruction,
        "input": query,
        "output": example.answer,
        "mark": example.mark,
        "task": example.task,
    }


def training_files() -> dict[str, list[dict[str, Any]]]:
    """Return the content of each file by name; always the same."""
    general = [example for task in world.ABILITIES for example in world.replay(task, REPLAY_RECORDS, DATA_SEED)]
    # `max_samples` takes the first records; a mixed order keeps every ability in them.
    Random(DATA_SEED).shuffle(general)
    return {
        "lab_tool.json": [record(example) for example in world.tool_training(TOOL_RECORDS, DATA_SEED)],
        "lab_general.json": [record(example) for example in general],
        "lab_trajectories.json": trajectories(TRAJECTORIES, DATA_SEED),
        "lab_chains.json": chains(CHAINS, DATA_SEED),
        **document_files(),
        "lab_sums.json": knowledge_file(),
    }


def write_training_files(out: Path) -> list[Path]:
    """Write the files into a folder and return their paths."""
    paths: list[Path] = []
    files = training_files()
    whole = {hashlib.sha256(as_json(records).encode()).hexdigest() for records in files.values()}
    claim_plain(out)
    claim([out / name for name in files], known=whole)
    for name, records in files.items():
        own_json(out / name, records)
        paths.append(out / name)
    return paths
