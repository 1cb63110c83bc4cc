"""Tiny random models in folders named as the models that PEFT's own tests ask a hub for."""

from __future__ import annotations

from pathlib import Path
from typing import Any

import torch
import transformers
from peft import LoraConfig
from transformers import AutoConfig

from tiny import tiny_tokenizer

VOCABULARY = {"vocab_size": 384}
SMALL = {"hidden_size": 32, "intermediate_size": 48, "num_hidden_layers": 2, "num_attention_heads": 4, **VOCABULARY}
GROUPED = {**SMALL, "num_key_value_heads": 2}
BART = {"layers": 2, "attention_heads": 4, "ffn_dim": 48}
GPT = {"n_embd": 32, "n_layer": 2, "n_head": 4, "n_positions": 128, **VOCABULARY}
HF, TRL, PEFT = "hf-internal-testing", "trl-internal-testing", "peft-internal-testing"
# Model type, class (Auto...), settings.
MODELS: dict[str, tuple[str, str, dict[str, Any]]] = {
    f"{HF}/tiny-random-OPTForCausalLM": (
        "opt",
        "CausalLM",
        {**SMALL, "ffn_dim": 48, "word_embed_proj_dim": 32, "max_position_embeddings": 128},
    ),
    f"{HF}/tiny-random-GPT2LMHeadModel": ("gpt2", "CausalLM", GPT),
    f"{HF}/tiny-random-gpt2": ("gpt2", "CausalLM", GPT),
    f"{HF}/tiny-random-BloomForCausalLM": (
        "bloom",
        "CausalLM",
        {**VOCABULARY, "hidden_size": 32, "n_layer": 2, "n_head": 4},
    ),
    f"{HF}/tiny-random-gpt_neo": (
        "gpt_neo",
        "CausalLM",
        {
            "hidden_size": 32,
            "num_layers": 2,
            "num_heads": 4,
            "attention_types": [[["global", "local"], 1]],
            **VOCABULARY,
        },
    ),
    f"{HF}/tiny-random-GPTJForCausalLM": ("gptj", "CausalLM", {**GPT, "rotary_dim": 4}),
    f"{HF}/tiny-random-GPTBigCodeForCausalLM": ("gpt_bigcode", "CausalLM", GPT),
    f"{TRL}/tiny-random-LlamaForCausalLM": ("llama", "CausalLM", GROUPED),
    f"{HF}/tiny-random-MistralForCausalLM": ("mistral", "CausalLM", GROUPED),
    f"{PEFT}/tiny-dummy-qwen2": ("qwen2", "CausalLM", GROUPED),
    f"{HF}/tiny-random-Gemma3ForCausalLM": ("gemma3_text", "CausalLM", {**GROUPED, "head_dim": 8}),
    "ybelkada/tiny-random-T5ForConditionalGeneration-calibrated": (
        "t5",
        "Seq2SeqLM",
        {
            "d_model": 32,
            "d_kv": 8,
            "d_ff": 48,
            "num_layers": 2,
            "num_heads": 4,
            "decoder_start_token_id": 0,
            **VOCABULARY,
        },
    ),
    f"{HF}/tiny-random-BartForConditionalGeneration": (
        "bart",
        "Seq2SeqLM",
        {
            **VOCABULARY,
            **{f"{part}_{name}": size for part in ("encoder", "decoder") for name, size in BART.items()},
            "d_model": 32,
            "max_position_embeddings": 128,
        },
    ),
    f"{HF}/tiny-random-BertModel": ("bert", "", SMALL),
    f"{HF}/tiny-random-RobertaModel": ("roberta", "", SMALL),
    f"{HF}/tiny-random-DebertaModel": ("deberta", "", SMALL),
    f"{HF}/tiny-random-DebertaV2Model": ("deberta-v2", "", SMALL),
    f"{HF}/tiny-random-BertForSequenceClassification": ("bert", "SequenceClassification", SMALL),
    f"{HF}/tiny-random-RobertaForSequenceClassification": ("roberta", "SequenceClassification", SMALL),
    f"{TRL}/tiny-LlamaForSequenceClassification-3.2": (
        "llama",
        "SequenceClassification",
        {**GROUPED, "pad_token_id": 1},
    ),
}


def make_models(folder: Path) -> None:
    """Write each model, with weights large enough to act and a tokenizer, unless it is there."""
    for name, (kind, head, settings) in MODELS.items():
        for place in (folder / name, folder / PEFT / name.rpartition("/")[2]):  # where PEFT 0.18 and 0.20 look
            if (place / "config.json").exists():
                continue
            torch.manual_seed(0)
            config = AutoConfig.for_model(kind, **settings)
            auto = getattr(transformers, f"AutoModelFor{head}" if head else "AutoModel")
            auto.from_config(config).eval().save_pretrained(place)
            tiny_tokenizer().save_pretrained(place)
    LoraConfig().save_pretrained(str(folder / PEFT / "tiny-opt-lora-revision"))
