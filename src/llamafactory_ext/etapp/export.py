"""Training data from episodes: dialogues of whole, checked or well judged cases in LLaMA-Factory's layout.

Failed calls stay in, and their observation is an error by which TL-Training leaves them out of the loss (MAE).
"""

from __future__ import annotations

import json
import random
from collections import Counter
from collections.abc import Collection, Mapping, Sequence
from dataclasses import dataclass, field
from pathlib import Path
from typing import Any

from ..data.family import SHAREGPT
from ..data.files.writing import (
    RecordFile,
    add_entry,
    claim_data,
    make_folder,
    merged_entry,
    own_data,
    read_dataset_info,
)
from ..errors import DataError, OptionError
from ..metrics.report import Verdict
from ..templates.messages import RESULT_SEPARATOR
from ..toolcalls.feedback.errors import feedback_error
from .arguments import UnreadableError, read_call
from .cases import Source, ids_in
from .checking import Acted
from .judge_prompt import finals_of
from .prompts import FEEDBACK, opening
from .registry import ALL, FINDERS
from .sandbox import UNREADABLE

TASK = "etapp"


@dataclass(frozen=True)
class Wanted:
    """Which dialogues are exported.

    Attributes:
        procedure: least final score of the judge, of 5.
        personalization: likewise.
        proactivity: likewise.
        checks: pass: all conditions of the case hold; any: they do not count.
        no_thought: leave out what a model says before a call.
        held_out: ids of cases for testing, none of which may be exported.
        judged: the file of verdicts, for messages.
    """

    procedure: float = 4
    personalization: float = 4
    proactivity: float = 3
    checks: str = "pass"
    no_thought: bool = False
    held_out: frozenset[str] = frozenset()
    judged: Path = Path("the verdicts")


@dataclass
class Exported:
    """What was written and what was not.

    Attributes:
        path: of the data file.
        written: dialogues.
        left_out: how many for each reason.
    """

    path: Path
    written: int = 0
    left_out: Counter[str] = field(default_factory=Counter)


def export(
    source: Source, acted: Sequence[Acted], verdicts: Mapping[str, Verdict], wanted: Wanted, out: Path, reads: Path
) -> Exported:
    """Write the data file and its entry in dataset_info.json.

    Args:
        source: has the worlds.
        acted: the cases.
        verdicts: of the judge, by case; empty where it was not asked.
        wanted: which dialogues.
        out: the file; its folder has or gets dataset_info.json.
        reads: the prediction file, which is not written over.

    Raises:
        OptionError: options that cannot be, or a place of somebody else's.
        DataError: cases for testing, or no dialogue left.
    """
    if wanted.checks not in ("pass", "any"):
        raise OptionError(f"--checks {wanted.checks}: choose pass or any.")
    if out.suffix != ".json":
        raise OptionError(f"--out {out}: the name must end with .json, as LLaMA-Factory's data files do.")
    held = sorted({one.case.id for one in acted} & wanted.held_out)
    if held:
        raise DataError(
            f"{len(held)} cases are held out for testing, such as {held[0]}; run the agent on the others "
            "or export the others alone (--cases train.txt), or name another --held_out."
        )
    make_folder(out.parent)
    info = read_dataset_info(out.parent)
    entry = SHAREGPT.entry(out.name)
    merged_entry(out.parent, out.stem, entry, info)
    known = claim_data(out.parent, out, info, [reads])
    done = Exported(out)
    rows = []
    for one in acted:
        reason = _left_out(one, verdicts.get(one.prediction.id), bool(verdicts), wanted)
        if reason:
            done.left_out[reason] += 1
        else:
            try:
                rows.append(record(source, one, no_thought=wanted.no_thought))
            except (LookupError, TypeError, AttributeError, ValueError, StopIteration) as error:
                raise DataError(
                    f"{reads}: the dialogue of {one.prediction.id} is damaged ({error!r}); run it again."
                ) from None
    if not rows:
        raise DataError(f"no dialogue is left to export: {_counts(done.left_out)}; run more cases or ask for less.")
    with own_data(out, known) as handle:
        file = RecordFile(handle)
        for row in rows:
            file.add(row)
        file.end()
    add_entry(out.parent, out.stem, entry)
    done.written = len(rows)
    return done


def _counts(left_out: Counter[str]) -> str:
    return ", ".join(f"{reason} {count}" for reason, count in left_out.most_common()) or "there was none"


def _left_out(one: Acted, verdict: Verdict | None, judged: bool, wanted: Wanted) -> str:
    """Say why a dialogue is not exported; empty if it is."""
    if one.episode["end"] != "answer" or not one.prediction.prediction.strip():
        return "ended by a limit or without an answer"
    if any(call["failed"] == UNREADABLE for call in one.episode["calls"]):
        return "holds a call that cannot be read"
    if wanted.checks == "pass" and one.outcome is not None and not one.outcome.success:
        return "fails its checks"
    if wanted.checks == "pass" and one.outcome is None and not judged:
        return "has no checks, and no judge was asked"
    if not judged:
        return ""
    if verdict is None or not verdict.parsed:
        return "has no verdict of the judge"
    scores = finals_of(verdict, wanted.judged)
    least = {name: getattr(wanted, name) for name in ("procedure", "personalization", "proactivity")}
    return "" if all(scores[name] >= value for name, value in least.items()) else "scored too low"


def record(source: Source, one: Acted, *, no_thought: bool = False) -> dict[str, Any]:
    """Return a dialogue in ShareGPT's form.

    Args:
        source: has the world.
        one: the case.
        no_thought: leave out what the model says before a call.
    """
    world, episode = source.worlds[one.case.user], one.episode
    names = list(FINDERS) if episode["setting"] == "retrieval" else list(one.case.given)
    names += [call["name"] for call in episode["calls"] if call["name"] in ALL and call["failed"] is None]
    tools = [ALL[name].config()["function"] for name in dict.fromkeys(names)]
    (system, _) = opening(world, one.case, episode["setting"], "fc", [])
    return {
        "conversations": _turns(one, no_thought),
        "system": system["content"],
        "tools": json.dumps(tools, ensure_ascii=False),
        "mark": "tool",
        "task": TASK,
        "id": one.prediction.id,
    }


def _turns(one: Acted, no_thought: bool) -> list[dict[str, str]]:
    messages = [dict(message) for message in one.prediction.messages or ()][1:]
    if one.episode["strategy"] == "e-react":  # the plan and the words that asked for it
        del messages[1:3]
    logged, results = iter(one.episode["calls"]), iter(one.episode["calls"])
    turns: list[dict[str, str]] = []
    for message in messages:
        text = str(message.get("content") or "")
        if _is_result(message, text, one, is_first=not turns):
            told = _observed(text.removeprefix(f"{FEEDBACK} "), next(results))
            if turns[-1]["from"] == "observation":
                turns[-1]["value"] += RESULT_SEPARATOR + told
            else:
                turns.append({"from": "observation", "value": told})
        elif message["role"] == "user":
            turns.append({"from": "human", "value": text})
        else:
            turns.append(_spoken(message, text, logged, one, no_thought))
    if turns[-1]["from"] == "gpt":
        turns[-1]["value"] = one.prediction.prediction
    return turns


def _is_result(message: Mapping[str, Any], text: str, one: Acted, *, is_first: bool) -> bool:
    """Tell whether a message shows a result; the published loop shows it as any user's words."""
    if message["role"] != "user":
        return bool(message["role"] == "tool")
    return text.startswith(f"{FEEDBACK} ") or (one.episode["sandbox"] == "reference" and not is_first)


def _observed(told: str, call: Mapping[str, Any]) -> str:
    """Return what training data shows of a result: failures as errors, so that TL-Training finds them."""
    if call["failed"] is None or feedback_error(told) == call["failed"]:
        return told
    return json.dumps({"error": told}, ensure_ascii=False)


def _spoken(message: Mapping[str, Any], text: str, logged: Any, one: Acted, no_thought: bool) -> dict[str, str]:
    calls: list[dict[str, Any]] = []
    thought = text.strip()
    if one.episode["strategy"] == "fc":
        for made in message.get("tool_calls") or ():
            function = made["function"]
            try:
                call = read_call(function["name"], function["arguments"])
            except UnreadableError as error:
                raise DataError(f"{one.prediction.id}: a call cannot be read ({error}); run the case again.") from None
            calls.append({"name": call.name, "arguments": dict(call.arguments)})
    else:
        head, found, _ = text.partition("\nAction:") if not text.startswith("Action:") else ("", "Action:", "")
        if found:
            call_record = next(logged, None)
            thought = head.removeprefix("Thought:").strip()
            if call_record is not None:
                calls.append({"name": call_record["name"], "arguments": call_record["arguments"]})
    if not calls:
        return {"from": "gpt", "value": thought}
    written = json.dumps(calls[0] if len(calls) == 1 else calls, ensure_ascii=False)
    return {"from": "function_call", "value": written if no_thought or not thought else f"{thought}\n{written}"}


def split(source: Source, train: int, seed: int, by: str = "instruction") -> tuple[list[str], list[str]]:
    """Divide the cases: ids for training and for testing, which share no instruction, or no user.

    Args:
        source: has the cases.
        train: instructions, or users, for training.
        seed: of the draw.
        by: instruction or user.

    Raises:
        OptionError: not that many of them.
    """
    if by not in ("instruction", "user"):
        raise OptionError(f"--by {by}: choose instruction or user.")
    kind = {case.id: case.user if by == "user" else case.number for case in source.cases}
    known = list(dict.fromkeys(kind.values())) if by == "user" else sorted(set(kind.values()), key=int)
    if not 0 < train < len(known):
        raise OptionError(f"--train {train}: {source.name} has {len(known)} {by}s; give 1 to {len(known) - 1}.")
    drawn = set(random.Random(seed).sample(known, train))
    chosen = [key for key, value in kind.items() if value in drawn]
    return chosen, [key for key, value in kind.items() if value not in drawn]


def claim_lists(paths: Sequence[Path], parts: Sequence[Sequence[str]]) -> None:
    """Make sure that no list of another split is replaced: a model may have been trained on it.

    Raises:
        OptionError: a list is there and holds other cases.
    """
    for path, ids in zip(paths, parts, strict=True):
        if path.is_file() and path.stat().st_size and ids_in(path) != frozenset(ids):
            raise OptionError(
                f"{path} is the list of another split (seed, number, kind or source); what was trained or tested by "
                "it would no longer be known. Name another --out, or move both lists away."
            )


def read_ids(path: Path, known: Collection[str]) -> frozenset[str]:
    """Read a list of cases, one id a line.

    Args:
        path: of the list.
        known: the ids of the source.

    Raises:
        DataError: it cannot be read, is empty, or names what is no case.
    """
    found = ids_in(path)
    unknown = sorted(found.difference(known))
    if unknown or not found:
        what = f"{len(unknown)} of its ids are no cases, such as {unknown[0]!r}" if unknown else "it holds no id"
        raise DataError(f"{path}: {what}; give one id a line, as `llamafactory-ext etapp split` writes them.")
    return found
