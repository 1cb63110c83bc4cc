r"""TL-Training's trajectories (arXiv:2412.15495): raw_data.json of the released code.

A record is {"id", "conversations"}: a system turn that holds the tools as JSON (OpenAI's form), a user turn, then
assistant turns "name\n{arguments}" and function turns with the tool's feedback. A trajectory stays one example, errors
included: dropping calls as targets by their feedback (the paper's MAE) is the training method's, not the converter's.
"""

from __future__ import annotations

import json
from collections.abc import Mapping
from itertools import pairwise
from typing import Any

from ..dialogues import GPT, HUMAN, OBSERVATION, call_turn, example, names_of, published_call, turn
from ..family import SHAREGPT, Drop, Family, Foreign, Outcome, always, by_patterns

_NO_CALL = 'an assistant turn is no "name" line and arguments; it is kept as an answer'


def _read(record: Any) -> Outcome:
    if not isinstance(record, Mapping):
        return Foreign(f"is no JSON object but {type(record).__name__}")
    messages = record.get("conversations")
    if not isinstance(messages, list) or not all(_is_message(message) for message in messages):
        return Foreign('has no "conversations" of messages with "role" and "content"')
    if not messages or messages[0]["role"] != "system":
        return Foreign("does not begin with a system message that declares the tools")
    try:
        tools = json.loads(messages[0]["content"])
    except (ValueError, RecursionError):
        return Foreign("has a system message that is no JSON")
    if not isinstance(tools, list):
        return Foreign("has a system message that is no JSON list of tools")
    if len(messages) > 1 and messages[-1]["role"] == "function":
        return Drop("ends with a tool's feedback: there is no answer to it")
    turns: list[dict[str, str]] = []
    findings: list[str] = []
    for message in messages[1:]:
        role, text = message["role"], message["content"]
        if role == "assistant":
            spoken, defects = _assistant(text, names_of(tools))
            findings += defects
            turns.append(spoken)
        elif role in ("user", "function"):
            turns.append(turn(HUMAN if role == "user" else OBSERVATION, text))
        else:
            return Foreign('has a turn of a role other than "user", "assistant" and "function"')
    return example(turns, tools=tools, key=str(record.get("id", "")), findings=findings)


def _is_message(message: Any) -> bool:
    return (
        isinstance(message, Mapping)
        and isinstance(message.get("role"), str)
        and isinstance(message.get("content"), str)
    )


def _assistant(text: str, declared: set[str]) -> tuple[dict[str, str], tuple[str, ...]]:
    name, newline, arguments = text.partition("\n")
    if not newline or (name.strip() not in declared and not arguments.lstrip().startswith("{")):
        return turn(GPT, text), (_NO_CALL,)
    written = _calls(text, declared)
    if written is None:
        return turn(GPT, text), (_NO_CALL,)
    made = [published_call(name, given, declared) for name, given in written]
    return call_turn([call for call, _ in made]), tuple(defect for _, defects in made for defect in defects)


def _calls(text: str, declared: set[str]) -> list[tuple[str, str]] | None:
    """Return name and arguments of each call, one below the other; None where they cannot be told apart."""
    calls: list[tuple[str, str]] = []
    rest = text
    while rest:
        name, _, given = rest.partition("\n")
        given = given.lstrip()
        try:
            _, end = json.JSONDecoder().raw_decode(given)
        except (ValueError, RecursionError):
            end = len(given)
        rest = given[end:].strip()
        if rest and rest.partition("\n")[0].strip() not in declared:
            end, rest = len(given), ""
        calls.append((name.strip(), given[:end].strip()))
    is_garbled = any(
        line.strip() in declared and following.lstrip().startswith("{")
        for _, given in calls
        for line, following in pairwise(given.split("\n"))
    )
    return None if is_garbled else calls


FAMILY = Family(
    name="tl_training",
    about="TL-Training: raw_data.json",
    mark="tool",
    task="tool",
    layout=SHAREGPT,
    choose=by_patterns(train=("raw_data.json",)),
    split_of=always("train"),
    read=_read,
)
