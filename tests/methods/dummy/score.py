"""A benchmark whose questions have no wrong answer."""

from __future__ import annotations

from collections.abc import Mapping, Sequence
from typing import Any

from llamafactory_ext.data.family import Example
from llamafactory_ext.metrics.answers import Answered, Context, Scored
from llamafactory_ext.metrics.report import Verdict


def question(record: Mapping[str, Any]) -> Example:
    """Return what a model is asked."""
    return Example({"instruction": record["question"], "output": ""})


def run(answered: Sequence[Answered], context: Context) -> Scored:
    """Find every answer right."""
    return Scored(tuple(Verdict(one.item.id, {"DN": 1.0}, "right") for one in answered))
