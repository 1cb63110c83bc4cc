"""What MOLoRA cannot do is refused in one line, and the model is afterwards what it was before."""

from __future__ import annotations

import copy
from collections.abc import Callable
from pathlib import Path
from typing import Any

import pytest
import torch
from peft import LoraConfig, PeftModel, get_peft_model
from peft.utils.hotswap import hotswap_adapter
from torch import nn

from beside_lora import IDS, TARGETS, TUNED, adapted, config, layer, logits, state
from llamafactory_ext.errors import CheckpointError, OptionError
from llamafactory_ext.molora import MoLoraConfig
from tiny import tiny_model

pytestmark = pytest.mark.fast


def whole() -> PeftModel:
    """A model with adapters, and with a tuned linear before the first of them."""
    model = adapted("MOLoRA", target_modules=TARGETS[1:], modules_to_save=["model.layers.0.self_attn.k_proj", *TUNED])
    with torch.no_grad():
        for name, parameter in model.named_parameters():
            if ".modules_to_save." in name:
                parameter.mul_(1.5)
    return model


def _hotswap(model: PeftModel, folder: Path) -> None:
    model.save_pretrained(folder)
    hotswap_adapter(model, str(folder), "default")


def _two_derivatives(model: PeftModel, folder: Path) -> None:
    x = torch.randn(3, 48, requires_grad=True)
    (gradient,) = torch.autograd.grad(layer(model)(x).sin().sum(), x, create_graph=True)
    gradient.square().sum().backward()


def _weighted(model: PeftModel, folder: Path) -> None:
    model.add_weighted_adapter(["default"], [0.5], "sum", combination_type="linear")


def _second(**changes: Any) -> Callable[[PeftModel, Path], None]:
    return lambda model, folder: model.add_adapter("second", config("MOLoRA", **changes))


MERGE = "cannot be merged into the base weights: its gate depends on the input.*llamafactory-cli export"
REFUSED: dict[str, tuple[Callable[[PeftModel, Path], Any], type[Exception], str]] = {
    "merge_and_unload": (lambda model, folder: model.merge_and_unload(), CheckpointError, MERGE),
    "merge_and_unload, safe": (lambda model, folder: model.merge_and_unload(safe_merge=True), CheckpointError, MERGE),
    "merge_adapter": (lambda model, folder: model.merge_adapter(), CheckpointError, MERGE),
    "merge of a layer": (lambda model, folder: layer(model).merge(), CheckpointError, MERGE),
    "add_weighted_adapter": (_weighted, OptionError, "cannot be combined by weights"),
    "adapter_names": (
        lambda model, folder: model(input_ids=IDS, adapter_names=["default", "__base__"]),
        OptionError,
        "adapter_names is not supported",
    ),
    "adapter_names, generate": (
        lambda model, folder: model.generate(input_ids=IDS, adapter_names=["default", "__base__"], max_new_tokens=1),
        OptionError,
        "adapter_names is not supported",
    ),
    "hotswap": (_hotswap, ValueError, "Hotswapping only supports LORA"),
    "second derivatives": (_two_derivatives, RuntimeError, "differentiate twice"),
    "second adapter on an embedding": (
        _second(target_modules=["model.layers.0.self_attn.q_proj", "embed_tokens"]),
        OptionError,
        "model.embed_tokens, of the class Embedding",
    ),
    "second adapter without targets": (_second(target_modules=None), OptionError, "target_modules is not set"),
    "second adapter nowhere": (_second(target_modules=["nothing"]), OptionError, "not found in the base model"),
    "second adapter on a tuned linear": (
        _second(target_modules=["model.layers.0.mlp.up_proj", TUNED[0]]),
        OptionError,
        "ModulesToSaveWrapper",
    ),
}


@pytest.mark.parametrize("name", REFUSED)
def test_a_refusal_changes_nothing(name: str, tmp_path: Path) -> None:
    action, error, message = REFUSED[name]
    model = whole()
    before, outputs, kinds = state(model), logits(model), [type(module) for module in model.modules()]
    with pytest.raises(error, match=message) as found:
        action(model, tmp_path / "other")
    assert "\n" not in str(found.value)
    assert [type(module) for module in model.modules()] == kinds
    assert state(model).keys() == before.keys()
    assert all(torch.equal(tensor, before[name]) for name, tensor in state(model).items())
    assert torch.equal(logits(model), outputs)
    assert list(model.peft_config) == ["default"]
    model.save_pretrained(tmp_path)
    assert torch.equal(logits(PeftModel.from_pretrained(tiny_model(), tmp_path).eval()), outputs)


class WithAttention(nn.Module):
    """A model around torch's own attention."""

    def __init__(self) -> None:
        super().__init__()
        self.first = nn.Linear(8, 8)
        self.attention = nn.MultiheadAttention(8, 2)

    def forward(self, x: torch.Tensor) -> torch.Tensor:
        return self.attention(self.first(x), x, x)[0]


def carrying_lora() -> nn.Module:
    return get_peft_model(tiny_model(), LoraConfig(target_modules=["q_proj"])).base_model.model


@pytest.mark.parametrize(
    ("model", "targets", "message"),
    [
        (carrying_lora, ["up_proj", "q_proj"], r"another PEFT method stands \(lora.Linear\).*merge_and_unload"),
        (carrying_lora, "all-linear", r"another PEFT method stands \(lora.Linear\)"),
        (tiny_model, ["up_proj", "embed_tokens"], "model.embed_tokens, of the class Embedding"),
        (tiny_model, r".*\.(up_proj|input_layernorm)", "model.layers.0.input_layernorm, .*LlamaRMSNorm"),
        (tiny_model, ["up_proj", "mlp"], "model.layers.0.mlp, model.layers.1.mlp, of the class LlamaMLP"),
        (WithAttention, ["first", "out_proj"], "attention.out_proj, inside an nn.MultiheadAttention"),
    ],
)
def test_a_target_that_cannot_carry_it_is_named_and_no_other_is_changed(
    model: Callable[[], nn.Module], targets: list[str] | str, message: str
) -> None:
    base = model()
    kinds, before = [type(module) for module in base.modules()], copy.deepcopy(base.state_dict())
    with pytest.raises(OptionError, match=message) as found:
        get_peft_model(base, MoLoraConfig(target_modules=targets))
    assert "\n" not in str(found.value)
    assert [type(module) for module in base.modules()] == kinds
    assert all(torch.equal(tensor, before[name]) for name, tensor in base.state_dict().items())


def test_the_guide_lists_what_is_refused() -> None:
    guide = (Path(__file__).parents[2] / "docs" / "citi.md").read_text("utf-8")
    table = guide.partition("Refused, each in one line")[2].partition("## Options")[0]
    words = [name.partition(",")[0].partition(" of a ")[0] for name in REFUSED if "adapter " not in name]
    assert len(words) >= 8
    for word in [*words, "PeftMixedModel", "nn.MultiheadAttention", "modules_to_save", "rank_pattern"]:
        assert word in table, word


def test_pefts_mixed_model_refuses_it() -> None:
    base = tiny_model()
    with pytest.raises(ValueError, match="not compatible with the `PeftMixedModel`"):
        get_peft_model(base, config("MOLoRA"), mixed=True)
    assert not any("molora" in name for name in base.state_dict())


WRONG = {
    "num_experts": [0, -1, 1.5, True, "4", None],
    "r": [0, 2.0, "8", None, False],
    "alpha": [0, -1.0, float("nan"), float("inf"), "2", None, True, [2.0]],
    "neutral_gate": ["no", 1, None],
    "init_weights": ["gaussian", 0, None],
    "inference_mode": ["yes", None],
    "target_modules": [7, ["q_proj", 7], {"q_proj": 1}, [None]],
    "exclude_modules": [7, ["q_proj", 7]],
    "modules_to_save": ["k_proj", 7, [7]],
}


@pytest.mark.parametrize(("field", "value"), [(field, value) for field, values in WRONG.items() for value in values])
def test_a_value_of_a_wrong_type_is_named(field: str, value: Any) -> None:
    with pytest.raises(OptionError, match=rf"MoLoraConfig: {field}=.* must be ") as found:
        MoLoraConfig(**{field: value})
    assert "\n" not in str(found.value)


def test_all_wrong_values_are_named_at_once() -> None:
    with pytest.raises(OptionError, match=r"num_experts=0 .*; r='8' .*; alpha=-1 "):
        MoLoraConfig(num_experts=0, r="8", alpha=-1)


# Fields of LoraConfig that have no meaning here: each is a word that Python does not know as an argument.
NOT_OURS = ["layers_to_transform", "rank_pattern", "alpha_pattern", "trainable_token_indices", "target_parameters",
            "use_dora", "use_rslora", "lora_dropout", "bias", "fan_in_fan_out", "runtime_config"]  # fmt: skip


@pytest.mark.parametrize("field", NOT_OURS)
def test_options_of_lora_that_it_lacks_are_refused(field: str) -> None:
    with pytest.raises(TypeError, match=field):
        MoLoraConfig(**{field: None})
