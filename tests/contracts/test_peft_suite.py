"""The judge of PEFT's own tests lets nothing through that the table of refusals does not name."""

from __future__ import annotations

import importlib.util
import json
import re
from pathlib import Path
from types import ModuleType

import pytest

MERGED = "CheckpointError: A MOLoRA adapter cannot be merged into the base weights: its gate depends on the input."


@pytest.fixture(scope="module")
def suite() -> ModuleType:
    spec = importlib.util.spec_from_file_location("peft_suite", Path(__file__).with_name("peft_suite.py"))
    assert spec is not None
    assert spec.loader is not None
    module = importlib.util.module_from_spec(spec)
    spec.loader.exec_module(module)
    return module


@pytest.mark.parametrize(
    ("test", "outcome", "text", "right"),
    [
        ("test_forward", "passed", "", True),
        ("test_forward", "skipped", "needs a GPU", True),
        ("test_merge_layers", "refused", MERGED, True),
        ("test_forward", "refused", MERGED, False),
        ("test_merge_layers", "failed", "AssertionError: assert False", False),
        ("test_merge_layers", "failed", f"AssertionError: {MERGED}", False),
        ("test_merge_layers", "error", "OSError: no model", False),
    ],
)
def test_only_what_the_table_names_is_refused_well(
    suite: ModuleType, test: str, outcome: str, text: str, right: bool, capsys: pytest.CaptureFixture[str]
) -> None:
    wrong = suite.judge({f"tests/test_x.py::TestX::{test}[MoLoraConfig]": {"outcome": outcome, "text": text}})
    assert bool(wrong) == (not right)
    assert "refused well" in capsys.readouterr().out


def test_without_an_index_it_says_so_and_runs_nothing(
    suite: ModuleType, tmp_path: Path, monkeypatch: pytest.MonkeyPatch, capsys: pytest.CaptureFixture[str]
) -> None:
    monkeypatch.setenv("PIP_NO_INDEX", "1")
    monkeypatch.delenv("PIP_FIND_LINKS", raising=False)
    assert suite.unpack(tmp_path, "0.18.1", None) is None
    assert capsys.readouterr().out.startswith("SKIPPED: PEFT's tests are not to be had: ERROR: ")


def test_each_row_of_the_table_says_what_it_expects(suite: ModuleType) -> None:
    rows = json.loads(suite.REFUSALS.read_text("utf-8"))
    assert len(rows) >= 4
    for row in rows:
        assert row.keys() <= {"test", "message", "reason", "ours"}
        assert re.compile(row["test"]).pattern
        assert re.compile(row["message"]).pattern
        assert len(row["reason"]) > 10
