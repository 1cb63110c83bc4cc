"""moe_aux_loss_coef: the loss that keeps experts equally busy is upstream's own."""

from __future__ import annotations

from pathlib import Path
from typing import Any

import pytest
from llamafactory.train.tuner import run_exp
from safetensors.torch import load_file
from torch import Tensor
from transformers import AutoModelForCausalLM, Qwen3MoeConfig, set_seed

import option_runs
import tiny
from llamafactory_ext.errors import OptionError

PLAIN = {"tl_use_mae": False, "tl_use_pkt": False, "finetuning_type": "full", "use_reentrant_gc": False}


@pytest.fixture(scope="module")
def places(tmp_path_factory: pytest.TempPathFactory) -> dict[str, str]:
    """A tiny mixture of four experts, with the data of the trials."""
    folder = tmp_path_factory.mktemp("experts")
    set_seed(0)
    fields = tiny.tiny_config().to_dict()
    shared = {name: fields[name] for name in Qwen3MoeConfig().to_dict() if name in fields and name not in OWN}
    config = Qwen3MoeConfig(**shared, num_experts=4, num_experts_per_tok=2, moe_intermediate_size=16)
    AutoModelForCausalLM.from_config(config).save_pretrained(folder / "model")
    tiny.tiny_tokenizer().save_pretrained(folder / "model")
    option_runs.write_data(folder / "data")
    return {"model_name_or_path": str(folder / "model"), "dataset_dir": str(folder / "data")}


OWN = ("architectures", "model_type", "rope_parameters", "transformers_version")


def train(places: dict[str, str], method: str, output: Path, **changes: Any) -> dict[str, Tensor]:
    """The finished weights of two steps."""
    options = option_runs.options_of(method, places | {"output_dir": str(output)} | changes)
    run_exp({name: value for name, value in options.items() if changes.get("stage") != "sft" or "tl_" not in name})
    (file,) = output.glob("*model.safetensors")
    return load_file(file)


def apart(one: dict[str, Tensor], other: dict[str, Tensor]) -> float:
    assert one.keys() == other.keys()
    return max((one[name] - other[name]).abs().max().item() for name in one)


def test_unit_weights_are_upstreams_own_training(places: dict[str, str], tmp_path: Path) -> None:
    ours = train(places, "tl_sft", tmp_path / "ours", moe_aux_loss_coef=0.5, **PLAIN)
    theirs = train(places, "tl_sft", tmp_path / "theirs", moe_aux_loss_coef=0.5, **PLAIN, stage="sft")
    without = train(places, "tl_sft", tmp_path / "without", **PLAIN)
    assert apart(ours, theirs) < 1e-6
    assert apart(ours, without) > 1e-4


def test_a_recomputation_that_cuts_its_gradient_is_refused(places: dict[str, str], tmp_path: Path) -> None:
    with pytest.raises(OptionError, match=r"moe_aux_loss_coef has no gradient .* set use_reentrant_gc: false"):
        train(places, "tl_sft", tmp_path / "run", moe_aux_loss_coef=0.5)


def test_it_moves_the_adapters_of_citi(places: dict[str, str], tmp_path: Path) -> None:
    uneven, even = (
        train(
            places, "citi", tmp_path / str(factor), moe_aux_loss_coef=factor, citi_phases="mi", citi_bottom_ratio=None
        )
        for factor in (None, 0.5)
    )
    assert apart(uneven, even) > 1e-6
