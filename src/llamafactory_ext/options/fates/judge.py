"""What the table says of one training command: problems that end it, and warnings."""

from __future__ import annotations

import os
import sys
from collections.abc import Iterable, Mapping
from dataclasses import MISSING, Field, fields
from enum import Enum
from importlib.util import find_spec
from typing import Any, Final

from ...methods import chosen, row_of
from ..values import Rule, Switch, Text, Texts, shown
from .conditions import is_set
from .row import SHOWN, Command, MissingOptionError, Row, column_of
from .table import ROWS

Given = Mapping[str, Any]
Rules = Mapping[str, Rule]
NO_RULES: Final[Rules] = {}
_NOTHING = ("", "none", "null")
_STRATEGIES = {"logging_steps": "logging_strategy", "save_steps": "save_strategy", "eval_steps": "eval_strategy"}


def methods_of(given: Given) -> tuple[str, ...]:
    """Return the methods whose columns hold for a command; () where it asks for none of ours.

    A stage may go on alone from the adapter of a fine-tuning type: what steers that type's own run is not asked then.
    """
    rows = chosen(given.get("finetuning_type"), given.get("stage"))
    alone = tuple(row.name for row in rows if row.alone)
    return alone or tuple(row.name for row in rows)


def normal_names(given: Given, defaults: Given) -> dict[str, Any]:
    """Return the raw options under the names of their fields: `--no_x` is x, a flag without a value is true."""
    found = {}
    for name, value in given.items():
        positive = name.removeprefix("no_")
        if positive != name and name not in defaults and positive in defaults:
            found[positive] = False
        else:
            found[name] = True if value == [] else value
    return found


def defaults_of(classes: Iterable[type]) -> dict[str, Any]:
    """Return the defaults of all options that upstream's classes declare."""
    return {part.name: _default(part) for kind in classes for part in fields(kind) if part.init}


def _default(part: Field) -> Any:
    if part.default is not MISSING:
        return part.default
    return part.default_factory() if part.default_factory is not MISSING else None


def same(raw: Any, default: Any) -> bool:
    """Return whether a raw value says the same as a default."""
    default = default.value if isinstance(default, Enum) else default
    if raw == default and isinstance(raw, bool) == isinstance(default, bool):
        return True
    if default is None:  # a switch that is off says what an empty one says; LLaMA Board always writes it
        return str(raw).lower() in (*_NOTHING, "false")
    if raw is None:
        return str(default).lower() in _NOTHING
    if isinstance(default, bool) or isinstance(raw, bool):
        return str(raw).lower() == str(default).lower()
    try:
        return float(raw) == float(default)
    except (TypeError, ValueError):
        return str(raw) == str(default)


def wrong_values(given: Given, defaults: Given, declared: Rules = NO_RULES) -> dict[str, str]:
    """Return a sentence for each option whose value cannot work, by its name.

    Args:
        given: raw values by the names of fields.
        defaults: of upstream's classes.
        declared: what options take whose rows say nothing of it.
    """
    found = {}
    for name, raw in given.items():
        rule = _rule(name, declared)
        if rule is None or name not in defaults or same(raw, defaults[name]):
            continue
        if _is_unused(name, raw, given, defaults):
            continue
        try:
            _read(rule, raw)
        except (ValueError, OverflowError):
            nothing = raw is True and isinstance(rule, Texts)  # an empty list, by now
            found[name] = f"{name} names nothing: give {rule}" if nothing else f"{name}={shown(raw)}: give {rule}"
    return found


def read_values(given: Given, defaults: Given, declared: Rules = NO_RULES) -> dict[str, Any]:
    """Return the values that are written in another type than their option takes, as it takes them, by name.

    Upstream puts what a file says into its options as it stands: `max_steps: 2.0` or "0.9" for a number fail late.
    """
    found = {}
    for name, raw in given.items():
        rule = _rule(name, declared)
        if rule is None or name not in defaults:
            continue
        try:
            value = _read(rule, raw)
        except (ValueError, OverflowError):
            continue  # said by `wrong_values`, or as good as the default
        if isinstance(value, float) and str(raw).strip().lstrip("+-").isdecimal():
            value = int(raw)  # options that count steps from 1 up take both kinds, and are written back as given
        if value is not None and (not isinstance(raw, type(value)) or (isinstance(raw, list) and raw != value)):
            found[name] = value
    return found


def _rule(name: str, declared: Rules) -> Rule | None:
    row = ROWS.get(name)
    return (row.takes if row is not None else None) or declared.get(name)


def _read(rule: Rule, raw: Any) -> Any:
    """Return what a rule reads; a name such as 2026, which YAML took for a number, is text."""
    if isinstance(rule, Text) and isinstance(raw, (int, float)) and not isinstance(raw, bool):
        return str(raw)
    return rule.read(raw)


def _is_unused(name: str, raw: Any, given: Given, defaults: Given) -> bool:
    """Tell whether a number of steps is zero and nothing counts them."""
    strategy = _STRATEGIES.get(name)
    if strategy is None or str(raw) not in ("0", "0.0"):
        return False
    chosen = given.get(strategy, defaults.get(strategy))
    return str(getattr(chosen, "value", chosen)).lower() in ("no", "false")


def refusals(given: Given, defaults: Given, *, trains: bool) -> dict[str, str]:
    """Return a sentence for each option that cannot be used with the command's methods, by its name.

    Args:
        given: raw values by the names of fields.
        defaults: of upstream's classes.
        trains: whether the command trains; chat, export and prediction go by few rows.
    """
    found: dict[str, str] = {}
    for name, row, method in _changed(given, defaults):
        if not trains and not row.always:
            continue
        fate = row.fate(method)
        if row.instead(method) and _says_the_same(row, method, given):
            continue
        if fate.kind == "refused":
            found.setdefault(name, f"{name} {fate.text.format(method=SHOWN[method])}")
        elif row.needs and _on(row, given[name]) and not _is_there(row.needs):
            package = row.needs.replace("_", "-")
            found.setdefault(name, f"{name} needs the package {package}; pip install {package}, or remove the option")
    for variable in ("USE_MCA", "USE_MEGATRON_BRIDGE"):
        if is_set(variable) and methods_of(given):
            found[variable] = f"{variable} does not work with {SHOWN[methods_of(given)[0]]}; unset the variable"
    return found


def passed_over(given: Given, defaults: Given) -> list[str]:
    """Return a sentence for each option that has no effect with the command's methods."""
    found: dict[str, str] = {}
    kind = given.get("finetuning_type", defaults.get("finetuning_type"))
    for name, row, method in _changed(given, defaults):
        fate = row.fate(method)
        if fate.kind == "no effect":
            found.setdefault(name, f"{name} {fate.text.format(method=SHOWN[method])}.")
        elif fate.kind == "works" and row_of(method, "stage") and row.types and kind not in row.types:
            found.setdefault(name, f"{name} has no effect with finetuning_type: {kind}.")
        elif fate.kind == "works" and row.of and not _switched_on(row.of, given):
            found.setdefault(name, f"{name} has no effect without {row.of}.")
    return list(found.values())


def unknown(given: Given, defaults: Given) -> str | None:
    """Return one line about options that are upstream's and stand in no row; None without any."""
    names = [name for name in given if name in defaults and name not in ROWS]
    if not names or not methods_of(given):
        return None
    return (
        f"{', '.join(sorted(names))}: newer than this version of llamafactory_ext, which does not know what becomes "
        f"of it with {SHOWN[methods_of(given)[0]]}; compare a short run with and without."
    )


def broken_conditions(given: Given, groups: tuple[Any, ...]) -> list[str]:
    """Return what the conditions between options say, each once."""
    found: list[str] = []
    for method in methods_of(given):
        checks = [row.check for row in ROWS.values() if row.check is not None]
        for check in dict.fromkeys([*checks, *column_of(method).checks]):
            try:
                found += check(Command(method, given, groups))
            except MissingOptionError:
                continue
    return list(dict.fromkeys(found))


def _changed(given: Given, defaults: Given) -> Iterable[tuple[str, Row, str]]:
    """Return every option of the table that the command changes, once per method."""
    for name, raw in given.items():
        row = ROWS.get(name)
        if row is None or (name not in defaults and not row.untried):
            continue
        for method in methods_of(given):
            if row.instead(method) or not same(raw, defaults.get(name)):
                yield name, row, method


def _says_the_same(row: Row, method: str, given: Given) -> bool:
    """Tell whether ours has the value that upstream's is given, so that the command means what it says."""
    ours, _, value = row.instead(method).partition(": ")
    if value:  # a switch of upstream's, whose other position is one value of ours
        return str(given[row.name]).lower() == "true"
    return ours in given and same(given[row.name], given[ours])


def _is_there(package: str) -> bool:
    """Tell whether a package can be imported; one that is loaded already need not say where it comes from."""
    return package in sys.modules or find_spec(package) is not None


def _on(row: Row, raw: Any) -> bool:
    if not isinstance(row.takes, Switch):
        return True
    try:
        return row.takes.read(raw)
    except ValueError:
        return False


def _switched_on(switch: str, given: Given) -> bool:
    if switch.isupper():
        return os.environ.get(switch, "").lower() in ("1", "true", "y")
    return str(given.get(switch)).lower() not in ("none", "false", "", "null")
