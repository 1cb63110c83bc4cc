"""What stands behind an option: python-fire hands over whatever Python reads in a word."""

from __future__ import annotations

import math
from collections.abc import Mapping
from typing import Any

from ..errors import OptionError

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


def refuse_numbers(
    command: str, *, whole: Mapping[str, tuple[Any, int]], real: Mapping[str, tuple[Any, float]]
) -> None:
    """Refuse values that are no numbers, or too small, all at once.

    Args:
        command: as the user calls it.
        whole: options that take whole numbers: the value, and the least.
        real: options that take any finite number: the value, and the least.

    Raises:
        OptionError: names every such option.
    """
    wrong = [
        f"--{name} {value}: give a whole number from {least}"
        for name, (value, least) in whole.items()
        if type(value) is not int or value < least
    ]
    wrong += [
        f"--{name} {value}: give a number from {least:g}"
        for name, (value, least) in real.items()
        if type(value) not in (int, float) or not math.isfinite(value) or value < least
    ]
    if wrong:
        raise OptionError.listing(f"{command}:", wrong)
