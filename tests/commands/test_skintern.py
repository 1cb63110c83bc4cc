"""`llamafactory-ext skintern`: what it writes, shows and refuses."""

from __future__ import annotations

import json
from pathlib import Path

import pytest

import tiny
from llamafactory_ext.commands.skintern import Skintern
from llamafactory_ext.errors import DataError, ExtError, OptionError

pytestmark = pytest.mark.fast

RECORD = {
    "instruction": "What is 3 + 4?",
    "input": "",
    "output": "7",
    "knowledge": "1. Add both.\n2. Say the sum of both.",
}


@pytest.fixture
def data(tmp_path: Path) -> Path:
    path = tmp_path / "sums.json"
    others = [{**RECORD, "instruction": f"What is {n} + {n + 1}?", "output": str(2 * n + 1)} for n in range(8)]
    path.write_text(json.dumps([RECORD, *others]), "utf-8")
    return path


def test_every_step_is_a_data_set(data: Path, tmp_path: Path, capsys: pytest.CaptureFixture[str]) -> None:
    Skintern().build(str(data), str(tmp_path / "out"), steps=3, shots=2)
    assert [path.name for path in sorted((tmp_path / "out").iterdir())] == ["step-1", "step-2", "step-3"]
    lines = (tmp_path / "out" / "step-3" / "records.jsonl").read_text("utf-8").splitlines()
    assert [json.loads(line)["instruction"] for line in lines] == [
        record["instruction"] for record in json.loads(data.read_text("utf-8"))
    ]
    assert "9 records at 50% of the knowledge" in capsys.readouterr().out
    Skintern().build(str(data), str(tmp_path / "out"), steps=3, shots=2)


def test_a_folder_of_more_steps_is_not_mixed_with(data: Path, tmp_path: Path) -> None:
    Skintern().build(str(data), str(tmp_path / "out"), steps=3)
    with pytest.raises(OptionError, match=r"step-3 is of a build with more than 2 steps"):
        Skintern().build(str(data), str(tmp_path / "out"), steps=2)


def test_records_without_knowledge_are_counted(data: Path, tmp_path: Path, capsys: pytest.CaptureFixture[str]) -> None:
    records = json.loads(data.read_text("utf-8"))
    del records[2]["knowledge"]
    data.write_text(json.dumps(records), "utf-8")
    Skintern().build(str(data), str(tmp_path / "out"))
    assert "1 of 9 records have no knowledge, such as index 2." in capsys.readouterr().out


@pytest.mark.parametrize("columns", ["60", "200"])
def test_a_preview_shows_all_steps(
    data: Path, capsys: pytest.CaptureFixture[str], monkeypatch: pytest.MonkeyPatch, columns: str
) -> None:
    monkeypatch.setenv("COLUMNS", columns)
    Skintern().preview(str(data), shots=1)
    shown = " ".join(capsys.readouterr().out.split())
    for step, share in enumerate((100, 67, 33, 0), 1):
        assert f"step {step}: {share}%" in shown
    assert "learned at every step: 7" in shown


def test_flops_need_a_config_alone(tmp_path: Path, capsys: pytest.CaptureFixture[str]) -> None:
    tiny.tiny_config("llama").save_pretrained(tmp_path)
    Skintern().flops(str(tmp_path), (1000, 150))
    lines = capsys.readouterr().out.splitlines()
    assert len(lines) == 3
    assert "100.0%" in lines[1]


@pytest.mark.parametrize(
    ("changes", "named"),
    [
        ({"pattern": "cubic"}, "skintern_pattern"),
        ({"pattern": "1,0.5"}, "skintern_pattern"),
        ({"pattern": (1, 2)}, "outside of 0 to 1"),
        ({"steps": 1}, "skintern_steps"),
        ({"decay": -1}, "skintern_decay"),
        ({"shots": -1}, "skintern_shots"),
        ({"shots": "x"}, "skintern_shots"),
        ({"seed": "x"}, "seed"),
        ({"examples": "near"}, "skintern_examples"),
        ({"parts": "summary,other"}, "skintern_parts"),
        ({"compressor": "zip"}, "skintern_compressor"),
        ({"final": "x"}, "skintern_final"),
        ({"keep_share": 1.5}, "skintern_keep_share"),
        ({"keep_share": "x"}, "skintern_keep_share"),
        ({"compressor": "tools"}, "no record has tools"),
        ({"data": "nothing"}, "nothing"),
    ],
)
def test_what_cannot_be_built_is_named_and_nothing_written(
    data: Path, tmp_path: Path, changes: dict[str, object], named: str
) -> None:
    with pytest.raises(ExtError, match=named):
        Skintern().build(**{"data": str(data), "out": str(tmp_path / "out"), **changes})  # type: ignore[arg-type]
    assert not (tmp_path / "out").exists()


@pytest.mark.parametrize("prompt", ["x", (1000, "x"), 0, -3, 2.5, True])
def test_lengths_are_whole_numbers(tmp_path: Path, prompt: object) -> None:
    tiny.tiny_config("llama").save_pretrained(tmp_path)
    with pytest.raises(OptionError):
        Skintern().flops(str(tmp_path), prompt)  # type: ignore[arg-type]


def test_a_damaged_file_is_named(tmp_path: Path) -> None:
    (tmp_path / "config.json").write_text("{", "utf-8")
    with pytest.raises(OptionError, match=r"config.json is no JSON"):
        Skintern().flops(str(tmp_path), 3)
    (tmp_path / "d.json").write_text("[{", "utf-8")
    with pytest.raises(DataError, match=r"d.json"):
        Skintern().preview(str(tmp_path / "d.json"))
