"""Tool feedback judged by a user's own function, `tl_feedback_function: module:function`.

The function is `function(text)` or `function(text, call=...)`: the text of one tool output, and the call that it
answers, a `toolcalls.ToolCall`. The call is None where a turn has not as many outputs as calls. It returns

- None or False: no error;
- a category as text, one of `toolcalls.feedback.errors.CATEGORIES` or a word of its own: an error of this kind;
- True or an empty text: an error without a category.
"""

from __future__ import annotations

import inspect
from collections.abc import Callable
from typing import Any

from ..errors import OptionError
from ..options.user_functions import code_hash, described, load_function
from ..toolcalls import ToolCall
from ..toolcalls.feedback.errors import UNCATEGORISED

OPTION = "tl_feedback_function"
_LONGEST_CATEGORY = 80
_SHOWN = 80  # characters of an output in a message

Judge = Callable[[str, ToolCall | None], str | None]
"""The category of the error that an output reports for a call; None for no error."""


def user_judge(name: str) -> Judge:
    """Return the judge that `module:function` names.

    Raises:
        OptionError: there is no such function; later, it raises an exception or returns anything else than it should.
    """
    function = load_function(OPTION, name)
    takes_call = _takes_call(function)

    def judge(text: str, call: ToolCall | None) -> str | None:
        try:
            value = function(text, call=call) if takes_call else function(text)
        except Exception as error:
            raise OptionError(
                f"{OPTION}={name} raised {described(error)} for the output {_short(text)}; mend the function."
            ) from None
        return _category(value, text, name)

    return judge


def judge_hash(name: str) -> str:
    """Return a hash of the code behind `module:function`, for caches of preprocessed data.

    Raises:
        OptionError: there is no such function.
    """
    return code_hash(load_function(OPTION, name))


def _takes_call(function: Callable[..., Any]) -> bool:
    try:
        parameters = inspect.signature(function).parameters
    except (TypeError, ValueError):  # some functions that are no Python
        return False
    named = parameters.get("call")
    return (named is not None and named.kind is not named.POSITIONAL_ONLY) or any(
        parameter.kind is parameter.VAR_KEYWORD for parameter in parameters.values()
    )


def _category(value: Any, text: str, name: str) -> str | None:
    if value is None or value is False:
        return None
    if value is True or (isinstance(value, str) and not value):
        return UNCATEGORISED
    if isinstance(value, str) and value.strip() and len(value) <= _LONGEST_CATEGORY and "\n" not in value:
        return value.strip()
    raise OptionError(
        f"{OPTION}={name} returned {ascii(value)[:60]} for the output {_short(text)}; return a category as one short "
        "line of text, True for an error without one, or None for no error."
    )


def _short(text: str) -> str:
    return ascii(text if len(text) <= _SHOWN else text[:_SHOWN] + "...")
