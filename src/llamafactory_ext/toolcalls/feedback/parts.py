"""Content that comes in parts, as MCP's tools and OpenAI's messages give it, as one text."""

from __future__ import annotations

import json
from collections.abc import Mapping
from typing import Any

# What holds a part's text, by its type (MCP 2025-06-18, "Tool result"; OpenAI's chat completions and responses).
_TEXT_KEYS: Mapping[str, str] = {
    "text": "text",
    "input_text": "text",
    "output_text": "text",
    "refusal": "refusal",
}
_OTHERS = ("image", "audio", "video", "file", "image_url", "input_audio", "resource", "resource_link")


def content_text(content: Any) -> str:
    """Return a message's or a tool's content as the text that a model reads.

    Args:
        content: a text, a list of parts, or any other JSON value, which stays JSON; None is empty.
    """
    if content is None:
        return ""
    if isinstance(content, str):
        return content
    parts = parts_text(content)
    return json.dumps(content, ensure_ascii=False, default=str) if parts is None else parts


def parts_text(content: Any) -> str | None:
    """Return the text of content parts, one below the other; None where a value is no list of parts."""
    if not isinstance(content, list) or not all(is_part(part) for part in content):
        return None
    if not any(isinstance(part, Mapping) for part in content):
        return None
    return "\n".join(_part_text(part) for part in content)


def is_part(value: Any) -> bool:
    """Return whether a value is one content part; a text is one among parts."""
    if isinstance(value, str):
        return True
    if not isinstance(value, Mapping):
        return False
    kind = value.get("type")
    if not isinstance(kind, str):
        return False
    return isinstance(value.get(_TEXT_KEYS[kind]), str) if kind in _TEXT_KEYS else kind in _OTHERS and len(value) > 1


def _part_text(part: Any) -> str:
    if isinstance(part, str):
        return part
    kind = part["type"]
    if kind in _TEXT_KEYS:
        return str(part[_TEXT_KEYS[kind]])
    inner = part.get("resource")
    resource: Mapping[str, Any] = inner if isinstance(inner, Mapping) else part
    if isinstance(resource.get("text"), str):
        return str(resource["text"])
    named = next((resource[key] for key in ("uri", "name", "mimeType") if isinstance(resource.get(key), str)), "")
    return f"[{kind} {named}]" if named else f"[{kind}]"
