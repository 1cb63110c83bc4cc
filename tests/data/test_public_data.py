"""The published files themselves: counts, marks, and texts that equal the source. Skipped where they are absent."""

from __future__ import annotations

import json
import os
from pathlib import Path

import pytest

from llamafactory_ext.data.check import check_datasets
from llamafactory_ext.data.convert import Request, convert
from llamafactory_ext.errors import DataError

_ROOT = Path(__file__).resolve().parents[2]
SHARED = Path(os.environ.get("LLAMAFACTORY_EXT_SHARED", _ROOT.parent / "shared")) / "data"

pytestmark = pytest.mark.skipif(
    not (SHARED / "api_bank").is_dir(),
    reason="the published data is absent: set LLAMAFACTORY_EXT_SHARED to the folder that holds data/api_bank",
)


def test_api_bank_training_data_is_converted_whole(tmp_path: Path) -> None:
    result = convert(Request("api_bank", SHARED / "api_bank", tmp_path))
    assert result.read == {"lv3-train.json": 1245}
    assert (result.written, result.dropped, result.duplicates_kept) == (1245, [], 8)
    source = json.loads((SHARED / "api_bank/training-data/lv3-train.json").read_text(encoding="utf-8"))
    records = json.loads(result.output.read_text(encoding="utf-8"))
    assert [{key: record[key] for key in ("instruction", "input", "output")} for record in records] == source
    assert {(record["mark"], record["task"]) for record in records} == {("tool", "tool")}
    assert len({record["id"] for record in records}) == 1245


def test_the_whole_file_is_the_union_of_its_parts(tmp_path: Path) -> None:
    """The converter leaves the parts out because of this."""
    folder = SHARED / "api_bank/training-data"
    parts = [
        convert(Request("api_bank", folder / f"lv3-{part}-train.json", tmp_path, dataset_name=part)).output
        for part in ("api", "response")
    ]
    whole = json.loads((folder / "lv3-train.json").read_text(encoding="utf-8"))
    texts = [json.loads(path.read_text(encoding="utf-8")) for path in parts]
    assert [len(part) for part in texts] == [907, 338]
    assert sorted((r["input"], r["output"]) for part in texts for r in part) == sorted(
        (r["input"], r["output"]) for r in whole
    )


def test_api_bank_test_data_has_the_published_counts(tmp_path: Path) -> None:
    result = convert(Request("api_bank", SHARED / "api_bank", tmp_path, split="test"))
    assert result.read == {
        "level-1-api.json": 399,
        "level-1-response.json": 375,
        "level-3-batch-inf-response.json": 50,
        "level-3-batch-inf.json": 245,
    }
    records = json.loads(result.output.read_text(encoding="utf-8"))
    assert len({record["id"] for record in records}) == len(records) == 1069
    assert result.output.name == "api_bank_test.json"


def test_the_mixture_of_the_main_job_passes_the_check(tmp_path: Path) -> None:
    convert(Request("api_bank", SHARED / "api_bank/training-data", tmp_path))
    maths = convert(Request("gsm8k", SHARED / "gsm8k", tmp_path, limit=500))
    demo = convert(Request("alpaca", SHARED / "llamafactory_demo/alpaca_en_demo.json", tmp_path))
    assert (maths.read, maths.written, maths.not_drawn) == ({"train.jsonl": 7473}, 500, 6973)
    assert (demo.written, demo.duplicates_kept) == (999, 14)
    assert check_datasets(["api_bank", "gsm8k", "alpaca"], tmp_path) == []
    with pytest.raises(DataError, match='no example is marked "general"'):
        check_datasets(["api_bank"], tmp_path)


def test_other_published_files(tmp_path: Path) -> None:
    assert convert(Request("gsm8k", SHARED / "gsm8k", tmp_path, split="test")).written == 1319
    assert convert(Request("nq_open", SHARED / "nq_open", tmp_path, split="test")).written == 3610
    with pytest.raises(DataError, match="These are not records of alpaca"):
        convert(Request("alpaca", SHARED / "llamafactory_demo/glaive_toolcall_en_demo.json", tmp_path))
