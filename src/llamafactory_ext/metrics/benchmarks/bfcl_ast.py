"""BFCL v3's AST split: calls checked against the published possible answers, without executing anything.

`official` follows the published checker for python, case by case; `strict` reads any call format, wants every call
once in any order, and compares values as JSON does, strings and their spelling variants aside.
"""

from __future__ import annotations

import re
from collections.abc import Callable, Mapping, Sequence
from typing import Any

from ...errors import CallParseError, DataError
from ..answers import Answered, Scored, predicted_calls
from ..report import Mode, Verdict
from .python_calls import Call, decode

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


def score(answered: Sequence[Answered], mode: Mode) -> Scored:
    """Scores the AST split."""
    return Scored(tuple(_verdict(one, mode) for one in answered))


def _verdict(one: Answered, mode: Mode) -> Verdict:
    try:
        calls = _decode(one) if mode == "official" else _any_calls(one)
    except CallParseError as error:
        return Verdict(one.item.id, {"AST": 0.0}, "ast_decoder", False, error.message, one.item.group)
    try:
        fault = (_official if mode == "official" else _strict)(one.item.record, one.item.group, calls)
    except (TypeError, KeyError, AttributeError, IndexError, RecursionError) as error:
        fault = f"the published checker stops here ({type(error).__name__})"
    return Verdict(one.item.id, {"AST": float(fault is None)}, fault or "right", group=one.item.group)


def _any_calls(one: Answered) -> list[Call]:
    return [(call.name, call.arguments) for call in predicted_calls(one.prediction)]


def _decode(one: Answered) -> list[Call]:
    """Calls as the published decoder reads them; for other formats than python, the calls they state."""
    try:
        return decode(one.prediction.prediction)
    except CallParseError:
        return _any_calls(one)


def _official(record: Mapping[str, Any], category: str, calls: Sequence[Call]) -> Fault:
    answers = record["possible_answer"]
    if len(calls) != len(answers):
        return "wrong_count"
    left = list(calls)
    for answer in answers:
        ((name, allowed),) = list(answer.items())[:1]
        # The simple category has one function, and the published checker takes the first whatever the answer names.
        simple = "parallel" not in category and "multiple" not in category
        described = record["function"][0] if simple else _described(record["function"], name)
        faults = []
        for call in left:
            fault = _check_call(described, allowed, call)
            if fault is None:
                left.remove(call)
                break
            faults.append(fault)
        else:
            return faults[0] if len(answers) == 1 else "cannot_find_match"
    return None


def _described(functions: Sequence[Mapping[str, Any]], name: str) -> Mapping[str, Any]:
    for function in functions:
        if function["name"] == name:
            return function
    raise DataError(f"The possible answer names {name!r}, which the item does not declare; get BFCL's files again.")


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
    """(fault, whether the value is taken for a variable).

    A list whose items have the wrong type is not refused if an answer is a list too: it is then a "variable" and has
    to equal an answer as it stands.
    """
    answered = next((type(answer) for answer in allowed if answer != ""), None)
    if type(value) is wanted:
        variable = answered is not None and answered is not wanted
        if inner is None or any(_items_fit(value, answer, inner) for answer in allowed):
            return None, variable
    if answered is not None and type(value) is answered:
        return None, True
    return "type_error", False


def _items_fit(value: Any, answer: Any, inner: type) -> bool:
    return not isinstance(answer, list) or all(_check_type(item, answer, inner, None)[0] is None for item in value)


def _plain(value: Any) -> Any:
    """Texts without blanks and , . / - _ * ^, in lower case, with double quotes; other values unchanged."""
    return _IGNORED.sub("", value).lower().replace("'", '"') if isinstance(value, str) else value


def _string_fits(value: str, allowed: list[Any]) -> bool:
    return _plain(value) in [_plain(answer) for answer in allowed if isinstance(answer, str)]


def _list_fits(value: list[Any], allowed: list[Any]) -> bool:
    return list(map(_plain, value)) in [list(map(_plain, answer)) for answer in allowed]


def _dict_fits(value: Mapping[str, Any], allowed: list[Any]) -> bool:
    for answer in allowed:
        if answer == "":
            continue
        given = all(key in answer and _plain(item) in map(_plain, answer[key]) for key, item in value.items())
        if given and all(key in value or "" in choices for key, choices in answer.items()):
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
    left = list(calls)
    for name, allowed in answers:
        found = next((call for call in left if call[0] == name and _arguments_agree(call[1], allowed)), None)
        if found is None:
            return "cannot_find_match"
        left.remove(found)
    return None


def _arguments_agree(arguments: Mapping[str, Any], allowed: Mapping[str, list[Any]]) -> bool:
    """Every argument has an allowed value, and what is left out may be left out."""
    given = all(
        name in allowed and any(_agree(value, one) for one in allowed[name]) for name, value in arguments.items()
    )
    return given and all(name in arguments or "" in values for name, values in allowed.items())


def _agree(value: Any, answer: Any) -> bool:
    if isinstance(value, bool) or isinstance(answer, bool):
        return value is answer
    if isinstance(value, Mapping) and isinstance(answer, Mapping):
        return _arguments_agree(value, answer)
    if isinstance(value, list | tuple) and isinstance(answer, list):
        return len(value) == len(answer) and all(_agree(one, other) for one, other in zip(value, answer, strict=True))
    return bool(_plain(value) == _plain(answer))
