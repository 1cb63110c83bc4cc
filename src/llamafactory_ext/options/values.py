"""Values of our options: text becomes the declared type, and whatever is wrong becomes a sentence."""

import contextlib
import math
from collections.abc import Mapping
from dataclasses import dataclass, fields
from difflib import get_close_matches
from pathlib import Path
from typing import Any, Final, Literal, get_args, get_origin, get_type_hints


@dataclass(frozen=True)
class Number:
    """A range of numbers; `whole` asks for an integer, the `open_` flags exclude a bound."""

    low: float
    high: float = math.inf
    whole: bool = False
    open_low: bool = False
    open_high: bool = False

    def __str__(self) -> str:
        kind = "a whole number" if self.whole else "a number"
        if (self.low, self.high) == (-math.inf, math.inf):
            return kind
        low = f"{'above' if self.open_low else 'from'} {_figure(self.low)}"
        high = "" if self.high == math.inf else f" {'to below' if self.open_high else 'to'} {_figure(self.high)}"
        return f"{kind} {low}{high or '' if self.open_low or high else ' up'}"

    def read(self, raw: Any) -> int | float:
        """Return the number for which `raw` stands; ValueError if it is none or lies outside."""
        if isinstance(raw, bool) or not isinstance(raw, (int, float, str)):
            raise ValueError
        value = float(raw)
        too_low = value < self.low or (self.open_low and value == self.low)
        too_high = value > self.high or (self.open_high and value == self.high)
        if not math.isfinite(value) or too_low or too_high or (self.whole and value != int(value)):
            raise ValueError
        return int(value) if self.whole else value


def _figure(value: float) -> str:
    return str(value) if isinstance(value, int) else f"{value:g}"


@dataclass(frozen=True)
class Choice:
    """One word out of a few."""

    words: tuple[str, ...]

    def __str__(self) -> str:
        return f"one of {', '.join(self.words)}"

    def read(self, raw: Any) -> str:
        """Return the word; ValueError for any other. YAML's bare `no` arrives as false."""
        if raw is False and "no" in self.words:
            return "no"
        if raw not in self.words:
            raise ValueError
        return str(raw)


_ON: Final = ("true", "yes", "t", "y", "1")
_OFF: Final = ("false", "no", "f", "n", "0")


class Switch:
    """True or false, in the words of HfArgumentParser."""

    def __str__(self) -> str:
        return "true or false"

    def read(self, raw: Any) -> bool:
        """Return the switch's position; ValueError for anything else."""
        word = str(raw).lower() if isinstance(raw, (bool, int, str)) else ""
        if word not in (*_ON, *_OFF):
            raise ValueError
        return word in _ON


class File:
    """A path or nothing."""

    def __str__(self) -> str:
        return "a file path or empty"

    def read(self, raw: Any) -> str | None:
        """Return the path as text; empty text and null mean none."""
        if raw is None or raw == "":
            return None
        if not isinstance(raw, (str, Path)):
            raise ValueError
        return str(raw)


class Text:
    """A text or nothing."""

    def __str__(self) -> str:
        return "a text or nothing"

    def read(self, raw: Any) -> str | None:
        """Return the text; empty text and null mean none."""
        if raw is not None and not isinstance(raw, str):
            raise ValueError
        return raw or None


class Texts:
    """Texts as a list, or as one text with commas."""

    def __str__(self) -> str:
        return "a text, or a list of texts"

    def read(self, raw: Any) -> str | list[str] | None:
        """Return the text or the texts; a name such as 2026, which YAML took for a number, is text."""
        if raw is None or raw == "":
            return None
        parts = raw if isinstance(raw, (list, tuple)) else [raw]
        if not all(isinstance(part, (str, int, float)) and not isinstance(part, bool) for part in parts):
            raise ValueError
        texts = [str(part) for part in parts]
        return texts if parts is raw else texts[0]


@dataclass(frozen=True)
class Phases:
    """Phases in their fixed order, as a list or as text with commas.

    Attributes:
        names: all of them.
    """

    names: tuple[str, ...]

    def __str__(self) -> str:
        return f"one or more of {','.join(self.names)} in this order, each once"

    def read(self, raw: Any) -> list[str]:
        """Return the phases as a list; ValueError for unknown, repeated or out-of-order ones."""
        parts = [raw] if isinstance(raw, str) else raw
        if not isinstance(parts, (list, tuple)) or not all(isinstance(part, str) for part in parts):
            raise ValueError
        names = [name.strip().lower() for part in parts for name in part.split(",")]
        if not names or names != [phase for phase in self.names if phase in names]:
            raise ValueError
        return names


Rule = Number | Choice | Switch | File | Text | Texts | Phases


def rules_of(arguments: type, **own: Rule) -> dict[str, Rule]:
    """Return what each option of a class takes, in the order of its fields.

    Words are those of a field's `Literal`, a bool is a switch, and a text may be empty; all others have rules of their
    own.

    Args:
        arguments: a dataclass.
        own: rules by the option's name.
    """
    types = get_type_hints(arguments)
    found = {}
    for option in fields(arguments):
        rule = own.get(option.name) or _rule_of(types[option.name])
        assert rule is not None, f"{option.name} needs a rule"
        found[option.name] = rule
    assert own.keys() <= found.keys(), own.keys() - found.keys()
    return found


def _rule_of(kind: Any) -> Rule | None:
    if get_origin(kind) is Literal:
        return Choice(get_args(kind))
    if kind is bool:
        return Switch()
    return Text() if get_args(kind) == (str, type(None)) else None


def check_values(given: Mapping[str, Any], rules: Mapping[str, Rule]) -> tuple[dict[str, Any], list[str]]:
    """Read raw option values.

    Args:
        given: values of any type by option name, as YAML, the command line or a caller left them.
        rules: what each option takes.

    Returns:
        The valid ones in their declared type, and one sentence per problem, each with the next step.
    """
    values: dict[str, Any] = {}
    problems: list[str] = []
    for name, raw in given.items():
        rule = rules.get(name)
        if rule is None:
            problems.append(unknown_option(name, rules))
            continue
        try:
            values[name] = rule.read(raw)
        except (ValueError, OverflowError):
            problems.append(f"{name}={shown(raw)}: give {rule}")
    return values, problems


def shown(raw: Any) -> str:
    """Return a value as it stands in a message: texts in quotes, numbers bare, also those that came as text."""
    if isinstance(raw, str):
        with contextlib.suppress(ValueError):
            float(raw)
            return raw.strip()
    return repr(raw)


def numbers_in(word: str) -> Any:
    """Return the number in a word, or several with commas between them as a tuple; else the word itself."""
    found = tuple(_number(part) for part in word.strip("()[]").split(","))
    if None in found:
        return word
    return found if len(found) > 1 else found[0]


# Whatever counts, numbers or seeds something here stays below, seeds of 63 bits too; NaN and the infinite do not.
_ENORMOUS: Final = 2**63


def _number(word: str) -> int | float | None:
    for kind in (int, float):
        with contextlib.suppress(ValueError, OverflowError):
            found: int | float = kind(word)
            return found if abs(found) < _ENORMOUS else None
    return None


def unknown_option(name: str, rules: Mapping[str, Rule]) -> str:
    """Return what to say about a name that looks like one of ours and is none."""
    similar = get_close_matches(name, rules, n=1, cutoff=0.6)
    family = [other for other in rules if other.partition("_")[0] == name.partition("_")[0]]
    advice = f"did you mean {similar[0]}?" if similar else f"the options are {', '.join(family)}"
    return f"{name} is not an option; {advice}"
