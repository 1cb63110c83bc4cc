"""What a verb takes, read from its source without importing it: its help, and words that it does not know."""

from __future__ import annotations

import ast
import difflib
import re
import textwrap
from collections.abc import Sequence
from dataclasses import dataclass
from importlib.util import find_spec
from pathlib import Path

from ..errors import OptionError

_HELP = ("--help", "-h")
_WIDTH = 100


@dataclass(frozen=True)
class Argument:
    """One argument of a command.

    Attributes:
        name: as Python has it.
        text: its meaning, from the docstring.
        default: its default as source text; None where a value must be given.
    """

    name: str
    text: str
    default: str | None

    @property
    def is_switch(self) -> bool:
        """Tell whether the option stands without a value."""
        return self.default in ("True", "False")

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
        about: its docstring above the arguments.
        arguments: in their order.
        rest: name and meaning of any further words; None where there are none.
        is_open: it takes options of its own and helps by itself.
    """

    words: str
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

    def check(self, given: Sequence[str]) -> None:
        """Refuse words that the command does not know, all at once and before any work.

        Raises:
            OptionError: with the nearest option where there is one.
        """
        known = {argument.name: argument for argument in self.arguments}
        problems, named, loose = [], set(), 0
        waits = False  # for the value of an option
        for word in given:
            name = re.match(r"--?([A-Za-z][\w-]*)", word)
            if name is None:
                loose += not waits
                waits = False
                continue
            asked = name[1].replace("-", "_")
            option = _find(asked, known)
            waits = option is not None and not option.is_switch and "=" not in word
            if option is not None:
                named.add(option.name)
                continue
            close = difflib.get_close_matches(asked, known, n=1)
            hint = f"did you mean --{close[0]}?" if close else f"the options are {', '.join(f'--{n}' for n in known)}"
            problems.append(f"{word.partition('=')[0]} is unknown; {hint if known else 'there are no options'}")
            waits = "=" not in word
        places = [argument for argument in self.arguments if argument.name not in named]
        if loose > len(places) and self.rest is None:
            problems.append(f"{loose - len(places)} words too many")
        missing = [argument.name for argument in places[loose:] if argument.default is None]
        problems += [f"{name.upper()} is missing: {known[name].text}" for name in missing]
        if problems:
            raise OptionError.listing(f"{self.words}:", [*problems, f"see `{self.words} --help`"])


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
    return {method.name: _command(method, f"{words} {method.name.replace('_', '-')}") for method in methods}


def _find(asked: str, known: dict[str, Argument]) -> Argument | None:
    """Return the option meant by a flag: by its name, python-fire's `--noNAME`, or one letter."""
    if asked in known:
        return known[asked]
    if asked.startswith("no") and (switch := known.get(asked[2:])) and switch.is_switch:
        return switch
    begun = [argument for name, argument in known.items() if len(asked) == 1 and name.startswith(asked)]
    return begun[0] if len(begun) == 1 else None


def _command(function: ast.FunctionDef, words: str) -> Command:
    about, texts = _docstring(ast.get_docstring(function) or "")
    given = function.args
    positional = [argument.arg for argument in given.args if argument.arg != "self"]
    defaults: list[ast.expr | None] = [None] * (len(positional) - len(given.defaults)) + list(given.defaults)
    pairs = [
        *zip(positional, defaults, strict=True),
        *zip((argument.arg for argument in given.kwonlyargs), given.kw_defaults, strict=True),
    ]
    arguments = [
        Argument(name, texts.get(name, ""), ast.unparse(default) if default else None) for name, default in pairs
    ]
    rest = Argument(given.vararg.arg, texts.get(given.vararg.arg, ""), "()") if given.vararg else None
    return Command(words, about, tuple(arguments), rest, given.kwarg is not None)


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
