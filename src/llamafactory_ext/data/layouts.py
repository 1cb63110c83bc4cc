"""Turn the messages of a record, whatever their layout, into the turns that LLaMA-Factory trains on.

ShareGPT and OpenAI messages are read by the same rules: calls in `tool_calls` or `function_call`, arguments as an
object or as JSON text, a thought in `reasoning_content`, results in role `tool` or `function`.
"""

from __future__ import annotations

import json
from collections.abc import Iterator, Mapping, Sequence
from contextlib import suppress
from dataclasses import dataclass, field
from functools import lru_cache
from typing import Any, Final

from ..templates.messages import RESULT_SEPARATOR
from ..toolcalls.pairs import Pairs
from .dialogues import CALL, GPT, HUMAN, OBSERVATION, SYSTEM
from .files.repeated import fault_of
from .layout_marks import Marks
from .message_parts import (
    DEFAULT_WORDS,
    UnreadableError,
    Words,
    call_text,
    calls_of,
    object_arguments,
    results_of,
    stated_calls,
    text_of,
    thought_of,
    unread_errors,
    unread_parts,
)

BY_MODEL: Final = (GPT, CALL)
STRANGE_RESULT: Final = "its result names no call before it"
ROLE_TAGS: Final = {
    "user_tag": HUMAN,
    "assistant_tag": GPT,
    "observation_tag": OBSERVATION,
    "function_tag": CALL,
    "system_tag": SYSTEM,
}
_SHAREGPT_ROLES: Final = {role: role for role in ROLE_TAGS.values()}
_OPENAI_ROLES: Final = {
    "user": HUMAN,
    "assistant": GPT,
    "tool": OBSERVATION,
    "function": CALL,
    "system": SYSTEM,
    "developer": SYSTEM,
}


@dataclass(frozen=True)
class Tags:
    """The keys and role names of the messages of one entry of dataset_info.json.

    Attributes:
        role, content: keys of a message.
        roles: role name in the file to ours.
        openai: results in a row are one turn, and OpenAI's own role names count beside those of the entry.
    """

    role: str
    content: str
    roles: Mapping[str, str]
    openai: bool

    @classmethod
    def of(cls, entry: Mapping[str, Any]) -> Tags:
        """Read the entry; without "tags" the layout's own names hold."""
        openai = entry.get("formatting") == "openai"
        tags = entry.get("tags")
        if tags is None:
            keys = ("role", "content") if openai else ("from", "value")
            return cls(*keys, _OPENAI_ROLES if openai else _SHAREGPT_ROLES, openai)
        named = {tags[tag]: role for tag, role in ROLE_TAGS.items() if tags.get(tag)}
        roles = {**(_OPENAI_ROLES if openai else {}), **named}
        return cls(str(tags.get("role_tag")), str(tags.get("content_tag")), roles, openai)


@dataclass(frozen=True)
class Dialogue:
    """A record as training sees it.

    Attributes:
        turns: (role, text) by upstream's default role names, without the system turn; a role of no such name stays.
        tools: JSON text, "" for none.
        silent: indices of turns that the record itself leaves out of the loss.
        lost: (number of the message, from 1; what of it is not kept), 0 for the record's columns.
    """

    turns: tuple[tuple[str, str], ...]
    system: str = ""
    tools: str = ""
    silent: frozenset[int] = frozenset()
    lost: tuple[tuple[int, str], ...] = ()


@dataclass
class _Turn:
    """One message as read.

    Attributes:
        ids: of its calls, where they have ids.
        results: what tools returned, each with the id of its call, where it says one.
    """

    number: int
    role: str
    text: str
    trained: bool = True
    ids: tuple[str, ...] = ()
    results: tuple[tuple[str, str], ...] = ()


@dataclass
class _Reader:
    """Reads one record's messages in order."""

    tags: Tags
    words: Words
    turns: list[_Turn] = field(default_factory=list)
    lost: list[tuple[int, str]] = field(default_factory=list)

    def read(self, number: int, message: Mapping[str, Any]) -> None:
        """Add one message.

        Raises:
            UnreadableError: nothing can be made of it.
        """
        content = message.get(self.tags.content)
        stated = stated_calls(message, content)
        calls = calls_of(stated)
        role = self._role(message, bool(calls))
        if role == HUMAN and (returned := results_of(content)):
            text = RESULT_SEPARATOR.join(text for _, text in returned)
            self.turns.append(_Turn(number, OBSERVATION, text, results=tuple(returned)))
            self.lost += [(number, what) for what in unread_errors(message)]
            return
        said, lost = text_of(content, self.tags.content, from_tool=role == OBSERVATION and self.tags.openai)
        if role == OBSERVATION:
            lost += unread_errors(message)
        if role in BY_MODEL:
            thought, more = thought_of(message, said, self.words)
            lost += more + unread_parts(message, (self.tags.role, self.tags.content))
            if calls:
                role = CALL
                said, more = call_text(thought, said, calls, self.words)
            elif role == CALL:
                said, more = object_arguments(said, thought, self.words)
            else:
                said, more = thought + said, []
            lost += more
        if content is None and not said and not (self.tags.openai and role == OBSERVATION):
            raise UnreadableError(f'a message holds a "{self.tags.content}" that is no text')
        self.lost += [(number, what) for what in lost]
        ids = tuple(str(item.get("id") or "") for item in stated) if calls else ()
        results = ((str(message.get("tool_call_id") or ""), said),) if role == OBSERVATION else ()
        self.turns.append(_Turn(number, role, said, ids=ids, results=results))

    def _role(self, message: Mapping[str, Any], calls: bool) -> str:
        name = message.get(self.tags.role)
        role = self.tags.roles.get(name, str(name)) if isinstance(name, str) else str(name)
        if calls:
            if role not in BY_MODEL:
                raise UnreadableError(f'it holds calls, but is of "{name}"; only the assistant calls tools')
            return role
        # OpenAI's first way of calling: role "function" is the result, and says whose.
        answers = self.turns and self.turns[-1].role == CALL
        if self.tags.openai and name == "function" and (isinstance(message.get("name"), str) or answers):
            return OBSERVATION
        return role


def read_dialogue(
    messages: Sequence[Mapping[str, Any]], tags: Tags, marks: Marks, words: Words = DEFAULT_WORDS
) -> Dialogue:
    """Return the turns of a record's messages, without tools; the system text is that of its leading messages.

    Args:
        messages: not empty.
        tags: keys and role names.
        marks: what the record says about the loss.
        words: how the run's template marks a thought and calls.

    Raises:
        UnreadableError: a message that cannot be read, with its number, or marks that do not fit.
    """
    reader = _Reader(tags, words)
    for number, message in enumerate(messages, 1):
        try:
            reader.read(number, message)
        except UnreadableError as error:
            raise UnreadableError(f"turn {number}: {error}") from None
    turns = reader.turns
    trained, more = marks.trained(messages, [turn.role in BY_MODEL for turn in turns])
    for turn, learned in zip(turns, trained, strict=True):
        turn.trained = learned
    system = _leading_system(turns, several=tags.openai)
    more += _odd_results(turns) if tags.openai else ()
    merged = list(_merged(turns)) if tags.openai else turns
    silent = frozenset(i for i, turn in enumerate(merged) if turn.role in BY_MODEL and not turn.trained)
    pairs = tuple((turn.role, turn.text) for turn in merged)
    return Dialogue(pairs, system, silent=silent, lost=(*reader.lost, *more))


def _leading_system(turns: list[_Turn], *, several: bool) -> str:
    """Take the system messages off the front; ShareGPT has one at most."""
    texts: list[str] = []
    while turns and turns[0].role == SYSTEM and (several or not texts):
        texts.append(turns.pop(0).text)
    return "\n\n".join(text for text in texts if text)


def _merged(turns: Sequence[_Turn]) -> Iterator[_Turn]:
    """Join the results of several calls into one turn, as upstream does, in the order of the calls."""
    waiting: list[_Turn] = []
    ids: tuple[str, ...] = ()
    for turn in turns:
        if turn.role == OBSERVATION:
            waiting.append(turn)
            continue
        if waiting:
            yield _joined(waiting, ids)
            waiting = []
        ids = turn.ids
        yield turn
    if waiting:
        yield _joined(waiting, ids)


def _odd_results(turns: Sequence[_Turn]) -> Iterator[tuple[int, str]]:
    """Return results that name no call before them, and turns of results that are fewer or more than the calls."""
    ids: tuple[str, ...] = ()
    waiting: list[_Turn] = []
    for turn in (*turns, None):
        if turn is not None and turn.role == OBSERVATION:
            waiting.append(turn)
            continue
        results = [(one.number, key) for one in waiting for key, _ in one.results]
        if ids and all(ids) and results:
            yield from ((number, STRANGE_RESULT) for number, key in results if key and key not in ids)
            if len(results) != len(ids):
                yield results[-1][0], f"{len(ids)} calls have {len(results)} results"
        ids, waiting = (turn.ids if turn is not None else ()), []


def _joined(turns: Sequence[_Turn], ids: Sequence[str]) -> _Turn:
    """Return one turn of results; those that name the calls before them stand in the order of these."""
    results = [result for turn in turns for result in turn.results]
    named = [key for key, _ in results]
    if sorted(named) == sorted(ids) and len(set(ids)) == len(ids):
        results.sort(key=lambda result: ids.index(result[0]))
    return _Turn(turns[0].number, OBSERVATION, RESULT_SEPARATOR.join(text for _, text in results))


def tools_text(record: Mapping[str, Any], column: str | None, *, openai: bool) -> str:
    """Return the declared tools as JSON text, "" for none; OpenAI's records may also hold a list, or one tool.

    Args:
        record: not yet known to hold any.
        column: of the tools, if the entry names one.
        openai: whether the record is of that layout, where the older `functions` counts if there are no tools.

    Raises:
        UnreadableError: something else.
    """
    value = record.get(column) if column else None
    if not value and openai:
        value = record.get("functions")
    if value is None:
        return ""
    if isinstance(value, str):
        _refuse_repeated(value)
        return _listed(value) if openai else value
    if not openai:
        raise UnreadableError(f'"{column}" is no text; write one (tools: their list as JSON text)')
    if not value:
        return ""
    if isinstance(value, Mapping):
        value = [value]
    if not isinstance(value, list | tuple):
        raise UnreadableError(f'"{column}" is no list of tools; write one, or its JSON text')
    for tool in value:
        _refuse_repeated(tool)
    try:
        tools = [json.loads(tool) if isinstance(tool, str) else tool for tool in value]
    except (ValueError, RecursionError):
        raise UnreadableError(f'"{column}" holds a text that is no JSON; write a list of tools') from None
    return json.dumps(tools, ensure_ascii=False)


def _refuse_repeated(tools: Any) -> None:
    """Fail if tools that stand as JSON text have a key twice."""
    key = _repeated_key(tools) if isinstance(tools, str) else None
    if key is not None:
        raise UnreadableError(f"tools: {fault_of(key)}")


@lru_cache(maxsize=1024)
def _repeated_key(text: str) -> str | None:
    """Return a key that an object of JSON text has twice; None for any other text."""
    pairs = Pairs()
    with suppress(ValueError, RecursionError):
        json.loads(text, object_pairs_hook=pairs)
    return pairs.take()


def _listed(text: str) -> str:
    """Return JSON text of one tool as a list, which is all that upstream reads; any other text as it is."""
    if not text.lstrip().startswith("{"):
        return text
    try:
        return json.dumps([json.loads(text)], ensure_ascii=False)
    except (ValueError, RecursionError):
        return text
