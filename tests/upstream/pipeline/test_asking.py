"""`infer --template NAME` asks by the tokens that training writes, for every registered template."""

from __future__ import annotations

import copy
import json
import logging
from typing import Any

import pytest
from llamafactory.data.template import TEMPLATES as REGISTERED

from llamafactory_ext.commands.infer import _upstreams
from llamafactory_ext.errors import DataError, OptionError
from llamafactory_ext.serving.infer import prompts
from llamafactory_ext.serving.infer.prompts import TextPrompts, template_for_tokens
from llamafactory_ext.serving.infer.questions import Question, read_tools
from llamafactory_ext.templates import TEMPLATES, Message
from templates.tokenizers_like import PAIRS, byte_level, like
from upstream.pipeline.test_chat_template import DIALOGUES, as_dicts, prepared, tools_for

OURS = dict(PAIRS)
SYSTEM = "Be terse."
# Those that templates name by themselves, without words around them.
_SPECIALS = ("<s>", "</s>", "[gMASK]", "sop", "<sep>", *(f"<|{role}|>" for role in ("system", "user", "assistant")))
_SPECIALS += ("<|observation|>",)


@pytest.fixture(autouse=True)
def elsewhere(monkeypatch: pytest.MonkeyPatch) -> None:
    monkeypatch.setattr(prompts, "ELSEWHERE", [_upstreams])
    logging.getLogger("llamafactory").setLevel(logging.ERROR)


def tokenizer_for(name: str) -> Any:
    return copy.deepcopy(like(OURS[name]) if name in OURS else byte_level(_SPECIALS, "<s>", "</s>"))


def trained(name: str, messages: list[Message], system: str, tools: str) -> list[int] | None:
    """The tokens before the last reply; None where training refuses the dialogue."""
    tokenizer = tokenizer_for(name)
    template = prepared(name, tokenizer)
    try:
        pairs = template.encode_multiturn(tokenizer, as_dicts(messages), system or None, tools or None)
    except (RuntimeError, ValueError):
        return None
    ids = [token for pair in pairs for part in pair for token in part]
    if None in ids:
        return None  # a token that this tokenizer has not
    return ids[: len(ids) - len(pairs[-1][1])]


@pytest.mark.parametrize("name", sorted({*REGISTERED, *TEMPLATES}))
def test_asked_as_trained(name: str) -> None:
    compared = 0
    listed = tools_for(prepared(name, tokenizer_for(name)))
    for kind, (with_tools, messages) in DIALOGUES.items():
        for system in ("", SYSTEM):
            tools = json.dumps(listed, ensure_ascii=False) if with_tools else ""
            expected = trained(name, messages, system, tools)
            if expected is None:
                continue
            tokenizer = tokenizer_for(name)
            prepared(name, tokenizer)  # a trained model's tokenizer is saved with the template's tokens
            asked = TextPrompts(tokenizer, template_for_tokens(name), "the model")
            question = Question(kind, "mine", tuple(messages[:-1]), system, read_tools(tools) if tools else ())
            assert asked.encode(asked.prompt(question)) == expected, kind
            compared += 1
    assert compared > len(DIALOGUES)


def test_generation_ends_where_the_template_ends() -> None:
    tokenizer = byte_level(("<|im_start|>", "<|im_end|>", "</s>"), None, "</s>")
    asked = TextPrompts(copy.deepcopy(tokenizer), template_for_tokens("qwen"), "the model")
    ids = tokenizer.encode("Hello.<|im_end|>\nmore", add_special_tokens=False)
    assert asked.decode(ids) == "Hello."


def test_what_a_template_cannot_write_is_named() -> None:
    asked = TextPrompts(tokenizer_for("llama3"), template_for_tokens("llama3"), "the model")
    question = Question(
        "q7", "mine", (Message("user", "?"), Message("function", "no call"), Message("observation", "1"))
    )
    with pytest.raises(DataError, match="q7: the template llama3 cannot write it"):
        asked.prompt(question)


def test_a_name_that_is_nobodys(monkeypatch: pytest.MonkeyPatch) -> None:
    with pytest.raises(OptionError, match="did you mean llama3_api_bank"):
        template_for_tokens("llama3_apibank")
    monkeypatch.setattr("llamafactory_ext.commands.infer.find_spec", lambda name: None)
    with pytest.raises(OptionError, match=r"LLaMA-Factory where it is installed\. Leave the option out"):
        template_for_tokens("qwen3")
