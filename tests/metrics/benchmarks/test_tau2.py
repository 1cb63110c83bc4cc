"""tau2-bench's results: rewards, pass^k, parts worked out anew, and damaged or mixed runs in one line."""

import copy
import json
from collections.abc import Callable, Mapping
from itertools import combinations
from pathlib import Path
from typing import Any

import pytest

from llamafactory_ext.errors import DataError
from llamafactory_ext.metrics import Report, score
from llamafactory_ext.metrics.report import Mode

pytestmark = pytest.mark.fast


def task(key: str, basis: list[str] | None = None, **criteria: Any) -> dict[str, Any]:
    stated = {"actions": [], "communicate_info": [], **criteria} | ({"reward_basis": basis} if basis else {})
    return {"id": key, "user_scenario": {"instructions": "?"}, "evaluation_criteria": stated}


def simulation(key: str, trial: int | None, reward: float | None, **more: Any) -> dict[str, Any]:
    checks = (
        None if reward is None else {"reward": reward, "db_check": {"db_match": bool(reward), "db_reward": reward}}
    )
    told = {"id": f"{key}/{trial}", "task_id": key, "trial": trial, "termination_reason": "user_stop"}
    return {**told, "reward_info": checks, "messages": [], **more}


def run(simulations: list[Any], tasks: list[Any] | None = None, **info: Any) -> dict[str, Any]:
    named = {"domain_name": "airline", "policy": ""}
    sides = {
        "agent_info": {"implementation": "llm_agent", "llm": "m"},
        "user_info": {"implementation": "user", "llm": "u"},
    }
    told = {"git_commit": "abc", "num_trials": 2, "environment_info": named, **sides, **info}
    listed = (
        tasks if tasks is not None else [task(key) for key in dict.fromkeys(one["task_id"] for one in simulations)]
    )
    return {"timestamp": "t", "info": told, "tasks": listed, "simulations": simulations}


def scored(folder: Path, data: Any, mode: Mode = "official", references: Path | None = None) -> Report:
    path = folder / "results.json"
    path.write_text(data if isinstance(data, str) else json.dumps(data), encoding="utf-8")
    return score("tau2", path, references or path, mode)


def figures(report: Report) -> dict[str, float]:
    return {figure.name: round(figure.value, 6) for figure in report.figures}


def says(text: str) -> dict[str, Any]:
    return {"role": "assistant", "content": text, "tool_calls": None}


def calls(name: str, role: str = "assistant", **arguments: Any) -> dict[str, Any]:
    return {"role": role, "content": None, "tool_calls": [{"id": "c", "name": name, "arguments": arguments}]}


@pytest.mark.parametrize("mode", ["official", "strict"])
def test_pass_k_is_the_mean_over_all_choices_of_k_trials(tmp_path: Path, mode: Mode) -> None:
    trials = {"a": [1, 1, 1, 1], "b": [1, 0, 1, 0], "c": [0, 0, 0, 1]}
    rows = [simulation(key, n, float(reward)) for key, own in trials.items() for n, reward in enumerate(own)]
    report = scored(tmp_path, run(rows), mode)
    wanted = {"reward": round(7 / 12, 6)}
    for k in range(1, 5):
        shares = [
            sum(map(all, combinations(own, k))) / sum(1 for _ in combinations(own, k)) for own in trials.values()
        ]
        wanted[f"pass^{k}"] = round(sum(shares) / 3, 6)
    assert figures(report) == wanted
    assert (report.name, report.n_references, report.n_predictions) == ("tau2 (airline)", 3, 3)
    assert [figure.n for figure in report.figures] == [12, 3, 3, 3, 3]
    assert all(figure.standard_error and figure.interval for figure in report.figures)
    assert any("agent llm_agent m, user user u; tau2-bench at abc" in note for note in report.notes)


def test_trials_without_numbers_and_tau_bench_lists(tmp_path: Path) -> None:
    report = scored(tmp_path, run([simulation("a", None, 1.0), simulation("a", None, 0.0)]))
    assert [verdict.id for verdict in report.verdicts] == ["a#0", "a#1"]
    old = [{"task_id": 3, "trial": n, "reward": reward, "info": {}, "traj": []} for n, reward in enumerate((1.0, 1.0))]
    for mode in ("official", "strict"):
        report = scored(tmp_path, old, mode)  # type: ignore[arg-type]
        assert figures(report) == {"reward": 1.0, "pass^1": 1.0, "pass^2": 1.0}
        assert "The file names neither agent nor domain (tau-bench)." in report.notes


def test_what_never_ran_is_left_out_and_uneven_trials_limit_k(tmp_path: Path) -> None:
    rows = [simulation("a", 0, 1.0), simulation("a", 1, 1.0), simulation("b", 0, 0.0)]
    rows.append(simulation("b", 1, None, termination_reason="infrastructure_error"))
    report = scored(tmp_path, run(rows))
    assert figures(report) == {"reward": round(2 / 3, 6), "pass^1": 0.5}
    assert "1 simulations never ran (infrastructure_error) and are left out." in report.notes
    assert "Tasks have 1 to 2 trials; pass^k is told up to k = 1." in report.notes


GOLD = {"name": "book", "arguments": {"flight": "F1", "note": "x"}, "action_id": "1"}
PARTS: Mapping[str, tuple[dict[str, Any], dict[str, Any], float, str]] = {
    "said, with a comma in the number": (
        {"communicate_info": ["1200"]},
        {"messages": [says("That is 1,200 dollars.")]},
        1.0,
        "success",
    ),
    "said by the user alone": (
        {"communicate_info": ["1200"]},
        {"messages": [{"role": "user", "content": "1200?"}]},
        0.0,
        "communicate",
    ),
    "another state": ({}, {"reward_info": {"reward": 0.0, "db_check": {"db_reward": 0.0}}}, 0.0, "db"),
    "no recorded state": ({}, {"reward_info": None}, 0.0, "not_evaluated"),
    "made": (
        {"basis": ["ACTION"], "actions": [GOLD]},
        {"messages": [calls("book", flight="F1", note="x")]},
        1.0,
        "success",
    ),
    "made with fewer arguments": (
        {"basis": ["ACTION"], "actions": [GOLD]},
        {"messages": [calls("book", flight="F1")]},
        1.0,
        "success",
    ),
    "made with another argument": (
        {"basis": ["ACTION"], "actions": [GOLD]},
        {"messages": [calls("book", flight="F2", note="x")]},
        0.0,
        "action",
    ),
    "compared by one argument": (
        {"basis": ["ACTION"], "actions": [GOLD | {"compare_args": ["flight"]}]},
        {"messages": [calls("book", flight="F1", note="y")]},
        1.0,
        "success",
    ),
    "made by the user": (
        {"basis": ["ACTION"], "actions": [GOLD]},
        {"messages": [calls("book", "user", flight="F1", note="x")]},
        1.0,
        "success",
    ),
    "a judge's word": (
        {"basis": ["NL_ASSERTION"]},
        {"reward_info": {"reward": 1.0, "reward_breakdown": {"NL_ASSERTION": 0.0}}},
        0.0,
        "nl_assertion",
    ),
    "cut off": ({}, {"termination_reason": "max_steps"}, 0.0, "max_steps"),
    "odd messages": (
        {"communicate_info": ["x"]},
        {"messages": [{"role": "assistant", "content": 3}, {}]},
        0.0,
        "communicate",
    ),
    "ticks alone": (
        {"communicate_info": ["x"]},
        {"messages": None, "reward_info": {"reward": 1.0, "reward_breakdown": {"DB": 1.0, "COMMUNICATE": 1.0}}},
        1.0,
        "success",
    ),
}


@pytest.mark.parametrize("case", PARTS)
def test_strict_works_the_reward_out_anew(tmp_path: Path, case: str) -> None:
    criteria, changes, reward, category = PARTS[case]
    stated = dict(criteria)
    listed = [task("a", stated.pop("basis", None), **stated)]
    report = scored(tmp_path, run([simulation("a", 0, 1.0, **changes)], listed), "strict")
    (verdict,) = report.verdicts
    assert (verdict.scores["reward"], verdict.category) == (reward, category)


def test_a_clone_tells_how_many_tasks_a_run_lacks(tmp_path: Path) -> None:
    domain = tmp_path / "tau2-bench/data/tau2/domains/airline"
    domain.mkdir(parents=True)
    (domain / "tasks.json").write_text(json.dumps([task("a", ["DB"]), task("b"), task("c")]), encoding="utf-8")
    (domain / "split_tasks.json").write_text(json.dumps({"base": ["a", "b"]}), encoding="utf-8")
    for references in (tmp_path / "tau2-bench", domain / "tasks.json"):
        report = scored(tmp_path, run([simulation("a", 0, 1.0)]), references=references)
        assert (report.n_references, report.n_predictions, report.partial) == (2, 1, True)
        assert "1 tasks have other criteria in the references than in the run: another version." in report.notes
    with pytest.raises(DataError, match="there is no task 'd' of the run"):
        scored(tmp_path, run([simulation("d", 0, 1.0)]), references=domain / "tasks.json")
    with pytest.raises(DataError, match="has no tasks of airline: name a clone of tau2-bench"):
        scored(tmp_path, run([simulation("a", 0, 1.0)]), references=tmp_path / "nowhere")


def test_the_folder_of_a_voice_run(tmp_path: Path) -> None:
    (tmp_path / "simulations").mkdir()
    for n, reward in enumerate((1.0, 0.0)):
        text = json.dumps(simulation("a", n, reward))
        (tmp_path / f"simulations/sim_{n}.json").write_text(text, encoding="utf-8")
    (tmp_path / "results.json").write_text(json.dumps(run([], [task("a")])), encoding="utf-8")
    report = score("tau2", tmp_path, tmp_path / "results.json")
    assert figures(report) == {"reward": 0.5, "pass^1": 0.5, "pass^2": 0.0}


def test_several_runs_are_not_mixed(tmp_path: Path) -> None:
    for name in ("one", "other"):
        (tmp_path / f"{name}.json").write_text(json.dumps(run([simulation("a", 0, 1.0)])), encoding="utf-8")
    with pytest.raises(DataError, match="Runs of several agents or domains are scored one by one"):
        score("tau2", tmp_path, tmp_path / "one.json")
    (tmp_path / "other.json").write_text(json.dumps(run([simulation("a", 0, 0.0)])), encoding="utf-8")
    with pytest.raises(DataError, match="holds neither tasks nor the run that is scored"):
        score("tau2", tmp_path / "one.json", tmp_path / "other.json")


def broken(change: Callable[[dict[str, Any]], Any]) -> Any:
    data = copy.deepcopy(run([simulation("a", 0, 1.0)]))
    return change(data) or data


BROKEN: Mapping[str, tuple[Any, str]] = {
    "cut off": (json.dumps(run([simulation("a", 0, 1.0)]))[:-20], "is no JSON .* the run may have been cut off"),
    "nested too deep": ("[" * 100_000, "is no JSON"),
    "no bytes": ("", "is no JSON"),
    "a number": ("3", "'info' is missing or no object"),
    "an empty list": ("[]", "holds no simulations"),
    "a list of texts": ('["a"]', "record 0: 'task_id' is missing"),
    "no simulations": (broken(lambda d: d.update(simulations=[])), "holds no simulations"),
    "simulations by name": (broken(lambda d: d.update(simulations={})), "'simulations' is missing or no list"),
    "a simulation that is none": (broken(lambda d: d.update(simulations=[3])), "simulation 0: 'task_id' is missing"),
    "an unknown task": (broken(lambda d: d.update(tasks=[])), "task 'a', which the file's tasks lack"),
    "a task without a name": (broken(lambda d: d.update(tasks=[{}])), "task 0: 'id' is missing"),
    "an unknown end": (
        broken(lambda d: d["simulations"][0].update(termination_reason="bored")),
        "is 'bored', none of",
    ),
    "a reward above one": (
        broken(lambda d: d["simulations"][0]["reward_info"].update(reward=2)),
        "the reward is 2, no",
    ),
    "a reward that is no number": (
        broken(lambda d: d["simulations"][0]["reward_info"].update(reward=float("nan"))),
        "the reward is nan, no number from 0 to 1",
    ),
    "a text as checks": (broken(lambda d: d["simulations"][0].update(reward_info="1")), "'reward_info' is no object"),
    "a text as messages": (
        broken(lambda d: d["simulations"][0].update(messages="hi")),
        "'messages' is no list of objects",
    ),
    "a text as a trial": (broken(lambda d: d["simulations"][0].update(trial="0")), "'trial' is no number of a trial"),
    "a trial twice": (
        broken(lambda d: d["simulations"].append(d["simulations"][0])),
        "trial 0 of task a is there twice",
    ),
    "nothing ran": (
        broken(lambda d: d["simulations"][0].update(termination_reason="infrastructure_error")),
        "no simulation ran",
    ),
}


@pytest.mark.parametrize("case", BROKEN)
def test_damaged_results_are_named_in_one_line(tmp_path: Path, case: str) -> None:
    data, told = BROKEN[case]
    with pytest.raises(DataError, match=told) as caught:
        scored(tmp_path, data)
    assert "\n" not in caught.value.message


ODD: Mapping[str, dict[str, Any]] = {
    "reward_basis": {"reward_basis": 3},
    "communicate_info": {"communicate_info": "1200"},
    "actions": {"reward_basis": ["ACTION"], "actions": {"name": "book"}},
    "compare_args": {"reward_basis": ["ACTION"], "actions": [GOLD | {"compare_args": 3}]},
}


@pytest.mark.parametrize("name", [*ODD, "compare_args in a list"])
def test_odd_criteria_are_named(tmp_path: Path, name: str) -> None:
    given = ODD.get(name, {"reward_basis": ["ACTION"], "actions": [GOLD | {"compare_args": [["flight"]]}]})
    messages = [calls("book", flight="F1", note="x")]
    listed = [{**task("a"), "evaluation_criteria": given}]
    data = run([simulation("a", 0, 1.0, messages=messages)], listed)
    with pytest.raises(DataError, match=f"Task a: {name.partition(' ')[0]} of its evaluation_criteria"):
        scored(tmp_path, data, "strict")


@pytest.mark.parametrize("text", ["3", "null", '"tasks"', "true"])
def test_references_that_are_no_tasks_are_named(tmp_path: Path, text: str) -> None:
    (tmp_path / "tasks.json").write_text(text, encoding="utf-8")
    with pytest.raises(DataError, match="missing or no object"):
        scored(tmp_path, run([simulation("a", 0, 1.0)]), references=tmp_path / "tasks.json")
