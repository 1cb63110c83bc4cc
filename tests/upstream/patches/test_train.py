"""Loading models for citi through upstream's own functions."""

from pathlib import Path
from typing import Any

import pytest
import torch
from llamafactory.hparams import get_infer_args, get_train_args
from llamafactory.model import load_model, load_tokenizer
from llamafactory.train import tuner
from peft import LoraConfig, PeftModel, get_peft_model

import tiny
from llamafactory_ext.errors import CheckpointError, OptionError
from llamafactory_ext.molora import model as molora_model
from processes import train_options

pytestmark = pytest.mark.fast


def infer(model: Path, adapter: Path | str | None, **changes: Any) -> Any:
    options = {"model_name_or_path": str(model), "template": "llama3", "finetuning_type": "citi"}
    if adapter is not None:
        options["adapter_name_or_path"] = str(adapter)
    model_args, _, finetuning_args, _ = get_infer_args(options | changes)
    return load_model(load_tokenizer(model_args)["tokenizer"], model_args, finetuning_args)


def test_training_gets_a_frozen_base(tiny_llama_dir: Path, tiny_data_dir: Path, tmp_path: Path) -> None:
    groups = get_train_args(train_options(tiny_llama_dir, tiny_data_dir, tmp_path / "out"))
    tokenizer = load_tokenizer(groups[0])["tokenizer"]
    model = load_model(tokenizer, groups[0], groups[3], is_trainable=True)
    assert not isinstance(model, PeftModel)
    assert not any(parameter.requires_grad for parameter in model.parameters())
    groups[0].adapter_name_or_path = ["some/adapter"]
    with pytest.raises(OptionError, match="adapter_name_or_path=some/adapter is not used in citi training"):
        load_model(tokenizer, groups[0], groups[3], is_trainable=True)


def test_inference_loads_the_adapter_unmerged(tiny_llama_dir: Path, tiny_adapter_dir: Path) -> None:
    loaded = infer(tiny_llama_dir, tiny_adapter_dir)
    expected = PeftModel.from_pretrained(tiny.tiny_model(), tiny_adapter_dir).eval()
    ids = torch.arange(12)[None]
    logits = loaded(input_ids=ids).logits
    assert isinstance(loaded, PeftModel)
    assert not torch.equal(logits, tiny.tiny_model()(input_ids=ids).logits)
    torch.testing.assert_close(logits, expected(input_ids=ids).logits, rtol=0, atol=0)


def test_inference_computes_with_the_kernel_asked_for(
    tiny_llama_dir: Path, tiny_adapter_dir: Path, monkeypatch: pytest.MonkeyPatch
) -> None:
    monkeypatch.setattr(molora_model, "triton_problem", lambda: None)
    adapted = infer(tiny_llama_dir, tiny_adapter_dir, citi_kernel="triton").base_model.molora_layers().values()
    assert {layer.kernel for layer in adapted} == {"triton"}
    monkeypatch.setattr(molora_model, "triton_problem", lambda: "it needs a GPU")
    with pytest.raises(OptionError, match="Kernel triton cannot be used, as it needs a GPU; set citi_kernel: torch"):
        infer(tiny_llama_dir, tiny_adapter_dir, citi_kernel="triton")


def test_inference_without_adapter_is_the_base(tiny_llama_dir: Path) -> None:
    assert not isinstance(infer(tiny_llama_dir, None), PeftModel)


def test_wrong_checkpoints(tiny_llama_dir: Path, tiny_adapter_dir: Path, tmp_path: Path) -> None:
    lora = tmp_path / "lora"
    get_peft_model(tiny.tiny_model(), LoraConfig(target_modules=["q_proj"])).save_pretrained(lora)
    with pytest.raises(CheckpointError, match="holds a LORA adapter, not a MOLoRA or DATA one; set finetuning_type"):
        infer(tiny_llama_dir, lora)
    with pytest.raises(OptionError, match=r"has no adapter_config\.json; name the output_dir of a finished run"):
        infer(tiny_llama_dir, tiny_llama_dir)
    with pytest.raises(OptionError, match="names 2 adapters"):
        infer(tiny_llama_dir, f"{tiny_adapter_dir},{tiny_adapter_dir}")
    (lora / "adapter_config.json").write_text("{", encoding="utf-8")
    with pytest.raises(OptionError, match=r"adapter_config\.json is no JSON"):
        infer(tiny_llama_dir, lora)
    with pytest.raises(CheckpointError, match=r"adapter_name_or_path=no/adapter cannot be loaded \("):
        infer(tiny_llama_dir, "no/adapter")


def test_adapter_of_another_base(tiny_adapter_dir: Path, tmp_path: Path) -> None:
    other = tiny.save_tiny_model(tmp_path / "wider", intermediate_size=64)
    with pytest.raises(OptionError, match=r"belongs to another base than .*is \[32, 64\] in the base.*name its own"):
        infer(other, tiny_adapter_dir)
    phi3 = tiny.save_tiny_model(tmp_path / "phi3", "phi3")
    with pytest.raises(OptionError, match=r"belongs to another base than .*the base has no .*name its own"):
        infer(phi3, tiny_adapter_dir)


def test_evaluation_is_upstreams(
    tiny_llama_dir: Path, tiny_data_dir: Path, tiny_adapter_dir: Path, tmp_path: Path
) -> None:
    changes = {"do_train": None, "do_eval": True, "dataset": None, "eval_dataset": "tiny"}
    options = train_options(tiny_llama_dir, tiny_data_dir, tmp_path / "with", **changes)
    tuner.run_exp(options | {"adapter_name_or_path": str(tiny_adapter_dir)})
    tuner.run_exp(options | {"output_dir": str(tmp_path / "without")})
    with_adapter, without = ((tmp_path / run / "eval_results.json").read_text() for run in ("with", "without"))
    assert "eval_loss" in with_adapter
    assert with_adapter.split("eval_loss")[1] != without.split("eval_loss")[1]


def test_export_lists_what_is_missing(tiny_llama_dir: Path) -> None:
    options = {"model_name_or_path": str(tiny_llama_dir), "template": "llama3", "finetuning_type": "citi"}
    with pytest.raises(OptionError) as caught:
        tuner.export_model(options | {"export_quantization_bit": 4, "export_quantization_dataset": "x"})
    for name in ("export_dir", "adapter_name_or_path", "quantization"):
        assert name in caught.value.message
