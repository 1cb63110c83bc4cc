"""What a verb takes, read from its source without importing it: its help, and the values of its arguments."""

from __future__ import annotations

import ast
import difflib
import re
import textwrap
from collections.abc import Sequence
from dataclasses import dataclass
from importlib.util import find_spec
from pathlib import Path
from typing import Any

from ..errors import OptionError
from ..options.values import numbers_in
from .words import switch

_HELP = ("--help", "-h")
_WIDTH = 100
_UNREADABLE = re.compile("[\0-\x08\x0b\x0c\x0e-\x1f\x7f-\x9f\ud800-\udfff]")
_TEXTS = ("str", "str | None")


@dataclass(frozen=True)
class Argument:
    """One argument of a command.

    Attributes:
        name: as Python has it.
        text: its meaning, from the docstring.
        default: its default as source text; None where a value must be given.
        kind: its annotation as source text.
        by_name: it can only be given as an option.
    """

    name: str
    text: str
    default: str | None
    kind: str = ""
    by_name: bool = False

    @property
    def is_switch(self) -> bool:
        """Tell whether the option stands without a value."""
        return self.default in ("True", "False")

    def value(self, word: str) -> Any:
        """Return what a word means: a text as typed, a switch, else a number or several.

        Raises:
            OptionError: the option is a switch, and the word neither turns it on nor off.
        """
        if self.is_switch:
            return switch(self.name, word)
        return word if self.kind in _TEXTS else numbers_in(word)

    def line(self) -> str:
        """Return the argument's lines of the help."""
        shown = "" if self.default in (None, "''", "None", "False") or "efault" in self.text else self.default
        text = self.text + (f" Default: {str(shown).strip(chr(39))}." if shown else "")
        first = f"  --{self.name:<14} "
        return textwrap.fill(
            text, _WIDTH, initial_indent=first, subsequent_indent=" " * len(first), break_on_hyphens=False
        )


@dataclass(frozen=True)
class Command:
    """One command of `llamafactory-ext`.

    Attributes:
        words: what is typed before its arguments.
        method: its name in a class; empty for a function.
        about: its docstring above the arguments.
        arguments: in their order.
        rest: name and meaning of any further words; None where there are none.
        is_open: it takes options of its own and helps by itself.
    """

    words: str
    method: str
    about: str
    arguments: tuple[Argument, ...]
    rest: Argument | None
    is_open: bool

    def help(self) -> str:
        """Return the whole help text."""
        needed = [argument.name.upper() for argument in self.arguments if argument.default is None]
        first = self.arguments[0] if self.arguments and not needed and not self.rest else None
        needed += [f"[{first.name.upper()}]"] if first and not first.is_switch else []
        needed += [f"[{self.rest.name.upper()} ...]"] if self.rest else []
        needed += ["[OPTIONS]"] if self.arguments else []
        lines = [f"Usage: {' '.join([self.words, *needed])}", "", self.about]
        if self.rest:
            lines += ["", f"{self.rest.name.upper()}: {self.rest.text}"]
        if self.arguments:
            lines += ["", "Options:", *(argument.line() for argument in self.arguments)]
        return "\n".join(lines)

    def read(self, line: Sequence[str]) -> tuple[list[Any], dict[str, Any]]:
        """Return the values of the arguments: those without a name, and those with one.

        Raises:
            OptionError: names, before any work, each word that is unknown or odd, and each value that is missing.
        """
        known = {argument.name: argument for argument in self.arguments}
        flags, loose = _split(line)
        named: dict[str, Any] = {}
        words: dict[str, str] = {}
        problems = [
            f"{word!r} holds a control character, or bytes that are no text in UTF-8; write it without"
            for word in line
            if _UNREADABLE.search(word)
        ]
        for flag, word in flags:
            asked = flag.lstrip("-").replace("-", "_")
            option = _find(asked, known)
            if option is None and self.is_open:
                named[asked] = True if word is None else word
            elif option is None:
                problems.append(_unknown(flag, asked, known))
            elif option.is_switch and word is None:
                words[option.name] = "false" if asked == f"no{option.name}" else "true"
            elif word is None or asked == f"no{option.name}":
                needs = "needs a value after it" if word is None else f"takes no value; give --{option.name} {word}"
                problems.append(f"{flag} {needs}: {option.text}")
                named[option.name] = None
            else:
                words[option.name] = word
        given = {*named, *words}
        places = [argument for argument in self.arguments if argument.name not in given and not argument.by_name]
        rest = loose[len(places) :]
        if rest and self.rest is None:
            problems.append(f"{len(rest)} words too many")
        words |= {argument.name: word for argument, word in zip(places, loose, strict=False)}
        for name, argument in known.items():
            if name not in {*named, *words} and argument.default is None:
                problems.append(f"{name.upper()} is missing: {argument.text}")
            try:
                named |= {name: argument.value(words[name])} if name in words else {}
            except OptionError as error:
                problems.append(error.message)
        if problems:
            raise OptionError.listing(f"{self.words}:", [*problems, f"see `{self.words} --help`"])
        before = [argument.name for argument in self.arguments if rest and not argument.by_name]
        return [*(named.pop(name) for name in before), *rest], named


def _split(words: Sequence[str]) -> tuple[list[tuple[str, str | None]], list[str]]:
    """Return the flags, each with its value or None, and the words without a flag; `-1` is no flag."""
    flags: list[tuple[str, str | None]] = []
    loose = []
    waits = False  # for the value of a flag
    for word in words:
        if re.match("--?[A-Za-z]", word):
            flag, equals, value = word.partition("=")
            flags.append((flag, value if equals else None))
            waits = not equals
        elif waits:
            flags[-1] = (flags[-1][0], word)
            waits = False
        else:
            loose.append(word)
    return flags, loose


def _unknown(flag: str, asked: str, known: dict[str, Argument]) -> str:
    close = difflib.get_close_matches(asked, known, n=1)
    hint = f"did you mean --{close[0]}?" if close else f"the options are {', '.join(f'--{n}' for n in known)}"
    return f"{flag} is unknown; {hint if known else 'there are no options'}"


def asks_for_help(words: Sequence[str]) -> bool:
    """Tell whether help was asked for among a command's arguments."""
    return any(word in _HELP for word in words)


def commands(module: str, name: str, words: str) -> dict[str, Command]:
    """Read the commands of a verb; one alone has the empty name.

    Args:
        module: where it is defined.
        name: a function, or a class whose methods are the commands.
        words: what is typed before the command's name.
    """
    spec = find_spec(module)
    if spec is None or spec.origin is None:
        raise ModuleNotFoundError(name=module)
    tree = ast.parse(Path(spec.origin).read_text("utf-8"))
    found = next(node for node in tree.body if getattr(node, "name", None) == name)
    if isinstance(found, ast.FunctionDef):
        return {"": _command(found, words)}
    methods = [node for node in found.body if isinstance(node, ast.FunctionDef) and not node.name.startswith("_")]  # type: ignore[attr-defined]
    return {
        method.name: _command(method, f"{words} {method.name.replace('_', '-')}", method.name) for method in methods
    }


def _find(asked: str, known: dict[str, Argument]) -> Argument | None:
    """Return the option meant by a flag: by its name, as `--noNAME` for a switch, or by one letter."""
    if asked in known:
        return known[asked]
    if asked.startswith("no") and (switch := known.get(asked[2:])) and switch.is_switch:
        return switch
    begun = [argument for name, argument in known.items() if len(asked) == 1 and name.startswith(asked)]
    return begun[0] if len(begun) == 1 else None


def _command(function: ast.FunctionDef, words: str, method: str = "") -> Command:
    about, texts = _docstring(ast.get_docstring(function) or "")
    given = function.args
    plain = [argument for argument in given.args if argument.arg != "self"]
    defaults: list[ast.expr | None] = [None] * (len(plain) - len(given.defaults)) + list(given.defaults)
    pairs = [*zip(plain, defaults, strict=True), *zip(given.kwonlyargs, given.kw_defaults, strict=True)]
    arguments = [
        Argument(
            found.arg,
            texts.get(found.arg, ""),
            ast.unparse(default) if default else None,
            ast.unparse(found.annotation) if found.annotation else "str",
            found in given.kwonlyargs,
        )
        for found, default in pairs
    ]
    rest = Argument(given.vararg.arg, texts.get(given.vararg.arg, ""), "()") if given.vararg else None
    return Command(words, method, about, tuple(arguments), rest, given.kwarg is not None)


def _docstring(text: str) -> tuple[str, dict[str, str]]:
    """Split a docstring into what stands above its arguments and the arguments' meanings."""
    about, _, listed = text.partition("\nArgs:\n")
    listed = re.split(r"\n\n?(?:Raises|Returns):", listed)[0]
    texts = {}
    for entry in re.split(r"\n(?=    \w)", f"\n{listed}"):
        name, colon, meaning = entry.strip().partition(":")
        if colon:
            texts[name] = " ".join(meaning.split())
    return about.strip(), texts
