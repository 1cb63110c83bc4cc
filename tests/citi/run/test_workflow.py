"""One command from base model and data to a checkpoint that loads, for each architecture."""

from __future__ import annotations

import json
import sys
from pathlib import Path
from typing import Any

import pytest
import torch
from peft import PeftModel
from transformers import AutoModelForCausalLM, PreTrainedModel

import llamafactory_ext  # noqa: F401  # registers MOLoRA with PEFT
import tiny
from llamafactory_ext.training.parameters import parameter_group
from processes import run as run_process
from runs import PHASES, WEIGHTS, Run, Snapshots, citi_options, equal, train

PICTURES = ("importance.png", "training.png", "routers.png")
JSON_FILES = ("importance.json", "selection.json", "report.json", "manifest.json", "adapter_config.json")
IDS = torch.randint(5, 300, (2, 12), generator=torch.Generator().manual_seed(1))
BETA = 0.5  # the few steps of a test must show in the gates
_PNG = b"\x89PNG\r\n\x1a\n"


@pytest.fixture(scope="module", params=tiny.ARCHITECTURES)
def trained(
    request: pytest.FixtureRequest, tiny_data_dir: Path, tmp_path_factory: pytest.TempPathFactory
) -> tuple[Path, Run, Snapshots]:
    """The base model's folder, a whole run on it, and the model as it was trained."""
    base = tiny.save_tiny_model(tmp_path_factory.mktemp(request.param) / "base", request.param)
    snapshots = Snapshots()
    options = citi_options(
        base,
        tiny_data_dir,
        base.parent / "run",
        citi_report_samples=3,
        citi_top_ratio=0.4,
        citi_bottom_ratio=0.25,
        citi_router_beta=BETA,
        citi_rp_epochs=2,
    )
    return base, train(options, snapshots, pictures=True), snapshots


def load_base(path: Path) -> PreTrainedModel:
    return AutoModelForCausalLM.from_pretrained(path).eval()


@torch.no_grad()
def logits(model: Any) -> torch.Tensor:
    return model.eval()(input_ids=IDS).logits


def test_every_file_is_there_and_whole(trained: tuple[Path, Run, Snapshots]) -> None:
    base, run, _ = trained
    for name in JSON_FILES:
        assert run.json(name), name
    for name in PICTURES:
        content = (run.path / name).read_bytes()
        assert content.startswith(_PNG), name
        assert len(content) > 5_000, name
    card = (run.path / "README.md").read_text("utf-8")
    assert card.startswith("---\nlibrary_name: peft\n")
    assert str(base) in card
    assert "Before and after training, on training examples" in card
    assert [path.name for path in sorted(run.path.glob("phase-*"))] == ["phase-1-rp", "phase-2-mi", "phase-3-uco"]
    leftovers = [str(path) for path in run.path.rglob("*") if path.name.endswith(".tmp")]
    assert leftovers == []
    assert list(run.path.glob("*.bin")) + list(run.path.rglob("adapter/*.bin")) == []


def test_the_finished_adapter_is_the_last_phases(trained: tuple[Path, Run, Snapshots]) -> None:
    _, run, seen = trained
    assert equal(run.weights(), run.adapter("uco"))
    live = {
        name.replace(".default", "").replace("modules_to_save.", ""): weight
        for name, weight in seen.end["uco"].items()
        if parameter_group(name) != "frozen"
    }
    assert equal(run.weights(), live)


def test_manifest_and_selection_agree_with_the_adapter(trained: tuple[Path, Run, Snapshots]) -> None:
    _, run, _ = trained
    config, selection, manifest = (
        run.json(name) for name in ("adapter_config.json", "selection.json", "manifest.json")
    )
    total = len(manifest["base"]["linears"]) - 1  # the output head is no component
    assert config["peft_type"] == "MOLORA"
    assert config["target_modules"] == selection["adapted"]
    assert config["modules_to_save"] == selection["tuned"]
    assert (config["num_experts"], config["r"]) == (2, 2)
    assert selection["total"] == total
    assert (len(selection["adapted"]), len(selection["tuned"])) == (int(0.4 * total), int(0.25 * total))
    assert not set(selection["adapted"]) & set(selection["tuned"])
    assert manifest["phase"] == "uco"
    assert manifest["plan"]["citi_top_ratio"] == 0.4
    assert manifest["versions"]["llamafactory"] == "0.9.5"
    importance = run.json("importance.json")
    assert {name: task["examples"] for name, task in importance["tasks"].items()} == {
        "tool": 6,
        "math": 4,
        "instructions": 4,
    }
    assert set(importance["tasks"]["tool"]["scores"]) == set(importance["shapes"])


def test_the_checkpoint_reloads_as_it_was_trained(trained: tuple[Path, Run, Snapshots]) -> None:
    base, run, seen = trained
    plain = load_base(base)
    untouched = logits(plain)
    model = PeftModel.from_pretrained(load_base(base), run.path)
    assert torch.equal(logits(model), logits(seen.model))
    assert (logits(model) - untouched).abs().max() > 1e-3
    with model.disable_adapter():
        assert torch.equal(logits(model), untouched)
    with seen.model.disable_adapter():
        assert torch.equal(logits(seen.model), untouched)


def test_training_shows_in_report_and_log(trained: tuple[Path, Run, Snapshots]) -> None:
    _, run, _ = trained
    report = run.json("report.json")
    assert set(report["before"]) == set(report["after"]) == {"tool", "math", "instructions"}
    assert report["after"]["tool"]["loss"] < report["before"]["tool"]["loss"] - 0.05
    assert set(report["gates"]) == set(run.json("selection.json")["adapted"])
    for name, gates in report["gates"].items():
        assert sum(gates["tool"]) == pytest.approx(1, abs=1e-5), name
        assert sum(gates["general"]) == pytest.approx(1, abs=1e-5), name
    gap = [gates["general"][0] - gates["tool"][0] for gates in report["gates"].values()]
    assert sum(gap) / len(gap) > 0.02, "the routers keep general data from the experts"
    for phase in PHASES:
        steps = run.steps(phase)
        assert len(steps) == {"rp": 16, "mi": 16, "uco": 8}[phase]
        assert all(
            step["loss"] == pytest.approx(step.get("loss_lm", 0) + BETA * step["loss_router"], rel=1e-6)
            for step in steps
        )
    assert run.steps("rp")[-1]["loss_router"] < run.steps("rp")[0]["loss_router"]
    assert run.said[-1] == f"Finished: the adapter is in {run.path}."


# Variants


def test_packing_with_evaluation_and_half_of_the_phases(
    tiny_llama_dir: Path, tiny_data_dir: Path, tmp_path: Path
) -> None:
    options = citi_options(
        tiny_llama_dir,
        tiny_data_dir,
        tmp_path,
        packing=True,
        neat_packing=True,
        cutoff_len=195,  # no multiple of 8
        citi_phases="rp,mi",
        citi_report_samples=2,
        val_size=4,
        do_eval=True,
        eval_strategy="epoch",
    )
    run = train(options, pictures=True)
    selection = run.json("selection.json")
    assert selection["tuned"] == []
    assert run.json("adapter_config.json")["modules_to_save"] is None
    assert sorted(path.name for path in run.path.glob("phase-*")) == ["phase-1-rp", "phase-2-mi"]
    assert run.json("report.json")["source"] == "held-out examples"
    history = json.loads((run.folder("mi") / "trainer_state.json").read_text("utf-8"))["log_history"]
    evaluated = [entry["eval_loss"] for entry in history if "eval_loss" in entry]
    assert len(evaluated) == 2
    assert run.json("eval_results.json")["eval_loss"] == pytest.approx(evaluated[-1], rel=1e-6)
    assert not (run.path / "phase-2-mi" / "checkpoint-1").exists()


def test_the_adapter_on_a_half_precision_base(tiny_llama_dir: Path, tiny_data_dir: Path, tmp_path: Path) -> None:
    """bf16: the base stays small, routers, experts and tuned copies are kept in float32."""
    run = train(citi_options(tiny_llama_dir, tiny_data_dir, tmp_path, bf16=True, citi_mi_epochs=1))
    assert {weight.dtype for weight in run.weights().values()} == {torch.float32}
    assert all(0 < step["loss"] < 20 for phase in PHASES for step in run.steps(phase))


def test_a_run_is_repeatable(tiny_llama_dir: Path, tiny_data_dir: Path, tmp_path: Path) -> None:
    first, second = (train(citi_options(tiny_llama_dir, tiny_data_dir, tmp_path / name)) for name in ("a", "b"))
    other = train(citi_options(tiny_llama_dir, tiny_data_dir, tmp_path / "c", seed=8))
    assert (first.path / WEIGHTS).read_bytes() == (second.path / WEIGHTS).read_bytes()
    assert not equal(first.weights(), other.weights())


def test_our_modules_may_be_imported_before_upstreams(tmp_path: Path) -> None:
    """Patches that need our modules must not ask for them while they are half loaded."""
    code = "import llamafactory_ext.citi.run.workflow, llamafactory_ext.upstream.pipeline.channels"
    result = run_process([sys.executable, "-c", code], tmp_path)
    assert result.returncode == 0, result.stderr


def test_a_16_bit_base_trains_with_tuned_linears_in_float32(tiny_data_dir: Path, tmp_path: Path) -> None:
    """As every published base: the float32 copies meet bfloat16 activations, in every pass under autocast."""
    tiny.tiny_model(dtype=torch.bfloat16).save_pretrained(tmp_path / "model")
    tiny.tiny_tokenizer().save_pretrained(tmp_path / "model")
    run = train(citi_options(tmp_path / "model", tiny_data_dir, tmp_path / "run", bf16=True, citi_mi_epochs=1))
    assert {weight.dtype for weight in run.weights().values()} == {torch.float32}
    assert all(step["loss"] > 0 for phase in PHASES for step in run.steps(phase))
