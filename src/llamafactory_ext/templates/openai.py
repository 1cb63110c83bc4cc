"""A dialogue of LLaMA-Factory as OpenAI's messages and tools, which chat templates and servers take."""

from __future__ import annotations

import json
import re
from collections.abc import Mapping, Sequence
from typing import Any

from ..errors import DataError
from .messages import CallTurn, read_calls, results

Json = dict[str, Any]
_BEHIND_TAG = re.compile(r"[>▷]\s*(?=[{\[])")


def openai_messages(messages: Sequence[Mapping[str, str]], system: str | None = "") -> list[Json]:
    """Return the dialogue with OpenAI's roles: calls as `tool_calls` with objects, results as messages of role tool.

    What stands before calls stays the content, white space included. A reply whose calls are not read stays text.

    Args:
        messages: with LLaMA-Factory's roles: user, assistant, function, observation.
        system: the system text, if any.
    """
    written: list[Json] = [{"role": "system", "content": system}] if system else []
    open_calls: list[str] = []
    count = 0
    for message in messages:
        role, content = message["role"], message["content"]
        if role == "observation":
            for place, result in enumerate(results(content)):
                answered = {"tool_call_id": open_calls[place]} if place < len(open_calls) else {}
                written.append({"role": "tool", "content": result, **answered})
        elif role == "function":
            reply = _reply(content, count)
            open_calls = [call["id"] for call in reply.get("tool_calls", [])]
            count += len(open_calls)
            written.append(reply)
        else:
            written.append({"role": role, "content": content})
    return written


def _reply(content: str, count: int) -> Json:
    before, read = _read(content)
    if read is None:
        return {"role": "assistant", "content": content}
    calls = [
        {
            "id": f"call_{number}",
            "type": "function",
            "function": {"name": call.name, "arguments": dict(call.arguments)},
        }
        for number, call in enumerate(read.calls, start=count)
    ]
    return {"role": "assistant", "content": before, "tool_calls": calls}


def _read(content: str) -> tuple[str, CallTurn | None]:
    """Return what stands before the calls, as it stands there, and the calls."""
    read = read_calls(content)
    if read is not None:
        return _before_calls(content, read.thought), read
    for tag in _BEHIND_TAG.finditer(content):  # thought words without a line break
        read = read_calls(content[tag.end() :])
        if read is not None and not read.thought:
            return content[: tag.end()], read
    return "", None


def _before_calls(content: str, thought: str) -> str:
    """Return the thought with the white space behind it."""
    place = content.find(thought) if thought else -1
    if place < 0:
        return thought
    end = place + len(thought)
    return content[: end + len(content[end:]) - len(content[end:].lstrip())]


def openai_tools(tools: str | None) -> list[Json]:
    """Return the tools of a record's column, each in OpenAI's wrapper, their members as they stand.

    Raises:
        DataError: the column is no JSON list of objects.
    """
    if not tools or not tools.strip():
        return []
    try:
        value = json.loads(tools)
    except (ValueError, RecursionError):
        raise DataError("The tools column is no JSON; write a list of objects there.") from None
    listed = value if isinstance(value, list) else [value]
    if not all(isinstance(tool, dict) for tool in listed):
        raise DataError("The tools column holds something else than objects; write a list of objects there.")
    return [tool if tool.get("type") == "function" else {"type": "function", "function": tool} for tool in listed]
