"""A quantised base, as for QLoRA: rp and mi train on it, uco is refused, and the adapter serves the plain base."""

from __future__ import annotations

import importlib.util
from pathlib import Path

import pytest
import torch
from llamafactory.train.tuner import export_model
from peft import PeftModel
from transformers import AutoModelForCausalLM

import tiny
from family_models import family_model
from llamafactory_ext.citi.export import export_citi
from llamafactory_ext.citi.importance import linear_components, score_components
from llamafactory_ext.citi.phases import IMPROVED, Phase
from llamafactory_ext.citi.run.adapters import check_tunable
from llamafactory_ext.errors import OptionError
from llamafactory_ext.molora import MoLoraConfig
from llamafactory_ext.upstream.pipeline.api import _without_number
from runs import Snapshots, citi_options, train
from sampling import sample

pytestmark = pytest.mark.fast

needs_bitsandbytes = pytest.mark.skipif(
    importlib.util.find_spec("bitsandbytes") is None, reason="bitsandbytes is not installed: pip install it"
)


@needs_bitsandbytes
@pytest.mark.parametrize(("bits", "bf16"), [(4, False), (4, True), (8, True)])
def test_rp_and_mi_train_on_a_quantized_base(bits: int, bf16: bool, tiny_data_dir: Path, tmp_path: Path) -> None:
    base = tiny.save_tiny_model(tmp_path / "base", hidden_size=64, intermediate_size=128)
    options = citi_options(base, tiny_data_dir, tmp_path / "run", quantization_bit=bits, bf16=bf16)
    seen = Snapshots()
    run = train(options | {"citi_phases": "rp,mi", "citi_mi_epochs": 3, "citi_report_samples": 2}, seen)
    kinds = {type(module).__name__ for module in seen.model.modules()}
    assert ("Linear4bit" if bits == 4 else "Linear8bitLt") in kinds
    for begin, end in zip(seen.begin.values(), seen.end.values(), strict=True):
        # Bytes that are stored as floats may be no numbers.
        moved = {name for name in begin if not torch.equal(*(side[name].view(torch.uint8) for side in (begin, end)))}
        assert moved
        assert all(".molora_" in name for name in moved)
    losses = [step["loss_lm"] for step in run.steps("mi")]
    assert sum(losses[-4:]) < sum(losses[:4]) - 1
    assert run.json("manifest.json")["base"]["quantization"] == "bitsandbytes"

    plain = PeftModel.from_pretrained(AutoModelForCausalLM.from_pretrained(base), run.path).eval()
    export = {"model_name_or_path": str(base), "adapter_name_or_path": str(run.path), "template": "llama3"}
    export_model(export | {"finetuning_type": "citi", "export_dir": str(tmp_path / "export")})
    exported = AutoModelForCausalLM.from_pretrained(tmp_path / "export").eval()
    ids = torch.arange(12)[None]
    assert (exported(input_ids=ids).logits - plain(input_ids=ids).logits).abs().max() < 1e-6


def test_packed_bytes_that_are_stored_as_floats_are_no_damaged_weights() -> None:
    model = tiny.tiny_model()
    weight = model.get_submodule("model.layers.0.self_attn.q_proj").weight
    weight.data[0, 0] = float("nan")
    assert _without_number(model) == "model.layers.0.self_attn.q_proj.weight"
    weight.quant_state = object()  # as bitsandbytes marks the weights that it has packed
    assert _without_number(model) is None


@needs_bitsandbytes
@pytest.mark.parametrize(
    ("name", "bits"),
    sample([(name, bits) for name in ("qwen3", "qwen3_moe", "gemma3", "phi3", "qwen3_5") for bits in (4, 8)], 2),
)
def test_every_structure_trains_on_a_quantized_base(name: str, bits: int, tiny_data_dir: Path, tmp_path: Path) -> None:
    family_model(name, max_position_embeddings=4096).save_pretrained(tmp_path / "base")
    tiny.tiny_tokenizer().save_pretrained(tmp_path / "base")
    options = citi_options(tmp_path / "base", tiny_data_dir, tmp_path / "run", quantization_bit=bits, bf16=True)
    seen = Snapshots()
    run = train(options | {"citi_phases": "rp,mi", "max_steps": 3}, seen)
    assert ("Linear4bit" if bits == 4 else "Linear8bitLt") in {type(one).__name__ for one in seen.model.modules()}
    assert run.json("importance.json")["settings"]["score"] == ("eq4" if name == "phi3" else "fisher")
    plain = PeftModel.from_pretrained(AutoModelForCausalLM.from_pretrained(tmp_path / "base"), run.path).eval()
    export_citi(plain, tiny.tiny_tokenizer(), None, tmp_path / "export", "5GB", run.path)
    exported = AutoModelForCausalLM.from_pretrained(tmp_path / "export").eval()
    ids = torch.arange(12)[None]
    with torch.no_grad():
        told = plain(input_ids=ids).logits
        with plain.disable_adapter():
            assert (plain(input_ids=ids).logits - told).abs().max() > 1e-4
        assert (exported(input_ids=ids).logits - told).abs().max() < 1e-4


@needs_bitsandbytes
@pytest.mark.parametrize("name", ["qwen3", "gemma3"])
def test_fisher_of_a_quantized_base_is_that_of_the_weights_it_stands_for(name: str, tmp_path: Path) -> None:
    """It reads inputs and gradients alone, so that packed weights score as the same weights unpacked."""
    from bitsandbytes.functional import dequantize_4bit
    from transformers import BitsAndBytesConfig

    family_model(name).save_pretrained(tmp_path)
    how = BitsAndBytesConfig(load_in_4bit=True, bnb_4bit_compute_dtype=torch.float32)
    packed = AutoModelForCausalLM.from_pretrained(tmp_path, quantization_config=how)
    plain = AutoModelForCausalLM.from_pretrained(tmp_path)
    for linear, module in linear_components(packed).items():
        module.support_avx512bf16_for_cpu = False  # as runs do
        weight = plain.get_submodule(linear).weight
        weight.data = dequantize_4bit(module.weight.data, module.weight.quant_state).to(weight.dtype)
    ids = torch.randint(5, 384, (4, 20), generator=torch.Generator().manual_seed(0))
    batch = {"input_ids": ids, "labels": ids, "attention_mask": torch.ones_like(ids)}
    found, expected = (score_components(model, [batch], score="fisher") for model in (packed, plain))
    assert found == pytest.approx(expected, rel=1e-2)
    for score in ("snip", "wanda"):
        with pytest.raises(OptionError, match=r"reads the weights, and those of .* are quantized; set"):
            score_components(packed, [batch], score=score)


def phase(name: str, carried: str) -> Phase:
    return Phase(name, name, IMPROVED[carried] if name == "mi" else frozenset({"backbone"}), 1, 1e-4)


def test_a_model_stored_quantized_is_not_tuned() -> None:
    """No option says that it is quantised; the model does."""
    model = tiny.tiny_model()
    check_tunable(model, [phase("mi", "molora"), phase("uco", "molora")])
    model.quantization_method = "gptq"
    check_tunable(model, [phase("mi", "molora")])
    check_tunable(model, [phase("mi", "lora")])
    for phases, name in (([phase("mi", "molora"), phase("uco", "molora")], "uco"), ([phase("mi", "full")], "mi")):
        with pytest.raises(
            OptionError, match=rf"quantized \(gptq\), and phase {name} cannot tune.*citi_phases: rp,mi"
        ):
            check_tunable(model, phases)


def test_a_quantized_base_is_not_exported(tmp_path: Path) -> None:
    model = tiny.tiny_model()
    model.quantization_method = "gptq"
    adapted = PeftModel(model, MoLoraConfig(target_modules=["model.layers.0.self_attn.q_proj"]))
    with pytest.raises(OptionError, match=r"quantized \(gptq\).*unquantized base"):
        export_citi(adapted, tiny.tiny_tokenizer(), None, tmp_path / "out", "5GB")
    assert not (tmp_path / "out").exists()
