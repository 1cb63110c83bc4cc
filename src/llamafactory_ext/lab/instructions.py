"""Instruction following in the world: handle words, lists, records and forms exactly as told."""

import json
from collections.abc import Callable
from random import Random

from . import words
from .example import Example


def _word(rng: Random) -> str:
    roll = rng.random()
    if roll < 0.6:
        return words.name(rng)
    if roll < 0.7:
        return rng.choice(words.PEOPLE)
    if roll < 0.85:
        return rng.choice(words.PLAIN)
    return words.code(rng)


def _words(rng: Random, low: int, high: int) -> list[str]:
    return [_word(rng) for _ in range(rng.randint(low, high))]


def _title(rng: Random) -> str:
    """Draw a name such as ``BlueLamp`` or ``OpenDoor``."""
    return words.cap(rng.choice(words.COLOURS + words.VERBS + words.NOUNS)) + words.cap(rng.choice(words.NOUNS))


def _copy(rng: Random) -> tuple[str, str]:
    given = _words(rng, 1, 3)
    text = " ".join(given)
    kind = rng.randrange(6)
    if kind == 0:
        return f"{rng.choice(('Repeat', 'Say'))}: {text}", text
    if kind == 1:
        return f"Say this twice: {text}", f"{text} {text}"
    if kind == 2:
        return f"Put quotes around: {text}", f"'{text}'"
    if kind == 3:
        return f"Put this in brackets: {text}", f"[{text}]"
    if kind == 4:
        return f"Say hello to {text}.", f"Hello {text}"
    title = _title(rng)
    return f"Join {title} and {given[0]} with a dot.", f"{title}.{given[0]}"


def _list(rng: Random) -> tuple[str, str]:
    given = _words(rng, 2, 4)
    text = " ".join(given)
    kind = rng.randrange(8)
    if kind == 0:
        return f"Reverse the order: {text}", " ".join(reversed(given))
    if kind == 1:
        return f"Join with commas: {text}", ", ".join(given)
    if kind == 2:
        return f"Write as a list: {text}", "\n".join(f"- {word}" for word in given)
    if kind == 3:
        return f"How many words: {text}", str(len(given))
    if kind == 4:
        order, at = rng.choice((("first", 0), ("second", 1), ("last", -1)))
        return f"Give the {order} word: {text}", given[at]
    if kind == 5:
        return f"Leave out the first word: {text}", " ".join(given[1:])
    if kind == 6:
        at = rng.randrange(len(given) - 1)
        return f"Which word comes after {given[at]}: {text}", given[at + 1]
    letters = rng.sample("abcdefghijklmnopqrstuvwxyz", rng.randint(2, 4))
    return f"Write in capitals: {' '.join(letters)}", " ".join(letters).upper()


def _record(rng: Random) -> tuple[str, str]:
    """Copy a field out of one flat JSON record."""
    slots = rng.sample(words.SLOTS, rng.randint(2, 4))
    record = {slot.key: slot.draw(rng) for slot in slots}
    asked = rng.choice(slots).key
    if rng.random() < 0.3:
        return f"{json.dumps(record)}\nName the keys.", ", ".join(record)
    return f"{json.dumps(record)}\n{rng.choice(('What is the', 'Give the'))} {asked}.", record[asked]


def _pick(rng: Random) -> tuple[str, str]:
    """Pick one of several JSON records by what it is about, and copy its name or its keys."""
    chosen: list[dict[str, object]] = []
    actions: list[tuple[str, str]] = []
    nouns = rng.sample(words.NOUNS, 3)
    for noun in nouns[: rng.choice((1, 2, 2))]:
        verb = rng.choice(words.VERBS)
        keys = [slot.key for slot in rng.sample(words.SLOTS, rng.randint(1, 3))]
        title = words.cap(verb) + words.cap(noun) if rng.random() < 0.7 else _title(rng)
        about = f"{words.cap(words.third(verb))} {words.a(noun)}."
        chosen.append({"name": title, "about": about, "keys": keys})
        actions.append((verb, noun))
    at = rng.randrange(len(chosen))
    text = "\n".join(json.dumps(record) for record in chosen)
    verb, noun = actions[at]
    wish = rng.choice((f"I want to {verb} {words.a(noun)}", f"Which one {words.third(verb)} {words.a(noun)}?"))
    if rng.random() < 0.5:
        return f"{text}\n{wish}\nGive its name.", str(chosen[at]["name"])
    asked = chosen[at]["keys"]
    assert isinstance(asked, list)
    return f"{text}\n{wish}\nGive its name and keys.", f"{chosen[at]['name']}: {', '.join(asked)}"


def _form(rng: Random) -> tuple[str, str]:
    """Read values out of a sentence into a form whose keys are given, in the order of the form."""
    slots = rng.sample(words.SLOTS, rng.randint(1, 3))
    values = {slot.key: slot.draw(rng) for slot in slots}
    verb, noun = rng.choice(words.VERBS), rng.choice(words.NOUNS)
    said = " ".join(rng.choice(slot.phrases).format(values[slot.key]) for slot in slots)
    opening = rng.choice(("Please", "I want to", "Can you", "We have to"))
    sentence = f"{opening} {verb} {words.a(noun)} {said}."
    asked = rng.sample(slots, rng.randint(1, len(slots)))
    if rng.random() < 0.4:
        described = json.dumps({slot.key: {"type": "str", "description": f"{slot.meaning}."} for slot in asked})
    else:
        described = ", ".join(slot.key for slot in asked)
    style = rng.randrange(3)
    if style == 0:
        answer = json.dumps({slot.key: values[slot.key] for slot in asked})
        return f"Fields: {described}\nText: {sentence}\nFill the fields as JSON.", answer
    if style == 1:
        answer = "\n".join(f"{slot.key}: {values[slot.key]}" for slot in asked)
        return f"Fields: {described}\nText: {sentence}\nFill the fields as lines.", answer
    answer = ", ".join(f"{slot.key}='{values[slot.key]}'" for slot in asked)
    return f"Fields: {described}\nText: {sentence}\nFill the fields with equals signs.", answer


def _choose_form(rng: Random) -> tuple[str, str]:
    """Choose the form that suits a sentence, and fill it."""
    nouns = rng.sample(words.NOUNS, rng.choice((1, 2, 2)))
    verbs = [rng.choice(words.VERBS) for _ in nouns]
    fields = [rng.sample(words.SLOTS, rng.choice((1, 1, 2, 2, 3))) for _ in nouns]
    titles = [
        words.cap(v) + words.cap(n) if rng.random() < 0.7 else _title(rng) for v, n in zip(verbs, nouns, strict=True)
    ]
    described = rng.random() < 0.4
    lines: list[str] = []
    for title, verb, noun, slots in zip(titles, verbs, nouns, fields, strict=True):
        keys = {slot.key: {"meaning": f"{slot.meaning}."} for slot in slots} if described else [s.key for s in slots]
        use = f"{words.cap(words.third(verb))} {words.a(noun)}."
        lines.append(json.dumps({"form": title, "use": use, "keys": keys}))
    at = rng.randrange(len(nouns))
    slots = fields[at]
    values = {slot.key: slot.draw(rng) for slot in slots}
    said = " ".join(rng.choice(s.phrases).format(values[s.key]) for s in rng.sample(slots, len(slots)))
    opening = rng.choice(("Please", "I want to", "Can you", "We have to"))
    sentence = f"{opening} {verbs[at]} {words.a(nouns[at])} {said}."
    answer = "\n".join([titles[at]] + [f"{slot.key}: {values[slot.key]}" for slot in slots])
    return "\n".join([*lines, f"Text: {sentence}", "Fill the right form as lines."]), answer


def words_and_lists(rng: Random) -> Example:
    """Draw an instruction about words or a list, the simpler part of the ability."""
    prompt, answer = rng.choice((_copy, _list))(rng)
    return Example("instructions", prompt, answer, prompt)


_KINDS: tuple[Callable[[Random], tuple[str, str]], ...] = (_copy, _list, _record, _pick, _form, _choose_form)
_WEIGHTS = (3, 4, 2, 2, 3, 2)


def instructions(rng: Random) -> Example:
    """Return one instruction about words, a list, a record, several records or forms."""
    prompt, answer = rng.choices(_KINDS, _WEIGHTS)[0](rng)
    return Example("instructions", prompt, answer, prompt)
