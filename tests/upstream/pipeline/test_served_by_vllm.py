"""vLLM's own server makes the prompt that training wrote, and tells the calls that training teaches.

Both for every family, by the exported chat template and by our parser of tool calls.

LLaMA-Factory and vLLM live in environments of their own: `make vllm-test` names vLLM's Python in VLLM_PYTHON.
"""

from __future__ import annotations

import copy
import json
import os
import urllib.request
from collections.abc import Iterator
from typing import Any

import pytest

from llamafactory_ext.templates.openai import openai_messages, openai_tools
from llamafactory_ext.upstream.pipeline.chat_template import exported_chat_template
from serving_vllm.servers import ask, serve, wait_until_ready
from templates.tokenizers_like import PAIRS, like
from tiny import tiny_model, tiny_tokenizer
from upstream.pipeline.test_chat_template import DIALOGUES, TOKENIZERS, as_dicts, prepared, tools_for

PYTHON = os.environ.get("VLLM_PYTHON", "")
pytestmark = pytest.mark.skipif(not PYTHON, reason="VLLM_PYTHON names no Python with vLLM: make vllm-test")
FAMILIES = {f"{name}, {kind}": (name, lambda kind=kind: like(kind)) for name, kind in PAIRS}
FAMILIES |= {name: (name, make) for name, make in TOKENIZERS.items()}
_ENDS = ("<|eot_id|>", "<|im_end|>", "<|end|>", "<end_of_turn>", "<|user|>", "<|observation|>", "</s>", "<eos>")
SYSTEM = "Be terse.\nBe kind."


@pytest.fixture(scope="module")
def url(tmp_path_factory: pytest.TempPathFactory) -> Iterator[str]:
    """A server that takes chat templates with the requests: one for all families."""
    folder = tmp_path_factory.mktemp("served")
    tiny_model("llama", hidden_size=128, intermediate_size=192).save_pretrained(folder / "model")
    tiny_tokenizer().save_pretrained(folder / "model")
    options = ("--trust-request-chat-template", "--max-model-len", "4096")
    options += ("--enable-auto-tool-choice", "--tool-call-parser", "llamafactory_ext")
    process, address = serve(folder / "model", folder / "log", *options, python=PYTHON)
    try:
        wait_until_ready(address, process, folder / "log")
        yield address
    finally:
        process.terminate()
        process.wait(120)


@pytest.mark.parametrize("family", FAMILIES)
def test_the_server_makes_the_prompt_of_training(family: str, url: str) -> None:
    name, make = FAMILIES[family]
    tokenizer = copy.deepcopy(make())
    template = prepared(name, tokenizer)
    tokenizer.chat_template = exported_chat_template(template, tokenizer).text
    served = tiny_tokenizer()
    compared = 0
    for with_tools, messages in DIALOGUES.values():
        tools = json.dumps(tools_for(template), ensure_ascii=False) if with_tools else ""
        prompt = _prompt(template, tokenizer, messages, tools)
        if prompt is None:
            continue  # training refuses it
        body = {"model": "citi", "messages": _as_clients_send(messages)}
        body["chat_template"] = tokenizer.chat_template
        reply = ask(f"{url}/tokenize", body | ({"tools": openai_tools(tools)} if tools else {}))
        assert reply["tokens"] == served(prompt, add_special_tokens=False)["input_ids"], prompt
        compared += 1
    assert compared > len(DIALOGUES) / 2


@pytest.mark.parametrize("family", FAMILIES)
def test_the_server_tells_the_calls_of_training(family: str, url: str) -> None:
    """The model is held to the very reply that training would teach it."""
    name, make = FAMILIES[family]
    tokenizer = copy.deepcopy(make())
    template = prepared(name, tokenizer)
    chat_template = exported_chat_template(template, tokenizer).text
    told = 0
    for kind in ("one call", "unicode", "no arguments", "two calls", "thought"):
        messages = DIALOGUES[kind][1]
        tools = json.dumps(tools_for(template), ensure_ascii=False)
        try:
            pairs = template.encode_multiturn(tokenizer, as_dicts(messages), SYSTEM, tools)
        except (RuntimeError, ValueError):
            continue  # training refuses it
        reply = _spoken(tokenizer, pairs[-1][1])
        body = {
            "model": "citi",
            "messages": _as_clients_send(messages),
            "tools": openai_tools(tools),
            "chat_template": chat_template,
            "structured_outputs": {"choice": [reply]},
            "max_tokens": 512,
        }
        expected = [(call["name"], call["arguments"]) for call in _calls_of(messages[-1])]
        choice = ask(f"{url}/v1/chat/completions", body)["choices"][0]
        assert _told(choice["message"]["tool_calls"]) == expected, reply
        assert choice["finish_reason"] == "tool_calls"
        assert "Where is it?" in (choice["message"]["content"] or "") or kind != "thought"
        if kind == "two calls":
            assert _told(_streamed(f"{url}/v1/chat/completions", body)) == expected, reply
        told += 1
    assert told >= 3


def _spoken(tokenizer: Any, tokens: list[int]) -> str:
    """The text of a reply without the tokens that end it."""
    text: str = tokenizer.decode(tokens, skip_special_tokens=False, clean_up_tokenization_spaces=False)
    for end in sorted({tokenizer.eos_token, *_ENDS}, key=len, reverse=True):
        text = text.rstrip().removesuffix(end)
    return text.strip()


def _calls_of(message: Any) -> list[dict[str, Any]]:
    calls = json.loads(message.content[message.content.index("{" if "[{" not in message.content else "[{") :])
    return calls if isinstance(calls, list) else [calls]


def _told(calls: list[dict[str, Any]]) -> list[tuple[str, Any]]:
    return [(call["function"]["name"], json.loads(call["function"]["arguments"])) for call in calls]


def _streamed(url: str, body: dict[str, Any]) -> list[dict[str, Any]]:
    """The calls of a stream, put together as OpenAI's client does."""
    data = json.dumps(body | {"stream": True}).encode()
    request = urllib.request.Request(url, data, {"Content-Type": "application/json"})
    calls: dict[int, dict[str, Any]] = {}
    with urllib.request.urlopen(request, timeout=120) as reply:
        for line in reply:
            if not line.startswith(b"data: {"):
                continue
            for delta in json.loads(line[6:])["choices"][0]["delta"].get("tool_calls") or ():
                function = calls.setdefault(delta["index"], {"function": {"name": "", "arguments": ""}})["function"]
                function["name"] += delta["function"].get("name") or ""
                function["arguments"] += delta["function"].get("arguments") or ""
    return list(calls.values())


def _prompt(template: Any, tokenizer: Any, messages: Any, tools: str) -> str | None:
    """The text before the last reply, whose tokens are those of training; None where training refuses the dialogue."""
    try:
        pairs = template.encode_multiturn(tokenizer, as_dicts(messages), SYSTEM, tools)
    except (RuntimeError, ValueError):
        return None
    text: str = tokenizer.apply_chat_template(
        openai_messages(as_dicts(messages[:-1]), SYSTEM),
        tools=openai_tools(tools) or None,
        add_generation_prompt=True,
        tokenize=False,
    )
    trained = [token for pair in pairs for part in pair for token in part][: -len(pairs[-1][1])]
    assert tokenizer(text, add_special_tokens=False)["input_ids"] == trained
    return text


def _as_clients_send(messages: Any) -> list[dict[str, Any]]:
    """OpenAI's messages but the last reply, arguments as text."""
    written = openai_messages(as_dicts(messages[:-1]), SYSTEM)
    for message in written:
        for call in message.get("tool_calls", []):
            call["function"]["arguments"] = json.dumps(call["function"]["arguments"], ensure_ascii=False)
    return written
