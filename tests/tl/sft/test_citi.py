"""`stage: tl_sft` with `finetuning_type: citi`: the weighted language-model loss and the router loss together."""

from __future__ import annotations

import json
from pathlib import Path
from typing import Any

import pytest
import torch
from transformers import AutoModelForCausalLM

from llamafactory_ext.errors import DataError, ExtError
from llamafactory_ext.training.token_weights import WEIGHTS_COLUMN, weights_of
from runs import Run, citi_options, equal, train
from tl.sft.test_training import Batches
from tl.trajectories import call, record, records, turn, write_data

PLAIN = {"tl_use_mae": False, "tl_use_pkt": False}


@pytest.fixture(scope="module")
def options(tiny_llama_dir: Path, tmp_path_factory: pytest.TempPathFactory) -> dict[str, Any]:
    folder = tmp_path_factory.mktemp("citi")
    data = write_data(folder / "data", records(12))
    changes = {
        "dataset": "trajectories",
        "template": "llama3_api_bank",
        "cutoff_len": 1024,
        "per_device_train_batch_size": 4,
        "max_steps": 2,
        "disable_gradient_checkpointing": True,
        "disable_shuffling": True,
        "citi_router_beta": 0.5,
    }
    return citi_options(tiny_llama_dir, data, folder / "none", **changes)


@pytest.fixture(scope="module")
def runs(options: dict[str, Any], tmp_path_factory: pytest.TempPathFactory) -> dict[str, Run]:
    folder = tmp_path_factory.mktemp("runs")
    kinds: dict[str, dict[str, Any]] = {"sft": {}, "plain": {"stage": "tl_sft"} | PLAIN, "tl": {"stage": "tl_sft"}}
    found = {}
    for name, changes in kinds.items():
        found[name] = train(options | changes | {"output_dir": str(folder / name), "citi_report_samples": 2})
    return found


def test_without_masks_and_weights_it_is_citi_to_the_bit(runs: dict[str, Run]) -> None:
    for phase in ("rp", "mi", "uco"):
        assert equal(runs["plain"].adapter(phase), runs["sft"].adapter(phase))
        assert [step["loss_lm"] for step in runs["plain"].steps(phase) if "loss_lm" in step] == [
            step["loss_lm"] for step in runs["sft"].steps(phase) if "loss_lm" in step
        ]


def test_both_losses_are_there_and_the_weights_act(runs: dict[str, Run]) -> None:
    ours, plain = (runs[name].steps("mi") for name in ("tl", "plain"))
    assert all({"loss_lm", "loss_router"} <= step.keys() for step in ours)
    assert ours[0]["loss_lm"] != plain[0]["loss_lm"]
    assert not equal(runs["tl"].adapter("uco"), runs["plain"].adapter("uco"))
    report = runs["tl"].json("tl_report.json")
    assert report["train"]["errors"] == {"Parameter Hallucination": 4}
    assert report["train"]["key_tokens"] > 0
    plan = runs["tl"].json("manifest.json")["plan"]
    assert (plan["stage"], plan["tl_w_max"]) == ("tl_sft", 9)
    assert "stage" not in runs["sft"].json("manifest.json")["plan"]


def test_the_loss_of_the_first_step_is_the_weighted_mean(
    options: dict[str, Any], tiny_llama_dir: Path, tmp_path: Path
) -> None:
    batches = Batches()
    changes = {"stage": "tl_sft", "output_dir": str(tmp_path), "citi_phases": "mi", "max_steps": 1}
    run = train(options | changes, batches)
    batch, model = batches.first, AutoModelForCausalLM.from_pretrained(tiny_llama_dir).eval()
    with torch.no_grad():
        logits = model(input_ids=batch["input_ids"], attention_mask=batch["attention_mask"]).logits[:, :-1]
    nll = torch.nn.functional.cross_entropy(logits.flatten(0, 1), batch["labels"][:, 1:].flatten(), reduction="none")
    weights = weights_of(batch[WEIGHTS_COLUMN])[:, 1:].flatten()
    assert run.steps("mi")[0]["loss_lm"] == pytest.approx(
        (nll * weights).sum().item() / weights.sum().item(), abs=1e-5
    )


def test_accumulation_does_not_matter(options: dict[str, Any], tmp_path: Path) -> None:
    """Packed, too: marks and weights travel together."""
    common = {"stage": "tl_sft", "citi_phases": "mi", "packing": True, "neat_packing": True, "cutoff_len": 600}
    whole = train(options | common | {"output_dir": str(tmp_path / "whole")})
    split = {"per_device_train_batch_size": 1, "gradient_accumulation_steps": 4, "output_dir": str(tmp_path / "split")}
    parts = train(options | common | split)
    first, second = (run.weights() for run in (whole, parts))
    assert max((first[name] - second[name]).abs().max().item() for name in first) < 1e-4
    assert [step["loss_lm"] for step in whole.steps("mi")] == pytest.approx(
        [step["loss_lm"] for step in parts.steps("mi")], abs=1e-5
    )


def test_other_settings_do_not_resume_and_bad_examples_end_the_run(
    options: dict[str, Any], runs: dict[str, Run], tmp_path: Path
) -> None:
    with pytest.raises(ExtError):
        train(options | {"stage": "tl_sft", "tl_w_max": 3, "output_dir": str(runs["tl"].path)})
    bad = record(turn("human", "?"), call("get_weather"))
    data = write_data(tmp_path / "data", [*records(6), bad])
    with pytest.raises(DataError, match=r"1 of 7 examples \(train\): no call has feedback"):
        train(options | {"stage": "tl_sft", "dataset_dir": str(data), "output_dir": str(tmp_path / "out")})
    assert not (tmp_path / "out" / "manifest.json").exists()
    assert json.loads((runs["tl"].path / "tl_report.json").read_text("utf-8"))["train"]["examples"] == 12
