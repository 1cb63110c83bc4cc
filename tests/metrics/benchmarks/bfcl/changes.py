"""Predictions made of gold calls by changes of many kinds, several at a time, the same for one seed."""

import json
import random
from collections.abc import Callable
from contextlib import suppress
from dataclasses import dataclass, field
from typing import Any

Call = tuple[str, dict[str, Any]]


@dataclass(frozen=True)
class Raw:
    """Python text that stands for a value."""

    text: str

    def __repr__(self) -> str:
        return self.text


@dataclass
class Draft:
    """A prediction in the making: its calls, and how the whole is written."""

    calls: list[Call]
    other: list[Call]
    rng: random.Random
    extra: list[str] = field(default_factory=list)

    def text(self) -> str:
        return f"[{self.listed()}]"

    def listed(self) -> str:
        return ", ".join(self.one(*call) for call in self.calls)

    def one(self, name: str, arguments: dict[str, Any]) -> str:
        given = [f"{key}={value!r}" for key, value in arguments.items()]
        return f"{name}({', '.join([*self.extra, *given])})"

    def pick(self, *kinds: type) -> tuple[dict[str, Any], str] | None:
        """A random argument of a random call; with kinds, one of exactly these types."""
        places = [
            (arguments, key)
            for _, arguments in self.calls
            for key, value in arguments.items()
            if not kinds or type(value) in kinds
        ]
        return self.rng.choice(places) if places else None


Change = Callable[[Draft], None]


def on(*kinds: type) -> Callable[[Callable[[Any, Draft], Any]], Change]:
    """Make of a function of a value a change of one argument; where there is none such, nothing changes."""

    def change_of(function: Callable[[Any, Draft], Any]) -> Change:
        def change(draft: Draft) -> None:
            place = draft.pick(*kinds)
            if place is not None:
                arguments, key = place
                arguments[key] = function(arguments[key], draft)

        return change

    return change_of


def _renamed(draft: Draft) -> None:
    place = draft.pick()
    if place:
        arguments, key = place
        arguments[f"{key}_x"] = arguments.pop(key)


def _dropped(draft: Draft) -> None:
    place = draft.pick()
    if place:
        place[0].pop(place[1])


def _swapped(draft: Draft) -> None:
    one, other = draft.pick(), draft.pick()
    if one and other:
        one[0][one[1]], other[0][other[1]] = other[0][other[1]], one[0][one[1]]


def _more(value: Any) -> Change:
    def change(draft: Draft) -> None:
        if draft.calls:
            draft.rng.choice(draft.calls)[1]["extra"] = value

    return change


def _calls(function: Callable[[Draft], list[Call]]) -> Change:
    def change(draft: Draft) -> None:
        draft.calls = function(draft)

    return change


def _name(function: Callable[[str], str]) -> Change:
    def change(draft: Draft) -> None:
        if draft.calls:
            place = draft.rng.randrange(len(draft.calls))
            name, arguments = draft.calls[place]
            draft.calls[place] = (function(name), arguments)

    return change


def _extra(text: str) -> Change:
    def change(draft: Draft) -> None:
        draft.extra = [text]

    return change


def _positional(draft: Draft) -> None:
    if draft.calls and draft.calls[0][1]:
        arguments = draft.calls[0][1]
        draft.extra = [repr(arguments.pop(next(iter(arguments))))]


def _inner(function: Callable[[Any], Any]) -> Change:
    @on(list)
    def change(value: list[Any], draft: Draft) -> Any:
        place = draft.rng.randrange(len(value)) if value else 0
        return [function(item) if number == place else item for number, item in enumerate(value)]

    return change


def _as(kind: type) -> Callable[[Any], Any]:
    """Converts numbers; other values stay."""
    return lambda item: kind(item) if isinstance(item, int | float) else item


VALUES: dict[str, Change] = {
    "as it is": lambda draft: None,
    "argument dropped": _dropped,
    "argument renamed": _renamed,
    "arguments swapped": _swapped,
    "argument added": _more(1),
    "empty argument added": _more(""),
    "integer as float": on(int)(lambda value, _: float(value)),
    "float as integer": on(float)(lambda value, _: int(value)),
    "number as text": on(int, float)(lambda value, _: str(value)),
    "number off by one": on(int, float)(lambda value, _: value + 1),
    "negative": on(int, float)(lambda value, _: Raw(f"-{abs(value)!r}")),
    "plus sign": on(int, float)(lambda value, _: Raw(f"+{value!r}")),
    "plus sign before a negative": on(int, float)(lambda value, _: Raw(f"+{-value!r}")),
    "two signs": on(int, float)(lambda value, _: Raw(f"--{abs(value)!r}")),
    "not": on(int, bool)(lambda value, _: Raw(f"not {value!r}")),
    "tilde": on(int)(lambda value, _: Raw(f"~{abs(value)!r}")),
    "sum": on(int, float)(lambda value, _: Raw(f"{value - 1!r}+1")),
    "product": on(int, float)(lambda value, _: Raw(f"{value!r}*1")),
    "quotient": on(int, float)(lambda value, _: Raw(f"{value * 2!r}/2")),
    "power": on(int, float)(lambda value, _: Raw(f"{value!r}**1")),
    "division by zero": on(int, float)(lambda value, _: Raw(f"{value!r}/0")),
    "sum with a name": on(int, float)(lambda value, _: Raw(f"{value!r}+n")),
    "sum with a function": on(int, float)(lambda value, _: Raw(f"round({value!r}, 2)+0")),
    "texts added": on(str)(lambda value, _: Raw(f"{value[:2]!r} + {value[2:]!r}")),
    "text times": on(str)(lambda value, _: Raw(f"{value!r}*2")),
    "list times": on(list)(lambda value, _: Raw(f"{value!r}*1")),
    "formatted": on(str)(lambda value, _: Raw(f"{value!r} % ()")),
    "truth value as number": on(bool)(lambda value, _: int(value)),
    "number as truth value": on(int)(lambda value, _: bool(value)),
    "truth value as name": on(bool)(lambda value, _: Raw(str(value).lower())),
    "null": on()(lambda value, _: None),
    "ellipsis": on()(lambda value, _: Raw("...")),
    "text of dots": on()(lambda value, _: "..."),
    "upper case": on(str)(lambda value, _: value.upper()),
    "marks in a text": on(str)(lambda value, _: f"{value[:1]}-{value[1:]}, ."),
    "quotes in a text": on(str)(lambda value, _: f"{value}'\""),
    "another letter": on(str)(lambda value, _: f"{value}x"),
    "empty text": on()(lambda value, _: ""),
    "blank text": on()(lambda value, _: " "),
    "text without quotes": on(str)(lambda value, _: Raw(value)),
    "text as name": on(str)(lambda value, _: Raw("".join(c for c in value if c.isalnum()) or "a")),
    "raw text": on(str)(lambda value, _: Raw(f"r'{value}'")),
    "bytes": on(str)(lambda value, _: value.encode()),
    "f-string": on(str)(lambda value, _: Raw(f"f{value!r}")),
    "two literals": on(str)(lambda value, _: Raw(f"{value[:1]!r} {value[1:]!r}")),
    "bad escape": on(str)(lambda value, _: Raw(f"'{value}\\d'")),
    "attribute": on()(lambda value, _: Raw("colour.red")),
    "lambda": on()(lambda value, _: Raw("lambda: 1")),
    "subscript": on()(lambda value, _: Raw("a[1, 2]")),
    "text subscript": on(str)(lambda value, _: Raw(f"{value!r}[0]")),
    "condition": on()(lambda value, _: Raw(f"{value!r} if True else 1")),
    "comparison": on(int)(lambda value, _: Raw(f"{value!r} > 0")),
    "or": on()(lambda value, _: Raw(f"{value!r} or 1")),
    "assignment": on()(lambda value, _: Raw(f"(a := {value!r})")),
    "call without keywords": on()(lambda value, _: Raw(f"g({value!r})")),
    "call with keywords": on()(lambda value, _: Raw(f"g(a={value!r})")),
    "constructor": on(dict)(lambda value, _: Raw(f"dict({', '.join(f'{k}={v!r}' for k, v in value.items())})")),
    "set": on(list)(lambda value, _: Raw("{" + ", ".join(map(repr, value)) + "}")),
    "comprehension": on(list)(lambda value, _: Raw(f"[x for x in {value!r}]")),
    "starred": on(list)(lambda value, _: Raw(f"[*{value!r}]")),
    "tuple": on(list)(lambda value, _: tuple(value)),
    "reversed list": on(list)(lambda value, _: value[::-1]),
    "shorter list": on(list)(lambda value, _: value[:-1]),
    "item twice": on(list)(lambda value, _: value + value[-1:]),
    "empty list": on()(lambda value, _: []),
    "wrapped in a list": on()(lambda value, _: [value]),
    "item of a list": on(list)(lambda value, _: value[0] if value else value),
    "item as float": _inner(_as(float)),
    "item as integer": _inner(_as(int)),
    "item as truth value": _inner(_as(bool)),
    "item as text": _inner(str),
    "item null": _inner(lambda item: None),
    "item with a plus": _inner(lambda item: Raw(f"+{item!r}")),
    "item in a list": _inner(lambda item: [item]),
    "item as tuple": _inner(lambda item: (item,)),
    "item a name": _inner(lambda item: Raw("abc")),
    "item in upper case": _inner(lambda item: item.upper() if isinstance(item, str) else item),
    "list of objects": on()(lambda value, _: [{"a": value}]),
    "object": on()(lambda value, _: {"a": value}),
    "object of objects": on()(lambda value, _: {"a": {"b": value}}),
    "empty object": on()(lambda value, _: {}),
    "key dropped": on(dict)(lambda value, _: dict(list(value.items())[1:])),
    "key added": on(dict)(lambda value, _: {**value, "extra": 1}),
    "keys in another order": on(dict)(lambda value, _: dict(list(value.items())[::-1])),
    "integer keys": on(dict)(lambda value, _: dict(enumerate(value.values()))),
    "integer key": on()(lambda value, _: {1: value}),
    "key with a quote": on(dict)(lambda value, _: {f"{key}'": item for key, item in value.items()}),
    "keys as names": on(dict)(lambda value, _: {Raw(key): item for key, item in value.items()}),
    "unhashable key": on()(lambda value, _: Raw("{[1]: 2}")),
    "set of an object": on()(lambda value, _: Raw("{{1: 2}}")),
    "set in a list": on()(lambda value, _: Raw("{[1]}")),
    "object unpacked": on()(lambda value, _: Raw("{**a}")),
    "infinite": on(int, float)(lambda value, _: Raw("1e999")),
    "complex": on(int, float)(lambda value, _: Raw(f"{value!r}j")),
    "long integer": on(int)(lambda value, _: Raw("9" * 400)),
    "underscores in a number": on(int)(lambda value, _: Raw(f"{value:_}")),
    "octal": on(int)(lambda value, _: Raw(f"{value:#o}")),
    "leading zero": on(int)(lambda value, _: Raw(f"0{value}")),
    "name changed": _name(lambda name: f"{name}_x"),
    "dots as underscores": _name(lambda name: name.replace(".", "_")),
    "method of a new object": _name(lambda name: f"Api().{name}"),
    "in a module": _name(lambda name: f"api.{name}"),
    "item of a list called": _name(lambda name: f"a[0].{name}"),
    "lambda called": _name(lambda name: "(lambda **k: 1)"),
    "call of a call": _name(lambda name: f"{name}()"),
    "call dropped": _calls(lambda draft: draft.calls[:-1]),
    "call twice": _calls(lambda draft: draft.calls + draft.calls[:1]),
    "calls reversed": _calls(lambda draft: draft.calls[::-1]),
    "call for another": _calls(lambda draft: draft.calls[:-1] + draft.other[:1]),
    "first call everywhere": _calls(lambda draft: draft.calls[:1] * len(draft.calls)),
    "two equal calls but for a type": _calls(
        lambda draft: (
            [*draft.calls[:1], (draft.calls[0][0], {k: _twin(v) for k, v in draft.calls[0][1].items()})]
            if draft.calls
            else []
        )
    ),
    "no call": _calls(lambda draft: []),
    "another item's calls": _calls(lambda draft: draft.other),
    "argument by position": _positional,
    "unknown by position": _extra("1"),
    "starred arguments": _extra("*a"),
    "double-starred arguments": _extra("**a"),
    "double-starred object": _extra("**{'a': 1}"),
    "keyword twice": _extra("extra=1, extra=2"),
}


def _twin(value: Any) -> Any:
    return float(value) if type(value) is int else int(value) if type(value) is bool else value


def _json(draft: Draft) -> str:
    calls = [{"name": name, "arguments": {k: str(v) for k, v in given.items()}} for name, given in draft.calls]
    return json.dumps(calls)


TEXTS: dict[str, Callable[[str, Draft], str]] = {
    "no brackets": lambda text, draft: text[1:-1],
    "two brackets": lambda text, draft: f"[{text}]",
    "bracket missing": lambda text, draft: text[:-1],
    "first bracket missing": lambda text, draft: text[1:],
    "bracket too many": lambda text, draft: f"{text}]",
    "parenthesis missing": lambda text, draft: text[:-2] + text[-1:],
    "in parentheses": lambda text, draft: f"({text[1:-1]})",
    "list in parentheses": lambda text, draft: f"({text})",
    "in braces": lambda text, draft: "{" + text[1:-1] + "}",
    "quoted": lambda text, draft: f"'{text}'",
    "quoted inside": lambda text, draft: f"['{text[1:-1]}']",
    "double quotes": lambda text, draft: f'"{text}"',
    "one quote": lambda text, draft: f"{text}'",
    "backticks": lambda text, draft: f"`{text}`",
    "fence": lambda text, draft: f"```\n{text}\n```",
    "fence with a language": lambda text, draft: f"```python\n{text}\n```",
    "blanks around": lambda text, draft: f"  \n {text} \n\n",
    "tab around": lambda text, draft: f"\t{text}\t",
    "carriage return": lambda text, draft: f"{text}\r\n",
    "blanks inside": lambda text, draft: f"[ {text[1:-1]} ]",
    "lines": lambda text, draft: text.replace(", ", ",\n  "),
    "calls on lines": lambda text, draft: "\n".join(draft.one(*call) for call in draft.calls),
    "semicolons": lambda text, draft: "; ".join(draft.one(*call) for call in draft.calls),
    "comma at the end": lambda text, draft: f"{text[:-1]},]",
    "comma after all": lambda text, draft: f"{text},",
    "two commas": lambda text, draft: text.replace(", ", ",, "),
    "prose before": lambda text, draft: f"Here is the call: {text}",
    "prose after": lambda text, draft: f"{text} That is all.",
    "prose on a line": lambda text, draft: f"I will call it.\n{text}",
    "thought": lambda text, draft: f"<think>{text}</think>{text}",
    "assigned": lambda text, draft: f"result = {text[1:-1]}",
    "printed": lambda text, draft: f"print({text[1:-1]})",
    "returned": lambda text, draft: f"return {text[1:-1]}",
    "awaited": lambda text, draft: f"await {text[1:-1]}",
    "indexed": lambda text, draft: f"{text}[0]",
    "compared": lambda text, draft: f"{text[1:-1]} == 1",
    "added": lambda text, draft: f"{text} + {text}",
    "comment": lambda text, draft: f"{text}  # done",
    "comment inside": lambda text, draft: f"{text[:-1]}  # done\n]",
    "JSON": lambda text, draft: _json(draft),
    "JSON in tags": lambda text, draft: f"<tool_call>\n{_json(draft)}\n</tool_call>",
    "react": lambda text, draft: "Action: " + (draft.calls[0][0] if draft.calls else "f") + "\nAction Input: {}",
    "a name": lambda text, draft: "[nothing]",
    "a number": lambda text, draft: "[1]",
    "a text": lambda text, draft: '["nothing"]',
    "an object in a list": lambda text, draft: "[{}]",
    "nothing": lambda text, draft: "",
    "empty list": lambda text, draft: "[]",
    "call without arguments": lambda text, draft: "[f()]",
    "prose": lambda text, draft: "None of the functions can be used. Please (kindly) give more.",
    "cut": lambda text, draft: text[: draft.rng.randrange(len(text) + 1)],
    "null character": lambda text, draft: text + "\0",
    "half a character": lambda text, draft: text.replace("a", "é", 1),
    "full-width marks": lambda text, draft: text.replace("(", "（"),
    "escaped line end": lambda text, draft: text.replace(", ", ", \\\n"),
    "two texts": lambda text, draft: f"{text} {text}",
    "two texts on lines": lambda text, draft: f"{text}\n{text}",
}


@dataclass(frozen=True)
class Changed:
    """A prediction and the kinds of change that made it."""

    text: str
    kinds: tuple[str, ...]


def changed(calls: list[Call], other: list[Call], number: int, seed: int = 0) -> Changed:
    """One prediction: each kind leads in turn, and up to two random ones follow."""
    rng = random.Random(f"{seed}:{number}")
    leading = (list(VALUES) + list(TEXTS))[number % (len(VALUES) + len(TEXTS))]
    kinds = [leading, *rng.sample(list(VALUES), rng.choice((0, 0, 0, 1, 2)))]
    kinds += rng.sample(list(TEXTS), rng.choice((0, 0, 0, 1)))
    draft = Draft(json.loads(json.dumps(calls)), json.loads(json.dumps(other)), rng)
    draft.calls, draft.other = [(n, a) for n, a in draft.calls], [(n, a) for n, a in draft.other]
    for kind in kinds:
        if kind in VALUES:
            with suppress(TypeError, ValueError, OverflowError):  # the value is one that this change does not fit
                VALUES[kind](draft)
    text = draft.text()
    for kind in kinds:
        if kind in TEXTS:
            text = TEXTS[kind](text, draft)
    return Changed(text, tuple(dict.fromkeys(kinds)))
