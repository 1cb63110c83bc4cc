"""Texts are encoded with little overhead to the tokenizer's own ids, and decoded only where that could differ."""

from __future__ import annotations

import copy
import json
import random
from collections.abc import Callable
from typing import Any

import pytest
from llamafactory.data.template import TEMPLATES
from llamafactory.hparams import DataArguments
from tokenizers import Tokenizer, decoders, models
from transformers import PreTrainedTokenizerFast

import tiny
from llamafactory_ext.tl.sft.examples import Settings
from llamafactory_ext.upstream.pipeline import pieces as pieces_module
from llamafactory_ext.upstream.pipeline import tagging
from llamafactory_ext.upstream.pipeline.fitting import fit_template
from llamafactory_ext.upstream.pipeline.pieces import Pieces, TracingTokenizer
from llamafactory_ext.upstream.pipeline.requests import request_marks, request_records, request_weights
from llamafactory_ext.upstream.pipeline.weights import (
    WeighedPackedProcessor,
    WeighedProcessor,
)
from templates.tokenizers_like import like
from tl.tokenizers_made_here import TOKENIZERS

pytestmark = pytest.mark.fast

LIKE = ("llama3", "phi3", "mistral_legacy", "mistral", "nexusraven", "qwen", "chatglm4")
MADE: dict[str, Callable[[], Any]] = {
    "tiny": tiny.tiny_tokenizer,
    **{name: lambda name=name: like(name) for name in LIKE},
}
EVERY = {**MADE, **{f"made here: {name}": make for name, make in TOKENIZERS.items()}}
ODD = (
    "",
    " ",
    "plain words, 42.",
    "  leading and trailing  ",
    "a  b\n\n  c\t\r\n",
    "Zürich 東京 😀 e\u0301 \u212b ﬁ \u00a0",
    "<|im_end|> and <|eot_id|>\n</s> <s> <|user|>  x",
    "it 's ok . Do n't",
    '<tool_call>\n{"name": "get_weather", "arguments": {"city": "Paris"}}\n</tool_call>',
)
PARAMETERS = {"type": "object", "properties": {"city": {"type": "string"}, "days": {"type": "integer"}}}
COLUMN = json.dumps([{"name": name, "description": "D.", "parameters": PARAMETERS} for name in ("get", "get_time")])


def own_way(tokenizer: Any) -> Any:
    """A tokenizer whose class encodes in a way of its own."""

    class Own(type(tokenizer)):  # type: ignore[misc]
        def _encode_plus(self, text: Any, *args: Any, **options: Any) -> Any:
            return super()._encode_plus(text if isinstance(text, list) else text.lower(), *args, **options)

    tokenizer.__class__ = Own
    return tokenizer


def with_dropout() -> Any:
    tokenizer = tiny.tiny_tokenizer()
    tokenizer.backend_tokenizer.model.dropout = 0.5
    return tokenizer


@pytest.mark.parametrize("kind", EVERY)
def test_texts_have_the_tokenizers_ids_offsets_and_decoding(kind: str) -> None:
    tokenizer = EVERY[kind]()
    trace = TracingTokenizer(tokenizer, pieces := Pieces(tokenizer), ["get_weather"])
    assert pieces.fast
    for text in (*ODD, *ODD):  # the second time from memory
        expected = tokenizer(text, add_special_tokens=False, return_offsets_mapping=True)
        ids = trace.encode(text, add_special_tokens=False)
        assert ids == expected["input_ids"]
        assert trace.text_of(ids) == tokenizer.decode(ids, skip_special_tokens=False)
        found = pieces.encode(text)
        assert found is not None
        assert found.offsets() == expected["offset_mapping"]
        ids.append(-1)  # a caller may change what it was given
    both = trace.encode(ODD[2], add_special_tokens=False) + trace.encode(ODD[5], add_special_tokens=False)
    assert trace.text_of([*both, 3]) == tokenizer.decode([*both, 3], skip_special_tokens=False)
    assert trace.eos_token_id == tokenizer.eos_token_id


def test_only_texts_that_are_decoded_exactly_are_not_decoded() -> None:
    """By the kind of tokenizer: whether it is known to keep ASCII, and other texts."""
    kept: dict[str, tuple[bool, bool]] = {}
    for kind, make in EVERY.items():
        pieces = Pieces(make())
        one, other = pieces.encode("a  b"), pieces.encode("é")
        assert one is not None
        assert other is not None
        kept[kind] = one.exact, other.exact
    assert {kind for kind, (one, _) in kept.items() if one} >= {"tiny", "llama3", "qwen", "chatglm4"}
    assert not any(kept[kind][0] for kind in ("phi3", "mistral_legacy", "mistral", "nexusraven"))
    cleaning = tiny.tiny_tokenizer()
    cleaning.clean_up_tokenization_spaces = True
    found = Pieces(cleaning).encode("it 's")
    assert found is not None
    assert not found.exact


@pytest.mark.parametrize("change", ["own way", "dropout", "overridden"])
def test_a_tokenizer_with_ways_of_its_own_is_asked_itself(change: str) -> None:
    tokenizer = with_dropout() if change == "dropout" else tiny.tiny_tokenizer()
    if change == "own way":
        tokenizer = own_way(tokenizer)
    if change == "overridden":
        tokenizer.encode = lambda *args, **options: [1]
    pieces = Pieces(tokenizer)
    assert not pieces.fast
    assert pieces.encode("Paris") is None
    if change == "own way":
        trace = TracingTokenizer(tokenizer, pieces)
        assert trace.encode("PARIS", add_special_tokens=False) == tokenizer.encode("paris", add_special_tokens=False)


def test_padding_or_cutting_of_another_call_changes_nothing() -> None:
    tokenizer = tiny.tiny_tokenizer()
    trace = TracingTokenizer(tokenizer)
    expected = tokenizer.encode("What is it? It is 42.", add_special_tokens=False)
    tokenizer(["a", "What is it?"], padding="max_length", truncation=True, max_length=6)
    assert trace.encode("What is it? It is 42.", add_special_tokens=False) == expected


def test_memory_is_bounded(monkeypatch: pytest.MonkeyPatch) -> None:
    monkeypatch.setattr(pieces_module, "_MOST_TOKENS", 50)
    pieces = Pieces(tiny.tiny_tokenizer())
    for number in range(40):
        pieces.encode(f"Number {number} is here.")
        assert sum(len(piece.ids) for piece in pieces._known.values()) <= 50


def test_lone_surrogates_are_refused_by_the_tokenizer_itself() -> None:
    tokenizer = tiny.tiny_tokenizer()
    with pytest.raises(Exception) as own:  # noqa: PT011 - whatever the tokenizer raises
        tokenizer.encode("\ud800", add_special_tokens=False)
    with pytest.raises(type(own.value)):
        TracingTokenizer(tokenizer).encode("\ud800", add_special_tokens=False)


def test_a_vocabulary_without_every_byte_is_decoded() -> None:
    """What it does not know is lost, and a text must not stand for that."""
    bpe = Tokenizer(models.BPE({"a": 0, "b": 1}, []))
    bpe.decoder = decoders.ByteLevel()
    tokenizer = PreTrainedTokenizerFast(tokenizer_object=bpe, eos_token="b")
    trace = TracingTokenizer(tokenizer)
    assert trace.text_of(trace.encode("aXa", add_special_tokens=False)) == "aa"


# Whole records


def records(seed: str, words: tuple[str, str]) -> dict[str, list[Any]]:
    """Aligned examples with thoughts, several calls, prose, odd texts, errors and turns out of the loss."""
    rng = random.Random(seed)
    rows = [_record(rng, words) for _ in range(6)]
    columns = {name: [row[name] for row in rows] for name in rows[0]}
    return {**columns, **dict.fromkeys(("_images", "_videos", "_audios"), [None] * len(rows))}


def _record(rng: random.Random, words: tuple[str, str]) -> dict[str, Any]:
    turns = [("user", f"Ask {rng.randrange(99)} {rng.choice(ODD)}")]
    for _ in range(rng.randrange(3)):
        calls = [
            {"name": rng.choice(["get", "get_time"]), "arguments": {"city": rng.choice(ODD), "days": rng.randrange(9)}}
            for _ in range(rng.choice([1, 1, 2]))
        ]
        body = json.dumps(calls if len(calls) > 1 else calls[0], ensure_ascii=rng.random() < 0.5)
        forms = (body, f"{words[0]}hm, get?{words[1]}{body}", f"I look.\n<tool_call>{body}</tool_call>", body[:-1])
        turns.append(("function", rng.choices(forms, [6, 2, 2, 1])[0]))
        turns.append(("observation", rng.choice(['{"error": "not found"}', '{"degrees": 20}', *ODD])))
    thought = f"{words[0]}hm{words[1]}" if rng.random() < 0.3 else ""
    turns.append(("assistant", thought + "It is 20. " + rng.choice(ODD)))
    messages = [{"role": role, "content": text} for role, text in turns]
    return {
        "_prompt": messages[:-1],
        "_response": messages[-1:],
        "_system": rng.choice(["", "Be kind."]),
        "_tools": rng.choice([COLUMN, COLUMN, ""]),
        "_silent": ",".join(str(place) for place in range(1, len(messages), 2) if rng.random() < 0.1),
        "_place": "x",
        "_mark": rng.choice(["tool", "general"]),
        "_task": "t",
    }


def prepared(name: str, tokenizer: Any, seed: str) -> list[Any]:
    """What the processors of tl_sft and citi make of records, packed or cut by the seed's choice."""
    rng = random.Random(seed)
    slots = [slot for part in vars(TEMPLATES[name]).values() for slot in getattr(part, "slots", [])]
    tokenizer.add_tokens([slot["token"] for slot in slots if isinstance(slot, dict)], special_tokens=True)
    data_args = DataArguments(template=name, cutoff_len=rng.choice([5_000, 5_000, 150]))
    data_args.packing = rng.random() < 0.25
    data_args.mask_history = rng.random() < 0.2
    data_args.train_on_prompt = rng.random() < 0.2 and not data_args.mask_history and not TEMPLATES[name].efficient_eos
    parts: dict[str, Any] = {"tokenizer": tokenizer, "processor": None}
    template = fit_template(parts, data_args)
    rows = records(seed, TEMPLATES[name].thought_words or ("<think>\n", "\n</think>\n\n"))
    asked = request_records(data_args)
    settings = rng.choice([Settings(), Settings(use_mae=False), Settings(use_pkt=False)])
    kind = WeighedPackedProcessor if data_args.packing else WeighedProcessor
    found: list[Any] = []
    for request in (request_weights(asked, settings), request_marks(asked)):
        tagging._WRITTEN.clear()
        processor = kind(template=template, data_args=request, **parts)
        found.append(processor.preprocess_dataset(copy.deepcopy(rows)))
    return found


@pytest.mark.parametrize("kind", MADE)
def test_records_are_prepared_as_by_the_tokenizer_itself(kind: str, monkeypatch: pytest.MonkeyPatch) -> None:
    """Ids, labels, weights, marks and findings, over the templates: each meets two kinds of tokenizer at least."""
    names = list(TEMPLATES) if kind == "tiny" else list(TEMPLATES)[list(MADE).index(kind) :: len(MADE) - 1]
    misread = key_tokens = 0
    for name in names:
        ours = prepared(name, MADE[kind](), f"{kind} {name}")
        with monkeypatch.context() as slow:
            slow.setattr(pieces_module, "_backend_of", lambda _: None)
            assert ours == prepared(name, MADE[kind](), f"{kind} {name}"), name
        facts = [json.loads(part["tl_note"][-1]) for part in ours]
        misread += sum(len(fact["intake"]["misread"]) for fact in facts)
        key_tokens += sum(fact["key_tokens"] for fact in facts)
    assert key_tokens > 10
    assert misread or kind != "tiny", "some templates drop a thought"
