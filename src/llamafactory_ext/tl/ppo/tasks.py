"""Tasks for episodes out of records: the opening of each dialogue as the prompt, and the record for the environment.

What it does: encodes openings, has every record's environment begin once, and counts what cannot be used, by kind.
What it does not do: read files, or act.
"""

from __future__ import annotations

import json
from collections.abc import Callable, Iterable, Mapping, Sequence
from dataclasses import dataclass
from functools import partial
from typing import Any

from ...data.intake import ERROR, KEEP, Cut
from ...errors import DataError
from ..environments.asking import Fault, begin, run_all
from ..environments.records import TURNS
from .queries import Encode, Faults, declared_tools
from .rewards import Query

RECORD = "_record"
_SHOWN = 3


@dataclass(frozen=True)
class Task(Query):
    """A query whose answer is what an environment makes of it.

    Attributes:
        record: what the environment is reset with.
    """

    record: Mapping[str, Any] | None = None


def make_tasks(
    examples: Iterable[Mapping[str, Any]],
    encode: Encode,
    factory: Callable[[], Any],
    *,
    longest: int,
    seconds: float,
    skip_bad: bool,
    action: str = KEEP,
    call_format: str | None = None,
) -> tuple[list[Task], Faults]:
    """Return one task for each record.

    Args:
        examples: as upstream aligns them, with the record as its file has it.
        encode: (messages, system, tools) -> the prompt's tokens, and the last message as the model should write it.
        factory: returns a new environment.
        longest: tokens of a prompt.
        seconds: that the environment may take to begin with one record.
        skip_bad: leave out what cannot be used.
        action: as `cutoff_action`; no prompt is cut, so "keep" and "drop" leave out longer ones alike.
        call_format: how the template writes calls, where that is known.

    Raises:
        DataError: something cannot be used, or nothing can.
    """
    faults, made = Faults(), list[Task]()
    for number, example in enumerate(examples, 1):
        task = _task(example, example.get("_place") or f"example {number}", encode, longest, faults, call_format)
        made += [task] if task is not None else []
    if faults.long and (action == ERROR or not (made or faults.places)):
        raise DataError(
            f"cutoff_len: {longest} is exceeded by {len(faults.long)} prompts ({', '.join(faults.long[:_SHOWN])}). "
            "Raise cutoff_len, or set cutoff_action: drop to train without them."
        )
    begun = run_all([partial(begin, factory, task.record or {}) for task in made], seconds)
    first: dict[str, str] = {}  # of each kind: what is said of one record is said for all of its kind
    for task, found in zip(made, begun, strict=True):
        if isinstance(found, Fault):
            faults.add(f"tl_environment: {first.setdefault(found.kind, found.what)}", task.place)
            faults.intake.leave_out("the environment cannot begin with it", task.place)
    tasks = [task for task, found in zip(made, begun, strict=True) if not isinstance(found, Fault)]
    if faults.places and not skip_bad:
        lines = [f"  - {line}" for line in faults.lines()]
        advice = "Correct the data or the environment, or set tl_skip_bad: true to train without them."
        raise DataError("\n".join(["Records of the training data cannot be used:", *lines, advice]))
    if not tasks:
        lines = [f"  - {line}" for line in faults.lines()]
        raise DataError("\n".join(["There is no record to train on.", *lines]))
    return tasks, faults


def _task(
    example: Mapping[str, Any],
    where: str,
    encode: Encode,
    longest: int,
    faults: Faults,
    call_format: str | None,
) -> Task | None:
    """Return the task of one example; None where there is none, which `faults` then says."""
    intake = faults.intake
    intake.read += 1
    faults.seen += 1
    if what := example.get("_skipped") or example.get("_fault"):
        intake.leave_out(what, where)
        if example.get("_fault"):
            faults.add(what, where)
        return None
    messages = [*example["_prompt"], *example["_response"][:1]]
    opening = _opening(messages)
    ids, tools, fault = _encoded(opening, example, encode)
    if fault is not None:
        intake.leave_out(fault.partition(":")[0], where)
        faults.add(fault, where)
        return None
    intake.highest_id = max([intake.highest_id, *ids])
    is_long = len(ids) > longest
    kind = example.get("_kind") or "all"
    intake.cut.setdefault(kind, Cut()).add(Cut(1, cut=int(is_long), untrained=int(is_long)))
    if is_long:
        faults.long.append(where)
        intake.leave_out("its prompt is longer than cutoff_len", where)
        return None
    turns = [{"role": str(one["role"]), "content": str(one["content"])} for one in messages]
    record = json.loads(example.get(RECORD) or "{}")
    record = {"id": where, **(record if isinstance(record, dict) else {}), TURNS: turns}
    return Task(tuple(ids), "", tools, where, call_format, record)


def _opening(messages: Sequence[Mapping[str, str]]) -> list[Mapping[str, str]]:
    """Return the turns before the first that a model wrote."""
    place = next((at for at, one in enumerate(messages) if one["role"] in ("assistant", "function")), len(messages))
    return list(messages[:place])


def _encoded(
    opening: Sequence[Mapping[str, str]], example: Mapping[str, Any], encode: Encode
) -> tuple[Sequence[int], tuple[Any, ...], str | None]:
    """Return the prompt's tokens and the declared tools, or what is wrong, in words that are the same for its kind."""
    system, tools = example.get("_system") or "", example.get("_tools") or ""
    try:
        declared = declared_tools(tools, (system, *(message["content"] for message in opening)))
    except DataError as error:
        return (), (), f"a tool cannot be read: {error.message[:100]}"
    try:
        ids, _ = encode([*opening, {"role": "assistant", "content": ""}], system, tools)
    except Exception as error:  # upstream's formatters raise whatever the data makes them stumble on
        said = str(error).splitlines() or [""]
        return (), (), f"the template cannot write it ({type(error).__name__}: {said[0][:80]})"
    if any(token is None for token in ids):
        return (), (), "the tokenizer lacks a token of the template"
    return ids, declared, None if ids else "the prompt is empty"
