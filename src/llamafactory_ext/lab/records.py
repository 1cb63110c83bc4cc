"""Practice for pretraining: find the right one of several records, name it, and fill its fields from a wish.

The skill behind filling a form is the skill behind calling a tool, so the practice varies everything that is not the
skill: the keys of the records, the order of the prompt, the wording, the form of the answer. It never shows the tool
format itself: no "apiCode", "parameters" or "API-Request", no answer that is a bracketed call.
"""

import json
from collections.abc import Callable
from dataclasses import dataclass
from random import Random

from . import words
from .example import Example

_NAME_KEYS = ("name", "form", "title", "label", "id", "service")
_ABOUT_KEYS = ("about", "use", "text", "purpose", "info")
_FIELD_KEYS = ("keys", "fields", "values", "inputs", "slots")
_NOTE_KEYS = ("meaning", "note", "hint")
_OPENINGS = ("Please", "I want to", "Can you", "We have to", "I need to", "Help me to", "We would like to")
_SPEAKERS = ("Text", "Wish", "User", "Guest")
_HEADS = ("", "", "Form: ", "Result: ", "Here: ")

Values = dict[str, str]

_FILLED: dict[str, Callable[[str, Values], str]] = {
    "as lines": lambda title, values: "\n".join([title, *(f"{key}: {value}" for key, value in values.items())]),
    "with equals signs": lambda title, values: (
        f"{title}: " + ", ".join(f"{key}='{value}'" for key, value in values.items())
    ),
    "as JSON": lambda title, values: f"{title} {json.dumps(values)}",
    "in brackets": lambda title, values: f"[{title}; " + "; ".join(f"{k}: {v}" for k, v in values.items()) + "]",
}


@dataclass(frozen=True)
class _Record:
    verb: str
    noun: str
    title: str
    slots: tuple[words.Slot, ...]


def _draw_records(rng: Random) -> list[_Record]:
    records: list[_Record] = []
    for noun in rng.sample(words.NOUNS, rng.choice((1, 2, 2, 3))):
        verb = rng.choice(words.VERBS)
        first = verb if rng.random() < 0.6 else rng.choice(words.VERBS + words.COLOURS)
        title = words.cap(first) + words.cap(noun if rng.random() < 0.6 else rng.choice(words.NOUNS))
        records.append(_Record(verb, noun, title, tuple(rng.sample(words.SLOTS, rng.choice((1, 1, 2, 2, 3))))))
    return records


def _write(records: list[_Record], rng: Random) -> str:
    name, about, fields = rng.choice(_NAME_KEYS), rng.choice(_ABOUT_KEYS), rng.choice(_FIELD_KEYS)
    note, described = rng.choice(_NOTE_KEYS), rng.random() < 0.6
    lines: list[str] = []
    for record in records:
        notes = {slot.key: {"type": "str", note: f"{slot.meaning}."} for slot in record.slots}
        use = f"{words.cap(words.third(record.verb))} {words.a(record.noun)}."
        keys = notes if described else [slot.key for slot in record.slots]
        lines.append(json.dumps({name: record.title, about: use, fields: keys}))
    return "\n".join(lines)


def _wish(record: _Record, values: Values, rng: Random) -> str:
    said = [rng.choice(slot.phrases).format(values[slot.key]) for slot in rng.sample(record.slots, len(record.slots))]
    wish, told, speaker = f"{record.verb} {words.a(record.noun)}", " ".join(said), rng.choice(_SPEAKERS)
    if rng.random() < 0.2:
        asked = " and the ".join(values)
        return f"{speaker}: I want to {wish}.\nAnswer: Tell me the {asked}.\n{speaker}: {words.cap(told)}."
    return f"{speaker}: {rng.choice(_OPENINGS)} {wish} {told}."


def records(rng: Random) -> Example:
    """One question about records: the name of the right one, its fields, or the record filled from a wish."""
    drawn = _draw_records(rng)
    chosen = rng.choice(drawn)
    values = {slot.key: slot.draw(rng) for slot in chosen.slots}
    head = rng.choice(_HEADS)
    begin = f" Begin with {head.strip()}" if head else ""
    roll = rng.random()
    if roll < 0.3:
        order, answer = f"Give the right name.{begin}", head + chosen.title
    elif roll < 0.4:
        order, answer = f"Give the right name and its fields.{begin}", f"{head}{chosen.title}: {', '.join(values)}"
    else:
        style = rng.choice(tuple(_FILLED))
        order, answer = f"Fill the right one {style}.{begin}", head + _FILLED[style](chosen.title, values)
    told, wish = _write(drawn, rng), _wish(chosen, values, rng)
    prompt = "\n".join((order, told, wish, "Reply:") if rng.random() < 0.5 else (told, wish, order))
    return Example("records", prompt, answer, prompt)
