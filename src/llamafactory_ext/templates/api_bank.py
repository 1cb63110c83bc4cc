r"""API-Bank's published prompts, read back into the dialogue that they quote.

A record asks in one text: what to do, the descriptions of the tools, and a dialogue of lines `User: ...`, `AI: ...`
and `API-Request: [...]->result`, closed by `Generate API Request:` or `Generate AI Response:`. In a chat format each
of them has its own turn (arXiv:2409.13202, appendix A.3: "we modify the dialogue template of training data to
make it fit the template required by different models").
"""

from __future__ import annotations

import re
from dataclasses import dataclass

from .messages import Message

_DESCRIPTIONS = "API descriptions:\n"
_TASK = re.compile(r"^Generate (?:API Request|AI Response):\s*\Z", re.MULTILINE)
_SPEAKER = re.compile(r"^(User|AI|API-Request): ?", re.MULTILINE)
# The lines that show how the dialogue will be written; the turns of a chat show it themselves.
_INPUT_EXAMPLE = re.compile(r"^Input: *\n(?:(?:User|AI|API-Request):.*\n)+\n*", re.MULTILINE)
_REPLY_EXAMPLE = re.compile(r"^AI: (?=AI's response)", re.MULTILINE)
_RESULT = "]->"


@dataclass(frozen=True)
class Prompt:
    """A prompt as a dialogue.

    Attributes:
        system: what to do, and the descriptions of the tools.
        turns: the quoted dialogue, the user's side and the model's in turn; the last is the task, the user's.
    """

    system: str
    turns: tuple[Message, ...]


def read_prompt(text: str) -> Prompt | None:
    """Return the dialogue of a prompt of API-Bank's; None for any other text."""
    task = _TASK.search(text)
    head, found, rest = text.partition(_DESCRIPTIONS)
    start = _SPEAKER.search(rest)
    if task is None or not found or start is None or start[1] != "User":
        return None
    dialogue = rest[start.start() : len(rest) - (len(text) - task.start())]
    instructions = _REPLY_EXAMPLE.sub("", _INPUT_EXAMPLE.sub("", head)).strip()
    system = f"{instructions}\n\n{_DESCRIPTIONS}{rest[: start.start()].strip()}"
    return Prompt(system, tuple(_turns(dialogue, task[0].strip())))


def without_speaker(reply: str) -> str:
    """Return a reply of the data without the label that says it is the model's."""
    return reply.strip().removeprefix("AI:").strip()


def add_turn(turns: list[Message], message: Message) -> None:
    """Join lines of one speaker that follow each other to one turn: thought and call, question and task."""
    if turns and turns[-1].role == message.role:
        message = Message(message.role, f"{turns.pop().content}\n{message.content}")
    turns.append(message)


def _turns(dialogue: str, task: str) -> list[Message]:
    parts = _SPEAKER.split(dialogue)[1:]
    turns: list[Message] = []
    for speaker, words in zip(parts[::2], map(str.strip, parts[1::2]), strict=True):
        if speaker == "User":
            add_turn(turns, Message("user", words))
        elif speaker == "AI":
            add_turn(turns, Message("assistant", words))
        else:
            call, given, result = words.partition(_RESULT)
            add_turn(turns, Message("assistant", f"API-Request: {call}{_RESULT[0] if given else ''}"))
            turns += [Message("observation", result)] if given else []
    add_turn(turns, Message("user", task))
    return turns
