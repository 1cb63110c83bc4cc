"""`llamafactory-ext data convert`: what the terminal shows, and that a wrong word stops it before any work."""

from __future__ import annotations

import inspect
import json
import re
import sys
from collections import Counter
from pathlib import Path

import pytest

from data.samples import SAMPLES, json_mode, lamp_api, write_sample
from llamafactory_ext.cli import main
from llamafactory_ext.commands.data import Data
from llamafactory_ext.data.public.convert import FAMILIES
from tiny import tiny_tokenizer

pytestmark = pytest.mark.fast

README = Path(__file__).resolve().parents[2] / "examples" / "README.md"
COMMANDS = re.findall(r"^llamafactory-ext (data .*)$", README.read_text(encoding="utf-8"), flags=re.MULTILINE)


def run(monkeypatch: pytest.MonkeyPatch, *words: object) -> None:
    monkeypatch.setattr(sys, "argv", ["llamafactory-ext", *map(str, words)])
    monkeypatch.setenv("COLUMNS", "200")
    main()


def test_the_table_tells_every_count(
    tmp_path: Path, monkeypatch: pytest.MonkeyPatch, capsys: pytest.CaptureFixture[str]
) -> None:
    source = tmp_path / "x.json"
    good = {"instruction": "a [b]", "output": "c"}
    source.write_text(json.dumps([good, good, *[{"instruction": "a", "output": ""}] * 6]))
    words = ("data", "convert", "alpaca", "--source", source, "--out", tmp_path / "out", "--limit=5", "--task", "code")
    run(monkeypatch, *words)
    lines = [re.sub(r"[│\s]+", " ", line).strip() for line in capsys.readouterr().out.splitlines()]
    for line in (
        "read from x.json 8",
        "dropped: empty output 6",
        "not drawn (--limit 5, --seed 42) 0",
        'written, marked "general", task "code" 2',
        "of these, repeats of an earlier record (kept) 1",
        "Dropped: x.json, index 2: empty output",
        "Fewer than --limit 5 are usable: all were taken.",
        f"All 6 dropped records and all 0 findings: {tmp_path / 'out' / 'alpaca.report.json'}",
    ):
        assert line in lines
    assert 'Next: name "alpaca" under "dataset:"' in " ".join(lines)


@pytest.mark.parametrize(
    ("words", "message"),
    [
        (["--limt", "3"], "--limt is unknown; did you mean --limit?"),
        (["more"], '"more" is one word too many'),
        (["--limit", "many"], "--limit is 'many'; give a whole number"),
    ],
)
def test_wrong_words_stop_it_before_any_work(
    words: list[str],
    message: str,
    tmp_path: Path,
    monkeypatch: pytest.MonkeyPatch,
    capsys: pytest.CaptureFixture[str],
) -> None:
    source = write_sample("gsm8k", tmp_path / "in")
    with pytest.raises(SystemExit) as end:
        run(monkeypatch, "data", "convert", "gsm8k", *words, "--source", source, "--out", tmp_path / "out")
    assert end.value.code == 2
    assert message in capsys.readouterr().err
    assert not (tmp_path / "out").exists()


@pytest.mark.parametrize(
    ("verb", "option"),
    [("convert", "out"), ("mix", "tool"), ("check", "model"), ("preview", "html"), ("stats", "out")],
)
def test_an_option_without_its_value_is_told(
    verb: str, option: str, tmp_path: Path, monkeypatch: pytest.MonkeyPatch, capsys: pytest.CaptureFixture[str]
) -> None:
    monkeypatch.chdir(tmp_path)
    with pytest.raises(SystemExit):
        run(monkeypatch, "data", verb, "gsm8k", f"--{option}")
    assert f"--{option} needs a value after it" in capsys.readouterr().err
    assert list(tmp_path.iterdir()) == []


def test_the_other_split_is_pointed_out(
    tmp_path: Path, monkeypatch: pytest.MonkeyPatch, capsys: pytest.CaptureFixture[str]
) -> None:
    write_sample("gsm8k", tmp_path / "sums", "test.jsonl")
    write_sample("humaneval", tmp_path / "code")
    for words, message in (
        (["gsm8k", "--source", tmp_path / "sums"], "it holds test.jsonl: add --split test"),
        (["humaneval", "--source", tmp_path / "code", "--split", "train"], "for test only: drop --split train"),
        (["metamath", "--source", tmp_path / "sums"], "name the file itself"),
    ):
        with pytest.raises(SystemExit):
            run(monkeypatch, "data", "convert", *words, "--out", tmp_path / "out")
        assert message in capsys.readouterr().err


def test_an_entry_without_its_file_says_how_to_get_it(
    tmp_path: Path, monkeypatch: pytest.MonkeyPatch, capsys: pytest.CaptureFixture[str]
) -> None:
    (tmp_path / "dataset_info.json").write_text('{"gsm8k": {"file_name": "gsm8k.json"}}')
    for verb in ("check", "stats", "preview"):
        with pytest.raises(SystemExit):
            run(
                monkeypatch,
                "data",
                verb,
                "gsm8k",
                "--dataset_dir",
                tmp_path,
                *["--model=x", "--template=y"] * (verb == "preview"),
            )
        assert "gsm8k.json does not exist; make it with: llamafactory-ext data convert" in capsys.readouterr().err


def test_without_name_or_source_it_says_what_to_type(
    monkeypatch: pytest.MonkeyPatch, capsys: pytest.CaptureFixture[str]
) -> None:
    with pytest.raises(SystemExit):
        run(monkeypatch, "data", "convert")
    assert "llamafactory-ext data convert api_bank --source DIR --out data" in capsys.readouterr().err


@pytest.mark.parametrize("flag", ["--help", "-h"])
@pytest.mark.parametrize("verb", ["convert", "mix", "check", "preview", "stats"])
def test_help_lists_every_option_and_converter(
    verb: str, flag: str, monkeypatch: pytest.MonkeyPatch, capsys: pytest.CaptureFixture[str]
) -> None:
    run(monkeypatch, "data", verb, flag)
    text = capsys.readouterr().out
    assert f"Usage: llamafactory-ext data {verb} " in text
    for option in inspect.signature(getattr(Data, verb)).parameters.values():
        if option.kind is option.KEYWORD_ONLY:
            assert f"--{option.name} " in text
    for family in FAMILIES.values():
        assert (f"  {family.name} " in text and family.about in text) == (verb == "convert")


def test_every_command_of_the_examples_readme_runs(tmp_path: Path, monkeypatch: pytest.MonkeyPatch) -> None:
    pytest.importorskip("llamafactory", reason="LLaMA-Factory is not installed: data check counts tokens with it")
    downloads = tmp_path / "downloads"
    for name, folder in (
        ("api_bank", "api-bank/training-data"),
        ("triviaqa", "triviaqa-unfiltered"),
        ("gsm8k", "gsm8k"),
    ):
        write_sample(name, downloads / folder)
    write_sample("api_bank", downloads / "api-bank" / "test-data", "level-1-api.json")
    for name in ("toolalpaca", "rotbench", "tooleyes", "bfcl", "humaneval"):
        write_sample(name, downloads / name)
    gold = [lamp_api(Instructions=["List them."], Golden_Answers=[[{"Action": "listLamps", "Action_Input": "{}"}]])]
    (downloads / "toolalpaca" / "eval_real.json").write_text(json.dumps(gold))
    for name in ("code_alpaca", "metamath", "alpaca_gpt4", "tl_training", "glaive"):
        write_sample(name, downloads)
    for name, folder in (("xlam", ""), ("toolace", "ToolACE"), ("hermes", "hermes"), ("apigen_mt", "")):
        write_sample(name, downloads / folder)
    (downloads / "hermes" / "json-mode-singleturn.json").write_text(json.dumps([json_mode()]))
    write_sample("alpaca", downloads, "my_code.json")
    tiny_tokenizer().save_pretrained(tmp_path / "models" / "Meta-Llama-3-8B-Instruct")
    monkeypatch.chdir(tmp_path)
    verbs = {"convert": 21, "mix": 2, "check": 3, "preview": 3, "stats": 2}
    assert Counter(command.split()[1] for command in COMMANDS) == verbs
    for command in COMMANDS:
        monkeypatch.chdir(README.parents[1] if "--yaml" in command else tmp_path)
        run(monkeypatch, *command.split())
    monkeypatch.chdir(tmp_path)
    info = json.loads(Path("data/dataset_info.json").read_text(encoding="utf-8"))
    trained = ("api_bank", "toolalpaca", "tl_training", "glaive", "code_alpaca", "metamath", "triviaqa", "alpaca_gpt4")
    four = ("xlam", "toolace", "hermes", "apigen_mt")
    tested = ("api_bank", "toolalpaca", "rotbench", "tooleyes", "bfcl", "humaneval")
    assert set(info) == {
        *trained,
        *four,
        "hermes_json",
        "gsm8k",
        "my_code",
        "citi_api_bank",
        "citi_toolalpaca",
        *(f"{name}_test" for name in tested),
    }
    assert len(json.loads(Path("data/my_code.json").read_text(encoding="utf-8"))) == len(SAMPLES["alpaca"])
