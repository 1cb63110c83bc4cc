"""Where a model's published chat template covers a dialogue, ours gives the same tokens."""

from __future__ import annotations

import json
from dataclasses import dataclass
from typing import Any

import pytest
from llamafactory.data.template import get_template_and_fix_tokenizer
from llamafactory.hparams import DataArguments

from llamafactory_ext.templates import TEMPLATES, Message
from llamafactory_ext.templates.messages import RESULT_SEPARATOR, read_calls
from templates import published
from templates.dialogues import TOOLS, Dialogue, dialogues
from templates.tokenizers_like import like

pytestmark = pytest.mark.fast


@dataclass(frozen=True)
class Case:
    """A template of ours, the published one and how that one names what it knows of.

    Attributes:
        observation: role of feedback; "user" where the model has none, and the text is ours then.
        native: whether calls and tools go through the published template too.
        tail: what it writes at the end of a finished dialogue, behind the last reply.
    """

    template: str
    chat_template: str
    kind: str
    observation: str = "user"
    native: bool = False
    tail: str = ""


CASES = [
    *(Case(f"llama3_{data}", published.LLAMA3, "llama3", "ipython") for data in ("api_bank", "toolalpaca")),
    *(Case(f"llama31_{data}", published.LLAMA31, "llama3", "ipython") for data in ("api_bank", "toolalpaca")),
    *(Case(f"phi3_{data}", published.PHI3, "phi3", tail="\n{eos}") for data in ("api_bank", "toolalpaca")),
    *(
        Case(f"phi3_nosystem_{data}", published.PHI3_NOSYSTEM, "phi3", tail="\n")
        for data in ("api_bank", "toolalpaca")
    ),
    *(Case(f"mistral_v02_{data}", published.MISTRAL_V02, "mistral") for data in ("api_bank", "toolalpaca")),
    Case("tl_llama31", published.LLAMA31, "llama3", "tool", native=True),
    Case("tl_qwen25", published.QWEN25, "qwen", "tool", native=True, tail="\n"),
    Case("tl_qwen2", published.CHATML, "qwen", tail="\n"),
]


def as_published(case: Case, dialogue: Dialogue) -> list[dict[str, Any]]:
    """The messages as `apply_chat_template` takes them."""
    prompts = TEMPLATES[case.template]
    messages: list[dict[str, Any]] = []
    if dialogue.system and prompts.chat.system is not None:
        messages.append({"role": "system", "content": dialogue.system})
    for message in dialogue.messages:
        if message.role == "function":
            messages.append(call_message(case, message))
        elif message.role == "observation":
            messages += feedback_messages(case, message)
        else:
            messages.append({"role": message.role, "content": message.content})
    return messages


def call_message(case: Case, message: Message) -> dict[str, Any]:
    if not case.native:
        return {"role": "assistant", "content": TEMPLATES[case.template].reply(message)}
    turn = read_calls(message.content)
    assert turn is not None
    functions = [{"function": {"name": call.name, "arguments": call.arguments}} for call in turn.calls]
    return {"role": "assistant", "content": turn.thought, "tool_calls": functions}


def feedback_messages(case: Case, message: Message) -> list[dict[str, Any]]:
    contents: list[Any] = message.content.split(RESULT_SEPARATOR)
    if case.observation == "user":
        return [{"role": "user", "content": "\n".join(f"Observation: {content}" for content in contents)}]
    if case.chat_template == published.LLAMA31:  # it writes objects and lists as JSON, and texts as JSON strings
        contents = [json.loads(content) if content[0] in "{[" else content for content in contents]
    return [{"role": case.observation, "content": content} for content in contents]


@pytest.mark.parametrize("case", CASES, ids=lambda case: case.template)
def test_same_tokens(case: Case) -> None:
    prompts = TEMPLATES[case.template]
    single = case.chat_template == published.LLAMA31 and case.native  # one call a turn, without a thought
    tokenizer = like(case.kind)
    template = get_template_and_fix_tokenizer(tokenizer, DataArguments(template=case.template))
    for dialogue in dialogues(200, seed=1, tools=True, parallel=not single):
        system = dialogue.system if prompts.chat.system is not None or case.kind == "mistral" else ""
        tools = dialogue.tools if case.native else ""
        messages = as_published(case, dialogue)
        if case.kind == "mistral" and system:
            messages.insert(0, {"role": "system", "content": system})
        declared = [{"type": "function", "function": tool} for tool in TOOLS] if tools else None

        def text_of(messages: list[dict[str, Any]], declared: Any = declared, **options: Any) -> str:
            return tokenizer.apply_chat_template(
                messages, tools=declared, chat_template=case.chat_template, tokenize=False, **options
            )

        pairs = template.encode_multiturn(tokenizer, dialogue.as_dicts, system, tools)
        ours = [token for pair in pairs for part in pair for token in part]
        whole = text_of(messages)
        tail = case.tail.replace("{eos}", tokenizer.eos_token)
        assert whole.endswith(tail)
        assert ours == tokenizer(whole.removesuffix(tail), add_special_tokens=False)["input_ids"]
        asked = max(place for place, message in enumerate(messages) if message["role"] == "assistant")
        prompt = text_of(messages[:asked], add_generation_prompt=True)
        last = [token for pair in pairs[:-1] for part in pair for token in part] + pairs[-1][0]
        assert last == tokenizer(prompt, add_special_tokens=False)["input_ids"]


def test_mistral_reads_the_same_with_either_tokenizer_file() -> None:
    """mistral-common's tokens for v0.2, whether the tokenizer writes blanks behind special tokens itself or not."""
    found = []
    for kind in ("mistral", "mistral_legacy"):
        tokenizer = like(kind)
        template = get_template_and_fix_tokenizer(tokenizer, DataArguments(template="mistral_v02_api_bank"))
        messages = [
            {"role": "user", "content": "Hello there"},
            {"role": "assistant", "content": "Done."},
            {"role": "user", "content": "thank you"},
            {"role": "assistant", "content": "Hello"},
        ]
        pairs = template.encode_multiturn(tokenizer, messages, "Say hello", "")
        found.append(
            "".join(tokenizer.convert_ids_to_tokens([token for pair in pairs for part in pair for token in part]))
        )
    blank = "▁"
    expected = "<s> [INST] Say hello\n\nHello there [/INST] Done.</s> [INST] thank you [/INST] Hello</s>"
    assert found == [expected.replace(" ", blank).replace("\n", "<0x0A>")] * 2


def test_no_date_in_any_prompt_but_the_published_one(monkeypatch: pytest.MonkeyPatch) -> None:
    """Upstream's llama3 prompt holds today's date, so that its tokens change every day."""
    asked = [Message("user", "Hello")]
    for name, template in TEMPLATES.items():
        text = "".join(template.render(asked))
        assert ("26 Jul 2024" in text) == name.startswith(("llama31", "tl_llama31"))
        assert "202" not in text.replace("December 2023", "").replace("26 Jul 2024", "")
