"""API-Bank's prompts, rewritten as dialogues of each model's chat format."""

from __future__ import annotations

import json
import os
import re
from pathlib import Path

import pytest

from llamafactory_ext.templates import TEMPLATES, Message
from llamafactory_ext.templates.api_bank import read_prompt

_ROOT = Path(__file__).parents[2]
DATA = Path(os.environ.get("LLAMAFACTORY_EXT_SHARED", _ROOT.parent / "shared")) / "data" / "api_bank"
HEAD = "\nGenerate an API request in the format of [ApiName(key1='value1')] based on the previous dialogue context.\n"
EXAMPLE = "Input: \nUser: User's utterence\nAI: AI's response\n\n"
EXPECTED = "Expected output:\nAPI-Request: [ApiName(key1='value1')]\n\n"
TOOL = '{"name": "Weather", "description": "Tells it.", "input_parameters": {}, "output_parameters": {}}'
PROMPT = (
    f"{HEAD}{EXAMPLE}{EXPECTED}API descriptions:\n{TOOL}\nUser: Is it\nraining?\nAI: Let me see.\n"
    "API-Request: [Weather(city='Rome')]->{'error': 'no [Rome]->here'}\n"
    "API-Request: [Weather(city='Roma')]->sun\nAI: No.\nUser: And in Pisa?\nAI: One moment.\nGenerate API Request: \n"
)
ANSWER = "API-Request: [Weather(city='Pisa')]"
SYSTEM = f"{HEAD.strip()}\n{EXPECTED}API descriptions:\n{TOOL}"


def test_turns() -> None:
    prompt = read_prompt(PROMPT)
    assert prompt is not None
    assert prompt.system == SYSTEM
    assert [(turn.role, turn.content) for turn in prompt.turns] == [
        ("user", "Is it\nraining?"),
        ("assistant", "Let me see.\nAPI-Request: [Weather(city='Rome')]"),
        ("observation", "{'error': 'no [Rome]->here'}"),
        ("assistant", "API-Request: [Weather(city='Roma')]"),
        ("observation", "sun"),
        ("assistant", "No."),
        ("user", "And in Pisa?"),
        ("assistant", "One moment."),
        ("user", "Generate API Request:"),
    ]


def test_llama3() -> None:
    rendered = TEMPLATES["llama3_api_bank"].render(
        [Message("user", PROMPT), Message("assistant", ANSWER)], system="Be terse.", bos="<B>"
    )
    turns = re.findall(
        r"<\|start_header_id\|>(\w+)<\|end_header_id\|>\n\n(.*?)(?:<\|eot_id\|>|\Z)", rendered[0], re.DOTALL
    )
    assert rendered[0].startswith("<B><|start_header_id|>system")
    assert turns[0] == ("system", f"Be terse.\n\n{SYSTEM}")
    assert [role for role, _ in turns[1:]] == [
        *(
            "user",
            "assistant",
            "ipython",
            "assistant",
            "ipython",
            "assistant",
            "user",
            "assistant",
            "user",
            "assistant",
        ),
    ]
    assert turns[-1] == ("assistant", "")
    assert rendered[1] == f"{ANSWER}<|eot_id|>"


def test_mistral_alternates_and_has_no_system_turn() -> None:
    prompt = PROMPT.replace("AI: No.\nUser: And in Pisa?\nAI: One moment.\n", "")
    rendered = TEMPLATES["mistral_v02_api_bank"].render(
        [Message("user", prompt), Message("assistant", "AI: Sun.\n")], bos="<s>", eos="</s>"
    )
    assert rendered == [
        f"<s> [INST] {SYSTEM}\n\nIs it\nraining? [/INST] Let me see.\nAPI-Request: [Weather(city='Rome')]</s>"
        " [INST] Observation: {'error': 'no [Rome]->here'} [/INST] API-Request: [Weather(city='Roma')]</s>"
        " [INST] Observation: sun\nGenerate API Request: [/INST]",
        " Sun.</s>",
    ]


def test_phi3_without_system_turn() -> None:
    first = TEMPLATES["phi3_nosystem_api_bank"].render([Message("user", PROMPT)], bos="<s>")[0]
    assert first.startswith(f"<s><|user|>\n{SYSTEM}\n\nIs it\nraining?<|end|>\n<|assistant|>\nLet me see.\n")
    assert first.endswith("<|assistant|>\nOne moment.<|end|>\n<|user|>\nGenerate API Request:<|end|>\n<|assistant|>\n")


@pytest.mark.parametrize(
    "text",
    [
        "What is API-Bank?",
        PROMPT.replace("Generate API Request", "Generate"),
        PROMPT.replace("API descriptions:", "Tools:"),
        PROMPT.replace("User: Is", "AI: Is"),
        PROMPT + "User: one more",
    ],
)
def test_other_texts_stay_as_they_are(text: str) -> None:
    assert read_prompt(text) is None
    messages = [Message("user", text), Message("assistant", "AI: hm")]
    assert TEMPLATES["llama3_api_bank"].render(messages) == TEMPLATES["llama3_toolalpaca"].render(messages)


def test_published_records() -> None:
    """Every published prompt is understood, and nothing of it is lost but the speakers' labels and the example."""
    files = sorted(DATA.glob("*-data/*.json"))
    if not files:
        pytest.skip(f"no public data in {DATA}")
    count = 0
    for record in (record for file in files for record in json.loads(file.read_text("utf-8"))):
        text = f"{record['instruction']}\n{record['input']}"
        prompt = read_prompt(text)
        assert prompt is not None
        kept = re.sub(r"(?m)^(User|AI|API-Request): ?|\]->|\s", "", text[text.index("API descriptions:") :])
        found = prompt.system[prompt.system.index("API descriptions:") :] + "".join(t.content for t in prompt.turns)
        assert re.sub(r"API-Request: |\]|\s", "", found) == kept.replace("]", "")
        assert prompt.turns[0].role == prompt.turns[-1].role == "user"
        count += 1
    assert count > 2000
