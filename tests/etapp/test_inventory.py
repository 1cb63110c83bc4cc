"""The words about a checkout: which commit it is, what it lacks, and none that steers a terminal."""

from __future__ import annotations

from pathlib import Path

import pytest

from etapp.acting import saying
from etapp.small_checkout import INSTRUCTION, complete, make, put
from llamafactory_ext.commands.etapp import Etapp
from llamafactory_ext.etapp.cases import open_source
from llamafactory_ext.etapp.checkout import INSTRUCTIONS, Checkout
from llamafactory_ext.etapp.inventory import commit_of, prompts_lacking
from llamafactory_ext.etapp.run import RunOptions, run

pytestmark = pytest.mark.fast


def test_an_inventory_tells_which_prompts_are_lacking(tmp_path: Path) -> None:
    lacking = prompts_lacking(Checkout(make(tmp_path / "clone")))
    assert [line.partition(" cannot")[0] for line in lacking] == [
        f"`etapp {v} --prompts checkout`" for v in ("run", "judge")
    ]


COMMIT = "0123456789" * 4


@pytest.mark.parametrize(
    ("files", "told"),
    [
        ({}, "commit unknown"),
        ({"toolkit/Navigation/Map.py": "city_building_information"}, "commit guessed: 565d82a"),
        ({"toolkit/Navigation/Map.py": "pass"}, "commit guessed: with c43869e"),
        ({".git/HEAD": COMMIT}, f"commit {COMMIT[:12]}, as its .git says"),
        ({".git/HEAD": "ref: refs/heads/main\n", ".git/refs/heads/main": COMMIT + "\n"}, f"commit {COMMIT[:12]},"),
        (
            {".git/HEAD": "ref: refs/heads/main\n", ".git/packed-refs": f"# x\n{COMMIT} refs/heads/main\n"},
            "commit 0123",
        ),
        ({".git/HEAD": "ref: refs/../../../x\n"}, "commit unknown"),
        ({".git/HEAD": "\xff"}, "commit unknown"),
    ],
)
def test_an_inventory_tells_the_commit(files: dict[str, str], told: str, tmp_path: Path) -> None:
    folder = make(tmp_path / "clone")
    for name, text in files.items():
        (folder / name).parent.mkdir(parents=True, exist_ok=True)
        (folder / name).write_bytes(text.encode("latin-1"))
    assert commit_of(Checkout(folder)).startswith(told)


def test_a_clone_with_restaurants_is_a_later_one(tmp_path: Path) -> None:
    folder = complete(make(tmp_path / "clone"))
    (folder / "toolkit/Navigation").mkdir(parents=True)
    (folder / "toolkit/Navigation/Map.py").write_text("city_building_information")
    assert commit_of(Checkout(folder)) == "commit guessed: with 7863ab1"


STEERS = "\x1b[2J\x1b]0;x\x07\x9b31m\r\x08"


def test_nothing_that_is_printed_steers_a_terminal(tmp_path: Path, capsys: pytest.CaptureFixture[str]) -> None:
    """Words of a checkout, the names of folders and files, what a run notes."""
    folder = make(tmp_path / f"clo{STEERS}ne")
    put(
        folder / INSTRUCTIONS, [INSTRUCTION | {"query": f"say{STEERS}\nthis", "keypoint for personal": [f"p{STEERS}"]}]
    )
    put(folder / "profile/concrete_profile/profile_Ann_Gray.json", {f"m{STEERS}": {"a": [f"b{STEERS}"]}})
    source, etapp, path = open_source(str(folder)), Etapp(), tmp_path / f"a{STEERS}.jsonl"
    run(source, source.cases, lambda *_: saying([], f"do{STEERS}ne"), {}, RunOptions(), path)
    etapp.cases(str(folder))
    etapp.cases(str(folder), source.cases[0].id)
    etapp.inventory(str(folder))
    etapp.split(str(tmp_path / f"l{STEERS}"), 1, str(folder), by="user")
    etapp.demo(str(tmp_path / f"demo{STEERS}"), "mini-one-tool")
    etapp.check(str(path), str(folder))
    etapp.report(str(path), source=str(folder), out=str(tmp_path / f"page{STEERS}"))
    etapp.export_sft(str(tmp_path / f"demo{STEERS}/gold.jsonl"), str(tmp_path / f"d{STEERS}.json"), "mini-one-tool")
    said = capsys.readouterr()
    shown = said.out + said.err
    assert "say\\x1b[2J" in shown
    assert not {letter for letter in shown if not letter.isprintable()} - {"\n"}


@pytest.mark.parametrize("where", ["source", "elsewhere"])
def test_an_inventory_names_the_checkout_once(where: str, tmp_path: Path, capsys: pytest.CaptureFixture[str]) -> None:
    folder = make(tmp_path / "clone")
    if where == "source":
        (folder / "evaluation").mkdir()
        (folder / "evaluation/evaluate_prompt.py").write_text("x = 1")
        (folder / "evaluation/evaluate.py").write_text("x = 1")
    Etapp().inventory(str(folder))
    said = capsys.readouterr().out
    assert said.count(str(folder)) == 1
    assert said.count("--prompts checkout") == 2
