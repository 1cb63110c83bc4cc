"""Help and refusals of every verb: told from the source, before anything heavy is imported."""

from __future__ import annotations

import sys
from dataclasses import fields
from itertools import product
from pathlib import Path

import pytest

from llamafactory_ext import cli
from llamafactory_ext.commands.usage import Command, commands
from llamafactory_ext.errors import OptionError
from llamafactory_ext.options.values import numbers_in
from llamafactory_ext.serving.infer.options import InferOptions
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
    words = ["gsm8k", "--predictions", "a", "--references=b", "--execute", "-m", "strict", "--nojudge"]
    given = {"benchmark": "gsm8k", "predictions": "a", "references": "b", "mode": "strict"}
    assert score.read(words) == ([], given | {"execute": True, "judge": False})
    build = next(command for command in OURS if command.words.endswith("lab build"))
    assert build.read(["out", "--steps", "-1"]) == ([], {"out": "out", "steps": -1})
    assert build.read(["--out", "out", "--steps=3", "--minutes", "1e1"])[1] == {
        "out": "out",
        "steps": 3,
        "minutes": 10,
    }
    for words in (["gsm8k", "--execute.x"], ["gsm8k", "--out:x", "a"], ["gsm8k", "--mode/x=strict"]):
        with pytest.raises(OptionError, match=r"(--execute\.x|--out:x|--mode/x) is unknown"):
            score.read(words)
    for words in (["gsm8k", "--nojudge", "a"], ["gsm8k", "--out"], ["gsm8k", "--out", "--judge"], ["--judge=on"]):
        with pytest.raises(OptionError, match=r"--nojudge takes no value|--out needs a value|--judge on: give true"):
            score.read(words)


# What Python, YAML or a shell would take for something else than a text.
ODD = (
    *("1e3", "007", "1_000", "0x10", "1.50", "7", "-7", "-", "--", "None", "null", "True", "no", "nan", "[a]", "(a)"),
    *(
        "{a: 1}",
        "'a'",
        '"a"',
        "a,b",
        "a=b",
        "#a",
        "\\",
        "a\nb",
        " a ",
        "",
        "ä",
        "1j",
        "1+1",
        "...",
        "b'a'",
        "=",
        "$HOME",
    ),
)
TEXTS = ("str", "str | None")


@pytest.mark.parametrize("command", ALL, ids=lambda command: command.words)
def test_a_text_arrives_as_typed(command: Command) -> None:
    """As an option, with an equals sign, by one letter and without a name."""
    needed = [argument.name for argument in command.arguments if argument.default is None]
    plain = [argument.name for argument in command.arguments if not argument.by_name]
    first = [argument.name[0] for argument in command.arguments]
    for name, odd in product([argument.name for argument in command.arguments if argument.kind in TEXTS], ODD):
        others = [f"--{other}=1" for other in needed if other != name]
        forms = [[*others, f"--{name}={odd}"], [*others, f"--{name.replace('_', '-')}", odd]]
        forms += [[*others, f"-{name[0]}", odd]] if first.count(name[0]) == 1 else []
        if name in plain:
            before = plain[: plain.index(name)]
            forms.append(
                [*("1" for _ in before), odd, *(f"--{other}=1" for other in needed if other not in [*before, name])]
            )
        for words in forms:
            assert command.read(words)[1][name] == odd, words
    if command.rest is not None:
        assert all(command.read([*("1" for _ in plain), odd])[0][-1] == odd for odd in ODD)


@pytest.mark.parametrize("odd", ODD)
def test_a_text_of_infer_arrives_as_typed(odd: str) -> None:
    texts = [part.name for part in fields(InferOptions) if isinstance(part.default, str) and part.name != "backend"]
    infer = next(command for command in ALL if command.words.endswith(" infer"))
    given = infer.read([f"--{name}={odd}" for name in texts])[1]
    with pytest.MonkeyPatch.context() as patch:
        patch.setattr(InferOptions, "problems", lambda _: [])
        options = InferOptions.of(given)
    assert {name: getattr(options, name) for name in texts} == dict.fromkeys(texts, odd)


@pytest.mark.parametrize("odd", ["\0", "\x1b[31m", "a\x7f", "\x9b1m", "a\udcff", "\ud800"])
def test_a_word_that_is_no_text_is_named(odd: str) -> None:
    score = next(command for command in OURS if command.words.endswith("score"))
    for words in ([odd], [f"--out={odd}"], ["--out", odd], [f"--{odd}"]):
        with pytest.raises(OptionError, match="control character"):
            score.read(words)
    assert score.read(["gsm8k", "--out=a\tb\nc ä \u202f"])


def test_numbers_of_a_word() -> None:
    found = {
        "7": 7,
        "-7": -7,
        "1e3": 1000.0,
        "1_0": 10,
        str(2**63 - 1): 2**63 - 1,
        "1,2": (1, 2),
        "[1, 2.5]": (1, 2.5),
    }
    assert {word: numbers_in(word) for word in found} == found
    for word in (
        "nan",
        "inf",
        "-1e999",
        str(2**63),
        "9" * 400,
        "9" * 5_000,
        "None",
        "",
        ",",
        "1,",
        "1,x",
        "(",
        "0x1",
        "1j",
    ):
        assert numbers_in(word) == word


def test_the_kinds_of_arguments() -> None:
    """An annotation that nothing here knows would be read as numbers."""
    kinds = {argument.kind for command in ALL for argument in command.arguments if not argument.is_switch}
    assert kinds <= {*TEXTS, "int", "float", "int | None", "float | None", "int | tuple[int, ...]", "Any"}, kinds


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
