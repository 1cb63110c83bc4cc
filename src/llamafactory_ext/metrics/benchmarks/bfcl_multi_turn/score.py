"""BFCL's multi_turn figures: trajectories executed on the API classes of the user's own checkout, in the sandbox.

Behind each turn the states of all API instances must equal those behind the gold calls, and what the gold calls of the
turn return must be among what the model's calls returned so far (gorilla.cs.berkeley.edu, since October 2024).

Both modes execute calls; `strict` differs from `official`, the published checker, in three ways:

- calls are made as they are stated, in any format, with arguments by position; the published code writes them out as
  Python, drops arguments by position, and renames functions within texts too;
- states are compared behind every turn, also where functions or values for the wish are missing; the published checker
  waits for the next turn that has gold calls, so whatever is done in a last one passes;
- a turn without a call is right where states and responses are, as after a call that came early.
"""

from __future__ import annotations

from collections import Counter
from collections.abc import Mapping, Sequence
from pathlib import Path
from typing import Any, Final

from ....errors import DataError
from ...answers import Answered, Context, Scored
from ...references import Item
from ...report import Verdict
from ...sandbox import Limits
from ...sandbox.tasks import work
from ..bfcl_items import decoder
from ..python_calls import Version
from .checkout import WORKER, Checkout, find_checkout
from .reading import Trajectory, read, stated_turns

FIGURE: Final = "accuracy"
TRAJECTORY_SECONDS = 30
_LIMITS: Final = Limits(seconds=1800, memory_mb=2048, disk_mb=64)
_CORRECT, _LATE, _ENDED = "correct", "timeout", "ended_the_worker"


def run(answered: Sequence[Answered], context: Context) -> Scored:
    """Score as the benchmark's row asks.

    Raises:
        OptionError: no checkout, or no isolation.
        DataError: a checkout whose classes cannot be run.
    """
    named = context.options.get("checkout")
    checkout = find_checkout(Path(named) if named else None, context.folder)
    version = decoder(context)
    verdicts: dict[str, Verdict] = {}
    tasks, formats = [], Counter[str]()
    for one in answered:
        read_or_not = _trajectory(one, context, version)
        if isinstance(read_or_not, Verdict):
            verdicts[one.item.id] = read_or_not
            continue
        formats[read_or_not.format or "no call"] += 1
        tasks.append(_task(one.item, read_or_not, context.mode == "strict", checkout))
    ends = _compare(tasks, checkout)
    for one in answered:
        if one.item.id in ends:
            kind, detail = ends[one.item.id]
            scores = {FIGURE: float(not kind)}
            verdicts[one.item.id] = Verdict(one.item.id, scores, kind or _CORRECT, True, detail, one.item.group)
    found = tuple(verdicts[one.item.id] for one in answered)
    return Scored(found, _notes(found, formats))


def _trajectory(one: Answered, context: Context, version: Version) -> Trajectory | Verdict:
    """Return the calls, or the verdict where there is no trajectory over all turns."""
    turns, wanted = stated_turns(one.prediction.prediction), len(one.item.record["ground_truth"])
    if turns is None:
        kind, detail, parsed = "inference_error", "no list of turns", False
    elif len(turns) != wanted:
        kind, detail, parsed = "force_terminated", f"{len(turns)} of {wanted} turns", True
    else:
        return read(turns, context.mode, version)
    return Verdict(one.item.id, {FIGURE: 0.0}, kind, parsed, detail, one.item.group)


def _task(item: Item, trajectory: Trajectory, strict: bool, checkout: Checkout) -> dict[str, Any]:
    return {
        "id": item.id,
        "classes": checkout.job(item.record["involved_classes"])["classes"],
        "config": item.record["initial_config"],
        "long_context": is_long(item),
        "turns": trajectory.turns,
        "gold": item.record["ground_truth"],
        "strict": strict,
    }


def is_long(item: Item) -> bool:
    """Tell whether the states are filled up: files and records beside those that the task is about."""
    return "long_context" in item.id or "composite" in item.id


def _compare(tasks: Sequence[Mapping[str, Any]], checkout: Checkout) -> dict[str, tuple[str, str]]:
    """Return (kind of error, detail) by id."""
    names = list(dict.fromkeys(name for task in tasks for name, _ in task["classes"]))
    job = checkout.job(names) | {"seconds": TRAJECTORY_SECONDS}
    source = f"{WORKER.read_text(encoding='utf-8')}\nmain()\n"
    ends: dict[str, tuple[str, str]] = {}
    while left := [task for task in tasks if task["id"] not in ends]:
        worked = work(source, left, job, _LIMITS, checkout.readable)
        ends |= {key: (str(kind), str(detail)) for key, (kind, detail) in worked.ended.items()}
        if worked.open_id is not None:
            late, why = worked.why("trajectory", TRAJECTORY_SECONDS)
            ends[worked.open_id] = (_LATE if late else _ENDED, why)
        elif not worked.ended:
            raise DataError(
                f"{checkout.root}: the checkout's API classes could not be run ({worked.outcome.status}: "
                f"{worked.outcome.error.strip()[:500]}); check that it is whole."
            )
    return ends


def _notes(verdicts: Sequence[Verdict], formats: Counter[str]) -> tuple[str, ...]:
    kinds = Counter(verdict.category for verdict in verdicts if not verdict.scores[FIGURE])
    told = (("Calls are stated as", formats), ("Errors", kinds))
    return tuple(
        f"{words}: {', '.join(f'{name} {count}' for name, count in counted.most_common())}."
        for words, counted in told
        if counted
    )
