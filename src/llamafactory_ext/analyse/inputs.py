"""Examples by task, encoded as training encodes them, from the data sets of a training YAML."""

from __future__ import annotations

from collections.abc import Sequence
from dataclasses import dataclass, replace
from pathlib import Path
from random import Random

from ..data.dialogues import order_fault
from ..data.entries import DataEntry
from ..data.preview.request import Encoder, Request, from_yaml
from ..errors import DataError, OptionError
from ..methods import load

_ENCODER = "llamafactory_ext.upstream.pipeline.previewing:WeighingEncoder"


@dataclass(frozen=True)
class Item:
    """An encoded example.

    Attributes:
        ids: token ids of prompt and answer.
        labels: what each token is trained to be, by its place.
        learned: whether it is learned.
    """

    ids: tuple[int, ...]
    labels: tuple[int, ...]
    learned: tuple[bool, ...]

    def cut(self, rng: Random) -> tuple[int, ...]:
        """Return a "final input": all before the last answer, and a random part of that answer (section 2.1)."""
        last = max(place for place, learned in enumerate(self.learned) if learned)
        first = last
        while first > 0 and self.learned[first - 1]:
            first -= 1
        return self.ids[: rng.randint(max(first, 1), last)]


@dataclass(frozen=True)
class Task:
    """The examples of one ability.

    Attributes:
        name: as the records say, or the data set's name.
        mark: "tool", "general", or "" for data without marks.
        items: examples in a seeded order.
    """

    name: str
    mark: str
    items: tuple[Item, ...]


def request_of(yaml: Path) -> Request:
    """Return what a training YAML says of model, template and data.

    Raises:
        DataError: no such file, or no YAML of options.
        OptionError: it names no data, model or template.
    """
    request = replace(from_yaml(yaml), stage="sft")
    if problems := request.problems():
        raise OptionError.listing(f"{yaml}:", problems)
    return request


def tasks_of(request: Request, count: int, seed: int) -> list[Task]:
    """Draw examples of every task, as many as asked for or as there are.

    Args:
        request: which data, and how they are encoded.
        count: examples of each task.
        seed: decides which ones.

    Raises:
        DataError: a data set cannot be read, or a task has no usable example.
    """
    encoder: Encoder = load(_ENCODER)(request)
    found: dict[tuple[str, str], list[tuple[DataEntry, object]]] = {}
    for name in request.names:
        entry = DataEntry.found(name, Path(request.dataset_dir))
        for _, record in entry.records():
            unmarked = entry.marks.problem(record)
            mark, task = ("", entry.name) if unmarked else entry.marks.resolve(record)
            found.setdefault((task, mark), []).append((entry, record))
    for (task, _), records in found.items():
        Random(f"{seed}/{task}").shuffle(records)
    return [_task(task, mark, records, count, encoder) for (task, mark), records in sorted(found.items())]


def _task(name: str, mark: str, records: Sequence[tuple[DataEntry, object]], count: int, encoder: Encoder) -> Task:
    items: list[Item] = []
    for entry, record in records:
        if len(items) == count:
            break
        item = _item(entry, record, encoder)
        if item is not None:
            items.append(item)
    if not items:
        raise DataError(f"task {name}: none of its {len(records):,} records can be used; run `data check`.")
    return Task(name, mark, tuple(items))


def _item(entry: DataEntry, record: object, encoder: Encoder) -> Item | None:
    """Return an example, or None where upstream leaves it out or nothing of it is learned."""
    dialogue = entry.dialogue(record, encoder.words)
    if isinstance(dialogue, str) or order_fault([role for role, _ in dialogue.turns]) is not None:
        return None
    try:
        weighed = encoder.weigh(dialogue)
    except DataError:
        return None
    learned = tuple(weight > 0 for weight in weighed.weights)
    return Item(tuple(weighed.ids), tuple(weighed.labels), learned) if any(learned[1:]) else None
