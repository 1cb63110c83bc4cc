"""Which characters each token of a target stands for, and where its calls are, whatever template wrote it."""

from __future__ import annotations

import json
from itertools import pairwise
from typing import Any

import pytest
from llamafactory.data import get_template_and_fix_tokenizer
from llamafactory.data.template import TEMPLATES
from llamafactory.hparams import DataArguments

import tiny
from llamafactory_ext.errors import CallParseError
from llamafactory_ext.tl.key_tokens import key_token_weights
from llamafactory_ext.tl.sft.examples import Settings
from llamafactory_ext.tl.sft.tokens import locate, target_weights
from llamafactory_ext.toolcalls import FORMATS, ToolCall, parse_calls, render_calls
from llamafactory_ext.upstream.pipeline.pieces import TracingTokenizer
from tl.tokenizers_made_here import TOKENIZERS
from tl.trajectories import TOOLS

pytestmark = pytest.mark.fast

CALLS = [ToolCall("get_weather", {"city": "Köln"}), ToolCall("find_city", {"city": "a b"})]
NAMES = frozenset({"get_weather", "get_weather_today", "find_city"})
# One of each way in which upstream's templates write calls, and ours.
TEMPLATE_NAMES = ["default", "llama3", "qwen", "mistral", "qwen3", "seed_oss", "minimax1", "glm4_moe", "alpaca"]
TEMPLATE_NAMES += ["llama3_api_bank", "llama3_toolalpaca", "mistral_v02_api_bank", "tl_codellama2", "tl_qwen25"]


def messages(*calls: ToolCall) -> list[dict[str, str]]:
    made = [{"name": call.name, "arguments": dict(call.arguments)} for call in calls]
    return [
        {"role": "user", "content": "Weather?"},
        {"role": "function", "content": json.dumps(made)},
        {"role": "observation", "content": "{}"},
        {"role": "assistant", "content": "Done."},
    ]


def encoded(name: str, tokenizer: Any, dialogue: list[dict[str, str]]) -> list[tuple[list[int], list[int]]]:
    arguments = DataArguments(template=name)
    template = get_template_and_fix_tokenizer(tokenizer, arguments)
    pairs: list[tuple[list[int], list[int]]] = template.encode_multiturn(tokenizer, dialogue, "", TOOLS)
    return pairs


@pytest.mark.parametrize("name", TEMPLATE_NAMES)
def test_a_template_makes_the_same_ids_and_its_text_can_be_read_back(name: str) -> None:
    assert name in TEMPLATES
    tokenizer = tiny.tiny_tokenizer()
    trace = TracingTokenizer(tokenizer)
    pairs = encoded(name, trace, messages(*CALLS))
    assert pairs == encoded(name, tokenizer, messages(*CALLS))
    target = pairs[0][1]
    text, offsets = trace.read(target)
    assert text == tokenizer.decode(target)
    assert len(offsets) == len(target)
    # Neighbouring tokens cover the text without gaps; parts of one character share it.
    assert (offsets[0][0], offsets[-1][1]) == (0, len(text))
    for (_, before), (start, end) in pairwise(offsets):
        assert start <= end
        assert start <= before
    spans = locate(text, CALLS)
    assert [text[span.name_start : span.name_end] for span in spans] == ["get_weather", "find_city"]
    weights = target_weights(text, offsets, CALLS, NAMES, Settings())
    keys = {place for place, weight in enumerate(weights) if weight > 1}
    first = [next(i for i, span in enumerate(offsets) if span[1] > one.name_start) for one in spans]
    assert set(first) <= keys
    # get_weather is the beginning of get_weather_today: the token after it decides, too.
    after = next(i for i, span in enumerate(offsets) if span[1] > spans[0].name_end)
    assert after in keys
    assert len(keys) <= 6


@pytest.mark.parametrize("kind", TOKENIZERS)
@pytest.mark.parametrize("form", FORMATS)
def test_a_target_of_nothing_but_a_call_weighs_as_the_call(kind: str, form: str) -> None:
    tokenizer = TOKENIZERS[kind]()
    text = render_calls(CALLS[:1], form)
    trace = TracingTokenizer(tokenizer)
    read, offsets = trace.read(trace.encode(text, add_special_tokens=False))
    weights = target_weights(read, offsets, CALLS[:1], NAMES, Settings(call_format=form))
    found = locate(read, CALLS[:1], call_format=form)[0]
    inside = [
        weight
        for weight, (start, end) in zip(weights, offsets, strict=True)
        if end > found.start and start < found.end
    ]
    outside = len(weights) - len(inside)
    if not outside:
        assert weights == key_token_weights("get_weather", NAMES, text, tokenizer)
    keys = [weight for weight in inside if weight > 1]
    assert keys == [min(max((len(inside) - len(keys)) / len(keys), 1), 9)] * len(keys)
    assert weights.count(1.0) == len(weights) - len(keys)


def test_the_released_variant_counts_the_end_token() -> None:
    tokenizer = tiny.tiny_tokenizer()
    trace = TracingTokenizer(tokenizer)
    target = encoded("tl_codellama2", trace, messages(CALLS[0]))[0][1]
    text, offsets = trace.read(target)
    settings = {"w_max": 1000.0, "key_variant": "reference"}
    whole = target_weights(text, offsets, CALLS[:1], NAMES, Settings(**settings))  # type: ignore[arg-type]
    without = target_weights(text[: offsets[-1][0]], offsets[:-1], CALLS[:1], NAMES, Settings(**settings))  # type: ignore[arg-type]
    assert max(whole) == pytest.approx(max(without) + 1 / sum(weight > 1 for weight in without))


def test_a_format_that_is_not_ours_is_searched_for_names() -> None:
    text = "<call:get_weather|city:Paris><call:find_city|city:a b>"
    spans = locate(text, CALLS)
    assert [text[span.start : span.end] for span in spans] == ["get_weather|city:Paris><call:", "find_city|city:a b>"]
    with pytest.raises(CallParseError, match="The call of 'find_city' is not in the text"):
        locate("<call:get_weather>", CALLS)


def test_formats_within_arguments_do_not_mislead() -> None:
    """A call whose argument looks like another call."""
    call = ToolCall("run", {"code": "get_weather(city='x')"})
    text = render_calls([call], "json")
    assert parse_calls(text, "python")[0].name == "get_weather"
    (span,) = locate(text, [call])
    assert text[span.name_start : span.name_end] == "run"
