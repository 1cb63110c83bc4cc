"""A run keeps every case, goes on where it was killed, and mixes nothing of another run in."""

from __future__ import annotations

import json
import os
import random
import signal
import time
from dataclasses import replace
from pathlib import Path
from typing import Any

import pytest
from hypothesis import example, given, settings
from hypothesis import strategies as st

from etapp.acting import act, saying
from llamafactory_ext.errors import DataError, OptionError
from llamafactory_ext.etapp.agents import agent
from llamafactory_ext.etapp.cases import Case
from llamafactory_ext.etapp.checking import read_acted, report_of, values_of
from llamafactory_ext.etapp.episodes import fault_of
from llamafactory_ext.etapp.mini import load, load_gold, one_tool
from llamafactory_ext.etapp.prompts import FEEDBACK
from llamafactory_ext.etapp.run import RunOptions, run, searching
from llamafactory_ext.etapp.sandbox import UNREADABLE
from llamafactory_ext.etapp.strategies import Ask, Said, record
from llamafactory_ext.metrics.predictions import read_predictions
from llamafactory_ext.serving.agent.dialogue import PromptTooLongError
from metrics.benchmarks.api_bank.test_execution import embedder_folder
from sampling import ALL as EVERYTHING

pytestmark = pytest.mark.fast
SOURCE, GOLD = load(), load_gold()
CASES = SOURCE.cases
ALARMS = ("view_today_alarms", {})


def model(name: str = "gold", seed: int = 0) -> Any:
    return agent(name, GOLD, seed)


def figures(path: Path) -> Any:
    file, acted = read_acted(SOURCE, path)
    return report_of(SOURCE, file, acted, len(CASES)).figures


def go(path: Path, name: str = "random", cases: Any = CASES, **options: Any) -> Path:
    chosen = {"quiet": True, "concurrency": 2, **options}
    return run(SOURCE, cases, model(name), {"model": name}, RunOptions(**chosen), path)


def test_trials_of_a_scripted_agent_are_equal(tmp_path: Path) -> None:
    path = go(tmp_path / "a.jsonl", "gold", trials=3)
    found = read_predictions(path).predictions
    assert len(found) == 3 * len(CASES)
    assert len({one.id for one in found}) == len(found)
    by_case: dict[str, set[str]] = {}
    for one in found:
        assert one.episode is not None
        by_case.setdefault(one.id.partition("@")[0], set()).add(json.dumps(one.episode["calls"]))
    assert {len(different) for different in by_case.values()} == {1}
    named = {figure.name: figure.value for figure in figures(path)}
    assert named["pass^2"] == named["pass^3"] == named["SR"] == 1


def test_the_order_of_cases_does_not_matter(tmp_path: Path) -> None:
    one = go(tmp_path / "a.jsonl")
    other = go(tmp_path / "b.jsonl", cases=CASES[::-1], concurrency=1)
    assert figures(one) == figures(other)


def test_kills(tmp_path: Path) -> None:
    """Killed at any moment and gone on with: no case lost or twice, the same figures."""
    whole = figures(go(tmp_path / "whole.jsonl"))
    dice = random.Random(0)
    path = tmp_path / "killed.jsonl"
    for _ in range(50 if EVERYTHING else 6):
        child = os.fork()
        if child == 0:
            go(path, concurrency=1)
            os._exit(0)
        time.sleep(dice.random() * 0.5)
        os.kill(child, signal.SIGKILL)
        os.waitpid(child, 0)
    go(path)
    ids = [json.loads(line)["id"] for line in path.read_text("utf-8").splitlines()]
    assert sorted(ids) == sorted(case.id for case in CASES)
    assert figures(path) == whole


def test_a_torn_line_is_cut_and_asked_again(tmp_path: Path) -> None:
    path = go(tmp_path / "a.jsonl", cases=CASES[:4])
    whole = path.read_bytes()
    path.write_bytes(whole[:-100])
    go(path, cases=CASES[:4])
    lines = [json.loads(line) for line in path.read_text("utf-8").splitlines()]
    assert {line["id"] for line in lines} == {case.id for case in CASES[:4]}


@pytest.mark.parametrize(
    ("options", "what"),
    [({"setting": "retrieval"}, "setting was"), ({"faults": 0.25}, "faults was"), ({"trials": 2}, "trials was")],
)
def test_another_setting_is_refused(tmp_path: Path, options: dict[str, Any], what: str) -> None:
    path = go(tmp_path / "a.jsonl", "gold", CASES[:3])
    before = path.read_bytes()
    with pytest.raises(OptionError, match=what):
        go(path, "gold", CASES[:3], **options)
    with pytest.raises(OptionError, match="model was"):
        go(path, "null", CASES[:3])
    assert path.read_bytes() == before


def test_two_writers(tmp_path: Path) -> None:
    path = tmp_path / "a.jsonl"

    def ask(case: Case, setting: Any, strategy: Any) -> Ask:
        with pytest.raises(OptionError, match="another run writes"):
            go(path, "gold", CASES[:2])
        return saying([], "hello")

    run(SOURCE, CASES[:2], ask, {"model": "gold"}, RunOptions(quiet=True, concurrency=1), path)
    assert len(path.read_text("utf-8").splitlines()) == 2


def test_an_error_of_one_case_ends_no_other(tmp_path: Path) -> None:
    path = tmp_path / "a.jsonl"

    def broken(case: Case, setting: Any, strategy: Any) -> Ask:
        def ask(*_: Any) -> Said:
            raise DataError("the server refuses a request (400): no")

        return ask if case.id == CASES[1].id else saying([], "hello")

    options = RunOptions(quiet=True, concurrency=2)
    with pytest.raises(DataError, match=f"1 cases had errors, the first {CASES[1].id}: the server refuses"):
        run(SOURCE, CASES[:5], broken, {"model": "gold"}, options, path)
    assert len(read_predictions(path).predictions) == 4
    run(SOURCE, CASES[:5], lambda *_: saying([], "hello"), {"model": "gold"}, options, path)
    assert len(read_predictions(path).predictions) == 5


def test_a_model_that_is_gone_keeps_what_others_gave(tmp_path: Path) -> None:
    path = tmp_path / "a.jsonl"

    def gone(case: Case, setting: Any, strategy: Any) -> Ask:
        def ask(*_: Any) -> Said:
            raise OptionError("the server cannot be reached")

        return ask if case.id == CASES[3].id else saying([], "hello")

    with pytest.raises(OptionError, match=r"cases are kept in .*a\.jsonl; run the same command to go on"):
        run(SOURCE, CASES[:6], gone, {"model": "gold"}, RunOptions(quiet=True, concurrency=1), path)
    assert len(read_predictions(path).predictions) >= 3


@pytest.mark.parametrize("strategy", ["fc", "react"])
def test_an_agent_that_never_stops(strategy: Any) -> None:
    case = next(case for case in CASES if case.number == 0)
    episode, sandbox = act(case, saying([ALARMS] * 1000, "", strategy), strategy=strategy, turns=7)
    assert (episode.end, episode.turns, episode.answer) == ("turns", 7, "")
    assert len(sandbox.log) == 7  # those of the last reply, too
    episode, sandbox = act(case, saying([ALARMS] * 1000, "", strategy), strategy=strategy, turns=99, calls=12)
    assert (episode.end, len(sandbox.log)) == ("calls", 12)


def test_many_calls_in_one_reply() -> None:
    case = next(case for case in CASES if case.number == 0)
    call = {"id": "1", "type": "function", "function": {"name": "view_today_alarms", "arguments": ""}}

    def ask(count: int) -> Ask:
        return lambda *_: Said({"role": "assistant", "content": "", "tool_calls": [call] * count})

    assert act(case, ask(10), turns=2)[0].end == "turns"
    episode, sandbox = act(case, ask(11), turns=2)
    assert (episode.end, sandbox.log) == ("calls", [])
    assert act(case, ask(10_000))[0].end == "calls"


@pytest.mark.parametrize(
    ("arguments", "is_read"),
    [
        ("{}", True),
        ("", True),
        ("null", True),
        ("{'start_time': '2025-03-04', 'end_time': '2025-03-05'}", True),
        ("[1]", False),
        ("__import__('os').system('true')", False),
        ("[x for x in (1,) * 10**9]", False),
        ('{"a": tool_manager}', False),
        ('{"a": NaN}', False),
        ('{"a": 1e400}', False),
        ('{"a": ' + "1" * 5000 + "}", False),
        ('{"a": ' * 200 + "1" + "}" * 200, False),
        ('{"a": "\\ud800"}', False),
        ("{" + " " * (1 << 20) + "}", False),
        ('{"a": 1} and more', False),
        ('{"a": "' + "x" * 5_000_000 + '"}', False),
        ('{"a": "\\u0000", "self": 1, "tool_name": 2, "__class__": 3}', True),
        ("\x00", False),
    ],
)
def test_arguments_are_read_and_never_run(arguments: str, is_read: bool) -> None:
    case = next(case for case in CASES if case.number == 6)
    name = "view_events_in_calendar_by_providing_time_range"
    call = {"id": "1", "type": "function", "function": {"name": name, "arguments": arguments}}
    _, sandbox = act(case, lambda *_: Said({"role": "assistant", "content": "", "tool_calls": [call]}), turns=1)
    assert (sandbox.log[0].failed != UNREADABLE) == is_read


def test_react_reads_one_call_and_cuts_what_it_invents() -> None:
    case = next(case for case in CASES if case.number == 0)
    texts = [
        f"Thought: look\nAction: view_today_alarms\nAction Input: {{}}\n{FEEDBACK} none\nFinal Answer: forged",
        "Action: view_today_alarms\nAction Input: {}\nFinal Answer: too early",
        "Action: view_today_alarms\nAction Input: {oh no",
        "Thought: all is well\nFinal Answer: It is late.",
    ]
    said = iter(texts)
    ask: Ask = lambda *_: Said({"role": "assistant", "content": next(said)})  # noqa: E731
    episode, sandbox = act(case, ask, strategy="react")
    assert [call.failed for call in sandbox.log] == [None, None, UNREADABLE]
    assert (episode.invented_feedback, episode.premature_answers) == (1, 1)
    assert (episode.end, episode.answer) == ("answer", "It is late.")
    assert "forged" not in json.dumps(episode.messages)


LONG = (
    "Action: x\n",
    "Action: x\nAction Input: {",
    "{",
    "Final Answer: ",
    'Action: add_alarm\nAction Input: {"a":',
    FEEDBACK,
)


@pytest.mark.parametrize("piece", LONG)
def test_a_long_reply_is_read_up_to_a_length(piece: str) -> None:
    case = next(case for case in CASES if case.number == 0)
    text = piece * ((1 << 20) // len(piece))
    episode, _ = act(case, lambda *_: Said({"role": "assistant", "content": text}), strategy="react", turns=1)
    assert episode.end in ("answer", "turns")
    assert len(str(episode.messages[2]["content"])) <= 1 << 16


PIECES = ("Thought: ", "Action: ", "Action Input: ", "Final Answer: ", FEEDBACK, "view_today_alarms", "add_alarm")
PIECES += ('{"message": "m", "alarm_time": "2025-03-05 07:00"}', "{'a': None}", "{}", "{", "}", '"', "\\", "\n", " ")
PIECES += ("\x00", "é")


@settings(max_examples=20_000 if EVERYTHING else 200, deadline=None, derandomize=True)
@given(
    replies=st.lists(st.lists(st.sampled_from(PIECES), max_size=12).map("".join), min_size=3, max_size=3),
    strategy=st.sampled_from(["react", "e-react"]),
)
@example(["", "Action: Thought: Action Input: Action: Thought: Action Input: ", ""], "e-react")
def test_any_replies_end_in_an_episode(replies: list[str], strategy: Any) -> None:
    case = next(case for case in CASES if case.number == 6)
    said = iter([*replies, *["Final Answer: done"] * 2])
    ask: Ask = lambda *_: Said({"role": "assistant", "content": next(said)})  # noqa: E731
    episode, sandbox = act(case, ask, strategy=strategy, turns=3)
    assert episode.end in ("answer", "turns")
    kept = json.loads(json.dumps(record(episode, sandbox, "given", strategy, "strict", 0)))
    assert fault_of(kept, [*episode.messages]) is None


def test_two_lines_of_one_case(tmp_path: Path) -> None:
    path = go(tmp_path / "a.jsonl", "gold", CASES[:2])
    text = path.read_text()
    path.write_text(text + text.splitlines()[0] + "\n")
    file, acted = read_acted(SOURCE, path)
    assert len(acted) == 2
    assert any("line 3" in note for note in file.notes)
    other = json.loads(text.splitlines()[0]) | {"prediction": "another"}
    path.write_text(text + json.dumps(other) + "\n")
    with pytest.raises(DataError, match=r"line 3: .* was answered differently on line 1"):
        read_acted(SOURCE, path)


@pytest.mark.parametrize("times", [2, 3, 4, 50])
def test_many_repeated_lines_are_told_in_a_few(times: int, tmp_path: Path) -> None:
    path = go(tmp_path / "a.jsonl", "gold", CASES[:1])
    path.write_text(path.read_text() * times)
    notes = [note for note in read_acted(SOURCE, path)[0].notes if "repeat" in note]
    assert len(notes) == (times - 1 if times < 5 else 2)
    assert "line 2: repeats line 1" in notes[0]
    assert times < 5 or f"{times - 2} more lines repeat earlier ones" in notes[1]


def test_a_file_of_other_cases_is_told(tmp_path: Path) -> None:
    """Other prompts are refused; the same ones of a source that changed elsewhere are read with a note."""
    path = run(one_tool(), one_tool().cases, model(), {}, RunOptions(quiet=True), tmp_path / "a.jsonl")
    told = "the run read other cases than mini has now"
    with pytest.raises(DataError, match=rf"{told}: 8 of 8 episodes answer other prompts.*--source of the run"):
        read_acted(SOURCE, path)
    assert not any(told in note for note in read_acted(one_tool(), path)[0].notes)
    other = go(tmp_path / "b.jsonl", "gold", CASES[:3])
    with pytest.raises(DataError, match="has no case"):
        read_acted(one_tool(), other)
    changed = replace(SOURCE, sha256="changed")
    assert any("the run read other cases" in note for note in read_acted(changed, other)[0].notes)


def test_a_full_context_ends_the_case(tmp_path: Path) -> None:
    case = CASES[0]

    def full(messages: Any, tools: Any, tokens: int) -> Said:
        if len(messages) > 2:
            raise PromptTooLongError("too long")
        return saying([ALARMS], "")(messages, tools, tokens)

    assert act(case, full)[0].end == "context"

    def at_once(*_: Any) -> Said:
        raise PromptTooLongError("too long")

    path = run(SOURCE, CASES[:1], lambda *_: at_once, {}, RunOptions(quiet=True), tmp_path / "a.jsonl")
    (only,) = read_predictions(path).predictions
    assert only.episode is not None
    assert only.episode["end"] == "context"


def test_the_user_says_more_if_something_has_not_happened() -> None:
    case = next(case for case in CASES if case.number == 4)
    calls = [(call["name"], call["arguments"]) for call in GOLD[case.id]["calls"]]
    assert act(case, saying(calls, "done"))[0].follow_ups == 0
    episode, _ = act(case, saying(calls[:2], "done"))
    assert (episode.follow_ups, episode.end) == (1, "answer")
    assert [m["content"] for m in episode.messages if m["role"] == "user"][1] == case.follow_ups[0]["say"]


def test_options_that_cannot_be() -> None:
    with pytest.raises(OptionError) as error:
        RunOptions(setting="x", strategy="y", sandbox="z", trials=0, faults=1)  # type: ignore[arg-type]
    assert all(f"--{name}" in error.value.message for name in ("setting", "strategy", "sandbox", "trials", "faults"))


def test_scores_are_means_over_trials(tmp_path: Path) -> None:
    path = go(tmp_path / "a.jsonl", "gold", CASES[:2], trials=2)
    _, acted = read_acted(SOURCE, path)
    assert set(values_of(acted, "SR").values()) == {1.0}


def test_an_embedder_searches_for_tools(tmp_path: Path) -> None:
    folder = embedder_folder(tmp_path / "embedder")
    options = searching(RunOptions(setting="retrieval", quiet=True), folder)
    said = [("search_tools", {"keywords": ["an alarm", "light"]}), ("get_tool_doc", {"tools_name": "add_alarm"})]
    for sandbox in ("strict", "reference"):
        path = tmp_path / f"{sandbox}.jsonl"
        ask = lambda *_: saying(said, "done")  # noqa: E731
        run(SOURCE, CASES[:1], ask, {}, replace(options, sandbox=sandbox), path)
        (only,) = read_predictions(path).predictions
        assert only.episode is not None
        found = only.episode["found"]
        assert 3 <= len(found) <= 6
        assert "search recall" in {figure.name for figure in figures(path)}
        with pytest.raises(OptionError, match="embedder was"):
            run(SOURCE, CASES[:1], ask, {}, RunOptions(setting="retrieval", sandbox=sandbox, quiet=True), path)
    with pytest.raises(OptionError, match="--embedder goes with --setting retrieval"):
        RunOptions(embedder="x")
    with pytest.raises(DataError, match="holds no model"):
        searching(RunOptions(setting="retrieval"), tmp_path)


def test_every_file_of_an_embedder_names_it(tmp_path: Path) -> None:
    folder = embedder_folder(tmp_path / "embedder")
    names = {searching(RunOptions(setting="retrieval"), folder).embedder}
    for path in sorted(folder.glob("*.json")):
        content = path.read_text("utf-8")
        path.write_text(content + "\n")
        names.add(searching(RunOptions(setting="retrieval"), folder).embedder)
        path.write_text(content)
    assert len(names) == 1 + len(list(folder.glob("*.json"))) > 2
