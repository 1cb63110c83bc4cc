"""Every verb of `etapp` with odd words behind every option: a line of ours or a result, and nothing half written."""

from __future__ import annotations

import io
import json
import os
import shutil
import sys
from collections.abc import Iterator
from contextlib import redirect_stderr, redirect_stdout
from http.server import ThreadingHTTPServer
from pathlib import Path
from typing import Any

import pytest

from etapp.small_checkout import make
from llamafactory_ext import cli
from llamafactory_ext.commands.etapp import Etapp
from llamafactory_ext.commands.usage import commands
from llamafactory_ext.etapp.agents import agent
from llamafactory_ext.etapp.judge_prompt import CRITERIA, form
from llamafactory_ext.etapp.mini import load, load_gold
from llamafactory_ext.etapp.run import RunOptions, run
from llamafactory_ext.metrics.report import write_report
from metrics.judge_stub import judge_stub
from sampling import sample
from serving.stub_server import completion, serving

pytestmark = pytest.mark.fast
SOURCE = load()
CASES = SOURCE.cases[:2]
PATHS = (
    *(".", "./", "/", "//", "..", "../", "a/..", "x/", "no/such/file", "folder", "fifo", "binary", "deep.json"),
    *("/dev/null", "/dev/zero", "n" * 300, "'a\\x00b'", "\udcff", "''", "' '", "None", "True", "[]", "{}", "~", "7"),
    *("1e400", "list\u2028.txt", "lines", "empty", "/proc/self/mem", "p.jsonl", "clone", "link", "loop"),
)
NUMBERS = (
    *("nan", "inf", "-inf", "1e400", "-1", "0.5", "1e12", str(2**63), "9" * 400, "9" * 5000, "x", "''", "None"),
    *("True", "[1]", "{}", "0", "-0", "1000001", "1_000", "0x10", "1+1", "\u0663"),
)
WORDS = ("", "x", "[]", "{}", "None", "7", "a\u2028b", "\udcff", "x" * 5000, "'a\\x00b'", "True")
URLS = (
    "127.0.0.1:9/v1",
    "ftp://127.0.0.1/v1",
    "http://",
    "http://[",
    "http://127.0.0.1:99999",
    "x",
    "''",
    "//a",
    "\udcff",
)

BASE = {
    "cases": {},
    "inventory": {"source": "clone", "out": "inventory.json"},
    "demo": {"out": "demo", "source": "mini-one-tool"},
    "run": {"model": "m", "url": "URL", "out": "new.jsonl", "cases": "list", "retries": "0"},
    "check": {"predictions": "p.jsonl"},
    "judge": {"predictions": "p.jsonl"},
    "agree": {"human": "human.jsonl", "verdicts": "p.judge.verdicts.jsonl"},
    "report": {"runs": "p.jsonl", "out": "page"},
    "split": {"out": "lists", "train": "5"},
    "export_sft": {"predictions": "p.jsonl", "out": "data/sft.json", "checks": "any"},
    "serve": {"port": "0"},
}
KINDS: dict[str, tuple[str, ...]] = {
    **dict.fromkeys(("source", "out", "predictions", "human", "verdicts", "runs", "cases", "wikipedia"), PATHS),
    **dict.fromkeys(("held_out", "embedder"), PATHS),
    **dict.fromkeys(("trials", "turns", "temperature", "max_new_tokens", "faults", "seed", "concurrency"), NUMBERS),
    **dict.fromkeys(("retries", "timeout", "samples", "limit", "train", "port"), NUMBERS),
    **dict.fromkeys(("min_procedure", "min_personalization", "min_proactivity"), NUMBERS),
    **dict.fromkeys(("setting", "strategy", "sandbox", "prompts", "mode", "by", "checks", "show", "host"), WORDS),
    **dict.fromkeys(("estimate", "no_thought", "model"), WORDS),
    "url": URLS,
}
OPTIONS = [
    (verb, argument.name)
    for verb, command in commands("llamafactory_ext.commands.etapp", "Etapp", "etapp").items()
    for argument in (*command.arguments, *([command.rest] if command.rest else []))
]


@pytest.fixture(scope="module")
def made(tmp_path_factory: pytest.TempPathFactory) -> Path:
    """A folder with an input of every kind; each call gets a copy."""
    folder = tmp_path_factory.mktemp("options") / "work"
    folder.mkdir()
    run(SOURCE, CASES, agent("gold", load_gold()), {}, RunOptions(quiet=True), folder / "p.jsonl")
    (folder / "list").write_text(f"{CASES[0].id}\n")
    (folder / "list\u2028.txt").write_text(f"{CASES[0].id}\n")
    people = [{"id": case.id, **{name.lower(): 3 for name in CRITERIA}} for case in CASES]
    (folder / "human.jsonl").write_text("".join(json.dumps(one) + "\n" for one in people))
    (folder / "binary").write_bytes(bytes(range(256)) * 4)
    (folder / "deep.json").write_text("[" * 100_000)
    (folder / "lines").write_text("\n" * 50 + "\u2028\x85\x0b")
    (folder / "empty").write_text("")
    (folder / "7").write_text("x")
    (folder / "folder").mkdir()
    make(folder / "clone")
    (folder / "link").symlink_to("/etc/hostname")
    (folder / "loop").symlink_to("loop")
    return folder


def reply(case: Any) -> str:
    whole = form(case)
    for name in CRITERIA:
        whole[name]["Final Assessment"]["score"] = 4
    return json.dumps(whole)


@pytest.fixture(scope="module")
def servers() -> Iterator[tuple[str, str]]:
    """A model that says one word, and a judge."""

    def answer(path: str, body: Any) -> Any:
        return (200, {"data": [{"id": "m"}]}) if body is None else completion("done")

    with serving(answer) as model, judge_stub() as judge:
        judge.answers = [reply(CASES[0])]
        yield f"{model.url}/v1", judge.url


def call(words: list[str]) -> tuple[int, str]:
    """Run a command in this process; returns its exit code and all that it said. A traceback of ours ends the test."""
    said = io.StringIO()
    before, sys.argv = sys.argv, ["llamafactory-ext", "etapp", *words]
    try:
        with redirect_stdout(said), redirect_stderr(said):
            cli.main()
    except SystemExit as end:
        return int(end.code or 0), said.getvalue()
    finally:
        sys.argv = before
    return 0, said.getvalue()


def contents(folder: Path) -> dict[str, bytes]:
    """All files below a folder; what a command keeps for itself is none of the user's."""
    found = {}
    for path in sorted(folder.rglob("*")):
        if path.is_file() and not path.is_symlink() and "clone" not in path.parts:
            found[str(path.relative_to(folder))] = path.read_bytes()
    return found


def given(verb: str, option: str, value: str | None, url: str) -> list[str]:
    words = [verb.replace("_", "-")]
    for name, default in {**BASE[verb], option: value}.items():
        told = url if default == "URL" else default
        words += [str(told)] if name == "runs" else [f"--{name}"] if told is None else [f"--{name}={told}"]
    return words


@pytest.mark.parametrize(("verb", "option"), OPTIONS)
def test_an_odd_word_behind_an_option(
    verb: str,
    option: str,
    made: Path,
    servers: tuple[str, str],
    tmp_path: Path,
    monkeypatch: pytest.MonkeyPatch,
) -> None:
    """A refusal is a line of ours with code 2, and leaves every file as it was."""

    def stop(*_: Any) -> None:
        raise KeyboardInterrupt

    monkeypatch.setattr(ThreadingHTTPServer, "serve_forever", stop) if verb == "serve" else None
    monkeypatch.setenv("LLAMAFACTORY_EXT_JUDGE_URL", servers[1])
    monkeypatch.setenv("LLAMAFACTORY_EXT_JUDGE_MODEL", "m")
    bare = [None] if option != "runs" else []
    for number, value in enumerate([*bare, *sample(KINDS[option], 6, seed=OPTIONS.index((verb, option)))]):
        folder = tmp_path / str(number) / "in"
        shutil.copytree(made, folder, symlinks=True)
        os.mkfifo(folder / "fifo")
        monkeypatch.chdir(folder)
        if verb == "agree":
            judged(folder)
        before = contents(folder.parent)
        code, said = call(given(verb, option, value, servers[0]))
        what = f"--{option}={str(value)[:80]}: {said[-2000:]}"
        assert code in (0, 2), what
        assert "Traceback" not in said, what
        if code == 2:
            assert "Error: " in said, what
            after = contents(folder.parent)
            lost = {name for name in before if after.get(name) != before[name]}
            grown = {name for name in after.keys() - before.keys() if after[name]}
            assert not lost, what
            assert not {name for name in grown if not name.endswith((".settings.json", ".log.jsonl"))}, what
        shutil.rmtree(folder.parent)


def judged(folder: Path) -> None:
    """Write a judge's verdicts beside the run."""
    from llamafactory_ext.etapp.checking import read_acted
    from llamafactory_ext.etapp.judge_reading import read_verdict
    from llamafactory_ext.etapp.judging import Judged, report_of

    file, acted = read_acted(SOURCE, folder / "p.jsonl")
    found = [Judged(one, (read_verdict(reply(one.case), one.case),), 1, False) for one in acted]  # type: ignore[arg-type]
    write_report(report_of(SOURCE, file, found, "strict", {"model": "m"}, 48), folder / "p.judge.json")


def test_the_table_knows_every_option() -> None:
    assert {name for _, name in OPTIONS} <= KINDS.keys()
    assert {verb for verb, _ in OPTIONS} == BASE.keys() == {n for n in vars(Etapp) if not n.startswith("_")}


@pytest.mark.parametrize("verb", BASE)
def test_the_words_of_the_table_work(
    verb: str, made: Path, servers: tuple[str, str], tmp_path: Path, monkeypatch: pytest.MonkeyPatch
) -> None:
    """What an odd word is put into is a command that succeeds."""

    def stop(*_: Any) -> None:
        raise KeyboardInterrupt

    monkeypatch.setattr(ThreadingHTTPServer, "serve_forever", stop) if verb == "serve" else None
    monkeypatch.setenv("LLAMAFACTORY_EXT_JUDGE_URL", servers[1])
    monkeypatch.setenv("LLAMAFACTORY_EXT_JUDGE_MODEL", "m")
    shutil.copytree(made, tmp_path / "in", symlinks=True)
    monkeypatch.chdir(tmp_path / "in")
    if verb == "agree":
        judged(tmp_path / "in")
    words = [verb.replace("_", "-")]
    for name, value in BASE[verb].items():
        told = servers[0] if value == "URL" else value
        words += [told] if name == "runs" else [f"--{name}={told}"]
    code, said = call(words)
    assert code == 0, said
