"""Options that name modules: what the model lacks is said before anything is loaded, what it has is taken."""

from __future__ import annotations

from pathlib import Path
from typing import Any

import pytest
from llamafactory.hparams import get_train_args

import option_runs
import tiny
from llamafactory_ext.errors import OptionError

pytestmark = pytest.mark.fast

LORA, OFT, FREEZE = ({"finetuning_type": kind} for kind in ("lora", "oft", "freeze"))


@pytest.fixture(scope="module")
def places(tmp_path_factory: pytest.TempPathFactory) -> dict[str, str]:
    folder = tmp_path_factory.mktemp("modules")
    option_runs.write_data(folder / "data")
    return {
        "model_name_or_path": str(tiny.save_tiny_model(folder / "model")),
        "dataset_dir": str(folder / "data"),
        "output_dir": str(folder / "out"),
    }


def parse(places: dict[str, str], method: str, changes: dict[str, Any]) -> None:
    get_train_args(option_runs.options_of(method, places | changes))


@pytest.mark.parametrize("method", ["tl_sft", "tl_ppo"])
@pytest.mark.parametrize(
    ("changes", "message"),
    [
        (LORA | {"lora_target": "q_porj"}, "lora_target: this model has no module q_porj; did you mean q_proj?"),
        (LORA | {"lora_target": "q_proj,v_prj"}, "lora_target: this model has no module v_prj; did you mean v_proj?"),
        (LORA | {"lora_target": "Wqkv"}, "lora_target: this model has no module Wqkv; take some of down_proj, "),
        (LORA | {"lora_target": "roj"}, "lora_target: this model has no module roj; "),
        (
            LORA | {"lora_target": "self_attn"},
            "lora_target: self_attn is no linear layer of this model; take some of ",
        ),
        (LORA | {"lora_target": "input_layernorm"}, "lora_target: input_layernorm is no linear layer of this model"),
        (OFT | {"lora_target": "q_porj"}, "lora_target: this model has no module q_porj; did you mean q_proj?"),
        (
            LORA | {"additional_target": "lm_haed"},
            "additional_target: this model has no module lm_haed; did you mean lm_head?",
        ),
        (
            FREEZE | {"freeze_trainable_modules": "mpl"},
            "freeze_trainable_modules: this model has no module mpl; did you mean mlp?",
        ),
        (
            FREEZE | {"freeze_extra_modules": "embed_token"},
            "freeze_extra_modules: this model has no module embed_token; did you mean embed_tokens?",
        ),
    ],
)
def test_a_module_that_is_not_there(
    places: dict[str, str], method: str, changes: dict[str, Any], message: str
) -> None:
    with pytest.raises(OptionError) as caught:
        parse(places, method, changes)
    lines = caught.value.message.splitlines()
    assert [line.startswith(f"  - {message}") for line in lines].count(True) == 1


@pytest.mark.parametrize("method", ["tl_sft", "tl_ppo"])
@pytest.mark.parametrize(
    "changes",
    [
        *(
            LORA | {"lora_target": name}
            for name in ("all", "q_proj", "mlp.down_proj", "model.layers.0.self_attn.q_proj", "embed_tokens,lm_head")
        ),
        LORA | {"additional_target": "lm_head,input_layernorm"},
        FREEZE | {"freeze_trainable_modules": "mlp,self_attn"},
        FREEZE | {"freeze_trainable_modules": "all", "freeze_extra_modules": "lm_head,norm"},
        {"finetuning_type": "full", "lora_target": "nowhere", "freeze_trainable_modules": "nowhere"},
    ],
    ids=str,
)
def test_modules_that_are_there(places: dict[str, str], method: str, changes: dict[str, Any]) -> None:
    parse(places, method, changes)


def test_a_model_whose_structure_cannot_be_had_is_left_to_its_loading(places: dict[str, str], tmp_path: Path) -> None:
    """Such as one of a newer transformers: what is said is about the model, not about names in it."""
    (tmp_path / "config.json").write_text('{"model_type": "newer"}')
    with pytest.raises(OptionError, match="model_name_or_path") as refused:
        parse(places | {"model_name_or_path": str(tmp_path)}, "tl_sft", LORA | {"lora_target": "q_porj"})
    assert "lora_target" not in refused.value.message
