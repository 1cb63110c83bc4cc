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

from ..checkpoint.locks import folder_locked
from ..checkpoint.own import claim, own_text
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
from ..metrics.thoughts import spoken
from ..templates.messages import RESULT_SEPARATOR
from ..toolcalls.feedback.errors import feedback_error
from .cases import Source, ids_in
from .checking import Acted
from .judge_prompt import finals_of
from .prompts import FEEDBACK, opening
from .registry import ALL, FINDERS
from .sandbox import UNREADABLE
from .steps import Step, steps_of

TASK = "etapp"


class UnfitError(Exception):
    """A dialogue that the layout of training data cannot hold; the text says why."""


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
            except UnfitError as error:
                done.left_out[str(error)] += 1
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
    if one.episode["end"] != "answer" or not spoken(one.prediction.prediction).strip():
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
    """Return the turns of a dialogue: people or results, then a call or an answer, and an answer at the end.

    Raises:
        UnfitError: the dialogue has others.
        UnlikeError: it does not show what the episode logged.
    """
    messages = one.prediction.messages or ()
    turns = [{"from": "human", "value": str(messages[1].get("content") or "")}]
    for step in steps_of(messages, one.episode):
        if turns[-1]["from"] in ("gpt", "function_call"):
            raise UnfitError("has replies that no turns of training data can hold")
        turns.append(_spoken(step, one, no_thought))
        if step.calls:
            told = [
                _observed(str(result.get("content") or "").removeprefix(f"{FEEDBACK} "), call)
                for result, call in zip(step.results, step.calls, strict=True)
            ]
            turns.append({"from": "observation", "value": RESULT_SEPARATOR.join(told)})
        elif step.said is not None:
            turns.append({"from": "human", "value": step.said})
    if turns[-1]["from"] != "gpt":
        raise UnfitError("does not end with an answer")
    answer = one.prediction.prediction
    turns[-1]["value"] = spoken(answer) if no_thought else answer
    return turns


def _observed(told: str, call: Mapping[str, Any]) -> str:
    """Return what training data shows of a result: failures as errors, so that TL-Training finds them."""
    if call["failed"] is None or feedback_error(told) == call["failed"]:
        return told
    return json.dumps({"error": told}, ensure_ascii=False)


def _spoken(step: Step, one: Acted, no_thought: bool) -> dict[str, str]:
    thought, calls = step.text.strip(), step.calls
    if one.episode["strategy"] != "fc":
        head, acts, _ = step.text.partition("\nAction:") if not thought.startswith("Action:") else ("", "Action:", "")
        thought = head.removeprefix("Thought:").strip() if acts else thought
    elif len(step.stated) != len(calls):
        raise UnfitError("has calls without a result, which no turns of training data can hold")
    if not calls:
        return {"from": "gpt", "value": thought}
    made = [{"name": call["name"], "arguments": call["arguments"]} for call in calls]
    written = json.dumps(made[0] if len(made) == 1 else made, ensure_ascii=False)
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


def write_lists(paths: Sequence[Path], parts: Sequence[Sequence[str]]) -> None:
    """Write the lists of a split into one folder; of two splits at once the second finds what the first wrote.

    Raises:
        OptionError: the folder cannot be made, or has the lists of another split.
    """
    folder = paths[0].parent
    try:
        folder.mkdir(parents=True, exist_ok=True)
    except OSError as error:
        raise OptionError(f"--out {folder} cannot be made ({error.strerror}); name another folder.") from None
    with folder_locked(folder):
        claim(paths)
        claim_lists(paths, parts)
        for path, ids in zip(paths, parts, strict=True):
            own_text(path, "\n".join(ids) + "\n")


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
