"""The environment that `tl_environment` and `tl_environment_args` name."""

from __future__ import annotations

import json
from collections.abc import Callable, Mapping
from functools import partial
from typing import Any

from ...errors import OptionError
from ...options.user_functions import load_function

OPTION, ARGUMENTS = "tl_environment", "tl_environment_args"
_AS = '{"url": "http://127.0.0.1:8000"}'


def environment_of(args: Any) -> Callable[[], Any]:
    """Return what makes a new environment.

    Args:
        args: the options of `stage: tl_ppo`; `tl_environment` is set.

    Raises:
        OptionError: there is no such function, or its arguments are no JSON object.
    """
    return partial(load_function(OPTION, args.tl_environment), **arguments_of(args.tl_environment_args))


def arguments_of(text: str | Mapping[str, Any] | None) -> dict[str, Any]:
    """Return the arguments that an option states as JSON, or as a mapping of a YAML file.

    Raises:
        OptionError: it states something else.
    """
    if isinstance(text, Mapping):
        return dict(text)
    try:
        found = json.loads(text or "{}")
    except (TypeError, ValueError, RecursionError) as error:
        raise OptionError(f"{ARGUMENTS}: it is no JSON ({error}); write an object, as {_AS}.") from None
    if not isinstance(found, dict):
        raise OptionError(f"{ARGUMENTS}={text}: write a JSON object, as {_AS}.")
    return found
