"""Which calls of a trajectory are errors, by the feedback that follows them (TL-Training, arXiv:2412.15495, 3.1).

Calls in error, the set T_e of the paper, leave the loss L_MAE and stay in the context; the call that corrects one is
an ordinary call and is trained. This module judges; it masks nothing.
"""

from __future__ import annotations

from collections.abc import Collection, Iterable, Mapping, Sequence
from typing import Any

from ..errors import CallParseError, DataError
from ..toolcalls import ToolCall, detect
from ..toolcalls.feedback.categories import TOOL_HALLUCINATION
from ..toolcalls.feedback.errors import CATEGORIES, feedback_error
from .user_feedback import Judge, user_judge

__all__ = ["feedback_error", "judge_calls"]

_CALL_ROLES = ("function_call",)
_ASSISTANT_ROLES = ("assistant", "gpt")
_FEEDBACK_ROLES = ("observation", "tool", "function")


def judge_calls(
    messages: Sequence[Mapping[str, Any]],
    rules: str = "structured",
    *,
    declared: Collection[str] = (),
    call_format: str = "json",
    function: str | None = None,
    found: Mapping[int, Sequence[ToolCall]] | None = None,
) -> list[tuple[int, str | None]]:
    """Judge every call of a trajectory by the feedback that follows it.

    A call is a turn of the role "function_call", or an assistant's turn with feedback right after it. Its feedback is
    all turns of the roles "observation", "tool" and "function" up to the next other turn; the first of them that
    reports an error decides. A turn of several calls is judged as one, since it is one target. A call without feedback
    is no error.

    Args:
        messages: turns with "from" and "value" (sharegpt) or "role" and "content" (OpenAI, and the released data).
        rules: as in `feedback_error`.
        declared: names of the tools the model was told of. With them, an erroneous call of any other name is a
            "Tool Hallucination", whatever its feedback says ("structured" only). Without them the feedback alone
            counts.
        call_format: how the turns write calls, one of `toolcalls.FORMATS`; read only with `declared` or `function`.
        function: a user's own function as `module:function` (see `user_feedback.py`). It judges in place of the rules,
            and its categories stand as they are.
        found: the calls of turns that were read already, by their index; the text of such a turn is not read.

    Returns:
        (index of the turn in `messages`, category or None) of each call, in order.

    Raises:
        DataError: a turn without a role, or feedback that is no text.
        OptionError: no such rules or format, or a user's function that does not work.
    """
    judge = None if function is None else user_judge(function)
    roles = [_role(message, index) for index, message in enumerate(messages)]
    judged: list[tuple[int, str | None]] = []
    for index, role in enumerate(roles):
        after = index + 1
        while after < len(roles) and roles[after] in _FEEDBACK_ROLES:
            after += 1
        if role not in _CALL_ROLES and not (role in _ASSISTANT_ROLES and after > index + 1):
            continue
        texts = [_text(messages[i], i) for i in range(index + 1, after)]
        if judge is None:
            category = _first(feedback_error(text, rules) for text in texts)
        else:
            calls = _calls(messages[index], index, call_format, found) if texts else ()
            category = _judged_by(judge, calls, texts)
        if judge is None and category in CATEGORIES and declared:
            calls = _calls(messages[index], index, call_format, found)
            category = TOOL_HALLUCINATION if any(call.name not in declared for call in calls) else category
        judged.append((index, category))
    return judged


def _judged_by(judge: Judge, calls: Sequence[ToolCall], texts: Sequence[str]) -> str | None:
    """Return the first category that a user's function gives.

    Outputs and calls of equal number belong together in order.
    """
    matched: Sequence[ToolCall | None] = calls if len(calls) == len(texts) else [None] * len(texts)
    return _first(judge(text, call) for text, call in zip(texts, matched, strict=True))


def _first(categories: Iterable[str | None]) -> str | None:
    return next((category for category in categories if category is not None), None)


def _role(message: Mapping[str, Any], index: int) -> str:
    role = message.get("from", message.get("role"))
    if not isinstance(role, str):
        raise DataError(f'Turn {index + 1} has no role; write one under "from" or "role".')
    return role


def _text(message: Mapping[str, Any], index: int) -> str:
    text = message.get("value", message.get("content"))
    if not isinstance(text, str):
        raise DataError(f'Turn {index + 1} has no text; write one under "value" or "content".')
    return text


def _calls(
    message: Mapping[str, Any], index: int, call_format: str, known: Mapping[int, Sequence[ToolCall]] | None
) -> Sequence[ToolCall]:
    """Return the calls of a turn; none if they cannot be read."""
    if known is not None and index in known:
        return known[index]
    try:
        return [found.call for found in detect(_text(message, index), call_format=call_format)]
    except CallParseError:
        return ()
