"""Tool calls of the world in API-Bank's format: descriptions as JSON, a dialogue, one request in brackets."""

import json
from collections.abc import Sequence
from dataclasses import dataclass
from random import Random
from typing import Literal

from . import words
from .example import Example

TOOL_INSTRUCTION = "Generate an API request in the format of [ApiName(key1='value1')].\nAPI descriptions:"
# Tools about the last eleven nouns are never shown in training.
_SEEN_NOUNS, _UNSEEN_NOUNS = words.NOUNS[:-11], words.NOUNS[-11:]

Part = Literal["seen", "unseen"]


@dataclass(frozen=True)
class Tool:
    """A tool of the world: what it does to what, and the values it needs.

    Attributes:
        called: a name that a request does not tell; empty for one of verb and noun.
    """

    verb: str
    noun: str
    slots: tuple[words.Slot, ...]
    called: str = ""

    @property
    def name(self) -> str:
        """The name as a call writes it, such as ``BookTable``."""
        return self.called or words.cap(self.verb) + words.cap(self.noun)

    @property
    def about(self) -> str:
        """The sentence of its description."""
        return f"{words.cap(words.third(self.verb))} {words.a(self.noun)}."

    def describe(self) -> str:
        """Return the description as one line of JSON, with API-Bank's fields."""
        parameters = {slot.key: {"type": "str", "description": f"{slot.meaning}."} for slot in self.slots}
        return json.dumps({"apiCode": self.name, "description": self.about, "parameters": parameters})


def _toolbox(nouns: list[str], count: int, seed: int) -> tuple[Tool, ...]:
    rng = Random(seed)
    pairs = rng.sample([(verb, noun) for noun in nouns for verb in words.VERBS], count)
    return tuple(Tool(verb, noun, tuple(rng.sample(words.SLOTS, rng.choice((1, 1, 2))))) for verb, noun in pairs)


TOOLS: dict[Part, tuple[Tool, ...]] = {
    "seen": _toolbox(_SEEN_NOUNS, 90, 11),
    "unseen": _toolbox(_UNSEEN_NOUNS, 40, 12),
}


def _dialogue(tool: Tool, values: dict[str, str], rng: Random) -> str:
    wish = f"{tool.verb} {words.a(tool.noun)}"
    said = [rng.choice(slot.phrases).format(values[slot.key]) for slot in rng.sample(tool.slots, len(tool.slots))]
    told = " ".join(said)
    roll = rng.random()
    if roll < 0.2:
        asked = " and the ".join(slot.key for slot in tool.slots)
        return f"User: I want to {wish}.\nAI: Tell me the {asked}.\nUser: {words.cap(told)}."
    opening = rng.choice(("Please", "I want to", "Can you", "I need to", "Help me to", "We would like to"))
    end = "?" if opening == "Can you" else "."
    return f"User: {opening} {wish} {told}{end}"


def tool_call(part: Part, rng: Random) -> Example:
    """Return a request that needs one call of the one or two tools described."""
    tools = [rng.choice(TOOLS[part])]
    others = rng.choice((0, 1))
    while len(tools) <= others:
        other = rng.choice(TOOLS[part])
        if other.name not in {tool.name for tool in tools}:
            tools.append(other)
    tool = tools[0]
    rng.shuffle(tools)
    values = {slot.key: slot.draw(rng) for slot in tool.slots}
    arguments = ", ".join(f"{key}='{value}'" for key, value in values.items())
    described = "\n".join(other.describe() for other in tools)
    prompt = f"{TOOL_INSTRUCTION}\n{described}\n{_dialogue(tool, values, rng)}\nGenerate API Request: "
    return Example("tool", prompt, f"API-Request: [{tool.name}({arguments})]", prompt, mark="tool")


def tool_request(tools: Sequence[Tool], rng: Random) -> Example:
    """Return a request that needs one call of one of these tools, none of which is described."""
    tool = rng.choice(tools)
    values = {slot.key: slot.draw(rng) for slot in tool.slots}
    arguments = ", ".join(f"{key}='{value}'" for key, value in values.items())
    prompt = f"{TOOL_INSTRUCTION.partition(chr(10))[0]}\n{_dialogue(tool, values, rng)}\nGenerate API Request: "
    return Example("tool", prompt, f"API-Request: [{tool.name}({arguments})]", prompt, mark="tool")


def tool_seen(rng: Random) -> Example:
    """Return a call of a tool that training shows; a held-out one is an unseen request."""
    return tool_call("seen", rng)


def tool_unseen(rng: Random) -> Example:
    """Return a call of a tool that training never shows, among other such tools."""
    return tool_call("unseen", rng)
