"""What TL-Training's first stage makes of its options for a preview of examples."""

from __future__ import annotations

from collections.abc import Mapping
from typing import Any

from ...errors import OptionError
from ...options.values import check_values
from .examples import Settings
from .options import RULES


def settings_from(options: Mapping[str, Any]) -> Settings:
    """Return the settings that raw options of the stage lead to.

    Raises:
        OptionError: options that do not work, all at once.
    """
    values, problems = check_values(options, RULES)
    if problems:
        raise OptionError.listing("These options do not work:", problems)
    return Settings(**{name.removeprefix("tl_"): value for name, value in values.items() if name != "tl_skip_bad"})
