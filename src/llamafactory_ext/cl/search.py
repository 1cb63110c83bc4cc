"""The search for each method's learning rate: every rate once, on the first task's training items alone.

A share of those items is kept from training and asked afterwards. Test items are never seen. Trainings that two
methods would share, because they differ from the second task on, are done once.
"""

from __future__ import annotations

import dataclasses
import json
from collections.abc import Mapping
from typing import Any

from ..checkpoint.atomic import write_text
from ..checkpoint.own import sha256
from .measured import Measured, Run, Tell, digest
from .parts import Method, Plan, Task
from .tasks import drawn, read_records
from .trainings import ADAPTER, Training


def searched(plan: Plan, method: Method, run: Run, tell: Tell) -> dict[str, Any]:
    """Return the scores of all rates and the best; equal scores give the lower rate.

    Args:
        plan: with rates.
        method: of the plan.
        run: runs a command.
        tell: says what is being done.

    Returns:
        rates: {rate: score}, n, chosen.
    """
    first, seed = plan.tasks[0], plan.seeds[0]
    assert first.train is not None
    records = read_records(first.train)
    kept = drawn(records, plan.search.share, seed, "validation")
    chosen = {id(record) for record in kept}
    learnt = [record for record in records if id(record) not in chosen] or records
    folder = plan.out / "search"
    test = folder / f"validation-{seed}.json"
    folder.mkdir(parents=True, exist_ok=True)
    write_text(test, json.dumps(kept, ensure_ascii=False))
    task = dataclasses.replace(first, test=test)
    scores = {rate: _score(plan, _as_first(method), task, learnt, rate, run, tell) for rate in plan.search.rates}
    best = max(scores, key=lambda rate: (scores[rate], -rate))
    return {"rates": {f"{rate:g}": score for rate, score in scores.items()}, "n": len(kept), "chosen": best}


def _as_first(method: Method) -> Method:
    """Return the method as it trains a first task: many are plain LoRA there, and share its trainings."""
    is_plain = method.row.plain_first and not method.settings.get("l2")
    return dataclasses.replace(method, kind="seq_lora", share=0.0, settings={}) if is_plain else method


def _score(plan: Plan, method: Method, task: Task, records: list[Any], rate: float, run: Run, tell: Tell) -> float:
    """Return the share of right answers to the validation items after a training with a rate."""
    seed, options = plan.seeds[0], {"learning_rate": rate}
    parts = [method.kind, dict(method.options), dict(method.settings), rate, seed]
    name = digest(*parts, *filter(None, [method.row.rival]))[:12]
    place = plan.out / "search" / name
    named = dataclasses.replace(method, name=f"search, {method.kind} with learning_rate {rate:g}")
    training = Training(plan, named, seed, task, 1, place, records, options=options)
    training.done(run, tell)
    measured = Measured(dataclasses.replace(plan, limit=0), run, tell)
    weights = sha256(training.answers / ADAPTER)
    found: Mapping[str, Any] = measured.measure(place / "answers", training.answers, weights, [task], named.name)
    return float(found[task.name]["score"])
