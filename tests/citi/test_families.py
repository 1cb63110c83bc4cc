"""Every family is exported: the exported model's greedy tokens are the adapter's, and not the base's."""

from __future__ import annotations

import json
from pathlib import Path
from types import SimpleNamespace
from typing import Any

import pytest
import torch
import transformers
from peft import get_peft_model, get_peft_model_state_dict
from transformers import AutoModelForCausalLM, Gemma3Config, LlamaConfig, OlmoConfig, PreTrainedConfig

from family_models import MODELS, PROMPTS, adapted, family_model, greedy
from llamafactory_ext.citi.export import export_citi
from llamafactory_ext.citi.exported import MODEL_TYPES
from llamafactory_ext.citi.importance import linear_components
from llamafactory_ext.citi.options import CitiArguments
from llamafactory_ext.citi.run.adapters import describe_experts
from llamafactory_ext.citi.run.early import early_problems, export_problem
from llamafactory_ext.citi.run.outputs import Notes
from llamafactory_ext.errors import CheckpointError
from llamafactory_ext.families import FAMILIES, family_of, standing
from llamafactory_ext.molora import MoLoraConfig
from llamafactory_ext.upstream.pipeline.skeleton import misfit
from tiny import tiny_tokenizer


def test_every_family_has_a_model_here() -> None:
    assert {kind for kind, _ in MODELS.values()} == {row.model_type for row in FAMILIES}


@pytest.mark.fast
def test_the_page_lists_every_family() -> None:
    page = (Path(__file__).parents[2] / "docs" / "citi.md").read_text("utf-8")
    lines = [line for line in page.splitlines() if "| `citi_" in line and line.count("|") == 5]
    told = [
        f"| {row.models} | `citi_{row.model_type}` | yes | {'refused' if row.unserved else 'yes'}" for row in FAMILIES
    ]
    assert len(lines) == len(told)
    for line, begin in zip(lines, told, strict=True):
        assert line.startswith(begin)


@pytest.mark.parametrize("name", MODELS)
def test_the_export_answers_as_the_adapter(name: str, tmp_path: Path) -> None:
    model_type = MODELS[name][0]
    base = list(greedy(family_model(name)))
    model = adapted(name)
    told = list(greedy(model))
    assert sum(one != other for one, other in zip(base, told, strict=True)) >= len(PROMPTS) / 2
    export_citi(model, tiny_tokenizer(), None, tmp_path / "out", "5GB")
    found = AutoModelForCausalLM.from_pretrained(tmp_path / "out").eval()
    assert found.config.model_type == f"citi_{model_type}"
    assert list(greedy(found)) == told
    ids = torch.tensor([PROMPTS[2]])
    with torch.no_grad():
        assert (found(ids).logits - model(input_ids=ids).logits).abs().max() < 1e-4


@pytest.mark.parametrize("name", ["llama3", "qwen3", "qwen3_moe", "gemma3", "qwen3_5"])
def test_in_16_bits_too(name: str, tmp_path: Path) -> None:
    """Loaded from disk, as every loader does it: a cast of the whole model would round the rotary table as well."""
    family_model(name).to(torch.bfloat16).save_pretrained(tmp_path / "base")
    model = adapted(name, AutoModelForCausalLM.from_pretrained(tmp_path / "base").eval())
    export_citi(model, tiny_tokenizer(), None, tmp_path / "out", "5GB")
    for parameter in model.parameters():
        parameter.data = parameter.data.to(torch.bfloat16)  # as the export stores the adapter
    found = AutoModelForCausalLM.from_pretrained(tmp_path / "out").eval()
    assert found.dtype == torch.bfloat16
    assert list(greedy(found)) == list(greedy(model))


@pytest.mark.fast
@pytest.mark.parametrize("row", FAMILIES, ids=lambda row: row.model_type)
def test_experts_are_computed_as_the_bases_are(row: Any) -> None:
    exported = MODEL_TYPES[f"citi_{row.model_type}"][1]
    base = getattr(transformers, row.model)
    assert exported._can_set_experts_implementation() == base._can_set_experts_implementation() == bool(row.experts)


@pytest.mark.parametrize(("name", "served"), [("qwen3", "vLLM serves it too"), ("smollm3", "run the export with")])
def test_the_card_promises_what_is_there(name: str, served: str, tmp_path: Path) -> None:
    export_citi(adapted(name), tiny_tokenizer(), None, tmp_path / "out", "5GB")
    assert served in (tmp_path / "out" / "README.md").read_text("utf-8")


def test_tied_embeddings_of_which_one_was_tuned_are_exported_apart(tmp_path: Path) -> None:
    model = family_model("qwen3")
    config = MoLoraConfig(
        target_modules=["model.layers.0.self_attn.q_proj"], modules_to_save=["embed_tokens"], init_weights=False
    )
    tuned = get_peft_model(model, config).eval()
    with torch.no_grad():
        for name, parameter in tuned.named_parameters():
            if ".modules_to_save." in name:
                parameter.add_(torch.randn(parameter.shape, generator=torch.Generator().manual_seed(3)))
    told = list(greedy(tuned))
    assert told != list(greedy(family_model("qwen3")))
    export_citi(tuned, tiny_tokenizer(), None, tmp_path / "out", "5GB")
    assert not json.loads((tmp_path / "out" / "config.json").read_text("utf-8"))["tie_word_embeddings"]
    assert list(greedy(AutoModelForCausalLM.from_pretrained(tmp_path / "out").eval())) == told


@pytest.mark.fast
@pytest.mark.parametrize(
    ("base", "adapter", "export", "problem"),
    [
        (LlamaConfig(), "molora", "model", None),
        (OlmoConfig(), "molora", "model", "no exported type for the architecture olmo"),
        (OlmoConfig(), "molora", "none", None),
        (OlmoConfig(), "lora", "model", None),
        (Gemma3Config(), "molora", "model", "gemma3 has a vision tower"),
    ],
)
def test_what_cannot_be_exported_is_refused_before_training(
    base: PreTrainedConfig, adapter: str, export: str, problem: str | None
) -> None:
    args = CitiArguments(citi_adapter=adapter, citi_export=export)
    found = export_problem(SimpleNamespace(config=base), args)
    assert (found is None) == (problem is None)
    assert (problem or "") in (found or "")
    assert found is None or "citi_export: none trains it all the same" in found


@pytest.mark.fast
@pytest.mark.parametrize(
    ("base", "problem"),
    [
        ("qwen3", None),
        ("mistral_small3", "k_proj is [128, 128] in the base, and the adapter's part is [64, 24]"),
        ("phi3", "the base has no model.layers.0.self_attn.k_proj"),
        ("phi4_mini", "the base has no model.layers.0.self_attn.k_proj"),
    ],
)
def test_an_adapter_of_another_family_is_seen_without_loading(base: str, problem: str | None) -> None:
    own = adapted("qwen3")
    tensors = {name: {"shape": list(weight.shape)} for name, weight in get_peft_model_state_dict(own).items()}
    found = misfit(family_model(base), tensors, own.peft_config["default"].target_modules)
    assert (found is None) == (problem is None)
    assert (problem or "") in (found or "")


def test_weights_of_another_export_than_the_configuration_are_refused(tmp_path: Path) -> None:
    export_citi(adapted("qwen3"), tiny_tokenizer(), None, tmp_path / "out", "5GB")
    config = json.loads((tmp_path / "out" / "config.json").read_text("utf-8"))
    (tmp_path / "out" / "config.json").write_text(json.dumps(config | {"intermediate_size": 64}), encoding="utf-8")
    with pytest.raises(CheckpointError, match="are of different exports, as shapes differ"):
        AutoModelForCausalLM.from_pretrained(tmp_path / "out")


@pytest.mark.fast
@pytest.mark.parametrize(
    ("stated", "phases", "problem"),
    [
        (None, "rp,mi,uco", None),
        ({"quant_method": "gptq", "bits": 4}, "rp,mi", "quantized by gptq, whose linears are no torch.nn.Linear"),
        ({"quant_method": "awq"}, "rp,mi", "quantized by awq, whose linears are no torch.nn.Linear"),
        ({"quant_method": "bitsandbytes", "load_in_4bit": True}, "rp,mi", None),
        ({"load_in_8bit": True}, "rp,mi", None),
        ({"quant_method": "bitsandbytes"}, "rp,mi,uco", "phase uco cannot tune quantized components"),
        ({"quant_method": "fp8"}, "rp,mi,uco", None),
    ],
)
def test_a_base_stored_quantized_is_judged_by_its_configuration(
    stated: dict[str, Any] | None, phases: str, problem: str | None
) -> None:
    model = family_model("llama3")
    if stated is not None:
        model.config.quantization_config = stated
    found = early_problems(model, CitiArguments(citi_phases=phases.split(",")))
    assert len(found) == (problem is not None)
    assert problem is None or problem in found[0]


@pytest.mark.fast
@pytest.mark.parametrize(
    ("model_type", "expected"),
    [
        ("qwen3", "`llamafactory-cli export` writes a\nself-contained model for transformers and vLLM."),
        ("smollm3", "for transformers; vLLM has no class of its own for SmolLM3"),
        ("olmo", "It cannot be exported either:\nthere is no exported type"),
    ],
)
def test_the_card_of_a_run_promises_what_is_there(model_type: str, expected: str) -> None:
    notes = Notes(standing({"model_type": model_type}))
    assert expected in notes.on_export(gated=True)
    assert "merges it" in notes.on_export(gated=False)


@pytest.mark.fast
def test_fused_experts_are_counted_and_left() -> None:
    model = family_model("qwen3_moe")
    line = describe_experts(model)
    assert line is not None
    assert "2 tensors hold" in line
    assert f"{4 * 3 * 64 * 128:,} of" in line  # gate, up and down of four experts of the one layer that has them
    assert describe_experts(family_model("qwen3_5")) is None  # whose convolution has three dimensions


@pytest.mark.parametrize("name", MODELS)
def test_components_are_the_linears_of_the_row(name: str) -> None:
    row = family_of(MODELS[name][0])
    assert row is not None
    names = {linear.rpartition(".")[2] for linear in linear_components(family_model(name))}
    assert names == set(row.linears)
