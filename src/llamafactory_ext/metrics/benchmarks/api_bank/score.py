"""API-Bank (arXiv:2304.08244): calls that are right (C), and how near replies are to the published ones (R, ROUGE-L).

`official` executes the call with the API classes of the user's own checkout (`api_bank_execution`), `strict` compares
parsed arguments. Both read calls by patterns of their own: `official` by the published ones, which end a value at the
first quote of either kind and cannot read `3.5`, `-2` or `''`.
"""

from __future__ import annotations

import re
from collections.abc import Mapping, Sequence

from ....errors import CallParseError, DataError, NoCallError
from ....toolcalls import ToolCall, parse_calls
from ....toolcalls.thoughts import split_thought
from ...answers import Answered, Scored, find_any_calls
from ...references import Item
from ...report import Mode, Verdict
from ..rouge import TooLongError, rouge_l

CORRECTNESS, ROUGE = "C", "R"
# The published pattern is \[(\w+)\((.*)\)\]: its beginning, and the last end in the line, which `.` stays within.
_REQUEST, _REQUEST_END = re.compile(r"\[(\w+)\("), ")]"
# As published, but for the word boundaries, which change no match and keep long words from taking quadratic time.
_PARAMETER = re.compile(r"""\b(\w++)\s*=\s*['"](.+?)['"]|\b(\w++)\s*=\s*(\[.*\])|\b(\w++)\s*=\s*(\w+)""")
PUBLISHED_CEILING = (
    "Gold answers do not score 100 % with the published evaluator: level 1 338/399 (84.7 %), all levels 668/779 "
    "(85.8 %), offline."
)


def score(answered: Sequence[Answered], mode: Mode) -> Scored:
    """Score replies in either mode and calls in `strict`; for calls in `official` see `api_bank_execution`."""
    verdicts = tuple(reply_verdict(one, mode) if is_reply(one.item) else _call_verdict(one) for one in answered)
    note = "C compares parsed calls by name and arguments; nothing was executed, so C is not the published figure."
    return Scored(verdicts, (note,) if any(CORRECTNESS in verdict.scores for verdict in verdicts) else ())


def is_reply(item: Item) -> bool:
    """Tell whether a text for the user is wanted, not a call."""
    return item.group.endswith("response")


def gold_text(item: Item) -> str:
    """Return what the published file expects."""
    gold = item.record.get("expected_output", item.record.get("output"))
    if not isinstance(gold, str):
        raise DataError(f"{item.id} has neither expected_output nor output; get API-Bank's test files again.")
    return gold


def published_call(text: str) -> tuple[str, dict[str, str]] | None:
    """Return name and parameters by the published patterns; None where they find no call."""
    for line in text.split("\n"):
        end = line.rfind(_REQUEST_END)
        request = _REQUEST.search(line, 0, end) if end >= 0 else None
        if request is not None:
            break
    else:
        return None
    arguments: dict[str, str] = {}
    for found in _PARAMETER.finditer(line, request.end(), end):
        name = found[1] or found[3] or found[5]
        arguments[name] = found[2] or found[4] or found[6]
    return request[1], arguments


def reply_verdict(one: Answered, mode: Mode) -> Verdict:
    """Return ROUGE-L of a reply; what the published script cannot score is 0 and says so."""
    item, text, level_3 = one.item, one.prediction.prediction, one.item.group.startswith("level-3")
    if mode == "strict":
        text = text.strip().removeprefix("AI:").strip()
    elif level_3:
        text = text.replace("User:", "").replace("AI:", "").strip()
    try:
        value = rouge_l(text, gold_text(item), limited=mode == "official")
    except TooLongError:
        return Verdict(item.id, {ROUGE: 0.0}, "too long", True, "the published script stops here", item.group)
    except ValueError:
        return Verdict(item.id, {ROUGE: 0.0}, "no words", False, "empty, or full stops only", item.group)
    return Verdict(item.id, {ROUGE: value if level_3 or mode == "strict" else round(value, 4)}, group=item.group)


def _call_verdict(one: Answered) -> Verdict:
    item = one.item
    gold = _read(gold_text(item))
    if gold is None:
        raise DataError(f"{item.id}: the published call cannot be read; get API-Bank's test files again.")
    try:
        made = _first_call(one.prediction.prediction)
    except CallParseError as error:
        category = "NO_API_CALL" if isinstance(error, NoCallError) else "FAILED_PARSE_API_CALL"
        return Verdict(item.id, {CORRECTNESS: 0.0}, category, False, error.message, item.group)
    category = _compare(made, gold)
    return Verdict(item.id, {CORRECTNESS: float(not category)}, category or "CORRECT", group=item.group)


def _first_call(text: str) -> ToolCall:
    """Return the first call by the one reader.

    Where that finds none, quotes within quotes by the published patterns.
    """
    try:
        return find_any_calls(text)[0]
    except CallParseError as error:
        answer = split_thought(text)[1]
        found = published_call(answer)
        if found is not None:
            return ToolCall(*found)
        if isinstance(error, NoCallError) and (begun := _REQUEST.search(answer)) is not None:
            raise CallParseError(f"The request of {begun[1]!a} is malformed.") from None
        raise


def _read(text: str) -> ToolCall | None:
    """Return a published call; some lack the brackets, some have quotes within quotes."""
    for attempt in (text, f"[{text.removeprefix('API-Request:').strip()}]"):
        try:
            return parse_calls(attempt, "api_bank")[0]
        except CallParseError:
            found = published_call(attempt)
            if found is not None:
                return ToolCall(*found)
    return None


def _compare(made: ToolCall, gold: ToolCall) -> str:
    """Return the published category that comes nearest; "" for equal calls."""
    if made.name != gold.name:
        return "API_NAME_MISMATCH"
    if made.arguments.keys() - gold.arguments.keys():
        return "INVALID_INPUT_PARAMETER"
    if gold.arguments.keys() - made.arguments.keys():
        return "MISS_INPUT_ARGUMENT"
    return "" if _texts(made.arguments) == _texts(gold.arguments) else "INPUT_MISMATCH"


def _texts(arguments: Mapping[str, object]) -> dict[str, str]:
    """Return values as texts: the data writes numbers with and without quotes."""
    return {name: str(value).strip() for name, value in arguments.items()}
