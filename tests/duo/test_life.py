"""The adapter's life: made, saved, loaded, switched, deleted, merged or refused; copied, halved, computed again."""

from __future__ import annotations

import copy
import json
import pickle
from collections.abc import Callable
from pathlib import Path
from typing import Any

import pytest
import torch
from peft import LoraConfig, PeftModel, get_peft_model
from safetensors.torch import load_file
from torch import nn

from duo.adapted import IDS, adapted, gradients, logits
from llamafactory_ext.duo import DataAdapterConfig, DataAdapterLinear
from llamafactory_ext.errors import CheckpointError, OptionError
from tiny import ARCHITECTURES, tiny_model

pytestmark = pytest.mark.fast


@pytest.mark.parametrize("architecture", ARCHITECTURES)
def test_five_fields_adapt_all_linears_of_the_decoder_layers(architecture: str) -> None:
    base = tiny_model(architecture, layers=5)
    linears = {name for name, module in base.named_modules() if isinstance(module, nn.Linear)} - {"lm_head"}
    wanted = logits(base)
    config = DataAdapterConfig(low_rank=2, high_rank=3, components=4, layers_per_gate=2, gate="token")
    model = get_peft_model(base, config).eval()
    assert set(model.base_model.linears()) == linears
    assert list(model.base_model.gates()) == [0, 2, 4]  # the last group is shorter
    trained = {name for name, parameter in model.named_parameters() if parameter.requires_grad}
    assert len(trained) == 2 * len(linears) + 3 * 3
    assert all("data_adapter_" in name for name in trained)
    assert torch.equal(logits(model), wanted)  # B is 0
    assert config.tasks == ["task"]


def test_groups_of_one_layer_are_gates_per_layer() -> None:
    model = adapted(layers_per_gate=1)
    assert list(model.base_model.gates()) == [0, 1, 2, 3]
    logits(model)
    opened = model.base_model.open_gates()
    assert not torch.allclose(opened[0], opened[1], atol=1e-3)


@pytest.mark.parametrize(("init", "low", "high"), [("kaiming", 0.1, 0.1), ("reference", 0.25, 1 / 64)])
def test_the_inits(init: str, low: float, high: float) -> None:
    model = adapted(init=init, low_rank=2, high_rank=8, layers_per_gate=4)
    A = torch.cat(
        [linear.weights("default")[0] for linear in model.base_model.linears().values() if linear.in_features == 32]
    )
    rows = torch.arange(len(A)) % 10 < 2
    assert A[rows].std().item() == pytest.approx(low, rel=0.15)
    assert A[~rows].std().item() == pytest.approx(high, rel=0.15)


@pytest.mark.parametrize("gate", ["token", "prefix", "reference", "none"])
@pytest.mark.parametrize("tasks", [1, 3])
def test_saving_and_loading_keeps_every_answer(gate: str, tasks: int, tmp_path: Path) -> None:
    model = adapted(gate=gate)
    for task in range(1, tasks):
        model.base_model.add_task(f"task {task}")
    model.save_pretrained(tmp_path)
    assert all(
        "default" not in name and "data_adapter_" in name for name in load_file(tmp_path / "adapter_model.safetensors")
    )
    assert "import llamafactory_ext" in (tmp_path / "README.md").read_text("utf-8")
    for low_memory in (False, True):
        loaded = PeftModel.from_pretrained(tiny_model(layers=4), tmp_path, low_cpu_mem_usage=low_memory).eval()
        assert torch.equal(logits(loaded), logits(model))
        assert not any(parameter.requires_grad for parameter in loaded.parameters())
        assert len(loaded.peft_config["default"].tasks) == tasks
    again = PeftModel.from_pretrained(tiny_model(layers=4), tmp_path, is_trainable=True)
    again.base_model.add_task("next")
    assert all(gate.new_A.requires_grad for gate in again.base_model.gates().values())


def test_disabling_and_unloading_give_the_base_back() -> None:
    base, model = logits(tiny_model(layers=4)), adapted()
    assert not torch.equal(logits(model), base)
    with model.disable_adapter():
        assert torch.equal(logits(model), base)
    assert not torch.equal(logits(model), base)
    bare = model.unload()
    assert torch.equal(logits(bare), base)
    assert [name for name, _ in bare.named_modules() if "data" in name] == []
    assert not any(layer._forward_hooks or layer._forward_pre_hooks for layer in bare.model.layers)


def test_two_adapters_switch_add_up_and_go() -> None:
    model = adapted()
    first = logits(model)
    second_config = DataAdapterConfig(low_rank=1, high_rank=2, components=2, layers_per_gate=3, init_weights=False)
    model.add_adapter("second", second_config)
    assert torch.equal(logits(model), first)
    model.set_adapter("second")
    second = logits(model)
    assert list(model.base_model.gates()) == [0, 3]
    assert not torch.equal(second, first)
    assert all(
        ("second" in name) == parameter.requires_grad
        for name, parameter in model.named_parameters()
        if "data_adapter" in name
    )
    model.base_model.set_adapter(["default", "second"])
    assert not torch.equal(logits(model), first)
    model.delete_adapter("default")
    assert torch.equal(logits(model), second)
    assert [name for name, _ in model.named_parameters() if ".default." in name] == []


def test_without_gates_it_is_lora_and_merges() -> None:
    model = adapted(gate="none", low_rank=2, high_rank=3)
    names = list(model.base_model.linears())
    lora = get_peft_model(tiny_model(layers=4), LoraConfig(target_modules=names, r=5, lora_alpha=5)).eval()
    with torch.no_grad():
        for name, linear in model.base_model.linears().items():
            other = lora.base_model.model.get_submodule(name)
            other.lora_A["default"].weight.copy_(linear.weights("default")[0])
            other.lora_B["default"].weight.copy_(linear.weights("default")[1])
    wanted = logits(model)
    assert torch.allclose(wanted, logits(lora), atol=1e-5)
    model.merge_adapter()
    assert torch.allclose(logits(model), wanted, atol=1e-5)
    model.unmerge_adapter()
    assert torch.allclose(logits(model), wanted, atol=1e-5)
    merged = model.merge_and_unload()
    assert torch.allclose(logits(merged), wanted, atol=1e-5)
    assert not any(isinstance(module, DataAdapterLinear) for module in merged.modules())


def _on_lora(model: PeftModel) -> None:
    lora = get_peft_model(tiny_model(), LoraConfig(target_modules=["q_proj"]))
    get_peft_model(lora.base_model.model, DataAdapterConfig())


def _second(target: str) -> Callable[[PeftModel], None]:
    return lambda model: model.add_adapter("second", DataAdapterConfig(target_modules=[target]))


def _alone(model: PeftModel) -> None:
    model.base_model.model.model.layers[0].mlp.up_proj(torch.randn(2, 3, 32))


REFUSED: dict[str, tuple[Callable[[PeftModel], Any], type[Exception], str]] = {
    "merge_and_unload": (lambda model: model.merge_and_unload(), CheckpointError, "cannot be merged"),
    "merge_adapter": (lambda model: model.merge_adapter(), CheckpointError, "cannot be merged"),
    "weights": (lambda model: model.add_weighted_adapter(["default"], [0.5], "sum"), OptionError, "by weights"),
    "names": (lambda model: model(input_ids=IDS, adapter_names=["default"] * 2), OptionError, "adapter_names"),
    "lora": (_on_lora, OptionError, "another PEFT method"),
    "head": (_second("lm_head"), OptionError, "outside the decoder layers"),
    "norm": (_second("input_layernorm"), OptionError, "linear layers only"),
    "nothing": (_second("nothing"), OptionError, "names no linear"),
    "no layers": (
        lambda model: get_peft_model(nn.Sequential(nn.Linear(3, 3)), DataAdapterConfig()),
        OptionError,
        "no list of decoder layers",
    ),
    "alone": (_alone, OptionError, "outside its decoder layer"),
}


@pytest.mark.parametrize("case", REFUSED)
def test_what_cannot_be_is_refused_and_nothing_is_changed(case: str) -> None:
    use, kind, message = REFUSED[case]
    model = adapted()
    before = logits(model)
    with pytest.raises(kind, match=message):
        use(model)
    if case != "alone":
        assert torch.equal(logits(model), before)


@pytest.mark.parametrize(
    ("changes", "message"),
    [
        ({"low_rank": 0}, "low_rank=0"),
        ({"high_rank": 1.5}, "high_rank=1.5"),
        ({"components": True}, "components=True"),
        ({"layers_per_gate": "4"}, "layers_per_gate='4'"),
        ({"gate": "sentence"}, "gate='sentence' must be one of token, prefix, reference, none"),
        ({"init": "zeros"}, "init='zeros' must be one of"),
        ({"tasks": []}, "tasks=.. must be a list of at least one name"),
        ({"tasks": ["a", "a"]}, "each of them once"),
        ({"target_modules": [1]}, "target_modules="),
    ],
)
def test_wrong_settings_are_named(changes: dict, message: str) -> None:
    with pytest.raises(OptionError, match=message):
        DataAdapterConfig(**changes)


def test_a_config_of_json_is_the_same_config(tmp_path: Path) -> None:
    adapted(exclude_modules=["down_proj"]).save_pretrained(tmp_path)
    written = json.loads((tmp_path / "adapter_config.json").read_text("utf-8"))
    assert written["peft_type"] == "DATA"
    assert len(written["target_modules"]) == 4 * 6
    loaded = DataAdapterConfig.from_pretrained(tmp_path)
    assert (loaded.components, loaded.layers_per_gate, loaded.exclude_modules) == (4, 2, ["down_proj"])


@pytest.mark.parametrize("layers_per_gate", [1, 2, 4])
@pytest.mark.parametrize("gate", ["token", "prefix"])
def test_checkpointing_changes_no_gradient(gate: str, layers_per_gate: int) -> None:
    wanted = gradients(adapted(gate=gate, layers_per_gate=layers_per_gate).train())
    model = adapted(gate=gate, layers_per_gate=layers_per_gate).train()
    model.enable_input_require_grads()
    model.gradient_checkpointing_enable({"use_reentrant": False})
    found = gradients(model)
    assert found.keys() == wanted.keys()
    assert all(torch.allclose(found[name], wanted[name], atol=1e-6) for name in wanted)


def test_checkpointing_finds_each_passes_own_gates() -> None:
    """Two passes, then both backward: the second must not lend its gates to the first one's recomputation."""

    def run(checkpointing: bool) -> dict[str, torch.Tensor]:
        model = adapted().train()
        if checkpointing:
            model.enable_input_require_grads()
            model.gradient_checkpointing_enable({"use_reentrant": False})
        other = torch.flip(IDS, [1])
        losses = [model(input_ids=ids, labels=ids).loss for ids in (IDS, other)]
        (losses[0] + 3 * losses[1]).backward()
        return {name: parameter.grad for name, parameter in model.named_parameters() if parameter.grad is not None}

    wanted, found = run(False), run(True)
    assert len(wanted) > 50
    assert all(torch.allclose(found[name], wanted[name], atol=1e-6) for name in wanted)


def test_reentrant_checkpointing_is_refused() -> None:
    model = adapted().train()
    model.enable_input_require_grads()
    model.gradient_checkpointing_enable({"use_reentrant": True})
    with pytest.raises(OptionError, match="use_reentrant"):
        gradients(model)


@pytest.mark.parametrize("dtype", [torch.bfloat16, torch.float16])
def test_half_models_stay_half_and_close(dtype: torch.dtype) -> None:
    wanted, model = logits(adapted()), adapted(dtype=dtype)
    linear = next(iter(model.base_model.linears().values()))
    assert linear.weights("default")[0].dtype == torch.float32
    assert model.base_model.gates()[0].new_A.dtype == torch.float32
    found = logits(model)
    assert found.dtype == dtype
    assert torch.allclose(found.float(), wanted, atol=0.08 * wanted.abs().max().item())
    model.train()
    assert len(gradients(model)) == 1 + 2 * 28 + 6


@pytest.mark.parametrize("use", [copy.deepcopy, lambda model: pickle.loads(pickle.dumps(model))])
def test_a_copy_has_gates_of_its_own(use: Callable[[nn.Module], nn.Module]) -> None:
    model = adapted()
    gradients(model)  # leaves tensors with a graph behind, which nobody may copy
    other = use(model)
    assert torch.equal(logits(other), logits(model))
    with torch.no_grad():
        other.base_model.gates()[0].new_W.add_(1)
    before = logits(model)
    assert not torch.equal(logits(other), before)
    assert torch.equal(logits(model), before)


def test_compiled_layers_answer_the_same() -> None:
    model = adapted()
    wanted = logits(model)
    assert torch.allclose(logits(torch.compile(model, backend="eager")), wanted, atol=1e-5)


def test_evaluation_between_training_steps_changes_no_gradient() -> None:
    wanted, model = gradients(adapted().train()), adapted().train()
    model.eval()
    logits(model, IDS[:, :3])
    model.train()
    found = gradients(model)
    assert all(torch.equal(found[name], wanted[name]) for name in wanted)
