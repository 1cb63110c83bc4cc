"""Tiny random models, a tiny Llama-3-style tokenizer and a tiny marked data set, deterministic and made offline."""

from __future__ import annotations

import json
from pathlib import Path
from typing import Any

import torch
from tokenizers import Tokenizer, decoders, models, pre_tokenizers, processors, trainers
from transformers import (
    AutoModelForCausalLM,
    LlamaConfig,
    MistralConfig,
    Phi3Config,
    PreTrainedConfig,
    PreTrainedModel,
    PreTrainedTokenizerFast,
    set_seed,
)

ARCHITECTURES = ("llama", "mistral", "phi3")
HIDDEN, INTERMEDIATE, HEADS, KV_HEADS = 32, 48, 4, 2
SPECIAL_TOKENS = ("<|begin_of_text|>", "<|end_of_text|>", "<|start_header_id|>", "<|end_header_id|>", "<|eot_id|>")
# The same text as template `llama3` renders, without tools.
CHAT_TEMPLATE = (
    "{{ '<|begin_of_text|>' }}{% for message in messages %}"
    "{{ '<|start_header_id|>' + message['role'] + '<|end_header_id|>\n\n' + message['content'] + '<|eot_id|>' }}"
    "{% endfor %}{% if add_generation_prompt %}"
    "{{ '<|start_header_id|>assistant<|end_header_id|>\n\n' }}{% endif %}"
)
_CORPUS = [
    "system user assistant Answer with one tool call or with plain words.",
    "API-Request: [GetWeather(city='Paris', day='today')] API-Request: [AddReminder(content='call', time='noon')]",
    "What is 12 plus 30? The answer is 42. The capital of France is Paris. Write the word three times.",
]
_CONFIGS: dict[str, type[PreTrainedConfig]] = {"llama": LlamaConfig, "mistral": MistralConfig, "phi3": Phi3Config}


def tiny_tokenizer(vocab_size: int = 384) -> PreTrainedTokenizerFast:
    """A byte-level BPE with Llama-3's special tokens; nothing is ever unknown to it."""
    bpe = Tokenizer(models.BPE())
    bpe.pre_tokenizer = pre_tokenizers.ByteLevel(add_prefix_space=False)
    bpe.decoder = decoders.ByteLevel()
    trainer = trainers.BpeTrainer(
        vocab_size=vocab_size,
        special_tokens=list(SPECIAL_TOKENS),
        initial_alphabet=sorted(pre_tokenizers.ByteLevel.alphabet()),
        show_progress=False,
    )
    bpe.train_from_iterator(_CORPUS, trainer)
    bos = SPECIAL_TOKENS[0]
    bpe.post_processor = processors.TemplateProcessing(
        single=f"{bos} $A", pair=f"{bos} $A {bos} $B", special_tokens=[(bos, bpe.token_to_id(bos))]
    )
    tokenizer = PreTrainedTokenizerFast(
        tokenizer_object=bpe,
        bos_token=bos,
        eos_token="<|eot_id|>",
        pad_token="<|end_of_text|>",
        additional_special_tokens=["<|start_header_id|>", "<|end_header_id|>"],
        model_max_length=4096,
    )
    tokenizer.chat_template = CHAT_TEMPLATE
    return tokenizer


def tiny_config(architecture: str = "llama", layers: int = 2, vocab_size: int = 384, **changes: Any) -> Any:
    """A configuration of one of `ARCHITECTURES`; `changes` override single fields."""
    fields: dict[str, Any] = {
        "vocab_size": vocab_size,
        "hidden_size": HIDDEN,
        "intermediate_size": INTERMEDIATE,
        "num_hidden_layers": layers,
        "num_attention_heads": HEADS,
        "num_key_value_heads": KV_HEADS,
        "max_position_embeddings": 4096,
        "initializer_range": 0.2,
        "bos_token_id": 0,
        "eos_token_id": 4,
        "pad_token_id": 1,
        "tie_word_embeddings": False,
    }
    if architecture == "phi3":
        fields["original_max_position_embeddings"] = 4096
    if architecture == "mistral":
        fields["sliding_window"] = None
    return _CONFIGS[architecture](**(fields | changes))


def tiny_model(
    architecture: str = "llama", seed: int = 0, dtype: torch.dtype = torch.float32, **changes: Any
) -> PreTrainedModel:
    """A random model in evaluation mode; the same arguments give the same weights."""
    set_seed(seed)
    model = AutoModelForCausalLM.from_config(tiny_config(architecture, **changes)).to(dtype).eval()
    if model.generation_config is not None:
        model.generation_config.do_sample = False
    return model


def save_tiny_model(folder: Path | str, architecture: str = "llama", seed: int = 0, **changes: Any) -> Path:
    """Write model and tokenizer as a model directory that `from_pretrained` and LLaMA-Factory load."""
    folder = Path(folder)
    tiny_model(architecture, seed, **changes).save_pretrained(folder)
    tiny_tokenizer().save_pretrained(folder)
    return folder


def tiny_records(count: int = 8) -> list[dict[str, Any]]:
    """Alpaca records with marks: even ones are tool calls, odd ones alternate between two general tasks."""
    records = []
    for i in range(count):
        if i % 2 == 0:
            prompt, answer = f"Remind me of item {i}.", f"API-Request: [AddReminder(content='item {i}', time='noon')]"
            mark, task = "tool", "tool"
        elif i % 4 == 1:
            prompt, answer, mark, task = f"What is {i} plus {i}?", f"The answer is {i + i}.", "general", "math"
        else:
            prompt, answer, mark, task = f"Say word {i}.", f"word {i}", "general", "instructions"
        records.append({"instruction": prompt, "input": "", "output": answer, "mark": mark, "task": task})
    return records


def write_tiny_data(folder: Path | str, count: int = 8) -> Path:
    """Write `tiny_records` as the LLaMA-Factory data set `tiny` (one file, columns mark and task)."""
    folder = Path(folder)
    folder.mkdir(parents=True, exist_ok=True)
    (folder / "tiny.json").write_text(json.dumps(tiny_records(count)), encoding="utf-8")
    columns = {"prompt": "instruction", "query": "input", "response": "output", "mark": "mark", "task": "task"}
    entry = {"tiny": {"file_name": "tiny.json", "columns": columns}}
    (folder / "dataset_info.json").write_text(json.dumps(entry, indent=2), encoding="utf-8")
    return folder
