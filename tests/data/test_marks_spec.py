"""Marks and tasks come from the record's column, else from the entry's constant, else nothing is guessed."""

from __future__ import annotations

from typing import Any

import pytest

from llamafactory_ext.data.marks_spec import MarkSpec
from llamafactory_ext.errors import DataError

pytestmark = pytest.mark.fast

COLUMNS = {"columns": {"prompt": "q", "mark": "kind", "task": "skill"}}


def test_columns_come_first_then_constants_then_the_name() -> None:
    spec = MarkSpec.from_entry("maths", COLUMNS)
    assert spec.resolve({"kind": "tool", "skill": "tool"}) == ("tool", "tool")
    both = MarkSpec.from_entry("maths", {**COLUMNS, "mark": "general", "task": "math"})
    assert both.resolve({"kind": "tool", "skill": None}) == ("tool", "math")
    assert both.resolve({}) == ("general", "math")
    assert MarkSpec.from_entry("maths", {"mark": "general"}).resolve({}) == ("general", "maths")
    assert MarkSpec.from_entry("maths", {"columns": {"mark": "kind"}}).resolve({"kind": "tool"}) == ("tool", "maths")


@pytest.mark.parametrize(
    ("entry", "record", "message"),
    [
        ({}, {}, "the entry states no mark; add"),
        (COLUMNS, {}, 'no mark in column "kind"'),
        (COLUMNS, {"kind": "tools"}, "mark 'tools' in column \"kind\"; write"),
        (COLUMNS, {"kind": ["tool"]}, 'write "tool" or "general"'),
        (COLUMNS, {"kind": "tool"}, 'no task in column "skill"'),
        (COLUMNS, {"kind": "tool", "skill": 3}, "is no text"),
    ],
)
def test_what_a_record_lacks_is_said(entry: dict[str, Any], record: dict[str, Any], message: str) -> None:
    spec = MarkSpec.from_entry("x", entry)
    with pytest.raises(DataError) as error:
        spec.resolve(record)
    assert message in error.value.message
    assert spec.problem(record) == error.value.message


@pytest.mark.parametrize(
    "entry", [{"mark": "Tool"}, {"mark": 1}, {"task": ""}, {"columns": {"mark": 3}}, {"columns": "q"}]
)
def test_a_wrong_entry_is_named(entry: dict[str, Any]) -> None:
    with pytest.raises(DataError, match=r'dataset_info.json, entry "x"'):
        MarkSpec.from_entry("x", entry)
