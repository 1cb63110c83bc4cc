"""What evaluations steer, what they measure, and what is found before anything is loaded."""

from __future__ import annotations

import json
import sys
from pathlib import Path
from typing import Any

import pytest
from llamafactory.hparams import get_train_args
from llamafactory.train.tuner import run_exp
from safetensors.torch import load_file
from transformers import TrainerCallback

import option_runs
from llamafactory_ext.errors import DataError, OptionError
from llamafactory_ext.options.fates import quantized
from llamafactory_ext.options.fates.conditions import measures, resume_remarks
from llamafactory_ext.options.fates.row import Command
from runs import citi_options, equal, phase_of, train

EVALUATED = {"eval_strategy": "steps", "eval_steps": 1, "val_size": 0.25, "save_strategy": "steps", "save_steps": 1}


@pytest.fixture(scope="module")
def world(tmp_path_factory: pytest.TempPathFactory) -> dict[str, str]:
    return option_runs.make_world(tmp_path_factory.mktemp("world"))


@pytest.fixture
def command(world: dict[str, str], tmp_path: Path) -> Any:
    """Options of a run by its method."""

    def options(method: str, **changes: Any) -> dict[str, Any]:
        places = {"model_name_or_path": world["model"], "dataset_dir": world["data"]}
        return option_runs.options_of(method, places | {"output_dir": str(tmp_path / "run")} | changes)

    return options


def problems_of(options: dict[str, Any]) -> list[str]:
    with pytest.raises(OptionError) as caught:
        get_train_args(options)
    return [line.removeprefix("  - ") for line in caught.value.message.splitlines()[1:]]


class Steps(TrainerCallback):
    """Counts the steps of each phase."""

    def __init__(self) -> None:
        self.of: dict[str, int] = {}

    def on_step_end(self, args: Any, state: Any, control: Any, **_: Any) -> None:
        self.of[phase_of(args)] = state.global_step


def test_the_best_checkpoint_never_throws_router_training_away(
    tiny_llama_dir: Path, tiny_data_dir: Path, tmp_path: Path
) -> None:
    """In phase rp every evaluation gives the same loss; the first would be the best for good."""
    common = EVALUATED | {"max_steps": 3, "citi_phases": "rp,mi", "citi_mi_lr": 1.0}
    plain = train(citi_options(tiny_llama_dir, tiny_data_dir, tmp_path / "plain", **common))
    best = train(citi_options(tiny_llama_dir, tiny_data_dir, tmp_path / "best", load_best_model_at_end=True, **common))
    assert equal(plain.adapter("rp"), best.adapter("rp"))
    assert not equal(plain.adapter("mi"), best.adapter("mi")), "at such a rate the last step is not the best"
    losses = [entry["eval_loss"] for entry in _history(best.folder("rp")) if "eval_loss" in entry]
    assert len(set(losses)) == 1


def test_patience_ends_phases_that_evaluations_can_judge(
    tiny_llama_dir: Path, tiny_data_dir: Path, tmp_path: Path
) -> None:
    steps = Steps()
    options = citi_options(
        tiny_llama_dir,
        tiny_data_dir,
        tmp_path / "run",
        **EVALUATED | {"save_strategy": "no", "citi_mi_lr": 1.0, "citi_uco_lr": 1.0, "max_steps": 4},
        early_stopping_steps=1,
        metric_for_best_model="eval_loss",
        greater_is_better=True,  # the loss falls or blows up: either way one of the phases stops
    )
    train(options, steps)
    assert steps.of["rp"] == 4
    assert min(steps.of["mi"], steps.of["uco"]) < 4


def _history(folder: Path) -> list[dict[str, float]]:
    found: list[dict[str, float]] = json.loads((folder / "trainer_state.json").read_text("utf-8"))["log_history"]
    return found


def test_accuracy_is_upstreams_own(command: Any, tmp_path: Path) -> None:
    """An evaluation without training gives the accuracy that stage sft gives."""
    alone = {"do_train": None, "do_eval": True, "eval_dataset": "more", "dataset": None, "compute_accuracy": True}
    found = {}
    for stage in ("sft", "tl_sft"):
        options = command("tl_sft", **alone, stage=stage, output_dir=str(tmp_path / stage))
        if stage == "sft":
            del options["tl_use_mae"]
        run_exp(options)
        found[stage] = json.loads((tmp_path / stage / "eval_results.json").read_text("utf-8"))["eval_accuracy"]
    assert 0 <= found["sft"] < 1
    assert found["tl_sft"] == pytest.approx(found["sft"], abs=1e-12)


@pytest.mark.parametrize("method", ["citi", "tl_sft"])
def test_accuracy_leaves_training_as_it_is(command: Any, tmp_path: Path, method: str) -> None:
    for name, asked in (("with", True), ("without", None)):
        changes = {"do_eval": True, "val_size": 0.25, "compute_accuracy": asked, "output_dir": str(tmp_path / name)}
        run_exp(command(method, **changes))
    results = json.loads((tmp_path / "with" / "eval_results.json").read_text("utf-8"))
    assert 0 <= results["eval_accuracy"] <= 1
    assert equal(_adapter(tmp_path / "with"), _adapter(tmp_path / "without"))


def _adapter(folder: Path) -> dict[str, Any]:
    return load_file(folder / "adapter_model.safetensors")


def test_pissa_starts_at_its_reference(command: Any, tmp_path: Path) -> None:
    """The principal part of the base stands in the adapter: turned off, it would be another model."""
    run_exp(command("tl_ppo", pissa_init=True, lora_rank=4))
    first = next(entry for entry in _history(tmp_path / "run") if "kl" in entry)
    assert abs(first["kl"]) < 1e-3
    assert "pissa_init moves a part" in "".join(problems_of(command("tl_ppo", pissa_init=True, tl_reference="base")))


def test_the_best_policy_is_kept(command: Any, tmp_path: Path) -> None:
    changes = EVALUATED | {"max_steps": 3, "eval_dataset": "more", "val_size": None, "learning_rate": 0.1}
    run_exp(command("tl_ppo", load_best_model_at_end=True, **changes))
    state = json.loads((tmp_path / "run" / "trainer_state.json").read_text("utf-8"))
    rewards = [entry["eval_reward"] for entry in state["log_history"] if "eval_reward" in entry][:3]
    assert state["best_metric"] == max(rewards)
    assert equal(_adapter(tmp_path / "run"), _adapter(Path(state["best_model_checkpoint"])))


@pytest.mark.parametrize("method", ["citi", "tl_sft", "tl_ppo"])
def test_what_would_fail_after_hours_fails_at_the_start(command: Any, method: str) -> None:
    wrong = {
        "early_stopping_steps": 3,
        "optim": "adamw_8bit",
        "report_to": "wandb",
        "eval_dataset": "nowhere",
        "metric_for_best_model": "eval_beauty",
        "lr_scheduler_type": "cosine_with_min_lr",
        "cutoff_len": -1,
        "template": "lama3",
        "use_badam": True,
    }
    lines = problems_of(command(method, **wrong))
    for name in ("early_stopping_steps", "optim", "report_to", "eval_dataset", "lr_scheduler_type", "template"):
        assert sum(line.startswith(name) for line in lines) == 1, (name, lines)
    assert "cutoff_len=-1: give a whole number from 1 up" in lines
    assert any(line.startswith("use_badam ") for line in lines)


@pytest.mark.parametrize(
    ("method", "changes", "message"),
    [
        ("tl_sft", {"save_strategy": "best"}, "save_strategy: best needs evaluations while it trains"),
        ("citi", EVALUATED | {"metric_for_best_model": "eval_accuracy"}, "metric_for_best_model=eval_accuracy is no"),
        ("tl_ppo", EVALUATED | {"metric_for_best_model": "eval_loss"}, "metric_for_best_model=eval_loss is no"),
        ("tl_sft", EVALUATED | {"early_stopping_steps": 2}, "needs a measure; set metric_for_best_model: eval_loss"),
        ("tl_ppo", EVALUATED | {"lr_scheduler_type": "reduce_lr_on_plateau"}, "follows an evaluation loss"),
        ("tl_sft", {"do_eval": True}, "do_eval needs data to evaluate on; set eval_dataset or val_size"),
        ("tl_sft", {"resume_from_checkpoint": "nowhere"}, "resume_from_checkpoint=nowhere does not exist"),
        ("tl_sft", {"resume_from_checkpoint": "."}, "resume_from_checkpoint=. is no checkpoint; name a folder"),
        ("citi", {"log_level": "loud"}, "log_level='loud': give one of detail, debug, info, warning, error"),
        ("tl_ppo", {"log_level_replica": "WARN"}, "log_level_replica='WARN': give one of"),
        ("tl_sft", {"train_sampling_strategy": "typo"}, "train_sampling_strategy='typo': give one of random,"),
        ("citi", {"lr_scheduler_kwargs": "hello"}, "lr_scheduler_kwargs='hello': give names with values"),
        ("tl_sft", {"lr_scheduler_kwargs": ["num_cycles"]}, "lr_scheduler_kwargs=['num_cycles']: give names"),
        ("citi", {"tool_format": "qwne"}, "tool_format=qwne does not exist; take one of default,"),
        ("tl_sft", {"adapter_name_or_path": "./nowhere"}, "adapter_name_or_path=nowhere does not exist"),
        ("tl_sft", {"dataset": "tiyn"}, "dataset=tiyn is not in"),
        ("tl_ppo", {"dataset_dir": "nowhere"}, "dataset_dir=nowhere has no dataset_info.json"),
        ("citi", {"report_to": "notebook"}, "report_to: notebook does not exist; take one of"),
        ("tl_sft", {"optim": "galore_adamw_layerwise"}, "keeps an optimiser per weight"),
        ("citi", {"optim": "lomo"}, "optim: lomo does not work with finetuning_type: citi"),
        (
            "tl_sft",
            {"dataset": "tiny,more", "mix_strategy": "interleave_under", "interleave_probs": "0.9,0.9"},
            "interleave_probs=0.9,0.9: give shares from 0 up that sum to 1",
        ),
        ("tl_sft", {"do_predict": True, "val_size": 0.25}, "do_predict does not work while stage: tl_sft trains"),
        (
            "citi",
            {"gradient_checkpointing": True, "disable_gradient_checkpointing": True},
            "gradient_checkpointing and disable_gradient_checkpointing contradict each other",
        ),
    ],
)
def test_conditions_between_options(command: Any, method: str, changes: dict[str, Any], message: str) -> None:
    lines = problems_of(command(method, **changes))
    assert [line for line in lines if message in line], lines
    assert len(lines) == 1, lines


@pytest.mark.parametrize("method", ["citi", "tl_sft", "tl_ppo"])
def test_more_held_out_than_there_is(command: Any, method: str) -> None:
    with pytest.raises(DataError, match=r"The data cannot be loaded: .*val_size"):
        run_exp(command(method, val_size=100))


def test_an_order_not_to_go_on_beside_a_run_that_would(command: Any, tmp_path: Path) -> None:
    get_train_args(command("tl_sft", resume_from_checkpoint=False))
    (tmp_path / "run" / "checkpoint-3").mkdir(parents=True)
    assert "holds a run that would go on" in problems_of(command("tl_sft", resume_from_checkpoint=False))[0]
    _, _, training_args, *_ = get_train_args(
        command("tl_sft", resume_from_checkpoint=False, overwrite_output_dir=True)
    )
    assert training_args.resume_from_checkpoint is None


@pytest.mark.parametrize(
    ("way", "package"),
    [({}, "bitsandbytes"), ({"quantization_method": "hqq"}, "hqq"), ({"quantization_method": "eetq"}, "eetq")],
)
@pytest.mark.parametrize("method", ["citi", "tl_sft", "tl_ppo"])
def test_quantization_without_its_package(
    command: Any, method: str, way: dict[str, str], package: str, monkeypatch: pytest.MonkeyPatch
) -> None:
    monkeypatch.setattr(quantized, "find_spec", lambda name: None)
    monkeypatch.delitem(sys.modules, package, raising=False)
    phases = {"citi_phases": "rp,mi"} if method == "citi" else {}
    (line,) = problems_of(command(method, quantization_bit=8, **way, **phases))
    assert line == f"quantization_bit needs the package {package}; pip install {package}, or remove the option"


@pytest.mark.parametrize(
    ("entry", "kind"),
    [({"columns": {"kto_tag": "label"}}, "kto_tag"), ({"ranking": True, "columns": {}}, "ranking: true")],
)
@pytest.mark.parametrize(
    ("method", "option"), [("tl_sft", "dataset"), ("tl_ppo", "dataset"), ("citi", "eval_dataset")]
)
def test_data_of_preferences(
    command: Any, tmp_path: Path, method: str, option: str, entry: dict[str, Any], kind: str
) -> None:
    known = {"pairs": {"file_name": "pairs.json"} | entry, "tiny": {"file_name": "tiny.json"}}
    (tmp_path / "dataset_info.json").write_text(json.dumps(known), "utf-8")
    (line,) = problems_of(command(method, dataset_dir=str(tmp_path), **{option: "pairs"}))
    assert line.startswith(f"{option}=pairs has {kind} in {tmp_path / 'dataset_info.json'} and is for another stage")


def test_a_schedule_from_json(command: Any) -> None:
    asked = {"lr_scheduler_type": "cosine_with_restarts", "lr_scheduler_kwargs": '{"num_cycles": 4}'}
    _, _, training_args, *_ = get_train_args(command("tl_sft", **asked))
    assert training_args.lr_scheduler_kwargs == {"num_cycles": 4}


def test_going_on_from_nothing_is_said(tmp_path: Path) -> None:
    (line,) = resume_remarks({"resume_from_checkpoint": True}, str(tmp_path))
    assert f"output_dir={tmp_path} holds no checkpoint" in line
    assert resume_remarks({}, str(tmp_path)) == []
    (tmp_path / "phase-1-rp").mkdir()
    assert resume_remarks({"resume_from_checkpoint": True}, str(tmp_path)) == []


def test_measures_of_each_data_set(command: Any) -> None:
    changes = EVALUATED | {"val_size": None, "eval_dataset": "tiny,more", "eval_on_each_dataset": True}
    options = command("tl_sft", **changes)
    assert "more_loss" in measures(Command("tl_sft", options, get_train_args(options)))
    get_train_args(options | {"load_best_model_at_end": True, "metric_for_best_model": "eval_more_loss"})
    assert "take one of eval_tiny_loss" in problems_of(options | {"load_best_model_at_end": True})[0]


@pytest.mark.parametrize("method", ["tl_sft", "tl_ppo"])
def test_the_model_card_is_written(command: Any, tmp_path: Path, method: str) -> None:
    run_exp(command(method))
    card = (tmp_path / "run" / "README.md").read_text("utf-8")
    assert "llama-factory" in card
    assert "tiny" in card


@pytest.mark.parametrize(
    ("method", "names"),
    [
        ("citi", ["phase-2-mi/training_eval_loss.png", "phase-2-mi/training_eval_accuracy.png"]),
        ("tl_sft", ["training_eval_loss.png", "training_eval_accuracy.png"]),
        ("tl_ppo", ["training_eval_reward.png"]),
    ],
)
def test_curves_of_evaluations_are_plotted(command: Any, tmp_path: Path, method: str, names: list[str]) -> None:
    accuracy = {"compute_accuracy": True} if method != "tl_ppo" else {"val_size": None, "eval_dataset": "more"}
    run_exp(command(method, **EVALUATED | {"save_strategy": "no", "plot_loss": True} | accuracy))
    for name in names:
        assert (tmp_path / "run" / name).is_file(), name
