"""TL-Training reads what each family's own template writes: call format, key tokens, reward, queries of PPO."""

from __future__ import annotations

from types import SimpleNamespace
from typing import Any

import pytest

pytest.importorskip("llamafactory", reason="LLaMA-Factory is not installed: it registers the templates")

from llamafactory.data.template import TEMPLATES
from transformers import Gemma3Config, GPT2Config, Qwen3Config

from llamafactory_ext.families import FAMILIES, Family, strange_template
from llamafactory_ext.tl.reward import tool_call_reward
from llamafactory_ext.tl.sft.examples import Settings
from llamafactory_ext.tl.sft.tokens import target_weights
from llamafactory_ext.toolcalls import ToolCall
from llamafactory_ext.upstream.patches import checking
from llamafactory_ext.upstream.pipeline.dialogues import encode_turn
from llamafactory_ext.upstream.pipeline.pieces import TracingTokenizer
from llamafactory_ext.upstream.pipeline.templates import call_format_of
from templates.test_read_back import COLUMN, PARIS, TOOLS, turns
from tiny import tiny_tokenizer

pytestmark = pytest.mark.fast

NAMES = sorted({name for row in FAMILIES for name in row.templates})
WRONG = {"value": ToolCall("get_weather", {"city": "Rome"}), "tool": ToolCall("get_time", {"city": "Paris"})}


def test_every_family_but_one_has_a_template() -> None:
    assert [row.model_type for row in FAMILIES if not row.templates] == ["smollm3"]


@pytest.mark.parametrize("name", NAMES)
def test_the_reward_tells_a_right_call_from_wrong_ones(name: str) -> None:
    template, tokenizer = TEMPLATES[name], tiny_tokenizer()
    form = call_format_of(template)
    _, right = encode_turn(template, tokenizer, turns([PARIS]), "", COLUMN)
    assert tool_call_reward(right, [PARIS], TOOLS, call_format=form) == 1
    assert tool_call_reward("It is warm.", [PARIS], TOOLS, call_format=form) < 0
    for call in WRONG.values():
        _, wrong = encode_turn(template, tokenizer, turns([call]), "", COLUMN)
        assert tool_call_reward(wrong, [PARIS], TOOLS, call_format=form) < 1


@pytest.mark.parametrize("name", NAMES)
def test_key_tokens_decide_the_tool(name: str) -> None:
    template, trace = TEMPLATES[name], TracingTokenizer(tiny_tokenizer())
    _, target = template.encode_oneturn(trace, turns([PARIS]), "", COLUMN)
    text, offsets = trace.read(target)
    settings = Settings(call_format=call_format_of(template))
    weights = target_weights(text, offsets, [PARIS], frozenset(tool.name for tool in TOOLS), settings)
    start = text.index(PARIS.name)
    keys = [span for span, weight in zip(offsets, weights, strict=True) if weight > 1]
    assert keys
    assert all(end > start and begin < start + len(PARIS.name) + 1 for begin, end in keys)


@pytest.mark.parametrize("row", FAMILIES, ids=lambda row: row.model_type)
@pytest.mark.parametrize("name", [*NAMES, "alpaca", "deepseekr1", "default", None])
def test_the_template_of_another_family_is_said_and_its_own_named(row: Family, name: str | None) -> None:
    own = (*row.templates, *row.akin)
    line = strange_template(row.model_type, name)
    assert (line is not None) == (name in NAMES and name not in own)
    if line is not None:
        assert f"template: {name} has the marks of" in line
        assert f"set its own ({', '.join(own)})" in line


def test_of_an_unknown_family_nothing_is_said() -> None:
    assert [strange_template(kind, name) for kind in ("olmo2", None, 3) for name in NAMES] == [None] * 3 * len(NAMES)


def test_akin_templates_are_there_and_of_other_families() -> None:
    for row in FAMILIES:
        assert {*row.akin} <= {*NAMES} - {*row.templates}


@pytest.mark.parametrize(
    ("config", "template", "warns"),
    [
        (Qwen3Config(), "llama3", True),
        (Qwen3Config(), "qwen3_nothink", False),
        (Gemma3Config(), "qwen", True),  # the language model of one that sees
        (Gemma3Config(), "gemma3", False),
        (GPT2Config(), "qwen", False),
        (None, "qwen", False),
    ],
)
def test_a_training_command_looks_at_the_model(
    config: Any, template: str, warns: bool, monkeypatch: pytest.MonkeyPatch
) -> None:
    monkeypatch.setattr(checking, "_config", lambda _: config)
    line = checking.foreign_template(SimpleNamespace(), SimpleNamespace(template=template))
    assert (line is not None) == warns
