"""The steps of a comparison: data, training and answers of every task, method and seed; each kept when it is done.

The same command resumes wherever the last one ended. A step is done when its file says so; the file holds a hash of
all that the step depends on, so a changed test file or option has it done again, and so are later tasks where weights
change.
"""

from __future__ import annotations

import json
from collections.abc import Mapping, Sequence
from dataclasses import dataclass
from pathlib import Path
from typing import Any

from ..checkpoint.atomic import write_json
from ..checkpoint.own import sha256
from .experts import Experts
from .measured import Base, Measured, Run, Tell, fact
from .metrics import summarise
from .parts import Method, Plan, Task
from .place import held
from .running import run_command
from .search import searched
from .tasks import drawn, read_records, training_records
from .trainings import ADAPTER, Training

RESULT = "result.json"


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
    base = Base(plan, run, tell).scores() if plan.base else None
    result: dict[str, Any] = {
        "name": plan.name,
        "tasks": [task.name for task in plan.tasks],
        "base": base,
        "methods": {},
    }
    for method in plan.methods:
        found = searched(plan, method, run, tell) if plan.search.rates else None
        options = {} if found is None else {"learning_rate": found["chosen"]}
        runs = [_Sequence(plan, method, seed, options, run, tell).scores(base) for seed in plan.seeds]
        row = {"kind": method.kind, "share": method.share, "settings": dict(method.settings), "search": found}
        row |= {"protect": method.protect}
        result["methods"][method.name] = {**row, "runs": runs}
        write_json(plan.out / RESULT, result)
    write_json(plan.out / RESULT, result)
    return result


@dataclass
class _Sequence:
    """One method with one seed.

    Attributes:
        options: of LLaMA-Factory that the search has found.
    """

    plan: Plan
    method: Method
    seed: int
    options: Mapping[str, Any]
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
        steps: list[int | None] = [None] * count
        gates: list[Any] = [None] * count
        trainings: list[Training] = []
        for t in range(count):
            if self.method.kind == "multi_task" and t < count - 1:
                continue
            training = self._training(t, trainings[-1].adapter if trainings else None)
            steps[t] = training.done(self.run, self.tell)
            trainings.append(training)
            gates[t] = fact(training.adapter / "gates.json") or None
            asked = self._asked(t)
            last = t == count - 1
            sets = [plan.tasks[i] for i in asked] + (list(plan.general) if last else [])
            name = f"{self.method.name}, seed {self.seed}, after {plan.tasks[t].name}"
            found = self._measure(trainings, sets, name)
            for i in asked:
                cell = found[plan.tasks[i].name]
                matrix[t][i] = cell["score"]
                cells[f"{t},{i}"] = {key: cell[key] for key in ("score", "n", "se")}
            if last:
                general = {task.name: {k: found[task.name][k] for k in ("score", "n", "se")} for task in plan.general}
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
            "steps": steps,
            "gates": gates if any(gates) else None,
            "stored_bytes": self._stored_bytes(trainings),
            **summary,
        }

    def _measure(self, trainings: Sequence[Training], sets: Sequence[Task], name: str) -> dict[str, Any]:
        """Return the scores on some tasks after the last of the trainings."""
        last, measured = trainings[-1], Measured(self.plan, self.run, self.tell)
        weights = ""
        if self.method.protect == "experts":
            measured = experts = Experts(self.plan, self.run, self.tell, trainings)
            weights = experts.weights()
        weights = weights or sha256(last.answers / ADAPTER)
        return measured.measure(last.place / "answers", last.answers, weights, sets, name)

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

    def _training(self, t: int, before: Path | None) -> Training:
        place, task = self.folder / f"task-{t + 1}", self.plan.tasks[t]
        start = None if self.method.row.starts == "base" else before
        return Training(self.plan, self.method, self.seed, task, t + 1, place, self._records(t), start, self.options)

    def _records(self, t: int) -> list[Any]:
        tasks = self.plan.tasks
        if self.method.kind == "multi_task":
            return [record for task in tasks for record in _of(task)]
        if self.method.kind == "per_task":
            return _of(tasks[t])
        return training_records([(task.name, _of(task)) for task in tasks[: t + 1]], self.method.share, self.seed)

    def _stored_bytes(self, trainings: Sequence[Training]) -> int:
        """Return the bytes that have to be kept to answer and to learn a next task."""
        if self.method.protect == "experts":
            return Experts(self.plan, self.run, self.tell, trainings).stored_bytes() + self._replayed_bytes()
        kept = trainings if self.method.kind == "per_task" else trainings[-1:]
        return sum(training.stored_bytes() for training in kept) + self._replayed_bytes()

    def _replayed_bytes(self) -> int:
        """Return the bytes of the earlier training items that the method keeps."""
        share, tasks = self.method.share, self.plan.tasks
        if self.method.kind == "multi_task":
            kept = [record for task in tasks for record in _of(task)]
        else:
            kept = [r for task in tasks if share for r in drawn(_of(task), share, self.seed, task.name)]
        return len(json.dumps(kept, ensure_ascii=False).encode("utf-8")) if kept else 0


def _of(task: Task) -> list[Any]:
    assert task.train is not None
    return read_records(task.train)
