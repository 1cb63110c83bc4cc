"""Files of options and the words after them: what is wrong is named, and what a word replaces is passed over."""

from __future__ import annotations

import json
import sys
from pathlib import Path
from typing import Any

import pytest
import yaml
from llamafactory.hparams import parser

from llamafactory_ext.errors import OptionError
from llamafactory_ext.options.command_file import dropped_names, file_problems, left_over, word_problems
from llamafactory_ext.options.groups import acts
from llamafactory_ext.upstream.patches import reading

pytestmark = pytest.mark.fast

CITI = {"stage": "sft", "finetuning_type": "citi", "citi_rank": 4, "cutoff_action": "drop", "lora_rank": 8, "seed": 1}


@pytest.mark.parametrize(
    ("text", "says"),
    [
        (b"a: 1\na: 2\n", "a stands there twice, in lines 1, 2"),
        (b"- a: 1\n", "holds a list"),
        (b"a b c\n", "holds one text"),
        (b"a: [1\nb: 2\n", "malformed YAML"),
        (b"a:\n\t- 1\n", "line 2"),
        ("a: caf\u00e9\n".encode("latin-1"), "line 1: not UTF-8"),
        (b"method:\n  stage: sft\n", "method is followed by options"),
        (b"a: [" * 3000, "YAML"),
    ],
)
def test_a_file_that_cannot_be_read(text: bytes, says: str, tmp_path: Path) -> None:
    path = tmp_path / "a.yaml"
    path.write_bytes(text)
    (problem,) = file_problems(path)
    assert says in problem
    assert str(path) in problem


@pytest.mark.parametrize(
    "text", [b"", b"a: 1\n", b"\xef\xbb\xbfa: 1\n", b"a: 1\r\nb: {c: 2}\r\n", b"fsdp_config: {version: 2}\n"]
)
def test_a_file_that_can(text: bytes, tmp_path: Path) -> None:
    path = tmp_path / "a.yaml"
    path.write_bytes(text)
    assert file_problems(path) == []


def test_a_name_close_by_is_suggested(tmp_path: Path) -> None:
    (tmp_path / "citi_tiny.yaml").write_text("a: 1\n")
    (problem,) = file_problems(tmp_path / "citi_tyni.yaml")
    assert f"did you mean {tmp_path / 'citi_tiny.yaml'}?" in problem


@pytest.mark.parametrize(
    ("words", "says"),
    [
        (["seed=3", "~citi_rank", "a.b=1", "lora_target=[q,k]"], []),
        (["--seed=3"], ["write seed=3"]),
        (["--seed", "3"], ["write seed=3"]),
        (["seed", "3"], ["write seed=3"]),
        (["seed"], ["write seed=VALUE"]),
        (["--do_train", "seed=3"], ["write do_train=VALUE"]),
    ],
)
def test_words_after_a_file(words: list[str], says: list[str]) -> None:
    found = word_problems(words)
    assert len(found) == len(says)
    assert all(text in problem for text, problem in zip(says, found, strict=True))
    assert dropped_names(words) == [word[1:] for word in words if word.startswith("~")]


@pytest.mark.parametrize(
    ("words", "left"),
    [
        ({}, []),
        ({"seed": 2}, []),
        ({"finetuning_type": "citi"}, []),
        ({"finetuning_type": "lora"}, ["citi_rank", "cutoff_action"]),
        ({"finetuning_type": "lora", "stage": "tl_sft"}, ["citi_rank"]),
        ({"finetuning_type": "lora", "citi_rank": 3}, ["cutoff_action"]),
    ],
)
def test_options_of_the_method_that_a_word_replaced(words: dict[str, Any], left: list[str]) -> None:
    assert left_over(CITI, words, acts)[0] == left


def read(monkeypatch: pytest.MonkeyPatch, *words: str) -> Any:
    monkeypatch.setattr(sys, "argv", ["llamafactory-cli", *words])
    return parser.read_args()


def test_a_command_reads_as_upstream_reads_it(monkeypatch: pytest.MonkeyPatch, tmp_path: Path) -> None:
    path = tmp_path / "a.yaml"
    path.write_text(yaml.safe_dump(CITI))
    assert read(monkeypatch, str(path)) == CITI
    assert read(monkeypatch, str(path), "seed=2", "~citi_rank") == {
        name: value for name, value in (CITI | {"seed": 2}).items() if name != "citi_rank"
    }
    (tmp_path / "a.json").write_text(json.dumps(CITI))
    assert read(monkeypatch, str(tmp_path / "a.json")) == CITI


@pytest.mark.parametrize("word", ["007", "1e3", "1_000", "0x10", "1.50", "1:30", "2026", "7", "None", "x"])
def test_names_and_paths_are_read_as_typed(word: str, monkeypatch: pytest.MonkeyPatch, tmp_path: Path) -> None:
    path = tmp_path / "a.yaml"
    path.write_text("finetuning_type: citi\noutput_dir: there\nseed: 3\n", encoding="utf-8")
    words = [f"output_dir={word}", f"template={word}", "seed=007", "dataset=[a,b]", "eval_dataset=null"]
    monkeypatch.setattr(sys, "argv", ["llamafactory-cli", str(path), *words])
    read = reading.wrap_read_args(lambda *_: pytest.fail("left to upstream"))()
    assert read == {
        "finetuning_type": "citi",
        "output_dir": word,
        "template": word,
        "seed": 7,
        "dataset": ["a", "b"],
        "eval_dataset": None,
    }


def test_a_path_that_names_another_option_is_filled_in(monkeypatch: pytest.MonkeyPatch, tmp_path: Path) -> None:
    path = tmp_path / "a.yaml"
    path.write_text("finetuning_type: citi\nseed: 3\n", encoding="utf-8")
    monkeypatch.setattr(sys, "argv", ["llamafactory-cli", str(path), "output_dir=runs/${seed}", "run_name=${seed}"])
    read = reading.wrap_read_args(lambda *_: pytest.fail("left to upstream"))()
    assert (read["output_dir"], str(read["run_name"])) == ("runs/3", "3")


def test_another_method_passes_over_the_files_own_and_says_so(
    monkeypatch: pytest.MonkeyPatch, tmp_path: Path, caplog: pytest.LogCaptureFixture
) -> None:
    path = tmp_path / "a.yaml"
    path.write_text(yaml.safe_dump(CITI))
    reading._told.clear()
    assert read(monkeypatch, str(path), "finetuning_type=lora") == {
        "stage": "sft",
        "finetuning_type": "lora",
        "lora_rank": 8,
        "seed": 1,
    }
    (said,) = [record.getMessage() for record in caplog.records]
    assert said.startswith("citi_rank, cutoff_action: passed over, as finetuning_type=lora takes the place")


def test_another_methods_malformed_file_is_left_to_upstream(monkeypatch: pytest.MonkeyPatch, tmp_path: Path) -> None:
    path = tmp_path / "a.yaml"
    path.write_text("finetuning_type: lora\nseed: [\n")
    with pytest.raises(yaml.YAMLError):
        read(monkeypatch, str(path))
    with pytest.raises(OptionError, match="malformed YAML"):
        read(monkeypatch, str(path), "finetuning_type=citi")
