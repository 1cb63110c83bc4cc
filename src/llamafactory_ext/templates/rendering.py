"""Writes a dialogue as the text a model sees, in pieces that alternate between what it reads and what it writes."""

from __future__ import annotations

import json
from collections.abc import Sequence
from dataclasses import dataclass

from ..errors import DataError
from ..toolcalls import Tool
from .api_bank import add_turn, without_speaker
from .chat_template import chat_template
from .formats import ChatFormat
from .messages import Message, read_calls, results, unreadable_calls
from .styles import ToolStyle


@dataclass(frozen=True)
class Template:
    """A named template: the chat format of a model around the prompts of a tool data set."""

    name: str
    chat: ChatFormat
    style: ToolStyle

    def render(
        self,
        messages: Sequence[Message],
        *,
        system: str = "",
        tools: Sequence[Tool] = (),
        bos: str = "",
        eos: str = "",
        prepends_blank: bool = False,
    ) -> list[str]:
        """Return the text of each message; joined, they are what the tokenizer reads.

        Replies are whole pieces: what the model writes and is trained on, its end mark included. Everything else
        belongs to the piece of the next user message or observation, the generation prompt at its end.

        Args:
            messages: user or observation and reply in turn, as LLaMA-Factory has them.
            system: replaces the default system text.
            tools: the tools the model may call.
            bos: as `ChatFormat.with_tokens` takes it.
            eos: likewise.
            prepends_blank: likewise.
        """
        chat = self.chat.with_tokens(bos, eos, prepends_blank=prepends_blank)
        turns, instructions = self._quoted(chat, messages[:1])
        pieces = []
        for place, message in enumerate(messages):
            if message.by_model != (place % 2 == 1):
                raise DataError(f"Message {place + 1} is by the wrong side ({message.role}); alternate with replies")
            if message.by_model:
                reply = self.reply(message)
                pieces.append(self._reply(chat, without_speaker(reply) if instructions and place == 1 else reply))
                continue
            if place:
                text = chat.reply.after + self._turn(chat, message, "")
            else:
                system = "\n\n".join(part for part in (system, instructions) if part)
                text = chat.start + self._opening(chat, turns, system, tools)
            pieces.append(text + chat.reply.before)
        return pieces

    def chat_template(self, *, bos: str = "", eos: str = "", prepends_blank: bool = False) -> str:
        """Return the Jinja text that renders dialogues in the same way, for a tokenizer without one."""
        return chat_template(self.chat.with_tokens(bos, eos, prepends_blank=prepends_blank), self.style)

    def reply(self, message: Message) -> str:
        """Return the content of a reply: a thought and calls in the style's format, or the text as it is."""
        if message.role != "function":
            return message.content
        turn = read_calls(message.content)
        if turn is None and not self.style.read_calls(message.content):
            raise unreadable_calls(message.content, self.name)
        text = self.style.write_calls(turn) if turn is not None else message.content
        return text.removesuffix(self.chat.end)  # some call formats have the end mark in them

    def _quoted(self, chat: ChatFormat, first: Sequence[Message]) -> tuple[Sequence[Message], str]:
        """Return the first message, or the turns that it quotes and the instructions beside them."""
        prompt = self.style.read_prompt(first[0].content) if self.style.read_prompt and first else None
        if prompt is None:
            return first, ""
        if chat.observation is not None:
            return prompt.turns, prompt.system
        turns: list[Message] = []
        for turn in prompt.turns:  # feedback and the words that follow it share the user's turn
            is_feedback = turn.role == "observation"
            add_turn(turns, Message("user", self._feedback(chat, turn)) if is_feedback else turn)
        return turns, prompt.system

    def _opening(self, chat: ChatFormat, turns: Sequence[Message], system: str, tools: Sequence[Tool]) -> str:
        """Return system turn and first user turn, the tools in one of them, and turns quoted after that."""
        default = self.style.default_system if tools and self.style.default_system else chat.default_system
        prompt = self.style.tool_prompt(tools) if tools else ""
        in_user = bool(prompt) and self.style.tools_in_user
        parts = [self._trimmed(system or default), "" if in_user else prompt]
        text = "\n\n".join(part for part in parts if part)
        preamble = (chat.tool_preamble if in_user else "") + chat.preamble
        before_user = prompt if in_user else ""
        opening = ""
        if chat.system is None:
            before_user = text + "\n\n" + before_user if text else before_user
        elif preamble or text:
            opening = chat.system.around(preamble + text)
        opening += self._turn(chat, turns[0], before_user)
        for turn in turns[1:]:
            if turn.by_model:
                opening += chat.reply.around(self._reply(chat, turn.content))
            else:
                opening += self._turn(chat, turn, "")
        return opening

    def _reply(self, chat: ChatFormat, content: str) -> str:
        return chat.lead + self._trimmed(content) + chat.end

    def _turn(self, chat: ChatFormat, message: Message, before: str) -> str:
        if message.role == "user":
            return chat.user.around(before + self._trimmed(message.content))
        if chat.observation is None:
            return chat.user.around(before + self._feedback(chat, message))
        if chat.observation_joint:
            return chat.observation.around(self._feedback(chat, message))
        return "".join(chat.observation.around(content) for content in self._results(chat, message))

    def _feedback(self, chat: ChatFormat, message: Message) -> str:
        """Return the results of calls in one turn."""
        contents = self._results(chat, message)
        if chat.observation is None:
            return "\n".join(self.style.observation_label + content for content in contents)
        return chat.observation_joint.join(contents)

    def _results(self, chat: ChatFormat, message: Message) -> list[str]:
        contents = results(message.content)
        return [_as_json(content) if chat.json_observations else self._trimmed(content) for content in contents]

    def _trimmed(self, content: str) -> str:
        return content.strip() if self.chat.trim else content


def _as_json(content: str) -> str:
    """Return feedback that is a JSON object or list as it stands, any other text as a JSON string."""
    try:
        value = json.loads(content)
    except (ValueError, RecursionError):
        value = content
    return json.dumps(value if isinstance(value, dict | list) else content, ensure_ascii=False)
