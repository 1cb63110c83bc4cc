"""What stands in MOLoRA's place in the ablations: chosen, trained, resumed, saved and loaded like MOLoRA itself."""

from __future__ import annotations

import shutil
from pathlib import Path
from typing import Any

import pytest
import torch
from llamafactory.hparams import get_infer_args
from llamafactory.model import load_model, load_tokenizer
from llamafactory.train.tuner import export_model
from peft import PeftModel
from transformers import AutoModelForCausalLM

import tiny
from llamafactory_ext.checkpoint.base import check_base
from llamafactory_ext.citi.importance_file import Importance
from llamafactory_ext.errors import CheckpointError
from llamafactory_ext.training.parameters import parameter_group
from runs import Interrupt, Run, Snapshots, citi_options, differing, equal, train

IDS = torch.randint(5, 300, (2, 12), generator=torch.Generator().manual_seed(1))
# MOLoRA's own settings of `citi_options` that the other adapters refuse; None leaves them at their defaults.
UNGATED = {"citi_num_experts": 4}
VARIANTS: dict[str, dict[str, Any]] = {
    "lora": {"citi_adapter": "lora", "citi_phases": "mi,uco", "citi_alpha": 8, **UNGATED},
    "full": {"citi_adapter": "full", "citi_phases": "mi", "citi_mi_lr": 1e-3, "citi_rank": 8, **UNGATED},
    "no neutral gate": {"citi_router_neutral": False, "citi_router_beta": 0, "citi_phases": "mi,uco"},
}
MOVING = {
    "lora": {"mi": {"lora"}, "uco": {"backbone"}},
    "full": {"mi": {"backbone"}},
    "no neutral gate": {"mi": {"router", "experts"}, "uco": {"backbone"}},
}


@pytest.fixture(scope="module")
def importance(tiny_llama_dir: Path, tiny_data_dir: Path, tmp_path_factory: pytest.TempPathFactory) -> Path:
    """An importance file that all runs here share."""
    folder = tmp_path_factory.mktemp("importance")
    train(citi_options(tiny_llama_dir, tiny_data_dir, folder, citi_phases="rp"))
    return folder / "importance.json"


@pytest.fixture(scope="module", params=VARIANTS)
def variant(
    request: pytest.FixtureRequest,
    importance: Path,
    tiny_llama_dir: Path,
    tiny_data_dir: Path,
    tmp_path_factory: pytest.TempPathFactory,
) -> tuple[str, dict[str, Any], Run, Snapshots]:
    """Name, options, a whole run with report, and what moved in it."""
    changes = {"citi_importance_load": str(importance), "citi_report_samples": 2, "citi_mi_epochs": 1}
    options = citi_options(
        tiny_llama_dir, tiny_data_dir, tmp_path_factory.mktemp("run"), **changes, **VARIANTS[request.param]
    )
    snapshots = Snapshots()
    return request.param, options, train(options, snapshots, pictures=True), snapshots


@torch.no_grad()
def logits(model: Any) -> torch.Tensor:
    return model.eval()(input_ids=IDS).logits


def test_exactly_what_the_phase_trains_moves(variant: tuple[str, dict[str, Any], Run, Snapshots]) -> None:
    name, _, run, seen = variant
    selection = run.json("selection.json")
    assert list(seen.begin) == list(MOVING[name])
    for phase, groups in MOVING[name].items():
        expected = {weight for weight in seen.begin[phase] if parameter_group(weight) in groups}
        assert expected
        assert differing(seen.begin[phase], seen.end[phase]) == expected == seen.trainable[phase]
        chosen = selection["tuned"] if phase == "uco" else selection["adapted"]
        for weight in expected:
            assert sum(f".{component}." in weight for component in chosen) == 1, weight
        assert set(run.json(f"{run.folder(phase).name}/adapter/manifest.json")["trained"]) == groups


def test_the_adapter_loads_with_peft_as_it_was_trained(
    variant: tuple[str, dict[str, Any], Run, Snapshots], tiny_llama_dir: Path
) -> None:
    name, _, run, seen = variant
    model = PeftModel.from_pretrained(AutoModelForCausalLM.from_pretrained(tiny_llama_dir), run.path)
    assert torch.equal(logits(model), logits(seen.model))
    untouched = logits(tiny.tiny_model())
    assert (logits(model) - untouched).abs().max() > 1e-3
    with model.disable_adapter():
        assert torch.equal(logits(model), untouched)
    kinds = {"lora": "LORA", "full": "LORA", "no neutral gate": "MOLORA"}
    assert run.json("adapter_config.json")["peft_type"] == kinds[name]
    if name != "full":
        assert run.json("adapter_config.json")["target_modules"] == run.json("selection.json")["adapted"]


def test_chat_and_export_take_it(
    variant: tuple[str, dict[str, Any], Run, Snapshots], tiny_llama_dir: Path, tmp_path: Path
) -> None:
    """As the commands load it; the export needs no adapter and gives the same logits."""
    name, _, run, _ = variant
    options = {
        "model_name_or_path": str(tiny_llama_dir),
        "adapter_name_or_path": str(run.path),
        "template": "llama3",
        "finetuning_type": "citi",
        "infer_dtype": "float32",
        "export_dir": str(tmp_path / "out"),
    }
    model_args, _, finetuning_args, _ = get_infer_args(options)
    model = load_model(load_tokenizer(model_args)["tokenizer"], model_args, finetuning_args)
    assert isinstance(model, PeftModel)
    expected = logits(model)
    assert (expected - logits(tiny.tiny_model())).abs().max() > 1e-3
    export_model(options)
    exported = AutoModelForCausalLM.from_pretrained(tmp_path / "out")
    assert exported.config.model_type == ("citi_llama" if name == "no neutral gate" else "llama")
    assert (logits(exported) - expected).abs().max() < (1e-5 if name == "lora" else 1e-6)
    card, selection = (tmp_path / "out" / "README.md").read_text("utf-8"), run.json("selection.json")
    for component in (*selection["adapted"], *selection["tuned"]):
        assert f"- `{component}`" in card
    assert run.json("manifest.json")["data"] in card
    assert f"| Base | `{tiny_llama_dir}` |" in card, "a folder has no revision"
    assert f"base_model: {tiny_llama_dir}" in card


def test_another_base_is_noticed(variant: tuple[str, dict[str, Any], Run, Snapshots], tmp_path: Path) -> None:
    _, _, run, _ = variant
    check_base(tiny.tiny_model(), run.path)
    with pytest.raises(CheckpointError, match="was trained on another base model than this one"):
        check_base(tiny.tiny_model(seed=1), run.path)
    for file in ("adapter_config.json", "adapter_model.safetensors"):
        shutil.copy(run.path / file, tmp_path / file)
    if run.json("adapter_config.json")["peft_type"] == "LORA":
        with pytest.raises(CheckpointError, match="holds a LORA adapter, not a MOLoRA or DATA one; set"):
            check_base(tiny.tiny_model(), tmp_path)


def test_report_log_and_files(variant: tuple[str, dict[str, Any], Run, Snapshots]) -> None:
    name, _, run, _ = variant
    report, selection = run.json("report.json"), run.json("selection.json")
    assert set(report["after"]) == {"tool", "math", "instructions"}
    assert report["after"]["tool"]["loss"] != report["before"]["tool"]["loss"]
    if name == "no neutral gate":
        assert set(report["gates"]) == set(selection["adapted"])
        assert {len(gates["tool"]) for gates in report["gates"].values()} == {2}
        assert all(sum(gates["tool"]) == pytest.approx(1, abs=1e-5) for gates in report["gates"].values())
    else:
        assert report["gates"] == {}
    assert (run.path / "routers.png").exists() == (name == "no neutral gate")
    assert (run.path / "importance.png").stat().st_size > 5_000
    assert all(step["loss"] == pytest.approx(step["loss_lm"]) for phase in MOVING[name] for step in run.steps(phase))
    assert not any("loss_router" in step or "gate0_tool" in step for step in run.steps("mi"))
    chosen = next(line for line in run.said if "components" in line)
    assert ("MOLoRA" in chosen) == (name == "no neutral gate")


def test_an_interrupted_run_goes_on(variant: tuple[str, dict[str, Any], Run, Snapshots], tmp_path: Path) -> None:
    _, options, straight, _ = variant
    options = options | {
        "output_dir": str(tmp_path),
        "citi_report_samples": 0,
        "save_strategy": "steps",
        "save_steps": 3,
    }
    with pytest.raises(KeyboardInterrupt):
        train(options, Interrupt("mi", "on_step_end", 5))
    run = train(options)
    assert f"Resuming phase mi from {tmp_path / 'phase-1-mi' / 'checkpoint-3'}." in run.said
    assert equal(run.weights(), straight.weights())


def test_the_ends_of_the_ranking(importance: Path, tiny_llama_dir: Path, tiny_data_dir: Path, tmp_path: Path) -> None:
    """Bottom takes the least important for tools; random follows the seed; top is the default."""
    scores = Importance.load(importance).tool_scores()
    chosen = {}
    for name, changes in {
        "top": {},
        "bottom": {"citi_select": "bottom"},
        "random": {"citi_select": "random"},
        "again": {"citi_select": "random"},
        "other seed": {"citi_select": "random", "seed": 11},
    }.items():
        common = {"citi_importance_load": str(importance), "citi_phases": "mi", "max_steps": 1}
        run = train(citi_options(tiny_llama_dir, tiny_data_dir, tmp_path / name, **common, **changes))
        chosen[name] = run.json("adapter_config.json")["target_modules"]
        assert run.json("selection.json")["end"] == changes.get("citi_select", "top")
        assert run.json("selection.json")["adapted"] == chosen[name]
    assert chosen["top"] == sorted(scores, key=lambda component: -scores[component])[:4]
    assert chosen["bottom"] == sorted(scores, key=lambda component: scores[component])[:4]
    assert chosen["random"] == chosen["again"] != chosen["other seed"]
    assert set(chosen["random"]) not in ({*chosen["top"]}, {*chosen["bottom"]})
