"""A file of episodes is one run's, and each episode its own case's: whatever mixes them is refused by every reader."""

from __future__ import annotations

import json
import shutil
from collections.abc import Callable
from dataclasses import dataclass, replace
from pathlib import Path
from typing import Any

import pytest

from etapp.small_checkout import make
from llamafactory_ext.commands.etapp import Etapp
from llamafactory_ext.commands.score import score
from llamafactory_ext.errors import DataError
from llamafactory_ext.etapp import origin
from llamafactory_ext.etapp.agents import agent
from llamafactory_ext.etapp.cases import Source, open_source
from llamafactory_ext.etapp.checking import read_acted
from llamafactory_ext.etapp.mini import load, load_gold, one_tool
from llamafactory_ext.etapp.run import RunOptions, run
from llamafactory_ext.etapp.wording import OURS, Ours
from llamafactory_ext.serving.infer.identity import settings_hash

pytestmark = pytest.mark.fast
SOURCE = load()
CASES = tuple(case for case in SOURCE.cases if case.number < 2)  # of all users
Records = list[dict[str, Any]]


def go(path: Path, name: str = "gold", source: Source = SOURCE, cases: Any = CASES, **options: Any) -> Path:
    how = RunOptions(quiet=True, **options)
    return run(source, cases, agent(name, load_gold()), {"model": f"scripted:{name}"}, how, path)


@pytest.mark.parametrize("sandbox", ["strict", "reference"])
@pytest.mark.parametrize("setting", ["given", "retrieval"])
@pytest.mark.parametrize("strategy", ["fc", "react", "e-react"])
@pytest.mark.parametrize("is_bare", [False, True])
def test_what_a_run_writes_is_one_run(
    sandbox: str, setting: str, strategy: str, is_bare: bool, tmp_path: Path
) -> None:
    path = go(tmp_path / "a.jsonl", sandbox=sandbox, setting=setting, strategy=strategy, trials=2)
    if is_bare:
        (tmp_path / "a.jsonl.settings.json").unlink()
    assert len(read_acted(SOURCE, path)[1]) == 2 * len(CASES)


def test_a_clones_run_is_one_run(tmp_path: Path) -> None:
    source = open_source(str(make(tmp_path / "clone")))
    path = go(tmp_path / "a.jsonl", "null", source, source.cases)
    (tmp_path / "a.jsonl.settings.json").unlink()
    assert len(read_acted(source, path)[1]) == len(source.cases)


@dataclass(frozen=True)
class Other(Ours):
    """A clone's words, for a test without one."""

    name: str = "checkout"

    def opening(self, *given: Any) -> list[dict[str, Any]]:
        return [{**message, "content": f"{message['content']} Please."} for message in OURS.opening(*given)]


def test_a_clones_words_are_known(tmp_path: Path, monkeypatch: pytest.MonkeyPatch) -> None:
    path = go(tmp_path / "a.jsonl", wording=Other())
    with pytest.raises(DataError, match=f"{len(CASES)} of {len(CASES)} episodes answer other prompts"):
        read_acted(SOURCE, path)
    monkeypatch.setattr(origin, "published", lambda _: Other())
    assert read_acted(replace(SOURCE, folder=str(make(tmp_path / "clone"))), path)
    swap(records := read(path))
    put(path, records)
    with pytest.raises(DataError, match=f"2 of {len(CASES)} episodes answer other prompts"):
        read_acted(replace(SOURCE, folder=str(tmp_path / "clone")), path)


def read(path: Path) -> Records:
    """Return the lines, user by user; a run writes them as they end."""
    return sorted(map(json.loads, path.read_text("utf-8").splitlines()), key=lambda one: str(one["id"]))


def put(path: Path, records: Records) -> None:
    path.write_text("".join(json.dumps(one) + "\n" for one in records))


def swap(records: Records, *names: str, other: int = 2) -> None:
    """Exchange values of two lines, the ids by default: the same instruction of two users."""
    for name in names or ("id",):
        records[0][name], records[other][name] = records[other][name], records[0][name]


def retold(folder: Path, is_hashed: bool = False, **changes: Any) -> None:
    """Change settings beside the file."""
    beside = folder / "a.jsonl.settings.json"
    told = json.loads(beside.read_text()) | changes
    if is_hashed:
        told["model_hash"] = settings_hash({n: v for n, v in told.items() if n not in ("model_hash", "questions")})
    beside.write_text(json.dumps(told))


def mixed(folder: Path, records: Records, at: int = 3) -> None:
    records[at:] = read(go(folder / "other.jsonl", "null"))[at:]


def bare(folder: Path) -> None:
    (folder / "a.jsonl.settings.json").unlink()


def of_one_tool(folder: Path, records: Records) -> None:
    bare(folder)
    records[:] = read(go(folder / "one.jsonl", source=one_tool(), cases=one_tool().cases))


_OTHERS = "answer other prompts than those of their cases"
_WRONG = f"{_OTHERS}|is damaged"  # a dialogue may also be no dialogue of its episode
SPOILT: dict[str, tuple[Callable[[Path, Records], object], str]] = {
    "two models": (mixed, "episodes of several runs: their model is"),
    "two models, no settings": (lambda f, r: (mixed(f, r), bare(f)), "episodes of several runs: their model is"),
    "one of no model": (lambda f, r: r[2].update(model_hash=""), "episodes of several runs: their model is"),
    "all of no model": (lambda f, r: [one.update(model_hash="") for one in r], "settings beside it are another run's"),
    "another model's settings": (lambda f, r: mixed(f, r, 0), "settings beside it are another run's: their model is"),
    "settings of another mode": (lambda f, r: retold(f, strategy="react"), "another run's: their strategy is react"),
    "settings of another sandbox": (lambda f, r: retold(f, sandbox="reference"), "another run's: their sandbox is"),
    "settings changed": (lambda f, r: retold(f, trials=3, seed=7), "were changed since the run wrote them"),
    "settings changed with their hash": (lambda f, r: retold(f, True, seed=7), "another run's: their model is"),
    "two users": (lambda f, r: swap(r), f"2 of {len(CASES)} episodes {_OTHERS}"),
    "two users, no settings": (lambda f, r: (swap(r), bare(f)), _OTHERS),
    "two instructions": (lambda f, r: swap(r, other=1), _OTHERS),
    "two dialogues": (lambda f, r: swap(r, "messages"), _WRONG),
    "two hashes": (lambda f, r: swap(r, "prompt_hash"), _OTHERS),
    "two dialogues of no hash": (lambda f, r: (swap(r, "messages"), r[0].update(prompt_hash="")), _WRONG),
    "another request": (lambda f, r: r[0]["messages"][1].update(content="Hello"), _OTHERS),
    "no dialogue": (lambda f, r: r[0].update(messages=[]), _WRONG),
    "another source, no settings": (of_one_tool, _OTHERS),
}
READERS: dict[str, Callable[[Path], object]] = {
    "check": lambda path: Etapp().check(str(path)),
    "judge": lambda path: Etapp().judge(str(path), estimate=True),
    "report": lambda path: Etapp().report(str(path), out=str(path.parent / "page")),
    "export_sft": lambda path: Etapp().export_sft(str(path), str(path.parent / "sft.json"), checks="any"),
    "score": lambda path: score("etapp", str(path), "mini", "strict"),
}


@pytest.fixture(scope="module")
def gold(tmp_path_factory: pytest.TempPathFactory) -> Path:
    return go(tmp_path_factory.mktemp("run") / "a.jsonl")


@pytest.fixture
def whole(gold: Path, tmp_path: Path) -> Path:
    for path in gold.parent.iterdir():
        shutil.copy(path, tmp_path)
    return tmp_path / "a.jsonl"


@pytest.mark.parametrize("spoil", SPOILT)
def test_a_mixed_file_is_refused_by_every_reader(spoil: str, whole: Path) -> None:
    change, told = SPOILT[spoil]
    records = read(whole)
    change(whole.parent, records)
    put(whole, records)
    before = {path: path.read_bytes() for path in whole.parent.iterdir()}
    for name, reads in READERS.items():
        with pytest.raises(DataError, match=told) as error:
            reads(whole)
        assert "\n" not in error.value.message, name
        assert {path: path.read_bytes() for path in whole.parent.iterdir() if path.is_file()} == before, name


@pytest.mark.parametrize("reader", READERS)
def test_what_the_table_spoils_is_whole(reader: str, whole: Path) -> None:
    READERS[reader](whole)


def test_a_run_of_no_known_model_is_read_with_a_note(whole: Path) -> None:
    bare(whole.parent)
    put(whole, [one | {"model_hash": "", "prompt_hash": ""} for one in read(whole)])
    file, acted = read_acted(SOURCE, whole)
    assert len(acted) == len(CASES)
    assert any("say nothing of the model" in note for note in file.notes)
