"""`data preview`: what the model really sees of a data set's examples, and what it learns from each token.

Examples are encoded by upstream's own processor and a template, so that what is shown is what is trained. For the
terminal see `terminal.py`, for a web page or LLaMA Board `html.py`.
"""

from __future__ import annotations

from itertools import islice
from pathlib import Path
from typing import Any

from llamafactory_ext.errors import DataError, OptionError

from ...checkpoint.own import own_text
from ...methods import load
from ..dialogues import order_fault
from ..entries import DataEntry
from .html import preview_html
from .pieces import Example, pieces_of
from .request import Encoder, Request

ENCODER = "llamafactory_ext.upstream.pipeline.previewing:WeighingEncoder"  # LLaMA-Factory takes seconds to load


def preview(request: Request) -> list[Example]:
    """Return the examples asked for, each with its tokens or with why it has none.

    Raises:
        OptionError: impossible options, all at once.
        DataError: no such file, entry or record, or malformed JSON.
    """
    problems = request.problems()
    if problems:
        raise OptionError.listing("data preview:", problems)
    entries = [DataEntry.found(name, Path(request.dataset_dir)) for name in request.names]
    encoder: Encoder = load(ENCODER)(request)
    return [example for entry in entries for example in _examples(entry, request, encoder)]


def write_preview(path: Path, examples: list[Example], title: str) -> None:
    """Write the examples as a web page of its own, whole or not at all."""
    own_text(path, preview_html(examples, title))


def _examples(entry: DataEntry, request: Request, encoder: Encoder) -> list[Example]:
    found = [
        _example(entry, place, record, encoder)
        for place, record in islice(entry.records(), request.index, request.index + request.count)
    ]
    if not found:
        total = sum(1 for _ in entry.records())
        raise DataError(f"{entry.path} holds {total:,} records; --index {request.index} is beyond them, from 0.")
    return found


def _example(entry: DataEntry, place: str, record: Any, encoder: Encoder) -> Example:
    where = f"{entry.name}, {place}"
    dialogue = entry.dialogue(record, encoder.words)
    if isinstance(dialogue, str):
        return Example(where, problem=dialogue)
    mark, task = ("", "") if entry.marks.problem(record) else entry.marks.resolve(record)
    fault = order_fault([role for role, _ in dialogue.turns])
    if fault is not None:
        return Example(where, mark, task, problem=f"{fault}; upstream leaves the record out")
    try:
        weighed = encoder.weigh(dialogue)
    except DataError as error:
        return Example(where, mark, task, problem=error.message)
    pieces = pieces_of(weighed, encoder.decode, encoder.special)
    lost = tuple(f"turn {number}: {what}" if number else what for number, what in dialogue.lost)
    return Example(where, mark, task, pieces, weighed.whole - len(weighed.ids), lost=lost)
