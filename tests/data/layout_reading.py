"""Messages in OpenAI's layout, and a record read as the entry of a data set says."""

from __future__ import annotations

from pathlib import Path
from typing import Any

from llamafactory_ext.data.entries import DataEntry, Dialogue
from llamafactory_ext.data.message_parts import Words

OPENAI = {"file_name": "x.json", "formatting": "openai"}
CITY = {"name": "get_weather", "arguments": {"city": "Paris"}}
TOOL = {"type": "function", "function": {"name": "get_weather", "description": "w", "parameters": {}}}
USER = {"role": "user", "content": "Go"}
DONE = {"role": "assistant", "content": "ok"}


def read(record: Any, words: Words | None = None, **entry: Any) -> Dialogue | str:
    found = DataEntry.of("x", {**OPENAI, **entry}, Path("x.json"))
    return found.dialogue(record) if words is None else found.dialogue(record, words)


def calls(*given: Any, content: Any = None, **more: Any) -> dict[str, Any]:
    return {"role": "assistant", "content": content, "tool_calls": [{"function": one} for one in given], **more}
