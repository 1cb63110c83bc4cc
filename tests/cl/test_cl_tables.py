"""Errors beside a comparison's figures: those of differences count both of their scores."""

from __future__ import annotations

import math
from typing import Any

import pytest

from llamafactory_ext.cl.report import as_markdown

pytestmark = pytest.mark.fast


def cell(score: float, n: int = 100) -> dict[str, Any]:
    return {"score": score, "n": n, "se": math.sqrt(score * (1 - score) / n)}


def table(matrix: list[list[float]], general: float, base: float | None, seeds: int = 1) -> dict[str, str]:
    """Return the figures of a method with these scores, by their heads."""
    count = len(matrix)
    last = matrix[-1]
    run = {
        "seed": 1,
        "matrix": matrix,
        "cells": {f"{t},{i}": cell(matrix[t][i]) for t in range(count) for i in range(t + 1)},
        "general": {"general": cell(general)},
        "general_change": None if base is None else general - base,
        "steps": [10] * count,
        "gates": None,
        "ap": sum(last) / count,
        "bwt": sum(last[i] - matrix[i][i] for i in range(count - 1)) / (count - 1) if count > 1 else None,
        "forgetting": None,
        "plasticity": sum(matrix[i][i] for i in range(count)) / count,
        "fwt": None,
    }
    names = [f"task{i}" for i in range(count)]
    result = {
        "name": "made",
        "tasks": names,
        "base": None if base is None else {**{name: cell(0.0) for name in names}, "general": cell(base)},
        "methods": {"one": {"kind": "seq_lora", "share": 0, "search": None, "runs": [run] * seeds}},
    }
    lines = [line for line in as_markdown(result).splitlines() if line.startswith(("| method |", "| one |"))]
    heads, values = ([part.strip() for part in line.strip("|").split("|")] for line in lines[:2])
    return dict(zip(heads, values, strict=True))


def test_each_figure_has_the_error_of_all_scores_that_it_is_made_of() -> None:
    found = table([[0.8, 0.0], [0.5, 0.9]], general=0.6, base=0.7)
    ap = math.sqrt(0.25 / 100 + 0.09 / 100) / 2
    bwt = math.sqrt(0.25 / 100 + 0.16 / 100)
    plasticity = math.sqrt(0.16 / 100 + 0.09 / 100) / 2
    change = math.sqrt(0.24 / 100 + 0.21 / 100)
    assert found["AP"] == f"0.700 ± {ap:.3f}"
    assert found["BWT"] == f"-0.300 ± {bwt:.3f}"
    assert found["plasticity"] == f"0.850 ± {plasticity:.3f}"
    assert found["general change"] == f"-0.100 ± {change:.3f}"


def test_what_was_not_measured_has_no_error() -> None:
    assert table([[0.8]], general=0.6, base=None)["BWT"] == "-"
    assert table([[0.8]], general=0.6, base=None)["general change"] == "-"


def test_several_seeds_have_their_deviation_too() -> None:
    assert table([[0.8, 0.0], [0.5, 0.9]], 0.6, 0.7, seeds=2)["BWT"].endswith("sd 0.000")
