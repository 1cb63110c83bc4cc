"""Values of an entry of dataset_info.json: what upstream's loader takes stays, anything else is named."""

from __future__ import annotations

from pathlib import Path
from typing import Any

import pytest

from llamafactory_ext.data.entry_types import entry_faults

pytestmark = pytest.mark.fast
TAKEN: dict[str, tuple[Any, ...]] = {
    "num_samples": (1, 10**9, None),
    "ranking": (True, False, 0, None),
    "split": ("train", "train[:10%]"),
    "subset": ("a", None),
    "folder": ("a", None),
    "columns": ({}, {"prompt": "a", "query": None}),
    "tags": ({}, {"role_tag": "a"}),
    "hf_hub_url": ("a/b",),
    "script_url": (".",),
    "cloud_file_name": ("s3://a/b.json", "gs://a/b.json"),
    "file_name": ("a.json", "missing/a.json"),
}
ODD: tuple[Any, ...] = ("", 7, 2.5, [], ["a"], {"a": 7}, "x" * 400)


@pytest.mark.parametrize("name", TAKEN)
def test_what_is_taken(name: str, tmp_path: Path) -> None:
    assert [fault for value in TAKEN[name] for fault in entry_faults({name: value}, tmp_path)] == []


@pytest.mark.parametrize("name", [name for name in TAKEN if name != "file_name"])  # whose kind is said elsewhere
def test_what_is_odd_is_named_with_the_next_step(name: str, tmp_path: Path) -> None:
    texts = name in ("split", "subset", "folder", "hf_hub_url")
    for value in ODD:
        if (texts and isinstance(value, str) and value) or (name in ("columns", "tags") and value == {}):
            continue
        if name == "num_samples" and value == 7:
            continue
        faults = entry_faults({name: value}, tmp_path)
        assert faults, value
        assert all(fault.startswith(name) and "; " in fault and len(fault) < 600 for fault in faults)


def test_all_at_once(tmp_path: Path) -> None:
    assert len(entry_faults({"num_samples": "x", "split": 3, "file_name": "x" * 400}, tmp_path)) == 3
