"""A command as it was typed: a mapping from a file, or words, and what of ours it asks for."""

from __future__ import annotations

import re
from collections.abc import Mapping, Sequence
from typing import Any

from ...methods import Method, chosen

_BARE = re.compile(r"[A-Za-z_]\w*=")
RawArgs = dict[str, Any] | list[str] | None


def given_options(args: RawArgs) -> dict[str, Any]:
    """Return the raw options of a command by name.

    Args:
        args: what upstream's `read_args` returns: a dict from YAML, or command-line words such as `--stage sft`.
    """
    if isinstance(args, dict):
        return dict(args)
    return {name: words[0] if len(words) == 1 else words for name, words in _parted(args or [])[0]}


def requested(args: RawArgs) -> tuple[Method, ...]:
    """Return the methods of ours that a command asks for: its fine-tuning type, then its stage.

    Words that upstream reads behind a file alone count too, so that such a command is refused in our words.
    """
    given = dict(word.split("=", 1) for word in bare_words(args)) | given_options(args)
    return chosen(given.get("finetuning_type"), given.get("stage"))


def requested_type(args: RawArgs) -> Method | None:
    """Return the fine-tuning type of ours that a command asks for, if it is one."""
    return next((row for row in requested(args) if row.option == "finetuning_type"), None)


def bare_words(args: RawArgs) -> list[str]:
    """Return the words of a command without a file that stand as `name=value`, without dashes, and behind no flag."""
    return _parted(args)[1] if isinstance(args, list) else []


def bare_problem(args: RawArgs) -> str | None:
    """Say that upstream does not read such words where no file is named; None where there are none."""
    words = bare_words(args)
    if not words:
        return None
    name, _, value = words[0].partition("=")
    more = f" and {len(words) - 1} more" if len(words) > 1 else ""
    return (
        f"{words[0]}{more}: such words are read behind the name of a file alone; name a YAML first, or write "
        f"--{name} {value}"
    )


def _parted(words: Sequence[str]) -> tuple[list[tuple[str, list[str]]], list[str]]:
    """Return command-line words grouped by flag, with flag names as Python names, and the bare ones among them."""
    flags: list[tuple[str, list[str]]] = []
    bare: list[str] = []
    waits = False  # whether a flag has no word of its own yet
    for word in words:
        if word.startswith("--"):
            name, equals, value = word[2:].partition("=")
            flags.append((name.replace("-", "_"), [value] if equals else []))
            waits = not equals
        elif not waits and _BARE.match(word):
            bare.append(word)
        else:
            waits = False
            if flags:
                flags[-1][1].append(word)
    return flags, bare


def rewritten(args: RawArgs, values: Mapping[str, Any]) -> RawArgs:
    """Return the command with values as their options take them.

    Of command-line words, which are all text, numbers alone.
    """
    if isinstance(args, dict):
        return {name: values.get(name, value) for name, value in args.items()}
    given = given_options(args)
    changed = {
        name: str(value)
        for name, value in values.items()
        if isinstance(value, (int, float)) and not isinstance(value, bool) and given.get(name) != str(value)
    }
    return [*(without(args, set(changed)) or []), *(f"--{name}={value}" for name, value in changed.items())]


def without(args: RawArgs, names: set[str]) -> RawArgs:
    """Return the command without options of these names."""
    if not names or args is None:
        return args
    if isinstance(args, dict):
        return {name: value for name, value in args.items() if name not in names}
    kept: list[str] = []
    skipping = False
    for word in args:
        if word.startswith("--"):
            skipping = word[2:].partition("=")[0].replace("-", "_") in names
        if not skipping:
            kept.append(word)
    return kept
