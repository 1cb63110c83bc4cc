"""Where an example's mark ("tool" or "general") and its task come from: the one place that decides."""

from __future__ import annotations

from collections.abc import Mapping
from dataclasses import dataclass
from typing import Any

from llamafactory_ext.errors import DataError

from .shape import is_whole

MARKS = ("tool", "general")


@dataclass(frozen=True)
class MarkSpec:
    """How one entry of dataset_info.json marks its examples.

    A record's own value, found in the column that the entry's `columns` names, comes first; where the record has none,
    the entry's constant holds. An entry that names no task at all lends its own name as the task.

    Attributes:
        mark: the entry's constant mark, if it states one.
        task: the entry's constant task; the data set's name if neither a constant nor a column is stated.
        mark_column: the record's key that holds the mark.
        task_column: the record's key that holds the task.
    """

    mark: str | None
    task: str | None
    mark_column: str | None
    task_column: str | None

    @classmethod
    def from_entry(cls, name: str, entry: Mapping[str, Any]) -> MarkSpec:
        """Read the entry `name` of dataset_info.json.

        Raises:
            DataError: a constant or a column that is no text, or a constant mark other than "tool" and "general".
        """
        columns = entry.get("columns") or {}
        if not isinstance(columns, Mapping):
            raise DataError(f'dataset_info.json, entry "{name}": "columns" must be an object of column names.')
        where = f'dataset_info.json, entry "{name}"'
        mark = _text_or_none(entry.get("mark"), f'{where}: "mark"')
        if mark is not None and mark not in MARKS:
            raise DataError(f'{where}: "mark" is "{mark}"; write "tool" or "general".')
        task = _text_or_none(entry.get("task"), f'{where}: "task"')
        mark_column = _text_or_none(columns.get("mark"), f'{where}: "columns"."mark"')
        task_column = _text_or_none(columns.get("task"), f'{where}: "columns"."task"')
        if task is None and task_column is None:
            task = name
        return cls(mark=mark, task=task, mark_column=mark_column, task_column=task_column)

    @property
    def states_marks(self) -> bool:
        """Whether the entry says anything about marks."""
        return self.mark is not None or self.mark_column is not None

    def resolve(self, record: Mapping[str, Any]) -> tuple[str, str]:
        """Return (mark, task) of one record.

        Raises:
            DataError: no mark, a mark other than "tool" and "general", or no task.
        """
        problem = self.problem(record)
        if problem is not None:
            raise DataError(problem)
        mark, task = self._value(record, self.mark_column, self.mark), self._value(record, self.task_column, self.task)
        return str(mark), str(task)

    def problem(self, record: Mapping[str, Any]) -> str | None:
        """Return what keeps `resolve` from answering for this record, in words; None if nothing does."""
        if not self.states_marks:
            return (
                'the entry states no mark; add "mark": "mark" and "task": "task" to its "columns", '
                'or "mark": "tool" (or "general") to the entry itself'
            )
        mark = self._value(record, self.mark_column, self.mark)
        if mark is None:
            return f'no mark in column "{self.mark_column}"; write "tool" or "general" there'
        if mark not in MARKS:
            return f'mark {_short(mark)} in column "{self.mark_column}"; write "tool" or "general"'
        task = self._value(record, self.task_column, self.task)
        if task is None:
            return f'no task in column "{self.task_column}"; name the ability there, for example "tool" or "math"'
        if not isinstance(task, str):
            return f'task {_short(task)} in column "{self.task_column}" is no text'
        if not is_whole(task):
            return f'task {_short(task)} in column "{self.task_column}" holds half a character; mend it'
        return None

    @staticmethod
    def _value(record: Mapping[str, Any], column: str | None, constant: str | None) -> Any:
        value = record.get(column) if column is not None else None
        return constant if value is None or value == "" else value


def _text_or_none(value: Any, where: str) -> str | None:
    if value is None:
        return None
    if not isinstance(value, str) or not value:
        raise DataError(f"{where} must be a non-empty text, not {_short(value)}.")
    return value


def _short(value: Any) -> str:
    text = repr(value)
    return text if len(text) <= 40 else text[:37] + "..."
