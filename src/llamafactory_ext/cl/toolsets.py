"""API-Bank's level-1 calls as toolsets that arrive one after the other: one task per domain of all_apis.csv.

Level 1 has test files alone, so its dialogues are split in halves by a seed: one to train on, one to test. No
published table has such a split; scores compare with nothing but one another.
"""

from __future__ import annotations

import csv
import io
import json
import random
import re
from collections import Counter
from collections.abc import Mapping, Sequence
from dataclasses import dataclass, field
from pathlib import Path
from typing import Any, Final

from ..checkpoint.own import claim, claim_plain, own_json
from ..errors import DataError
from .sources import Converted, Record, leaked_items

# Columns of all_apis.csv: the domain (application scenario) and the API's name (class name).
_DOMAIN, _NAME = "应用场景", "类名"
DOMAINS: Final[Mapping[str, str]] = {
    "账户管理": "accounts",
    "健康管理": "health",
    "日程安排和管理": "schedule",
    "财务管理": "finance",
}
_APIS, _CALLS = Path("meta") / "all_apis.csv", Path("test-data") / "level-1-api.json"
_CALL = re.compile(r"\[\s*(\w+)\s*\(")


@dataclass(frozen=True)
class Toolsets:
    """What became of the calls.

    Attributes:
        tasks: by domain.
        others: calls of APIs whose domain is none of these, by its name in the file.
    """

    tasks: Mapping[str, Converted]
    others: Mapping[str, int] = field(default_factory=dict)


def read_api_bank(folder: Path, *, seed: int = 1) -> Toolsets:
    """Read API-Bank's level-1 calls as a task for each domain.

    A dialogue's calls are all in the same half, as later calls repeat the earlier turns.

    Args:
        folder: holds meta/all_apis.csv and test-data/level-1-api.json.
        seed: of the halves.

    Raises:
        DataError: a file is missing or is none of these.
    """
    domains = _domains(folder / _APIS)
    path = folder / _CALLS
    dialogues: dict[str, list[tuple[str, Record]]] = {}
    others: Counter[str] = Counter()
    for call in _calls(path):
        found = _CALL.search(call["expected_output"])
        domain = domains.get(found[1] if found else "", "unknown")
        if domain in DOMAINS:
            record = {name: call[name] for name in ("instruction", "input")} | {"output": call["expected_output"]}
            dialogues.setdefault(call["file"], []).append((DOMAINS[domain], record))
        else:
            others[domain] += 1
    halves = _halves(dialogues, seed)
    tasks = {name: Converted(train, test, leaked=leaked_items(train, test)) for name, (train, test) in halves.items()}
    if empty := [name for name, task in tasks.items() if not task.train or not task.test]:
        raise DataError(f"{path} leaves {', '.join(empty)} without items in one half; give another --seed.")
    return Toolsets(tasks, dict(others))


def convert_api_bank(folder: Path, out: Path, *, seed: int = 1) -> Toolsets:
    """Write train.json and test.json of each domain to a folder of its name.

    Args:
        folder: of API-Bank.
        out: the folder to write to.
        seed: of the halves.

    Raises:
        OptionError: the target is somebody's.
        DataError: files are missing or malformed.
    """
    found = read_api_bank(folder, seed=seed)
    files = {
        out / name / f"{half}.json": records
        for name, task in found.tasks.items()
        for half, records in (("train", task.train), ("test", task.test))
    }
    claim_plain(out)
    claim(files, inputs=[folder / _APIS, folder / _CALLS])
    for path, records in files.items():
        path.parent.mkdir(parents=True, exist_ok=True)
        own_json(path, records)
    return found


def _halves(
    dialogues: Mapping[str, Sequence[tuple[str, Record]]], seed: int
) -> dict[str, tuple[list[Record], list[Record]]]:
    """Return the records of both halves by domain; each dialogue goes where its domains have fewer."""
    halves: dict[str, tuple[list[Record], list[Record]]] = {name: ([], []) for name in DOMAINS.values()}
    order = sorted(dialogues)
    random.Random(f"api_bank {seed}").shuffle(order)
    for name in order:
        lead = sum(len(halves[domain][0]) - len(halves[domain][1]) for domain, _ in dialogues[name])
        for domain, record in dialogues[name]:
            halves[domain][lead > 0].append(record)
    return halves


def _domains(path: Path) -> dict[str, str]:
    """Return the domain of each API."""
    rows = list(csv.DictReader(io.StringIO(_text(path))))
    if not rows or not all(isinstance(row.get(name), str) for row in rows for name in (_DOMAIN, _NAME)):
        raise DataError(f"{path} has no columns {_DOMAIN} and {_NAME}; take API-Bank's file.")
    return {row[_NAME].strip(): row[_DOMAIN].strip() for row in rows}


def _calls(path: Path) -> list[dict[str, Any]]:
    try:
        found = json.loads(_text(path))
    except (ValueError, RecursionError) as error:
        raise DataError(f"{path} cannot be read ({error}); download it again.") from None
    needed = ("file", "instruction", "input", "expected_output")
    if not isinstance(found, list) or not found:
        raise DataError(f"{path} is no list of calls; take API-Bank's file.")
    for number, call in enumerate(found, 1):
        if not isinstance(call, dict) or not all(isinstance(call.get(name), str) for name in needed):
            raise DataError(f"{path}: call {number} lacks a text of {', '.join(needed)}; take API-Bank's file.")
    return found


def _text(path: Path) -> str:
    try:
        return path.read_text("utf-8-sig")
    except FileNotFoundError:
        raise DataError(f"{path} is missing; name API-Bank's folder, with meta/ and test-data/.") from None
    except (OSError, ValueError) as error:
        raise DataError(f"{path} cannot be read ({error}); download it again.") from None
