"""The check before training: every problem at once, with the next step, and nothing said about good data."""

from __future__ import annotations

import json
from pathlib import Path
from typing import Any

import pytest

from llamafactory_ext.data.checks.check import check_dataset_file, check_datasets
from llamafactory_ext.data.family import ALPACA
from llamafactory_ext.errors import DataError

pytestmark = pytest.mark.fast

COLUMNS = dict(ALPACA.columns)
TOOL = {"instruction": "a", "input": "", "output": "b", "mark": "tool", "task": "tool"}
MATH = {**TOOL, "mark": "general", "task": "math"}
DIALOGUE = [{"from": "human", "value": "a"}, {"from": "gpt", "value": "b"}]


@pytest.fixture
def folder(tmp_path: Path) -> Path:
    """A dataset_dir with one good tool and one good general data set."""
    put(tmp_path, "calls", [TOOL])
    put(tmp_path, "sums", [MATH])
    return tmp_path


def put(folder: Path, name: str, records: Any, suffix: str = ".json", **entry: Any) -> Path:
    path = folder / f"{name}{suffix}"
    text = records if isinstance(records, str) else json.dumps(records)
    if suffix == ".jsonl" and not isinstance(records, str):
        text = "\n".join(map(json.dumps, records))
    path.write_text(text)
    info_file = folder / "dataset_info.json"
    info = json.loads(info_file.read_text()) if info_file.exists() else {}
    info[name] = {"file_name": path.name, "columns": COLUMNS, **entry}
    info_file.write_text(json.dumps({key: value for key, value in info.items() if value is not None}))
    return path


def complaint(names: list[str], folder: Any) -> str:
    with pytest.raises(DataError) as error:
        check_datasets(names, folder)
    return error.value.message


def test_good_data_passes(folder: Path) -> None:
    assert check_datasets(["calls", "sums"], str(folder)) == []
    put(folder, "lines", [TOOL, MATH], ".jsonl")
    assert check_datasets(["lines"], folder) == []
    assert check_datasets(("lines",), {"lines": {"file_name": str(folder / "lines.jsonl"), "columns": COLUMNS}}) == []


def test_constants_of_the_entry_do_for_records_without_marks(folder: Path) -> None:
    plain = {"instruction": "a", "input": "", "output": "b"}
    put(folder, "plain", [plain], columns={"prompt": "instruction", "response": "output"}, mark="general", task="x")
    assert check_datasets(["calls", "plain"], folder) == []


def test_dialogues_pass_and_their_faults_are_told(folder: Path) -> None:
    talk: dict[str, Any] = {"formatting": "sharegpt", "columns": {"messages": "turns", "mark": "mark", "task": "task"}}
    put(folder, "talk", [{**MATH, "turns": DIALOGUE}], **talk)
    assert check_datasets(["calls", "talk"], folder) == []
    put(folder, "bad", [{**MATH, "turns": []}, {**MATH, "turns": [{"from": "human"}]}], **talk)
    message = complaint(["calls", "bad"], folder)
    assert 'index 0: no dialogue in "turns"' in message
    assert "index 1: a message in \"turns\" lacks 'from' or 'value'" in message
    put(folder, "unnamed", [{}], formatting="sharegpt")
    assert 'names no "messages"' in complaint(["calls", "unnamed"], folder)


def test_all_problems_come_at_once(folder: Path) -> None:
    put(folder, "broken", '[{"instruction": 1,\n}]')
    put(folder, "gsm8k", None)
    (folder / "gsm8k.json").unlink()
    put(folder, "moved", None, file_name="elsewhere.json")
    put(folder, "unmarked", [TOOL], columns={"prompt": "instruction", "response": "output"})
    put(folder, "nofile", [], file_name=None)
    put(folder, "wrong", [TOOL], mark="tools")
    put(folder, "text", "hello", ".md")
    message = complaint(["calz", "broken", "gsm8k", "moved", "unmarked", "nofile", "wrong", "text", "zzz"], folder)
    for part in (
        'data set "calz" is not in',
        "did you mean calls?",
        "broken.json, line ",  # the column differs between Python versions
        "gsm8k.json does not exist; make it with: llamafactory-ext data convert gsm8k --source",
        'elsewhere.json does not exist; check "file_name"',
        'unmarked.json: the entry states no mark; add "mark": "mark"',
        'entry "nofile": no "file_name"',
        'entry "wrong": "mark" is "tools"; write "tool" or "general"',
        "text.md: upstream reads .json, .jsonl",
        'data set "zzz" is not in',
        "it knows: broken, calls",
    ):
        assert part in message
    assert "no example is marked" not in message  # what could not be read may hold them


def test_missing_marks_are_told(folder: Path) -> None:
    assert 'no example is marked "general"; add general data' in complaint(["calls"], folder)
    assert 'no example is marked "tool"; add tool data' in complaint(["sums"], folder)
    assert "No data set is named" in complaint([], folder)


def test_faults_of_records_are_gathered_with_their_places(folder: Path) -> None:
    records = [
        *({**TOOL, "mark": None} for _ in range(5)),
        {**TOOL, "mark": "general?"},
        {**TOOL, "task": ""},
        {key: value for key, value in TOOL.items() if key != "instruction"},
        {key: value for key, value in TOOL.items() if key != "input"},
        {**TOOL, "instruction": ""},
        {**TOOL, "instruction": ["a"]},
        {**TOOL, "output": None},
        7,
        TOOL,
    ]
    path = put(folder, "faults", records)
    message = complaint(["faults", "sums"], folder)
    for part in (
        'index 0, index 1, index 2 and 2 more: no mark in column "mark"',
        "index 5: mark 'general?' in column \"mark\"",
        'index 6: no task in column "task"',
        'index 7: the record has no "instruction"',
        'index 8: the record has no "input"',
        "index 9: no prompt: 'instruction' and 'input' are empty",
        'index 10: "instruction" is no text',
        'index 11: no response: the record has no text in "output"',
        "index 12: the record is no JSON object",
    ):
        assert f"{path}, {part}" in message
    put(folder, "many", [{**TOOL, "mark": str(n)} for n in range(30)])
    assert "20 more faults of other kinds" in complaint(["many"], folder)


def test_empty_responses_are_remarks(folder: Path) -> None:
    path = put(folder, "quiet", [TOOL, {**TOOL, "output": " "}])
    assert check_datasets(["quiet", "sums"], folder) == [
        f"{path}, index 1: the response is empty: nothing but the end of the turn is learned from it"
    ]


def test_columns_without_prompt_or_response_are_told(folder: Path) -> None:
    put(folder, "bare", [TOOL], columns={"mark": "mark", "task": "task"})
    message = complaint(["bare"], folder)
    assert 'names no "prompt"' in message
    assert 'names no "response"' in message


def test_what_cannot_be_seen_is_taken_at_its_word(folder: Path) -> None:
    hub = {"hub_tool": {"hf_hub_url": "x/y", "mark": "tool"}, "hub_both": {"ms_hub_url": "x/y", "columns": COLUMNS}}
    info_file = folder / "dataset_info.json"
    info_file.write_text(json.dumps({**json.loads(info_file.read_text()), **hub, "hub": {"hf_hub_url": "x/y"}}))
    assert check_datasets(["hub_tool", "sums"], folder) == []
    assert check_datasets(["hub_both"], folder) == []
    assert 'no example is marked "general"' in complaint(["hub_tool"], folder)
    assert 'data set "hub": the entry states no mark' in complaint(["hub", "sums"], folder)
    put(folder, "table", "a,b", ".csv", mark="tool")
    assert check_datasets(["table", "sums"], folder) == []
    assert check_datasets(["x"], "REMOTE:x/y") == []
    assert "ONLINE has no dataset_info.json" in complaint(["x"], "ONLINE")


def test_a_folder_of_files_is_one_data_set(folder: Path) -> None:
    (folder / "parts").mkdir()
    (folder / "parts" / "a.json").write_text(json.dumps([TOOL]))
    (folder / "parts" / "b.json").write_text(json.dumps([MATH]))
    put(folder, "whole", [], file_name="parts")
    assert check_datasets(["whole"], folder) == []
    (folder / "parts" / "b.json").write_text("[{]")
    assert "b.json, line 1 column 3: malformed JSON" in complaint(["whole"], folder)


def test_a_missing_or_broken_dataset_info_is_told(tmp_path: Path) -> None:
    assert "dataset_info.json does not exist; point dataset_dir at" in complaint(["a"], tmp_path)
    (tmp_path / "dataset_info.json").write_text('{"a": \n')
    assert "dataset_info.json, line 2 column 1: malformed JSON" in complaint(["a"], tmp_path)


def test_one_file_by_itself(folder: Path) -> None:
    assert check_dataset_file(folder / "gone.json", COLUMNS) == [
        f"{folder / 'gone.json'} does not exist; check the path."
    ]
    both = put(folder, "both", [TOOL, MATH, {**TOOL, "output": ""}])
    assert len(check_dataset_file(both, COLUMNS)) == 1
    assert "the entry states no mark" in check_dataset_file(both, None)[0]
    assert 'no example is marked "tool"' in check_dataset_file(both, None, mark="general")[-1]
    assert '"mark" is "x"' in check_dataset_file(both, None, mark="x")[0]
