"""Changed predictions: gold answers with one to three of many kinds of change, the same ones at every run.

A change takes (text, another item's text, random numbers) and gives the changed text.
"""

from __future__ import annotations

import html
import json
import random
import re
from collections.abc import Callable, Iterator, Mapping, Sequence

Change = Callable[[str, str, random.Random], str]


def mixed(
    gold: Mapping[str, str], changes: Mapping[str, Change], rounds: int, seed: int
) -> Iterator[tuple[dict[str, str], dict[str, tuple[str, ...]]]]:
    """Yield, for each round, every item's changed answer and the kinds of its changes, each equally often."""
    rng = random.Random(seed)
    texts = list(gold.values())
    deck: list[str] = []
    for _ in range(rounds):
        answers, kinds = {}, {}
        for id_, text in gold.items():
            if len(deck) < 3:
                deck = rng.sample(list(changes), len(changes)) + deck
            chosen = tuple(deck.pop() for _ in range(rng.choice((1, 1, 2, 3))))
            answers[id_], kinds[id_] = text, chosen
            for kind in chosen:
                answers[id_] = changes[kind](answers[id_], rng.choice(texts), rng)
        yield answers, kinds


def _sub(pattern: str, new: str, count: int = 1, flags: int = 0) -> Change:
    return lambda text, other, rng: re.sub(pattern, new, text, count=count, flags=flags)


def _place(text: str, rng: random.Random) -> int:
    return rng.randrange(len(text) + 1)


def _insert(what: str) -> Change:
    def change(text: str, other: str, rng: random.Random) -> str:
        place = _place(text, rng)
        return text[:place] + what + text[place:]

    return change


def _cut_out(text: str, other: str, rng: random.Random) -> str:
    place = _place(text, rng)
    return text[:place] + text[place + rng.randrange(1, 6) :]


def _swapped_letters(text: str, other: str, rng: random.Random) -> str:
    place = _place(text, rng)
    return text[:place] + text[place : place + 2][::-1] + text[place + 2 :]


def _spliced(text: str, other: str, rng: random.Random) -> str:
    return text[: _place(text, rng)] + other[_place(other, rng) :]


# For calls as text of any form.
ANY: Mapping[str, Change] = {
    "none": lambda text, other, rng: text,
    "another item's": lambda text, other, rng: other,
    "empty": lambda text, other, rng: "",
    "first half": lambda text, other, rng: text[: len(text) // 2],
    "second half": lambda text, other, rng: text[len(text) // 2 :],
    "last letters cut": lambda text, other, rng: text[: -rng.randrange(1, 4)],
    "first letters cut": lambda text, other, rng: text[rng.randrange(1, 16) :],
    "words before": lambda text, other, rng: "I shall call the tool now.\n" + text,
    "words before, same line": lambda text, other, rng: "Sure: " + text,
    "words after": lambda text, other, rng: text + "\nThat is all.",
    "words after, same line": lambda text, other, rng: text + " Done.",
    "a thought with another call": lambda text, other, rng: f"<think>{other}</think>{text}",
    "a thought on lines of its own": lambda text, other, rng: f"<think>\n{other}\n</think>\n\n{text}",
    "fenced": lambda text, other, rng: f"```\n{text}\n```",
    "in backticks": lambda text, other, rng: f"`{text}`",
    "in quotes": lambda text, other, rng: f'"{text}"',
    "twice": lambda text, other, rng: f"{text}\n{text}",
    "another call behind": lambda text, other, rng: f"{text}\n{other}",
    "another call before": lambda text, other, rng: f"{other}\n{text}",
    "another call, same line": lambda text, other, rng: f"{text} {other}",
    "blanks around": lambda text, other, rng: f"  \n{text}\n  ",
    "carriage returns": lambda text, other, rng: text.replace("\n", "\r\n"),
    "a line break inside": _insert("\n"),
    "a blank inside": _insert(" "),
    "a quote inside": _insert("'"),
    "a double quote inside": _insert('"'),
    "a backslash inside": _insert("\\"),
    "a letter inside": _insert("x"),
    "a bracket inside": _insert("]"),
    "a brace inside": _insert("}"),
    "a special token inside": _insert("<|im_end|>"),
    "letters outside ASCII": _insert("\u00e9\u200b\U0001f600"),
    "a null inside": _insert("\0"),
    "letters cut out": _cut_out,
    "letters swapped": _swapped_letters,
    "spliced with another": _spliced,
    "upper case": lambda text, other, rng: text.upper(),
    "lower case": lambda text, other, rng: text.lower(),
    "escaped as HTML": lambda text, other, rng: html.escape(text),
    "single quotes doubled": lambda text, other, rng: text.replace("'", '"'),
    "double quotes single": lambda text, other, rng: text.replace('"', "'"),
    "full-width marks": lambda text, other, rng: text.replace(":", "\uff1a").replace(",", "\uff0c"),
    "another digit": lambda text, other, rng: re.sub(r"\d(?=\D*$)", lambda m: str((int(m[0]) + 1) % 10), text),
    "commas without blanks": lambda text, other, rng: text.replace(", ", ","),
    "commas with blanks": lambda text, other, rng: text.replace(",", " , "),
    "tabs for blanks": lambda text, other, rng: text.replace(" ", "\t"),
    "very long": lambda text, other, rng: text + " and so on" * 300,
}


def _as_json(text: str, other: str, rng: random.Random) -> str:
    name = re.search(r"\[(\w+)\(", text)
    pairs = dict(re.findall(r"(\w+)='([^']*)'", text))
    return json.dumps({"name": name[1] if name else "none", "arguments": pairs})


def _value(text: str, other: str, rng: random.Random) -> str:
    odd = rng.choice(
        ("''", "3.5", "-2", "None", "True", "[1, 2]", "['a', 'b']", "{'a': 1}", "'it's'", "'\"x\"'", "word")
    )
    return re.sub(r"='[^']*'", f"={odd}".replace("\\", ""), text, count=1)


def _reversed_parameters(text: str, other: str, rng: random.Random) -> str:
    head, found, rest = text.partition("(")
    return head + found + ", ".join(reversed(rest.removesuffix(")]").split(", "))) + ")]"


# For API-Bank's [Name(key='value')].
REQUESTS: Mapping[str, Change] = {
    **ANY,
    "last parameter cut": _sub(r",\s*\w+='[^']*'\)", ")"),
    "first parameter cut": _sub(r"\((\w+='[^']*'(?:,\s*)?)", "("),
    "parameter renamed": _sub(r"(\w+)=", r"\1_x="),
    "unknown parameter": _sub(r"\)\]", ", foo='bar')]"),
    "unknown parameter first": _sub(r"\((?=\w)", "(foo='bar', "),
    "parameter twice": _sub(r"(\w+)='([^']*)'", r"\1='\2', \1='other'"),
    "value without quotes": _sub(r"='([^']*)'", r"=\1"),
    "odd value": _value,
    "value with blanks": _sub(r"='([^']*)'", r"=' \1 '"),
    "positional": _sub(r"\w+='", "'"),
    "blanks around =": _sub(r"=", " = ", 0),
    "colons for =": _sub(r"='", ": '", 0),
    "two =": _sub(r"=", "==", 0),
    "name misspelt": _sub(r"\[(\w+)", r"[\1s"),
    "name with a module": _sub(r"\[(\w+)", r"[api.\1"),
    "ToolSearcher": _sub(r"\[\w+\(.*?(?=\)\]|$)", "[ToolSearcher(keywords='wake me'"),
    "ToolSearcher and more": _sub(r"\[\w+\(.*?(?=\)\]|$)", "[ToolSearcher(keywords='K', foo='bar'"),
    "ToolSearcher without keywords": _sub(r"\[\w+\(.*?(?=\)\]|$)", "[ToolSearcher("),
    "two calls in brackets": lambda text, other, rng: text.replace(")]", "), " + other.partition("[")[2]),
    "no brackets": lambda text, other, rng: text.replace("[", "").replace(")]", ")"),
    "double brackets": lambda text, other, rng: text.replace("[", "[[").replace(")]", ")]]"),
    "blank in the bracket": lambda text, other, rng: text.replace(")]", ") ]"),
    "no prefix": _sub(r"API-Request: ?", ""),
    "prefix twice": _sub(r"API-Request:", "API-Request: API-Request:"),
    "with a result": lambda text, other, rng: f"{text}->{{'output': 'success'}}",
    "parameters reversed": _reversed_parameters,
    "as JSON": _as_json,
    "another item's name": lambda text, other, rng: re.sub(
        r"\[\w+", "[" + "".join(re.findall(r"\[(\w+)", other)[:1]), text
    ),
}


def _input(change: Callable[[dict[str, object], random.Random], object]) -> Change:
    """A change of the JSON behind "Action Input:"."""

    def changed(text: str, other: str, rng: random.Random) -> str:
        head, found, rest = text.partition("Action Input:")
        try:
            given = json.loads(rest)
        except ValueError:
            return text
        return head + found + " " + json.dumps(change(given, rng) if isinstance(given, dict) else given)

    return changed


def _one(change: Callable[[object], object]) -> Change:
    return _input(
        lambda given, rng: {
            key: change(value) if place == 0 else value for place, (key, value) in enumerate(given.items())
        }
    )


def _react_as_json(text: str, other: str, rng: random.Random) -> str:
    found = re.search(r"Action: (\w+)\nAction Input: (\{.*\})", text)
    return f'{{"name": "{found[1]}", "arguments": {found[2]}}}' if found else text


# For ReAct's "Action: name" and "Action Input: {...}".
REACT: Mapping[str, Change] = {
    **ANY,
    "name misspelt": _sub(r"Action: (\w+)", r"Action: \1s"),
    "name finish": _sub(r"Action: \w+", "Action: finish"),
    "name ask_to_user": _sub(r"Action: \w+", "Action: ask_to_user"),
    "name in quotes": _sub(r"Action: (\w+)", r'Action: "\1"'),
    "name with brackets": _sub(r"Action: (\w+)", r"Action: \1()"),
    "no blank behind the labels": lambda text, other, rng: text.replace("Action: ", "Action:").replace(
        "Input: ", "Input:"
    ),
    "no thought": _sub(r"^Thought:.*?\n", "", flags=re.DOTALL),
    "labels without capitals": lambda text, other, rng: text.replace("Action", "action"),
    "Input on a new line": lambda text, other, rng: text.replace("Action Input: ", "Action Input:\n"),
    "no line break before the input": lambda text, other, rng: text.replace("\nAction Input", " Action Input"),
    "two line breaks before the input": lambda text, other, rng: text.replace("\nAction Input", "\n\nAction Input"),
    "no Action Input": _sub(r"\nAction Input:.*", "", flags=re.DOTALL),
    "a list": _input(lambda given, rng: [given]),
    "a number": _input(lambda given, rng: 3),
    "a text": _input(lambda given, rng: json.dumps(given)),
    "null": _input(lambda given, rng: None),
    "false": _input(lambda given, rng: False),
    "empty object": _input(lambda given, rng: {}),
    "indented JSON": lambda text, other, rng: re.sub(r"\{(?=\")", "{\n  ", text),
    "parameter cut": _input(lambda given, rng: dict(list(given.items())[:-1])),
    "parameter added": _input(lambda given, rng: given | {"foo": "bar"}),
    "parameter renamed": _input(
        lambda given, rng: {
            f"{key}_x" if place == 0 else key: value for place, (key, value) in enumerate(given.items())
        }
    ),
    "parameters reversed": _input(lambda given, rng: dict(reversed(list(given.items())))),
    "value a number": _one(lambda value: 7),
    "value a truth": _one(lambda value: True),
    "value null": _one(lambda value: None),
    "value None": _one(lambda value: "None"),
    "value a list": _one(lambda value: [value]),
    "value upper case": _one(lambda value: str(value).upper()),
    "all values None": _input(lambda given, rng: dict.fromkeys(given, "None")),
    "trailing comma": _sub(r"\}$", ",}"),
    "a comment in JSON": _sub(r"\}$", " /* x */ }"),
    "NaN": _sub(r"\"\}$", '", "n": NaN}'),
    "key twice": lambda text, other, rng: re.sub(r"\{(\"\w+\": )", r"{\1 1, \1", text, count=1),
    "as JSON": _react_as_json,
    "an observation behind": lambda text, other, rng: f"{text}\nObservation: it rains",
    "a final answer behind": lambda text, other, rng: (
        f'{text}\nThought: done\nAction: finish\nAction Input: {{"answer": "x"}}'
    ),
}


def kinds_of(changed: Sequence[Mapping[str, tuple[str, ...]]]) -> set[str]:
    """Return all kinds of change that came."""
    return {kind for kinds in changed for chosen in kinds.values() for kind in chosen}
