"""Training data: good episodes alone, read back by our reader, failed calls as errors, no case for testing."""

from __future__ import annotations

import json
import threading
from pathlib import Path
from typing import Any

import pytest

from etapp.acting import saying
from llamafactory_ext.checkpoint.locks import folder_locked
from llamafactory_ext.commands.etapp import Etapp
from llamafactory_ext.data.checks.audit import audit
from llamafactory_ext.data.entries import DataEntry
from llamafactory_ext.errors import DataError, OptionError
from llamafactory_ext.etapp.agents import agent
from llamafactory_ext.etapp.checking import read_acted
from llamafactory_ext.etapp.export import Wanted, export, read_ids, split
from llamafactory_ext.etapp.mini import load, load_gold
from llamafactory_ext.etapp.run import RunOptions, run
from llamafactory_ext.metrics.report import Verdict
from llamafactory_ext.tl.feedback import judge_calls
from llamafactory_ext.toolcalls import detect

pytestmark = pytest.mark.fast
SOURCE, GOLD = load(), load_gold()


def acted(path: Path, make: Any, cases: Any = SOURCE.cases, **options: Any) -> Any:
    run(SOURCE, cases, make, {}, RunOptions(quiet=True, **options), path)
    return read_acted(SOURCE, path)[1]


def exported(folder: Path, cases: Any, wanted: Wanted | None = None, verdicts: Any = None) -> list[Any]:
    out = folder / "data" / "etapp_sft.json"
    export(SOURCE, cases, verdicts or {}, wanted or Wanted(), out, folder / "p.jsonl")
    return list(json.loads(out.read_text()))


@pytest.mark.parametrize("sandbox", ["strict", "reference"])
@pytest.mark.parametrize("setting", ["given", "retrieval"])
@pytest.mark.parametrize("strategy", ["fc", "react", "e-react"])
@pytest.mark.parametrize("no_thought", [False, True])
def test_gold_is_exported_whole(tmp_path: Path, sandbox: str, setting: Any, strategy: Any, no_thought: bool) -> None:
    cases = acted(tmp_path / "p.jsonl", agent("gold", GOLD), sandbox=sandbox, setting=setting, strategy=strategy)
    rows = exported(tmp_path, cases, Wanted(no_thought=no_thought))
    no_reading = {case.id for case in SOURCE.cases if case.number == 2}  # B8: the published home is New York's
    assert {case.id for case in SOURCE.cases} - {row["id"] for row in rows} == (
        no_reading if sandbox == "reference" else set()
    )
    for row in rows:
        calls = [turn for turn in row["conversations"] if turn["from"] == "function_call"]
        gold = GOLD[row["id"]]
        made = [found.call for turn in calls for found in detect(turn["value"])]
        assert [(call.name, dict(call.arguments)) for call in made if call.name != "get_tool_doc"] == [
            (call["name"], call["arguments"]) for call in gold["calls"]
        ]
        assert row["conversations"][-1] == {"from": "gpt", "value": gold["answer"]}
        assert row["conversations"][0]["from"] == "human"
        assert (row["mark"], row["task"]) == ("tool", "etapp")
        assert any("I need" in turn["value"] for turn in calls) == (strategy != "fc" and not no_thought)
    entry = json.loads((tmp_path / "data" / "dataset_info.json").read_text())["etapp_sft"]
    assert entry["formatting"] == "sharegpt"


def test_the_data_check_finds_nothing_wrong(tmp_path: Path) -> None:
    cases = acted(tmp_path / "p.jsonl", agent("gold", GOLD), strategy="react")
    exported(tmp_path, cases)
    found = audit(DataEntry.named("etapp_sft", tmp_path / "data"))
    assert (found.lines(), found.records) == ([], 48)


@pytest.mark.parametrize("sandbox", ["strict", "reference"])
@pytest.mark.parametrize("strategy", ["fc", "react"])
def test_failed_calls_stay_as_errors(tmp_path: Path, sandbox: str, strategy: Any) -> None:
    case = SOURCE.cases[0]
    gold = [(call["name"], call["arguments"]) for call in GOLD[case.id]["calls"]]
    bad = ("control_light_in_home", {"action": "dim", "location": "kitchen"})
    ask = lambda *_: saying([bad, *gold], "done", strategy)  # noqa: E731
    cases = acted(tmp_path / "p.jsonl", ask, [case], sandbox=sandbox, strategy=strategy)
    (row,) = exported(tmp_path, cases)
    first, second = [category for _, category in judge_calls(row["conversations"])]
    assert (first is not None, second) == (True, None)
    assert sandbox == "reference" or first == "Tool Call Failure"


def test_what_is_left_out(tmp_path: Path) -> None:
    null = acted(tmp_path / "null.jsonl", lambda *_: saying([], "hello"), SOURCE.cases[:4])
    with pytest.raises(DataError, match="fails its checks 4"):
        exported(tmp_path, null)
    assert len(exported(tmp_path, null, Wanted(checks="any"))) == 4
    gold = acted(tmp_path / "gold.jsonl", agent("gold", GOLD), SOURCE.cases[:4])
    scores = [(4, 4, 3), (3, 5, 5), (5, 5, 2), None]
    verdicts = {
        one.case.id: Verdict(
            one.case.id,
            {},
            parsed=score is not None,
            detail=json.dumps(dict(zip(("procedure", "personalization", "proactivity"), score or (), strict=False))),
        )
        for one, score in zip(gold, scores, strict=True)
    }
    assert [row["id"] for row in exported(tmp_path, gold, Wanted(), verdicts)] == [gold[0].case.id]


def test_cases_for_testing_are_refused(tmp_path: Path) -> None:
    train, test = split(SOURCE, 8, seed=0)
    assert (len(train), len(test)) == (32, 16)
    assert {key.partition(":")[0] for key in test} == set(SOURCE.worlds)
    assert not {key.rpartition(":")[2] for key in train} & {key.rpartition(":")[2] for key in test}
    assert split(SOURCE, 8, seed=0) == (train, test)
    (tmp_path / "test.txt").write_text("\n".join(test))
    wanted = Wanted(held_out=read_ids(tmp_path / "test.txt", SOURCE.by_id))
    cases = acted(tmp_path / "p.jsonl", agent("gold", GOLD))
    with pytest.raises(DataError, match="16 cases are held out"):
        exported(tmp_path, cases, wanted)
    assert len(exported(tmp_path, [one for one in cases if one.case.id in train], wanted)) == 32
    with pytest.raises(OptionError, match="give 1 to 11"):
        split(SOURCE, 12, seed=0)


def test_a_split_by_user(tmp_path: Path) -> None:
    train, test = split(SOURCE, 2, seed=0, by="user")
    assert (len(train), len(test)) == (24, 24)
    users = [{key.partition(":")[0] for key in part} for part in (train, test)]
    assert users[0] | users[1] == set(SOURCE.worlds)
    assert not users[0] & users[1]
    for wrong, told in ((4, "give 1 to 3"), (0, "has 4 users")):
        with pytest.raises(OptionError, match=told):
            split(SOURCE, wrong, seed=0, by="user")
    with pytest.raises(OptionError, match="--by tool: choose instruction or user"):
        split(SOURCE, 2, seed=0, by="tool")


@pytest.mark.parametrize("by", ["user", "instruction"])
def test_of_two_splits_at_once_the_second_finds_the_first(by: str, tmp_path: Path) -> None:
    """Between its look at the lists and its writing no other split writes."""
    out, said = tmp_path / "lists", []

    def other() -> None:
        try:
            Etapp().split(str(out), 2, seed=1, by=by)
        except OptionError as error:
            said.append(error.message)

    out.mkdir()
    thread = threading.Thread(target=other)
    with folder_locked(out):
        thread.start()
        thread.join(0.5)
        assert not [*out.glob("*.txt")]
        Etapp().split(str(out), 2, seed=0, by=by)
        lists = [(out / name).read_text() for name in ("train.txt", "test.txt")]
    thread.join()
    assert len(said) == 1
    assert "is the list of another split" in said[0]
    assert [(out / name).read_text() for name in ("train.txt", "test.txt")] == lists
    assert not set(lists[0].split()) & set(lists[1].split())


def test_splits_in_a_row_are_those_of_one_command(tmp_path: Path) -> None:
    threads = [threading.Thread(target=Etapp().split, args=(str(tmp_path / "lists"), 2)) for _ in range(4)]
    [thread.start() for thread in threads]
    [thread.join() for thread in threads]
    lists = [(tmp_path / "lists" / name).read_text().split() for name in ("train.txt", "test.txt")]
    assert (lists[0], lists[1]) == split(SOURCE, 2, 0)


def test_gold_of_some_users_is_exported_by_command(tmp_path: Path) -> None:
    etapp = Etapp()
    acted(tmp_path / "gold.jsonl", agent("gold", GOLD))
    etapp.split(str(tmp_path), 2, by="user")
    given = {"predictions": str(tmp_path / "gold.jsonl"), "held_out": str(tmp_path / "test.txt")}
    with pytest.raises(DataError, match="--cases"):
        etapp.export_sft(**given, out=str(tmp_path / "data" / "gold.json"))
    etapp.export_sft(**given, cases=str(tmp_path / "train.txt"), out=str(tmp_path / "data" / "gold.json"))
    rows = json.loads((tmp_path / "data" / "gold.json").read_text())
    assert {row["id"] for row in rows} == set((tmp_path / "train.txt").read_text().split())
