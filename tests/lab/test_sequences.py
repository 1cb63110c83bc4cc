"""Sets of tools for continual learning: disjoint, always the same, without documentation."""

from __future__ import annotations

from pathlib import Path

import pytest

from llamafactory_ext.lab.scoring import parse_call
from llamafactory_ext.lab.sequences import SETS, sequence_files, toolsets, write_sequence

pytestmark = pytest.mark.fast


def test_sets_share_no_tool_and_splits_no_item() -> None:
    names = {name: {tool.name for tool in tools} for name, tools in toolsets().items()}
    assert [len(found) for found in names.values()] == [8, 8, 8]
    assert len(set.union(*names.values())) == 24
    files = sequence_files()
    for name in SETS:
        splits = [files[f"{name}/{split}.json"] for split in ("train", "test")]
        assert [len(records) for records in splits] == [160, 60]
        prompts = [{record["instruction"] for record in records} for records in splits]
        assert not prompts[0] & prompts[1]
        for record in splits[0]:
            call = parse_call(record["output"])
            assert call is not None
            assert call.name in names[name]
            assert "apiCode" not in record["instruction"]
            assert call.name not in record["instruction"]  # else a set could be answered before it is learnt
    assert len(files["general.json"]) == 100
    assert sequence_files() == files


def test_writing_again_changes_nothing(tmp_path: Path) -> None:
    paths = write_sequence(tmp_path)
    before = [path.read_bytes() for path in paths]
    assert [path.read_bytes() for path in write_sequence(tmp_path)] == before
