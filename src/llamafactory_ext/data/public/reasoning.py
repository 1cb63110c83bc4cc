"""Ask a model the items of BBH (arXiv:2210.09261), AGIEval (arXiv:2304.06364) and ARC (arXiv:1803.05457)."""

from __future__ import annotations

from collections.abc import Mapping
from typing import Any, Final

from ..family import Example, Outcome

CUE: Final = "Therefore, the answer is"
_ASK: Final = f'Think step by step, and end with "{CUE}" and the answer.'


def bbh_question(record: Mapping[str, Any]) -> Outcome:
    """Return a task of BBH; its options are part of the text."""
    return _asked(str(record["input"]))


def agieval_question(record: Mapping[str, Any]) -> Outcome:
    """Return a question of AGIEval below its passage, if it has one, and above its options."""
    passage = str(record.get("passage") or "").strip()
    options = "\n".join(map(str, record["options"]))
    return _asked("\n\n".join(filter(None, [passage, f"{record['question']}\n{options}"])))


def arc_question(record: Mapping[str, Any]) -> Outcome:
    """Return a question of ARC with its choices under the letters A, B, ..."""
    options = "\n".join(f"({chr(65 + index)}) {text}" for index, (_, text) in enumerate(arc_choices(record)))
    return _asked(f"{arc_stem(record)}\n{options}")


def arc_stem(record: Mapping[str, Any]) -> str:
    """Return the text of a question, in either of the published layouts."""
    question = record["question"]
    return str(question.get("stem", "")) if isinstance(question, Mapping) else str(question)


def arc_choices(record: Mapping[str, Any]) -> list[tuple[str, str]]:
    """Return the (label, text) of each choice, in either of the published layouts; none where they are damaged."""
    question = record["question"]
    choices = question.get("choices") if isinstance(question, Mapping) else record.get("choices")
    if isinstance(choices, Mapping):
        labels, texts = choices.get("label"), choices.get("text")
        fits = isinstance(labels, list) and isinstance(texts, list) and len(labels) == len(texts)
        return [(str(label), str(text)) for label, text in zip(labels, texts, strict=True)] if fits else []  # type: ignore[arg-type]
    if not isinstance(choices, list) or not all(isinstance(choice, Mapping) for choice in choices):
        return []
    return [(str(choice.get("label")), str(choice.get("text"))) for choice in choices]


def _asked(text: str) -> Outcome:
    return Example({"instruction": f"{text}\n\n{_ASK}", "output": ""})
