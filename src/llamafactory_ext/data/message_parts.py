"""The parts of one message: its text, its thought and its calls, and the text that upstream's templates read."""

from __future__ import annotations

import json
import re
from collections.abc import Collection, Iterable, Mapping, Sequence
from dataclasses import dataclass
from typing import Any, Final, NoReturn

from ..errors import CallParseError
from ..templates.messages import read_calls
from ..toolcalls import detect_turn
from ..toolcalls.near import is_slip
from ..toolcalls.pairs import Pairs
from .dialogues import CALL_MARKS
from .files.repeated import fault_of

_THOUGHT_KEYS: Final = ("reasoning_content", "reasoning", "thinking")
_TEXT_PARTS: Final = ("text", "input_text", "output_text")
_THOUGHT_PARTS: Final = ("thinking", "reasoning")
_CALL_KEYS: Final = ("tool_calls", "function_call")
_ARGUMENT_KEYS: Final = ("arguments", "parameters")
_BESIDE_ARGUMENTS: Final = {
    *("name", "id", "type", "index", "call_id", "tool_call_id", "status", "strict", "description", "cache_control"),
    *("function", "input", *_ARGUMENT_KEYS),
}
# Keys of a message that are like those of calls or thoughts, but that nobody reads.
_LIKE_CALLS: Final = re.compile(r"(?:tool|function|api)s?_?(?:call|use|request|invocation)s?|calls", re.IGNORECASE)
_LIKE_THOUGHT: Final = re.compile(
    r"(?:.*_)?(?:thoughts?|thinking|reasonings?|rationale|cot|chain_of_thought|analysis)(?:_(?:content|text|details))?",
    re.IGNORECASE,
)
_ERROR_KEYS: Final = ("is_error", "isError", "error")  # of a result, beside its text
_CALL_PART, _RESULT_PART = "tool_use", "tool_result"  # Anthropic's messages
_UNKEPT_KEYS: Final = ("refusal", "audio")
_NO_OBJECT = re.compile(r'"arguments"\s*:\s*(?:"|null\b)')
_FENCED_NOTHING = re.compile(r"\s*```\w*\s*```\s*\Z")
MOVED = "words behind calls are trained before them, where templates have a place for words"
NO_PLACE = "the template has no place for words or a thought beside calls; they are not kept"


class UnreadableError(Exception):
    """Says in words why nothing can be made of a record."""


@dataclass(frozen=True)
class Words:
    """How a template marks a thought and the calls behind words.

    Attributes:
        thought: before and after a thought.
        call: before and after the calls; None where the template reads a turn of calls as nothing else.
        own_line: whether what the template makes of a call is one only at the beginning of a line.
    """

    thought: tuple[str, str] = ("<think>\n", "\n</think>\n\n")
    call: tuple[str, str] | None = CALL_MARKS
    own_line: bool = False


DEFAULT_WORDS: Final = Words()


def text_of(content: Any, key: str, *, from_tool: bool) -> tuple[str, list[str]]:
    """Return the text of a message's content, and what of it is not kept.

    A list of parts is joined by line feeds; what a tool returned may be any JSON value.

    Raises:
        UnreadableError: no text.
    """
    if content is None:
        return "", []
    if isinstance(content, str):
        return content, []
    if isinstance(content, list) and all(isinstance(part, str | Mapping) for part in content):
        parts = [{"type": "text", "text": part} if isinstance(part, str) else part for part in content]
        if not from_tool or all("type" in part for part in parts):
            return _joined_parts(parts)
    if from_tool:
        return json.dumps(content, ensure_ascii=False), []
    raise UnreadableError(f'a message holds a "{key}" that is no text')


def _joined_parts(parts: Iterable[Mapping[str, Any]]) -> tuple[str, list[str]]:
    texts, lost = [], []
    for part in parts:
        kind = part.get("type")
        if kind in _TEXT_PARTS and isinstance(part.get("text"), str):
            texts.append(part["text"])
        elif kind not in (*_THOUGHT_PARTS, _CALL_PART):
            lost.append(f'a part of type "{kind}" is not kept')
    return "\n".join(texts), lost


def thought_of(message: Mapping[str, Any], said: str, words: Words) -> tuple[str, list[str]]:
    """Return the thought between the template's words, ready to stand before the text, and what is not kept."""
    lost = [f'"{key}" is not kept' for key in _UNKEPT_KEYS if message.get(key)]
    thought = next((message[key] for key in _THOUGHT_KEYS if message.get(key)), None)
    if thought is None and isinstance(content := message.get("content"), list):
        parts = [part for part in content if isinstance(part, Mapping) and part.get("type") in _THOUGHT_PARTS]
        thought = "\n".join(str(part.get("thinking") or part.get("text") or "") for part in parts) or None
    if thought is None:
        return "", lost
    if not isinstance(thought, str):
        return "", [*lost, "a thought that is no text is not kept"]
    thought = thought.strip("\n")
    if not thought or thought in said:
        return "", lost
    if words.thought[0].strip() in said:
        return "", [*lost, "a second thought, beside the one in the text, is not kept"]
    return words.thought[0] + thought + words.thought[1], lost


def unread_errors(message: Mapping[str, Any]) -> list[str]:
    """Return what a message of results says of errors beside their texts, which is not kept."""
    content = message.get("content")
    parts = content if isinstance(content, list) else []
    return [
        f'"{key}" is not kept: feedback is judged by its text, or by tl_feedback_function'
        for one in (message, *(part for part in parts if isinstance(part, Mapping)))
        for key in _ERROR_KEYS
        if one.get(key)
    ]


def unread_parts(message: Mapping[str, Any], read: Collection[str]) -> list[str]:
    """Return which thoughts of a message are not kept, as they stand under a key of another name.

    Args:
        message: of the model.
        read: keys that have a meaning of their own.

    Raises:
        UnreadableError: calls stand under such a key.
    """
    lost = []
    for key, value in message.items():
        if not value or key in read or key in (*_CALL_KEYS, *_THOUGHT_KEYS):
            continue
        if isinstance(value, list | Mapping) and (_LIKE_CALLS.fullmatch(key) or is_slip(key, _CALL_KEYS)):
            raise UnreadableError(f'its calls stand under "tool_calls", not "{key}"')
        if isinstance(value, str) and (_LIKE_THOUGHT.fullmatch(key) or is_slip(key, _THOUGHT_KEYS)):
            lost.append(f'"{key}" is not kept; write thoughts into "reasoning_content"')
    return lost


def results_of(content: Any) -> list[tuple[str, str]]:
    """Return the results that a message of parts holds, each with the id of its call; none for other messages.

    Raises:
        UnreadableError: words stand beside them, which are another turn.
    """
    parts = content if isinstance(content, list) else []
    results = [part for part in parts if isinstance(part, Mapping) and part.get("type") == _RESULT_PART]
    if results and len(results) < len(parts):
        raise UnreadableError("it holds results of tools and other parts; write two messages")
    return [
        (str(part.get("tool_use_id") or ""), text_of(part.get("content"), "content", from_tool=True)[0])
        for part in results
    ]


def stated_calls(message: Mapping[str, Any], content: Any) -> list[dict[str, Any]]:
    """Return the calls of `tool_calls`, of the older `function_call`, or of parts of the content.

    Raises:
        UnreadableError: they are no list.
    """
    parts = content if isinstance(content, list) else []
    used = [part for part in parts if isinstance(part, Mapping) and part.get("type") == _CALL_PART]
    found = {key: calls for key in _CALL_KEYS if (calls := _listed_calls(message.get(key)))}
    if used:
        found["content"] = [{**part, "arguments": part.get("input")} for part in used]
    if not found:
        return []
    first, *others = found.values()
    if any(calls_of(one) != calls_of(first) for one in others):
        raise UnreadableError(f"it holds other calls in {' than in '.join(map(repr, found))}; keep one of them")
    return first


def _listed_calls(calls: Any) -> list[dict[str, Any]]:
    if isinstance(calls, str):
        try:
            calls = json.loads(calls, object_pairs_hook=_once) if calls.strip() else None
        except (ValueError, RecursionError):
            raise UnreadableError("its calls are a text that is no JSON; write a list of calls") from None
    if isinstance(calls, Mapping):
        calls = [calls] if calls else None
    if not isinstance(calls or [], list | tuple):
        raise UnreadableError("its calls are no list; write a list of calls")
    return list(calls or ())


def calls_of(stated: Sequence[Any]) -> list[dict[str, Any]]:
    """Return the calls as upstream's JSON has them.

    Raises:
        UnreadableError: a call without a name, or arguments that are no JSON object.
    """
    return [_call(item) for item in stated]


def _call(item: Any) -> dict[str, Any]:
    function = item.get("function", item) if isinstance(item, Mapping) else None
    if not isinstance(function, Mapping) or not isinstance(function.get("name"), str) or not function["name"]:
        raise UnreadableError('a call has no name; write {"function": {"name": ..., "arguments": {...}}}')
    arguments = function.get("arguments", function.get("parameters"))
    _refuse_lost(function)
    return {"name": function["name"], "arguments": _arguments(arguments, function["name"])}


def _refuse_lost(function: Mapping[str, Any]) -> None:
    """Refuse a call whose arguments nobody would read: they stand under another key, or under two."""
    given = [function[key] for key in _ARGUMENT_KEYS if function.get(key) not in (None, "", {})]
    if len(given) > 1 and given[0] != given[1]:
        raise UnreadableError(f'the call of {function["name"]!a} has "arguments" and "parameters"; keep one of them')
    if given:
        return
    for key, value in function.items():
        if key not in _BESIDE_ARGUMENTS and isinstance(value, str | Mapping | list) and value:
            raise UnreadableError(f'the arguments of {function["name"]!a} stand under "arguments", not "{key}"')


def _arguments(value: Any, name: str) -> dict[str, Any]:
    for _ in range(2):  # some data sets write the JSON text twice over
        if isinstance(value, str):
            try:
                value = (
                    json.loads(value, parse_constant=_no_constant, object_pairs_hook=_once) if value.strip() else {}
                )
            except (ValueError, RecursionError):
                break
    if value is None:
        return {}
    if not isinstance(value, Mapping):
        raise UnreadableError(f"the arguments of {name!a} are no JSON object; write one")
    return dict(value)


def _once(pairs: list[tuple[str, Any]]) -> dict[str, Any]:
    """Return an object of JSON text within a record.

    Raises:
        UnreadableError: it has a key twice.
    """
    repeated = Pairs()
    made = repeated(pairs)
    if repeated.key is not None:
        raise UnreadableError(fault_of(repeated.key))
    return made


def _no_constant(name: str) -> NoReturn:
    raise ValueError(f"{name} is no JSON value")


def call_text(thought: str, said: str, calls: Sequence[Mapping[str, Any]], words: Words) -> tuple[str, list[str]]:
    """Return a turn of calls as upstream's templates read it, and what is not kept.

    Words come first, then the calls between the template's marks.

    Raises:
        UnreadableError: the words hold a mark themselves.
    """
    body = json.dumps(calls[0] if len(calls) == 1 else list(calls), ensure_ascii=False)
    for mark in (*CALL_MARKS, *(words.call or ()), *(word.strip() for word in words.thought)):
        # Upstream finds marks by search: within JSON they only occur in texts, where an escape means the same.
        body = body.replace(mark, f"\\u{ord(mark[0]):04x}{mark[1:]}")
    said = said.strip("\n")
    if not thought and not said.strip():
        return body, []
    if words.call is None:
        return body, [NO_PLACE]
    if any(mark in thought + said for mark in words.call):
        raise UnreadableError(f'the words beside its calls hold "{words.call[0]}", which marks calls; take it out')
    if _states_calls(said):
        raise UnreadableError("the words beside its calls state calls too; take them out of the text")
    return f"{thought}{said}{chr(10) if said else ''}{words.call[0]}{body}{words.call[1]}", []


def _upstream_reads(text: str, words: Words) -> bool:
    """Tell whether upstream finds the calls of a turn: between its template's marks, or as JSON behind a thought."""
    if words.call is not None and (marked := _between(text, words.call)) is not None:
        start, end = marked
        before = text[: start - len(words.call[0])]
        if words.own_line and before.strip(" ") and not before.endswith("\n"):
            return False
        return _are_calls(text[start:end])
    thought = _between(text, words.thought)
    if thought is not None:
        text = text[: thought[0] - len(words.thought[0])] + text[thought[1] + len(words.thought[1]) :]
    return _are_calls(text)


def _between(text: str, marks: tuple[str, str]) -> tuple[int, int] | None:
    """Return where what stands between two marks begins and ends; None without both."""
    start = text.find(marks[0])
    end = text.find(marks[1], start + len(marks[0])) if start >= 0 else -1
    return (start + len(marks[0]), end) if end >= 0 else None


def _are_calls(text: str) -> bool:
    if text.lstrip()[:1] not in ("{", "["):
        return False
    try:
        value = json.loads(text)
    except (ValueError, RecursionError):
        return False
    return all(isinstance(call, dict) and "name" in call for call in (value if isinstance(value, list) else [value]))


def _states_calls(text: str) -> bool:
    """Tell whether words hold calls, or try to."""
    try:
        return detect_turn(text).stands_alone(text)
    except CallParseError:
        return True


def object_arguments(text: str, thought: str, words: Words) -> tuple[str, list[str]]:
    """Return a turn of calls as it is, or written anew where upstream would read it otherwise, and what is not kept.

    Upstream would write arguments that are JSON text within JSON, fail on none, take the first marked block only, and
    know nothing of a thought in a member of its own, nor of other marks than those of its template. Calls in Python's
    syntax stay: upstream's templates refuse them, ours read them.
    """
    unstated = text.count('"arguments"') < text.count('"name"')
    once = text.count(CALL_MARKS[0]) < 2
    if not thought and not unstated and once and not _NO_OBJECT.search(text) and _upstream_reads(text, words):
        return text, []
    read = read_calls(text)
    if read is None or (read.as_code and not thought):
        return thought + text, []
    if read.repeated is not None:
        raise UnreadableError(fault_of(read.repeated))
    calls = [{"name": call.name, "arguments": dict(call.arguments)} for call in read.calls]
    written, lost = call_text(thought, _FENCED_NOTHING.sub("", read.thought), calls, words)
    moved = bool(read.behind.strip("`")) and NO_PLACE not in lost
    return written, [*lost, MOVED] if moved else lost
