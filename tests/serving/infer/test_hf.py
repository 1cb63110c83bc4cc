"""Asking by transformers: models, adapters and exports, batched or not the same, and what cannot be loaded told."""

from __future__ import annotations

import shutil
from pathlib import Path
from typing import Any

import pytest
import torch
from peft import LoraConfig, PeftModel, get_peft_model
from safetensors.torch import load_file, save_file
from transformers import AutoModelForCausalLM

import tiny
from llamafactory_ext.citi.export import export_citi
from llamafactory_ext.errors import CheckpointError, ExtError, OptionError
from llamafactory_ext.serving.infer.hf import HfBackend, load_tokenizer
from llamafactory_ext.serving.infer.options import InferOptions
from serving.asking import ask

pytestmark = pytest.mark.fast

HF: dict[str, Any] = {"backend": "hf", "max_new_tokens": 6, "tools": False, "dtype": "float32"}


def predictions(folder: Path, model: Path, **changes: Any) -> dict[str, str]:
    folder.mkdir()
    return {record["id"]: record["prediction"] for record in ask(folder, **(HF | {"model": str(model)} | changes))}


def greedy(model: Any, tokenizer: Any, text: str) -> str:
    """One prompt by itself, without our code."""
    ids = tokenizer(text, add_special_tokens=False, return_tensors="pt").input_ids
    new = model.generate(ids, max_new_tokens=6, do_sample=False, attention_mask=torch.ones_like(ids))[
        0, ids.shape[1] :
    ]
    kept = []
    for token in new.tolist():
        if token == tokenizer.eos_token_id:
            break
        kept.append(token)
    return str(tokenizer.decode([token for token in kept if token not in (0, 1)]))


def test_batches_padded_on_the_left_answer_as_single_prompts(tiny_llama_dir: Path, tmp_path: Path) -> None:
    batched = predictions(tmp_path / "batched", tiny_llama_dir, batch_size=4)
    single = predictions(tmp_path / "single", tiny_llama_dir, batch_size=1)
    assert batched == single
    model, tokenizer = AutoModelForCausalLM.from_pretrained(tiny_llama_dir), load_tokenizer(tiny_llama_dir)
    for i in range(6):
        asked = [{"role": "user", "content": f"How is city {i}? " + "Say more. " * (i % 5)}]
        text = tokenizer.apply_chat_template(asked, tokenize=False, add_generation_prompt=True)
        assert batched[f"item:{i}"] == greedy(model, tokenizer, text)


def test_an_adapter_and_its_export_answer_alike(tiny_llama_dir: Path, tiny_adapter_dir: Path, tmp_path: Path) -> None:
    adapter = shutil.copytree(tiny_adapter_dir, tmp_path / "adapter")
    adapted = predictions(tmp_path / "adapted", adapter, base=str(tiny_llama_dir))
    assert adapted != predictions(tmp_path / "base", tiny_llama_dir)
    model = PeftModel.from_pretrained(AutoModelForCausalLM.from_pretrained(tiny_llama_dir), str(adapter))
    exported = tmp_path / "exported"
    export_citi(model, load_tokenizer(tiny_llama_dir), None, exported, "5GB")
    assert predictions(tmp_path / "from_export", exported) == adapted


def test_a_lora_adapter(tiny_llama_dir: Path, tmp_path: Path) -> None:
    torch.manual_seed(0)
    base = AutoModelForCausalLM.from_pretrained(tiny_llama_dir)
    model = get_peft_model(base, LoraConfig(target_modules=["q_proj", "down_proj"], r=4, init_lora_weights=False))
    model.peft_config["default"].base_model_name_or_path = str(tiny_llama_dir)
    model.save_pretrained(tmp_path / "lora")
    answers = predictions(tmp_path / "asked", tmp_path / "lora")
    assert answers != predictions(tmp_path / "base", tiny_llama_dir)


def test_a_template_and_public_tools(tiny_llama_dir: Path, tmp_path: Path) -> None:
    answers = predictions(tmp_path / "asked", tiny_llama_dir, template="llama3_toolalpaca", tools=True)
    assert len(answers) == 6


def test_prompts_without_room_are_empty_answers(tmp_path: Path) -> None:
    model = tiny.save_tiny_model(tmp_path / "model", max_position_embeddings=36)
    answers = predictions(tmp_path / "asked", model)
    assert answers["item:4"] == ""
    assert answers["item:0"]


@pytest.mark.parametrize(
    ("changes", "told"),
    [
        ({"model": "nowhere"}, "there is no such folder"),
        ({"template": "nope"}, 'there is no template "nope"'),
        ({"dtype": "int3"}, "--dtype is 'int3'"),
        ({"base": "."}, "holds a whole model; drop --base"),
    ],
)
def test_wrong_options(tiny_llama_dir: Path, changes: dict[str, Any], told: str) -> None:
    options = {"dataset": "x", "out": "y", "backend": "hf", "model": str(tiny_llama_dir)}
    with pytest.raises(OptionError, match=told):
        HfBackend(InferOptions.of(options | changes))


def test_damaged_models(tiny_llama_dir: Path, tiny_adapter_dir: Path, tmp_path: Path) -> None:
    def fails(model: Path, told: str, **changes: str) -> None:
        given = {"dataset": "x", "out": "y", "backend": "hf", "model": str(model)} | changes
        with pytest.raises(ExtError, match=told):
            HfBackend(InferOptions.of(given))

    (tmp_path / "empty").mkdir()
    fails(tmp_path / "empty", "neither config.json nor adapter_config.json")
    cut = shutil.copytree(tiny_llama_dir, tmp_path / "cut")
    weights = (cut / "model.safetensors").read_bytes()
    (cut / "model.safetensors").write_bytes(weights[: len(weights) // 2])
    fails(cut, "so it is not whole")
    bare = shutil.copytree(tiny_llama_dir, tmp_path / "bare", ignore=shutil.ignore_patterns("tokenizer*"))
    fails(bare, "no tokenizer can be loaded")
    fails(tiny_adapter_dir, "does not name its base model; give --base DIR")
    broken = shutil.copytree(tiny_adapter_dir, tmp_path / "broken")
    (broken / "adapter_config.json").write_text("{")
    with pytest.raises(CheckpointError, match=r"adapter_config\.json cannot be read"):
        HfBackend(InferOptions.of({"dataset": "x", "out": "y", "backend": "hf", "model": str(broken)}))


@pytest.mark.parametrize(
    ("file", "content", "told"),
    [
        ("model.safetensors", b"version https://git-lfs.github.com/spec/v1\noid sha256:0\nsize 1\n", "git-lfs"),
        ("model.safetensors", b"", "is no file of safetensors"),
        ("pytorch_model.bin", b"garbage" * 9, "is no file of torch's weights"),
        ("config.json", b"{", "config.json is no JSON"),
        ("config.json", b"[1]", "config.json holds no JSON object"),
        ("adapter_model.safetensors", b"garbage" * 9, "adapter_model.safetensors is no file of safetensors"),
    ],
)
def test_what_the_files_show_is_told_before_a_model_is_loaded(
    tiny_llama_dir: Path, tmp_path: Path, monkeypatch: pytest.MonkeyPatch, file: str, content: bytes, told: str
) -> None:
    def load(*_: Any, **__: Any) -> None:
        pytest.fail("a model was loaded")

    folder = shutil.copytree(tiny_llama_dir, tmp_path / "model")
    if file == "pytorch_model.bin":
        (folder / "model.safetensors").unlink()
    if file.startswith("adapter"):
        (folder / "adapter_config.json").write_text('{"peft_type": "LORA", "r": 2, "target_modules": ["q_proj"]}')
    (folder / file).write_bytes(content)
    monkeypatch.setattr(AutoModelForCausalLM, "from_pretrained", load)
    given = {"dataset": "x", "out": "y", "backend": "hf", "model": str(folder)}
    base = {"base": str(tiny_llama_dir)} if file.startswith("adapter") else {}
    with pytest.raises(CheckpointError, match=told) as caught:
        HfBackend(InferOptions.of(given | base))
    assert "train_from_scratch" not in caught.value.message  # which is no option of this command


@pytest.mark.parametrize("prefix", ["foo.", "model.model.layers.9."])
def test_weights_of_other_names_are_no_model(tiny_llama_dir: Path, tmp_path: Path, prefix: str) -> None:
    """Transformers would go on with random numbers in their place."""
    folder = shutil.copytree(tiny_llama_dir, tmp_path / "model")
    weights = {f"{prefix}{name}": weight for name, weight in load_file(folder / "model.safetensors").items()}
    save_file(weights, folder / "model.safetensors", metadata={"format": "pt"})
    with pytest.raises(CheckpointError, match="which would be random numbers"):
        HfBackend(InferOptions.of({"dataset": "x", "out": "y", "backend": "hf", "model": str(folder)}))
