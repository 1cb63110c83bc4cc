"""A dialogue and its episode say the same: whatever a run writes passes, and each change of one of them is told."""

from __future__ import annotations

import copy
import json
import random
from collections.abc import Callable
from pathlib import Path
from typing import Any

import pytest

from etapp.acting import act, saying
from etapp.loop_scripts import KINDS, TURNS, scripts
from etapp.test_reference_loop import CASE, box, said
from llamafactory_ext.errors import DataError
from llamafactory_ext.etapp.agents import agent
from llamafactory_ext.etapp.checking import read_acted
from llamafactory_ext.etapp.episodes import fault_in, fault_of
from llamafactory_ext.etapp.export import Wanted, export
from llamafactory_ext.etapp.mini import load, load_gold
from llamafactory_ext.etapp.prompts import FEEDBACK
from llamafactory_ext.etapp.reference_loop import run_published
from llamafactory_ext.etapp.run import RunOptions, run
from llamafactory_ext.etapp.strategies import Ask, Limits, Said, record
from llamafactory_ext.metrics.predictions import Prediction, read_predictions

pytestmark = pytest.mark.fast
SOURCE, GOLD = load(), load_gold()
CASES = SOURCE.cases[:12]
MODES = [(sandbox, strategy) for sandbox in ("strict", "reference") for strategy in ("fc", "react", "e-react")]


@pytest.mark.parametrize(("setting", "strategy"), KINDS)
def test_every_dialogue_of_the_published_loop_passes(setting: Any, strategy: Any) -> None:
    for number, replies in enumerate(scripts(setting, strategy)):
        plan = [Said({"role": "assistant", "content": '{"p": []}'})] if strategy == "e-react" else []
        waiting, sandbox = iter([*plan, *map(said, replies)]), box(setting, strategy)
        ask: Ask = lambda *_, waiting=waiting: next(waiting)  # type: ignore[misc]  # noqa: E731
        done = run_published(CASE, sandbox, ask, setting, strategy, Limits(turns=TURNS))
        kept = json.loads(json.dumps(record(done, sandbox, setting, strategy, "reference", 0)))
        messages = json.loads(json.dumps(done.messages))
        assert fault_of(kept, messages, done.answer) is None, number


NAMES = ("view_today_alarms", "add_alarm", "control_light_in_home", "bake", "")
WRITTEN = ("{}", "", '{"action": "on", "location": "kitchen"}', "{'a': (1, 2)}", "[1]", "{oh no", '{"a": NaN}', "7")


@pytest.mark.parametrize("seed", range(40))
def test_every_dialogue_of_our_loop_passes(seed: int) -> None:
    """Random replies: several calls at once, calls that cannot be read, answers before the user says more, limits."""
    dice = random.Random(seed)
    case = SOURCE.cases[seed % 12]

    def ask(*_: Any) -> Said:
        calls = [
            {
                "id": dice.choice(("a", "b", None, 7)),
                "function": {"name": dice.choice(NAMES), "arguments": dice.choice(WRITTEN)},
            }
            for _ in range(dice.choice((0, 1, 1, 2, 3)))
        ]
        return Said({"role": "assistant", "content": dice.choice(("", "Done.", " so \n")), "tool_calls": calls}, 5)

    episode, sandbox = act(case, ask, turns=dice.randint(1, 6), calls=dice.randint(2, 9), tokens=dice.choice((9, 99)))
    kept = json.loads(json.dumps(record(episode, sandbox, "given", "fc", "strict", 0)))
    assert fault_of(kept, json.loads(json.dumps(episode.messages)), episode.answer) is None


def written(path: Path, sandbox: str, strategy: Any) -> list[dict[str, Any]]:
    options = RunOptions(sandbox=sandbox, strategy=strategy, quiet=True)
    run(SOURCE, CASES, agent("gold", GOLD), {}, options, path)
    return [json.loads(line) for line in path.read_text("utf-8").splitlines()]


def first(records: list[dict[str, Any]]) -> dict[str, Any]:
    """The first episode whose first call has an effect."""
    return next(one for one in records if (calls := one["episode"]["calls"]) and calls[0]["effect"])


def told(record: dict[str, Any]) -> str | None:
    return fault_in(Prediction.from_record(record))


@pytest.mark.parametrize(("sandbox", "strategy"), MODES)
def test_a_message_that_is_lost_or_doubled_is_told(sandbox: str, strategy: Any, tmp_path: Path) -> None:
    """Any message of any dialogue, the words of a plan aside."""
    for one in written(tmp_path / "a.jsonl", sandbox, strategy):
        assert told(one) is None
        for place in range(len(one["messages"])):
            shorter, longer = copy.deepcopy(one), copy.deepcopy(one)
            del shorter["messages"][place]
            longer["messages"].insert(place, longer["messages"][place])
            assert told(shorter) is not None, place
            assert told(longer) is not None, place


@pytest.mark.parametrize(("sandbox", "strategy"), MODES)
def test_a_call_that_is_lost_doubled_or_another_is_told(sandbox: str, strategy: Any, tmp_path: Path) -> None:
    for one in written(tmp_path / "a.jsonl", sandbox, strategy):
        for place, call in enumerate(one["episode"]["calls"]):
            shorter, longer, other = copy.deepcopy(one), copy.deepcopy(one), copy.deepcopy(one)
            del shorter["episode"]["calls"][place]
            longer["episode"]["calls"].insert(place, call)
            other["episode"]["calls"][place] |= {"name": "get_today_weather", "effect": None}
            assert told(shorter) is not None, place
            assert told(longer) is not None, place
            assert told(other) is not None or call["name"] == "get_today_weather", place
            if sandbox == "strict":
                other = copy.deepcopy(one)
                other["episode"]["calls"][place]["arguments"] = {"x": 1}
                assert told(other) is not None, place


Spoil = Callable[[dict[str, Any]], Any]


def call_of(one: dict[str, Any]) -> dict[str, Any]:
    found: dict[str, Any] = one["episode"]["calls"][0]
    return found


SPOILS: dict[str, tuple[Spoil, str]] = {
    "fails with an effect": (lambda one: call_of(one).update(failed="Others"), "fails, and has an effect"),
    "an unknown failure": (lambda one: call_of(one).update(failed="a\x1b[2Jb", effect=None), "no category"),
    "an empty failure": (lambda one: call_of(one).update(failed="", effect=None), "no category"),
    "no field for failures": (lambda one: call_of(one).pop("failed"), "the fields failed and effect"),
    "an empty effect": (lambda one: call_of(one).update(effect={}), '"effect" is not its tool'),
    "an effect without arguments": (lambda one: call_of(one)["effect"].pop("args"), '"effect" is not its tool'),
    "an effect of a number": (lambda one: call_of(one)["effect"].update(tool=5), '"effect" is not its tool'),
    "an effect of another tool": (lambda one: call_of(one)["effect"].update(tool="add_alarm_"), '"effect" is not'),
    "an argument of an effect": (lambda one: call_of(one)["effect"]["args"].update(message="x"), '"effect" is not'),
    "an effect that lacks one": (lambda one: call_of(one)["effect"]["args"].popitem(), '"effect" is not its tool'),
    "an effect with more": (lambda one: call_of(one)["effect"].update(x=1), '"effect" is not its tool'),
    "arguments of an effect": (lambda one: call_of(one)["effect"].update(args=5), '"effect" is not its tool'),
    "NaN in an effect": (lambda one: call_of(one)["effect"]["args"].update(x=float("nan")), '"effect" is not its'),
    "NaN in arguments": (lambda one: call_of(one)["arguments"].update(x=float("nan")), "none that a call can have"),
    "an infinite argument": (lambda one: call_of(one)["arguments"].update(x=[float("inf")]), "none that a call can"),
    "a result of no tool": (lambda one: call_of(one).update(name="bake", effect=None), "of a tool that is none"),
    "a nameless call": (lambda one: call_of(one).update(name="", effect=None), "has no name"),
    "an unreadable call": (lambda one: call_of(one).update(failed="unreadable"), "cannot be read, and has"),
    "another end": (lambda one: one["episode"].update(end="\x1b[31mred"), '"end" is none of'),
    "an end that was none": (lambda one: one["episode"].update(end="calls"), ""),
    "more turns": (lambda one: one["episode"].update(turns=one["episode"]["turns"] + 2), "turns"),
    "no turns": (lambda one: one["episode"].update(turns=0), "turns"),
    "a turn of a call": (lambda one: call_of(one).update(turn=99), "another turn"),
    "another trial": (lambda one: one["episode"].update(trial=5), "another trial than its id"),
    "a trial that is none": (lambda one: one["episode"].update(trial="x"), "another trial than its id"),
    "a change that is none": (lambda one: one["episode"].update(diff=[1, 2]), 'change 1 of "diff"'),
    "a change of two": (lambda one: one["episode"].update(diff=[["home/x", 1]]), 'change 1 of "diff"'),
    "a change elsewhere": (lambda one: one["episode"].update(diff=[["a\x1b", 1, 2]]), 'change 1 of "diff"'),
    "a plan that is none": (lambda one: one["episode"].update(plan=7), '"plan" is not'),
    "follow-ups": (lambda one: one["episode"].update(follow_ups=3), "another number"),
    "no messages": (lambda one: one.update(messages=None), "does not begin with"),
    "another role": (lambda one: one["messages"][0].update(role="x"), "does not begin with"),
    "another prediction": (lambda one: one.update(prediction="Zzz"), "another answer than the prediction"),
    "a user who says more": (lambda one: one["messages"].append({"role": "user", "content": "go on"}), ""),
}


@pytest.mark.parametrize(("sandbox", "strategy"), [("strict", "fc"), ("strict", "react"), ("reference", "fc")])
@pytest.mark.parametrize("name", SPOILS)
def test_a_damaged_episode_is_named_by_every_reader(name: str, sandbox: str, strategy: Any, tmp_path: Path) -> None:
    spoil, why = SPOILS[name]
    path = tmp_path / "a.jsonl"
    records = written(path, sandbox, strategy)
    one = first(records)
    spoil(one)
    assert why in str(told(one))
    path.write_text("".join(json.dumps(one) + "\n" for one in records))
    for read in (
        lambda: read_acted(SOURCE, path),
        lambda: written(path, sandbox, strategy),
    ):
        with pytest.raises(DataError, match=rf"a\.jsonl: the episode of {one['id']} is damaged") as error:
            read()
        assert "\x1b" not in error.value.message
        assert "\n" not in error.value.message


def test_a_change_without_an_effect_is_told(tmp_path: Path) -> None:
    one = first(written(tmp_path / "a.jsonl", "strict", "fc"))
    for call in one["episode"]["calls"]:
        call["effect"] = None
    assert "changes something, and has no effect" in str(told(one))
    one["episode"]["calls"] = []
    assert "no call has an effect" in str(told(one))


WRONG = ("control_light_in_home", {"action": "dim", "location": "kitchen"})
LIGHT = ("control_light_in_home", {"action": "on", "location": "kitchen"})


@pytest.mark.parametrize("strategy", ["fc", "react"])
def test_a_call_that_failed_has_no_result_by_a_stroke_of_the_pen(strategy: Any) -> None:
    case = next(case for case in SOURCE.cases if WRONG[0] in case.given)
    episode, sandbox = act(
        case, saying([WRONG, LIGHT, ("view_today_alarms", {})], "Done.", strategy), strategy=strategy
    )
    kept = json.loads(json.dumps(record(episode, sandbox, "given", strategy, "strict", 0)))
    messages = [*episode.messages]
    assert fault_of(kept, messages, "Done.") is None
    for place, changes in (
        (0, {"failed": None}),
        (1, {"failed": "Others", "effect": None}),
        (2, {"failed": "Others"}),
    ):
        other = copy.deepcopy(kept)
        other["calls"][place] |= changes
        assert fault_of(other, messages, "Done.") is not None, place
    effect = {"tool": "control_light_in_home", "args": {"action": "dim", "location": "kitchen"}}
    kept["calls"][0] |= {
        "failed": None,
        "effect": effect | {"args": {**effect["args"], "brightness": 1, "color": "w"}},
    }
    assert fault_of(kept, messages, "Done.") is not None


def test_results_of_other_calls_are_told(tmp_path: Path) -> None:
    """Two results of one reply change places."""
    calls = [
        {"id": key, "type": "function", "function": {"name": name, "arguments": "{}"}}
        for key, name in (("a", "view_today_alarms"), ("b", "view_today_events_in_calendar"))
    ]
    replies = iter([{"content": "", "tool_calls": calls}, {"content": "Done."}])
    episode, sandbox = act(SOURCE.cases[0], lambda *_: Said({"role": "assistant", **next(replies)}))
    kept, messages = record(episode, sandbox, "given", "fc", "strict", 0), [*episode.messages]
    assert fault_of(kept, messages, "Done.") is None
    messages[3], messages[4] = messages[4], messages[3]
    assert "those of other calls" in str(fault_of(kept, messages, "Done."))


def test_a_dialogue_that_no_training_data_can_hold_is_left_out(tmp_path: Path) -> None:
    """The published loop goes on behind a reply of neither a call nor an answer; the others are exported."""

    def make(case: Any, setting: Any, strategy: Any) -> Ask:
        if case.id != CASES[0].id:
            return saying([], "done")
        finish = iter(["length", "stop"])
        return lambda *_: Said({"role": "assistant", "content": "so"}, finish=next(finish))

    path = tmp_path / "a.jsonl"
    run(SOURCE, CASES[:2], make, {}, RunOptions(sandbox="reference", quiet=True), path)
    done = export(SOURCE, read_acted(SOURCE, path)[1], {}, Wanted(checks="any"), tmp_path / "sft.json", path)
    assert (done.written, sum(done.left_out.values())) == (1, 1)
    assert "no turns of training data" in next(iter(done.left_out))


def test_an_answer_that_looks_like_a_call_takes_no_other_call(tmp_path: Path) -> None:
    """Behind it the user says more; the calls that follow are exported as they were made."""
    case = next(case for case in SOURCE.cases if case.number == 4)
    calls = [(call["name"], call["arguments"]) for call in GOLD[case.id]["calls"]]
    texts = iter(
        [
            *(f"Thought: t\nAction: {name}\nAction Input: {json.dumps(given)}" for name, given in calls[:2]),
            "Thought: it is done\nAction: none\nFinal Answer: done",
            *(f"Thought: t\nAction: {name}\nAction Input: {json.dumps(given)}" for name, given in calls[2:]),
            "Final Answer: done",
        ]
    )
    ask = lambda *_: lambda *_: Said({"role": "assistant", "content": next(texts)})  # noqa: E731
    path = tmp_path / "a.jsonl"
    run(SOURCE, [case], ask, {}, RunOptions(strategy="react", quiet=True), path)
    (only,) = read_predictions(path).predictions
    assert (only.episode or {})["follow_ups"] == 1
    export(SOURCE, read_acted(SOURCE, path)[1], {}, Wanted(checks="any"), tmp_path / "sft.json", path)
    (row,) = json.loads((tmp_path / "sft.json").read_text())
    made = [turn["value"] for turn in row["conversations"] if turn["from"] == "function_call"]
    assert [json.loads(text.partition("\n")[2])["name"] for text in made] == [name for name, _ in calls]
    assert FEEDBACK not in json.dumps(row["conversations"])
