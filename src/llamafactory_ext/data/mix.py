"""The training mixture of arXiv:2409.13202, appendix A.2: tool data whole, n examples of each general data set.

The paper draws 5,000 (with API-Bank) or 3,000 (with ToolAlpaca) from each general set and does not say which. Here the
draw is seeded, per data set, without replacement, so that one set's draw does not depend on the others'.
"""

from __future__ import annotations

import hashlib
from collections import Counter
from collections.abc import Iterator
from dataclasses import asdict, dataclass, field
from pathlib import Path
from typing import Any

from llamafactory_ext.errors import DataError, OptionError

from .dialogues import order_fault, turn
from .entries import DataEntry
from .family import ALPACA, SHAREGPT, Columns
from .files.draw import draw, pick
from .files.writing import (
    RecordFile,
    add_entry,
    claim_data,
    make_folder,
    merged_entry,
    own_data,
    read_dataset_info,
    write_report,
)
from .layout_marks import LOSS_MASK
from .public.convert import check_name

_MAX_FAULTS = 10
_CHUNK_BYTES = 1 << 20


@dataclass(frozen=True)
class Recipe:
    """What to mix; checked by `mix`.

    Attributes:
        tool, general: names of entries in `folder`/dataset_info.json.
        per_general: how many examples of each general data set.
        dataset_name: entry and file name of the mixture.
        expect: the SHA-256 that the mixture must have; "" accepts any.
    """

    tool: tuple[str, ...]
    general: tuple[str, ...]
    per_general: int
    dataset_name: str
    folder: Path
    seed: int = 42
    expect: str = ""


@dataclass
class Part:
    """One data set's share."""

    name: str
    mark: str
    file: str
    sha256: str
    records: int
    taken: int = 0


@dataclass
class Mixture:
    """What was written; the same recipe on the same files gives the same `sha256`.

    Attributes:
        lost: what of the records is not kept, and how often.
    """

    output: Path
    layout: str
    seed: int
    per_general: int
    parts: list[Part] = field(default_factory=list)
    written: int = 0
    sha256: str = ""
    lost: Counter[str] = field(default_factory=Counter)

    def summary(self) -> dict[str, Any]:
        """Return it as JSON, without paths of this machine."""
        return asdict(self) | {"output": self.output.name, "lost": dict(self.lost)}


def mix(recipe: Recipe) -> Mixture:
    """Write `<folder>/<name>.json`, its report with all hashes, and its entry in dataset_info.json.

    Raises:
        OptionError: impossible options, all at once.
        DataError: records that cannot be used, or another hash than expected; nothing is written then.
    """
    entries = _check(recipe)
    target = recipe.folder / f"{recipe.dataset_name}.json"
    layout = SHAREGPT if any(entry.has_dialogues for entry in entries) else ALPACA
    entry = layout.entry(target.name)
    info = read_dataset_info(recipe.folder)
    merged_entry(recipe.folder, recipe.dataset_name, entry, info)
    known = claim_data(recipe.folder, target, info, [source.path for source in entries])
    result = Mixture(target, layout.formatting or "alpaca", recipe.seed, recipe.per_general)
    make_folder(recipe.folder)
    with own_data(target, known) as handle:
        output = RecordFile(handle)
        faults: list[str] = []
        for source in entries:
            _add(source, recipe, layout is SHAREGPT, output, result, faults)
        if faults:
            raise DataError("\n".join(["These records cannot be mixed; nothing was written:", *faults]))
        output.end()
        result.written, result.sha256 = output.count, output.sha256
        if recipe.expect and recipe.expect != result.sha256:
            raise DataError(
                f"--expect is {recipe.expect}, but this mixture has {result.sha256}; nothing was written. "
                "Compare the hashes of the parts with those of the earlier report: a source file or the seed differs."
            )
    write_report(target, result.summary(), {})
    add_entry(recipe.folder, recipe.dataset_name, entry)
    return result


def _check(recipe: Recipe) -> list[DataEntry]:
    """Return the entries, tool data first; all problems at once."""
    problems = []
    if not recipe.tool:
        problems.append("--tool names no data set; name the tool data, for example api_bank")
    if not recipe.general:
        problems.append("--general names no data set; name general data, for example code_alpaca,metamath")
    twice = sorted({name for name in recipe.tool + recipe.general if (recipe.tool + recipe.general).count(name) > 1})
    problems += [f'"{name}" is named twice; name it once' for name in twice]
    if isinstance(recipe.per_general, bool) or not isinstance(recipe.per_general, int) or recipe.per_general < 1:
        problems.append(f"--per_general is {recipe.per_general!r}; give a whole number from 1 (the paper: 5000)")
    if isinstance(recipe.seed, bool) or not isinstance(recipe.seed, int):
        problems.append(f"--seed is {recipe.seed!r}; give a whole number")
    bad_name = check_name(recipe.dataset_name)
    if bad_name:
        problems.append(bad_name)
    if recipe.dataset_name in recipe.tool + recipe.general:
        problems.append(f'--dataset_name "{recipe.dataset_name}" is one of the parts; give the mixture its own name')
    entries = []
    for name in dict.fromkeys(recipe.tool + recipe.general):
        try:
            entries.append(DataEntry.named(name, recipe.folder))
        except DataError as error:
            problems.append(error.message)
    if problems:
        raise OptionError.listing("data mix:", problems)
    return entries


def _add(
    source: DataEntry, recipe: Recipe, as_dialogue: bool, output: RecordFile, result: Mixture, faults: list[str]
) -> None:
    """Add one data set's share; a mark other than the part's is a fault: it would teach the opposite."""
    mark = "tool" if source.name in recipe.tool else "general"
    total = sum(1 for _ in source.records())
    part = Part(source.name, mark, source.path.name, _sha256(source.path), total)
    result.parts.append(part)
    records: Iterator[tuple[int, tuple[str, Any]]] = enumerate(source.records())
    if mark == "general":
        records = pick(records, draw(total, recipe.per_general, f"{recipe.seed}:{source.name}"))
    for index, (place, record) in records:
        columns = _columns(source, record, as_dialogue, result.lost)
        problem = columns if isinstance(columns, str) else source.marks.problem(record)
        if problem is None and source.marks.resolve(record)[0] != mark:
            problem = f'it is not marked "{mark}"; name the data set under the other option'
        if problem is not None:
            faults.append(f"  - {source.path}, {place}: {problem}")
            if len(faults) == _MAX_FAULTS:
                raise DataError("\n".join(["The first records that cannot be mixed; nothing was written:", *faults]))
            continue
        assert isinstance(columns, dict)
        task = source.marks.resolve(record)[1]
        key = record.get("id") if isinstance(record.get("id"), str | int) else index
        output.add({**columns, "mark": mark, "task": task, "id": f"{source.name}:{key}"})
        part.taken += 1


def _columns(source: DataEntry, record: Any, as_dialogue: bool, lost: Counter[str]) -> Columns | str:
    """Return the record in the mixture's layout, or in words why it has no place there."""
    dialogue = source.dialogue(record)
    if isinstance(dialogue, str):
        return dialogue
    lost.update(what for _, what in dialogue.lost)
    if not as_dialogue:
        texts = [record.get(column) or "" for column in source.shape.prompts]
        instruction, query = [*texts, ""][:2]
        columns = {"instruction": instruction, "input": query, "output": dialogue.turns[-1][1]}
        return {**columns, LOSS_MASK: [0]} if dialogue.silent else columns
    fault = order_fault([role for role, _ in dialogue.turns])
    if fault is not None:
        return f"{fault}; upstream would leave it out"
    turns: list[dict[str, Any]] = [
        {**turn(role, text), "loss": False} if place in dialogue.silent else {**turn(role, text)}
        for place, (role, text) in enumerate(dialogue.turns)
    ]
    return {"conversations": turns, "system": dialogue.system, "tools": dialogue.tools}


def _sha256(path: Path) -> str:
    digest = hashlib.sha256()
    with path.open("rb") as handle:
        while chunk := handle.read(_CHUNK_BYTES):
            digest.update(chunk)
    return digest.hexdigest()
