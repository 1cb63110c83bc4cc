"""Whether an episode that a prediction file holds has the form in which `etapp run` writes it."""

from __future__ import annotations

from collections.abc import Callable, Mapping, Sequence
from typing import Any

from .prompts import STRATEGIES
from .sandbox import SETTINGS

_TEXTS = ("end", "strategy", "setting", "sandbox")
_COUNTS = ("turns", "prompt_tokens", "completion_tokens")
_KNOWN: Mapping[str, Sequence[str]] = {
    "strategy": STRATEGIES,
    "setting": SETTINGS,
    "sandbox": ("strict", "reference"),
}
_MOST = 10**12  # turns or tokens


def fault_of(episode: Mapping[str, Any], messages: Sequence[Mapping[str, Any]]) -> str | None:
    """Return what is wrong with an episode or its dialogue; None where nothing is."""
    for name in _TEXTS:
        if not isinstance(episode.get(name), str):
            return f'"{name}" is missing or no text'
    for name, known in _KNOWN.items():
        if episode[name] not in known:
            return f'"{name}" is none of {", ".join(known)}'
    for name in _COUNTS:
        if type(value := episode.get(name)) is not int or not 0 <= value <= _MOST:
            return f'"{name}" is missing or no count'
    if odd := next((name for name, is_one in _OPTIONAL.items() if not is_one(episode.get(name))), ""):
        return f'"{odd}" is not as `etapp run` writes it'
    if not isinstance(episode.get("diff"), list):
        return '"diff" is missing or no list'
    calls = episode.get("calls")
    if not isinstance(calls, list):
        return '"calls" is missing or no list'
    wrong = next((number for number, call in enumerate(calls, start=1) if not _is_call(call)), 0)
    if wrong:
        return f"call {wrong} does not have a name, arguments, and the fields failed and effect"
    wrong = next((number for number, one in enumerate(messages, start=1) if not _is_message(one)), 0)
    return f"message {wrong} has no role, or its content or its calls are not as a chat has them" if wrong else None


def _is_names(value: Any) -> bool:
    return value is None or (isinstance(value, list) and all(isinstance(name, str) for name in value))


def _is_history(value: Any) -> bool:
    return value is None or (isinstance(value, list) and all(map(_is_kept, value)))


def _is_count(value: Any) -> bool:
    return value is None or (type(value) is int and 0 <= value <= _MOST)


def _is_call(call: Any) -> bool:
    return (
        isinstance(call, dict)
        and isinstance(call.get("name"), str)
        and isinstance(call.get("arguments"), dict)
        and isinstance(call.get("failed", 0), str | None)
        and isinstance(call.get("effect", 0), dict | None)
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
    function = made.get("function") if isinstance(made, dict) else None
    return isinstance(function, dict) and isinstance(function.get("name"), str) and "arguments" in function


def _is_seconds(value: Any) -> bool:
    return value is None or (type(value) in (int, float) and 0 <= value <= _MOST)


_OPTIONAL: Mapping[str, Callable[[Any], bool]] = {
    "found": _is_names,
    "history": _is_history,
    "refused_expressions": _is_count,
    "seconds": _is_seconds,
}
