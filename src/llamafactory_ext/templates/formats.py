"""Chat formats: the text that each model family was tuned to see around the turns of a dialogue.

A format is data: what stands before and after each kind of turn, and which part of a reply the model writes itself.
`{bos}` and `{eos}` stand for the tokenizer's own tokens. No date is ever filled in, so that the same dialogue gives
the same tokens on every day.
"""

from __future__ import annotations

from dataclasses import dataclass, fields, replace

BOS, EOS = "{bos}", "{eos}"


@dataclass(frozen=True)
class Frame:
    """The text before and after a content."""

    before: str
    after: str

    def around(self, content: str) -> str:
        """Return the content in its frame."""
        return self.before + content + self.after


@dataclass(frozen=True)
class ChatFormat:
    """How one model family writes dialogues.

    A reply is `reply.before`, then what the model writes and is trained on: `lead`, the content and `end`; then
    `reply.after`.

    Attributes:
        about: which model, and where the format is published.
        user: around the user's words.
        reply: around a reply; `reply.before` is the generation prompt.
        end: what the model writes to end its turn; empty where the opening of the next turn ends it.
        lead: what the model writes before the content.
        start: opens the dialogue.
        system: around the system text; None where the model has no such turn: the text then opens the first user turn.
        observation: around the feedback of a tool; None where the model has no such turn: it is then a user turn.
        preamble: opens every system text, which is then never left out.
        tool_preamble: stands before the preamble where tools are given.
        default_system: the system text where none is given.
        trim: whether contents lose the white space at both ends.
        json_observations: whether the feedback is written as JSON.
        observation_joint: stands between several results in one turn; empty where each has its own turn.
        stop_words: tokens at which generation stops; where `end` is the first of them, it becomes the tokenizer's eos.
    """

    about: str
    user: Frame
    reply: Frame
    end: str
    lead: str = ""
    start: str = ""
    system: Frame | None = None
    observation: Frame | None = None
    preamble: str = ""
    tool_preamble: str = ""
    default_system: str = ""
    trim: bool = False
    json_observations: bool = False
    observation_joint: str = ""
    stop_words: tuple[str, ...] = ()

    def with_tokens(self, bos: str, eos: str, *, prepends_blank: bool = False) -> ChatFormat:
        """Return the format with the tokenizer's tokens put in.

        Args:
            bos: the token that begins a sequence, empty where the tokenizer has none.
            eos: the token that ends one.
            prepends_blank: whether the tokenizer itself writes a blank behind each special token (`tokens.py`).
        """

        def fill(value: object) -> object:
            if isinstance(value, Frame):
                return Frame(put(value.before), put(value.after))
            return put(value) if isinstance(value, str) else value

        def put(text: str) -> str:
            return text.replace(BOS, bos).replace(EOS, eos)

        changes = {field.name: fill(getattr(self, field.name)) for field in fields(self)}
        filled: ChatFormat = replace(self, **changes)  # type: ignore[arg-type]
        if prepends_blank and self.opens_with_blank:
            return replace(filled, user=replace(filled.user, before=filled.user.before.removeprefix(" ")))
        return filled

    @property
    def opens_with_blank(self) -> bool:
        """Whether a user turn begins with a blank, right behind a special token."""
        return self.user.before.startswith(" ")


def _llama3_turn(role: str) -> Frame:
    return Frame(f"<|start_header_id|>{role}<|end_header_id|>\n\n", "<|eot_id|>")


LLAMA3 = ChatFormat(
    about="Meta-Llama-3-Instruct (chat template of the model card, April 2024); tools answer in turns of role ipython",
    start=BOS,
    system=_llama3_turn("system"),
    user=_llama3_turn("user"),
    reply=replace(_llama3_turn("assistant"), after=""),
    end="<|eot_id|>",
    observation=_llama3_turn("ipython"),
    trim=True,
    stop_words=("<|eot_id|>",),
)

LLAMA31 = replace(
    LLAMA3,
    about="Llama-3.1-Instruct (chat template of the model card), with its published date, 26 Jul 2024, on every day",
    preamble="Cutting Knowledge Date: December 2023\nToday Date: 26 Jul 2024\n\n",
    tool_preamble="Environment: ipython\n",
    json_observations=True,
    stop_words=("<|eot_id|>", "<|eom_id|>"),
)

PHI3 = ChatFormat(
    about="Phi-3-mini and -medium instruct (chat template of the model card since July 2024)",
    system=Frame("<|system|>\n", "<|end|>\n"),
    user=Frame("<|user|>\n", "<|end|>\n"),
    reply=Frame("<|assistant|>\n", "\n"),
    end="<|end|>",
    stop_words=("<|end|>",),
)

PHI3_NOSYSTEM = replace(
    PHI3,
    about="Phi-3 instruct as first published, April 2024: begins with the bos token, has no system turn",
    start=BOS,
    system=None,
)

MISTRAL_V02 = ChatFormat(
    about="Mistral-7B-Instruct-v0.2 (tokenizer v1 of mistral-common, chat template of the model card): no system turn",
    start=BOS,
    user=Frame(" [INST] ", " [/INST]"),
    reply=Frame("", ""),
    lead=" ",
    end=EOS,
)

CHATML = ChatFormat(
    about="Qwen-2-Instruct (chat template of the model card)",
    system=Frame("<|im_start|>system\n", "<|im_end|>\n"),
    user=Frame("<|im_start|>user\n", "<|im_end|>\n"),
    reply=Frame("<|im_start|>assistant\n", "\n"),
    end="<|im_end|>",
    default_system="You are a helpful assistant.",
    stop_words=("<|im_end|>",),
)

QWEN25 = replace(
    CHATML,
    about="Qwen-2.5-Instruct (chat template of the model card)",
    observation=Frame("<|im_start|>user\n<tool_response>\n", "\n</tool_response><|im_end|>\n"),
    observation_joint="\n</tool_response>\n<tool_response>\n",
    default_system="You are Qwen, created by Alibaba Cloud. You are a helpful assistant.",
)

CHATGLM4 = ChatFormat(
    about="GLM-4-9B-Chat (chat template of the model card)",
    start="[gMASK]<sop>",
    system=Frame("<|system|>\n", ""),
    user=Frame("<|user|>\n", ""),
    reply=Frame("<|assistant|>", ""),
    lead="\n",
    end="",
    observation=Frame("<|observation|>\n", ""),
    stop_words=("<|user|>", "<|observation|>"),
)

TOOLLLAMA = ChatFormat(
    about="ToolLLaMA-2 (the inference prompt of ToolBench)",
    start=BOS,
    system=Frame("System: ", "\n"),
    user=Frame("User: ", "\n"),
    reply=Frame("Assistant:\n", "\n"),
    end=EOS,
    observation=Frame("Function: ", "\n"),
)

NEXUSRAVEN = ChatFormat(
    about="NexusRaven-V2 (prompt of the model card); made for one question, further turns follow in the same frame",
    start=BOS,
    system=Frame("", "\n\n"),
    user=Frame("User Query: ", "<human_end>"),
    reply=Frame("\n\n", "\n\n"),
    end="<bot_end>",
    stop_words=("<bot_end>",),
)

TL_CODELLAMA2 = ChatFormat(
    about="TL-CodeLLaMA-2 (TL-Training, Table 13)",
    start=BOS,
    system=Frame("System: ", "\n\n"),
    user=Frame("User: ", "\n"),
    reply=Frame("Assistant:", "\n"),
    lead=" ",
    end=EOS,
    observation=Frame("Function: ", "\n"),
)
