"""Whether an episode of a prediction file is as `etapp run` writes it: its form, and what its dialogue shows."""

from __future__ import annotations

from collections.abc import Callable, Mapping, Sequence
from pathlib import Path
from typing import Any

from ..errors import DataError
from ..metrics.predictions import Prediction
from ..toolcalls import ToolCall
from ..toolcalls.feedback.categories import (
    OTHERS,
    PARAMETER_HALLUCINATION,
    PARAMETER_MISSING,
    TOOL_CALL_FAILURE,
    TOOL_HALLUCINATION,
    TOOL_INSTABILITY,
)
from .cases import split_id
from .prompts import STRATEGIES
from .reference import normalised
from .registry import ALL, SPECS
from .sandbox import SETTINGS, UNREADABLE
from .steps import UnlikeError, check_dialogue
from .world import STATE

_TEXTS = ("end", "strategy", "setting", "sandbox")
_COUNTS = ("turns", "prompt_tokens", "completion_tokens")
ENDS = ("answer", "turns", "calls", "tokens", "seconds", "context")
_KNOWN: Mapping[str, Sequence[str]] = {
    "end": ENDS,
    "strategy": STRATEGIES,
    "setting": SETTINGS,
    "sandbox": ("strict", "reference"),
}
_FAILURES = (
    *(OTHERS, PARAMETER_HALLUCINATION, PARAMETER_MISSING, TOOL_CALL_FAILURE, TOOL_HALLUCINATION, TOOL_INSTABILITY),
    UNREADABLE,
)
_MOST = 10**12  # turns or tokens


def fault_in(one: Prediction) -> str | None:
    """Return what is wrong with the episode of a prediction file's line; None where nothing is."""
    episode = one.episode or {}
    trial = split_id(one.id)[1]
    if episode.get("trial", trial) != trial:
        return f"it states another trial than its id, {one.id}"
    return fault_of(episode, one.messages or (), one.prediction)


def fault_of(
    episode: Mapping[str, Any], messages: Sequence[Mapping[str, Any]], answer: str | None = None
) -> str | None:
    """Return what is wrong with an episode or its dialogue, or how they differ; None where nothing is.

    Args:
        episode: as the file has it.
        messages: of the dialogue.
        answer: the prediction; None where it is not known.
    """
    if (fault := _fault_of_fields(episode) or _fault_of_calls(episode)) is not None:
        return fault
    if wrong := next((number for number, one in enumerate(messages, start=1) if not _is_message(one)), 0):
        return f"message {wrong} has no role, or its content or its calls are not as a chat has them"
    try:
        check_dialogue(messages, episode, answer)
    except UnlikeError as error:
        return str(error)
    return None


def _fault_of_fields(episode: Mapping[str, Any]) -> str | None:
    for name in _TEXTS:
        if not isinstance(episode.get(name), str):
            return f'"{name}" is missing or no text'
    for name, known in _KNOWN.items():
        if episode[name] not in known:
            return f'"{name}" is none of {", ".join(known)}'
    for name in _COUNTS:
        if type(value := episode.get(name)) is not int or not 0 <= value <= _MOST:
            return f'"{name}" is missing or no count'
    odd = next((name for name, is_one in _OPTIONAL.items() if not is_one(episode.get(name))), "")
    return f'"{odd}" is not as `etapp run` writes it' if odd else None


def _fault_of_calls(episode: Mapping[str, Any]) -> str | None:
    for name in ("diff", "calls"):
        if not isinstance(episode.get(name), list):
            return f'"{name}" is missing or no list'
    for number, call in enumerate(episode["calls"], start=1):
        if (fault := _fault_of_call(call, is_strict=episode["sandbox"] == "strict")) is not None:
            return f"call {number} {fault}"
    if wrong := next((number for number, change in enumerate(episode["diff"], start=1) if not _is_change(change)), 0):
        return f'change {wrong} of "diff" is no path of the state with what it was and is'
    if episode["diff"] and not any(call["effect"] for call in episode["calls"]):
        return '"diff" states changes, and no call has an effect'
    return None


def damaged(path: Path, key: str, why: str) -> DataError:
    """Return the error of an episode that is not as a run writes it; a run that goes on would leave it as it is."""
    return DataError(
        f"{path}: the episode of {key} is damaged ({why}); delete its line, and repeat the command of the run to have "
        "it acted anew. In the reference sandbox also delete the lines of this user's later cases in its trial, whose "
        "tools have been through it."
    )


def _is_names(value: Any) -> bool:
    return value is None or (isinstance(value, list) and all(isinstance(name, str) for name in value))


def _is_history(value: Any) -> bool:
    return value is None or (isinstance(value, list) and all(map(_is_kept, value)))


def _is_count(value: Any) -> bool:
    return value is None or (type(value) is int and 0 <= value <= _MOST)


def _fault_of_call(call: Any, *, is_strict: bool) -> str | None:
    """Return what is wrong with a logged call: a call fails, or has a result and perhaps an effect."""
    if (
        not isinstance(call, dict)
        or not isinstance(call.get("name"), str)
        or not isinstance(call.get("arguments"), dict)
        or not {"failed", "effect"} <= call.keys()
    ):
        return "does not have a name, arguments, and the fields failed and effect"
    name, arguments, failed, effect = (call[part] for part in ("name", "arguments", "failed", "effect"))
    if failed is not None and (not isinstance(failed, str) or failed not in _FAILURES):
        return '"failed" names no category of errors'
    if failed == UNREADABLE:
        return "cannot be read, and has a name, arguments or an effect" if name or arguments or effect else None
    if not _is_json(name, arguments):
        return "has no name, or its arguments are none that a call can have"
    if failed is not None:
        return "fails, and has an effect" if effect is not None else None
    if name not in ALL:
        return "has a result of a tool that is none"
    mutates = name in SPECS and SPECS[name].mutates
    if effect is None:
        return "changes something, and has no effect" if is_strict and mutates else None
    if not mutates:
        return "has an effect, and its tool changes nothing"
    return None if _is_effect(effect, name, arguments) else '"effect" is not its tool with the arguments'


def _is_effect(effect: Any, name: str, arguments: dict[str, Any]) -> bool:
    """Tell whether an effect is what the sandbox makes of a call: all arguments, as the tool takes them."""
    if not isinstance(effect, dict) or effect.keys() != {"tool", "args"} or effect["tool"] != name:
        return False
    if not isinstance(effect["args"], dict) or not _is_json(name, effect["args"]):
        return False
    return ToolCall(name, effect["args"]) == ToolCall(name, normalised(name, arguments))


def _is_json(name: str, arguments: dict[str, Any]) -> bool:
    """Tell whether a call can have these arguments: no NaN, no half a character, nothing without end."""
    try:
        ToolCall(name, arguments)
    except (DataError, RecursionError):
        return False
    return True


def _is_change(change: Any) -> bool:
    return (
        isinstance(change, list)
        and len(change) == 3
        and isinstance(change[0], str)
        and change[0].partition("/")[0] in STATE
    )


def _is_kept(message: Any) -> bool:
    """Tell whether a message is one as the published code keeps it."""
    if not isinstance(message, dict) or not isinstance(message.get("tool_calls"), list | None):
        return False
    texts = [message.get("role"), message.get("content")]
    calls = message.get("tool_calls") or ()
    if not all(isinstance(call, dict) for call in calls):
        return False
    return all(
        isinstance(text, str) for text in [*texts, *(call.get(n) for call in calls for n in ("name", "arguments"))]
    )


def _is_message(message: Mapping[str, Any]) -> bool:
    calls = message.get("tool_calls")
    return (
        isinstance(message.get("role"), str)
        and isinstance(message.get("content"), str | None)
        and isinstance(calls, list | None)
        and all(_is_function(made) for made in calls or ())
    )


def _is_function(made: Any) -> bool:
    function = made.get("function") if isinstance(made, dict) and isinstance(made.get("id"), str | None) else None
    return isinstance(function, dict) and all(isinstance(function.get(name), str) for name in ("name", "arguments"))


def _is_seconds(value: Any) -> bool:
    return value is None or (type(value) in (int, float) and 0 <= value <= _MOST)


_OPTIONAL: Mapping[str, Callable[[Any], bool]] = {
    "found": _is_names,
    "history": _is_history,
    **dict.fromkeys(("trial", "follow_ups", "invented_feedback", "premature_answers", "cut"), _is_count),
    "refused_expressions": _is_count,
    "plan": lambda value: isinstance(value, str | None),
    "seconds": _is_seconds,
}
