"""The published files themselves: counts, marks, and texts that equal the source. Skipped where they are absent."""

from __future__ import annotations

import json
import os
from collections import Counter
from pathlib import Path

import pytest

from llamafactory_ext.data.checks.audit import BAD_TEXT_CALL, NOT_DESCRIBED, audit
from llamafactory_ext.data.checks.check import check_datasets
from llamafactory_ext.data.dialogues import NOT_DECLARED, NOT_JSON
from llamafactory_ext.data.entries import DataEntry
from llamafactory_ext.data.public.api_bank import NO_CALL
from llamafactory_ext.data.public.bfcl import NOT_LITERAL
from llamafactory_ext.data.public.convert import Request, convert
from llamafactory_ext.errors import DataError

_ROOT = Path(__file__).resolve().parents[3]
SHARED = Path(os.environ.get("LLAMAFACTORY_EXT_SHARED", _ROOT.parent / "shared")) / "data"

pytestmark = [
    pytest.mark.fast,
    pytest.mark.skipif(
        not (SHARED / "api_bank").is_dir(),
        reason="the published data is absent: set LLAMAFACTORY_EXT_SHARED to the folder that holds data/api_bank",
    ),
]


def test_api_bank_training_data_is_converted_whole(tmp_path: Path) -> None:
    result = convert(Request("api_bank", SHARED / "api_bank", tmp_path))
    assert result.read == {"lv3-train.json": 1245}
    assert (result.written, len(result.dropped), result.duplicates_kept) == (1245, 0, 8)
    source = json.loads((SHARED / "api_bank/training-data/lv3-train.json").read_text(encoding="utf-8"))
    records = json.loads(result.output.read_text(encoding="utf-8"))
    assert [{key: record[key] for key in ("instruction", "input", "output")} for record in records] == source
    assert {(record["mark"], record["task"]) for record in records} == {("tool", "tool")}
    assert len({record["id"] for record in records}) == 1245
    assert result.findings.counts == {NO_CALL: 2}
    found = audit(DataEntry.of_file(result.output))
    # 904 answers with one call, one with three, one whose call lacks its brackets.
    assert (found.records, found.calls) == (1245, 908)
    assert [line.partition(": ")[2] for line in found.lines()] == [NOT_DESCRIBED, BAD_TEXT_CALL]


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
    assert result.findings.counts == {NO_CALL: 31 + 10}  # quotes within quotes: health_data='[{'name': ...}]'


def test_the_mixture_of_the_main_job_passes_the_check(tmp_path: Path) -> None:
    convert(Request("api_bank", SHARED / "api_bank/training-data", tmp_path))
    maths = convert(Request("gsm8k", SHARED / "gsm8k", tmp_path, limit=500))
    demo = convert(Request("alpaca", SHARED / "llamafactory_demo/alpaca_en_demo.json", tmp_path))
    assert (maths.read, maths.written, maths.not_drawn) == ({"train.jsonl": 7473}, 500, 6973)
    assert (demo.written, demo.duplicates_kept) == (999, 14)
    assert check_datasets(["api_bank", "gsm8k", "alpaca"], tmp_path) == []
    with pytest.raises(DataError, match='no example is marked "general"'):
        check_datasets(["api_bank"], tmp_path)


def test_toolalpaca_has_114_instructions_and_its_published_defects(tmp_path: Path) -> None:
    result = convert(Request("toolalpaca", SHARED / "toolalpaca", tmp_path, split="test"))
    assert (result.read, result.written) == ({"eval_real.json": 114}, 114)
    assert result.findings.counts == {NOT_DECLARED: 6, NOT_JSON: 4}
    records = json.loads(result.output.read_text(encoding="utf-8"))
    golds = [json.loads(record["reference"])["golden_answer"] for record in records]
    assert Counter(map(len, golds)) == {1: 94, 2: 13, 3: 6, 5: 1}
    source = json.loads((SHARED / "toolalpaca/eval_real.json").read_text(encoding="utf-8"))
    assert golds == [gold for api in source for gold in api["Golden_Answers"]]
    assert len({json.loads(record["reference"])["api"] for record in records}) == 11
    kept_as_text = [
        call["arguments"]
        for record in records
        for made in [json.loads(record["conversations"][1]["value"])]
        for call in (made if isinstance(made, list) else [made])
        if isinstance(call["arguments"], str)
    ]
    assert len(kept_as_text) == 4
    assert all('"symbols": "symbols": ' in text for text in kept_as_text)


def test_rotbench_and_tooleyes_are_whole(tmp_path: Path) -> None:
    clean = convert(Request("rotbench", SHARED / "rotbench", tmp_path))
    slight = convert(Request("rotbench", SHARED / "rotbench/First_Turn/slight.json", tmp_path, dataset_name="slight"))
    eyes = convert(Request("tooleyes", SHARED / "tooleyes", tmp_path))
    assert (clean.written, slight.written, eyes.written) == (105, 210, 382)
    assert len(clean.dropped) == len(clean.findings) == len(slight.findings) == len(eyes.findings) == 0
    for result, source in (
        (clean, SHARED / "rotbench/First_Turn/clean.json"),
        (eyes, SHARED / "tooleyes/scenario_data_zero_processed.json"),
    ):
        records = json.loads(result.output.read_text(encoding="utf-8"))
        assert [json.loads(r["reference"]) for r in records] == json.loads(source.read_text(encoding="utf-8"))
    configurations = {
        json.dumps(json.loads(path.read_text(encoding="utf-8")))
        for path in (SHARED / "tooleyes/Tool_Library").rglob("config_gpt4.json")
    }
    assert {record["tools"] for record in json.loads(eyes.output.read_text(encoding="utf-8"))} == {
        json.dumps(json.loads(tools), ensure_ascii=False) for tools in configurations
    }


def test_bfcl_counts_and_defects(tmp_path: Path) -> None:
    folder = SHARED / "bfcl_v3"
    executable = convert(Request("bfcl", folder, tmp_path))
    assert sorted(executable.read.values()) == [50, 50, 100]  # parallel_multiple is not in the folder
    assert executable.findings.counts == {NOT_LITERAL: 1}  # p=1/6
    simple = convert(Request("bfcl", folder / "BFCL_v3_simple.json", tmp_path, dataset_name="simple"))
    assert (simple.written, simple.findings.counts) == (400, {NOT_DECLARED: 1})
    assert [note.place for note in simple.findings] == ["line 364"]
    multiple = convert(Request("bfcl", folder / "BFCL_v3_multiple.json", tmp_path, dataset_name="multiple"))
    assert (multiple.written, len(multiple.findings)) == (200, 0)


def test_humaneval_and_glaive(tmp_path: Path) -> None:
    humaneval = convert(Request("humaneval", SHARED / "humaneval", tmp_path))
    assert (humaneval.written, humaneval.output.name) == (164, "humaneval_test.json")
    records = json.loads(humaneval.output.read_text(encoding="utf-8"))
    assert all("def check(" in json.loads(record["reference"])["test"] for record in records)
    glaive = convert(Request("glaive", SHARED / "llamafactory_demo", tmp_path))
    assert (glaive.written, len(glaive.findings), len(glaive.dropped)) == (300, 109, 0)
    source = json.loads((SHARED / "llamafactory_demo/glaive_toolcall_en_demo.json").read_text(encoding="utf-8"))
    records = json.loads(glaive.output.read_text(encoding="utf-8"))
    assert [record["conversations"] for record in records] == [record["conversations"] for record in source]


def test_other_published_files(tmp_path: Path) -> None:
    assert convert(Request("gsm8k", SHARED / "gsm8k", tmp_path, split="test")).written == 1319
    assert convert(Request("nq_open", SHARED / "nq_open", tmp_path, split="test")).written == 3610
    with pytest.raises(DataError, match="These are not records of alpaca"):
        convert(Request("alpaca", SHARED / "llamafactory_demo/glaive_toolcall_en_demo.json", tmp_path))
