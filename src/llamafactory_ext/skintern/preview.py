"""All steps of one record side by side, in the terminal."""

from __future__ import annotations

import json
from collections.abc import Mapping
from typing import Any

from rich.console import Console
from rich.table import Table
from rich.text import Text

from ..data.shape import columns_of
from .build import Steps
from .compress import words_of

_NARROWEST = 24  # a column; more steps are shown below each other


def side_by_side(steps: Steps, index: int, console: Console | None = None) -> None:
    """Print the prompts of a record at every step, with what is new in colour and the number of words.

    Args:
        steps: of the entry.
        index: of the record.
        console: where to print; by default standard output.
    """
    console = console or Console()
    record = steps.records[index]
    shown = [prompt(steps, steps.at(index, step)) for step in range(len(steps.settings.shares))]
    heads = [
        f"step {step + 1}: {share:.0%}, {len(words_of(text)):,} words"
        for step, (share, text) in enumerate(zip(steps.settings.shares, shown, strict=True))
    ]
    console.print(Text(f"{steps.entry.path}, {record.place} (id {record.id})", style="bold"))
    if console.width < _NARROWEST * len(shown):
        for head, text in zip(heads, shown, strict=True):
            console.rule(head)
            console.print(_coloured(text, record.question))
    else:
        table = Table(*heads, expand=True)
        table.add_row(*(_coloured(text, record.question) for text in shown))
        console.print(table)
    console.print(Text("learned at every step: ", style="bold").append(Text(record.target, style="green")))


def prompt(steps: Steps, built: Mapping[str, Any]) -> str:
    """Return the text in front of the first answer of a built record, and its tools."""
    columns, shape = columns_of(steps.entry.entry), steps.entry.shape
    tools = built.get(columns.get("tools") or "", "")
    if shape.messages:
        written = steps.entry.dialogue(built)
        asked = next(text for _, text in written.turns) if not isinstance(written, str) else ""
    else:
        asked = "\n".join(str(built[column]) for column in shape.prompts if built.get(column))
    return f"{tools if isinstance(tools, str) else json.dumps(tools)}\n\n{asked}" if tools else asked


def _coloured(text: str, question: str) -> Text:
    """Return the text with the question plain and all in front of it coloured."""
    front = text.removesuffix(question)
    shown = Text(front, style="cyan")
    return shown.append(Text(text[len(front) :], style="default"))
