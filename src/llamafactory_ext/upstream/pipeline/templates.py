"""Registers our templates with LLaMA-Factory, under names of their own."""

from __future__ import annotations

import json
from dataclasses import replace
from functools import partial
from typing import Any

from llamafactory.data.data_utils import Role
from llamafactory.data.formatter import EmptyFormatter, StringFormatter, ToolFormatter
from llamafactory.data.template import Template, register_template
from llamafactory.data.tool_utils import FunctionCall

from ...errors import DataError, OptionError
from ...sources import source_hash
from ...templates import TEMPLATES, Message
from ...templates import Template as Prompts
from ...templates.formats import BOS, EOS, Frame
from ...templates.tokens import encode_pieces, prepends_blank
from ...toolcalls import Tool
from ...toolcalls import read_tools as read_column
from ...toolcalls.formats import UPSTREAM_FORMATS

_ROLES = {
    Role.USER.value: "user",
    Role.ASSISTANT.value: "assistant",
    Role.FUNCTION.value: "function",
    Role.OBSERVATION.value: "observation",
}


class PromptTemplate(Template):
    """One of our templates behind upstream's interface: whole dialogues are rendered, then tokenised at once."""

    prompts: Prompts
    own_tools: ToolFormatter
    source: str  # part of the fingerprint by which upstream's cache knows preprocessed data

    def _encode(
        self, tokenizer: Any, messages: list[dict[str, str]], system: str | None, tools: str | None
    ) -> list[list[int]]:
        if self.format_tools is not self.own_tools:
            raise OptionError(
                f"tool_format: {self.format_tools.tool_format} does not work with template: {self.prompts.name}, "
                "which fixes how calls are written; remove it"
            )
        pieces = self.prompts.render(
            [Message(_ROLES[message["role"]], message["content"]) for message in messages],  # type: ignore[arg-type]
            system=system or self.default_system,
            tools=read_tools(tools),
            **tokens_of(tokenizer, self.prompts),
        )
        return encode_pieces(tokenizer, pieces)

    def extract_tool(self, content: str) -> str | list[FunctionCall]:
        """Return the calls of a reply, or the reply where it holds none."""
        calls = self.prompts.style.read_calls(content)
        return [FunctionCall(call.name, json.dumps(call.arguments, ensure_ascii=False)) for call in calls] or content

    def _get_jinja_template(self, tokenizer: Any) -> str:
        chat = replace(self.prompts.chat, default_system=self.default_system)
        return replace(self.prompts, chat=chat).chat_template(**tokens_of(tokenizer, self.prompts))


def register() -> None:
    """Add all our templates to upstream's table."""
    source = source_hash()
    for name, prompts in TEMPLATES.items():
        chat = prompts.chat
        tools = ToolFormatter(tool_format="default")
        register_template(
            name=name,
            # Upstream renders Ollama's model files from these; everything else goes through `PromptTemplate`.
            format_prefix=EmptyFormatter(slots=_slots(chat.start)),
            format_system=StringFormatter(slots=_frame_slots(chat.system or Frame("", "\n\n"), chat.preamble)),
            format_user=StringFormatter(
                slots=_frame_slots(Frame(chat.user.before, chat.user.after + chat.reply.before))
            ),
            format_assistant=StringFormatter(slots=_frame_slots(Frame(chat.lead, chat.end + chat.reply.after))),
            format_tools=tools,
            default_system=chat.default_system,
            stop_words=list(chat.stop_words),
            replace_eos=chat.stop_words[:1] == (chat.end,),
            efficient_eos=not chat.end,
            template_class=partial(_build, prompts, tools, source),
        )


def _build(prompts: Prompts, tools: ToolFormatter, source: str, **fields: Any) -> PromptTemplate:
    template = PromptTemplate(**fields)
    template.prompts, template.own_tools, template.source = prompts, tools, source
    return template


def tokens_of(tokenizer: Any, prompts: Prompts) -> dict[str, Any]:
    """Return what a template has to know of the tokenizer, as `Prompts.render` takes it."""
    return {
        "bos": tokenizer.bos_token or "",
        "eos": tokenizer.eos_token or "",
        "prepends_blank": prompts.chat.opens_with_blank and prepends_blank(tokenizer),
    }


def call_format_of(template: Any) -> str | None:
    """Return how a template, ours or upstream's, writes the calls of `function` messages.

    None where we do not know.
    """
    if isinstance(template, PromptTemplate):
        return template.prompts.style.call_format
    return UPSTREAM_FORMATS.get(getattr(template.format_function, "tool_format", None) or "")


def read_tools(text: str | None) -> list[Tool]:
    """Return the tools of a record's `tools` column: JSON, one tool or a list of them.

    Raises:
        DataError: the column holds something else.
    """
    try:
        return list(read_column(text))
    except DataError as error:
        raise DataError(
            f"The tools of an example cannot be read ({error.message}): {str(text)[:120]!r}; write a JSON list of "
            'objects with "name", "description" and "parameters"'
        ) from error


def _slots(text: str) -> list[str | set[str]]:
    """Return a text in upstream's way: strings, and sets that name the tokenizer's tokens."""
    slots: list[str | set[str]] = []
    for i, part in enumerate(text.split(BOS)):
        slots += [{"bos_token"}] if i else []
        for k, piece in enumerate(part.split(EOS)):
            slots += [{"eos_token"}] if k else []
            slots += [piece] if piece else []
    return slots


def _frame_slots(frame: Frame, preamble: str = "") -> list[str | set[str]]:
    return _slots(frame.before + preamble + "{{content}}" + frame.after)
