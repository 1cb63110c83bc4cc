"""Published layouts become records; unanswerable items are counted, leaks refused, somebody's files left alone."""

from __future__ import annotations

import json
from pathlib import Path
from typing import Any

import pytest

from llamafactory_ext.cl.sources import ORDERS, convert, read_cl_benchmark, read_trace
from llamafactory_ext.errors import DataError, OptionError

pytestmark = pytest.mark.fast


def write(path: Path, content: Any) -> None:
    path.parent.mkdir(parents=True, exist_ok=True)
    path.write_text(json.dumps(content), encoding="utf-8")


@pytest.fixture
def mnli(tmp_path: Path) -> Path:
    """O-LoRA's layout, small: 5 training items, 4 test items of which one has no answer."""
    folder = tmp_path / "CL_Benchmark" / "NLI" / "MNLI"
    write(folder / "labels.json", ["neutral", "entailment"])
    write(folder / "train.json", [{"sentence": f"train {i}", "label": "neutral"} for i in range(5)])
    items = [{"sentence": f"test {i}", "label": "entailment"} for i in range(3)]
    write(folder / "test.json", [*items, {"sentence": "test 3", "label": "-"}])
    config = {"NLI": [{"instruction_type": "zero-shot", "instruction": "Which relation?\n"}]}
    write(tmp_path / "CL_Benchmark" / "instruction_config.json", config)
    return folder


@pytest.mark.parametrize(
    ("prefix", "prompt"),
    [
        (True, "Task:NLI\nDataset:MNLI\nWhich relation?\nOption: neutral, entailment \ntest 0\nAnswer:"),
        (False, "Which relation?\nOption: neutral, entailment \ntest 0\nAnswer:"),
    ],
)
def test_prompts_are_olora_s(prefix: bool, prompt: str, mnli: Path) -> None:
    found = read_cl_benchmark(mnli, prefix=prefix)
    assert found.test[0] == {"instruction": prompt, "input": "", "output": "entailment"}
    assert (len(found.train), len(found.test), found.unanswerable, found.leaked) == (5, 3, 1, 0)


def test_a_task_without_an_instruction_has_none(mnli: Path) -> None:
    write(mnli.parents[1] / "instruction_config.json", {})
    assert read_cl_benchmark(mnli, prefix=False).test[0]["instruction"].startswith("Option: ")


@pytest.mark.parametrize(
    "content", [[], None, 3, "x", {"NLI": ["x"]}, {"NLI": {}}, {"NLI": 1}, {"NLI": [{"instruction": ["x"]}]}]
)
def test_a_damaged_instruction_file_is_named(content: Any, mnli: Path) -> None:
    write(mnli.parents[1] / "instruction_config.json", content)
    with pytest.raises(DataError, match=r"instruction_config.json: NLI is no list of"):
        read_cl_benchmark(mnli)


def test_half_characters_are_named(mnli: Path) -> None:
    write(mnli / "labels.json", ["a\ud800"])
    with pytest.raises(DataError, match="holds half a character"):
        read_cl_benchmark(mnli)


@pytest.mark.parametrize("kind", [["trace"], {"a": 1}, 3, "other"])
def test_an_unknown_reader_is_named(kind: Any, tmp_path: Path) -> None:
    with pytest.raises(OptionError, match="There is no reader of"):
        convert(kind, tmp_path, tmp_path / "out")


@pytest.fixture
def numglue(tmp_path: Path) -> Path:
    folder = tmp_path / "NumGLUE-cm"
    write(folder / "train.json", [{"prompt": f"train {i}", "answer": str(i)} for i in range(40)])
    write(folder / "test.json", [{"prompt": f"test {i}", "answer": str(i)} for i in range(10)])
    return folder


def leak(folder: Path) -> None:
    """As the converted files do: the test file begins with the training items."""
    train, test = (json.loads((folder / f"{name}.json").read_text("utf-8")) for name in ("train", "test"))
    write(folder / "test.json", train + test)


def test_trace(numglue: Path, tmp_path: Path) -> None:
    found = convert("trace", numglue, tmp_path / "out")
    assert found == read_trace(numglue)
    assert json.loads((tmp_path / "out" / "test.json").read_text("utf-8"))[1]["output"] == "1"


def test_a_leak_is_refused_unless_allowed(numglue: Path, tmp_path: Path) -> None:
    leak(numglue)
    with pytest.raises(DataError, match="40 of its 50 items stand in"):
        convert("trace", numglue, tmp_path / "out")
    assert not (tmp_path / "out").exists()
    assert convert("trace", numglue, tmp_path / "out", allow_leak=True).leaked == 40


@pytest.mark.parametrize(
    ("name", "content", "message"),
    [
        ("test.json", None, "test.json is missing"),
        ("test.json", {}, "is no list of items"),
        ("test.json", [{"prompt": "p"}], "has no text 'answer'"),
        ("test.json", [{"prompt": "p", "answer": " "}], "has no item with an answer"),
        ("train.json", [1], "has no text 'prompt'"),
    ],
)
def test_malformed_files_are_named(name: str, content: Any, message: str, numglue: Path, tmp_path: Path) -> None:
    if content is None:
        (numglue / name).unlink()
    else:
        write(numglue / name, content)
    with pytest.raises(DataError, match=message):
        convert("trace", numglue, tmp_path / "out")
    assert not (tmp_path / "out").exists()


def test_somebodys_file_stays(numglue: Path, tmp_path: Path) -> None:
    write(tmp_path / "out" / "train.json", ["mine"])
    with pytest.raises(OptionError, match="did not write it"):
        convert("trace", numglue, tmp_path / "out")
    assert json.loads((tmp_path / "out" / "train.json").read_text("utf-8")) == ["mine"]
    with pytest.raises(OptionError, match="no reader of 'glue'"):
        convert("glue", numglue, tmp_path / "other")


def test_orders_are_the_papers() -> None:
    assert {name: len(tasks) for name, tasks in ORDERS.items()} == {
        **dict.fromkeys(("standard_1", "standard_2", "standard_3"), 4),
        **dict.fromkeys(("long_4", "long_5", "long_6"), 15),
        "trace_7": 8,
    }
    assert len({frozenset(ORDERS[name]) for name in ("long_4", "long_5", "long_6")}) == 1
    assert all(len(set(tasks)) == len(tasks) for tasks in ORDERS.values())
