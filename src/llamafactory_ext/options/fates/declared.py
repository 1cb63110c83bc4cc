"""What options of upstream take whose rows say nothing of it, by the types that upstream's classes declare."""

from __future__ import annotations

import math
from collections.abc import Iterable
from dataclasses import fields
from enum import Enum
from functools import cache
from types import NoneType, UnionType
from typing import Any, Final, Literal, Union, get_args, get_origin, get_type_hints

from ..values import Choice, Number, Rule, Switch, Text, Texts

# Takes a name, `true` or `false`: read where a run is resumed.
_READ_ELSEWHERE: Final = ("resume_from_checkpoint",)
# Declared as text, and read as text with commas or as a list.
_LISTS: Final = (
    "dataset",
    "eval_dataset",
    "interleave_probs",
    "freeze_trainable_modules",
    "freeze_extra_modules",
    "additional_target",
    "lora_target",
    "oft_target",
    "galore_target",
    "apollo_target",
)


def declared_rules(classes: Iterable[type]) -> dict[str, Rule]:
    """Return a rule for each option whose type tells what it takes, by its name."""
    found: dict[str, Rule] = {}
    for kind in classes:
        found |= _rules_of(kind)
    return found


@cache
def _rules_of(kind: type) -> dict[str, Rule]:
    types = get_type_hints(kind)
    names = [part.name for part in fields(kind) if part.init and part.name not in _READ_ELSEWHERE]
    rules = {name: Texts() if name in _LISTS else _rule_of(types[name]) for name in names}
    return {name: rule for name, rule in rules.items() if rule is not None}


def _rule_of(declared: Any) -> Rule | None:
    """Return the rule of a type; None where upstream reads the value in ways that the type does not tell."""
    union = get_origin(declared) in (Union, UnionType)
    kinds = [kind for kind in get_args(declared) if kind is not NoneType] if union else [declared]
    if len(kinds) > 1:
        lists = [kind for kind in kinds if get_origin(kind) is list]
        return Texts() if len(kinds) == 2 and str in kinds and lists else None
    (kind,) = kinds
    if get_origin(kind) is Literal:
        return Choice(get_args(kind))
    if get_origin(kind) is list:
        return Texts()
    if isinstance(kind, type) and issubclass(kind, Enum):
        return Choice(tuple(str(word.value) for word in kind))
    plain: dict[Any, Rule] = {
        bool: Switch(),
        int: Number(-math.inf, whole=True),
        float: Number(-math.inf),
        str: Text(),
    }
    return plain.get(kind)
