"""The mixture of CITI: tool data whole, a seeded draw of the rest, the same hash from the same recipe."""

from __future__ import annotations

import hashlib
import json
from collections import Counter
from pathlib import Path
from typing import Any

import pytest

from commands.test_data import run as run_command
from llamafactory_ext.data.checks.check import check_datasets
from llamafactory_ext.data.family import ALPACA, SHAREGPT
from llamafactory_ext.data.mix import Mixture, Recipe, mix
from llamafactory_ext.errors import DataError, OptionError

pytestmark = pytest.mark.fast

CALL = '{"name": "set_lamp", "arguments": {"level": 3}}'


def alpaca(mark: str, task: str, number: int) -> list[dict[str, Any]]:
    return [
        {"instruction": f"{task} {n}", "input": "more", "output": str(n), "mark": mark, "task": task, "id": f"x:{n}"}
        for n in range(number)
    ]


@pytest.fixture
def folder(tmp_path: Path) -> Path:
    put(tmp_path, "calls", alpaca("tool", "tool", 7))
    put(tmp_path, "sums", alpaca("general", "math", 50))
    put(tmp_path, "facts", alpaca("general", "facts", 40))
    return tmp_path


def put(folder: Path, name: str, records: list[Any], **entry: Any) -> None:
    (folder / f"{name}.json").write_text(json.dumps(records))
    info_file = folder / "dataset_info.json"
    info = json.loads(info_file.read_text()) if info_file.exists() else {}
    info[name] = {**ALPACA.entry(f"{name}.json"), **entry}
    info_file.write_text(json.dumps(info))


def run(folder: Path, **changes: Any) -> tuple[Mixture, list[Any]]:
    recipe: dict[str, Any] = {"tool": ("calls",), "general": ("sums", "facts"), "per_general": 10}
    result = mix(Recipe(**{**recipe, "dataset_name": "mixed", "folder": folder, **changes}))
    return result, json.loads(result.output.read_text(encoding="utf-8"))


def test_tool_data_is_whole_and_general_data_drawn_without_replacement(folder: Path) -> None:
    result, records = run(folder)
    assert Counter((record["mark"], record["task"]) for record in records) == {
        ("tool", "tool"): 7,
        ("general", "math"): 10,
        ("general", "facts"): 10,
    }
    assert len({record["id"] for record in records}) == 27 == result.written
    assert records[0] == {
        "instruction": "tool 0",
        "input": "more",
        "output": "0",
        "mark": "tool",
        "task": "tool",
        "id": "calls:x:0",
    }
    assert [(part.name, part.records, part.taken) for part in result.parts] == [
        ("calls", 7, 7),
        ("sums", 50, 10),
        ("facts", 40, 10),
    ]
    assert check_datasets(["mixed"], folder) == []


def test_the_hash_tells_whether_it_is_the_same_mixture(folder: Path) -> None:
    result, _ = run(folder)
    assert result.sha256 == hashlib.sha256(result.output.read_bytes()).hexdigest()
    report = json.loads((folder / "mixed.report.json").read_text())
    assert report["sha256"] == result.sha256
    for part in report["parts"]:
        assert part["sha256"] == hashlib.sha256((folder / part["file"]).read_bytes()).hexdigest()
    assert (report["seed"], report["per_general"], report["output"]) == (42, 10, "mixed.json")
    assert run(folder, expect=result.sha256)[0].sha256 == result.sha256
    before = result.output.read_bytes()
    with pytest.raises(DataError, match="Compare the hashes of the parts"):
        run(folder, expect=result.sha256, seed=43)
    assert result.output.read_bytes() == before
    assert run(folder, seed=43)[0].sha256 != result.sha256


def test_a_draw_does_not_depend_on_the_other_data_sets(folder: Path) -> None:
    def drawn(**changes: Any) -> list[str]:
        return [record["id"] for record in run(folder, **changes)[1] if record["task"] == "math"]

    assert drawn() == drawn(general=("facts", "sums")) == drawn(general=("sums",))
    _, few = run(folder, per_general=45)
    assert Counter(record["task"] for record in few) == {"tool": 7, "math": 45, "facts": 40}


def test_dialogues_and_plain_records_mix_into_dialogues(folder: Path) -> None:
    tools = '[{"name": "set_lamp", "parameters": {}}]'
    turns = [{"role": "system", "text": "Be kind."}, {"role": "user", "text": "Dim."}, {"role": "call", "text": CALL}]
    tags = {"role_tag": "role", "content_tag": "text", "user_tag": "user", "function_tag": "call"}
    put(
        folder,
        "lamps",
        [{"turns": turns, "functions": tools}],
        formatting="sharegpt",
        columns={"messages": "turns", "tools": "functions"},
        tags={**tags, "system_tag": "system", "assistant_tag": "bot", "observation_tag": "result"},
        mark="tool",
        task="lamps",
    )
    result, records = run(folder, tool=("lamps", "calls"), per_general=1)
    assert records[0] == {
        "conversations": [{"from": "human", "value": "Dim."}, {"from": "function_call", "value": CALL}],
        "system": "Be kind.",
        "tools": tools,
        "mark": "tool",
        "task": "lamps",
        "id": "lamps:0",
    }
    assert records[1]["conversations"] == [{"from": "human", "value": "tool 0\nmore"}, {"from": "gpt", "value": "0"}]
    assert result.layout == "sharegpt"
    info = json.loads((folder / "dataset_info.json").read_text())
    assert info["mixed"] == SHAREGPT.entry("mixed.json")


def test_all_wrong_options_are_told_at_once(folder: Path) -> None:
    put(folder, "gone", [])
    (folder / "gone.json").unlink()
    put(folder, "talk", [], formatting="chatml")
    put(folder, "bare", [], columns={"mark": "mark"})
    put(folder, "hub", [], hf_hub_url="x/y")
    with pytest.raises(OptionError) as error:
        run(
            folder,
            tool=(),
            general=("summs", "sums", "sums", "gone", "talk", "bare", "hub", "mixed"),
            per_general=0,
            seed=1.5,
        )
    for part in (
        "--tool names no data set",
        'no data set "summs" is in',
        "did you mean sums?",
        '"sums" is named twice',
        "gone.json does not exist; make it with",
        "only alpaca, sharegpt and openai are read here",
        'names no "prompt"',
        'entry "hub": it names no local file',
        "--per_general is 0",
        "--seed is 1.5",
        '--dataset_name "mixed" is one of the parts',
    ):
        assert part in error.value.message
    assert not (folder / "mixed.json").exists()


def test_records_that_cannot_be_mixed_are_told_and_nothing_is_written(folder: Path) -> None:
    put(folder, "odd", [*alpaca("general", "x", 1), *alpaca("tool", "x", 1), {"instruction": "a"}, 7])
    with pytest.raises(DataError) as error:
        run(folder, general=("odd",))
    for part in (
        'index 1: it is not marked "general"; name the data set under the other option',
        'index 2: the record has no "input"',
        "index 3: the record is no JSON object",
    ):
        assert f"odd.json, {part}" in error.value.message
    put(folder, "odd", alpaca("tool", "x", 30))
    with pytest.raises(DataError, match="The first records that cannot be mixed"):
        run(folder, general=("odd",), per_general=30)
    turns = [{"from": "gpt", "value": "a"}]
    put(folder, "odd", [{"t": turns}], formatting="sharegpt", columns={"messages": "t"}, mark="general")
    with pytest.raises(DataError, match='turn 1 is of "gpt" where human or observation is due; upstream would leave'):
        run(folder, general=("odd",))
    assert sorted(path.name for path in folder.iterdir()) == [
        *("calls.json", "dataset_info.json", "facts.json", "odd.json", "sums.json")
    ]


def test_the_command_prints_shares_and_hash(
    folder: Path, monkeypatch: pytest.MonkeyPatch, capsys: pytest.CaptureFixture[str]
) -> None:
    words = ("data", "mix", "--tool", "calls", "--general", "sums,facts", "--per_general", 45)
    run_command(monkeypatch, *words, "--dataset_name", "mixed", "--dataset_dir", folder)
    out = capsys.readouterr().out
    assert "facts holds fewer than --per_general 45: all were taken." in out
    assert f"SHA-256: {hashlib.sha256((folder / 'mixed.json').read_bytes()).hexdigest()}" in out
    assert f'Next: name "mixed" under "dataset:" of a YAML with "dataset_dir: {folder}".' in out
    with pytest.raises(SystemExit):
        run_command(monkeypatch, *words, "--dataset_nam", "mixed")
    assert "--dataset_nam is unknown; did you mean --dataset_name?" in capsys.readouterr().err
