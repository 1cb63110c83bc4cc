"""The lab's table: equal trials, ablations that leave out what they say, figures, and what is not run again."""

import json
import math
from dataclasses import replace
from pathlib import Path
from threading import Event
from typing import Any

import pytest
import yaml

from llamafactory_ext.citi.conflicts import _adapter_problems
from llamafactory_ext.citi.options import CitiArguments
from llamafactory_ext.errors import OptionError
from llamafactory_ext.lab import jobs, table_rows
from llamafactory_ext.lab import table as table_module
from llamafactory_ext.lab.components import ROWS as COMPONENTS
from llamafactory_ext.lab.jobs import EndedEarly, Setting, run_job
from llamafactory_ext.lab.methods import METHODS, PACKAGE_ROOT, Method
from llamafactory_ext.lab.table import MEASURES, figure, summary, table
from llamafactory_ext.lab.table_page import page
from llamafactory_ext.lab.table_rows import ABLATIONS, NAMES, TUNED, run_of, winner, worth

pytestmark = pytest.mark.fast


def row(method: Method, tools: float = 0.5, general: float = 0.9) -> dict[str, Any]:
    shares = {"tool_seen": tools, "tool_unseen": tools} | dict.fromkeys(MEASURES[2:], general)
    scores = {
        key: {"n": 8, "right": round(8 * share), "accuracy": share, "standard_error": 0.1, "unparsable": 0}
        for key, share in shares.items()
    }
    common = {"label": method.label, "options": list(method.options), "training_seconds": 2.0}
    return {"name": method.name, "made_from": "x", "general": general, "scores": scores, **common}


def test_rows_are_those_of_the_papers_tables() -> None:
    assert (
        *("base", "ft", "lora", "ft_dm", "lora_dm", "citi"),
        *("rp_mi", "uco", "without_molora", "without_router_loss", "without_rp"),
    ) == NAMES
    assert {len(tuned.trials) for tuned in TUNED.values()} == {4}


def test_an_ablation_takes_the_winner_and_says_the_same_as_the_paper_sized_file() -> None:
    """Its words are the options by which examples/yaml/ablations differ in phases, adapter and router."""
    chosen = {name: tuned.trials[1] for name, tuned in TUNED.items()}
    for name, (_, words) in ABLATIONS.items():
        run = run_of(name, 43, chosen)
        winning = [
            word for word in TUNED["citi"].trials[1] if name != "without_molora" or not word.startswith("citi_router_")
        ]
        assert run.options == (*winning, *words, "seed=43")
        file = PACKAGE_ROOT / "examples/yaml/ablations/llama3" / f"{name}.yaml"
        large = yaml.safe_load(file.read_text("utf-8"))
        for word in words:
            key, _, value = word.partition("=")
            assert str(large[key]).lower() == value, (name, key)


def test_no_run_sets_an_option_that_its_adapter_has_no_use_for() -> None:
    """Such a run is refused, which a table would come to after hours."""
    every = [run_of(name, 42, {"citi": words}) for name in ("citi", *ABLATIONS) for words in TUNED["citi"].trials]
    for method in (*every, *COMPONENTS):
        options = yaml.safe_load((PACKAGE_ROOT / "examples/yaml" / str(method.yaml)).read_text("utf-8"))
        for word in method.options:
            name, _, value = word.removeprefix("~").partition("=")
            options[name] = yaml.safe_load(value)
            if word.startswith("~"):
                del options[name]
        options["citi_phases"] = options.get("citi_phases", "rp,mi,uco").split(",")
        arguments = CitiArguments(**{key: value for key, value in options.items() if key.startswith("citi_")})
        assert not _adapter_problems(arguments), method.name


def test_the_best_trial_wins_and_of_equals_the_first() -> None:
    tried = [row(METHODS[1], tools, general) for tools, general in ((0.4, 0.9), (0.6, 0.8), (0.7, 0.7), (0.1, 1.0))]
    assert [round(worth(one), 3) for one in tried] == [0.65, 0.7, 0.7, 0.55]
    assert winner("ft", tried) == TUNED["ft"].trials[1]


def test_figures() -> None:
    assert figure([0.2, 0.4, 0.6], 100) == {"mean": 40.0, "se": round(100 * 0.2 / math.sqrt(3), 2)}
    assert figure([0.5], 100) == {"mean": 50.0, "se": 5.0}


def test_table_is_whole_and_its_parts_are_kept(tmp_path: Path, monkeypatch: pytest.MonkeyPatch) -> None:
    ran: list[tuple[str, str, int]] = []

    def run(method: Method, setting: Setting, _: Any) -> dict[str, Any]:
        ran.append((method.name, setting.half, setting.limit))
        tools = 0.7 if method.name in ("citi-trial-2", "citi-42", "lora_dm-43") else 0.5
        return row(method, tools)

    monkeypatch.setattr(jobs, "run_job", run)
    found = table(tmp_path / "t", seeds=2, limit=9, trial_limit=5, workers=1)
    assert {half for name, half, _ in ran if "trial" in name} == {"validation"}
    assert {half for name, half, _ in ran if "trial" not in name} == {"test"}
    assert len(ran) == 5 * 4 + 1 + 10 * 2
    assert [one["name"] for one in found["rows"]] == list(NAMES)
    by_name = {one["name"]: one for one in found["rows"]}
    assert by_name["citi"]["tools"] == {"mean": 60.0, "se": 10.0}
    assert by_name["citi"]["options"][:3] == list(TUNED["citi"].trials[2])
    assert by_name["uco"]["options"][:3] == list(TUNED["citi"].trials[2])
    assert by_name["citi"]["seeds"] == [42, 43]
    assert by_name["base"]["seeds"] == []
    pairs = {one["minus"]: one for one in found["differences"]}
    assert set(pairs) == set(NAMES) - {"base", "citi"}
    assert pairs["lora_dm"]["tools"] == {"mean": 0.0, "se": 20.0}
    assert found["missing"] == {}
    assert json.loads((tmp_path / "t/lab.json").read_text("utf-8")) == found
    assert (tmp_path / "t/lab.png").read_bytes().startswith(b"\x89PNG")
    text = (tmp_path / "t/lab.md").read_text("utf-8")
    assert "| CITI | 2 | 60.0 ± 10.0 |" in text
    assert "Not run yet" not in text
    assert len(list((tmp_path / "t/lab").glob("*.json"))) == len(ran)


def test_a_table_that_a_clone_brought_is_written_anew_and_somebodys_is_not(
    tmp_path: Path, monkeypatch: pytest.MonkeyPatch
) -> None:
    monkeypatch.setattr(jobs, "run_job", lambda method, *_: row(method))
    table(tmp_path / "t", seeds=1, names=["base"], workers=1)
    (tmp_path / "clone/lab").mkdir(parents=True)
    for file in (*(f"lab.{end}" for end in ("json", "md", "png")), "lab/base.json"):
        (tmp_path / "clone" / file).write_bytes((tmp_path / "t" / file).read_bytes())
    found = table(tmp_path / "clone", seeds=1, names=["base", "lora"], workers=1)
    assert json.loads((tmp_path / "clone/lab.json").read_text("utf-8")) == found
    (tmp_path / "changed").mkdir()
    for end in ("json", "md", "png"):
        (tmp_path / f"changed/lab.{end}").write_bytes((tmp_path / f"t/lab.{end}").read_bytes())
    with (tmp_path / "changed/lab.md").open("a", encoding="utf-8") as file:
        file.write("my note\n")
    with pytest.raises(OptionError, match=r"lab\.md is there already"):
        table(tmp_path / "changed", seeds=1, names=["base"], workers=1)
    assert (tmp_path / "changed/lab.md").read_text("utf-8").endswith("my note\n")
    for name in ("lab.json", "lab.md"):
        (tmp_path / name).mkdir()
        (tmp_path / name / name).write_text('{"rows": 1}', "utf-8")
        with pytest.raises(OptionError, match=name.replace(".", r"\.")):
            table(tmp_path / name, seeds=1, names=["base"], workers=1)


def test_what_was_made_from_the_same_inputs_is_not_run_again(tmp_path: Path, monkeypatch: pytest.MonkeyPatch) -> None:
    method = replace(METHODS[0], name="base")
    monkeypatch.setattr(jobs, "_run", lambda *_: pytest.fail("ran again"))
    (tmp_path / "kept").mkdir()
    setting = Setting(PACKAGE_ROOT, tmp_path / "out", 2, Event(), kept=(tmp_path / "kept",))
    made = row(method) | {"made_from": jobs._fingerprint(method, setting)}
    (tmp_path / "kept/base.json").write_text(json.dumps(made), encoding="utf-8")
    assert run_job(method, setting, lambda *_: None) == made
    for other in (replace(setting, limit=3), replace(setting, half="validation")):
        assert jobs._fingerprint(method, other) != made["made_from"]
    tried = replace(METHODS[1], options=("learning_rate=1",))
    assert jobs._fingerprint(tried, setting) != jobs._fingerprint(METHODS[1], setting)


def test_an_unknown_row_is_named_before_anything_is_made(tmp_path: Path) -> None:
    with pytest.raises(OptionError, match=r"--rows cit: .* citi, rp_mi"):
        table(tmp_path / "t", names=["cit"])
    assert not (tmp_path / "t").exists()


def test_runs_that_are_not_begun_in_time_are_named_and_the_next_call_goes_on(
    tmp_path: Path, monkeypatch: pytest.MonkeyPatch
) -> None:
    ran: list[str] = []
    allowed = {"base", *(f"lora-trial-{n}" for n in range(4)), "lora-42", "lora-43", "ft-trial-0"}

    def run(method: Method, setting: Setting, _: Any) -> dict[str, Any]:
        kept = tmp_path / "t/lab" / f"{method.name}.json"
        if kept.exists():
            return dict(json.loads(kept.read_text()))
        if method.name not in allowed:
            raise EndedEarly
        ran.append(method.name)
        return row(method)

    monkeypatch.setattr(jobs, "run_job", run)
    found = table(tmp_path / "t", seeds=2, names=["base", "ft", "lora", "uco"], workers=1, minutes=5)
    assert set(ran) == allowed
    assert [one["name"] for one in found["rows"]] == ["base", "lora"]
    assert found["missing"] == {"ft": 2, "uco": 2}
    assert [one["worth"] is None for one in found["trials"]["ft"]] == [False, True, True, True]
    text = (tmp_path / "t/lab.md").read_text("utf-8")
    assert "**Not run yet, with the number of runs: ft (2), uco (2).**" in text
    assert "| ft | `learning_rate=0.0003` | not run | | |" in text
    assert {path.stem for path in (tmp_path / "t/lab").glob("*.json")} == allowed
    allowed |= {*(f"ft-trial-{n}" for n in range(4)), "ft-42"}
    ran.clear()
    found = table(tmp_path / "t", seeds=2, names=["base", "ft", "lora", "uco"], workers=1, minutes=5)
    assert ran == ["ft-trial-1", "ft-trial-2", "ft-trial-3", "ft-42"]
    assert found["missing"] == {"ft": 1, "uco": 2}


def test_a_run_is_begun_only_while_time_is_left(tmp_path: Path, monkeypatch: pytest.MonkeyPatch) -> None:
    monkeypatch.setattr(jobs, "_run", lambda *_: pytest.fail("ran"))
    with pytest.raises(EndedEarly):
        run_job(METHODS[0], Setting(PACKAGE_ROOT, tmp_path, 2, Event(), until=-1), lambda *_: None)


def test_a_difference_pairs_the_seeds_that_both_rows_have() -> None:
    def runs(name: str, *tools: tuple[int, float]) -> list[dict[str, Any]]:
        return [row(replace(METHODS[1], name=f"{name}-{seed}"), share) for seed, share in tools]

    done = runs("citi", (42, 0.5), (43, 0.7), (44, 0.9)) + runs("lora", (43, 0.6), (44, 0.5)) + runs("ft", (42, 1.0))
    found = summary(["ft", "lora", "citi"], 3, done, {})
    assert [(one["minus"], one["seeds"], one["tools"]) for one in found["differences"]] == [
        ("lora", 2, {"mean": 25.0, "se": 15.0})
    ]
    assert found["missing"] == {"ft": 2, "lora": 1}


def test_ablations_alone_take_citis_trials(tmp_path: Path, monkeypatch: pytest.MonkeyPatch) -> None:
    ran: list[str] = []

    def run(method: Method, *_: Any) -> dict[str, Any]:
        ran.append(method.name)
        return row(method)

    monkeypatch.setattr(jobs, "run_job", run)
    table_module.table(tmp_path / "t", seeds=1, names=["uco"], workers=1)
    assert ran == [*(f"citi-trial-{n}" for n in range(4)), f"uco-{table_rows.FIRST_SEED}"]


def test_the_kept_table_follows_from_the_kept_runs() -> None:
    docs = PACKAGE_ROOT / "docs"
    rows = {path.stem: json.loads(path.read_text("utf-8")) for path in (docs / "lab").glob("*.json")}
    kept = json.loads((docs / "lab.json").read_text("utf-8"))
    seeds = max([len(one["seeds"]) + kept["missing"].get(one["name"], 0) for one in kept["rows"]])
    done = [
        rows[name]
        for seed in range(seeds)
        for name in (*NAMES, *(f"{one}-{42 + seed}" for one in NAMES))
        if name in rows
    ]
    tried = table_module.trials_by_name(list(TUNED), list(rows.values()))
    found = summary(NAMES, seeds, list({row["name"]: row for row in done}.values()), tried)
    assert found == kept
    assert page(found) == (docs / "lab.md").read_text("utf-8")
