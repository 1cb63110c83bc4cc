"""Whole runs of `stage: tl_ppo` with `tl_environment`, on a random model whose texts count as calls now and then."""

from __future__ import annotations

import json
import shutil
from pathlib import Path
from typing import Any

import pytest
import torch
import yaml
from safetensors.torch import load_file

import environments_made_here as made
from forked import spread
from llamafactory_ext.board.progress import curve, read_logged
from llamafactory_ext.errors import DataError, OptionError
from ppo_runs import accumulated, ppo_options, ppo_records, steps, train, warnings, write_ppo_data

STOP = "e||a||i||o||u|| "
WORLD = {
    "tl_environment": "environments_made_here:counting",
    "tl_reward_function": None,
    "tl_stop": STOP,
    "tl_max_new_tokens": 8,
    "tl_episode_tokens": 48,
    "tl_max_turns": 3,
}
GROUP = WORLD | {"tl_advantage": "group", "tl_group_size": 4, "tl_kl_coef": 0.0}
KINDS: dict[str, dict[str, Any]] = {
    "gae": WORLD,
    "gae, own critic": WORLD | {"tl_critic": "own"},
    "group": GROUP,
    "dr_grpo": GROUP | {"tl_group_scale": False, "tl_loss_mean": "constant"},
    "gspo": GROUP | {"tl_ratio": "sequence", "tl_loss_mean": "response"},
    "rloo": WORLD | {"tl_advantage": "rloo", "tl_group_size": 2},
}
FSDP = Path(__file__).parents[3] / "examples" / "yaml" / "distributed" / "tl_ppo_codellama_fsdp.yaml"
ENGINES: dict[str, dict[str, Any]] = {
    "ddp": {},
    "fsdp": {name: value for name, value in yaml.safe_load(FSDP.read_text("utf-8")).items() if "fsdp" in name},
}
TWICE = {"tl_ppo_epochs": 2, "per_device_train_batch_size": 4, "gradient_accumulation_steps": 2}


def records(count: int) -> list[dict[str, str]]:
    """The records of `ppo_runs`, with names."""
    return [{"id": f"r-{place}", **record} for place, record in enumerate(ppo_records(count))]


@pytest.fixture(scope="module")
def data(tmp_path_factory: pytest.TempPathFactory) -> Path:
    folder = tmp_path_factory.mktemp("ppo_data")
    return write_ppo_data(folder, ppo=records(16), held=records(20)[16:])


def logged(folder: Path) -> list[dict[str, float]]:
    return [{name: value for name, value in entry.items() if "seconds" not in name} for entry in steps(folder)]


def transcripts(folder: Path) -> list[dict[str, Any]]:
    return [json.loads(line) for line in (folder / "episodes.jsonl").read_text("utf-8").splitlines()]


def same(one: Path, other: Path) -> bool:
    ours, theirs = (load_file(folder / "model.safetensors") for folder in (one, other))
    return all(torch.equal(ours[name], theirs[name]) for name in theirs)


@pytest.mark.parametrize("changes", [{}, {"tl_critic": "own"}], ids=["shared", "own"])
def test_one_turn_is_what_it_was_without_an_environment(
    changes: dict[str, Any], tiny_llama_dir: Path, data: Path, tmp_path: Path
) -> None:
    """The same rewards through an environment give the same weights, to the last bit."""
    common = {"max_steps": 4, "eval_dataset": "held", "do_eval": True} | TWICE | changes
    plain = ppo_options(tiny_llama_dir, data, tmp_path / "plain", **common, tl_reward_function="ppo_rewards:vowels")
    world = {"tl_environment": "environments_made_here:once", "tl_reward_function": None}
    acting = ppo_options(tiny_llama_dir, data, tmp_path / "acting", **common, **world)
    one, other = train(plain), train(acting)
    assert same(one, other)
    for left, right in zip(logged(one), logged(other), strict=True):
        assert {name: right[name] for name in left if not name.startswith("part_")} == {
            name: value for name, value in left.items() if not name.startswith("part_")
        }
    assert (one / "model.safetensors").read_bytes() != (tiny_llama_dir / "model.safetensors").read_bytes()
    results = [json.loads((folder / "eval_results.json").read_text()) for folder in (one, other)]
    assert results[0]["eval_reward"] == results[1]["eval_reward"]


@pytest.mark.parametrize("kind", KINDS)
def test_episodes_of_several_turns_are_learned_from(
    kind: str, tiny_llama_dir: Path, data: Path, tmp_path: Path, monkeypatch: pytest.MonkeyPatch
) -> None:
    made.calls_by_length(monkeypatch)
    made.SEEN.clear()
    run = train(ppo_options(tiny_llama_dir, data, tmp_path / "out", max_steps=4, **KINDS[kind], **TWICE))
    entries = [entry for entry in logged(run) if "turns" in entry]
    assert max(entry["turns"] for entry in entries) > 1
    shown = read_logged(run)  # by the Board
    assert shown is not None
    for name in ("reward", "success", "turns", "response_tokens", "episode_tokens"):
        assert curve(shown.phases, name)[1] == [entry[name] for entry in entries]
    for entry in entries:
        assert entry["ended"] + entry["turn_limit"] + entry["token_limit"] == pytest.approx(1)
        assert entry["cut"] == entry["token_limit"]
        assert 0 <= entry["success"] <= min(entry["part_called"], entry["part_answered"])
        assert entry["episode_tokens"] >= entry["response_tokens"]
        assert not any(value for name, value in entry.items() if name.startswith("fault_"))
        assert not [name for name in entry if name.startswith("part_correct")]
    before = load_file(tiny_llama_dir / "model.safetensors")
    assert any(not torch.equal(value, before[name]) for name, value in load_file(run / "model.safetensors").items())
    assert {record["id"] for record in made.SEEN} == {f"r-{place}" for place in range(16)}
    assert all(record["turns"][-1]["content"] == record["output"] for record in made.SEEN)
    kept = transcripts(run)
    assert [(line["step"], line["which"]) for line in kept] == [(1, "best"), (1, "worst"), (3, "best"), (3, "worst")]
    assert kept[0]["reward"] >= kept[1]["reward"]
    assert kept[0]["id"].startswith("r-")
    assert {role for line in kept for role, _ in line["transcript"]} <= {"policy", "environment"}


@pytest.mark.parametrize("kind", ["gae", "group"])
def test_a_finished_model_is_evaluated_without_training_data(
    kind: str, tiny_llama_dir: Path, data: Path, tmp_path: Path, monkeypatch: pytest.MonkeyPatch
) -> None:
    made.calls_by_length(monkeypatch)
    alone = {"do_train": False, "do_eval": True, "dataset": None, "eval_dataset": "held", "max_steps": None}
    run = train(ppo_options(tiny_llama_dir, data, tmp_path / "out", **KINDS[kind] | alone))
    found = json.loads((run / "eval_results.json").read_text("utf-8"))
    assert {"eval_reward", "eval_success", "eval_turns"} <= set(found)
    assert not (run / "model.safetensors").exists()


@pytest.mark.parametrize("kind", ["gae", "group"])
def test_resuming_is_exact(
    kind: str, tiny_llama_dir: Path, data: Path, tmp_path: Path, monkeypatch: pytest.MonkeyPatch
) -> None:
    made.calls_by_length(monkeypatch)
    saved = {"save_strategy": "steps", "save_steps": 1, "max_steps": 4}
    options = ppo_options(tiny_llama_dir, data, tmp_path / "whole", **KINDS[kind], **TWICE, **saved)
    whole = train(options)
    for step in (1, 2):
        part = tmp_path / f"part-{step}"
        shutil.copytree(whole / f"checkpoint-{step}", part / f"checkpoint-{step}")
        shutil.copy(whole / "episodes.jsonl", part)
        train(options | {"output_dir": str(part)})
        assert same(part, whole)
        assert logged(part) == logged(whole)
        assert transcripts(part) == transcripts(whole)


@pytest.mark.parametrize("kind", ["gae", "group", "dr_grpo"])
def test_accumulation_does_not_change_an_update(
    kind: str, tiny_llama_dir: Path, data: Path, tmp_path: Path, monkeypatch: pytest.MonkeyPatch
) -> None:
    """Also where what is padding differs: episodes lie in other micro-batches."""
    made.calls_by_length(monkeypatch)
    found = accumulated(tiny_llama_dir, data, tmp_path, **KINDS[kind])
    assert all(torch.allclose(found[0][name], found[1][name], atol=1e-6) for name in found[0])


def test_another_look_gives_the_numbers_of_the_rollout(
    tiny_llama_dir: Path, data: Path, tmp_path: Path, monkeypatch: pytest.MonkeyPatch
) -> None:
    """Log-probabilities and values noted turn by turn are those of one pass over whole episodes."""
    from llamafactory_ext.tl.ppo.trainer import PpoTrainer

    made.calls_by_length(monkeypatch)
    found = []
    for exact in (True, False):
        if not exact:
            monkeypatch.setattr(PpoTrainer, "_draws_exactly", lambda _: False)
        options = ppo_options(tiny_llama_dir, data, tmp_path / str(exact), **WORLD, max_steps=2, optim="sgd")
        found.append(load_file(train(options) / "model.safetensors"))
    assert all(torch.allclose(found[0][name], found[1][name], atol=1e-5) for name in found[0])


def test_episodes_that_a_limit_of_tokens_cuts_move_nothing(
    tiny_llama_dir: Path, data: Path, tmp_path: Path, monkeypatch: pytest.MonkeyPatch
) -> None:
    """A limit of turns is no cut: there the policy learns from what it did."""
    made.calls_by_length(monkeypatch)
    found = {}
    for name, changes in {
        "tokens": {"tl_max_new_tokens": 2, "tl_stop": None},
        "turns": {"tl_max_turns": 1},
    }.items():
        options = ppo_options(tiny_llama_dir, data, tmp_path / name, **(GROUP | {"tl_mask_cut": True} | changes))
        found[name] = steps(train(options))
    assert all(entry["token_limit"] == 1 and entry["grad_norm"] == 0 for entry in found["tokens"])
    assert any(entry["turn_limit"] > 0 and entry["grad_norm"] > 0 for entry in found["turns"])


def test_failing_environments_are_counted_and_told_with_their_place(
    tiny_llama_dir: Path, data: Path, tmp_path: Path, monkeypatch: pytest.MonkeyPatch
) -> None:
    said = warnings(monkeypatch)
    changes = {"tl_environment": "environments_made_here:now_and_then", "tl_fault_reward": -3.0}
    run = train(ppo_options(tiny_llama_dir, data, tmp_path / "out", **(WORLD | changes)))
    shares = [entry["fault_raised"] for entry in steps(run)]
    assert all(0 < share < 1 for share in shares)
    told = [line for line in said if "environment failed in" in line]
    assert len(told) == len(shares)
    assert "ppo.json, index" in told[0]
    assert "reward -3" in told[0]
    assert any(line["fault"] and line["reward"] == -3 for line in transcripts(run))


@pytest.mark.parametrize("skip", [False, True])
def test_an_environment_that_always_fails_stops_the_run_unless_it_is_skipped(
    skip: bool, tiny_llama_dir: Path, data: Path, tmp_path: Path
) -> None:
    changes = {"tl_environment": "environments_made_here:crash", "tl_skip_bad": skip}
    options = ppo_options(tiny_llama_dir, data, tmp_path / "out", **(WORLD | changes))
    if skip:
        assert all(entry["fault_raised"] == 1 and entry["reward"] == -1 for entry in steps(train(options)))
        return
    with pytest.raises(DataError) as error:
        train(options)
    assert "failed in every episode" in error.value.message


@pytest.mark.parametrize("skip", [False, True])
def test_records_that_the_environment_does_not_know(
    skip: bool, tiny_llama_dir: Path, data: Path, tmp_path: Path
) -> None:
    """They are told before a model is loaded, or left out."""
    changes = {"tl_environment": "environments_made_here:picky", "tl_skip_bad": skip}
    options = ppo_options(tiny_llama_dir, data, tmp_path / "out", **(WORLD | changes))
    if skip:
        made.SEEN.clear()
        run = train(options | {"max_steps": 4})
        begun = [record["id"] for record in made.SEEN[16:]]
        assert len(begun) == 16
        assert all(int(name[2:]) % 2 == 0 for name in begun)
        report = json.loads((run / "data_report.json").read_text("utf-8"))
        assert "the environment cannot begin with it" in json.dumps(report)
        return
    with pytest.raises(DataError) as error:
        train(options)
    assert "(LookupError: r-1): 8 of 16 (ppo.json, index 1, ppo.json, index 3, " in error.value.message
    assert "tl_skip_bad" in error.value.message


@pytest.mark.parametrize("engine", ["ddp", "fsdp"])
def test_two_processes_learn_what_one_learns(
    engine: str, tiny_llama_dir: Path, data: Path, tmp_path: Path, monkeypatch: pytest.MonkeyPatch
) -> None:
    """Greedy episodes do not depend on the process; those of one end after fewer turns than the other's."""
    made.calls_by_length(monkeypatch)
    world = WORLD | {"tl_environment": "environments_made_here:counting_by_length", "tl_temperature": 0}
    common = world | {"max_steps": 2, "optim": "sgd", "learning_rate": 0.05, "eval_dataset": "held", "do_eval": True}
    one = train(ppo_options(tiny_llama_dir, data, tmp_path / "one", per_device_train_batch_size=8, **common))
    options = ppo_options(
        tiny_llama_dir, data, tmp_path / "two", per_device_train_batch_size=4, **(common | ENGINES[engine])
    )
    (tmp_path / "jobs.json").write_text(json.dumps({engine: options}), encoding="utf-8")
    result = spread(Path(__file__).with_name("spread_ppo.py"), ["jobs.json"], tmp_path)
    assert result.returncode == 0, result.stdout[-2000:] + result.stderr[-3000:]
    ours, theirs = (load_file(folder / "model.safetensors") for folder in (tmp_path / "two", one))
    assert all(torch.allclose(ours[name], theirs[name], atol=2e-5) for name in theirs)
    for left, right in zip(steps(tmp_path / "two"), steps(one), strict=True):
        for name in ("reward", "turns", "success", "response_tokens", "episode_tokens", "policy_loss", "part_called"):
            assert left[name] == pytest.approx(right[name], abs=1e-4), name
    assert max(entry["turns"] for entry in steps(one)) > 1
    results = [json.loads((folder / "eval_results.json").read_text()) for folder in (tmp_path / "two", one)]
    assert results[0]["eval_turns"] == pytest.approx(results[1]["eval_turns"])


@pytest.mark.fast
@pytest.mark.parametrize(
    ("changes", "part"),
    [
        ({"tl_environment": "environments_made_here:nothing"}, "tl_environment=environments_made_here:nothing"),
        ({"tl_environment": "no_module:f"}, "tl_environment=no_module:f"),
        ({"tl_environment_args": "{"}, "tl_environment_args: it is no JSON"),
        ({"tl_environment_args": "[1]"}, "write a JSON object"),
        ({"tl_environment_args": '{"depth": 1}'}, "unexpected keyword argument 'depth'"),
        ({"tl_reward_function": "ppo_rewards:vowels"}, "tl_reward_function has no effect with tl_environment"),
        ({"tl_reward_variant": "reference"}, "tl_reward_variant has no effect"),
        ({"tl_turns": "last"}, "tl_turns has no effect"),
        ({"tl_environment": None, "tl_max_turns": 3}, "tl_max_turns has no effect with tl_environment unset"),
        ({"tl_max_turns": 0}, "tl_max_turns=0"),
        ({"tl_environment_timeout": 0}, "tl_environment_timeout=0"),
        ({"tl_episode_tokens": 1.5}, "tl_episode_tokens=1.5"),
        ({"tl_fault_reward": "nan"}, "tl_fault_reward"),
    ],
)
def test_wrong_options_say_what_to_change(
    tiny_llama_dir: Path, data: Path, tmp_path: Path, changes: dict[str, Any], part: str
) -> None:
    with pytest.raises((OptionError, DataError)) as error:
        train(ppo_options(tiny_llama_dir, data, tmp_path, **(WORLD | changes)))
    assert part in error.value.message
