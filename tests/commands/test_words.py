"""What stands behind options, logs that are somebody else's, and Ctrl-C, in the commands that ask others."""

from __future__ import annotations

import json
import signal
import subprocess
import sys
import threading
from pathlib import Path
from typing import Any

import pytest

from citi.test_importance_file import FULL
from llamafactory_ext import cli
from llamafactory_ext.checkpoint.own import own_text
from llamafactory_ext.commands.words import switch
from llamafactory_ext.errors import DataError, OptionError
from llamafactory_ext.etapp.agents import agent
from llamafactory_ext.etapp.mini import load, load_gold
from llamafactory_ext.etapp.run import RunOptions, run
from llamafactory_ext.metrics.benchmarks.rotbench import _gold
from llamafactory_ext.metrics.references import Item
from llamafactory_ext.report.runs import _is_report
from metrics.benchmarks.test_rotbench import WEATHER, record
from metrics.judge_stub import judge_stub
from metrics.published_data import write_predictions
from processes import environment
from serving.stub_server import Stub

pytestmark = pytest.mark.fast
REPLY = {"key": "a", "text": "t", "prompt_tokens": 1, "completion_tokens": 2}
ON, OFF = (True, "True", "true", "yes", "YES", 1, "1"), (False, "False", "false", "no", 0, "0")


def call(monkeypatch: pytest.MonkeyPatch, *words: str) -> int:
    monkeypatch.setattr(sys, "argv", ["llamafactory-ext", *words])
    try:
        cli.main()
    except SystemExit as end:
        return int(end.code or 0)
    return 0


@pytest.fixture
def folder(tmp_path: Path) -> Path:
    source = load()
    run(source, source.cases[:1], agent("gold", load_gold()), {}, RunOptions(quiet=True), tmp_path / "p.jsonl")
    (tmp_path / "clean.json").write_text(json.dumps([record(WEATHER)]), encoding="utf-8")
    write_predictions(tmp_path / "r.jsonl", "rotbench", {"clean:0": WEATHER})
    return tmp_path


def test_a_switch_takes_six_words() -> None:
    assert all(switch("x", word) for word in ON)
    assert not any(switch("x", word) for word in OFF)
    for odd in ("maybe", "", "on", 2, None, [True], 1.0):
        with pytest.raises(OptionError, match=r"--x .*: give true"):
            switch("x", odd)


@pytest.mark.parametrize(
    "words", ["--estimate", "--estimate yes", "--estimate=true", "--estimate 1", "--estimate=maybe"]
)
def test_an_estimate_asks_nobody(words: str, folder: Path, monkeypatch: pytest.MonkeyPatch) -> None:
    with judge_stub() as stub:
        monkeypatch.setenv("LLAMAFACTORY_EXT_JUDGE_URL", stub.url)
        monkeypatch.setenv("LLAMAFACTORY_EXT_JUDGE_MODEL", "m")
        assert call(monkeypatch, "etapp", "judge", f"{folder}/p.jsonl", *words.split()) == 2 * words.endswith("maybe")
        assert stub.bodies == []


@pytest.mark.parametrize("option", ["--judge", "--execute", "--any_format"])
def test_score_refuses_an_odd_switch(
    option: str, folder: Path, monkeypatch: pytest.MonkeyPatch, capsys: pytest.CaptureFixture[str]
) -> None:
    words = ("rotbench", "--predictions", f"{folder}/r.jsonl", "--references", f"{folder}", f"{option}=perhaps")
    assert call(monkeypatch, "score", *words) == 2
    assert f"{option} perhaps: give true" in capsys.readouterr().err


@pytest.mark.parametrize(
    "content",
    [
        "my notes",
        "my notes\n",
        json.dumps({"key": "a", "value": 1}),
        json.dumps(REPLY) + "\nand a note",
        json.dumps(REPLY) + "\nand a note\n",
        "\n" + json.dumps(REPLY) + "\n",
        "[" * 5_000,
        "\ud800",
        None,
    ],
)
@pytest.mark.parametrize("verb", ["etapp", "score"])
def test_a_log_of_somebody_else_stays(
    verb: str, content: str | None, folder: Path, monkeypatch: pytest.MonkeyPatch, capsys: pytest.CaptureFixture[str]
) -> None:
    """Whatever is no reply of a judge is refused before anybody is asked, and stays byte for byte."""
    log = folder / ("notes.log.jsonl" if verb == "etapp" else "notes.judge.jsonl")
    before = b"" if content is None else content.encode("utf-8", "surrogatepass")
    log.mkdir() if content is None else log.write_bytes(before)
    words = {
        "etapp": ("etapp", "judge", f"{folder}/p.jsonl"),
        "score": ("score", "toolalpaca", "--predictions", f"{folder}/r.jsonl", "--references", f"{folder}", "--judge"),
    }[verb]
    with judge_stub() as stub:
        monkeypatch.setenv("LLAMAFACTORY_EXT_JUDGE_URL", stub.url)
        monkeypatch.setenv("LLAMAFACTORY_EXT_JUDGE_MODEL", "m")
        assert call(monkeypatch, *words, "--out", f"{folder}/notes.json") == 2
        assert stub.bodies == []
    assert str(log) in capsys.readouterr().err
    assert log.is_dir() if content is None else log.read_bytes() == before
    assert not (folder / "notes.json").exists()


@pytest.mark.parametrize("cut", [0, 1, 5, 30])
def test_a_cut_log_goes_on(cut: int, folder: Path, monkeypatch: pytest.MonkeyPatch) -> None:
    (folder / "notes.log.jsonl").write_text(json.dumps(REPLY) + "\n" + json.dumps(REPLY)[:cut], encoding="utf-8")
    with judge_stub() as stub:
        monkeypatch.setenv("LLAMAFACTORY_EXT_JUDGE_URL", stub.url)
        monkeypatch.setenv("LLAMAFACTORY_EXT_JUDGE_MODEL", "m")
        call(monkeypatch, "etapp", "judge", f"{folder}/p.jsonl", "--out", f"{folder}/notes.json")
        assert stub.bodies
    lines = (folder / "notes.log.jsonl").read_text("utf-8").splitlines()
    assert len(lines) == 1 + len(stub.bodies)
    assert all("text" in json.loads(line) for line in lines)


@pytest.mark.parametrize(
    "words", ["--retries x", "--retries=-1", "--timeout 0", "--max_new_tokens=-1", "--turns 0", "--trials 1000001"]
)
def test_etapp_run_refuses_odd_numbers(
    words: str, tmp_path: Path, monkeypatch: pytest.MonkeyPatch, capsys: pytest.CaptureFixture[str]
) -> None:
    given = ("--model", "m", "--url", "http://127.0.0.1:9/v1", "--out", f"{tmp_path}/a.jsonl", *words.split())
    assert call(monkeypatch, "etapp", "run", *given) == 2
    assert words.replace("=", " ") in capsys.readouterr().err


def test_export_refuses_a_word_as_least_score(
    folder: Path, monkeypatch: pytest.MonkeyPatch, capsys: pytest.CaptureFixture[str]
) -> None:
    words = ("export_sft", f"{folder}/p.jsonl", "--out", f"{folder}/o.json", "--min_procedure", "high")
    assert call(monkeypatch, "etapp", *words) == 2
    assert "--min_procedure high: give a number" in capsys.readouterr().err


@pytest.mark.parametrize("number", [signal.SIGINT, signal.SIGTERM])
@pytest.mark.parametrize("verb", ["run", "judge"])
def test_a_signal_ends_an_open_request(verb: str, number: int, folder: Path) -> None:
    """A server that never answers keeps no command from ending; the wait below is far shorter than its time-out."""
    asked, ended = threading.Event(), threading.Event()

    def silent(path: str, body: Any) -> Any:
        if body is None:
            return 200, {"data": [{"id": "m"}]}
        asked.set()
        ended.wait(120)
        return 500, "late"

    stub = Stub(silent)
    url = f"{stub.url}/v1"
    words = {
        "run": ("--model", "m", "--url", url, "--out", f"{folder}/a.jsonl"),
        "judge": (f"{folder}/p.jsonl",),
    }[verb]
    judge = {"LLAMAFACTORY_EXT_JUDGE_URL": url, "LLAMAFACTORY_EXT_JUDGE_MODEL": "m", "NO_PROXY": "127.0.0.1"}
    command = [sys.executable, "-m", "llamafactory_ext.cli", "etapp", verb, *words]
    with subprocess.Popen(command, env=environment(**judge), stderr=subprocess.PIPE, text=True) as process:
        try:
            assert asked.wait(90)
            process.send_signal(number)
            _, said = process.communicate(timeout=60)
        finally:
            process.kill()
            ended.set()
            stub.stop()
    assert process.returncode == 128 + number
    assert "Traceback" not in said
    assert "Interrupted by" in said.splitlines()[-1]


def test_ctrl_c_in_any_verb(monkeypatch: pytest.MonkeyPatch, capsys: pytest.CaptureFixture[str]) -> None:
    def stopped(verb: str) -> Any:
        raise KeyboardInterrupt

    before = signal.getsignal(signal.SIGTERM)
    monkeypatch.setattr(cli, "load_verb", stopped)
    assert call(monkeypatch, "doctor") == 130
    assert capsys.readouterr().err == "Interrupted by Ctrl-C. Repeat the command; what it keeps as it goes is kept.\n"
    assert signal.getsignal(signal.SIGTERM) is before


@pytest.mark.skipif(not Path("/dev/full").exists(), reason="this system has no /dev/full")
def test_a_full_disk_behind_standard_output_is_named() -> None:
    command = [sys.executable, "-m", "llamafactory_ext.cli", "etapp", "cases"]
    with Path("/dev/full").open("w") as full:
        done = subprocess.run(command, stdout=full, stderr=subprocess.PIPE, text=True, env=environment(), check=False)
    assert done.returncode == 2
    assert done.stderr == "OSError: standard output: No space left on device; check the path, permissions and room.\n"


def test_an_estimate_needs_no_endpoint(
    folder: Path, monkeypatch: pytest.MonkeyPatch, capsys: pytest.CaptureFixture[str]
) -> None:
    for name in ("URL", "MODEL", "KEY", "PRICES"):
        monkeypatch.delenv(f"LLAMAFACTORY_EXT_JUDGE_{name}", raising=False)
    assert call(monkeypatch, "etapp", "judge", f"{folder}/p.jsonl", "--estimate") == 0
    assert "prompt tokens" in capsys.readouterr().out
    assert call(monkeypatch, "etapp", "judge", f"{folder}/p.jsonl") == 2
    assert "LLAMAFACTORY_EXT_JUDGE_URL: set it" in capsys.readouterr().err


@pytest.mark.parametrize("url", ["127.0.0.1:9/v1", "localhost:8000/v1", "http://", "ftp://a/v1", "http:///v1", "x"])
def test_an_address_without_http_is_refused_at_once(
    url: str, tmp_path: Path, monkeypatch: pytest.MonkeyPatch, capsys: pytest.CaptureFixture[str]
) -> None:
    words = ("--model", "m", "--url", url, "--out", f"{tmp_path}/a.jsonl")
    assert call(monkeypatch, "etapp", "run", *words) == 2
    assert "is no address" in capsys.readouterr().err
    assert list(tmp_path.iterdir()) == []


@pytest.mark.parametrize(
    "words",
    [
        *("--predictions .", "--predictions /", "--predictions ..", "--predictions x/", "--predictions", "--mode a/b"),
        *("--out .", "--out /", "--out x/..", "--out x/", "--out", "--predictions p.jsonl --mode ../x"),
    ],
)
def test_score_refuses_what_names_no_file(
    words: str, folder: Path, monkeypatch: pytest.MonkeyPatch, capsys: pytest.CaptureFixture[str]
) -> None:
    monkeypatch.chdir(folder)
    before = sorted(folder.rglob("*"))
    given = {"--predictions": "r.jsonl", "--references": str(folder)}
    shown = [word for name, value in given.items() if name not in words for word in (name, value)]
    assert call(monkeypatch, "score", "rotbench", *shown, *words.split()) == 2
    assert "Error: " in capsys.readouterr().err
    assert sorted(folder.rglob("*")) == before


def test_a_split_never_replaces_another(
    tmp_path: Path, monkeypatch: pytest.MonkeyPatch, capsys: pytest.CaptureFixture[str]
) -> None:
    words = ("etapp", "split", "--train", "8", "--out", f"{tmp_path}/lists")
    assert call(monkeypatch, *words) == 0
    before = {path.name: path.read_bytes() for path in (tmp_path / "lists").iterdir()}
    assert call(monkeypatch, *words) == 0
    for other in (("--seed", "1"), ("--by", "user", "--train", "2"), ("--source", "mini-one-tool", "--train", "1")):
        assert call(monkeypatch, *words, *other) == 2
        assert "is the list of another split" in capsys.readouterr().err
    assert {path.name: path.read_bytes() for path in (tmp_path / "lists").iterdir()} == before


PATHS = [
    *("examples 7", "data convert gsm8k --source 7 --out 7", "data mix --tool 7 --general 7 --dataset_dir 7"),
    *("data check 7 --dataset_dir 7", "data preview 7 --template default --model 7", "data stats 7 --out 7"),
    *(
        "importance show 7",
        "importance show [a]",
        "importance plot 7 --out 7",
        "importance plot importance.json --out 7",
    ),
    *("score rotbench --predictions 7 --references 7", "score rotbench --predictions [a] --references 7 --out 7"),
    *("report 7 --out 7", "etapp cases 7", "etapp inventory 7 --out 7", "etapp demo --out 7", "etapp check 7"),
    *("etapp judge 7 --out 7", "etapp agree 7 7", "etapp report 7 --out 7", "etapp split 7 --train 8"),
    *(
        "etapp export_sft 7 7",
        "etapp export_sft 7 --out 7 --verdicts 7 --held_out 7",
        "cl run 7",
        "cl convert trace 7 7",
        "cl convert api_bank 7 7",
    ),
    *(
        "skintern build 7 7",
        "skintern preview 7",
        "skintern flops 7 --prompt 7",
        "lab data --out 7",
        "lab data --out [7]",
    ),
    *("analyse icc 7 7 --out 7", "analyse overlap 7 --out 7", "analyse routers 7 7 --out 7"),
    "analyse replace 7 --trained 7 --importance 7 --out 7",
    *("lab sequence --out 7", "lab build 7", "lab evaluate --out 7", "lab demo --out 7", "lab ppo --out 7"),
    *("lab table --out 7", "lab table --base real --data 7 --model 7 --out 7", "lab rl --out 7"),
    *("lab tl --out 7", "analyse components --out 7"),
    *("etapp run --model 7 --url 7 --out 7 --source 7", "infer --dataset 7 --model 7 --backend openai --out 7"),
]


@pytest.mark.parametrize("words", PATHS)
def test_a_number_in_place_of_a_path(
    words: str, tmp_path: Path, monkeypatch: pytest.MonkeyPatch, capsys: pytest.CaptureFixture[str]
) -> None:
    """Where a path is asked for, 7 and [a] are names of files."""
    monkeypatch.chdir(tmp_path)
    for name in ("7", "['a']", "[7]"):
        (tmp_path / name).write_text("x", encoding="utf-8")
    FULL.save(tmp_path / "importance.json")
    assert call(monkeypatch, *words.split()) == 2
    assert (tmp_path / "7").read_text("utf-8") == "x"
    said = capsys.readouterr().err
    assert "Error: " in said
    assert "Traceback" not in said


@pytest.mark.parametrize(
    "words",
    [
        *("lab evaluate --limit x", "lab demo --limit 0", "lab ppo --seeds x", "lab build out --steps x"),
        *("lab rl --seeds x", "lab tl --seeds 0"),
        *("lab build out --minutes x", "importance show importance.json --top x", "importance show f --top nan"),
        "importance plot importance.json --bottom=-1",
        "cl convert api_bank apis out --seed x",
        *("analyse icc a b --inputs 0", "analyse routers a b --seed x", "analyse overlap f --seed=-1"),
        *("analyse replace a b c --examples 1.5", "analyse components --minutes x"),
        "lab table --seeds 0",
        *("lab table --trial_limit x", "lab table --minutes x"),
    ],
)
def test_a_word_in_place_of_a_number(
    words: str, tmp_path: Path, monkeypatch: pytest.MonkeyPatch, capsys: pytest.CaptureFixture[str]
) -> None:
    monkeypatch.chdir(tmp_path)
    assert call(monkeypatch, *words.split()) == 2
    option = next(word for word in words.split() if word.startswith("--")).partition("=")[0]
    assert f"  - {option} " in capsys.readouterr().err
    assert list(tmp_path.iterdir()) == []


@pytest.mark.parametrize("content", ['{"a": 1}\n{"a": 2}\n', "[1, 2]", "7: a", "a: &a [*a]", "\x00", "[" * 3_000, ""])
def test_a_yaml_that_is_none(content: str, tmp_path: Path) -> None:
    from llamafactory_ext.upstream.pipeline.dialogues import read_training_args

    (tmp_path / "d.jsonl").write_text(content, encoding="utf-8")
    with pytest.raises(OptionError, match=r"d\.jsonl( is no YAML| holds no options|: its options do not work)"):
        read_training_args(tmp_path / "d.jsonl")


def test_half_a_surrogate_pair_is_not_written(tmp_path: Path) -> None:
    (tmp_path / "a").write_text("")
    with pytest.raises(DataError, match="half a surrogate pair"):
        own_text(tmp_path / "a", "b\ud800")
    assert (tmp_path / "a").read_text() == ""


@pytest.mark.parametrize("odd", [7, None, [], {}, "", True])
@pytest.mark.parametrize("place", ["system", "conversation", "tools"])
def test_odd_values_of_rotbench(odd: Any, place: str) -> None:
    item = record(WEATHER)
    if place == "system":
        item["conversations"][0]["value"] = odd
    elif place == "conversation":
        item["conversations"] = odd
    else:
        item["conversations"][0]["value"] = "[1, 2]"
    with pytest.raises(DataError, match="x: not in RoTBench's form"):
        _gold(Item("x", "clean", item))


def test_a_deep_file_beside_reports_is_none(tmp_path: Path) -> None:
    (tmp_path / "deep.json").write_text("[" * 100_000)
    assert not _is_report(tmp_path / "deep.json")
