"""BFCL's multi_turn files: gold is right, each kind of error is named, hostile trajectories cost themselves only."""

import json
from collections.abc import Mapping
from pathlib import Path
from typing import Any

import pytest

from llamafactory_ext.errors import DataError, ExtError, OptionError
from llamafactory_ext.metrics import Report, read_references, score
from llamafactory_ext.metrics.benchmarks.bfcl_multi_turn import score as scorer
from llamafactory_ext.metrics.report import Mode
from metrics.benchmarks.bfcl.small_checkout import TASKS, write_checkout, write_lines
from metrics.isolation import isolation_problem

pytestmark = pytest.mark.fast
DATA = "berkeley-function-call-leaderboard/bfcl_eval/data"
FIRST = "multi_turn_base_0"


@pytest.fixture(scope="module", autouse=True)
def _isolated() -> None:
    problem = isolation_problem()
    if problem is not None:
        pytest.skip(problem)


@pytest.fixture(scope="module")
def checkout(tmp_path_factory: pytest.TempPathFactory) -> Path:
    return write_checkout(tmp_path_factory.mktemp("gorilla"))


def scored(source: Path, work: Path, results: Mapping[str, Any], mode: Mode, **more: Any) -> Report:
    write_lines(work / "p.jsonl", [{"id": key, "prediction": result} for key, result in results.items()])
    return score("bfcl_multi_turn", work / "p.jsonl", source, mode, **more)


GOLD: Mapping[str, Any] = {
    FIRST: [[[{"mkdir": {"name": "a"}}], "Done."], [[{"ls": "{}"}, {"add": '{"a": 1, "b": 2}'}]]],
    "multi_turn_base_1": [["[write(name='b', content='ls is nice')]"], ["```\ncat(name='b')```", "It is nice."]],
    "multi_turn_miss_func_0": [["I cannot."], [{"mkdir": {"name": "a"}}]],
    "multi_turn_miss_param_0": [["[cat(name='a')]"], ["Write what?"]],
    "multi_turn_long_context_0": [["[ls()]"]],
}


@pytest.mark.parametrize("mode", ["official", "strict"])
def test_gold_is_right_in_every_form(checkout: Path, tmp_path: Path, mode: Mode) -> None:
    report = scored(checkout, tmp_path, GOLD, mode)
    assert [verdict.category for verdict in report.verdicts] == ["correct"] * 5
    names = {figure.name: (figure.value, figure.n) for figure in report.figures}
    groups = {f"accuracy ({group})": (1.0, len(tasks)) for group, tasks in TASKS.items()}
    assert names == {"accuracy": (1.0, 5), **groups}
    assert "Calls are stated as: Python calls 3, tool calls 2." in report.notes


STATE, RESPONSE, EMPTY = "instance_state_mismatch", "execution_response_mismatch", "empty_turn_model_response"
MADE, READ = [{"mkdir": {"name": "a"}}], [{"ls": {}}, {"add": {"a": 1, "b": 2}}]
CHANGED: Mapping[str, tuple[Any, str, str]] = {
    "nothing": ([[], []], EMPTY, STATE),
    "a dropped call": ([[MADE], [[{"ls": {}}]]], RESPONSE, RESPONSE),
    "another value": ([[[{"mkdir": {"name": "b"}}]], [READ]], STATE, STATE),
    "calls in another order": ([[MADE], [READ[::-1]]], "correct", "correct"),
    "one call a step": ([[MADE], [[one] for one in READ]], "correct", "correct"),
    "one more that changes nothing": ([[MADE, [{"ls": {}}]], [READ]], "correct", "correct"),
    "one more that changes something": ([[MADE, [{"mkdir": {"name": "c"}}]], [READ]], STATE, STATE),
    "turns in another order": ([[READ], [MADE]], STATE, STATE),
    "all in the first turn": ([[MADE, READ], []], EMPTY, "correct"),
    "arguments by position": ([["[mkdir('a')]"], ["[ls(), add(1, 2)]"]], STATE, "correct"),
    "another format": (
        [
            ['{"name": "mkdir", "arguments": {"name": "a"}}'],
            ['<tool_call>{"name": "ls", "arguments": {}}</tool_call>'],
        ],
        EMPTY,
        RESPONSE,
    ),
    "a class before the function": ([[[{"GorillaFileSystem.mkdir": {"name": "a"}}]], [READ]], STATE, "correct"),
    "an unknown class": ([[[{"Other.mkdir": {"name": "a"}}]], [READ]], STATE, STATE),
    "an unknown function": ([[MADE], [[{"dir": {}}]]], RESPONSE, RESPONSE),
    "a private function": ([[MADE, [{"_load_scenario": {"scenario": {}}}]], [READ]], "correct", "correct"),
    "a call within a call": ([["[mkdir(name='a')]"], ["[ls(), add(a=add(a=0, b=1), b=2)]"]], RESPONSE, RESPONSE),
    "one turn": ([[MADE]], "force_terminated", "force_terminated"),
    "three turns": ([[MADE], [READ], []], "force_terminated", "force_terminated"),
    "a text": ("I give up", "inference_error", "inference_error"),
    "null": (None, "inference_error", "inference_error"),
    "an object": ({"turns": []}, "inference_error", "inference_error"),
    "a turn that is none": ([[MADE], "ls()"], EMPTY, RESPONSE),
    "turns of null": ([None, None], EMPTY, STATE),
    "steps of other types": ([[MADE, None, 3, True, [], {}, [[]]], [READ]], "correct", "correct"),
    "arguments that are none": ([[MADE], [[{"ls": 3}], [{"ls": "{"}], READ]], "correct", "correct"),
    "a name that is code": ([[[{"__import__('os')._exit(0) or mkdir": {"name": "a"}}]], [READ]], STATE, STATE),
    "a deep value": (
        [[MADE], [READ, [{"add": {"a": json.loads("[" * 90 + "]" * 90), "b": 1}}]]],
        "correct",
        "correct",
    ),
    "a value deeper than Python reads": ([[MADE], [READ, [{"add": '{"a": ' + "[" * 9999}]]], "correct", "correct"),
    "a number longer than Python reads": (
        [[MADE], [READ, [{"add": f'{{"a": 1{"0" * 9999}}}'}]]],
        "correct",
        "correct",
    ),
    "no number": ([[MADE], [READ, [{"add": '{"a": NaN, "b": Infinity}'}]]], "correct", "correct"),
    "a state that cannot be compared": ([[MADE, [{"spoil": {}}]], [READ]], "checker_stopped", "checker_stopped"),
}


@pytest.mark.parametrize("mode", ["official", "strict"])
def test_each_kind_of_error(checkout: Path, tmp_path: Path, mode: Mode) -> None:
    """All in one file, as tasks of their own: (result, official, strict)."""
    tasks = {"base": [TASKS["base"][0]] * len(CHANGED)}
    many = write_checkout(tmp_path / "many", tasks)
    results = {f"multi_turn_base_{number}": result for number, (result, _, _) in enumerate(CHANGED.values())}
    report = scored(many, tmp_path, results, mode)
    found = {name: verdict.category for name, verdict in zip(CHANGED, report.verdicts, strict=True)}
    assert found == {name: both[0 if mode == "official" else 1] for name, (_, *both) in CHANGED.items()}
    assert all(verdict.scores["accuracy"] == (verdict.category == "correct") for verdict in report.verdicts)


def test_where_nothing_can_be_done_strict_sees_what_was_done(checkout: Path, tmp_path: Path) -> None:
    result = [["[cat(name='a')]"], ["[write(name='a', content='?')]"]]
    found = {
        mode: scored(checkout, tmp_path, {"multi_turn_miss_param_0": result}, mode).verdicts[0].category
        for mode in ("official", "strict")
    }
    assert found == {"official": "correct", "strict": STATE}


def test_functions_named_in_texts_are_renamed_by_the_published_code(tmp_path: Path) -> None:
    text = "call ls() now"
    task = (["Write."], [[f"write(name='b', content={text!r})"]], {})
    small = write_checkout(tmp_path / "gorilla", {"base": [task]})
    result = [[[{"write": {"name": "b", "content": text}}]]]
    assert scored(small, tmp_path, {FIRST: result}, "official").verdicts[0].category == STATE
    assert scored(small, tmp_path, {FIRST: result}, "strict").verdicts[0].category == "correct"


def test_hostile_calls_cost_themselves_only(tmp_path: Path, monkeypatch: pytest.MonkeyPatch) -> None:
    monkeypatch.setattr(scorer, "TRAJECTORY_SECONDS", 4)
    ended = "ended_the_worker"
    ends = {"hang": ("timeout",), "leave": (ended,), "flood": ("timeout", ended), "fill": ("correct", "timeout")}
    many = write_checkout(tmp_path / "many", {"base": [TASKS["base"][0]] * (2 * len(ends))})
    results = {}
    for number, name in enumerate(ends):
        results[f"multi_turn_base_{2 * number}"] = [[MADE, [{name: {}}]], [READ]]
        results[f"multi_turn_base_{2 * number + 1}"] = [[MADE], [READ]]
    report = scored(many, tmp_path, results, "official")
    found = [verdict.category for verdict in report.verdicts]
    assert all(word in end for word, end in zip(found[::2], ends.values(), strict=True)), found
    assert found[1::2] == ["correct"] * len(ends)
    assert report.verdicts[0].detail == "the trajectory did not end within 4 seconds"


def test_without_a_checkout_the_next_step_is_named(checkout: Path, tmp_path: Path) -> None:
    for source in (checkout / DATA).rglob("*_base.json"):
        target = tmp_path / "data" / source.relative_to(checkout / DATA)
        target.parent.mkdir(parents=True, exist_ok=True)
        target.write_bytes(source.read_bytes())
    with pytest.raises(OptionError, match="lies in none: --checkout DIR \\(git clone") as caught:
        scored(tmp_path / "data", tmp_path, {FIRST: GOLD[FIRST]}, "official")
    assert "\n" not in caught.value.message
    with pytest.raises(DataError, match="is no checkout of BFCL"):
        scored(tmp_path / "data", tmp_path, {FIRST: GOLD[FIRST]}, "official", checkout=tmp_path)
    report = scored(tmp_path / "data", tmp_path, {FIRST: GOLD[FIRST]}, "official", checkout=checkout)
    assert (report.figure("accuracy").value, report.partial) == (1.0, True)


BROKEN: Mapping[str, tuple[str, str, str]] = {
    "a class that cannot be loaded": ("func_source_code/math_api.py", "raise OSError('no disk')", "could not be run"),
    "a class that ends the process": ("func_source_code/math_api.py", "raise SystemExit", "could not be run"),
    "answers of other turns": ("possible_answer", '{"id": "multi_turn_base_0", "ground_truth": [[]]}', "2 turns, but"),
    "a gold call that is none": (
        "possible_answer",
        '{"id": "multi_turn_base_0", "ground_truth": [[3], []]}',
        "a gold call is no text",
    ),
    "no answers": ("possible_answer", '{"id": "other", "ground_truth": []}', "has no answer for multi_turn_base_0"),
}


@pytest.mark.parametrize("case", BROKEN)
def test_broken_checkouts_are_named(tmp_path: Path, case: str) -> None:
    name, content, told = BROKEN[case]
    small = write_checkout(tmp_path / "gorilla", {"base": TASKS["base"][:1]})
    (path,) = [
        file for file in small.rglob("*.*") if name in str(file) and file.is_file() and "file_system" not in str(file)
    ]
    path.write_text(content + "\n", encoding="utf-8")
    with pytest.raises(ExtError, match=told) as caught:
        scored(small, tmp_path, {FIRST: GOLD[FIRST]}, "official")
    assert "\n" not in caught.value.message


@pytest.mark.parametrize(
    ("changes", "told"),
    [
        ({"involved_classes": ["Robot"]}, "'Robot' is none of the API classes GorillaFileSystem, "),
        ({"involved_classes": [{}]}, "{} is none of the API classes"),
        ({"question": ["x"]}, "a turn is no list of messages"),
        ({"question": [["x"]]}, "a turn is no list of messages"),
        ({"question": [[{"role": "user"}]]}, "a turn is no list of messages"),
        ({"missed_function": ["mkdir"]}, "'missed_function' names no turns"),
        ({"missed_function": {"last": ["mkdir"]}}, "'missed_function' names no turns"),
        ({"missed_function": {"1": 3}}, "'missed_function' names no turns"),
    ],
)
def test_odd_fields_of_a_task_are_named(changes: dict[str, Any], told: str, tmp_path: Path) -> None:
    small = write_checkout(tmp_path / "gorilla", {"base": [(["x"], [[]], changes)]})
    with pytest.raises(DataError, match=told):
        read_references("bfcl_multi_turn", small)
