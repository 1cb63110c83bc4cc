"""Which columns of a record upstream reads, and whether it could use the record."""

from __future__ import annotations

from collections.abc import Mapping
from dataclasses import dataclass
from typing import Any

from .files.repeated import fault_of, repeated_key

EMPTY_RESPONSE = "the response is empty: nothing but the end of the turn is learned from it"
HALF_CHARACTER = "a text holds half a character (a lone surrogate); mend or remove it"
# Upstream's default names; they hold only where an entry has no "columns" (or "tags") at all.
_COLUMNS = {"prompt": "instruction", "query": "input", "response": "output", "messages": "conversations"}
_TAGS = {"role_tag": "from", "content_tag": "value"}
_OPENAI_COLUMNS = {"messages": "messages", "tools": "tools"}
_OPENAI_TAGS = {"role_tag": "role", "content_tag": "content"}
# What an assistant's message may hold in place of a text.
_BESIDE_TEXT = ("tool_calls", "function_call", "reasoning_content", "reasoning", "thinking")


def is_whole(*texts: str) -> bool:
    """Return whether texts can be written as UTF-8, as every file and tokenizer asks."""
    try:
        for text in texts:
            if not text.isascii():
                text.encode()
    except UnicodeEncodeError:
        return False
    return True


@dataclass(frozen=True)
class Shape:
    """The columns of one entry of dataset_info.json.

    Attributes:
        prompts: columns that make up the prompt (alpaca).
        response: column of the answer (alpaca).
        messages: column of the dialogue (sharegpt, openai).
        tags: keys that each message must have.
        problems: why no record of this entry can be used, in words.
    """

    prompts: tuple[str, ...] = ()
    response: str = ""
    messages: str = ""
    tags: tuple[str, ...] = ()
    problems: tuple[str, ...] = ()

    @classmethod
    def of(cls, entry: Mapping[str, Any]) -> Shape:
        """Read the entry as upstream does."""
        columns = columns_of(entry)
        if entry.get("formatting", "alpaca") != "alpaca":
            tags = entry.get("tags") or (_OPENAI_TAGS if entry.get("formatting") == "openai" else _TAGS)
            messages = columns.get("messages") or ""
            if not isinstance(tags, Mapping) or not all(isinstance(tag, str | None) for tag in tags.values()):
                return cls(messages=messages, problems=('the entry\'s "tags" is no object of texts; mend it there.',))
            return cls(
                messages=messages,
                tags=tuple(tags[key] for key in _TAGS if tags.get(key)),
                problems=() if messages else (_unnamed("messages", "the dialogue"),),
            )
        prompts = tuple(columns[key] for key in ("prompt", "query") if columns.get(key))
        response = columns.get("response") or ""
        problems = [] if prompts else [_unnamed("prompt", "the prompt")]
        problems += [] if response else [_unnamed("response", "the answer")]
        return cls(prompts=prompts, response=response, problems=tuple(problems))

    def fault(self, record: Any) -> str | None:
        """Say why upstream could not use the record, in words; None if it could."""
        if not isinstance(record, Mapping):
            return "the record is no JSON object"
        if (repeated := repeated_key(record)) is not None:
            return fault_of(repeated)
        return self._dialogue_fault(record) if self.messages else self._alpaca_fault(record)

    def remark(self, record: Mapping[str, Any]) -> str | None:
        """Return what is odd about a usable record."""
        return EMPTY_RESPONSE if self.response and not record[self.response].strip() else None

    def _dialogue_fault(self, record: Mapping[str, Any]) -> str | None:
        dialogue = record.get(self.messages)
        if not isinstance(dialogue, list) or not dialogue:
            return f'no dialogue in "{self.messages}"; write a list of messages there'
        if not all(isinstance(turn, Mapping) and self._is_message(turn) for turn in dialogue):
            return f'a message in "{self.messages}" lacks {" or ".join(map(repr, self.tags))}'
        return None

    def _is_message(self, turn: Mapping[str, Any]) -> bool:
        role, *texts = self.tags
        return role in turn and any(key in turn for key in (*texts, *_BESIDE_TEXT))

    def _alpaca_fault(self, record: Mapping[str, Any]) -> str | None:
        for column in self.prompts:
            if column not in record:
                return f'the record has no "{column}"; upstream needs every column that the entry names'
            if not isinstance(record[column], str | None):
                return f'"{column}" is no text'
        if not any(record[column] for column in self.prompts):
            return f"no prompt: {' and '.join(map(repr, self.prompts))} are empty"
        if not isinstance(record.get(self.response), str):
            return f'no response: the record has no text in "{self.response}"'
        return None


def columns_of(entry: Mapping[str, Any]) -> Mapping[str, Any]:
    """Return the columns that an entry names, or those that upstream's layout has without any."""
    columns = entry.get("columns")
    if columns is None:
        return _OPENAI_COLUMNS if entry.get("formatting") == "openai" else _COLUMNS
    return columns if isinstance(columns, Mapping) else {}


def _unnamed(key: str, what: str) -> str:
    return f'the entry\'s "columns" names no "{key}"; name the column of {what} there'
