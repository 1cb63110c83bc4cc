"""The steps of a comparison: data, training and answers of every task, method and seed; each kept when it is done.

The same command goes on wherever the last one ended. A step is done when its file says so; the file holds a hash of
all that the step depends on, so a changed test file or option has it done again, and so are later tasks where weights
change.
"""

from __future__ import annotations

import hashlib
import json
import os
import sys
from collections.abc import Callable, Mapping, Sequence
from dataclasses import dataclass
from pathlib import Path
from typing import Any

import yaml

from ..checkpoint.atomic import read_json, write_json, write_text
from ..checkpoint.own import sha256
from ..errors import CheckpointError, DataError, UpstreamError
from ..metrics.predictions import read_predictions
from .metrics import summarise
from .place import files_of, held, remove_adapter
from .plan import Method, Plan, Task
from .running import run_command
from .scoring import Score, score
from .tasks import read_records, training_records

RESULT = "result.json"
Run = Callable[[Sequence[str], Path], None]
Tell = Callable[[str], None]
_TRAINED = "trained.json"
_ADAPTER = "adapter_model.safetensors"


def run_plan(plan: Plan, run: Run = run_command, tell: Tell = print) -> dict[str, Any]:
    """Do all steps that are left; return what was measured.

    Args:
        plan: what to compare.
        run: runs a command, (words, log).
        tell: says what is being done.

    Raises:
        ExtError: a step failed; what was done is kept.
    """
    with held(plan.out, plan.name):
        return _measured(plan, run, tell)


def _measured(plan: Plan, run: Run, tell: Tell) -> dict[str, Any]:
    base = _Base(plan, run, tell).scores() if plan.base else None
    result: dict[str, Any] = {
        "name": plan.name,
        "tasks": [task.name for task in plan.tasks],
        "base": base,
        "methods": {},
    }
    for method in plan.methods:
        runs = [_Sequence(plan, method, seed, run, tell).scores(base) for seed in plan.seeds]
        result["methods"][method.name] = {"kind": method.kind, "share": method.share, "runs": runs}
        write_json(plan.out / RESULT, result)
    write_json(plan.out / RESULT, result)
    return result


def _digest(*parts: Any) -> str:
    return hashlib.sha256(json.dumps(parts, sort_keys=True, default=str).encode()).hexdigest()[:24]


def _fact(path: Path) -> dict[str, Any]:
    """Return what a finished step has kept; nothing where it is not done or its file is damaged."""
    try:
        found = read_json(path, "step") if path.is_file() else {}
    except CheckpointError:
        return {}
    return found if isinstance(found, dict) else {}


@dataclass
class _Measured:
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
            made_from = _digest(
                weights, sha256(task.test), task.metric, task.max_new_tokens, plan.limit, plan.template
            )
            kept = _fact(folder / f"{task.name}.score.json")
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
        base = None if model == Path(plan.model) else plan.model
        job = {"model": str(model), "base": base, "template": plan.template, "batch_size": plan.batch_size}
        write_json(folder / "job.json", {**job, "tasks": jobs})
        self.run([sys.executable, "-m", "llamafactory_ext.cl.answering", str(folder / "job.json")], folder / "job.log")
        for (task, made_from), done in zip(left, jobs, strict=True):
            found = self._score(task, Path(done["out"]))
            scores[task.name] = {**found.to_dict(), "made_from": made_from}
            write_json(folder / f"{task.name}.score.json", scores[task.name])
        return scores

    def _items(self, task: Task) -> list[Any]:
        items = read_records(task.test)[: self.plan.limit or None]
        return [{name: item.get(name, "") for name in ("instruction", "input", "output")} for item in items]

    def _score(self, task: Task, answers: Path) -> Score:
        items = self._items(task)
        found = read_predictions(answers, "cl").predictions
        if len(found) != len(items):
            raise DataError(f"{answers} holds {len(found)} answers to {len(items)} items; delete it and run again.")
        texts = {prediction.id: prediction.prediction for prediction in found}
        answered = [texts[str(place)] for place in range(len(items))]  # ids are the items' places
        return score(answered, [item["output"] for item in items], task.metric)


@dataclass
class _Base(_Measured):
    """The base model, before any task."""

    def scores(self) -> dict[str, Any]:
        plan = self.plan
        model = Path(plan.model)
        weights = _digest([(path.name, sha256(path)) for path in sorted(model.glob("*.safetensors"))])
        return self.measure(plan.out / "base", model, weights, [*plan.tasks, *plan.general], "base model")


@dataclass
class _Sequence:
    """One method with one seed."""

    plan: Plan
    method: Method
    seed: int
    run: Run
    tell: Tell

    @property
    def folder(self) -> Path:
        return self.plan.out / self.method.name / f"seed-{self.seed}"

    def scores(self, base: Mapping[str, Any] | None) -> dict[str, Any]:
        """Return the matrix and what it says."""
        plan, count = self.plan, len(self.plan.tasks)
        matrix: list[list[float | None]] = [[None] * count for _ in range(count)]
        cells: dict[str, Any] = {}
        general: dict[str, Any] = {}
        before: Path | None = None
        for t in range(count):
            if self.method.kind == "multi_task" and t < count - 1:
                continue
            adapter = self._train(t, before)
            asked = self._asked(t)
            last = t == count - 1
            sets = [plan.tasks[i] for i in asked] + (list(plan.general) if last else [])
            name = f"{self.method.name}, seed {self.seed}, after {plan.tasks[t].name}"
            measured = _Measured(plan, self.run, self.tell)
            found = measured.measure(self._place(t) / "answers", adapter, sha256(adapter / _ADAPTER), sets, name)
            for i in asked:
                cell = found[plan.tasks[i].name]
                matrix[t][i] = cell["score"]
                cells[f"{t},{i}"] = {key: cell[key] for key in ("score", "n", "se")}
            if last:
                general = {task.name: {k: found[task.name][k] for k in ("score", "n", "se")} for task in plan.general}
            before = adapter
        scores = None if base is None else [base[task.name]["score"] for task in plan.tasks]
        summary = vars(summarise(self._whole(matrix), scores))
        if self.method.kind in ("per_task", "multi_task"):  # there is no sequence that could be forgotten
            summary = {name: value if name in ("ap", "plasticity") else None for name, value in summary.items()}
        change = None
        if base is not None and general:
            change = sum(general[name]["score"] - base[name]["score"] for name in general) / len(general)
        return {
            "seed": self.seed,
            "matrix": matrix,
            "cells": cells,
            "general": general,
            "general_change": change,
            "steps": [_fact(self._place(t) / _TRAINED).get("steps") for t in range(count)],
            **summary,
        }

    def _whole(self, matrix: list[list[float | None]]) -> list[list[float | None]]:
        """Return the matrix that the figures are taken of: each task's own model stands for the last of per_task."""
        if self.method.kind != "per_task":
            return matrix
        return [*matrix[:-1], [matrix[i][i] for i in range(len(matrix))]]

    def _asked(self, t: int) -> list[int]:
        count = len(self.plan.tasks)
        if self.method.kind == "per_task":
            return [t]
        if self.plan.rows == "all" or self.method.kind == "multi_task":
            return list(range(count))
        if self.plan.rows == "last" and t < count - 1:
            return [t]
        ahead = [t + 1] if self.plan.base and t + 1 < count else []  # for the forward transfer
        return [*range(t + 1), *ahead]

    def _place(self, t: int) -> Path:
        return self.folder / f"task-{t + 1}"

    # Training

    def _train(self, t: int, before: Path | None) -> Path:
        """Return the adapter after task t, trained if it is not there yet."""
        place, options = self._place(t), self._options(t, before)
        adapter, records = place / "adapter", self._records(t)
        start = None if before is None or self.method.kind == "per_task" else sha256(before / _ADAPTER)
        relevant = {name: value for name, value in options.items() if name not in ("output_dir", "dataset_dir")}
        relevant.pop("adapter_name_or_path", None)
        made_from = _digest(relevant, records, start, sha256(Path(self.plan.model) / "config.json"))
        kept = _fact(place / _TRAINED)
        if kept.get("made_from") == made_from and (adapter / _ADAPTER).is_file():
            if kept.get("adapter") == sha256(adapter / _ADAPTER):
                return adapter
            self.tell(f"{adapter / _ADAPTER} is not what was trained; it is trained anew")
        begun = _fact(place / "begun.json").get("made_from") == made_from
        if os.path.lexists(adapter) and not (begun and self.method.kind == "data" and not kept):
            remove_adapter(adapter, self.plan.out, kept.get("files"))
        (place / _TRAINED).unlink(missing_ok=True)
        place.mkdir(parents=True, exist_ok=True)
        write_json(place / "begun.json", {"made_from": made_from})
        self._write_data(place / "data", records)
        write_text(place / "train.yaml", yaml.safe_dump(options, sort_keys=False, allow_unicode=True))
        self.tell(
            f"{self.method.name}, seed {self.seed}: training on {self.plan.tasks[t].name} ({len(records)} items)"
        )
        program = str(Path(sys.executable).with_name("llamafactory-cli"))
        self.run([program, "train", str(place / "train.yaml")], place / "train.log")
        if not (adapter / _ADAPTER).is_file():
            raise UpstreamError(f"The training wrote no {adapter / _ADAPTER}; read {place / 'train.log'}.")
        steps = _fact(adapter / "trainer_state.json").get("global_step")
        made = {"adapter": sha256(adapter / _ADAPTER), "steps": steps, "files": files_of(adapter)}
        write_json(place / _TRAINED, {"made_from": made_from, **made})
        return adapter

    def _records(self, t: int) -> list[Any]:
        def of(task: Task) -> tuple[str, list[Any]]:
            assert task.train is not None
            return task.name, read_records(task.train)

        tasks = self.plan.tasks
        if self.method.kind == "multi_task":
            return [record for task in tasks for record in of(task)[1]]
        if self.method.kind == "per_task":
            return of(tasks[t])[1]
        return training_records([of(task) for task in tasks[: t + 1]], self.method.share, self.seed)

    def _options(self, t: int, before: Path | None) -> dict[str, Any]:
        plan, task, place = self.plan, self.plan.tasks[t], self._place(t)
        options: dict[str, Any] = {
            "stage": "sft",
            "do_train": True,
            "finetuning_type": "data" if self.method.kind == "data" else "lora",
            "logging_steps": 10,
            "save_strategy": "no",
            "report_to": "none",
            "overwrite_cache": True,
            **plan.train,
            **(task.options if self.method.kind != "multi_task" else {}),
            **self.method.options,
            "model_name_or_path": plan.model,
            "template": plan.template,
            "dataset": "task",
            "dataset_dir": str(place / "data"),
            "output_dir": str(place / "adapter"),
            "seed": self.seed,
        }
        if self.method.kind == "data":
            options["data_task"] = task.name
        if before is not None and self.method.kind not in ("per_task", "multi_task"):
            options["adapter_name_or_path"] = str(before)
        return options

    @staticmethod
    def _write_data(folder: Path, records: Sequence[Any]) -> None:
        folder.mkdir(parents=True, exist_ok=True)
        write_text(folder / "task.json", json.dumps(records, ensure_ascii=False))
        columns = {"prompt": "instruction", "query": "input", "response": "output"}
        write_json(folder / "dataset_info.json", {"task": {"file_name": "task.json", "columns": columns}})
