"""Where the published files lie in a folder that the user names, and how their items are parted."""

from __future__ import annotations

import bz2
import hashlib
import json
from collections.abc import Iterator, Mapping, Sequence
from dataclasses import dataclass
from pathlib import Path
from typing import Any

from ...data.files.reading import iter_records
from ...errors import DataError
from .ifeval import odd_values


@dataclass(frozen=True)
class Source:
    """One published file.

    Attributes:
        patterns: of its name; the first that fits anywhere below the folder counts.
        about: what it is, for whoever lacks it.
    """

    patterns: tuple[str, ...]
    about: str


SOURCES: Mapping[str, Source] = {
    "calls": Source(("lv3-api-train.json",), "API-Bank's calls for training, level 3"),
    "level_3": Source(("level-3-batch-inf.json",), "API-Bank's test calls, level 3"),
    "level_3_replies": Source(("level-3-batch-inf-response.json",), "API-Bank's test replies, level 3"),
    "level_1": Source(("level-1-api.json",), "API-Bank's test calls, level 1"),
    "level_1_replies": Source(("level-1-response.json",), "API-Bank's test replies, level 1"),
    "gsm8k_train": Source(("gsm8k/train.jsonl", "**/gsm8k*/train.jsonl"), "GSM8K for training"),
    "gsm8k_test": Source(("gsm8k/test.jsonl", "**/gsm8k*/test.jsonl"), "GSM8K's test set"),
    "nq": Source(("NQ-open.dev.jsonl", "NQ-open*.jsonl"), "NQ-open"),
    "alpaca": Source(("alpaca_gpt4_data.json", "alpaca*.json"), "instructions in Alpaca's layout"),
    "ifeval": Source(("ifeval/input_data.jsonl", "**/*ifeval*/*input_data*.jsonl"), "IFEval's prompts"),
    "hellaswag": Source(
        ("hellaswag_val*.jsonl", "hellaswag_val*.txt", "hellaswag_val*.txt.bz2"), "HellaSwag's validation set"
    ),
}


def find(folder: Path) -> dict[str, Path]:
    """Return the published files by their names here.

    Raises:
        DataError: names every file that is missing, and the folder.
    """
    if not folder.is_dir():
        raise DataError(f"--data {folder} is no folder; name the one that holds the published files")
    found, missing = {}, []
    for name, source in SOURCES.items():
        fitting = (
            path
            for pattern in source.patterns
            for path in sorted(folder.glob(pattern if "/" in pattern else f"**/{pattern}"))
            if path.is_file()
        )
        if (path := next(fitting, None)) is None:
            missing.append(f"{source.about}: {' or '.join(source.patterns)}")
        else:
            found[name] = path
    if missing:
        raise DataError("\n".join([f"--data {folder} lacks published files:", *(f"  - {line}" for line in missing)]))
    return found


def share_of(key: str) -> float:
    """Return a number in [0, 1) that depends on the text alone, by which an item falls into its part."""
    return int.from_bytes(hashlib.sha256(key.encode("utf-8", "surrogatepass")).digest()[:6], "big") / (1 << 48)


def in_order(items: Sequence[dict[str, Any]], key: str = "id") -> list[dict[str, Any]]:
    """Return items in an order that looks random and is always the same."""
    return sorted(items, key=lambda item: (share_of(f"order {item[key]}"), str(item[key])))


def utterance(text: str) -> str:
    """Return what the user of an API-Bank call asked for: calls of one chain share it."""
    said = text.partition("User:")[2] or text
    ends = [place for mark in ("TIME:", "\n") if (place := said.find(mark)) >= 0]
    return " ".join(said[: min(ends)].split() if ends else said.split())


def hellaswag_items(path: Path) -> list[dict[str, Any]]:
    """Return HellaSwag's items: as published (JSON lines), or six lines of text each.

    Raises:
        DataError: something else.
    """
    if path.suffix == ".jsonl":
        return [_ending(path, place, record) for place, record in iter_records(path)]
    try:
        text = bz2.decompress(path.read_bytes()).decode() if path.suffix == ".bz2" else path.read_text("utf-8")
    except (OSError, EOFError, ValueError) as error:
        raise DataError(f"{path} cannot be read ({error}); get the published file again") from None
    lines = text.rstrip("\n").split("\n")
    if len(lines) % 6:
        raise DataError(f"{path}: {len(lines)} lines, not six an item; get the published file again")
    return [
        _ending(
            path,
            f"line {start + 1}",
            {"ctx": lines[start], "label": lines[start + 1], "endings": lines[start + 2 : start + 6]},
        )
        for start in range(0, len(lines), 6)
    ]


def _ending(path: Path, place: str, record: Any) -> dict[str, Any]:
    try:
        context, endings, label = str(record["ctx"]), [str(one) for one in record["endings"]], int(record["label"])
        if not 0 <= label < len(endings):
            raise ValueError("no such ending")
    except (KeyError, TypeError, ValueError) as error:
        raise DataError(f"{path}, {place}: no item of HellaSwag ({error}); get the published file again") from None
    return {"id": f"hellaswag:{place}", "context": context, "endings": endings, "label": label}


def ifeval_items(path: Path) -> Iterator[dict[str, Any]]:
    """Yield IFEval's prompts with their rules; a prefix "en:" before a rule's name is dropped.

    Raises:
        DataError: something else.
    """
    for place, record in iter_records(path):
        try:
            names = [str(name).removeprefix("en:") for name in record["instruction_id_list"]]
            given = [dict(one) for one in record["kwargs"]]
            item = {"id": f"ifeval:{record['key']}", "prompt": str(record["prompt"])}
            rules = list(zip(names, given, strict=True))
            if odd := [f"{name}: {value}" for name, one in rules for value in odd_values(name, one)]:
                raise ValueError(f"missing, or of another kind: {', '.join(odd)}")
        except (KeyError, TypeError, ValueError) as error:
            raise DataError(f"{path}, {place}: no item of IFEval ({error}); get the published file again") from None
        yield item | {"rules": [list(rule) for rule in rules]}


def records_of(path: Path) -> list[dict[str, Any]]:
    """Return the records of a file that a converter wrote."""
    found: list[dict[str, Any]] = json.loads(path.read_text("utf-8"))
    return found
