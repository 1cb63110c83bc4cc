"""Whether a server will prompt as training does: the trained tokens beside those of the tokenizer's chat template."""

from __future__ import annotations

from collections.abc import Sequence
from dataclasses import asdict, dataclass
from itertools import takewhile
from typing import Any, Final

DIFFERS: Final = "differs"
NO_CHAT_TEMPLATE: Final = "no chat template"
REFUSED: Final = "refused"
_BEFORE, _AFTER = 3, 8  # tokens shown


@dataclass(frozen=True)
class PromptFinding:
    """A difference between the prompt that is trained and the one that will be served.

    Attributes:
        kind: `DIFFERS`, `NO_CHAT_TEMPLATE`, or `REFUSED` where the chat template raises.
        text: what is wrong, in one line.
        position: the first token that differs, from 0; None where there is nothing to compare.
        trained: a few trained tokens around it, decoded.
        served: a few served tokens around it, decoded.
    """

    kind: str
    text: str
    position: int | None = None
    trained: str = ""
    served: str = ""

    def to_dict(self) -> dict[str, Any]:
        """Return all fields, as JSON has them."""
        return asdict(self)


def compare_prompts(
    trained: Sequence[int], messages: Sequence[dict[str, Any]], tools: Sequence[dict[str, Any]], tokenizer: Any
) -> PromptFinding | None:
    """Compare a prompt of training with what `apply_chat_template` makes of the same messages and tools.

    Args:
        trained: token ids of the prompt, generation prompt included.
        messages: in OpenAI's form (`templates/openai.py`).
        tools: likewise; none at all for a prompt without tools.
        tokenizer: of transformers, with or without a chat template.

    Returns:
        Where the two begin to differ, or why there is nothing to compare with; None where they are equal.
    """
    if not tokenizer.chat_template:
        return PromptFinding(NO_CHAT_TEMPLATE, "the tokenizer has no chat template; a server cannot prompt this model")
    try:
        text = tokenizer.apply_chat_template(
            list(messages), tools=list(tools) or None, add_generation_prompt=True, tokenize=False
        )
    except Exception as error:  # a template is a program: it may raise anything
        reason = f"{type(error).__name__}: {error}".splitlines()[0][:160]
        return PromptFinding(REFUSED, f"the tokenizer's chat template refuses the dialogue ({reason})")
    served: list[int] = tokenizer(text, add_special_tokens=False)["input_ids"]
    if list(trained) == served:
        return None
    same = takewhile(lambda pair: pair[0] == pair[1], zip(trained, served, strict=False))
    position = sum(1 for _ in same)
    shown = [_excerpt(ids, position, tokenizer) for ids in (trained, served)]
    return PromptFinding(
        DIFFERS,
        f"trained and served prompts differ from token {position} on: trained {shown[0]!r}, served {shown[1]!r}",
        position,
        *shown,
    )


def _excerpt(ids: Sequence[int], position: int, tokenizer: Any) -> str:
    """Return a few tokens around a position; `(end)` where the prompt ends there."""
    part = list(ids[max(position - _BEFORE, 0) : position + _AFTER])
    text = str(tokenizer.decode(part, skip_special_tokens=False, clean_up_tokenization_spaces=False))
    return text if position + _AFTER < len(ids) else f"{text}(end)"
