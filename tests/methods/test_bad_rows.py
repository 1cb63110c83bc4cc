"""Rows of methods and benchmarks that do not hold together are named, with the row and the field."""

from __future__ import annotations

import re
import sys
from collections.abc import Callable
from dataclasses import dataclass, field, replace
from typing import Any

import pytest

from llamafactory_ext.benchmarks import Benchmark, benchmarks
from llamafactory_ext.methods import Method, methods
from llamafactory_ext.options.fates.row import Column, idle
from llamafactory_ext.options.rows import row_faults
from llamafactory_ext.options.values import Number
from llamafactory_ext.upstream import doctor

pytestmark = pytest.mark.fast

HERE = f"{__name__}"


@dataclass
class Helpless:
    bad_rate: float = 1.0
    bad_size: int = field(default=1, metadata={"help": "BAD: a size."})


@dataclass
class Twice:
    bad_size: int = field(default=1, metadata={"help": "BAD: a size."})


HELPLESS_RULES = {"bad_rate": Number(0), "bad_size": Number(0)}
RULELESS = {"bad_size": Number(0)}
MORE_RULES = {"bad_size": Number(0), "bad_other": Number(0)}
NO_COLUMN = "a text"
STRANGE_COLUMN = Column(fates={"leraning_rate": idle("is a mistake")})


ROW: Any = next(row for row in methods() if row.adapter is not None and row.adapter.vllm)


def run(*_: Any) -> None:
    """Do nothing."""


def method(**changes: Any) -> Method:
    parts: dict[str, Any] = {
        "name": "bad",
        "option": "stage",
        "title": "BAD",
        "nearest": "sft",
        "arguments": f"{HERE}:Twice",
        "rules": f"{HERE}:RULELESS",
        "run": f"{HERE}:run",
    }
    return Method(**(parts | changes))


def benchmark(**changes: Any) -> Benchmark:
    return replace(benchmarks()[0], name="bad", **changes)


BAD_METHODS: dict[str, tuple[Callable[[], tuple[Method, ...]], str]] = {
    "a missing module": (lambda: (method(run="nowhere.workflow:run"),), "row bad: run names .* there is no module"),
    "a missing attribute": (lambda: (method(run=f"{HERE}:walk"),), "row bad: run names .* defines no walk"),
    "a missing check": (lambda: (method(check_data=f"{HERE}:x"),), "row bad: check_data names .* defines no x"),
    "two rows of one name": (lambda: (method(), method()), "two rows of a method are called bad; rename one"),
    "an option without help": (
        lambda: (method(arguments=f"{HERE}:Helpless", rules=f"{HERE}:HELPLESS_RULES"),),
        "row bad: option bad_rate has no help",
    ),
    "an option without rule": (
        lambda: (method(arguments=f"{HERE}:Helpless"),),
        "row bad: option bad_rate has no rule; add it to",
    ),
    "a rule without option": (lambda: (method(rules=f"{HERE}:MORE_RULES"),), "has a rule for bad_other"),
    "one option in two rows": (
        lambda: (method(), method(name="worse")),
        "row worse: option bad_size is declared by bad too",
    ),
    "an option to nobody": (lambda: (method(shared={"bad_size": ("nobody",)}),), "to nobody, which is no method"),
    "an undeclared one shared": (lambda: (method(shared={"bad_x": ()}),), "shared names bad_x"),
    "no column": (lambda: (method(column=f"{HERE}:NO_COLUMN"),), "which is no Column"),
    "a fate of no option": (lambda: (method(column=f"{HERE}:STRANGE_COLUMN"),), "fates names leraning_rate"),
    "nothing replaced": (lambda: (method(replaces=("leraning_rate",)),), "replaces names leraning_rate"),
    "no class for vLLM": (
        lambda: (replace(ROW, adapter=replace(ROW.adapter, vllm="llamafactory_ext.citi.vllm.layer")),),
        "vllm names llamafactory_ext.citi.vllm.layer; .* defines no __getattr__",
    ),
    "no prefix of the exported classes": (
        lambda: (replace(ROW, adapter=replace(ROW.adapter, prefix="")),),
        "prefix is empty, and vllm is not",
    ),
    "another option": (lambda: (method(option="template"),), "option is 'template'; it is one of"),
}
ETAPP = "llamafactory_ext.etapp.benchmark"
BAD_BENCHMARKS: dict[str, tuple[Callable[[], tuple[Benchmark, ...]], str]] = {
    "a missing scorer": (
        lambda: (benchmark(score="nowhere.score:run"),),
        "score names .* there is no module",
    ),
    "two rows of one name": (lambda: (benchmark(), benchmark()), "two rows of a benchmark are called bad"),
    "no question": (lambda: (benchmark(families=(), question=""),), "neither question nor families nor act"),
    "a broken pattern": (lambda: (benchmark(files="("),), "files is no pattern"),
    "no items": (lambda: (benchmark(items=""),), "items is empty"),
    "a check beside items": (
        lambda: (benchmark(check=f"{ETAPP}:check"),),
        "mend items, score",
    ),
    "an agent without items": (
        lambda: (benchmark(act=f"{ETAPP}:act", items=""),),
        "items is empty",
    ),
}


@pytest.fixture(autouse=True)
def _importable(monkeypatch: pytest.MonkeyPatch) -> None:
    """This file by its own name, as a row's names are looked up."""
    monkeypatch.setitem(sys.modules, HERE, sys.modules[__name__])


@pytest.mark.parametrize("case", BAD_METHODS)
def test_a_bad_row_of_a_method_is_named(case: str) -> None:
    make, expected = BAD_METHODS[case]
    found = row_faults(make(), ())
    assert any(re.search(expected, line) for line in found), found


@pytest.mark.parametrize("case", BAD_BENCHMARKS)
def test_a_bad_row_of_a_benchmark_is_named(case: str) -> None:
    make, expected = BAD_BENCHMARKS[case]
    found = row_faults((), make())
    assert any(re.search(expected, line) for line in found), found


def test_a_whole_row_is_right() -> None:
    assert row_faults((method(),), (benchmark(),)) == []


def test_the_rows_of_this_package_are_right() -> None:
    assert len(methods()) > 2
    assert len(benchmarks()) > 8
    assert row_faults() == []


def test_doctor_tells_of_bad_rows(monkeypatch: pytest.MonkeyPatch) -> None:
    assert doctor.row_checks() == []
    monkeypatch.setattr(doctor, "row_faults", lambda: ["methods.py, row bad: run names nowhere:f"])
    (check,) = doctor.row_checks()
    assert (check.state, check.found) == ("broken", "methods.py, row bad: run names nowhere:f")
