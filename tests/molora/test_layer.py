"""Identities of the adapter: it starts as the base, equals the formula, and its gradients are exact."""

from __future__ import annotations

import pytest
import torch
from peft import LoraConfig, PeftModel, get_peft_model
from safetensors.torch import load_file
from torch import nn
from transformers import AutoModelForCausalLM

import llamafactory_ext  # noqa: F401  # registers MOLORA
from llamafactory_ext.errors import CheckpointError, OptionError
from llamafactory_ext.molora import MoLoraConfig, MoLoraLinear
from tiny import ARCHITECTURES, save_tiny_model, tiny_model

pytestmark = pytest.mark.fast

TARGETS = {
    "llama": ["model.layers.0.self_attn.q_proj", "model.layers.1.mlp.down_proj"],
    "mistral": ["model.layers.0.self_attn.o_proj", "model.layers.1.mlp.up_proj"],
    "phi3": ["model.layers.0.self_attn.qkv_proj", "model.layers.1.mlp.gate_up_proj"],
}
TUNED = {
    "llama": ["model.layers.1.self_attn.k_proj"],
    "mistral": ["model.layers.0.mlp.gate_proj"],
    "phi3": ["model.layers.0.mlp.down_proj"],
}


def adapted(architecture: str = "llama", init_weights: bool = True, **changes):
    torch.manual_seed(1)
    config = MoLoraConfig(
        target_modules=TARGETS[architecture], modules_to_save=TUNED[architecture], init_weights=init_weights, **changes
    )
    return get_peft_model(tiny_model(architecture), config).eval()


@pytest.fixture
def ids() -> torch.Tensor:
    return torch.randint(0, 384, (2, 7), generator=torch.Generator().manual_seed(0))


@pytest.mark.parametrize("architecture", ARCHITECTURES)
def test_a_fresh_adapter_equals_the_base_bitwise(architecture: str, ids: torch.Tensor) -> None:
    base = tiny_model(architecture)(ids).logits
    assert torch.equal(adapted(architecture)(ids).logits, base)


@pytest.mark.parametrize("architecture", ARCHITECTURES)
def test_disable_adapter_restores_the_base_bitwise(architecture: str, ids: torch.Tensor) -> None:
    base = tiny_model(architecture)(ids).logits
    model = adapted(architecture, init_weights=False)
    with torch.no_grad():
        for name, parameter in model.named_parameters():
            if ".modules_to_save." in name:
                parameter.add_(0.1)
    assert not torch.equal(model(ids).logits, base)
    with model.disable_adapter():
        assert torch.equal(model(ids).logits, base)


@pytest.mark.parametrize("neutral", [True, False])
@pytest.mark.parametrize("bias", [False, True])
def test_the_layer_equals_the_formula_in_float64(bias: bool, neutral: bool) -> None:
    torch.manual_seed(0)
    N, r, alpha = 3, 2, 5.0
    base = nn.Linear(6, 4, bias=bias).double()
    layer = MoLoraLinear(
        base, "default", num_experts=N, r=r, alpha=alpha, init_weights=False, neutral_gate=neutral
    ).double()
    x = torch.randn(2, 5, 6, dtype=torch.float64)
    router, A, B = (getattr(layer, f"molora_{part}")["default"].weight for part in ("router", "A", "B"))
    gate = (x @ router.T).softmax(-1)
    assert gate.shape[-1] == N + neutral
    expected = base(x)
    for i in range(N):
        expert = x @ A[i * r : (i + 1) * r].T @ B[:, i * r : (i + 1) * r].T
        expected = expected + gate[..., i + neutral : i + neutral + 1] * (alpha / r) * expert
    assert torch.allclose(layer(x), expected, atol=1e-14, rtol=0)
    assert torch.allclose(layer.gates(x), gate, atol=1e-15, rtol=0)


@pytest.mark.parametrize("neutral", [True, False])
def test_gradients_are_those_of_autograd_in_float64(neutral: bool) -> None:
    torch.manual_seed(0)
    layer = MoLoraLinear(
        nn.Linear(6, 4).double(),
        "default",
        num_experts=3,
        r=2,
        alpha=2.0,
        init_weights=False,
        neutral_gate=neutral,
    ).double()
    x = torch.randn(2, 5, 6, dtype=torch.float64, requires_grad=True)  # 3-D: the base's output is a view
    parameters = [layer.molora_router["default"].weight, layer.molora_A["default"].weight]
    parameters += [layer.molora_B["default"].weight, layer.base_layer.weight, layer.base_layer.bias]
    assert torch.autograd.gradcheck(
        lambda x, *ws: torch.func.functional_call(
            layer,
            dict(
                zip(
                    ["molora_router.default.weight", "molora_A.default.weight", "molora_B.default.weight",
                     "base_layer.weight", "base_layer.bias"], ws, strict=True,
                )
            ),
            (x,),
        ),
        (x, *[p.detach().clone().requires_grad_() for p in parameters]),
    )  # fmt: skip


@pytest.mark.parametrize("frozen", ["router", "A", "B"])
def test_a_frozen_part_gets_no_gradient_and_changes_no_other(frozen: str) -> None:
    def gradients(freeze: str | None) -> dict[str, torch.Tensor | None]:
        torch.manual_seed(0)
        layer = MoLoraLinear(nn.Linear(6, 4), "default", num_experts=2, r=2, alpha=2.0, init_weights=False)
        layer.base_layer.requires_grad_(False)
        if freeze:
            getattr(layer, f"molora_{freeze}").requires_grad_(False)
        layer(torch.randn(3, 6)).square().sum().backward()
        return {part: getattr(layer, f"molora_{part}")["default"].weight.grad for part in ("router", "A", "B")}

    full, partial = gradients(None), gradients(frozen)
    assert partial.pop(frozen) is None
    assert all(torch.equal(gradient, full[part]) for part, gradient in partial.items())


@pytest.mark.parametrize("architecture", ARCHITECTURES)
def test_save_and_load_give_the_same_logits(architecture: str, tmp_path, ids: torch.Tensor) -> None:
    base = save_tiny_model(tmp_path / "base", architecture)
    model = adapted(architecture, init_weights=False)
    with torch.no_grad():
        for name, parameter in model.named_parameters():
            if ".modules_to_save." in name:
                parameter.mul_(1.5)
    model.save_pretrained(tmp_path / "adapter")
    tensors = load_file(tmp_path / "adapter" / "adapter_model.safetensors")
    config = MoLoraConfig.from_pretrained(tmp_path / "adapter")
    assert sorted(config.target_modules) == sorted(TARGETS[architecture])
    assert list(config.modules_to_save) == TUNED[architecture]
    name = f"base_model.model.{TARGETS[architecture][0]}"
    width = tensors[f"{name}.molora_A.weight"].shape[1]
    assert tensors[f"{name}.molora_router.weight"].shape == (5, width)
    assert tensors[f"{name}.molora_A.weight"].shape == (32, width)
    assert tensors[f"{name}.molora_B.weight"].shape[1] == 32
    assert len(tensors) == 3 * 2 + 1
    loaded = PeftModel.from_pretrained(AutoModelForCausalLM.from_pretrained(base), tmp_path / "adapter").eval()
    assert torch.equal(loaded(ids).logits, model(ids).logits)
    assert not any(parameter.requires_grad for parameter in loaded.parameters())


def test_without_the_neutral_gate_one_expert_is_plain_lora(tmp_path, ids: torch.Tensor) -> None:
    """A softmax over one output is 1: the adapter equals PEFT's LoRA, also after saving and loading."""
    base = save_tiny_model(tmp_path / "base")
    model = adapted(init_weights=False, num_experts=1, neutral_gate=False)
    model.save_pretrained(tmp_path / "adapter")
    assert MoLoraConfig.from_pretrained(tmp_path / "adapter").neutral_gate is False
    loaded = PeftModel.from_pretrained(AutoModelForCausalLM.from_pretrained(base), tmp_path / "adapter").eval()
    assert torch.equal(loaded(ids).logits, model(ids).logits)
    config = LoraConfig(target_modules=TARGETS["llama"], r=8, lora_alpha=2)
    lora = get_peft_model(tiny_model(), config).eval()
    with torch.no_grad():
        for name, layer in model.base_model.molora_layers().items():
            assert layer.molora_router["default"].weight.shape[0] == 1
            other = lora.base_model.model.get_submodule(name)
            for part in ("A", "B"):
                getattr(other, f"lora_{part}")["default"].weight.copy_(
                    getattr(layer, f"molora_{part}")["default"].weight
                )
    assert torch.allclose(model(ids).logits, lora(ids).logits, atol=1e-5, rtol=0)
    assert not torch.allclose(model(ids).logits, tiny_model()(ids).logits, atol=1e-3, rtol=0)


def test_many_targets_keep_their_full_names_and_touch_nothing_else(tmp_path) -> None:
    names = [name for name, module in tiny_model(layers=4).named_modules() if isinstance(module, nn.Linear)]
    targets = [name for name in names if name != "lm_head" and ".1." not in name]
    assert len(targets) >= 20  # from here on PEFT shortens the list
    model = get_peft_model(tiny_model(layers=4), MoLoraConfig(target_modules=targets))
    assert list(model.base_model.molora_layers()) == targets
    assert sorted(model.peft_config["default"].target_modules) == sorted(targets)


def test_bf16_base_with_float32_adapter_stays_bf16(ids: torch.Tensor) -> None:
    model = get_peft_model(tiny_model(dtype=torch.bfloat16), MoLoraConfig(target_modules=TARGETS["llama"]))
    assert model.base_model.molora_layers()[TARGETS["llama"][0]].molora_A["default"].weight.dtype == torch.float32
    assert model(ids).logits.dtype == torch.bfloat16


def test_merging_is_refused_with_the_next_step() -> None:
    with pytest.raises(CheckpointError, match="llamafactory-cli export"):
        adapted().merge_and_unload()


@pytest.mark.parametrize(
    ("changes", "message"),
    [
        ({"num_experts": 0}, "num_experts=0"),
        ({"r": 1.5}, "r=1.5"),
        ({"alpha": 0}, "alpha=0"),
        ({"neutral_gate": "no"}, "neutral_gate='no' must be True or False"),
        ({"target_modules": ["a"], "modules_to_save": ["a"]}, "name each in one"),
    ],
)
def test_wrong_settings_are_named(changes: dict, message: str) -> None:
    with pytest.raises(OptionError, match=message):
        MoLoraConfig(**changes)


def test_a_target_that_is_no_linear_is_named() -> None:
    with pytest.raises(OptionError, match=r"model\.embed_tokens"):
        get_peft_model(tiny_model(), MoLoraConfig(target_modules=["model.embed_tokens"]))
