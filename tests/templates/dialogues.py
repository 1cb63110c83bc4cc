"""Random dialogues with tools, deterministic by their seed."""

from __future__ import annotations

import json
import random
from dataclasses import dataclass
from typing import Any

from llamafactory_ext.templates import Message
from llamafactory_ext.templates.messages import RESULT_SEPARATOR

TOOLS = [
    {
        "name": "GetWeather",
        "description": "The weather of a city.",
        "parameters": {
            "type": "object",
            "properties": {
                "city": {"type": "string", "description": "Where."},
                "days": {"type": "integer", "description": "How many days."},
            },
            "required": ["city"],
        },
    },
    {
        "name": "random_advice",
        "description": "Returns a random advice slip as a slip object.",
        "parameters": {"type": "object", "properties": {}, "required": []},
    },
]
_WORDS = (
    *("Hello", "weather", "Paris", "thank you", "42", "3.5", "it's", 'a "quote"', "é", "日本", "😀", "(a, b)", "x=1;"),
    *("no\nnext line", "a\n\nparagraph", "two  blanks", "{curly}", "[square]", "\\n", "<b>", "today?", "Done."),
)
_FEEDBACK = (
    '{"temperature": 21, "unit": "C"}',
    '{"error": "city not found", "code": 404}',
    "Traceback (most recent call last):\nKeyError: 'city'",
    "HTTP 500: try again",
    '["rain", "sun"]',
    "33.0",
)
_CALLS = (
    {"name": "GetWeather", "arguments": {"city": "Paris", "days": 3}},
    {"name": "GetWeather", "arguments": {"city": 'O\'Fallon, "MO"'}},
    {"name": "GetWeather", "arguments": {"city": "Zürich", "days": -1}},
    {"name": "random_advice", "arguments": {}},
)
_THOUGHTS = ("", "", "I should look it up.", "First the weather,\nthen the advice.")


@dataclass(frozen=True)
class Dialogue:
    """Messages with the system text and the tools, as LLaMA-Factory's converters give them."""

    messages: tuple[Message, ...]
    system: str
    tools: str

    @property
    def as_dicts(self) -> list[dict[str, str]]:
        return [{"role": message.role, "content": message.content} for message in self.messages]


def dialogues(count: int, seed: int = 0, **options: Any) -> list[Dialogue]:
    """`count` dialogues; options as `dialogue` takes them."""
    rng = random.Random(seed)
    return [dialogue(rng, **options) for _ in range(count)]


def dialogue(rng: random.Random, *, tools: bool = True, blanks: bool = True, parallel: bool = True) -> Dialogue:
    """One to three rounds of question, calls with feedback, and answer."""
    with_tools = tools and rng.random() < 0.5
    messages: list[Message] = []
    for _ in range(rng.randint(1, 3)):
        messages.append(Message("user", _text(rng, blanks)))
        while with_tools and rng.random() < 0.5:
            count = rng.randint(1, 3) if parallel and rng.random() < 0.3 else 1
            messages.append(Message("function", _calls(rng, count, thoughts=parallel)))
            messages.append(Message("observation", RESULT_SEPARATOR.join(rng.choices(_FEEDBACK, k=count))))
        messages.append(Message("assistant", _text(rng, blanks)))
    system = rng.choice(("", "You are terse.", "Be kind.\nBe brief."))
    return Dialogue(tuple(messages), system, json.dumps(TOOLS) if with_tools else "")


def _text(rng: random.Random, blanks: bool) -> str:
    text = " ".join(rng.choices(_WORDS, k=rng.randint(1, 8)))
    return rng.choice(("", "", " ", "  ")) + text + rng.choice(("", "", " ", "\n")) if blanks else text


def _calls(rng: random.Random, count: int, thoughts: bool) -> str:
    calls = [rng.choice(_CALLS) for _ in range(count)]
    thought = rng.choice(_THOUGHTS) if thoughts else ""
    text = json.dumps(calls if count > 1 else calls[0], ensure_ascii=rng.random() < 0.5)
    if thought and rng.random() < 0.5:
        return thought + "\n" + "\n".join(f"<tool_call>{json.dumps(call)}</tool_call>" for call in calls)
    return f"{thought}\n{text}" if thought else text
