"""What stands behind an option of a command."""

from __future__ import annotations

import math
import sys
from collections.abc import Mapping, Sequence
from pathlib import Path
from typing import Any

from ..errors import OptionError, printable

_SWITCH = {"true": True, "yes": True, "1": True, "false": False, "no": False, "0": False}


def switch(name: str, value: object) -> bool:
    """Read an option that is on or off; any word but these six is refused, since a wrong one may cost money.

    Raises:
        OptionError: the word is none of true, yes, 1, false, no and 0.
    """
    known = _SWITCH.get(str(value).lower())
    if known is None:
        raise OptionError(f"--{name} {value}: give true (yes, 1) or false (no, 0), or the option without a word.")
    return known


def file_of(option: str, value: object) -> Path:
    """Read an option that names a file, whether it is there or not.

    Raises:
        OptionError: the option stands without a word, or names a folder by its form.
    """
    path = folder_of(option, value)
    if path.name in ("", "..") or str(value).endswith("/"):
        raise OptionError(f"--{option} {value}: this can only be a folder; name a file.")
    return path


def folder_of(option: str, value: object) -> Path:
    """Read an option that names a folder, whether it is there or not.

    Raises:
        OptionError: the option stands without a word, or holds what no name does.
    """
    text = str(value)
    if value is None or isinstance(value, bool) or not text.strip():
        raise OptionError(f"--{option}: give a path behind it.")
    if "\0" in text or any("\ud800" <= letter <= "\udfff" for letter in text):
        raise OptionError(f"--{option} {text}: the name holds what is no text in UTF-8; name another.")
    path = Path(text)
    if path.parent == path and path.is_absolute():
        raise OptionError(f"--{option} {text}: this is the root of the disk; name something below it.")
    return path


def names_in(value: object) -> tuple[str, ...]:
    """Return the names in a value: a list, or a text with commas between them."""
    words = value if isinstance(value, list | tuple) else str(value).split(",")
    return tuple(str(word).strip() for word in words if str(word).strip())


def tell(*words: object, is_note: bool = False) -> None:
    """Print a result, or a note on how it goes; nothing that it quotes steers a terminal.

    Args:
        words: what is told, a line each.
        is_note: it belongs to the standard error.
    """
    print(printable("\n".join(map(str, words))), file=sys.stderr if is_note else None, flush=True)


def refuse_numbers(
    command: str,
    *,
    whole: Mapping[str, tuple[Any, ...]],
    real: Mapping[str, tuple[Any, ...]],
) -> None:
    """Refuse values that are no numbers, too small or too great, all at once.

    Args:
        command: as the user calls it.
        whole: options that take whole numbers: the value, the least and, if there is one, the greatest.
        real: options that take any finite number: likewise.

    Raises:
        OptionError: names every such option.
    """
    wrong = [
        f"--{name} {value}: give a whole number from {least}{_up_to(most)}"
        for name, (value, least, *most) in whole.items()
        if type(value) is not int or not least <= value <= (most[0] if most else value)
    ]
    wrong += [
        f"--{name} {value}: give a number from {least:g}{_up_to(most)}"
        for name, (value, least, *most) in real.items()
        if not _is_finite(value) or not least <= value <= (most[0] if most else value)
    ]
    if wrong:
        raise OptionError.listing(f"{command}:", wrong)


def _is_finite(value: object) -> bool:
    try:
        return type(value) in (int, float) and math.isfinite(value)  # type: ignore[arg-type]
    except OverflowError:  # a whole number of hundreds of digits
        return False


def _up_to(most: Sequence[float]) -> str:
    return f" to {most[0] if isinstance(most[0], int) else format(most[0], '.15g')}" if most else ""
