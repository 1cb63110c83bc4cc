"""The prompt of a step: knowledge and examples in front of the question (SKIntern, arXiv:2409.13183, section 3.2).

The wordings are ours. Nothing stands in front of the question at the last step, so that its prompt is the prompt of
inference.
"""

from __future__ import annotations

from collections.abc import Sequence
from typing import Final

KNOWLEDGE_HEADING: Final = "Use this knowledge to answer the question:"
EXAMPLES_HEADING: Final = "Solved examples:"
QUESTION_HEADING: Final = "Question:"
ASKED: Final = f"Explain how to find the answer to this question.\n\n{QUESTION_HEADING} "
# `skintern_final: reference` keeps the heading at the last step, with nothing below it, as the published code does.
FINALS: Final = ("question", "reference")


def prefix(knowledge: str, examples: Sequence[tuple[str, str]], *, keeps_heading: bool = False) -> str:
    """Return what stands in front of a question.

    Args:
        knowledge: shortened for the step, "" for none.
        examples: (question, answer) of each, in order.
        keeps_heading: announce knowledge even where there is none.
    """
    blocks = []
    if knowledge or keeps_heading:
        blocks.append(f"{KNOWLEDGE_HEADING}\n{knowledge}".rstrip("\n"))
    if examples:
        solved = "\n\n".join(f"{QUESTION_HEADING} {question}\nAnswer: {answer}" for question, answer in examples)
        blocks.append(f"{EXAMPLES_HEADING}\n\n{solved}")
    if not blocks:
        return ""
    return "\n\n".join([*blocks, f"{QUESTION_HEADING} "])
