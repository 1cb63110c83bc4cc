"""Asking models, and the scores that are kept: each with a hash of all that it depends on."""

from __future__ import annotations

import hashlib
import json
import sys
from collections.abc import Callable, Mapping, Sequence
from dataclasses import dataclass
from pathlib import Path
from typing import Any

from ..checkpoint.atomic import read_json, write_json, write_text
from ..checkpoint.own import sha256
from ..errors import CheckpointError, DataError
from ..metrics.predictions import read_predictions
from .parts import Plan, Task
from .scoring import Score, score
from .tasks import read_records

Run = Callable[[Sequence[str], Path], None]
Tell = Callable[[str], None]


def digest(*parts: Any) -> str:
    """Return a hash of values of JSON."""
    return hashlib.sha256(json.dumps(parts, sort_keys=True, default=str).encode()).hexdigest()[:24]


def fact(path: Path) -> dict[str, Any]:
    """Return what a finished step has kept; nothing where it is not done or its file is damaged."""
    try:
        found = read_json(path, "step") if path.is_file() else {}
    except CheckpointError:
        return {}
    return found if isinstance(found, dict) else {}


@dataclass
class Measured:
    """What asks a model and keeps its scores."""

    plan: Plan
    run: Run
    tell: Tell

    def measure(self, folder: Path, model: Path, weights: str, tasks: Sequence[Task], what: str) -> dict[str, Any]:
        """Return the scores of a model on tasks, by name.

        Args:
            folder: for answers and scores.
            model: a model's or an adapter's folder.
            weights: a hash of it.
            tasks: that are asked.
            what: the model, for the user.
        """
        plan, scores = self.plan, {}
        left: list[tuple[Task, str]] = []
        for task in tasks:
            made_from = digest(weights, sha256(task.test), task.metric, task.max_new_tokens, plan.limit, plan.template)
            kept = fact(folder / f"{task.name}.score.json")
            if kept.get("made_from") == made_from:
                scores[task.name] = kept
            else:
                left.append((task, made_from))
        if not left:
            return scores
        self.tell(f"{what}: asking {', '.join(task.name for task, _ in left)}")
        jobs: list[dict[str, Any]] = []
        for task, made_from in left:
            questions, answers = folder / f"{task.name}.{made_from}.json", folder / f"{task.name}.{made_from}.jsonl"
            folder.mkdir(parents=True, exist_ok=True)
            write_text(questions, json.dumps(self._items(task), ensure_ascii=False))
            jobs.append({"dataset": str(questions), "out": str(answers), "max_new_tokens": task.max_new_tokens})
        for (task, made_from), texts in zip(left, self.answered(folder, model, jobs), strict=True):
            found = self._score(task, texts)
            scores[task.name] = {**found.to_dict(), "made_from": made_from}
            write_json(folder / f"{task.name}.score.json", scores[task.name])
        return scores

    def answered(self, folder: Path, model: Path, jobs: Sequence[Mapping[str, Any]]) -> list[list[str]]:
        """Return the answers to each file of questions.

        Args:
            folder: for the process's files.
            model: that is asked.
            jobs: {dataset, out, max_new_tokens} each.
        """
        plan = self.plan
        base = None if model == Path(plan.model) else plan.model
        job = {"model": str(model), "base": base, "template": plan.template, "batch_size": plan.batch_size}
        write_json(folder / "job.json", {**job, "tasks": list(jobs)})
        self.run([sys.executable, "-m", "llamafactory_ext.cl.answering", str(folder / "job.json")], folder / "job.log")
        return [self._texts(Path(job["dataset"]), Path(job["out"])) for job in jobs]

    @staticmethod
    def _texts(questions: Path, answers: Path) -> list[str]:
        """Return the answers of a file in the order of the questions, whose ids are their places."""
        count = len(json.loads(questions.read_text("utf-8")))
        texts = {found.id: found.prediction for found in read_predictions(answers, "cl").predictions}
        if len(texts) != count:
            raise DataError(f"{answers} holds {len(texts)} answers to {count} items; delete it and run again.")
        return [texts[str(place)] for place in range(count)]

    def _items(self, task: Task) -> list[Any]:
        items = read_records(task.test)[: self.plan.limit or None]
        return [{name: item.get(name, "") for name in ("instruction", "input", "output")} for item in items]

    def _score(self, task: Task, texts: Sequence[str]) -> Score:
        return score(texts, [item["output"] for item in self._items(task)], task.metric)


@dataclass
class Base(Measured):
    """The base model, before any task."""

    def scores(self) -> dict[str, Any]:
        plan = self.plan
        model = Path(plan.model)
        weights = digest([(path.name, sha256(path)) for path in sorted(model.glob("*.safetensors"))])
        return self.measure(plan.out / "base", model, weights, [*plan.tasks, *plan.general], "base model")
