"""What is wrong with a plan once it is read: options without effect, and files."""

from __future__ import annotations

from collections.abc import Mapping
from pathlib import Path
from typing import Any, Final

from ..errors import OptionError
from ..paths import is_folder
from .kinds import KINDS, Kind
from .parts import Plan
from .sources import leaked_items
from .tasks import read_records
from .training_options import idle_options

MISSING: Final = "?"  # where a file's name was missing, which has been said
# Options of LLaMA-Factory whose adapter is more than pairs of A and B.
_NOT_PLAIN: Final = ("use_dora", "additional_target", "pissa_init", "resize_vocab", "use_unsloth", "use_galore")
_SET_BY_OSF: Final = ("lora_rank", "lora_alpha", "lora_dropout")


def idle(plan: Plan) -> list[str]:
    """Return what the file asks of methods that know nothing of it."""
    problems = []
    for method in plan.methods:
        if method.kind in KINDS:
            asked = dict(plan.train)
            for task in plan.tasks:
                asked |= task.options
            asked |= method.options
            where = f"methods.{method.name}"
            problems += idle_options(asked, method.kind, where)
            problems += _rivals_problems(asked, method.row, where)
            if plan.search.rates and "learning_rate" in asked:
                problems.append(f"{where}: learning_rate has no effect beside search.learning_rates; remove it")
    return problems


def _rivals_problems(asked: Mapping[str, Any], kind: Kind, where: str) -> list[str]:
    """Return what a rival's steps beside a training cannot work with."""
    if not kind.is_rival:
        return []
    problems = [
        f"{where}: {name} does not work with kind: {kind.name}; remove it" for name in _NOT_PLAIN if asked.get(name)
    ]
    if kind.starts == "sum" and asked.get("quantization_bit"):
        problems.append(f"{where}: quantization_bit keeps earlier adapters from being added; remove it")
    if kind.name == "osf":
        problems += [f"{where}: {name} is set by kind: osf; remove it" for name in _SET_BY_OSF if name in asked]
    return problems


def file_problems(plan: Plan, allow_leak: bool) -> list[str]:
    """Return what is wrong with the files."""
    problems = []
    if plan.model != MISSING and not is_folder(Path(plan.model)):
        problems.append(f"model={plan.model} is no folder; name a model's folder")
    for task in (*plan.tasks, *plan.general):
        if MISSING in (str(task.test), str(task.train)):
            continue
        try:
            test = read_records(task.test)
            train = [] if task.train is None else read_records(task.train)
        except OptionError as error:
            problems.append(error.message.rstrip("."))
            continue
        if not test:
            problems.append(f"{task.test}: task {task.name} has no test items; give at least one")
        if task.train is not None and not train:
            problems.append(f"{task.train}: task {task.name} has no training items; give at least one")
        leaked = leaked_items(train, test)
        if leaked > max(2, 0.02 * len(test)) and not allow_leak:
            problems.append(
                f"{task.test}: {leaked} of {len(test)} items stand in {task.train} too; take test items that are not "
                "trained on, or give --allow_leak"
            )
    return problems
