"""API-Bank's official verdict on calls: the API classes of the user's own checkout execute them, in the sandbox.

The gold of levels 1 and 2 are the checkout's dialogues. The gold results of level 3, whose file is not published with
the test data, are read out of the chains in level-3-batch-inf-response.json. ToolSearcher needs an embedding model:
without one, items whose gold call it is are left out, and the report says how many. What needs the network fails, as
it does for the published figure. A call that does not end, where the published script waits for ever, is wrong.
"""

from __future__ import annotations

import ast
import re
from collections.abc import Mapping, Sequence
from pathlib import Path
from typing import Any, NamedTuple

from ....data.files.reading import iter_records
from ....errors import DataError, OptionError
from ...answers import REWRITTEN, Answered, Context, Scored, in_published_form, rewritten_note
from ...references import Item
from ...report import Verdict
from ...sandbox import Limits
from ...sandbox.tasks import work
from .score import CORRECTNESS, PUBLISHED_CEILING, is_reply, published_call, reply_verdict
from .score import score as compare
from .search import PUBLISHED_EMBEDDER, Embedder

_DIALOGUES = {"1": "level-1-given-desc", "2": "level-2-toolsearcher"}
_SEARCHER = "ToolSearcher"
_LEVEL_3_GOLD = "level-3-batch-inf-response.json"
_STEP = re.compile(r"^API-Request: \[.*\]->(\{.*\})\s*$", re.MULTILINE)
_LIMITS = Limits(seconds=900, memory_mb=2048, disk_mb=64)
CALL_SECONDS = 10  # of one call
_TIMEOUT, _ABORTED = "TIMEOUT", "ABORTED"


class _Ended(NamedTuple):
    """How a call ended: its category, and why where it ended its worker."""

    category: str
    why: str = ""


def score(
    answered: Sequence[Answered], checkout: Path | None, folder: Path, embedder: Embedder | None = None
) -> Scored:
    """Score calls and replies with the published verdicts.

    Args:
        answered: items with predictions.
        checkout: of API-Bank (AlibabaResearch/DAMO-ConvAI, folder api-bank), or of the repository.
        folder: where the test files lie.
        embedder: for ToolSearcher's calls; without it they are left out.

    Raises:
        OptionError: calls to score, but no checkout, or no isolation.
        DataError: the checkout or the test files lack the gold of an item.
    """
    calls = [one for one in answered if not is_reply(one.item)]
    made = {one.item.id: _made(one) for one in calls}
    ends, left_out = _execute(calls, made, _root(checkout), folder, embedder) if calls else ({}, 0)
    verdicts = []
    for one in answered:
        if is_reply(one.item):
            verdicts.append(reply_verdict(one, "official"))
        elif one.item.id in ends:
            category, why = ends[one.item.id]
            scores = {CORRECTNESS: float(category == "CORRECT")}
            parsed = category != "NO_API_CALL"
            detail = why or (REWRITTEN if made[one.item.id][1] else "")
            verdicts.append(Verdict(one.item.id, scores, category, parsed, detail, one.item.group))
        else:
            verdicts.append(Verdict(one.item.id, {}, "NOT_EXECUTED", group=one.item.group))
    notes = [PUBLISHED_CEILING] if calls else []
    if left_out:
        notes.append(
            f"{left_out} items whose gold call is {_SEARCHER} are not in C: it needs an embedding model, "
            f"--embedder DIR with {PUBLISHED_EMBEDDER}."
        )
    endless = sum(category == _TIMEOUT for category, _ in ends.values())
    if endless:
        notes.append(f"{endless} calls did not end within {CALL_SECONDS} seconds and count as wrong.")
    if calls and embedder is not None:
        notes.append(embedder.note)
    return Scored(tuple(verdicts), (*notes, *rewritten_note(verdicts)))


def _made(one: Answered) -> tuple[tuple[str, dict[str, str]] | None, bool]:
    """Return the predicted call by the published patterns, and whether it had to be put into their form first."""
    text = one.prediction.prediction
    found = published_call(text)
    rewritten = in_published_form(text, "api_bank") if found is None else None
    return (found, False) if rewritten is None else (published_call(rewritten), True)


def _root(checkout: Path | None) -> Path:
    if checkout is None:
        raise OptionError(
            "api_bank's official mode executes the API classes of your own checkout: --checkout DIR (git clone "
            "https://github.com/AlibabaResearch/DAMO-ConvAI, folder api-bank). Without one, --mode strict compares "
            "calls by parsed arguments."
        )
    for root in (checkout, checkout / "api-bank"):
        if (root / "tool_manager.py").is_file():
            return root.resolve()
    raise DataError(f"{checkout} is no checkout of API-Bank: it has no tool_manager.py; name the folder api-bank.")


def _execute(
    calls: Sequence[Answered],
    made: Mapping[str, tuple[tuple[str, dict[str, str]] | None, bool]],
    root: Path,
    folder: Path,
    embedder: Embedder | None,
) -> tuple[dict[str, _Ended], int]:
    """Return how each call ended by id, and how many calls were left out."""
    chains: dict[int, list[Mapping[str, Any]]] | None = None
    ends: dict[str, _Ended] = {}
    tasks = []
    left_out = 0
    for one in calls:
        level = one.item.group.partition("-")[2][:1]
        if level == "3":
            chains = _chains(folder) if chains is None else chains
            gold = _planned_gold(one.item, chains)
        else:
            gold = _dialogue_gold(one.item, root / "lv1-lv2-samples" / _DIALOGUES[level])
        found, _ = made[one.item.id]
        if gold["api_name"] == _SEARCHER and embedder is None:
            left_out += 1
        elif found is None:
            ends[one.item.id] = _Ended("NO_API_CALL")
        elif found[0] == _SEARCHER and gold["api_name"] != _SEARCHER:
            # Level 3 calls it all the same: what it does not know is refused before the names are compared.
            unknown = level == "3" and found[1].keys() - {"keywords"}
            ends[one.item.id] = _Ended("INVALID_INPUT_PARAMETER" if unknown else "API_NAME_MISMATCH")
        else:
            task = {"id": one.item.id, "level": int(level), "name": found[0], "arguments": found[1], "gold": gold}
            tasks.append(task)
    vectors: dict[str, list[float]] = {}
    searches = [task for task in tasks if task["name"] == _SEARCHER]
    if searches and embedder is not None:
        vectors = embedder(_run(root, searches, vectors)[1])
    return ends | _run(root, tasks, vectors)[0], left_out


def _run(
    root: Path, tasks: Sequence[Mapping[str, Any]], vectors: Mapping[str, list[float]]
) -> tuple[dict[str, _Ended], list[str]]:
    """Return how each call ended by id, and the texts whose vectors ToolSearcher missed.

    A call that ends its worker costs itself only: the rest goes on in a fresh one. There the calls of level 3 before
    it are made again, since they share one world.
    """
    ends: dict[str, _Ended] = {}
    fatal: set[str] = set()
    missed: dict[str, None] = {}
    source = Path(__file__).with_name("worker.py").read_text(encoding="utf-8")
    while left := [task for task in tasks if task["id"] not in ends]:
        shares_world = any(task["level"] == 3 for task in left)
        again = [task for task in tasks if task["level"] == 3 and task["id"] in ends.keys() - fatal]
        job = {"checkout": str(root), "vectors": vectors, "seconds": CALL_SECONDS}
        worked = work(source, [*(again if shares_world else ()), *left], job, _LIMITS, [root])
        new = worked.ended.keys() - ends.keys()
        ends = {key: _Ended(category) for key, category in worked.ended.items()} | ends
        missed |= dict.fromkeys(worked.told.get("missed", ()))
        if worked.open_id is not None:
            fatal.add(worked.open_id)
            late, why = worked.why("call", CALL_SECONDS)
            ends.setdefault(worked.open_id, _Ended(_TIMEOUT if late else _ABORTED, why))
        elif not new:
            raise DataError(
                f"{root}: the checkout's API classes could not be run ({worked.outcome.status}: "
                f"{worked.outcome.error.strip()[:500]}); check that it is whole, or use --mode strict."
            )
    return ends, list(missed)


def _dialogue_gold(item: Item, folder: Path) -> Mapping[str, Any]:
    """Return the API turn that the item's id points to: every API turn and the turn after it are one sample each."""
    try:
        path = folder / Path(str(item.record["file"])).name
        turns = [turn for _, turn in iter_records(path)]
        calls = [place for place, turn in enumerate(turns) if turn["role"] == "API"]
        sample, after = divmod(int(item.record["id"]), 2)
        gold: Mapping[str, Any] = turns[calls[sample] + after]
        if gold["role"] != "API" or "result" not in gold:
            raise KeyError("API")
    except (KeyError, TypeError, ValueError, IndexError) as error:
        raise DataError(
            f"{item.id}: there is no gold call in {folder} ({error!r}); get both of one version."
        ) from None
    return gold


def _chains(folder: Path) -> dict[int, list[Mapping[str, Any]]]:
    """Return gold results of each sample of level 3, in order."""
    path = folder / _LEVEL_3_GOLD
    if not path.is_file():
        path = folder / "test-data" / _LEVEL_3_GOLD
    if not path.is_file():
        raise DataError(f"{folder} lacks {_LEVEL_3_GOLD}, which holds the gold results of level 3; put it there.")
    chains: dict[int, list[Mapping[str, Any]]] = {}
    for place, record in iter_records(path):
        try:
            steps = [ast.literal_eval(step) for step in _STEP.findall(record["input"])]
            chains[record["sample_id"]] = steps
        except (KeyError, TypeError, ValueError, SyntaxError) as error:
            raise DataError(f"{path}, {place}: no chain of calls with results ({error!r}); get it again.") from None
    return chains


def _planned_gold(item: Item, chains: Mapping[int, list[Mapping[str, Any]]]) -> Mapping[str, Any]:
    try:
        return chains[item.record["sample_id"]][item.record["api_id"]]
    except (KeyError, IndexError, TypeError):
        raise DataError(f"{item.id}: {_LEVEL_3_GOLD} has no result for it; get both files of one version.") from None


def run(answered: Sequence[Answered], context: Context) -> Scored:
    """Score as the benchmark's row asks: by execution in official mode, else by comparison."""
    if context.mode != "official":
        return compare(answered, context.mode)
    checkout, embedder = context.options.get("checkout"), context.options.get("embedder")
    return score(
        answered,
        Path(checkout) if checkout else None,
        context.folder,
        Embedder(Path(embedder)) if embedder else None,
    )
