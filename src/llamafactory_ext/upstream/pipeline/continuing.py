"""The tokens between two turns of a policy: a template's end of the turn, a tool output, and what opens the next turn.

They are appended to tokens that were drawn, which are never encoded again.
"""

from __future__ import annotations

from collections.abc import Sequence
from typing import Any

_DIALOGUE = ("user", "assistant", "observation", "assistant")


class Continuing:
    """Writes tool outputs as a template does.

    Args:
        template: of upstream's, or one of ours.
        tokenizer: of the model.

    Attributes:
        end_ids: tokens that end a turn.
    """

    def __init__(self, template: Any, tokenizer: Any) -> None:
        self._template, self._tokenizer = template, tokenizer
        self.end_ids = frozenset(template.get_stop_token_ids(tokenizer)) - {None}
        self._marks = marks_of(tokenizer)

    def ids(self, turn: Sequence[int], observation: str) -> list[int]:
        """Return what stands between a turn and the next one.

        Args:
            turn: tokens of the policy's last turn, with what ended it.
            observation: what the policy reads; marks of the template in it are broken up, so that a tool cannot write
                turns.
        """
        contents = ("u", "", harmless(observation, self._marks), "")
        messages = [{"role": role, "content": text} for role, text in zip(_DIALOGUE, contents, strict=True)]
        asked, closing, *_ = self._template._encode(self._tokenizer, messages, "", "")
        prompt, _ = self._template.encode_oneturn(self._tokenizer, messages, "", "")
        rest = prompt[len(asked) + len(closing) :]
        ended = bool(turn) and turn[-1] in self.end_ids
        place = next((at for at in reversed(range(len(closing))) if closing[at] in self.end_ids), None)
        if place is not None:
            return [*closing[place + ended :], *rest]
        # Templates without an end of their own end a turn by what opens the next one.
        return rest[1:] if ended and rest[:1] == [turn[-1]] else rest


def marks_of(tokenizer: Any) -> list[str]:
    """Return the special tokens that a text must not hold, the longest first."""
    added = tokenizer.added_tokens_decoder.values()
    marks = {*tokenizer.all_special_tokens, *(token.content for token in added if token.special)}
    return sorted((mark for mark in marks if len(mark.strip()) > 1), key=len, reverse=True)


def harmless(text: str, marks: Sequence[str]) -> str:
    """Return a text in which marks of a template are broken up."""
    for mark in marks:  # those that tell outputs apart are no special tokens
        if mark in text:
            text = text.replace(mark, f"{mark[0]} {mark[1:]}")
    return text
