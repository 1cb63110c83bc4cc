"""Help and refusals of every verb: told from the source, before anything heavy is imported."""

from __future__ import annotations

import sys
from pathlib import Path

import pytest

from llamafactory_ext import cli
from llamafactory_ext.commands.usage import Command, commands
from processes import run

pytestmark = pytest.mark.fast

ALL: list[Command] = [
    command
    for verb, (module, name, _) in cli.VERBS.items()
    for command in commands(module, name, f"llamafactory-ext {verb}").values()
]
OURS = [command for command in ALL if not command.is_open]
HEAVY = ("torch", "transformers", "peft", "llamafactory", "datasets", "pandas", "matplotlib.pyplot")


def call(monkeypatch: pytest.MonkeyPatch, words: str) -> int:
    monkeypatch.setattr(sys, "argv", words.split())
    try:
        cli.main()
    except SystemExit as end:
        return int(end.code or 0)
    return 0


@pytest.mark.parametrize("command", ALL, ids=lambda command: command.words)
def test_help(command: Command, monkeypatch: pytest.MonkeyPatch, capsys: pytest.CaptureFixture[str]) -> None:
    for flag in ("--help", "-h"):
        assert call(monkeypatch, f"{command.words} {flag}") == 0
        out, err = capsys.readouterr()
        assert out.startswith(f"Usage: {command.words}")
        assert not err
        for argument in command.arguments if not command.is_open else ():
            assert f"--{argument.name} " in out
            assert argument.text


@pytest.mark.parametrize("command", OURS, ids=lambda command: command.words)
def test_what_a_command_does_not_know(
    command: Command, monkeypatch: pytest.MonkeyPatch, capsys: pytest.CaptureFixture[str]
) -> None:
    needed = " ".join("x" for argument in command.arguments if argument.default is None)
    assert call(monkeypatch, f"{command.words} {needed} --nosuchthing 3 --another=4") == 2
    out, err = capsys.readouterr()
    assert err.startswith(f"OptionError: {command.words}:")
    assert "--nosuchthing is unknown" in err
    assert "--another is unknown" in err
    assert not out
    if command.rest is None:
        words = " ".join(["x"] * (len(command.arguments) + 2))
        assert call(monkeypatch, f"{command.words} {words}") == 2
        assert "2 words too many" in capsys.readouterr().err
    for argument in command.arguments:
        if len(argument.name) > 4:
            assert call(monkeypatch, f"{command.words} {needed} --{argument.name[:-1]}") == 2
            assert f"did you mean --{argument.name}?" in capsys.readouterr().err


@pytest.mark.parametrize("command", [c for c in OURS if any(a.default is None for a in c.arguments)])
def test_what_is_missing(
    command: Command, monkeypatch: pytest.MonkeyPatch, capsys: pytest.CaptureFixture[str]
) -> None:
    assert call(monkeypatch, command.words) == 2
    err = capsys.readouterr().err
    assert all(f"{a.name.upper()} is missing" in err for a in command.arguments if a.default is None)


def test_words_that_are_known() -> None:
    score = next(command for command in OURS if command.words.endswith("score"))
    score.check(["gsm8k", "--predictions", "a", "--references=b", "--execute", "-m", "strict", "--nojudge"])
    build = next(command for command in OURS if command.words.endswith("lab build"))
    build.check(["out", "--steps", "-1"])
    build.check(["--out", "out", "--steps=3", "--device", "cpu"])


def test_no_help_waits_for_a_library(tmp_path: Path) -> None:
    """All helps in one fresh process."""
    code = f"""
import contextlib, io, sys
from llamafactory_ext import cli
for words in {[command.words.split()[1:] for command in ALL if " infer" not in command.words]!r}:
    sys.argv = ["llamafactory-ext", *words, "--help"]
    with contextlib.redirect_stdout(io.StringIO()):
        cli.main()
print(sorted(set({HEAVY!r}) & set(sys.modules)))
"""
    result = run([sys.executable, "-c", code], tmp_path)
    assert result.stdout.strip() == "[]", result.stderr
