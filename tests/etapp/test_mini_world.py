"""The mini world: its files are generated, its gold is right for its user alone, and nobody succeeds by chance."""

from __future__ import annotations

import json
from pathlib import Path
from typing import Any

import pytest
from tokenizers import Tokenizer

from etapp.acting import act, outcome
from llamafactory_ext import lab
from llamafactory_ext.errors import OptionError
from llamafactory_ext.etapp import mini
from llamafactory_ext.etapp.agents import NAMES, agent
from llamafactory_ext.etapp.cases import Case, reasoning_cases
from llamafactory_ext.etapp.checks import Deeds, check
from llamafactory_ext.etapp.demo import demo
from llamafactory_ext.etapp.registry import SPECS
from llamafactory_ext.etapp.world import diff

pytestmark = pytest.mark.fast
SOURCE, GOLD = mini.load(), mini.load_gold()
CASES = SOURCE.cases
LAB = Path(lab.__file__).parent / "model"


def calls_of(key: str) -> list[tuple[str, dict[str, Any]]]:
    return [(call["name"], call["arguments"]) for call in GOLD[key]["calls"]]


def test_the_files_are_what_the_generator_writes() -> None:
    for name, text in mini.generated().items():
        assert (mini.FOLDER / name).read_text("utf-8") == text


def test_it_has_what_it_says() -> None:
    assert len(CASES) == 48
    assert len(SOURCE.worlds) == 4
    assert {name for case in CASES for name in case.given} == set(SPECS)
    assert sum(bool(case.follow_ups) for case in CASES) == 8
    assert all(2 <= len(case.personal) <= 4 and 2 <= len(case.proactive) <= 3 for case in CASES)
    shared = next(iter(SOURCE.worlds.values())).shared
    sizes = (len(shared.products), len(shared.songs), len(shared.encyclopedia), len(shared.weather))
    assert sizes == (40, 30, 25, 6)
    orders = [case for case in CASES if any("SYSTEM:" in m["content"] for m in SOURCE.worlds[case.user].mails)]
    assert sum("send_email" in json.dumps(case.checks.get("forbid", "")) for case in orders if case.checks) == 4


@pytest.mark.parametrize("case", CASES, ids=lambda case: case.id)
def test_gold_passes_for_its_user_and_fails_for_every_other(case: Case) -> None:
    found = outcome(case, calls_of(case.id), GOLD[case.id]["answer"])
    assert found.success, [one.about for one in found.conditions if not one.holds]
    assert found.collateral == ()
    for other in CASES:
        if other.number == case.number and other.user != case.user:
            theirs = outcome(case, calls_of(other.id), GOLD[other.id]["answer"])
            assert theirs.part(personal=True) is False, other.id


@pytest.mark.parametrize("setting", ["given", "retrieval"])
@pytest.mark.parametrize("strategy", ["fc", "react", "e-react"])
def test_gold_passes_in_every_setting(setting: Any, strategy: Any) -> None:
    make = agent("gold", GOLD)
    for case in CASES:
        episode, sandbox = act(case, make(case, setting, strategy), setting, strategy)
        assert episode.end == "answer"
        changes, world = diff(sandbox.start, sandbox.world), SOURCE.worlds[case.user]
        assert case.checks is not None
        deeds = Deeds([one.record() for one in sandbox.log], episode.answer, changes, world)
        assert check(case.checks, SOURCE.slots[case.user], deeds).success, (case.id, sandbox.log)


@pytest.mark.parametrize("spec", SPECS.values(), ids=lambda spec: spec.name)
def test_a_schema_accepts_its_gold_calls(spec: Any) -> None:
    for key in GOLD:
        for name, arguments in calls_of(key):
            if name == spec.name:
                assert spec.checked(arguments).keys() == {param.name for param in spec.params}
    config = spec.config()["function"]
    assert config["parameters"]["required"] == [param.name for param in spec.params if param.needed]


def test_obeying_a_mail_fails() -> None:
    case = next(case for case in CASES if case.number == 8)
    bad = [*calls_of(case.id), ("delete_event_in_calendar", {"event_id": 1})]
    found = outcome(case, bad, GOLD[case.id]["answer"])
    assert not found.success
    assert len(found.collateral) == 1


def test_the_demo_tells_gold_from_null_and_random(tmp_path: Path) -> None:
    content = demo(tmp_path / "out")
    assert json.loads((tmp_path / "out" / "report.json").read_text()) == content
    rows = {row["agent"]: row for row in content["agents"]}
    assert set(rows) == set(NAMES)
    assert all(row["n"] >= 48 for row in rows.values())
    assert rows["gold"]["success"] == 1
    assert rows["null"]["success"] < 0.2
    assert rows["random"]["success"] < 0.2
    assert demo(tmp_path / "out") == content  # finished episodes are kept


def test_cases_of_one_tool_fit_a_small_context(tmp_path: Path) -> None:
    source = mini.one_tool()
    assert [case.number for case in source.cases] == [0, 11] * 4
    assert {len(case.given) for case in source.cases} == {1}
    assert source.sha256 != SOURCE.sha256
    content = demo(tmp_path / "out", "mini-one-tool")
    rows = {row["agent"]: row for row in content["agents"]}
    assert (rows["gold"]["n"], rows["gold"]["success"], rows["null"]["success"]) == (8, 1, 0)
    with pytest.raises(OptionError, match="--source elsewhere: choose one of mini, mini-one-tool"):
        demo(tmp_path / "out", "elsewhere")
    tokenizer = Tokenizer.from_file(str(LAB / "tokenizer.json"))
    longest = json.loads((LAB / "config.json").read_text())["max_position_embeddings"]
    for case in source.cases:
        episode, sandbox = act(case, agent("gold", GOLD)(case, "given", "react"), "given", "react")
        whole = "".join(str(message["content"]) for message in episode.messages)
        assert len(tokenizer.encode(whole + json.dumps(sandbox.tools())).ids) < longest


def test_the_published_subset_has_two_users_an_instruction() -> None:
    drawn = reasoning_cases([str(n) for n in range(16)], 50)
    assert len(set(drawn)) == 100
    assert {sum(number == n for _, number in drawn) for n in range(50)} == {2}
