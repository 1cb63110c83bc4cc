"""API-Bank (Li et al. 2023): the published training and test files of all three levels."""

from __future__ import annotations

import json
import re
from pathlib import Path
from typing import Any

from llamafactory_ext.errors import CallParseError
from llamafactory_ext.toolcalls import parse_calls

from ..family import ALPACA, Chosen, Example, Family, Outcome
from .texts import Field, Fields, Texts

# Training: lv3-train.json holds the records of lv3-api-train.json and lv3-response-train.json; so at levels 1 and 2.
_TRAIN = re.compile(r"lv([123])(-api|-response)?-train\.json")
_TEST = re.compile(r"level-(?:[12]-(?:api|response)|3-batch-inf(?:-response)?)\.json")
STRING_ID = "its id is a text: the official script skips a prediction with such an id"
NO_CALL = "its published call does not parse (no brackets, or quotes within quotes); it is kept"
_SUBFOLDERS = {"train": "training-data", "test": "test-data"}


def _choose(folder: Path, split: str) -> Chosen:
    if (folder / _SUBFOLDERS[split]).is_dir():
        folder = folder / _SUBFOLDERS[split]
    pattern = _TRAIN if split == "train" else _TEST
    found = sorted(path for path in folder.iterdir() if path.is_file() and pattern.fullmatch(path.name))
    others = sorted(path for path in folder.glob("l*v*.json") if path not in found)
    left_out = [(path, f"no {split} file of the published naming") for path in others if _split_of(path.name) == split]
    files = []
    for path in found:
        match = _TRAIN.fullmatch(path.name)
        whole = folder / f"lv{match[1]}-train.json" if match is not None else path
        if path != whole and whole in found:
            left_out.append((path, f"its records are part of {whole.name}"))
        else:
            files.append(path)
    return Chosen(tuple(files), tuple(left_out))


def _split_of(file_name: str) -> str | None:
    if file_name.startswith("level-"):
        return "test"
    return "train" if _TRAIN.fullmatch(file_name) else None


def _refuse(texts: Fields) -> str | None:
    if "API-Request" in texts["instruction"]:
        return None
    return 'is no API-Bank record: its "instruction" does not describe API-Request'


_TEXTS = Texts(
    fields=(
        Field("instruction", ("instruction",)),
        Field("input", ("input",), optional=True),
        Field("output", ("output", "expected_output")),
    ),
    build=lambda texts: (texts["instruction"], texts["input"], texts["output"]),
    refuse=_refuse,
)


def _read(record: Any) -> Outcome:
    """Read a record; test records keep the published types and keys, by which the evaluation finds them."""
    outcome = _TEXTS(record)
    if not isinstance(outcome, Example):
        return outcome
    findings = _findings(record, outcome.columns["output"])
    keys = {key: record[key] for key in ("file", "id", "sample_id", "api_id") if key in record}
    if not keys:
        return Example(outcome.columns, findings=findings)
    reference = {"reference": json.dumps(keys, ensure_ascii=False)}
    return Example(outcome.columns | reference, ":".join(map(str, keys.values())), findings)


def _findings(record: dict[str, Any], output: str) -> tuple[str, ...]:
    findings = []
    if any(isinstance(record.get(key), str) for key in ("id", "sample_id", "api_id")):
        findings.append(STRING_ID)
    if output.startswith("API-Request:"):
        try:
            parse_calls(output, "api_bank")
        except CallParseError:
            findings.append(NO_CALL)
    return tuple(findings)


FAMILY = Family(
    name="api_bank",
    about="API-Bank: a folder with lv1/lv2/lv3 training files or level-1/2/3 test files, or one of these files",
    mark="tool",
    task="tool",
    layout=ALPACA,
    choose=_choose,
    split_of=_split_of,
    read=_read,
)
