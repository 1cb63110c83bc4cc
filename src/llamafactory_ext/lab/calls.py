"""Tool calls for pre-training: other tools than the demo's, in formats that vary freely and are stated in the prompt.

The demo's tools, its format ``[Name(key='value')]``, its prefix and its instruction never occur here, so a base that
learned these calls is to the demo what an instruct model is to a user's tools.
"""

from __future__ import annotations

import json
from collections.abc import Callable, Mapping, Sequence
from dataclasses import dataclass
from random import Random

from . import words
from .example import Example
from .tools import TOOLS, Tool

PREFIXES = (
    *("", "", "Call: ", "Action: ", "Do -> ", "Tool: ", "Use: ", ">> ", "Next: ", "Request = ", "Run: ", "API: "),
)
BRACKETS = (("", ""), ("<", ">"), ("{", "}"), ("(", ")"), ("[", "]"))
SEPARATORS = ("round", "space")
QUOTES = ("'", "'", '"')
DEMO_PAIRS = frozenset((tool.verb, tool.noun) for tools in TOOLS.values() for tool in tools)
_NAME_KEYS = ("name", "function", "tool", "title")
_ABOUT_KEYS = ("description", "about", "use", "purpose")
_ORDERS = ("Write a call", "Generate a call", "Generate a request")
_OPENINGS = ("Please", "I want to", "Can you", "I need to", "Help me to", "Could you")


@dataclass(frozen=True)
class Format:
    """How a call is written.

    Attributes:
        prefix: what stands before it.
        bracket: the pair around it.
        separator: "round" writes ``Name(a='1', b='2')``, "space" writes ``Name a='1' b='2'``.
        quote: around every value.
    """

    prefix: str
    bracket: tuple[str, str]
    separator: str
    quote: str

    @classmethod
    def draw(cls, rng: Random) -> Format:
        """Draw a format; never the demo's, square brackets around round ones."""
        while True:
            drawn = cls(rng.choice(PREFIXES), rng.choice(BRACKETS), rng.choice(SEPARATORS), rng.choice(QUOTES))
            if not (drawn.bracket[0] == "[" and drawn.separator == "round"):
                return drawn

    def write(self, name: str, values: Mapping[str, str]) -> str:
        """Write a call."""
        pairs = [f"{key}={self.quote}{value}{self.quote}" for key, value in values.items()]
        body = f"({', '.join(pairs)})" if self.separator == "round" else " " + " ".join(pairs)
        return f"{self.prefix}{self.bracket[0]}{name}{body}{self.bracket[1]}"


class Wish(Tool):
    """A tool that somebody needs, with values for it."""

    def values(self, rng: Random) -> dict[str, str]:
        """Draw a value for each parameter."""
        return {slot.key: slot.draw(rng) for slot in self.slots}

    def said(self, values: Mapping[str, str], rng: Random) -> str:
        """Say the values as people do, in any order."""
        named = [slot for slot in self.slots if slot.key in values]
        return " ".join(rng.choice(slot.phrases).format(values[slot.key]) for slot in rng.sample(named, len(named)))


def draw_wishes(count: int, rng: Random, most_values: Sequence[int] = (1, 1, 2, 2, 3)) -> list[Wish]:
    """Draw different tools, none of them the demo's."""
    made: list[Wish] = []
    while len(made) < count:
        pair = rng.choice(words.VERBS), rng.choice(words.NOUNS)
        if pair not in DEMO_PAIRS and pair not in {(wish.verb, wish.noun) for wish in made}:
            made.append(Wish(*pair, tuple(rng.sample(words.SLOTS, rng.choice(most_values)))))
    return made


def describer(rng: Random) -> Callable[[Wish], str]:
    """Draw a way to describe tools, as JSON in several shapes or as a line of text."""
    name_key, about_key = rng.choice(_NAME_KEYS), rng.choice(_ABOUT_KEYS)
    shape = rng.choice((0, 1, 1, 1, 2))

    def describe(wish: Wish) -> str:
        if shape == 2:
            return f"{wish.name}({', '.join(slot.key for slot in wish.slots)}): {wish.about}"
        meanings = {slot.key: f"{slot.meaning}." for slot in wish.slots}
        if shape == 0:
            return json.dumps({name_key: wish.name, about_key: wish.about, "parameters": meanings})
        typed = {key: {"type": "str", "description": meaning} for key, meaning in meanings.items()}
        return json.dumps({name_key: wish.name, about_key: wish.about, "keys": typed})

    return describe


def stated(form: Format, rng: Random) -> str:
    """State a format by a sample in it."""
    sample = form.write(
        rng.choice(("Name", "ApiName")), {rng.choice(("key", "key1")): rng.choice(("value", "value1"))}
    )
    return f"{rng.choice(_ORDERS)} in the format of {sample}."


def asked(wish: str, said: str, rng: Random) -> str:
    """Ask for what a tool does."""
    opening = rng.choice(_OPENINGS)
    return f"{opening} {wish} {said}{'?' if opening.endswith('you') else '.'}"


def calls(rng: Random) -> Example:
    """Ask for one of up to three described tools in a stated format; a held-out tool is in no training prompt."""
    wishes = draw_wishes(rng.choice((1, 2, 2, 3)), rng)
    wish, form, describe = wishes[0], Format.draw(rng), describer(rng)
    values = wish.values(rng)
    told = asked(f"{wish.verb} {words.a(wish.noun)}", wish.said(values, rng), rng)
    lines = [describe(one) for one in rng.sample(wishes, len(wishes))]
    prompt = "\n".join([stated(form, rng), *lines, f"{rng.choice(('Text', 'User'))}: {told}"])
    return Example("calls", prompt, form.write(wish.name, values), f"{wish.verb} {wish.noun}")


def turns(rng: Random) -> Example:
    """Ask for two or three calls, each with what the last one gave back, then a word that names the last output."""
    wishes = draw_wishes(rng.choice((2, 2, 3)), rng, (1, 2))
    form, describe = Format.draw(rng), describer(rng)
    links: list[words.Slot] = []
    parts: list[str] = []
    steps: list[dict[str, str]] = []
    for index, wish in enumerate(wishes):
        values = wish.values(rng)
        link = rng.choice(wish.slots) if index else None
        said = wish.said({key: value for key, value in values.items() if link is None or key != link.key}, rng)
        parts.append(
            f"{wish.verb} {words.a(wish.noun)} {said}".strip() + (f" with the {link.key} you get" if link else "")
        )
        steps.append(values)
        links += [link] if link else []
    outputs = [json.dumps({link.key: steps[index + 1][link.key]}) for index, link in enumerate(links)]
    number = words.code(rng)
    outputs.append(json.dumps({"done": number}))
    replies = [form.write(wish.name, values) for wish, values in zip(wishes, steps, strict=True)]
    lines = [describe(one) for one in rng.sample(wishes, len(wishes))]
    told = asked(parts[0], "", rng).rstrip(".? ") + "".join(f", then {part}" for part in parts[1:]) + "."
    prompt = "\n".join([stated(form, rng), *lines, f"{rng.choice(('Text', 'User'))}: {told}"])
    after = tuple(zip(outputs, [*replies[1:], f"Done: {number}"], strict=True))
    return Example("turns", prompt, replies[0], f"{wishes[0].verb} {wishes[0].noun}", after=after)
