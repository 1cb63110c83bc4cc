"""Small fast tokenizers of each kind in use, trained on the spot."""

from __future__ import annotations

from collections.abc import Callable, Iterator

from tokenizers import Tokenizer, decoders, models, normalizers, pre_tokenizers, trainers
from transformers import PreTrainedTokenizerFast

_CORPUS = [
    "get_weather get_weather_today get_wealth get_time getTime search_country search_city finish weather.today()",
    'Action: get_weather\nAction Input: {"city": "Paris", "days": 3}',
    '<tool_call>\n{"name": "get_time", "arguments": {"zone": "CET"}}\n</tool_call>',
    "get_weather(city='Paris', unit='c') get_time(zone=\"CET\") [TOOL_CALLS] API-Request: Thought: I need it.",
]


def _fast(
    tokenizer: Tokenizer, corpus: Iterator[str] | list[str], trainer: trainers.Trainer
) -> PreTrainedTokenizerFast:
    tokenizer.train_from_iterator(corpus, trainer)
    return PreTrainedTokenizerFast(tokenizer_object=tokenizer, eos_token="</s>", unk_token="<unk>")


def byte_level(add_prefix_space: bool = False) -> PreTrainedTokenizerFast:
    """As GPT-2, Llama 3 and Qwen: characters outside ASCII are several tokens."""
    tokenizer = Tokenizer(models.BPE())
    tokenizer.pre_tokenizer = pre_tokenizers.ByteLevel(add_prefix_space=add_prefix_space)
    tokenizer.decoder = decoders.ByteLevel()
    alphabet = sorted(pre_tokenizers.ByteLevel.alphabet())
    trainer = trainers.BpeTrainer(
        vocab_size=340, special_tokens=["<unk>", "</s>"], initial_alphabet=alphabet, show_progress=False
    )
    return _fast(tokenizer, _CORPUS, trainer)


def sentence_piece(scheme: str) -> PreTrainedTokenizerFast:
    """BPE over words that begin with ▁; `scheme` "never" puts none before the text's first word."""
    tokenizer = Tokenizer(models.BPE(unk_token="<unk>", fuse_unk=False))
    tokenizer.pre_tokenizer = pre_tokenizers.Metaspace(prepend_scheme=scheme)
    trainer = trainers.BpeTrainer(vocab_size=90, special_tokens=["<unk>", "</s>"], show_progress=False)
    return _fast(tokenizer, _CORPUS, trainer)


def llama2() -> PreTrainedTokenizerFast:
    """As Llama 2 and CodeLLaMA: a normalizer writes ▁, no words, unknown characters fall back to bytes."""
    tokenizer = Tokenizer(models.BPE(unk_token="<unk>", byte_fallback=True, fuse_unk=True))
    tokenizer.normalizer = normalizers.Sequence([normalizers.Prepend("▁"), normalizers.Replace(" ", "▁")])
    bytes_ = [f"<0x{byte:02X}>" for byte in range(256)]
    trainer = trainers.BpeTrainer(vocab_size=330, special_tokens=["<unk>", "</s>", *bytes_], show_progress=False)
    words = [word for text in _CORPUS for word in text.split(" ")]
    return _fast(tokenizer, words, trainer)


def unigram() -> PreTrainedTokenizerFast:
    """As T5 and Mistral's SentencePiece Unigram cousins."""
    tokenizer = Tokenizer(models.Unigram())
    tokenizer.pre_tokenizer = pre_tokenizers.Metaspace()
    trainer = trainers.UnigramTrainer(
        vocab_size=120, special_tokens=["<unk>", "</s>"], unk_token="<unk>", show_progress=False
    )
    return _fast(tokenizer, _CORPUS, trainer)


TOKENIZERS: dict[str, Callable[[], PreTrainedTokenizerFast]] = {
    "byte_level": byte_level,
    "byte_level_prefix_space": lambda: byte_level(add_prefix_space=True),
    "sentence_piece": lambda: sentence_piece("always"),
    "sentence_piece_no_prefix": lambda: sentence_piece("never"),
    "llama2": llama2,
    "unigram": unigram,
}
