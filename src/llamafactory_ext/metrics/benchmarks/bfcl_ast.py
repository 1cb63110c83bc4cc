"""BFCL's AST files: calls checked against the published possible answers, without executing anything.

`official` follows the published checker for python, case by case, on what the published decoder accepts; the decoders
of v3 and v4 differ. `strict` reads any call format, pairs calls with answers in any order as well as can be, and
compares values as JSON does, strings and their spelling variants aside. An answer of "" only says that a parameter
may be left out.

Irrelevance files ask for no call, relevance files for some call; their figures stand apart.
"""

from __future__ import annotations

import re
from collections.abc import Callable, Mapping, Sequence
from typing import Any

from ...data.public.bfcl_files import DETECTION
from ...errors import CallParseError
from ..answers import Answered, Context, Scored
from ..report import Mode, Verdict
from .bfcl_items import decoder
from .bfcl_reading import (
    OTHER_FORMAT,
    TOOL_CALLS,
    UNREAD_FORMAT,
    count_note,
    other_calls,
    stated_calls,
    version_note,
)
from .pairing import can_pair
from .python_calls import Version, decode

Call = tuple[str, Mapping[Any, Any]]
Fault = str | None  # what is wrong, in the published checker's words; None if nothing is
_TYPES: Mapping[str, type] = {
    "string": str,
    "integer": int,
    "float": float,
    "boolean": bool,
    "array": list,
    "tuple": list,
    "dict": dict,
    "any": str,
}
_IGNORED = re.compile(r"[ ,./\-_*^]")


def score(answered: Sequence[Answered], mode: Mode, version: Version = "v3", any_format: bool = False) -> Scored:
    """Score AST, irrelevance and relevance files.

    Args:
        answered: the items with their predictions.
        mode: official or strict.
        version: whose decoder reads the predictions in `official`.
        any_format: lets `official` read, and count, calls that the published decoder refuses.
    """
    verdicts = tuple(_verdict(one, mode, version, any_format) for one in answered)
    if mode == "strict":
        return Scored(verdicts)
    notes = (
        version_note(version),
        *count_note(verdicts, TOOL_CALLS, "give calls as tool_calls, as function-calling models do"),
        *count_note(verdicts, OTHER_FORMAT, "are no list of python calls and were read in another format"),
        *count_note(
            verdicts,
            UNREAD_FORMAT,
            "are no list of python calls but hold calls in another format, which the published decoder does not "
            "read; --any_format reads them",
        ),
    )
    return Scored(verdicts, notes)


def _verdict(one: Answered, mode: Mode, version: Version, any_format: bool) -> Verdict:
    read = _published if mode == "official" else _any_format
    try:
        calls, detail = read(one, version, any_format)
    except CallParseError as error:
        calls, detail = None, error.message
    if one.item.group in DETECTION:
        return _detected(one, bool(calls), detail)
    if calls is None:
        return Verdict(one.item.id, {"AST": 0.0}, "ast_decoder", False, detail, one.item.group)
    try:
        fault = (_official if mode == "official" else _strict)(one.item.record, one.item.group, calls)
    except (TypeError, ValueError, LookupError, AttributeError, ArithmeticError, RecursionError) as error:
        fault = f"the published checker stops here ({type(error).__name__})"
    return Verdict(one.item.id, {"AST": float(fault is None)}, fault or "right", True, detail, one.item.group)


def _detected(one: Answered, called: bool, detail: str) -> Verdict:
    """Return the verdict on a prediction that is to call nothing (irrelevance), or something (relevance)."""
    wanted = "irrelevance" not in one.item.group
    right = called is wanted
    figure = "Relevance" if wanted else "Irrelevance"
    category = "right" if right else "no call" if wanted else "a call"
    return Verdict(one.item.id, {figure: float(right)}, category, True, detail, one.item.group)


def _published(one: Answered, version: Version, any_format: bool) -> tuple[list[Call], str]:
    """Return the calls as the published evaluation reads them, and what the report says of this.

    Raises:
        CallParseError: it reads none.
    """
    stated = stated_calls(one)
    if stated is not None:
        return [(call.name, call.arguments) for call in stated], TOOL_CALLS
    try:
        return [(call.name, call.arguments) for call in decode(one.prediction.prediction, version)], ""
    except CallParseError as error:
        try:
            others = other_calls(one)
        except CallParseError:
            raise error from None
    if not any_format:
        raise CallParseError(UNREAD_FORMAT)
    return [(call.name, call.arguments) for call in others], OTHER_FORMAT


def _any_format(one: Answered, version: Version, _any_format: bool) -> tuple[list[Call], str]:
    """Return the calls in whichever format they are stated.

    Where a call is to be noticed at all, words such as "f(x) = 2" in prose are none: the published form counts, and
    calls of declared functions.
    """
    if one.item.group not in DETECTION:
        return [(call.name, call.arguments) for call in other_calls(one)], ""
    try:
        return _published(one, version, False)
    except CallParseError:
        declared = {function["name"] for function in one.item.record["function"]}
        return [(call.name, call.arguments) for call in other_calls(one) if call.name in declared], ""


def _official(record: Mapping[str, Any], category: str, calls: Sequence[Call]) -> Fault:
    answers = record["possible_answer"]
    if len(calls) != len(answers):
        return "wrong_count"
    if "parallel" not in category:
        # A simple file has one function, and the published checker takes the first whatever the answer names.
        name = _name_of(answers[0])
        described = _described(record["function"], name) if "multiple" in category else record["function"][0]
        return _check_call(described, answers[0][name], calls[0])
    left = list(range(len(calls)))
    for answer in answers:
        name = _name_of(answer)
        described = _described(record["function"], name)
        for place in left:
            if _check_call(described, answer[name], calls[place]) is None:
                left.remove(place)
                break
        else:
            return "cannot_find_match"
    return None


def _name_of(answer: Mapping[str, Any]) -> str:
    return next(iter(answer))


def _described(functions: Sequence[Mapping[str, Any]], name: str) -> Mapping[str, Any]:
    for function in functions:
        if function["name"] == name:
            return function
    raise LookupError(f"the possible answer names {name!r}, which the item does not declare")


def _check_call(described: Mapping[str, Any], allowed: Mapping[str, Any], call: Call) -> Fault:
    name, arguments = call
    if name != described["name"]:
        return "wrong_func_name"
    if any(required not in arguments for required in described["parameters"]["required"]):
        return "missing_required"
    parameters = described["parameters"]["properties"]
    for parameter, value in arguments.items():
        if parameter not in parameters or parameter not in allowed:
            return "unexpected_param"
        fault = _check_value(parameters[parameter], value, allowed[parameter])
        if fault is not None:
            return fault
    if any(parameter not in arguments and "" not in values for parameter, values in allowed.items()):
        return "missing_optional"
    return None


def _check_value(schema: Mapping[str, Any], value: Any, allowed: list[Any]) -> Fault:
    stated = schema["type"]
    wanted = _TYPES[stated]
    inner = _TYPES[schema["items"]["type"]] if stated in ("array", "tuple") else None
    if stated == "tuple" and type(value) is tuple:
        value = list(value)
    if stated == "float" and type(value) is int:
        value = float(value)
    fault, variable = _check_type(value, allowed, wanted, inner)
    if fault is not None:
        return fault
    checks: dict[type, tuple[str, Callable[[Any, list[Any]], bool]]] = {
        dict: ("value_error:dict", _dict_fits),
        str: ("value_error:string", _string_fits),
        list: ("value_error:list/tuple", _dicts_fit if inner is dict else _list_fits),
    }
    if variable or wanted not in checks:
        return None if value in allowed else "value_error:others"
    name, fits = checks[wanted]
    return None if fits(value, allowed) else name


def _check_type(value: Any, allowed: list[Any], wanted: type, inner: type | None) -> tuple[Fault, bool]:
    """Return (fault, whether the value is taken for a variable).

    A value of another type than the declared one is taken for a variable where the answers have its type: it then has
    to equal one as it stands. A list with items of the wrong type is refused.
    """
    answered = next((type(answer) for answer in allowed if answer != ""), None)
    if type(value) is wanted:
        if inner is None or any(_items_fit(value, answer, inner) for answer in allowed):
            return None, answered is not None and answered is not wanted
        return "type_error:nested", False
    return (None, True) if answered is not None and type(value) is answered else ("type_error", False)


def _items_fit(value: Any, answer: Any, inner: type) -> bool:
    return not isinstance(answer, list) or all(_check_type(item, answer, inner, None)[0] is None for item in value)


def _plain(value: Any) -> Any:
    """Return texts without blanks and , . / - _ * ^, in lower case, with double quotes; other values unchanged."""
    return _IGNORED.sub("", value).lower().replace("'", '"') if isinstance(value, str) else value


def _string_fits(value: str, allowed: list[Any]) -> bool:
    return _plain(value) in [_plain(answer) for answer in allowed if isinstance(answer, str)]


def _plain_items(items: Any) -> list[Any]:
    """Return the items in plain spelling; of an object the published checker asks for items 0, 1, ... and stops."""
    return [_plain(items[place]) for place in range(len(items))]


def _list_fits(value: list[Any], allowed: list[Any]) -> bool:
    return _plain_items(value) in [_plain_items(answer) for answer in allowed]


def _dict_fits(value: Mapping[Any, Any], allowed: list[Any]) -> bool:
    for answer in allowed:
        if answer == "":
            continue
        given = all(key in answer and _plain(item) in _plain_items(answer[key]) for key, item in value.items())
        present = all(key in value or "" in choices for key, choices in answer.items())
        if given and present:
            return True
    return False


def _dicts_fit(value: list[Any], allowed: list[Any]) -> bool:
    return any(
        len(value) == len(answer) and all(_dict_fits(item, [one]) for item, one in zip(value, answer, strict=True))
        for answer in allowed
    )


def _strict(record: Mapping[str, Any], _category: str, calls: Sequence[Call]) -> Fault:
    answers = [next(iter(answer.items())) for answer in record["possible_answer"]]
    if len(calls) != len(answers):
        return "wrong_count"
    paired = can_pair(
        answers, calls, lambda answer, call: answer[0] == call[0] and _arguments_agree(call[1], answer[1])
    )
    return None if paired else "cannot_find_match"


def _arguments_agree(arguments: Mapping[Any, Any], allowed: Mapping[str, Any]) -> bool:
    """Return whether every argument has an allowed value, and what is left out may be left out."""
    given = all(
        name in allowed and any(one != "" and _agree(value, one) for one in _choices(allowed[name]))
        for name, value in arguments.items()
    )
    return given and all(name in arguments or "" in _choices(choices) for name, choices in allowed.items())


def _choices(allowed: Any) -> Sequence[Any]:
    """Return the allowed values; inside objects some answers state a value bare."""
    return allowed if isinstance(allowed, list) else [allowed]


def _agree(value: Any, answer: Any) -> bool:
    if isinstance(value, bool) or isinstance(answer, bool):
        return value is answer
    if isinstance(value, Mapping) and isinstance(answer, Mapping):
        return _arguments_agree(value, answer)
    if isinstance(value, list | tuple) and isinstance(answer, list):
        return len(value) == len(answer) and all(_agree(one, other) for one, other in zip(value, answer, strict=True))
    return bool(_plain(value) == _plain(answer))


def run(answered: Sequence[Answered], context: Context) -> Scored:
    """Score as the benchmark's row asks."""
    return score(answered, context.mode, decoder(context), bool(context.options.get("any_format")))
