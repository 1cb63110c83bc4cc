"""Training mixtures and held-out items of the real table, made of published files by our converters and `data mix`.

Nothing is in two parts. Calls of one chain, which share the user's words, stay together. Test calls are API-Bank's
own; validation calls are training calls that no run is trained on.
"""

from __future__ import annotations

import json
from collections.abc import Iterable, Mapping, Sequence
from dataclasses import dataclass
from pathlib import Path
from typing import Any

from ...checkpoint.own import own_json, sha256
from ...data.family import ALPACA
from ...data.files.writing import RecordFile, add_entry, own_data
from ...data.mix import Recipe, mix
from ...data.public.convert import Request, convert
from ...errors import DataError
from ...metrics.benchmarks.items import numbered
from .ifeval import can_be_judged
from .sources import find, hellaswag_items, ifeval_items, in_order, records_of, share_of, utterance

CALLS, PER_GENERAL = 200, 133  # 399 general examples of three kinds
QUARTER = 4
CALL_LETTERS, GENERAL_LETTERS = 1500, 1000
TRAIN, VALIDATION = 0.6, 0.8  # the parts of a file that was published for one purpose
SEED = 42
MOST_HELD = 400  # items of a set that are kept for measuring
GENERAL = ("gsm8k", "alpaca", "nq")
_API = ("level_3", "level_1", "level_3_replies", "level_1_replies")
# Mixtures by name: calls, examples of each general set, and whether calls stand alone.
MIXTURES: Mapping[str, tuple[int, int]] = {
    "calls": (CALLS, 0),
    "mix": (CALLS, PER_GENERAL),
    "mix_less": (CALLS, PER_GENERAL // 2),
}


@dataclass(frozen=True)
class Prepared:
    """What training and measuring read.

    Attributes:
        folder: LLaMA-Factory's dataset_dir.
        held: the file of held-out items.
        api_bank: folder of API-Bank's test files, by which `official` finds the gold.
        hashes: of the mixtures and of the held-out items.
        counts: what was used and what was left out, in numbers.
    """

    folder: Path
    held: Path
    api_bank: Path
    hashes: Mapping[str, str]
    counts: Mapping[str, int]


def dataset_name(mixture: str, *, quarter: bool) -> str:
    """Return the entry of a mixture in dataset_info.json."""
    return f"real_{mixture}_quarter" if quarter else f"real_{mixture}"


def prepare(data: Path, out: Path) -> Prepared:
    """Write mixtures and held-out items into a folder; always the same content from the same files.

    Raises:
        DataError: published files are missing or damaged, or too few.
    """
    found = find(data)
    whole = out / "whole"
    calls = _calls(_converted("api_bank", found["calls"], whole))
    general = {name: _general(name, found, whole) for name in GENERAL}
    hashes = {}
    for quarter in (False, True):
        part = QUARTER if quarter else 1
        for mixture, (many, each) in MIXTURES.items():
            name = dataset_name(mixture, quarter=quarter)
            hashes[name] = _mixture(out, name, calls["train"][: many // part], each // part, general)
    held, left_out = _held(found, calls, general)
    own_json(out / "held.json", held)
    hashes["held"] = sha256(out / "held.json")
    used = [one["mark"] for one in records_of(out / f"{dataset_name('mix', quarter=False)}.json")]
    counts = {"calls": used.count("tool"), "general": used.count("general"), **left_out}
    return Prepared(out, out / "held.json", found["level_3"].parent, hashes, counts)


def _converted(family: str, source: Path, whole: Path, name: str = "") -> list[dict[str, Any]]:
    convert(Request(family, source, whole, dataset_name=name or f"whole_{family}"))
    return records_of(whole / f"{name or f'whole_{family}'}.json")


def _once(records: Iterable[dict[str, Any]]) -> list[dict[str, Any]]:
    """Return records without those that say the same as an earlier one."""
    return list({(one["instruction"], one.get("input", "")): one for one in records}.values())


def _calls(records: Sequence[dict[str, Any]]) -> dict[str, list[dict[str, Any]]]:
    """Part API-Bank's training calls by what the user asked for; long ones are left out."""
    short = [one for one in _once(records) if len(one["instruction"]) + len(one.get("input", "")) <= CALL_LETTERS]
    parts: dict[str, list[dict[str, Any]]] = {"train": [], "validation": []}
    for one in short:
        place = share_of(utterance(one.get("input", "")))
        parts["train" if place < TRAIN else "validation"].append(one)
    return {name: in_order(part) for name, part in parts.items()}


def _general(name: str, found: Mapping[str, Path], whole: Path) -> dict[str, list[dict[str, Any]]]:
    """Part a general set: GSM8K keeps its training file, the others are one file each."""
    if name == "gsm8k":
        train = _once(_converted("gsm8k", found["gsm8k_train"], whole))
        tests = _once(_converted("gsm8k", found["gsm8k_test"], whole, "whole_gsm8k_test"))
        asked = {one["instruction"] for one in train}
        placed = [(0.0, one) for one in train]
        placed += [
            (TRAIN + 0.4 * share_of(one["instruction"]), one) for one in tests if one["instruction"] not in asked
        ]
    else:
        family = {"alpaca": "alpaca", "nq": "nq_open"}[name]
        records = _once(_converted(family, found[name], whole))
        placed = [(share_of(f"{one['instruction']}\n{one.get('input', '')}"), one) for one in records]
    parts: dict[str, list[dict[str, Any]]] = {"train": [], "validation": [], "test": []}
    for place, one in placed:
        if sum(len(one.get(key) or "") for key in ("instruction", "input", "output")) <= GENERAL_LETTERS:
            parts["train" if place < TRAIN else "validation" if place < VALIDATION else "test"].append(one)
    return {part: in_order(records) for part, records in parts.items()}


def _mixture(
    out: Path,
    name: str,
    calls: Sequence[dict[str, Any]],
    each: int,
    general: Mapping[str, Mapping[str, Sequence[dict[str, Any]]]],
) -> str:
    """Write one mixture by `data mix`, or the calls alone, and return the hash of its file."""
    if not calls:
        raise DataError("too few calls for training; get API-Bank's lv3-api-train.json again")
    own = name if not each else f"{name}_calls"
    digest = _write(out, own, calls)
    if not each:
        return digest
    for kind in GENERAL:
        _write(out, f"real_{kind}", general[kind]["train"])
    recipe = Recipe((own,), tuple(f"real_{kind}" for kind in GENERAL), each, name, out, SEED)
    return mix(recipe).sha256


def _write(folder: Path, name: str, records: Sequence[dict[str, Any]]) -> str:
    with own_data(folder / f"{name}.json") as handle:
        file = RecordFile(handle)
        for record in records:
            file.add({key: value for key, value in record.items() if key != "reference"})
        file.end()
    add_entry(folder, name, ALPACA.entry(f"{name}.json"))
    return file.sha256


def _held(
    found: Mapping[str, Path],
    calls: Mapping[str, Sequence[dict[str, Any]]],
    general: Mapping[str, Mapping[str, Sequence[dict[str, Any]]]],
) -> tuple[dict[str, Any], dict[str, int]]:
    """Return the held-out items by half and set, and the numbers of those left out."""
    halves: dict[str, dict[str, list[dict[str, Any]]]] = {"validation": {}, "test": {}}
    halves["validation"]["calls"] = [
        {
            "id": one["id"],
            "group": "validation",
            "prompt": prompt_of(one),
            "record": {"expected_output": one["output"]},
        }
        for one in calls["validation"]
    ]
    for name in _API:
        items = [
            {"id": item.id, "group": item.group, "prompt": prompt_of(item.record), "record": dict(item.record)}
            for item in numbered(found[name], {"instruction": str, "input": str})
        ]
        if name == "level_3":
            sought = [item for item in items if "[ToolSearcher(" in _gold(item)]
            halves["test"]["level_3_search"] = in_order(sought)
            items = [item for item in items if item not in sought]
        halves["test"][name] = in_order(items)
    for name in GENERAL:
        for half, sets in halves.items():
            sets[name] = [
                {"id": one["id"], "prompt": prompt_of(one), "answer": one["output"]} for one in general[name][half]
            ]
    for item in in_order(hellaswag_items(found["hellaswag"])):
        halves["validation" if share_of(item["id"]) < 0.5 else "test"].setdefault("hellaswag", []).append(item)
    prompts = list(ifeval_items(found["ifeval"]))
    halves["test"]["ifeval"] = in_order([one for one in prompts if can_be_judged(one["rules"])])
    left_out = {"ifeval_left_out": len(prompts) - len(halves["test"]["ifeval"])}
    return {half: {name: items[:MOST_HELD] for name, items in sets.items()} for half, sets in halves.items()}, left_out


def _gold(item: Mapping[str, Any]) -> str:
    record = item["record"]
    return str(record.get("expected_output", record.get("output", "")))


def prompt_of(record: Mapping[str, Any]) -> str:
    """Return the user's turn as LLaMA-Factory makes it of a record."""
    return "\n".join(str(record[key]) for key in ("instruction", "input") if record.get(key))


def read_held(path: Path) -> dict[str, dict[str, list[dict[str, Any]]]]:
    """Return the held-out items by half and set."""
    held: dict[str, dict[str, list[dict[str, Any]]]] = json.loads(path.read_text("utf-8"))
    return held
