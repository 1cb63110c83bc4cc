"""The life of an adapter goes as LoRA's does: made, named, switched, saved, loaded elsewhere, deleted."""

from __future__ import annotations

import io
import json
from pathlib import Path
from typing import Any

import pytest
import torch
from peft import (
    PeftConfig,
    PeftModel,
    TaskType,
    get_peft_model,
    get_peft_model_state_dict,
    inject_adapter_in_model,
    prepare_model_for_kbit_training,
    set_peft_model_state_dict,
)
from peft.tuners.tuners_utils import BaseTunerLayer
from torch import Tensor, nn
from transformers import AutoModelForSequenceClassification, AutoModelForTokenClassification

from beside_lora import METHODS, TARGETS, TUNED, adapted, assert_same, config, gradients, layer, leaves, logits, state
from llamafactory_ext.molora import MoLoraConfig
from tiny import tiny_config, tiny_model

pytestmark = pytest.mark.fast

every_method = pytest.mark.parametrize("method", METHODS)


def carriers(model: nn.Module) -> set[str]:
    """The names that adapted linears have in the base model."""
    return {
        name.removeprefix("base_model.model.")
        for name, module in model.named_modules()
        if isinstance(module, BaseTunerLayer)
    }


@every_method
def test_all_linear_is_saved_as_the_names_it_found_and_fits_another_head(method: str, tmp_path: Path) -> None:
    model = adapted(method, target_modules="all-linear")
    names = carriers(model)
    assert "lm_head" not in names
    model.save_pretrained(tmp_path)
    assert "all-linear" not in (tmp_path / "adapter_config.json").read_text("utf-8")
    for head in (AutoModelForSequenceClassification, AutoModelForTokenClassification):
        other = head.from_config(tiny_config())
        assert carriers(PeftModel.from_pretrained(other, tmp_path)) == names
    assert torch.equal(logits(PeftModel.from_pretrained(tiny_model(), tmp_path)), logits(model))


@every_method
def test_a_classifier_head_is_tuned_and_saved_beside_the_adapter(method: str, tmp_path: Path) -> None:
    settings = {"task_type": TaskType.SEQ_CLS, "target_modules": "all-linear"}
    torch.manual_seed(0)
    base = AutoModelForSequenceClassification.from_config(tiny_config())
    model = get_peft_model(base, config(method, **settings)).eval()
    assert "score" not in carriers(model)
    with torch.no_grad():
        model.base_model.model.score.modules_to_save["default"].weight.add_(0.1)
    wanted = logits(model)
    model.save_pretrained(tmp_path)
    torch.manual_seed(0)
    again = AutoModelForSequenceClassification.from_config(tiny_config())
    assert torch.equal(logits(PeftModel.from_pretrained(again, tmp_path).eval()), wanted)


@every_method
@pytest.mark.parametrize("low_cpu_mem_usage", [True, False])
@pytest.mark.parametrize("named", ["default", "other"])
def test_saving_and_loading_under_any_name(method: str, named: str, low_cpu_mem_usage: bool, tmp_path: Path) -> None:
    base = tiny_model()
    torch.manual_seed(1)
    model = get_peft_model(base, config(method, modules_to_save=list(TUNED)), adapter_name=named).eval()
    with torch.no_grad():
        for name, parameter in model.named_parameters():
            if ".modules_to_save." in name:
                parameter.mul_(1.5)
    model.save_pretrained(tmp_path)
    folder = tmp_path if named == "default" else tmp_path / named
    again = PeftModel.from_pretrained(tiny_model(), folder, low_cpu_mem_usage=low_cpu_mem_usage).eval()
    assert torch.equal(logits(again), logits(model))
    again.load_adapter(folder, "second", low_cpu_mem_usage=low_cpu_mem_usage)
    again.set_adapter("second")
    assert torch.equal(logits(again), logits(model))
    assert sorted(PeftConfig.from_pretrained(folder).target_modules) == sorted(TARGETS)


@pytest.mark.parametrize("named", ["default", "other"])
def test_the_saved_readme_names_the_import_once(named: str, tmp_path: Path) -> None:
    model = get_peft_model(tiny_model(), config("MOLoRA"), adapter_name=named)
    for _ in range(2):
        model.save_pretrained(tmp_path)
    assert (tmp_path / "README.md").read_text("utf-8").count("import llamafactory_ext") == 1
    (tmp_path / "bare").mkdir()
    config("MOLoRA").save_pretrained(str(tmp_path / "bare"))
    assert [file.name for file in (tmp_path / "bare").iterdir()] == ["adapter_config.json"]


@every_method
def test_several_adapters_take_turns_and_act_together(method: str) -> None:
    model = adapted(method)
    first = logits(model)
    torch.manual_seed(2)
    model.add_adapter("second", config(method, target_modules=TARGETS[1:], r=2))
    assert torch.equal(logits(model), first)
    model.set_adapter("second")
    second = logits(model)
    assert not torch.allclose(second, first, atol=1e-3)
    model.base_model.set_adapter(["default", "second"])
    x, found = torch.randn(3, 48), layer(model)
    with torch.no_grad():
        together, base = found(x), found.base_layer(x)
        parts = []
        for name in ("default", "second"):
            found.set_adapter([name])
            parts.append(found(x) - base)
    assert torch.allclose(together, base + sum(parts), atol=1e-5)
    model.set_adapter("default")
    assert torch.equal(logits(model), first)
    model.delete_adapter("second")
    assert torch.equal(logits(model), first)
    assert not any("second" in name for name in model.state_dict())


@every_method
def test_switching_adapters_off_and_on(method: str) -> None:
    model, base = adapted(method), logits(tiny_model())
    first = logits(model)
    trained = {name for name, parameter in model.named_parameters() if parameter.requires_grad}
    with model.disable_adapter():
        assert torch.equal(logits(model), base)
    assert torch.equal(logits(model), first)
    model.base_model.disable_adapter_layers()
    assert torch.equal(logits(model), base)
    assert not any(parameter.requires_grad for parameter in model.parameters())
    model.base_model.enable_adapter_layers()
    assert torch.equal(logits(model), first)
    assert {name for name, parameter in model.named_parameters() if parameter.requires_grad} == trained
    assert torch.equal(logits(model.unload()), base)


@every_method
def test_what_trains_is_told_and_can_be_chosen(method: str) -> None:
    model = adapted(method)
    trained = sum(parameter.numel() for parameter in model.parameters() if parameter.requires_grad)
    assert model.get_nb_trainable_parameters()[0] == trained
    status = model.get_model_status()
    assert (status.enabled, status.active_adapters, status.merged_adapters) == (True, ["default"], [])
    assert (status.trainable_params, status.requires_grad) == (trained, {"default": True})
    assert {found.name for found in model.get_layer_status()} == {f"model.{name}" for name in TARGETS}
    model.set_requires_grad("default", False)
    assert model.get_nb_trainable_parameters()[0] == 0
    model.set_requires_grad("default", True)
    assert_same(gradients(model), gradients(adapted(method)))


@every_method
def test_a_frozen_adapter_passes_gradients_on(method: str) -> None:
    model = adapted(method, inference_mode=True)
    assert model.get_nb_trainable_parameters()[0] == 0
    x = torch.randn(3, 48, requires_grad=True)
    layer(model)(x).sum().backward()
    assert x.grad.abs().sum() > 0


@every_method
def test_states_are_kept_by_torch_and_by_peft(method: str) -> None:
    model = adapted(method)
    file = io.BytesIO()
    torch.save(model.state_dict(), file)
    file.seek(0)
    torch.manual_seed(9)
    fresh = get_peft_model(tiny_model(seed=5), config(method)).eval()
    fresh.load_state_dict(torch.load(file, weights_only=True))
    assert torch.equal(logits(fresh), logits(model))
    other = get_peft_model(tiny_model(), config(method)).eval()
    result = set_peft_model_state_dict(other, get_peft_model_state_dict(model))
    assert not result.unexpected_keys
    assert torch.equal(logits(other), logits(model))


@every_method
def test_it_can_be_put_into_a_model_without_a_peft_model(method: str, tmp_path: Path) -> None:
    wanted = logits(adapted(method))
    base = tiny_model()
    torch.manual_seed(1)
    inject_adapter_in_model(config(method), base)
    assert torch.equal(logits(base), wanted)
    base = tiny_model()
    torch.manual_seed(1)
    base.add_adapter(config(method))  # transformers' own way
    assert torch.equal(logits(base), wanted)
    base.save_pretrained(tmp_path)
    again = tiny_model()
    again.load_adapter(str(tmp_path))
    assert torch.equal(logits(again), wanted)


@every_method
@pytest.mark.parametrize(
    ("changes", "wanted"),
    [
        ({"target_modules": ["q_proj"]}, ["0.self_attn.q_proj", "1.self_attn.q_proj"]),
        ({"target_modules": r".*\.1\..*(up|down)_proj"}, ["1.mlp.up_proj", "1.mlp.down_proj"]),
        ({"target_modules": ["q_proj"], "exclude_modules": ["layers.0.self_attn.q_proj"]}, ["1.self_attn.q_proj"]),
        ({"target_modules": {"up_proj"}, "exclude_modules": r".*\.0\..*"}, ["1.mlp.up_proj"]),
        (
            {"target_modules": ["k_proj"], "modules_to_save": ["model.layers.0.self_attn.k_proj"]},
            ["1.self_attn.k_proj"],
        ),
    ],
)
def test_targets_are_chosen_as_by_pefts_methods(method: str, changes: dict[str, Any], wanted: list[str]) -> None:
    assert carriers(adapted(method, **changes)) == {f"model.layers.{name}" for name in wanted}


@every_method
def test_a_base_in_half_gets_an_adapter_that_trains_in_float32(method: str) -> None:
    base = prepare_model_for_kbit_training(tiny_model(dtype=torch.bfloat16))
    model = get_peft_model(base, config(method))
    assert {parameter.dtype for parameter in model.parameters() if parameter.requires_grad} == {torch.float32}
    assert all(gradient.isfinite().all() for gradient in gradients(model).values())
    kept = get_peft_model(tiny_model(dtype=torch.bfloat16), config(method), autocast_adapter_dtype=False)
    assert {parameter.dtype for parameter in kept.parameters()} == {torch.bfloat16}


def test_lora_on_top_of_it_adds_to_it() -> None:
    model = adapted("MOLoRA")
    first = logits(model)
    above = get_peft_model(model.base_model.model, config("LoRA", init_lora_weights=True)).eval()
    assert torch.equal(logits(above), first)
    assert sum(name.endswith(".lora_B.default.weight") for name in above.state_dict()) == len(TARGETS)


@every_method
@pytest.mark.parametrize("tied", [True, False])
def test_generation(method: str, tied: bool) -> None:
    torch.manual_seed(1)
    model = get_peft_model(tiny_model(tie_word_embeddings=tied), config(method)).eval()
    ids = torch.tensor([[5, 6, 7]])
    answer = model.generate(input_ids=ids, max_new_tokens=5, min_new_tokens=5)
    step = ids
    for _ in range(5):
        step = torch.cat([step, model(input_ids=step).logits[:, -1:].argmax(-1)], dim=1)
    assert torch.equal(answer, step)


def test_an_adapter_of_a_later_version_is_read_with_a_warning(tmp_path: Path) -> None:
    adapted("MOLoRA").save_pretrained(tmp_path)
    file = tmp_path / "adapter_config.json"
    file.write_text(json.dumps(json.loads(file.read_text("utf-8")) | {"unheard_of": 1}), "utf-8")
    with pytest.warns(UserWarning, match="unheard_of"):
        assert isinstance(PeftConfig.from_pretrained(tmp_path), MoLoraConfig)


def test_the_table_covers_what_it_says() -> None:
    model: nn.Module = adapted("MOLoRA")
    assert len(leaves(model)) == 4 * len(TARGETS)
    assert carriers(model) == set(TARGETS)
    before: dict[str, Tensor] = state(model)
    assert before.keys() == model.state_dict().keys()
