"""Converters of question-and-answer data: a few texts of a record become instruction, input and output."""

from __future__ import annotations

from collections.abc import Callable, Mapping
from dataclasses import dataclass
from typing import Any

from ..family import Drop, Example, Foreign, Outcome

Fields = Mapping[str, str]


@dataclass(frozen=True)
class Field:
    """One text of a source record: the first of `paths` that exists ("answer.0" descends into objects and lists)."""

    name: str
    paths: tuple[str, ...]
    optional: bool = False


def question_and_answer(texts: Fields) -> tuple[str, str, str]:
    """Return the fields "question" and "answer" as (instruction, input, output)."""
    return texts["question"], "", texts["answer"]


@dataclass(frozen=True)
class Texts:
    """Reads one record (`Family.read`).

    Attributes:
        fields: what a record must hold.
        build: texts by field name -> (instruction, input, output).
        refuse: texts -> why this is not a record of this data set, or None.
    """

    fields: tuple[Field, ...]
    build: Callable[[Fields], tuple[str, str, str]] = question_and_answer
    refuse: Callable[[Fields], str | None] = lambda _: None

    def __call__(self, record: Any) -> Outcome:
        texts = self.take(record)
        if isinstance(texts, str):
            return Foreign(texts)
        instruction, query, output = self.build(texts)
        if not instruction.strip() and not query.strip():
            return Drop("empty prompt")
        if not output.strip():
            return Drop("empty output")
        return Example({"instruction": instruction, "input": query, "output": output})

    def take(self, record: Any) -> dict[str, str] | str:
        """Return the texts of a source record by field name, or in words what is wrong with it."""
        if not isinstance(record, Mapping):
            return f"is no JSON object but {type(record).__name__}"
        texts = {}
        for field in self.fields:
            text = next((value for path in field.paths if (value := descend(record, path)) is not None), None)
            if text is None and field.optional:
                text = ""
            if text is None:
                return f'has no "{field.paths[0]}"'
            if not isinstance(text, str):
                return f'holds a "{field.paths[0]}" that is no text but {type(text).__name__}'
            texts[field.name] = text
        return self.refuse(texts) or texts


def descend(value: Any, path: str) -> Any:
    """Return what lies at "key.0.key" within objects and lists; None if nothing does."""
    for part in path.split("."):
        if isinstance(value, Mapping):
            value = value.get(part)
        elif isinstance(value, list) and part.isdigit():
            value = value[int(part)] if int(part) < len(value) else None
        else:
            return None
    return value
