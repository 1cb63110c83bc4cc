"""LLaMA-Factory's `fp8` under citi and tl_sft: the model's own linears compute in 8 bits, the adapters' do not."""

from __future__ import annotations

from pathlib import Path
from types import SimpleNamespace
from typing import Any

import pytest
from llamafactory.hparams import get_train_args
from llamafactory.train.tuner import run_exp
from safetensors.torch import load_file

import float8
import option_runs
from llamafactory_ext.citi.fates import float8_problems
from llamafactory_ext.errors import OptionError
from llamafactory_ext.options.fates.row import Command


def options_of(method: str, folder: Path, **changes: Any) -> dict[str, Any]:
    places = option_runs.make_world(folder / "world")
    given = {"model_name_or_path": places["model"], "dataset_dir": places["data"], "output_dir": str(folder / "run")}
    return option_runs.options_of(method, given | {"fp8": True} | changes)


@pytest.mark.parametrize("method", ["citi", "tl_sft"])
def test_the_base_computes_in_8_bits(method: str, tmp_path: Path, monkeypatch: pytest.MonkeyPatch) -> None:
    seen = float8.install(monkeypatch, tmp_path)
    changes = {"citi_rank": 16} if method == "citi" else {"lora_rank": 16}
    run_exp(options_of(method, tmp_path, **changes))
    assert any("base_layer" in name for name in seen["called"]), seen
    assert not any("molora" in name for name in seen["replaced"]), "routers and experts in 8 bits"
    (file,) = (tmp_path / "run").glob("*model.safetensors")
    weights = load_file(file)
    assert any(weight.any() for name, weight in weights.items() if "lora_B" in name or "molora_B" in name)
    assert all(weight.isfinite().all() for weight in weights.values())


@pytest.mark.parametrize(
    ("method", "changes", "expected"),
    [
        ("citi", {}, "fp8 needs the package torchao; pip install torchao"),
        ("tl_sft", {}, "fp8 needs the package torchao; pip install torchao"),
        ("tl_sft", {"fp8_backend": "te"}, "fp8 needs the package transformer-engine"),
        ("tl_sft", {"fp8_backend": "other"}, "fp8_backend=other does not exist; take one of auto, torchao, te"),
        ("citi", {"fp8_backend": "te"}, "fp8_backend: te puts modules with weights of their own"),
        ("tl_ppo", {}, "fp8 would compare probabilities of stage: tl_ppo"),
    ],
)
def test_what_cannot_be_is_found_before_anything_is_loaded(
    method: str, changes: dict[str, Any], expected: str, tmp_path: Path
) -> None:
    with pytest.raises(OptionError, match=expected) as caught:
        get_train_args(options_of(method, tmp_path, **changes))
    assert sum(line.startswith("  - fp8 ") for line in caught.value.message.splitlines()) <= 1


@pytest.mark.parametrize("launched", [False, True])
def test_a_launcher_that_spreads_the_model_is_seen(launched: bool, monkeypatch: pytest.MonkeyPatch) -> None:
    """`accelerate launch` says FSDP by a variable alone."""
    monkeypatch.setenv("ACCELERATE_USE_FSDP", str(launched).lower())
    asked = SimpleNamespace(fp8=True, fp8_backend="torchao", fsdp="", deepspeed=None)
    found = float8_problems(Command("citi", {}, (asked,)))
    assert any("was not tried with finetuning_type: citi under FSDP" in line for line in found) == launched
