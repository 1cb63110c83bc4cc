"""Exported chat templates in minijinja, the engine of TGI and of other servers in Rust: the same text as in Jinja."""

from __future__ import annotations

import copy
import json
from typing import Any

import pytest

from llamafactory_ext.templates.openai import openai_messages, openai_tools
from llamafactory_ext.upstream.pipeline.chat_template import exported_chat_template
from templates.tokenizers_like import PAIRS, like
from upstream.pipeline.test_chat_template import DIALOGUES, TOKENIZERS, as_dicts, prepared, tools_for

pytestmark = pytest.mark.fast

minijinja = pytest.importorskip("minijinja", reason="minijinja is not installed: pip install minijinja")


def rendered(source: str, **given: Any) -> str:
    """As TGI renders, but for `tojson`: minijinja's own writes <, >, & and ' as escapes."""
    environment = minijinja.Environment(pycompat=True)
    environment.add_filter("tojson", lambda value, indent=None: json.dumps(value, ensure_ascii=False, indent=indent))
    return str(environment.render_str(source, **given))


def check(template: Any, tokenizer: Any) -> int:
    """Compare all dialogues; the number of those compared."""
    source = tokenizer.chat_template = exported_chat_template(template, tokenizer).text
    special = {name: text for name, text in tokenizer.special_tokens_map.items() if isinstance(text, str)}
    count = 0
    for with_tools, messages in DIALOGUES.values():
        calls = any(message.role == "function" for message in messages)
        if calls and "'%r'" in source:  # Python's literals, which minijinja does not write
            continue
        tools = openai_tools(json.dumps(tools_for(template), ensure_ascii=False)) if with_tools else None
        for system in ("", "Be terse.\nBe kind."):
            written = openai_messages(as_dicts(messages), system)
            wanted = tokenizer.apply_chat_template(written, tools=tools, tokenize=False)
            assert rendered(source, messages=written, tools=tools, add_generation_prompt=False, **special) == wanted
            count += 1
    return count


@pytest.mark.parametrize(("name", "kind"), PAIRS)
def test_ours(name: str, kind: str) -> None:
    tokenizer = like(kind)
    assert check(prepared(name, tokenizer), tokenizer) >= 6


@pytest.mark.parametrize("name", sorted(set(TOKENIZERS) - {"glm4"}))
def test_of_upstream(name: str) -> None:
    tokenizer = copy.deepcopy(TOKENIZERS[name]())
    assert check(prepared(name, tokenizer), tokenizer) >= 6
