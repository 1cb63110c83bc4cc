"""The options of trainings as a comparison's file has them: known names and possible values, before anything runs."""

from __future__ import annotations

from collections.abc import Mapping
from typing import Any

from ..options.fates.table import ROWS
from ..options.groups import RULES, acts
from .names import advice


def option_problems(options: Mapping[str, Any], where: str) -> list[str]:
    """Return a sentence for each option that no training takes, or that takes another value.

    Args:
        options: by name.
        where: the part of the file that holds them, such as `train`.
    """
    problems = []
    for name, value in options.items():
        if not isinstance(name, str) or (name not in RULES and name not in ROWS):
            problems.append(f"{where}.{name} is no option of a training; {advice(str(name), [*RULES, *ROWS])}")
            continue
        rule = RULES.get(name) or ROWS[name].takes
        if rule is None:
            continue
        try:
            rule.read(value)
        except (ValueError, OverflowError, TypeError):
            problems.append(f"{where}.{name}={value!r}: give {rule}")
    return problems


def idle_options(options: Mapping[str, Any], kind: str, where: str) -> list[str]:
    """Return a sentence for each option of a method that trains another way.

    Args:
        options: of all parts of the file that act on the method, by name.
        kind: of the method.
        where: the method's place in the file.
    """
    chosen = {"stage": options.get("stage", "sft"), "finetuning_type": "data" if kind == "data" else "lora"}
    return [
        f"{where}: {name} has no effect with kind: {kind}; remove it, or give it to the methods that take it"
        for name in options
        if isinstance(name, str) and not acts(name, chosen)
    ]
