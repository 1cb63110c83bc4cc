"""Converters: every record is accounted for, files appear whole or not at all, foreign data is refused."""

from __future__ import annotations

import json
import os
import threading
from collections.abc import Iterator
from pathlib import Path
from typing import Any

import pytest
from hypothesis import HealthCheck, given, settings
from hypothesis import strategies as st

from data.samples import FILE_NAMES, SAMPLES, api_answer, api_call, write_sample
from llamafactory_ext.data.checks.check import check_dataset_file
from llamafactory_ext.data.family import ALPACA
from llamafactory_ext.data.files import writing
from llamafactory_ext.data.files.draw import draw
from llamafactory_ext.data.files.ledger import Notes
from llamafactory_ext.data.public import convert as convert_module
from llamafactory_ext.data.public.convert import FAMILIES, Conversion, Request, convert
from llamafactory_ext.errors import DataError, OptionError

pytestmark = pytest.mark.fast

COLUMNS = dict(ALPACA.columns)


def run(name: str, source: Path, out: Path, **options: Any) -> tuple[Conversion, list[dict[str, str]]]:
    result = convert(Request(family=name, source=source, out=out, **options))
    return result, json.loads(result.output.read_text(encoding="utf-8"))


@pytest.fixture
def out(tmp_path: Path) -> Iterator[Path]:
    folder = tmp_path / "out"
    yield folder
    if folder.is_dir():
        assert not [path for path in folder.iterdir() if path.suffix == ".tmp"]


@pytest.mark.parametrize("name", FAMILIES)
@pytest.mark.parametrize("whole_folder", [False, True])
def test_every_family_writes_marked_records_and_its_entry(
    name: str, whole_folder: bool, tmp_path: Path, out: Path
) -> None:
    file = write_sample(name, tmp_path / "in")
    result, records = run(name, file.parent if whole_folder else file, out)
    dataset_name = name + ("_test" if FAMILIES[name].split_of("") == "test" else "")
    layout = FAMILIES[name].layout
    assert result.read == {file.name: len(SAMPLES[name])}
    assert (result.written, len(result.dropped), result.dataset_name) == (len(SAMPLES[name]), 0, dataset_name)
    assert len(result.findings) == 0
    for record in records:
        assert [key for key in record if key not in ("id", "reference")] == list(layout.columns.values())
    assert {(r["mark"], r["task"]) for r in records} == {(FAMILIES[name].mark, FAMILIES[name].task)}
    assert len({record["id"] for record in records}) == len(records)
    info = json.loads((out / "dataset_info.json").read_text(encoding="utf-8"))
    assert info == {dataset_name: layout.entry(f"{dataset_name}.json")}
    other = "general" if FAMILIES[name].mark == "tool" else "tool"
    entry = {key: value for key, value in info[dataset_name].items() if key == "formatting"}
    problems = check_dataset_file(result.output, layout.columns, **entry)
    assert len(problems) == 1
    assert f'no example is marked "{other}"' in problems[0]


def test_texts_are_kept_as_published(tmp_path: Path, out: Path) -> None:
    def first(name: str) -> tuple[str, ...]:
        record = run(name, write_sample(name, tmp_path / "in"), out)[1][0]
        return record["instruction"], record["input"], record["output"]

    assert first("api_bank") == tuple(api_call(1).values())
    assert first("gsm8k") == ("1 + 1?", "", "One and one.\n#### 2")
    assert first("metamath") == ("What is 3?", "", "Three. The answer is: 3")
    assert first("nq_open") == ("who built it", "", "Ada")
    assert first("triviaqa") == ("Where is it?", "", "Here")


def test_triviaqa_rows_and_an_own_task(tmp_path: Path, out: Path) -> None:
    rows = tmp_path / "rows.jsonl"
    rows.write_text('{"question": "Who?", "question_id": "q", "answer": {"value": "Ada", "aliases": []}}\n')
    assert run("triviaqa", rows, out)[1][0]["output"] == "Ada"
    file = write_sample("alpaca", tmp_path / "in")
    result, records = run("alpaca", file, out, task="code", dataset_name="my_code")
    assert result.output.name == "my_code.json"
    assert {record["task"] for record in records} == {"code"}


def test_an_api_bank_folder_takes_whole_files_in_place_of_their_parts(tmp_path: Path, out: Path) -> None:
    train = tmp_path / "api-bank" / "training-data"
    parts = {
        "lv1-api-train.json": [api_call(1)],
        "lv1-response-train.json": [api_answer(1)],
        "lv2-train.json": [api_call(2)],
        "lv3-api-train.json": [api_call(3)],
        "lv3-train.json": [api_call(3), api_answer(3)],
        "notes.json": [],
    }
    train.mkdir(parents=True)
    for name, records in parts.items():
        (train / name).write_text(json.dumps(records))
    result, records = run("api_bank", train.parent, out)
    assert list(result.read) == ["lv1-api-train.json", "lv1-response-train.json", "lv2-train.json", "lv3-train.json"]
    assert result.left_out == {"lv3-api-train.json": "its records are part of lv3-train.json"}
    assert [record["id"] for record in records][-2:] == ["lv3-train:0", "lv3-train:1"]


def test_api_bank_test_files_keep_their_keys_and_never_pass_for_training_data(tmp_path: Path, out: Path) -> None:
    folder = tmp_path / "test-data"
    folder.mkdir()
    first = {**api_call(1), "file": "Lamp-level-1-1.jsonl", "id": "3"}
    first["expected_output"] = first.pop("output")
    (folder / "level-1-api.json").write_text(json.dumps([first]))
    (folder / "level-3-batch-inf.json").write_text(json.dumps([api_call(2, sample_id=4, api_id=1)]))
    (folder / "level-3-batch-inf-icl.json").write_text(json.dumps([api_call(2, sample_id=4, api_id=1)]))
    result, records = run("api_bank", tmp_path, out, split="test")
    assert [record["id"] for record in records] == ["level-1-api:Lamp-level-1-1.jsonl:3", "level-3-batch-inf:4:1"]
    assert records[0]["output"] == "API-Request: [SetLamp(level='1')]"
    assert list(result.left_out) == ["level-3-batch-inf-icl.json"]
    assert result.dataset_name == "api_bank_test"
    assert run("api_bank", folder / "level-1-api.json", out)[0].split == "test"
    with pytest.raises(DataError, match=r"level-1-api.json is a test file by its name"):
        run("api_bank", folder / "level-1-api.json", out, split="train")
    with pytest.raises(DataError, match="holds no train file of api_bank"):
        run("api_bank", tmp_path, out)


def test_repeats_are_kept_and_counted_and_unusable_records_dropped_with_reason(tmp_path: Path, out: Path) -> None:
    records = [
        {"instruction": "a", "input": "", "output": "b"},
        {"instruction": "a", "input": None, "output": "b"},
        {"instruction": " ", "input": "", "output": "b"},
        {"instruction": "a", "input": "", "output": "\n"},
        {"instruction": "a", "input": "", "output": "\ud800"},
    ]
    source = tmp_path / "x.json"
    source.write_text(json.dumps(records))
    result, kept = run("alpaca", source, out)
    assert (len(kept), result.written, result.duplicates_kept, result.read) == (2, 2, 1, {"x.json": 5})
    assert result.dropped.counts.total() == 3
    assert [(drop.file, drop.place, drop.reason) for drop in result.dropped] == [
        ("x.json", "index 2", "empty prompt"),
        ("x.json", "index 3", "empty output"),
        ("x.json", "index 4", "holds half a surrogate pair, which is no Unicode text"),
    ]
    report = json.loads((out / "alpaca.report.json").read_text())
    assert report["dropped"][1] == {"file": "x.json", "place": "index 3", "reason": "empty output"}
    assert (report["written"], report["output"]) == (2, "alpaca.json")


QUICK = settings(max_examples=25, deadline=None, suppress_health_check=[HealthCheck.function_scoped_fixture])


@QUICK
@given(texts=st.lists(st.tuples(st.text(), st.text(), st.text()), min_size=1, max_size=8), lines=st.booleans())
def test_texts_survive_unchanged_and_the_counts_add_up(
    texts: list[tuple[str, str, str]], lines: bool, tmp_path: Path
) -> None:
    texts = [*texts, ("a", "b", "c")]
    records = [dict(zip(("instruction", "input", "output"), triple, strict=True)) for triple in texts]
    source = tmp_path / ("x.jsonl" if lines else "x.json")
    source.write_text("\n".join(map(json.dumps, records)) if lines else json.dumps(records))
    result, kept = run("alpaca", source, tmp_path / "out")
    expected = [triple for triple in texts if (triple[0] + triple[1]).strip() and triple[2].strip()]
    assert [(record["instruction"], record["input"], record["output"]) for record in kept] == expected
    assert result.written + len(result.dropped) == len(texts)


@QUICK
@given(total=st.integers(1, 30), limit=st.integers(1, 40), seed=st.integers(0, 5))
def test_a_draw_is_seeded_without_replacement_and_in_order(total: int, limit: int, seed: int, tmp_path: Path) -> None:
    source = tmp_path / "x.json"
    source.write_text(json.dumps([{"instruction": "i", "output": str(i)} for i in range(total)]))
    first, records = run("alpaca", source, tmp_path / "out", limit=limit, seed=seed)
    again, _ = run("alpaca", source, tmp_path / "out", limit=limit, seed=seed)
    numbers = [int(record["output"]) for record in records]
    assert numbers == sorted(set(numbers))
    assert len(numbers) == min(total, limit) == first.written
    assert first.not_drawn == total - len(numbers)
    assert first.sha256 == again.sha256


def test_a_draw_is_even() -> None:
    counts = [0] * 20
    for seed in range(150):
        for number in draw(20, 5, seed):
            counts[number] += 1
    assert sum(counts) == 750
    assert min(counts) > 15  # expected 37.5, standard deviation 5.3
    assert max(counts) < 60


def test_other_entries_and_what_the_user_added_stay(tmp_path: Path, out: Path) -> None:
    out.mkdir()
    entries = {"mine": {"hf_hub_url": "me/mine"}, "gsm8k": {"file_name": "gsm8k.json", "num_samples": 7}}
    (out / "dataset_info.json").write_text(json.dumps(entries))
    run("gsm8k", write_sample("gsm8k", tmp_path / "in"), out)
    info = json.loads((out / "dataset_info.json").read_text())
    assert info["mine"] == entries["mine"]
    assert info["gsm8k"] == {"file_name": "gsm8k.json", "num_samples": 7, "columns": COLUMNS}


def test_entries_added_at_the_same_time_all_stay(tmp_path: Path) -> None:
    def add(start: int) -> None:
        for i in range(start, start + 10):
            writing.add_entry(tmp_path, f"d{i}", {"file_name": f"d{i}.json"})

    threads = [threading.Thread(target=add, args=(start,)) for start in (0, 10, 20)]
    for thread in threads:
        thread.start()
    for thread in threads:
        thread.join()
    assert len(json.loads((tmp_path / "dataset_info.json").read_text())) == 30


@pytest.mark.parametrize(
    ("content", "message"),
    [
        ('{"a": {}', "line 1 column 9: malformed JSON"),
        ("[]", "must be an object"),
        ('{"a": 1}', "must be an object"),
        ('{"alpaca": {"hf_hub_url": "x/y"}}', 'already has an entry "alpaca" for something else'),
    ],
)
def test_an_unusable_dataset_info_stops_before_anything_is_written(
    content: str, message: str, tmp_path: Path, out: Path
) -> None:
    out.mkdir()
    (out / "dataset_info.json").write_text(content)
    with pytest.raises(DataError) as error:
        run("alpaca", write_sample("alpaca", tmp_path / "in"), out)
    assert message in error.value.message
    assert [path.name for path in out.iterdir()] == ["dataset_info.json"]


@pytest.mark.parametrize(
    ("family", "records", "message"),
    [
        ("gsm8k", SAMPLES["api_bank"], "looks like api_bank: llamafactory-ext data convert api_bank"),
        ("alpaca", SAMPLES["api_bank"], "looks like api_bank"),
        ("api_bank", SAMPLES["alpaca"], "does not describe API-Request\nThe file looks like"),
        ("metamath", SAMPLES["gsm8k"], 'index 0: the record has no "query"'),
        ("gsm8k", SAMPLES["nq_open"], 'holds a "answer" that is no text but list'),
        ("gsm8k", [{"question": "1?", "answer": "1"}], 'no "####"'),
        ("gsm8k", [{"question": "1?"}], 'has no "answer"\ngsm8k reads GSM8K: train.jsonl'),
        ("nq_open", [{"question": "1?", "answer": []}], 'has no "answer.0"'),
        ("alpaca", ["text"], "is no JSON object but str"),
        ("alpaca", [{"instruction": "a", "output": ""}], "none of 1 records is usable"),
    ],
)
def test_foreign_records_are_refused_and_nothing_is_written(
    family: str, records: list[Any], message: str, tmp_path: Path, out: Path
) -> None:
    source = tmp_path / "x.json"
    source.write_text(json.dumps(records))
    with pytest.raises(DataError) as error:
        run(family, source, out)
    assert message in error.value.message
    assert str(source) in error.value.message
    assert not list(out.iterdir())


def test_all_faults_are_shown_up_to_ten(tmp_path: Path, out: Path) -> None:
    source = tmp_path / "x.json"
    good = {"instruction": "a", "output": "b"}
    source.write_text(json.dumps([good, {"a": 1}, good, {"output": 1, "instruction": "a"}]))
    with pytest.raises(DataError) as error:
        run("alpaca", source, out)
    assert f'{source}, index 1: the record has no "instruction"' in error.value.message
    assert f'{source}, index 3: the record holds a "output" that is no text but int' in error.value.message
    source.write_text(json.dumps([{"a": 1}] * 30))
    with pytest.raises(DataError) as error:
        run("alpaca", source, out)
    assert error.value.message.count("\n  - ") == 10
    assert "the first ten are shown" in error.value.message


def test_a_failure_halfway_leaves_the_earlier_result(tmp_path: Path, out: Path) -> None:
    source = write_sample("gsm8k", tmp_path / "in")
    run("gsm8k", source, out)
    before = {path.name: path.read_bytes() for path in out.iterdir()}
    source.write_text(source.read_text() + '{"question": "half')
    with pytest.raises(DataError, match=r"line 3 column 14: malformed JSON"):
        run("gsm8k", source, out)
    assert {path.name: path.read_bytes() for path in out.iterdir()} == before


def test_folders_that_cannot_be_used_are_named(tmp_path: Path, monkeypatch: pytest.MonkeyPatch) -> None:
    source = write_sample("gsm8k", tmp_path / "in")
    with pytest.raises(DataError, match=r"--source .*gone does not exist"):
        run("gsm8k", tmp_path / "gone", tmp_path / "out")
    with pytest.raises(DataError, match="holds no test file of gsm8k"):
        run("gsm8k", source.parent, tmp_path / "out", split="test")
    with pytest.raises(DataError, match="is no folder"):
        run("gsm8k", source, source)
    with pytest.raises(DataError, match="is no folder"):
        run("gsm8k", source, source / "deeper")
    with pytest.raises(DataError, match="is the source itself"):
        run("alpaca", write_sample("alpaca", tmp_path / "in", "alpaca.json"), tmp_path / "in")
    assert not (tmp_path / "out").exists()

    def refuse(*_: Any, **__: Any) -> None:
        raise PermissionError(13, "Permission denied")

    monkeypatch.setattr(Path, "touch", refuse)  # root may write everywhere, so the refusal is staged
    with pytest.raises(DataError, match=r"--out .*out is not writable \(Permission denied\)"):
        run("gsm8k", source, tmp_path / "out")


def test_a_full_disk_is_reported_and_leaves_nothing(
    tmp_path: Path, out: Path, monkeypatch: pytest.MonkeyPatch
) -> None:
    def full(_: int) -> None:
        raise OSError(28, "No space left on device")

    monkeypatch.setattr(os, "fsync", full)
    with pytest.raises(DataError, match=r"gsm8k.json cannot be written \(No space left on device\)"):
        run("gsm8k", write_sample("gsm8k", tmp_path / "in"), out)
    assert not list(out.iterdir())


def test_wrong_options_are_listed_together(tmp_path: Path, out: Path) -> None:
    request = Request("gsm9k", tmp_path, out, dataset_name="a,b", split="dev", limit=-1, seed=1.5)  # type: ignore[arg-type]
    with pytest.raises(OptionError) as error:
        convert(request)
    for part in (
        'no converter is called "gsm9k"',
        '--dataset_name is "a,b"',
        '--split is "dev"',
        "--limit is -1",
        "--seed",
    ):
        assert part in error.value.message
    assert not out.exists()


def test_memory_does_not_grow_with_a_jsonl_file(tmp_path: Path) -> None:
    """Records are taken one at a time: the reader is never ahead of the writer."""
    source = tmp_path / "x.jsonl"
    source.write_text("\n".join(json.dumps({"instruction": "i", "output": str(i)}) for i in range(50)))
    read: dict[str, int] = {}
    next(convert_module._examples(FAMILIES["alpaca"], (source,), read, Notes()))
    assert read == {"x.jsonl": 1}


def test_file_names_of_the_samples_cover_every_family() -> None:
    assert set(FILE_NAMES) == set(SAMPLES) == set(FAMILIES)
