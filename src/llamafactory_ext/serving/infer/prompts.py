"""From a question to what a model gets: a text by one of our templates or the tokenizer's own, or chat messages.

`TextPrompts` serves local models (transformers, vLLM), `openai_messages` and `styled_messages` serve endpoints, where
the server writes the text.
"""

from __future__ import annotations

import contextlib
import difflib
import hashlib
import json
from collections.abc import Callable, Mapping, Sequence
from dataclasses import dataclass, field
from typing import Any, Protocol

from ...errors import DataError, OptionError
from ...templates import TEMPLATES, Message, Template
from ...templates.api_bank import Prompt as QuotedPrompt
from ...templates.api_bank import add_turn
from ...templates.messages import read_calls, results
from ...templates.openai import openai_messages
from ...templates.tokens import encode_pieces, prepends_blank
from ...toolcalls import write_tool
from ...toolcalls.feedback.parts import content_text
from .questions import Question

Json = dict[str, Any]


@dataclass(frozen=True)
class Prompt:
    """What a model gets for one question: a text, or messages and tools.

    Attributes:
        question: what it asks.
        text: the whole text, special tokens written out; empty where messages are sent.
        messages: in OpenAI's form.
        tools: in OpenAI's form.
        ids: the text's tokens, where the template writes tokens.
    """

    question: Question
    text: str = ""
    messages: Sequence[Json] = ()
    tools: Sequence[Json] = field(default=())
    ids: Sequence[int] = field(default=(), repr=False)

    @property
    def sha256(self) -> str:
        """Hash of the text, or of messages and tools as canonical JSON."""
        content = self.text or json.dumps([list(self.messages), list(self.tools)], sort_keys=True, ensure_ascii=False)
        return hashlib.sha256(content.encode("utf-8", "surrogatepass")).hexdigest()


class Writer(Protocol):
    """A template of another package, which writes tokens."""

    stop_ids: Sequence[int]

    def prompt_ids(self, messages: Sequence[Mapping[str, str]], system: str, tools: Sequence[Json]) -> list[int]:
        """Return the tokens before the next reply.

        Args:
            messages: with LLaMA-Factory's roles.
            system: the system text, if any.
            tools: bare function objects.

        Raises:
            DataError: what the template cannot write.
        """


MakeWriter = Callable[[Any], Writer]
ELSEWHERE: list[Callable[[str], MakeWriter | None]] = []
"""Where templates are looked for that are none of ours; `llamafactory-ext infer` adds LLaMA-Factory's."""


def template_for_tokens(name: str) -> Template | MakeWriter | None:
    """Return the template that writes for a local model: ours, another package's, or None for the tokenizer's own.

    Raises:
        OptionError: no such template.
    """
    if not name:
        return None
    if name not in TEMPLATES:
        for find in ELSEWHERE:
            if (found := find(name)) is not None:
                return found
    return template_named(name)


def template_named(name: str) -> Template:
    """Return one of our templates.

    Raises:
        OptionError: no such template; the message lists them.
    """
    if name in TEMPLATES:
        return TEMPLATES[name]
    close = difflib.get_close_matches(name, TEMPLATES, n=1, cutoff=0.8)
    hint = f"did you mean {close[0]}? " if close else ""
    raise OptionError(
        f'there is no template "{name}" here; {hint}The templates are {", ".join(TEMPLATES)}, and with --backend hf '
        "or vllm those of LLaMA-Factory where it is installed. Leave the option out to prompt by the model's own chat "
        "template, into which llamafactory-cli export writes what was trained."
    )


class TextPrompts:
    """Writes prompts as text and reads answers back from token ids.

    Args:
        tokenizer: a fast tokenizer of transformers.
        template: of `template_for_tokens`; None takes the tokenizer's chat template.
        where: names the model in messages.
        end_ids: tokens at which generation ends, beside those of tokenizer and template.
    """

    def __init__(
        self, tokenizer: Any, template: Template | MakeWriter | None, where: str, end_ids: Sequence[int] = ()
    ) -> None:
        if template is None and not tokenizer.chat_template:
            raise OptionError(
                f"the tokenizer of {where} has no chat template; give --template NAME, one of {', '.join(TEMPLATES)}"
            )
        ours = template if isinstance(template, Template) else None
        self._writer = None if template is None or isinstance(template, Template) else template(tokenizer)
        self._tokenizer, self._template, self._where = tokenizer, ours, where
        words = (*ours.chat.stop_words, ours.chat.end) if ours else ()
        known = tokenizer.get_vocab()
        ends = [tokenizer.eos_token_id, *end_ids, *(known[word] for word in words if word in known)]
        ends += self._writer.stop_ids if self._writer else ()
        self.stop_ids = tuple(sorted({token for token in ends if token is not None}))
        self._silent = {*self.stop_ids, tokenizer.pad_token_id, tokenizer.bos_token_id}
        self._chat_takes_tools: bool | None = None

    def prompt(self, question: Question) -> Prompt:
        """Return the text for one question, generation prompt included.

        Raises:
            DataError: names the question that the template cannot write.
        """
        try:
            if self._writer:
                return self._by_writer(question, self._writer)
            return Prompt(question, self._by_template(question) if self._template else self._by_tokenizer(question))
        except DataError as error:
            raise DataError(f"{question.id}: {error.message}") from None

    def encode(self, prompt: Prompt) -> list[int]:
        """Return token ids of the whole text."""
        if prompt.ids:
            return list(prompt.ids)
        if self._tokenizer.is_fast:
            return encode_pieces(self._tokenizer, [prompt.text])[0]
        ids: list[int] = self._tokenizer(prompt.text, add_special_tokens=False)["input_ids"]
        return ids

    def decode(self, ids: Sequence[int]) -> str:
        """Return the answer: up to the first token that ends it, other special tokens kept, as calls may hold them."""
        end = next((place for place, token in enumerate(ids) if token in self.stop_ids), len(ids))
        kept = [token for token in ids[:end] if token not in self._silent]
        text: str = self._tokenizer.decode(kept, skip_special_tokens=False)
        lead = self._template.chat.lead if self._template else ""
        return text.removeprefix(lead)

    def _by_writer(self, question: Question, writer: Writer) -> Prompt:
        turns = [{"role": turn.role, "content": turn.content} for turn in question.turns]
        ids = writer.prompt_ids(turns, question.system, [tool["function"] for tool in openai_tools(question)])
        return Prompt(question, self._tokenizer.decode(ids, skip_special_tokens=False), ids=ids)

    def _by_template(self, question: Question) -> str:
        assert self._template is not None
        tokenizer, chat = self._tokenizer, self._template.chat
        pieces = self._template.render(
            question.turns,
            system=question.system,
            tools=question.tools,
            bos=tokenizer.bos_token or "",
            eos=tokenizer.eos_token or "",
            prepends_blank=chat.opens_with_blank and prepends_blank(tokenizer),
        )
        return "".join(pieces)

    def _by_tokenizer(self, question: Question) -> str:
        messages = chat_messages(question, arguments_as_text=False)
        tools = openai_tools(question)
        text = self._apply(messages, tools)
        if tools:
            if self._chat_takes_tools is None:
                self._chat_takes_tools = text != self._apply(messages, [])
            if not self._chat_takes_tools:
                raise OptionError(
                    f"the chat template of {self._where} leaves the tools out; give --template NAME, one of "
                    f"{', '.join(TEMPLATES)}"
                )
        return text

    def _apply(self, messages: Sequence[Json], tools: Sequence[Json]) -> str:
        try:
            text: str = self._tokenizer.apply_chat_template(
                list(messages), tools=list(tools) or None, add_generation_prompt=True, tokenize=False
            )
        except Exception as error:  # a template is a program: it may raise anything
            raise OptionError(
                f"the chat template of {self._where} refuses the prompt ({error}); give --template NAME, one of "
                f"{', '.join(TEMPLATES)}"
            ) from None
        return text


def openai_tools(question: Question) -> list[Json]:
    """Return the tools in OpenAI's form."""
    return [write_tool(tool, "openai") for tool in question.tools]


def chat_messages(question: Question, *, arguments_as_text: bool) -> list[Json]:
    """Return the dialogue in OpenAI's form, calls as `tool_calls`.

    Args:
        question: with its dialogue.
        arguments_as_text: as endpoints want them; chat templates of tokenizers want objects.

    Raises:
        DataError: a turn with calls that cannot be read.
    """
    for turn in question.turns:
        if turn.role == "function" and read_calls(turn.content) is None:
            raise DataError(f"a turn holds no readable calls: {turn.content[:120]!r}; mend the record.")
    turns = [{"role": turn.role, "content": turn.content} for turn in question.turns]
    messages = openai_messages(turns, question.system)
    for message in messages if arguments_as_text else ():
        if "tool_calls" in message:
            message["content"] = message["content"].strip()
        for call in message.get("tool_calls", ()):
            call["function"]["arguments"] = json.dumps(call["function"]["arguments"], ensure_ascii=False)
    return messages


def styled_messages(question: Question, template: Template) -> list[Json]:
    """Return the dialogue as chat messages whose tools and calls are text in the template's style.

    A server whose chat template is the same template's (as of our exported models) then writes what
    `Template.render` writes, but for Llama 3.1's line `Environment: ipython`, which only `tools` can ask for.
    """
    style, chat = template.style, template.chat
    quoted = style.read_prompt(question.turns[0].content) if style.read_prompt else None
    opening = _quoted_turns(quoted, template) if quoted else question.turns[:1]
    turns = [*opening, *question.turns[1:]]
    system = "\n\n".join(part for part in (question.system, quoted.system if quoted else "") if part)
    presented = style.tool_prompt(question.tools) if question.tools else ""
    if presented and not system:
        system = style.default_system or chat.default_system
    if presented and not style.tools_in_user:
        system = f"{system}\n\n{presented}" if system else presented
    messages: list[Json] = [{"role": "system", "content": system}] if system else []
    before = presented if style.tools_in_user else ""
    for turn in turns:
        if turn.by_model:
            messages.append({"role": "assistant", "content": template.reply(turn)})
        elif turn.role == "observation":
            messages.append({"role": "tool", "content": turn.content})
        else:
            messages.append({"role": "user", "content": before + turn.content})
            before = ""
    return messages


def _quoted_turns(quoted: QuotedPrompt, template: Template) -> Sequence[Message]:
    """Return the dialogue that a prompt quotes.

    Without a turn for feedback this and the user's next words share one.
    """
    if template.chat.observation is not None:
        return quoted.turns
    turns: list[Message] = []
    for turn in quoted.turns:
        is_feedback = turn.role == "observation"
        told = "\n".join(template.style.observation_label + content for content in results(turn.content))
        add_turn(turns, Message("user", told) if is_feedback else turn)
    return turns


def message_text(message: Mapping[str, Any]) -> str:
    """Return a reply of an endpoint as one text: what it says, then its calls as data records write them."""
    content = content_text(message.get("content"))
    calls = []
    for call in message.get("tool_calls") or ():
        function = call.get("function") or {}
        arguments = function.get("arguments")
        with contextlib.suppress(ValueError, RecursionError):  # stays the text that it is, for the scorer to judge
            arguments = json.loads(arguments) if isinstance(arguments, str) else arguments
        calls.append({"name": function.get("name"), "arguments": arguments})
    if not calls:
        return content
    written = json.dumps(calls[0] if len(calls) == 1 else calls, ensure_ascii=False)
    return f"{content}\n{written}" if content else written
