"""What a comparison is made of: tasks, methods, the search for learning rates, and the plan that holds them."""

from __future__ import annotations

from collections.abc import Mapping
from dataclasses import dataclass, field
from pathlib import Path
from typing import Any

from .kinds import Kind, row_of


@dataclass(frozen=True)
class Task:
    """One task, or one set that shows general abilities (then without `train`)."""

    name: str
    test: Path
    train: Path | None = None
    metric: str = "exact"
    max_new_tokens: int = 50
    options: Mapping[str, Any] = field(default_factory=dict)


@dataclass(frozen=True)
class Method:
    """One row of the comparison.

    Attributes:
        name: in the report.
        kind: one of KINDS.
        share: of each earlier task's training items that is trained again.
        protect: of kind data: one of PROTECTED, or empty.
        settings: of the kind, all of them.
        options: of LLaMA-Factory, for this method alone.
    """

    name: str
    kind: str
    share: float = 0.0
    settings: Mapping[str, float] = field(default_factory=dict)
    options: Mapping[str, Any] = field(default_factory=dict)
    protect: str = ""

    @property
    def row(self) -> Kind:
        """What the kind is, with its protection."""
        return row_of(self.kind, self.protect)


@dataclass(frozen=True)
class Search:
    """The search for each method's learning rate, on the first task alone.

    Attributes:
        rates: tried by every method; none where there is no search.
        share: of the first task's training items that are kept for validation.
    """

    rates: tuple[float, ...] = ()
    share: float = 0.2


@dataclass(frozen=True)
class Plan:
    """What a file of options asks for."""

    name: str
    out: Path
    model: str
    template: str
    methods: tuple[Method, ...]
    tasks: tuple[Task, ...]
    general: tuple[Task, ...]
    train: Mapping[str, Any]
    seeds: tuple[int, ...]
    rows: str = "seen"
    base: bool = True
    limit: int = 0
    batch_size: int = 16
    search: Search = Search()
