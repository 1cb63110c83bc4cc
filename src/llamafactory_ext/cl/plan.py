"""A file of options for a comparison: read once, checked together, every problem with its next step."""

from __future__ import annotations

from collections.abc import Mapping
from pathlib import Path
from typing import Any, Final

import yaml

from ..errors import OptionError
from ..foreign import shown
from .checks import MISSING, file_problems, idle
from .kinds import KINDS, PROTECTED, REFUSED, row_of, settings_problems, with_defaults
from .names import TAKEN, halves, name_problem, twice, unknown_keys
from .parts import Method, Plan, Search, Task
from .scoring import METRICS
from .sources import ORDERS
from .training_options import option_problems

ROWS: Final = ("seen", "all", "last")
_KEYS: Final = {
    "name",
    "out",
    "model",
    "template",
    "methods",
    "train",
    "tasks",
    "order",
    "evaluate",
    "seeds",
    "search",
}
_OURS: Final = (
    "output_dir",
    "dataset",
    "dataset_dir",
    "model_name_or_path",
    "template",
    "seed",
    "adapter_name_or_path",
    "create_new_adapter",
    "finetuning_type",
    "do_train",
    "do_predict",
    "dry_run",
    "dry_run_gpus",
    "resume_from_checkpoint",
    "data_task",
)


def read_plan(path: Path, *, allow_leak: bool = False) -> Plan:
    """Read a file of options; paths in it are relative to the working directory.

    Args:
        path: a YAML file.
        allow_leak: take test files whose items stand in the training data.

    Raises:
        OptionError: it cannot be read, or what it asks for does not work: all problems at once.
    """
    try:
        raw = yaml.safe_load(path.read_text("utf-8"))
        odd = halves(raw)
    except FileNotFoundError:
        raise OptionError(f"{path} does not exist; name the file of the comparison.") from None
    except (OSError, ValueError, TypeError, yaml.YAMLError, RecursionError) as error:
        why = shown(str(error), 200)
        raise OptionError(f"{path} cannot be read ({why}); name a YAML file, or mend it.") from None
    if odd:
        raise OptionError(f"{path}: {odd[0]} holds half a character or a zero byte; write it whole.")
    if not isinstance(raw, dict):
        raise OptionError(f"{path} holds no options; see examples/yaml/cl/tools_tiny.yaml.")
    reader = _Reader(raw)
    plan = reader.plan()
    problems = list(dict.fromkeys([*reader.problems, *idle(plan), *file_problems(plan, allow_leak)]))
    if problems:
        raise OptionError.listing(f"{path} does not work:", problems)
    return plan


class _Reader:
    """Collects what is wrong while it reads."""

    def __init__(self, raw: Mapping[str, Any]) -> None:
        self.raw, self.problems = raw, unknown_keys(raw, _KEYS)

    def plan(self) -> Plan:
        evaluate = self._mapping(self.raw.get("evaluate"), "evaluate")
        self.problems += unknown_keys(evaluate, ("rows", "base", "general", "limit", "batch_size"), "evaluate.")
        rows = evaluate.get("rows", "seen")
        if rows not in ROWS:
            self.problems.append(f"evaluate.rows={rows!r}: choose one of {', '.join(ROWS)}")
        tasks = self._tasks(self.raw.get("tasks"), "tasks", train=True)
        general = self._tasks(evaluate.get("general", []), "evaluate.general", train=False)
        for name in twice(task.name for task in (*tasks, *general)):
            self.problems.append(f"{name} stands twice among tasks and evaluate.general; rename one")
        name, base = self.raw.get("name", "comparison"), evaluate.get("base", True)
        if not isinstance(name, str) or not name.strip():
            self.problems.append(f"name={name!r}: write a text")
        if not isinstance(base, bool):
            self.problems.append(f"evaluate.base={base!r}: write true or false")
        return Plan(
            name=str(name),
            out=Path(self._text("out")),
            model=self._text("model"),
            template=self._text("template"),
            methods=self._methods(),
            tasks=self._ordered(tasks),
            general=general,
            train=self._options(self.raw.get("train"), "train"),
            seeds=self._seeds(),
            rows=rows,
            base=bool(base),
            limit=self._whole(evaluate.get("limit", 0), "evaluate.limit", 0),
            batch_size=self._whole(evaluate.get("batch_size", 16), "evaluate.batch_size", 1),
            search=self._search(),
        )

    def _search(self) -> Search:
        given = self._mapping(self.raw.get("search"), "search")
        self.problems += unknown_keys(given, ("learning_rates", "share"), "search.")
        if not given:
            return Search()
        rates, share = given.get("learning_rates"), given.get("share", Search.share)
        read = [_rate(rate) for rate in rates] if isinstance(rates, list) else []
        if not read or None in read:
            self.problems.append(f"search.learning_rates={rates!r}: give a list of numbers, such as [1.0e-4, 3.0e-4]")
            return Search()
        self.problems += [f"search.learning_rates: {rate} stands there twice; remove one" for rate in twice(read)]
        if isinstance(share, bool) or not isinstance(share, int | float) or not 0 < share < 1:
            self.problems.append(f"search.share={share!r}: give a number between 0 and 1")
            share = Search.share
        return Search(tuple(rate for rate in read if rate is not None), float(share))

    def _seeds(self) -> tuple[int, ...]:
        seeds = self.raw.get("seeds", [42])
        if not (isinstance(seeds, list) and seeds and all(type(seed) is int and 0 <= seed < 2**32 for seed in seeds)):
            self.problems.append(f"seeds={seeds!r}: give a list of whole numbers from 0, such as [1, 2, 3]")
            return (42,)
        self.problems += [f"seeds: {seed} stands there twice; remove one" for seed in twice(seeds)]
        return tuple(seeds)

    def _text(self, key: str) -> str:
        value = self.raw.get(key)
        if not isinstance(value, str) or not value:
            self.problems.append(f"{key} is missing; write {key}: ...")
            return MISSING
        return value

    def _whole(self, value: Any, name: str, least: int) -> int:
        if type(value) is not int or value < least:
            self.problems.append(f"{name}={value!r}: give a whole number from {least}")
            return least
        return value

    def _mapping(self, value: Any, name: str) -> Mapping[str, Any]:
        if value is None:
            return {}
        if not isinstance(value, dict):
            self.problems.append(f"{name} is no list of options; write it as name: value")
            return {}
        return value

    def _options(self, value: Any, name: str) -> Mapping[str, Any]:
        options = self._mapping(value, name)
        self.problems += [f"{name}.{key} is set by the driver; remove it" for key in _OURS if key in options]
        self.problems += option_problems({k: v for k, v in options.items() if k not in _OURS}, name)
        return options

    def _methods(self) -> tuple[Method, ...]:
        found = []
        for name, raw in self._mapping(self.raw.get("methods"), "methods").items():
            given = self._mapping(raw, f"methods.{name}")
            kind, share = (
                given.get("kind", name),
                given.get("share", 0.1 if given.get("kind", name) == "replay" else 0.0),
            )
            if problem := name_problem(str(name), TAKEN):
                self.problems.append(f"methods.{name}: the name {problem}")
            row = KINDS.get(kind) if isinstance(kind, str) else None
            if isinstance(kind, str) and kind in REFUSED:
                self.problems.append(f"methods.{name}.kind={kind}: {REFUSED[kind]}")
            elif row is None:
                self.problems.append(f"methods.{name}.kind={kind!r}: choose one of {', '.join(KINDS)}")
            is_number = isinstance(share, int | float) and not isinstance(share, bool)
            if not is_number or not 0 <= share <= 1 or (kind == "replay" and share == 0):
                self.problems.append(f"methods.{name}.share={share!r}: give a number above 0 and up to 1")
                share = 0.0
            if share and kind in ("multi_task", "per_task"):
                self.problems.append(f"methods.{name}.share has no effect with kind: {kind}; remove it")
            known = ("kind", "share", "data_protect", "settings", "options")
            self.problems += unknown_keys(given, known, f"methods.{name}.")
            protect = given.get("data_protect", "")
            if "data_protect" in given and not (isinstance(protect, str) and protect in PROTECTED):
                self.problems.append(f"methods.{name}.data_protect={protect!r}: choose one of {', '.join(PROTECTED)}")
                protect = ""
            if protect and kind != "data":
                self.problems.append(f"methods.{name}.data_protect has no effect with kind: {kind}; remove it")
                protect = ""
            options = self._options(given.get("options"), f"methods.{name}.options")
            settings = self._mapping(given.get("settings"), f"methods.{name}.settings")
            if row is not None:
                row = row_of(row.name, protect)
                self.problems += settings_problems(row, settings, f"methods.{name}")
                settings = with_defaults(row, settings)
            found.append(Method(str(name), str(kind), float(share), settings, options, protect))
        self.problems += [f"methods: {name} stands there twice; rename one" for name in twice(m.name for m in found)]
        if not found and not self.problems:
            self.problems.append(f"methods is missing; name at least one of {', '.join(KINDS)}")
        return tuple(found)

    def _tasks(self, raw: Any, where: str, *, train: bool) -> tuple[Task, ...]:
        if not isinstance(raw, list):
            self.problems.append(f"{where} is no list of tasks; write - name: ... for each")
            return ()
        if train and not raw:
            self.problems.append(f"{where} is empty; give at least one task")
        found = []
        for number, item in enumerate(raw, 1):
            given = self._mapping(item, f"{where} {number}")
            name, known = given.get("name"), {"name", "train", "test", "metric", "max_new_tokens", "epochs", "options"}
            at = f"{where}.{name or number}"
            self.problems += unknown_keys(given, known, f"{at}.")
            for key in ("name", "test", *(["train"] if train or given.get("train") is not None else [])):
                if not isinstance(given.get(key), str) or not given[key]:
                    self.problems.append(f"{at}.{key} is missing or no text; write {key}: ...")
            if isinstance(name, str) and (problem := name_problem(name)):
                self.problems.append(f"{at}: the name {problem}")
            if given.get("metric", "exact") not in tuple(METRICS):
                self.problems.append(f"{at}.metric={given['metric']!r}: choose one of {', '.join(METRICS)}")
            options = dict(self._options(given.get("options"), f"{at}.options"))
            if "epochs" in given:
                options["num_train_epochs"] = given["epochs"]
            found.append(
                Task(
                    name=str(name),
                    test=_path(given.get("test")),
                    train=_path(given["train"]) if given.get("train") else None,
                    metric=str(given.get("metric", "exact")),
                    max_new_tokens=self._whole(given.get("max_new_tokens", 50), f"{at}.max_new_tokens", 1),
                    options=options,
                )
            )
        return tuple(found)

    def _ordered(self, tasks: tuple[Task, ...]) -> tuple[Task, ...]:
        order = self.raw.get("order")
        if order is None:
            return tasks
        if isinstance(order, str):
            if order not in ORDERS:
                self.problems.append(f"order={order!r}: give a list of tasks, or one of {', '.join(ORDERS)}")
                return tasks
            order = list(ORDERS[order])
        named = {task.name: task for task in tasks}
        if not isinstance(order, list) or not order:
            self.problems.append(f"order={order!r}: give a list of tasks, or one of {', '.join(ORDERS)}")
            return tasks
        if missing := [name for name in order if not isinstance(name, str) or name not in named]:
            self.problems.append(
                f"order names {', '.join(map(str, missing))}, which tasks lacks: the sequence has a gap"
            )
            return tasks
        self.problems += [f"order names {name} twice; remove one" for name in twice(order)]
        return tuple(named[name] for name in order)


def _rate(value: Any) -> float | None:
    """Return a learning rate; YAML takes 1e-4 for a text."""
    try:
        rate = float(value) if isinstance(value, int | float | str) and not isinstance(value, bool) else 0.0
    except (ValueError, OverflowError):
        return None
    return rate if 0 < rate < 1 else None


def _path(value: Any) -> Path:
    return Path(value if isinstance(value, str) and value else MISSING)
