"""A pytest plugin that runs PEFT's own parametrized tests with `MoLoraConfig` in the place of `LoraConfig`.

`peft_suite.py` loads it. Rows of the suite's tables that say LoRA, and only what MOLoRA has too, become rows of ours;
all other rows and tests are left out. What became of each test is written as JSON: refusals carry the message.
"""

import collections
import contextlib
import importlib
import json
import os
import random
import sys
import types
from pathlib import Path
from typing import Any

import pytest
from peft import LoraConfig, PeftConfig

import llamafactory_ext  # noqa: F401  # registers MOLORA
from llamafactory_ext.errors import ExtError
from llamafactory_ext.molora import MoLoraConfig

OURS = {name for name, found in MoLoraConfig.__dataclass_fields__.items() if found.init}
RENAMED = {"lora_alpha": "alpha", "init_lora_weights": "init_weights"}
# Defaults in other words, and what never acts in evaluation mode.
DROPPED = {"lora_dropout", "bias"}
VARIATIONS: tuple[dict[str, Any], ...] = ({}, {"neutral_gate": False, "num_experts": 2})


def _settings(settings: dict[str, Any]) -> dict[str, Any] | None:
    """LoRA's settings in our words; None where a word has no meaning here."""
    settings = {RENAMED.get(name, name): value for name, value in settings.items() if name not in DROPPED}
    if settings.keys() - OURS or not isinstance(settings.get("init_weights", True), bool):
        return None
    if "target_modules" in settings and settings["target_modules"] is None:
        # PEFT has a default per model for its own methods; the pooler's output is not part of the tests' losses.
        settings |= {"target_modules": "all-linear", "exclude_modules": ["pooler.dense"]}
    # LoRA's default strength, where the row names targets.
    return {"alpha": 8} | settings if "target_modules" in settings else settings


def _rows(row: Any) -> list[Any]:
    """The rows that stand for one row of the suite, none to leave it out."""
    parts = row if isinstance(row, (tuple, list)) else (row,)
    if isinstance(row, type(pytest.param())) or LoraConfig not in parts:
        return []
    found = []
    for variation in VARIATIONS if any(isinstance(part, dict) for part in parts) else ({},):
        changed: list[Any] = []
        for part in parts:
            if part is LoraConfig:
                changed.append(MoLoraConfig)
            elif isinstance(part, dict):
                settings = _settings(part)
                if settings is None:
                    return []
                changed.append(settings | variation)
            else:
                changed.append(part.replace("lora", "molora") if part == "lora" else part)
        found.append(tuple(changed) if isinstance(row, (tuple, list)) else changed[0])
    return found


def _speaks_of_methods(values: Any) -> bool:
    parts = [part for row in values for part in (row if isinstance(row, (tuple, list)) else (row,))]
    return any(isinstance(part, type) and issubclass(part, PeftConfig) for part in parts)


def _change(function: Any) -> None:
    marks = list(getattr(function, "pytestmark", []))
    ours = False
    for index, mark in enumerate(marks):
        if mark.name != "parametrize" or not _speaks_of_methods(mark.args[1]):
            continue
        ours = True
        values = [new for row in mark.args[1] for new in _rows(row)]
        options = {name: value for name, value in mark.kwargs.items() if name != "ids"}
        marks[index] = getattr(pytest.mark, mark.name)(mark.args[0], values, **options).mark
    function.pytestmark = marks
    function.runs_for_us = ours


def pytest_configure(config: pytest.Config) -> None:
    """Stand in for what the suite imports and never uses here."""
    if importlib.util.find_spec("diffusers") is None:
        sys.modules["diffusers"] = types.ModuleType("diffusers")
        sys.modules["diffusers"].StableDiffusionPipeline = type("StableDiffusionPipeline", (), {})  # type: ignore[attr-defined]
    utilities = importlib.import_module("tests.testing_utils")
    utilities.hub_online_once = lambda name: contextlib.nullcontext()


def pytest_pycollect_makeitem(collector: Any, name: str, obj: Any) -> None:
    """Exchange the rows before pytest reads them."""
    if name == "test_custom_models" or not name.startswith(("Test", "test_")):
        return
    prefixes = getattr(sys.modules.get(getattr(obj, "__module__", "")), "PREFIXES", None)
    if prefixes is not None:
        prefixes.setdefault(MoLoraConfig, "molora_")
    functions = [getattr(obj, name) for name in dir(obj)] if isinstance(obj, type) else [obj]
    for function in functions:
        if isinstance(function, types.FunctionType) and not hasattr(function, "runs_for_us"):
            _change(function)


def pytest_collection_modifyitems(config: pytest.Config, items: list[pytest.Item]) -> None:
    """Keep the tests in which our rows stand."""

    def runs(item: Any) -> bool:
        return getattr(item.function, "runs_for_us", False) and not item.name.endswith("[NOTSET]")

    config.hook.pytest_deselected(items=[item for item in items if not runs(item)])
    items[:] = [item for item in items if runs(item)]
    if count := int(os.environ.get("PEFT_SUITE_SAMPLE", "0")):
        items[:] = _sample(items, count)


def _sample(items: list[pytest.Item], count: int) -> list[pytest.Item]:
    """Some rows of each test, always the same ones."""
    rows = collections.defaultdict(list)
    for place, item in enumerate(items):
        rows[getattr(item, "originalname", item.name)].append(place)
    draw = random.Random(0)
    chosen = sorted(place for places in rows.values() for place in draw.sample(places, min(count, len(places))))
    return [items[place] for place in chosen]


_outcomes: dict[str, dict[str, str]] = {}


@pytest.hookimpl(hookwrapper=True)
def pytest_runtest_makereport(item: pytest.Item, call: pytest.CallInfo[None]) -> Any:
    """Tell a refusal of ours from any other failure."""
    report = (yield).get_result()
    if report.when != "call" and report.outcome == "passed":
        return
    outcome, text = report.outcome, ""
    if call.excinfo is not None:
        error = call.excinfo.value
        text = str(error)
        if report.outcome == "failed":
            outcome = "refused" if isinstance(error, ExtError) else "failed"
            text = f"{type(error).__name__}: {text}"
    _outcomes[item.nodeid] = {"outcome": outcome, "text": text[:500]}


def pytest_sessionfinish() -> None:
    """Write the outcomes where `peft_suite.py` reads them."""
    Path(os.environ["PEFT_SUITE_OUTCOMES"]).write_text(json.dumps(_outcomes, indent=1), "utf-8")
