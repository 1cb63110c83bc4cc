"""Small tokenizers, made here, that treat special tokens, blanks and bytes as those of the real models do."""

from __future__ import annotations

import copy
import json
from functools import cache
from typing import Any

from tokenizers import (
    AddedToken,
    Regex,
    Tokenizer,
    decoders,
    models,
    normalizers,
    pre_tokenizers,
    processors,
    trainers,
)
from transformers import PreTrainedTokenizerFast

CORPUS = (
    "Hello there, what is the weather in Paris today? The answer is 42. Done, thank you very much!",
    'API-Request: [GetWeather(city=\'Paris\', days=3)] Action: GetWeather Action Input: {"city": "Paris"}',
    "Thought: I should look it up. Observation: {'error': 'not found', \"code\": 404} assistant user system",
    "First line.\n\nSecond line.\n\nThird line.\nFourth line.\n    indented\n\n",
    "[INST] Say hello [/INST] Hello System: User: Assistant: Function: def get(city): return None",
)
_BYTES = [f"<0x{byte:02X}>" for byte in range(256)]
_LLAMA3_SPLIT = (
    r"(?i:'s|'t|'re|'ve|'m|'ll|'d)|[^\r\n\p{L}\p{N}]?\p{L}+|\p{N}{1,3}| ?[^\s\p{L}\p{N}]+[\r\n]*|"
    r"\s*[\r\n]+|\s+(?!\S)|\s+"
)


@cache
def byte_level(specials: tuple[str, ...], bos: str | None, eos: str) -> PreTrainedTokenizerFast:
    """A byte-level BPE with Llama-3's splitting rule and its way of giving offsets."""
    bpe = Tokenizer(models.BPE())
    bpe.pre_tokenizer = pre_tokenizers.Sequence(
        [
            pre_tokenizers.Split(Regex(_LLAMA3_SPLIT), "isolated"),
            pre_tokenizers.ByteLevel(add_prefix_space=False, use_regex=False),
        ]
    )
    bpe.decoder = decoders.ByteLevel()
    alphabet = sorted(pre_tokenizers.ByteLevel.alphabet())
    trainer = trainers.BpeTrainer(vocab_size=500, initial_alphabet=alphabet, show_progress=False)
    bpe.train_from_iterator(CORPUS, trainer)
    bpe.post_processor = processors.ByteLevel(trim_offsets=True)
    bpe.add_special_tokens(list(specials))
    return _wrapped(bpe, bos, eos, specials)


@cache
def sentencepiece(kind: str, specials: tuple[str, ...] = (), strip_right: bool = False) -> PreTrainedTokenizerFast:
    """A BPE with byte fallback and blanks as "▁".

    Args:
        kind: "legacy" writes a blank of its own behind every special token (Llama-2, Phi-3, Mistral as first
            published); "first" at the start of a text only (the current files of Mistral).
        specials: beside <unk>, <s> and </s>.
        strip_right: whether these swallow the white space behind them, as Phi-3's do.
    """
    trained = Tokenizer(models.BPE(unk_token="<unk>"))
    trained.pre_tokenizer = pre_tokenizers.Metaspace(prepend_scheme="always")
    trainer = trainers.BpeTrainer(
        vocab_size=700, special_tokens=["<unk>", "<s>", "</s>", *_BYTES, "▁"], show_progress=False
    )
    # No line breaks: in the real vocabularies they are byte tokens and never join their neighbours.
    trained.train_from_iterator([text.replace("\n", " ") for text in CORPUS], trainer)
    model: dict[str, Any] = json.loads(trained.to_str())["model"]
    merges = [tuple(pair) for pair in model["merges"]]
    bpe = Tokenizer(models.BPE(model["vocab"], merges, unk_token="<unk>", byte_fallback=True, fuse_unk=True))
    if kind == "legacy":
        bpe.normalizer = normalizers.Sequence([normalizers.Prepend("▁"), normalizers.Replace(" ", "▁")])
    else:
        bpe.pre_tokenizer = pre_tokenizers.Metaspace(prepend_scheme="first", split=False)
    # Without the usual Strip: decoding shows every blank that was encoded.
    bpe.decoder = decoders.Sequence([decoders.Replace("▁", " "), decoders.ByteFallback(), decoders.Fuse()])
    bpe.add_special_tokens(["<s>", "</s>"])
    bpe.add_special_tokens([AddedToken(token, rstrip=strip_right, normalized=False) for token in specials])
    return _wrapped(bpe, "<s>", "</s>", specials)


def _wrapped(bpe: Tokenizer, bos: str | None, eos: str, specials: tuple[str, ...]) -> PreTrainedTokenizerFast:
    tokenizer = PreTrainedTokenizerFast(tokenizer_object=bpe, bos_token=bos, eos_token=eos, pad_token=eos)
    tokenizer.model_max_length = 1_000_000
    return tokenizer


_LLAMA3 = (
    "<|begin_of_text|>",
    "<|end_of_text|>",
    "<|start_header_id|>",
    "<|end_header_id|>",
    "<|eot_id|>",
    "<|eom_id|>",
    "<|python_tag|>",
)
_PHI3 = ("<|endoftext|>", "<|assistant|>", "<|system|>", "<|end|>", "<|user|>")
_QWEN = ("<|endoftext|>", "<|im_start|>", "<|im_end|>")
_CHATGLM4 = ("<|endoftext|>", "[gMASK]", "<sop>", "<|system|>", "<|user|>", "<|assistant|>", "<|observation|>")


def like(kind: str) -> PreTrainedTokenizerFast:
    """A fresh tokenizer by the name of the model whose special tokens it has."""
    made = {
        "llama3": lambda: byte_level(_LLAMA3, "<|begin_of_text|>", "<|end_of_text|>"),
        "phi3": lambda: sentencepiece("legacy", _PHI3, strip_right=True),
        "mistral_legacy": lambda: sentencepiece("legacy"),
        "mistral": lambda: sentencepiece("first"),
        "llama2": lambda: sentencepiece("legacy"),
        "nexusraven": lambda: sentencepiece("legacy", ("<human_start>", "<human_end>", "<bot_start>", "<bot_end>")),
        "qwen": lambda: byte_level(_QWEN, None, "<|im_end|>"),
        "chatglm4": lambda: byte_level(_CHATGLM4, None, "<|endoftext|>"),
    }[kind]()
    return copy.deepcopy(made)


KINDS = {
    **{f"{model}_{data}": ("llama3",) for model in ("llama3", "llama31") for data in ("api_bank", "toolalpaca")},
    **{f"{model}_{data}": ("phi3",) for model in ("phi3", "phi3_nosystem") for data in ("api_bank", "toolalpaca")},
    **{f"mistral_v02_{data}": ("mistral_legacy", "mistral") for data in ("api_bank", "toolalpaca")},
    "tl_toolllama": ("llama2",),
    "tl_nexusraven": ("nexusraven",),
    "tl_chatglm4": ("chatglm4",),
    "tl_qwen2": ("qwen",),
    "tl_llama31": ("llama3",),
    "tl_qwen25": ("qwen",),
    "tl_codellama2": ("llama2",),
}
"""The tokenizers on which each template is tested."""
PAIRS = [(name, kind) for name, kinds in KINDS.items() for kind in kinds]
