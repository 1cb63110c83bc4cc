"""What a predicted tool call is worth against the reference call (IRM of TL-Training, arXiv:2412.15495, section 3.3).

The cases of R(t_i), the first that applies counts; those of R_p(t_i) add up:

    -2     unparsable               the prediction cannot be parsed
    -2     tool_hallucination       it calls a tool that was not declared
    -1.5   wrong_tool               it calls another tool than the reference
    -0.8   parameter_hallucination  R_p: it gives a parameter that the tool does not have
    -0.5   redundant_parameter      R_p: it gives a parameter of the tool that the reference does not give
    -0.5   missing_parameter        R_p: it lacks a parameter that the reference gives
    -0.25  content                  a value differs
     1     correct

Rewards lie between -2 and 1. The paper speaks of one call; a turn of several is one t_i here, as its cases say
"contains" and "has": each case holds if it holds for any of its calls, and other tools, fewer or more than the
reference's are the wrong tool. The order of calls and arguments does not count. A parameter that the reference itself
gives is no hallucination, even where the data's declaration lacks it: the reference is worth 1.
"""

from __future__ import annotations

import re
from collections.abc import Mapping, Sequence
from dataclasses import dataclass

from llamafactory_ext.errors import CallParseError, DataError, OptionError
from llamafactory_ext.toolcalls import Tool, ToolCall, detect, detect_turn
from llamafactory_ext.toolcalls.untyped import as_untyped

VARIANTS = ("paper", "reference")
REWARDS: Mapping[str, float] = {
    "unparsable": -2.0,
    "tool_hallucination": -2.0,
    "wrong_tool": -1.5,
    "parameter_hallucination": -0.8,
    "redundant_parameter": -0.5,
    "missing_parameter": -0.5,
    "content": -0.25,
    "correct": 1.0,
}
_RELEASED_VALUE = re.compile(r"(?<!\w)(\w++)\s*+=\s*+'([^']*+)'")


@dataclass(frozen=True)
class Reward:
    """A reward and what it is made of.

    Attributes:
        total: the sum of the parts, between -2 and 1.
        parts: what each category that applies adds, by the names in `REWARDS`.
    """

    total: float
    parts: Mapping[str, float]


def tool_call_reward(
    prediction: str,
    reference: str | Sequence[ToolCall],
    tools: Sequence[Tool],
    variant: str = "paper",
    *,
    call_format: str | None = None,
) -> float:
    """Return the reward of a prediction; arguments and errors as those of `reward_parts`."""
    return reward_parts(prediction, reference, tools, variant, call_format=call_format).total


def reward_parts(
    prediction: str,
    reference: str | Sequence[ToolCall],
    tools: Sequence[Tool],
    variant: str = "paper",
    *,
    call_format: str | None = None,
) -> Reward:
    """Return the reward of a prediction with its parts by category.

    Args:
        prediction: what the model wrote; text around its calls does not count.
        reference: the right answer, as text or calls.
        tools: all tools that the model was told of.
        variant: "paper", or "reference" for the released code: it reads the first `name(...)` up to the first closing
            parenthesis and sees only values of the form `key='value'`, so that a wrong value in double quotes or
            without quotes is worth 1, and a reference that it cannot read makes any prediction worth -2.
        call_format: how prediction and reference are written, one of `toolcalls.FORMATS`; None reads any format, as
            `toolcalls.detect` does. "paper" only.

    Raises:
        DataError: a reference without calls, malformed, or calling tools that are not declared, all of which leave no
            prediction that could be right; or a reference that is no text with "reference".
        OptionError: no such variant or format.
    """
    if variant not in VARIANTS:
        raise OptionError(f"There is no reward variant {variant!r}; choose one of {', '.join(VARIANTS)}.")
    declared = {tool.name: tool for tool in tools}
    if variant == "reference":
        if not isinstance(reference, str):
            raise DataError("The released reward reads texts; give the reference answer as text.")
        categories = _released_categories(prediction, reference, declared)
    else:
        references = _reference_calls(reference, declared, call_format)
        categories = _categories(prediction, references, declared, call_format)
    parts = {category: REWARDS[category] for category in categories}
    return Reward(sum(parts.values()), parts)


def _categories(
    prediction: str, references: Sequence[ToolCall], declared: Mapping[str, Tool], call_format: str | None
) -> list[str]:
    try:
        found_turn = detect_turn(prediction, declared.values(), call_format)
    except CallParseError:
        return ["unparsable"]
    if found_turn.format is None:
        return ["unparsable"]
    predictions = [found.call for found in found_turn.calls]
    if not found_turn.format.typed:  # there "3" and 3 are written alike: both sides are typed by the schemas
        predictions, references = (
            [as_untyped(call, declared) for call in calls] for calls in (predictions, references)
        )
    if any(call.name not in declared for call in predictions):
        return ["tool_hallucination"]
    if sorted(call.name for call in predictions) != sorted(call.name for call in references):
        return ["wrong_tool"]
    pairs = _pairs(predictions, references)
    problems = [_parameter_problems(declared[one.name], one.arguments, two.arguments) for one, two in pairs]
    found = [category for category in REWARDS if any(category in problem for problem in problems)]
    if found:
        return found
    return ["correct"] if all(one == two for one, two in pairs) else ["content"]


def _parameter_problems(tool: Tool, given: Mapping[str, object], due: Mapping[str, object]) -> set[str]:
    beyond = given.keys() - due.keys()
    problems = {
        "parameter_hallucination": beyond - tool.parameters.keys(),
        "redundant_parameter": beyond & tool.parameters.keys(),
        "missing_parameter": due.keys() - given.keys(),
    }
    return {category for category, names in problems.items() if names}


def _pairs(predictions: Sequence[ToolCall], references: Sequence[ToolCall]) -> list[tuple[ToolCall, ToolCall]]:
    """Pair each prediction with a reference of its name: equal ones first, then such of equal parameters."""
    pairs: list[tuple[ToolCall, ToolCall]] = []
    waiting, left = list(predictions), list(references)
    for alike in (_equal, _same_parameters, _same_name):
        rest = []
        for call in waiting:
            place = next((index for index, other in enumerate(left) if alike(call, other)), None)
            if place is None:
                rest.append(call)
            else:
                pairs.append((call, left.pop(place)))
        waiting = rest
    assert not waiting
    assert not left
    return pairs


def _equal(one: ToolCall, two: ToolCall) -> bool:
    return one == two


def _same_parameters(one: ToolCall, two: ToolCall) -> bool:
    return one.name == two.name and one.arguments.keys() == two.arguments.keys()


def _same_name(one: ToolCall, two: ToolCall) -> bool:
    return one.name == two.name


def _reference_calls(
    reference: str | Sequence[ToolCall], declared: Mapping[str, Tool], call_format: str | None
) -> Sequence[ToolCall]:
    calls = reference
    if isinstance(calls, str):
        try:
            calls = [found.call for found in detect(calls, declared.values(), call_format)]
        except CallParseError as error:
            form = f"as {call_format!r}" if call_format else "as a call"
            raise DataError(f"The reference answer cannot be read {form}. {error.message}") from None
    if not calls:
        raise DataError("The reference answer holds no call; a reward needs one.")
    for call in calls:
        if call.name not in declared:
            raise DataError(
                f"The reference answer calls {call.name!a}, which is not among the declared tools; add it."
            )
    return calls


def _released_categories(prediction: str, reference: str, declared: Mapping[str, Tool]) -> list[str]:
    predicted, gold = _released_call(prediction), _released_call(reference)
    if predicted is None or gold is None:
        return ["unparsable"]
    (name, given), (gold_name, due) = predicted, gold
    tool = declared.get(name)
    if tool is None and name:  # a call without a name passes, and has no parameters to compare
        return ["tool_hallucination"]
    if name != gold_name:
        return ["wrong_tool"]
    known = given.keys() if tool is None else tool.parameters.keys()
    problems = {
        "parameter_hallucination": given.keys() - known,
        "redundant_parameter": set() if tool is None else (given.keys() - due.keys()) & known,
        "missing_parameter": due.keys() - given.keys(),
    }
    found = [category for category, names in problems.items() if names]
    return found or ["correct" if given == due else "content"]


def _released_call(text: str) -> tuple[str, dict[str, str]] | None:
    """Parse as the released code does: the name ends at the first "(", the quoted arguments at the first ")"."""
    opening = text.find("(")
    closing = text.find(")", opening)
    if opening < 0 or closing < 0:
        return None
    name = text[text.rfind("\n", 0, opening) + 1 : opening].strip()
    return name, dict(_RELEASED_VALUE.findall(text[opening + 1 : closing]))
