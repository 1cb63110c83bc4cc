"""MT-Bench (Zheng et al. 2023) for OpenCompass, judged as FastChat does: both turns, each by itself, and averaged.

OpenCompass's own data set judges the second turn only. Prompts, questions and reference answers are FastChat's files,
read from the user's folder. Answers are greedy here, where FastChat samples four of the eight categories.
"""

from __future__ import annotations

import json
import os
import re
from collections.abc import Iterator, Mapping
from dataclasses import replace
from pathlib import Path
from typing import Any, Final

from datasets import Dataset, DatasetDict
from opencompass.datasets.base import BaseDataset
from opencompass.openicl.icl_evaluator import BaseEvaluator

from llamafactory_ext.data.files.reading import iter_records
from llamafactory_ext.errors import DataError
from llamafactory_ext.metrics.judge import Judge, JudgeOptions

FILES: Final = ("question.jsonl", "judge_prompts.jsonl", "reference_answer/gpt-4.jsonl")
_WITH_REFERENCE: Final = ("math", "reasoning", "coding", "arena-hard-200")
# FastChat reads "[[7]]" first and "[7]" where there is none.
_RATINGS: Final = (re.compile(r"\[\[(\d+\.?\d*)\]\]"), re.compile(r"\[(\d+\.?\d*)\]"))


def rating(reply: str) -> float | None:
    """The judge's rating of 1 to 10; None where the reply has none."""
    for pattern in _RATINGS:
        found = pattern.search(reply)
        if found:
            value = float(found[1])
            return value if 1 <= value <= 10 else None
    return None


class MtBench(BaseDataset):
    """The questions as dialogues whose replies are to be written."""

    @staticmethod
    def load(source: str) -> DatasetDict:
        """Rows with `dialogue` and `label`, which carries the question as JSON.

        Args:
            source: folder with FastChat's `FILES`.
        """
        rows = []
        for question in _records(Path(source), FILES[0]):
            dialogue = []
            for turn in question["turns"]:
                dialogue += [{"role": "user", "content": turn}, {"role": "assistant", "content": ""}]
            rows.append({"dialogue": dialogue, "label": json.dumps(question)})
        table = Dataset.from_list(rows)
        return DatasetDict({"train": table, "test": table})


class MtBenchEvaluator(BaseEvaluator):
    """Asks the judge of LLAMAFACTORY_EXT_JUDGE_URL and _MODEL for a rating of each turn.

    Args:
        source: folder with FastChat's `FILES`.
    """

    def __init__(self, source: str) -> None:
        super().__init__()
        folder = Path(source)
        self._prompts = {prompt["name"]: prompt for prompt in _records(folder, FILES[1])}
        self._references = {
            answer["question_id"]: answer["choices"][0]["turns"] for answer in _records(folder, FILES[2])
        }

    def score(self, predictions: list[list[str]], references: list[str]) -> dict[str, Any]:
        """Mean of the ratings, and each by question; one that cannot be read is None and left out, as in FastChat."""
        options = replace(JudgeOptions.from_environment(), temperature=0.0)
        judge = Judge(options, Path(os.environ["EVAL_JUDGE_LOG"]))
        ratings: dict[str, list[float | None]] = {}
        for answers, label in zip(predictions, references, strict=True):
            question = json.loads(label)
            replies = [judge.ask(self._ask(question, answers, turn)) for turn in range(len(answers))]
            ratings[str(question["question_id"])] = [rating(reply) for reply in replies]
        given = [value for values in ratings.values() for value in values if value is not None]
        if not given:
            raise DataError("The judge gave no rating that can be read; see its replies in the log.")
        return {"mt_bench": sum(given) / len(given), "ratings": ratings, "judge": judge.summary()}

    def _ask(self, question: Mapping[str, Any], answers: list[str], turn: int) -> str:
        """FastChat's prompt for a rating of one turn; its system text stands first."""
        needs_reference = question["category"] in _WITH_REFERENCE
        name = f"single-{'math-' if needs_reference else ''}v1{'-multi-turn' if turn else ''}"
        if turn:
            parts = {"question_1": question["turns"][0], "question_2": question["turns"][1]}
            parts |= {"answer_1": answers[0], "answer_2": answers[1]}
        else:
            parts = {"question": question["turns"][0], "answer": answers[0]}
        if needs_reference:
            known = self._references.get(question["question_id"])
            if known is None:
                raise DataError(f"{FILES[2]} has no answer for question {question['question_id']}; get it again.")
            parts |= {"ref_answer_1": known[0], "ref_answer_2": known[-1]}
        prompt = self._prompts[name]
        return f"{prompt['system_prompt']}\n\n{prompt['prompt_template'].format(**parts)}".strip()


def _records(folder: Path, name: str) -> Iterator[Any]:
    for _, record in iter_records(folder / name):
        yield record
