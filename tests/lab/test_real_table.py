"""The real table: equal passes and trials, figures, what is run again and what not, its page with few rows."""

from __future__ import annotations

import json
import math
from collections.abc import Sequence
from dataclasses import replace
from pathlib import Path
from typing import Any

import pytest
import torch
from transformers import AutoModelForCausalLM

from lab.published_world import write_world
from llamafactory_ext.commands.lab import Lab
from llamafactory_ext.errors import CheckpointError, DataError, OptionError, UpstreamError
from llamafactory_ext.lab.place import held
from llamafactory_ext.lab.real import data, measure, runs, table
from llamafactory_ext.lab.real.checks import result_in
from llamafactory_ext.lab.real.measure import NLL, TEST, VALIDATION, Asked, Request, nats, share
from llamafactory_ext.lab.real.page import page
from llamafactory_ext.lab.real.rows import KINDS, NAMES, PASSES, Job, run_of, trials_of, winner, worth
from llamafactory_ext.lab.real.summary import paired, summary
from llamafactory_ext.lab.real.table import Table, real_table, write
from llamafactory_ext.serving.infer.options import InferOptions
from tiny import save_tiny_model

ROOT = Path(__file__).parents[2]
_TRAINED = [name for name in NAMES if KINDS[name].trials]


@pytest.fixture(scope="module")
def world(tmp_path_factory: pytest.TempPathFactory) -> Path:
    return write_world(tmp_path_factory.mktemp("world"))


@pytest.fixture(scope="module")
def model(tmp_path_factory: pytest.TempPathFactory) -> Path:
    return save_tiny_model(tmp_path_factory.mktemp("model"))


@pytest.fixture
def asked(world: Path, model: Path, tmp_path: Path) -> Table:
    return Table(world, model, tmp_path / "t", root=tmp_path, template="llama3", runs=tmp_path / "runs")


def result(job: Job, tools: float = 0.5, nll: float = 1.0) -> dict[str, Any]:
    """A run's result with the same figure everywhere."""
    sets = VALIDATION if job.half == "validation" else TEST
    figure = {"n": 4, "mean": tools, "se": 0.1}
    call = {**figure, "name": figure, "parsed": figure, "official": None}
    scores = {name: {**figure, "mean": nll} if name in NLL else dict(call) for name in sets}
    items = {name: [[nll * 2, 2]] * 4 if name in NLL else [[1.0, 1.0], [0.0, 1.0]] * 2 for name in sets}
    common = {"options": dict(job.options), "training_seconds": 2.0, "measuring_seconds": 1.0, "threads": 1}
    named = {"name": job.name, "row": job.kind.name, "label": job.kind.label, "seed": job.seed, "half": job.half}
    return {**named, **common, "scores": scores, "items": items, "curve": []}


@pytest.fixture
def ran(monkeypatch: pytest.MonkeyPatch) -> list[str]:
    """Names of the runs, which end at once: the third trial of each row is the best."""
    names: list[str] = []

    def run(job: Job, setting: runs.Setting) -> dict[str, Any]:
        names.append(job.name)
        row = {**result(job, 0.7 if job.name.endswith("trial-2") else 0.5), "made_from": runs.made_from(job, setting)}
        runs.write_result(setting.rows / f"{job.name}.json", row)
        return row

    monkeypatch.setattr(table, "run", run)
    return names


@pytest.mark.fast
def test_rows_are_those_of_the_paper_with_equally_many_trials_and_passes() -> None:
    assert NAMES == ("base", "ft", "lora", "ft_dm", "lora_dm", "citi")
    assert {len(KINDS[name].trials) for name in _TRAINED} == {4}
    for name in _TRAINED:
        for job in (*trials_of(name), run_of(name, 42, KINDS[name].trials[0])):
            phases = [job.options[key] for key in job.options if key.startswith("citi_") and key.endswith("_epochs")]
            assert sum(phases) + job.options.get("num_train_epochs", 0) == PASSES
            assert job.options["per_device_train_batch_size"] * job.options["gradient_accumulation_steps"] == 8
            mixed = "mix" in str(job.options["dataset"])
            assert mixed == (name not in ("ft", "lora"))
            assert str(job.options["dataset"]).endswith("_quarter") == (job.half == "validation")


@pytest.mark.fast
def test_figures() -> None:
    assert share([1.0, 0.0, 0.0, 1.0]) == {"n": 4, "mean": 0.5, "se": round(math.sqrt(1 / 3 / 4), 5)}
    assert share([1.0])["se"] is None
    # Two items with 1 and 3 nats a token, 3 and 1 tokens: 6 nats over 4 tokens; gaps from 1.5 a token: -1.5 and 1.5.
    found = nats([(3.0, 3), (3.0, 1)])
    assert found == {"n": 2, "mean": 1.5, "se": round(math.sqrt(2 * 1.5**2 * 2 / 1) / 4, 5), "tokens": 4}
    assert paired("gsm8k", [[3.0, 3], [3.0, 1]], [[0.0, 3], [0.0, 1]]) == {"mean": 1.5, "se": found["se"]}
    assert paired("level_1", [[1.0, 1.0], [0.0, 1.0]], [[0.0, 1.0], [0.0, 1.0]]) == {"mean": 0.5, "se": 0.5}
    assert paired("ifeval", [1.0, 0.0], [1.0, 0.0]) == {"mean": 0.0, "se": 0.0}


@pytest.mark.fast
def test_the_best_trial_wins_and_of_equals_the_first() -> None:
    jobs = trials_of("lora")
    rows = [result(job, tools, nll) for job, tools, nll in zip(jobs, (0.4, 0.6, 0.6, 0.6), (1, 1, 1, 2), strict=True)]
    assert worth(rows[1]) > worth(rows[3])
    assert winner("lora", rows) == KINDS["lora"].trials[1]


@pytest.mark.fast
def test_a_likelihood_is_that_of_the_tokens_behind_the_prompt(model: Path) -> None:
    asked = Asked(InferOptions(model=str(model), template="", dtype="float32", backend="hf"))
    before = asked.chat("What is 1 plus 1?")
    found, count = asked.log_likelihood(before, "It is 2.")
    loaded = AutoModelForCausalLM.from_pretrained(model, dtype=torch.float32)
    ids = [*before, *asked.plain("It is 2.")]
    logp = loaded(torch.tensor([ids])).logits[0].log_softmax(-1)
    wanted = sum(float(logp[place - 1, ids[place]]) for place in range(len(before), len(ids)))
    assert count == len(ids) - len(before) > 2
    assert found == pytest.approx(wanted, abs=1e-4)


@pytest.mark.fast
def test_every_set_is_measured(world: Path, model: Path, tmp_path: Path, monkeypatch: pytest.MonkeyPatch) -> None:
    monkeypatch.setattr(measure, "LENGTHS", dict.fromkeys(measure.LENGTHS, 4))
    prepared = data.prepare(world, tmp_path / "data")
    for half, sets in (("test", TEST), ("validation", VALIDATION)):
        where = {"held": str(prepared.held), "api_bank": str(prepared.api_bank), "out": str(tmp_path / "figures.json")}
        request = Request(model=str(model), base="", template="", half=half, limit=2, checkout="", **where)
        found = measure.measure(request)
        assert list(found["scores"]) == list(sets)
        assert {figure["n"] for figure in found["scores"].values()} == {2}
        assert {len(items) for items in found["items"].values()} == {2}
        # A random model is about as surprised as one that knows nothing: ln 384.
        assert all(4 < found["scores"][name]["mean"] < 8 for name in NLL)
    assert found["scores"]["calls"]["mean"] == 0


@pytest.mark.fast
def test_gold_calls_and_replies_score_full(world: Path, tmp_path: Path) -> None:
    held = data.read_held(data.prepare(world, tmp_path / "data").held)
    request = Request("", "", "", "", "test", 0, "", "", "")
    for half, name in (("validation", "calls"), ("test", "level_3"), ("test", "level_3_search"), ("test", "level_1")):
        gold = [one["record"].get("expected_output", one["record"].get("output")) for one in held[half][name]]
        found, items = measure._api_bank(held[half][name], gold, request, is_call=True)
        assert (found["mean"], found["name"]["mean"], found["parsed"]["mean"]) == (1, 1, 1)
        assert items == [[1.0, 1.0]] * len(gold)
        wrong, _ = measure._api_bank(held[half][name], ["no call"] * len(gold), request, is_call=True)
        assert (wrong["mean"], wrong["name"]["mean"], wrong["parsed"]["mean"]) == (0, 0, 0)
    replies = held["test"]["level_1_replies"]
    found, _ = measure._api_bank(replies, [one["record"]["output"] for one in replies], request, is_call=False)
    assert found["mean"] == pytest.approx(1, abs=1e-4)
    assert found["official"]["n"] == len(replies)


@pytest.mark.fast
def test_what_was_run_is_kept_and_the_rest_is_named(asked: Table, ran: list[str]) -> None:
    first = real_table(replace(asked, names=["base", "lora"]))
    assert ran == ["base", *(f"lora-trial-{n}" for n in range(4)), "lora-42"]
    assert [row["name"] for row in first["rows"]] == ["base", "lora"]
    assert [row["name"] for row in first["not_run"]] == ["ft", "ft_dm", "lora_dm", "citi"]
    text = (asked.out / "real.md").read_text("utf-8")
    assert "**Not run yet: full fine-tuning, " in text
    assert "| CITI | not run |" in text
    ran.clear()
    second = real_table(replace(asked, names=["citi", "lora_dm"]))
    assert ran == [f"{name}-{end}" for name in ("lora_dm", "citi") for end in (*(f"trial-{n}" for n in range(4)), 42)]
    assert [row["name"] for row in second["rows"]] == ["base", "lora", "lora_dm", "citi"]
    assert second["rows"][-1]["options"]["citi_router_scope"] == "batch"  # the third trial's
    assert [one["minus"] for one in second["differences"]] == ["lora_dm"]
    assert second["differences"][0]["level_3"] == {"mean": 0.0, "se": 0.0}
    assert (asked.out / "real.png").read_bytes().startswith(b"\x89PNG")
    ran.clear()
    third = real_table(replace(asked, names=["citi"], seeds=2))
    assert ran == ["citi-43"]
    assert third["rows"][-1]["seeds"] == [42, 43]


@pytest.mark.fast
def test_other_inputs_run_anew(asked: Table, ran: list[str], world: Path, tmp_path: Path) -> None:
    real_table(replace(asked, names=["base"]))
    for other in (replace(asked, limit=1), replace(asked, checkout=tmp_path), replace(asked, template="llama2")):
        ran.clear()
        real_table(replace(other, names=["base"]))
        assert ran == ["base"]
    ran.clear()
    real_table(replace(other, names=["base"]))
    assert ran == []


def changed(found: Any, place: Sequence[Any], value: Any) -> Any:
    """A copy with another value at a place; "gone" takes it out."""
    found = json.loads(json.dumps(found))
    inner = found
    for part in place[:-1]:
        inner = inner[part]
    inner[place[-1]] = value
    if value == "gone":
        del inner[place[-1]]
    return found


ODD = ("gone", None, True, -1, float("nan"), 1e400, "x", [], {}, [[]], {"mean": 1})
PLACES = [
    *(["name"], ["row"], ["half"], ["seed"], ["training_seconds"], ["measuring_seconds"], ["threads"], ["options"]),
    *(["scores"], ["scores", "calls"], ["scores", "calls", "name"], ["scores", "calls", "name", "mean"]),
    *(["scores", "gsm8k", "mean"], ["scores", "gsm8k", "n"], ["scores", "hellaswag", "se"], ["items"]),
    *(
        ["items", "gsm8k"],
        ["items", "gsm8k", 0],
        ["items", "gsm8k", 0, 1],
        ["items", "calls", 1],
        ["items", "nq", 3, 0],
    ),
]


@pytest.mark.fast
@pytest.mark.parametrize("place", PLACES, ids=lambda place: ".".join(map(str, place)))
def test_a_result_with_odd_values_is_named(place: list[Any], asked: Table, ran: list[str]) -> None:
    """Its hash is right, so that only its values can say that no run has left it."""
    job = trials_of("citi")[0]
    row = {**result(job), "made_from": "hash"}
    path = asked.out / "citi-trial-0.json"
    path.parent.mkdir()
    path.write_text(json.dumps(row), encoding="utf-8")
    assert result_in(path, job, "hash") == row
    for odd in ODD:
        fine = (place[-1] == "se" and odd in (None, "gone")) or (place == ["options"] and isinstance(odd, dict))
        path.write_text(json.dumps(changed(row, place, odd)), encoding="utf-8")
        if fine:
            assert result_in(path, job, "hash")
            continue
        with pytest.raises(
            DataError, match=rf"citi-trial-0\.json is no result .*{place[1] if place[1:] else place[0]}"
        ):
            result_in(path, job, "hash")
    for text in ("null", "7", "[]", "{}", '{"made_from": 7}', '{"made_from": []}'):
        path.write_text(text, encoding="utf-8")
        assert result_in(path, job, "hash") is None
    for text in ("", "{", "[" * 5_000, "\ud800"):
        path.write_bytes(text.encode("utf-8", "surrogatepass"))
        with pytest.raises(CheckpointError, match=r"citi-trial-0\.json"):
            result_in(path, job, "hash")


@pytest.mark.fast
@pytest.mark.parametrize("value", [None, 7, "x", [], {}, [7], [{}], {"a": [7]}, {"a": [{"options": 7}]}])
@pytest.mark.parametrize("name", ["rows", "n", "data", "not_run", "differences", "trials"])
def test_an_earlier_table_may_hold_anything(name: str, value: Any, tmp_path: Path) -> None:
    found = summary({}, {}, {"calls": 1, "general": 2, "ifeval_left_out": 3}, 0)
    (tmp_path / "real.json").write_text(json.dumps({**found, name: value}), encoding="utf-8")
    (tmp_path / "real.md").write_bytes(b"\xff mine")
    with pytest.raises(OptionError, match=r"real\.md"):
        write(tmp_path, found)
    assert (tmp_path / "real.md").read_bytes() == b"\xff mine"


@pytest.mark.fast
@pytest.mark.parametrize(
    "text", ["", "hash", "hash ", "hash x", "hash nan", "hash 1e9", "other 2.0", "hash 2.0 3", "\xff"]
)
def test_the_mark_of_another_training_is_no_time(text: str, tmp_path: Path) -> None:
    (tmp_path / "a.ended").write_text(text, encoding="latin-1")
    assert runs._seconds_of(tmp_path / "a.ended", "hash") is None
    (tmp_path / "a.ended").write_text("hash 2.0", encoding="utf-8")
    assert runs._seconds_of(tmp_path / "a.ended", "hash") == 2


@pytest.mark.fast
def test_results_of_the_repository_count(asked: Table, ran: list[str], tmp_path: Path) -> None:
    real_table(replace(asked, names=["base"]))
    (tmp_path / "docs").mkdir()
    (asked.out / "real").rename(tmp_path / "docs" / "real")
    ran.clear()
    found = real_table(replace(asked, names=["base"], out=tmp_path / "other"))
    assert ran == []
    assert [row["name"] for row in found["rows"]] == ["base"]


@pytest.mark.fast
def test_no_run_is_begun_after_the_minutes(asked: Table, ran: list[str], monkeypatch: pytest.MonkeyPatch) -> None:
    times = iter(range(0, 100_000, 60))
    monkeypatch.setattr(table.time, "monotonic", lambda: next(times))
    real_table(replace(asked, minutes=2))
    first = list(ran)
    assert 1 <= len(first) < 4
    real_table(replace(asked, minutes=2))
    assert len(ran) > len(first)
    assert len(ran) == len(set(ran))


@pytest.mark.fast
@pytest.mark.parametrize(
    "name", ["real.json", "real.md", "real.png", "runs/base.measure.log", "runs/lora-42", "runs/citi-trial-0.yaml"]
)
def test_somebodys_files_stay(name: str, asked: Table, ran: list[str]) -> None:
    """They are named before anything is prepared or run."""
    asked = replace(asked, runs=None)
    path = asked.out / name
    path.parent.mkdir(parents=True, exist_ok=True)
    path.write_text("[]", encoding="utf-8")
    with pytest.raises(OptionError, match=path.name):
        real_table(asked)
    assert path.read_text("utf-8") == "[]"
    assert ran == []
    assert not (asked.out / "runs/data").exists()


def test_one_command_at_a_time(asked: Table, ran: list[str]) -> None:
    asked = replace(asked, runs=None)
    with held((asked.out / "runs").resolve(), []), pytest.raises(OptionError, match="another command of the lab"):
        real_table(asked)
    assert ran == []


def test_wrong_requests_make_nothing(asked: Table, tmp_path: Path) -> None:
    with pytest.raises(OptionError, match=r"--rows cit: .* lora_dm, citi"):
        real_table(replace(asked, names=["cit"]))
    with pytest.raises(CheckpointError, match=r"lab real-model --out"):
        real_table(replace(asked, model=tmp_path / "none"))
    assert not asked.out.exists()
    for words, said in (
        ({"base": "real"}, "needs --data DIR"),
        ({"base": "large"}, "--base large must be tiny or real"),
        ({"data": "x"}, "--data goes with --base real"),
    ):
        with pytest.raises(OptionError, match=said):
            Lab().table(out=str(tmp_path / "none"), **words)
    assert not (tmp_path / "none").exists()


@pytest.mark.fast
def test_a_page_that_somebody_changed_stays(tmp_path: Path) -> None:
    found = summary({}, {}, {"calls": 1, "general": 2, "ifeval_left_out": 3}, 0)
    write(tmp_path, found)
    text = (tmp_path / "real.md").read_text("utf-8")
    write(tmp_path, found)
    (tmp_path / "real.md").write_text(text + "my words\n", "utf-8")
    with pytest.raises(OptionError):
        write(tmp_path, {**found, "data": {"calls": 9, "general": 2, "ifeval_left_out": 3}})
    assert (tmp_path / "real.md").read_text("utf-8").endswith("my words\n")


@pytest.mark.fast
def test_the_page_of_the_docs_is_made_of_its_json() -> None:
    found = json.loads((ROOT / "docs/real.json").read_text("utf-8"))
    assert (ROOT / "docs/real.md").read_text("utf-8") == page(found)
    kept = {path.stem for path in (ROOT / "docs/real").glob("*.json")}
    seeds = {f"{row['name']}-{seed}" for row in found["rows"] for seed in row["seeds"]}
    assert seeds <= kept


def small_setting(asked: Table, **extra: Any) -> runs.Setting:
    """What runs share, on the tiny model and a handful of records."""
    with pytest.MonkeyPatch.context() as patch:
        patch.setattr(data, "MIXTURES", {"calls": (8, 0), "mix": (8, 4), "mix_less": (8, 2)})
        prepared = data.prepare(asked.data, asked.out / "data")
    (asked.out / "real").mkdir()
    rows = asked.out / "real"
    return runs.Setting(asked.model, "hash", "llama3", prepared, asked.out, rows, (), 1, "", extra)


def test_a_trial_is_trained_and_measured(asked: Table) -> None:
    """Two processes with a tiny model; the trial's weights are gone afterwards, its figures and curve are kept."""
    setting, (job, *_) = small_setting(asked, max_steps=2, logging_steps=1, lora_rank=2), trials_of("lora")
    row = runs.run(job, setting)
    assert [(phase, step) for phase, step, _ in row["curve"]] == [("", 1), ("", 2)]
    assert list(row["scores"]) == list(VALIDATION)
    assert row["training_seconds"] > 0
    assert not (asked.out / "lora-trial-0").exists()
    assert runs.kept_result(job, setting) == row
    with pytest.raises(UpstreamError, match=r"training lora, trial 0 failed with exit code \d"):
        runs.run(job, replace(setting, extra={"lora_rank": "x"}))


def test_a_row_of_citi_keeps_its_map_and_its_routers(asked: Table, monkeypatch: pytest.MonkeyPatch) -> None:
    """Its own options on the tiny model; measured again with other numbers of items, it is not trained again."""
    small = {"citi_rank": 2, "citi_top_ratio": 0.3, "citi_bottom_ratio": 0.2, "logging_steps": 1}
    job = run_of("citi", 42, KINDS["citi"].trials[2])
    setting = small_setting(asked, citi_importance_samples=4, citi_report_samples=2, **small)
    row = runs.run(job, setting)
    assert {phase.rpartition("-")[2] for phase, _, _ in row["curve"]} == {"rp", "mi", "uco"}
    assert list(row["scores"]) == list(TEST)
    shown = {path.name for path in (setting.rows / "citi-42").iterdir() if not path.name.startswith(".")}
    assert shown == set(runs._SHOWN)
    steps: list[str] = []

    def noted(_command: Sequence[str], _log: Path, doing: str) -> float:
        steps.append(doing)
        return 1.0

    monkeypatch.setattr(runs, "_step", noted)
    again = runs.run(job, replace(setting, limit=2))
    assert steps == ["measuring citi, seed 42"]
    assert again["training_seconds"] == row["training_seconds"]
    assert again["made_from"] != row["made_from"]
