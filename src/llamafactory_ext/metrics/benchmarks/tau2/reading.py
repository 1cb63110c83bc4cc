"""Results of tau2-bench, as its own runs write them; those of tau-bench (arXiv:2406.12045) too.

One JSON file has `info` (who acted, with whom, in which domain), `tasks` and `simulations`; voice runs write a folder
with `results.json` and `simulations/`. tau-bench wrote a list of `{"task_id", "trial", "reward"}` that names no agent.
"""

from __future__ import annotations

import hashlib
import json
from collections.abc import Mapping, Sequence
from dataclasses import dataclass
from pathlib import Path
from typing import Any, Final

from ....checkpoint.own import refuse_special
from ....errors import DataError

_FOLDER: Final = "simulations"
_REASONS: Final = (
    *("user_stop", "agent_stop", "max_steps", "timeout", "too_many_errors", "agent_error", "user_error"),
    *("infrastructure_error", "context_window_exceeded", "unexpected_error"),
)
FINISHED: Final = ("user_stop", "agent_stop")
NEVER_RAN: Final = "infrastructure_error"


@dataclass(frozen=True)
class Simulation:
    """One trial of a task.

    Attributes:
        task_id: of its task.
        trial: its number.
        ended: the published reason for its end; "" in tau-bench's files.
        reward: as recorded; None where the run was not evaluated.
        checks: `reward_info` as recorded.
        messages: of the dialogue; None where the file holds none.
    """

    task_id: str
    trial: int
    ended: str
    reward: float | None
    checks: Mapping[str, Any]
    messages: Sequence[Mapping[str, Any]] | None

    @property
    def id(self) -> str:
        """The task with the number of the trial."""
        return f"{self.task_id}#{self.trial}"


@dataclass(frozen=True)
class Results:
    """What a run holds.

    Attributes:
        domain: "" where the file does not say it.
        who: the agent, the user and the code's commit, in words.
        tasks: by id; empty in tau-bench's files.
        simulations: in the file's order.
        sha256: of the bytes.
    """

    domain: str
    who: str
    tasks: Mapping[str, Mapping[str, Any]]
    simulations: tuple[Simulation, ...]
    sha256: str


def read_results(path: Path) -> Results:
    """Read a run: a results file, or the folder of a voice run.

    Raises:
        DataError: names the file and the place.
    """
    if path.is_dir():
        path = _main_file(path)
    content = _content(path)
    data = _parsed(path, content)
    hashed = hashlib.sha256(content)
    if isinstance(data, list):
        simulations = [_old(one, f"{path}, record {number}") for number, one in enumerate(data)]
        return Results("", "", {}, _checked(path, simulations), hashed.hexdigest())
    info, listed, tasks = (_member(data, path, key, kind) for key, kind in _MEMBERS)
    if not listed and (path.parent / _FOLDER).is_dir():
        for file in sorted((path.parent / _FOLDER).glob("*.json")):
            part = _content(file)
            hashed.update(part)
            listed.append(_parsed(file, part))
    simulations = [_new(one, f"{path}, simulation {number}") for number, one in enumerate(listed)]
    by_id = {_text(task, "id", f"{path}, task {number}"): task for number, task in enumerate(tasks)}
    if unknown := [one.task_id for one in simulations if one.task_id not in by_id]:
        raise DataError(f"{path}: a simulation is of task {unknown[0]!r}, which the file's tasks lack; get it again.")
    return Results(_domain(info), _who(info), by_id, _checked(path, simulations), hashed.hexdigest())


_MEMBERS: Final = (("info", dict), ("simulations", list), ("tasks", list))


def _main_file(folder: Path) -> Path:
    """Return the results file of a folder that holds one run; of several nobody knows whether they are one agent's."""
    if (folder / "results.json").is_file():
        return folder / "results.json"
    found = sorted(folder.glob("*.json"))
    if len(found) == 1:
        return found[0]
    names = ", ".join(file.name for file in found[:5]) or "no JSON file"
    raise DataError(
        f"{folder} holds {names}, and no results.json: name the results of one run. Runs of several agents or domains "
        "are scored one by one and set beside each other by `llamafactory-ext report`."
    )


def _content(path: Path) -> bytes:
    refuse_special(path)
    try:
        return path.read_bytes()
    except FileNotFoundError:
        raise DataError(f"{path}: there is no such file; name a run's results.json.") from None
    except OSError as error:
        raise DataError(f"{path} cannot be read ({error.strerror}); name a run's results.json.") from None


def _parsed(path: Path, content: bytes) -> Any:
    try:
        return json.loads(content.decode("utf-8"))
    except (ValueError, RecursionError) as error:
        raise DataError(
            f"{path} is no JSON ({error}); the run may have been cut off, resume it or repeat it."
        ) from None


def _member(data: Any, path: Path, key: str, kind: type) -> Any:
    value = data.get(key) if isinstance(data, dict) else None
    if not isinstance(value, kind):
        what = "list" if kind is list else "object"
        raise DataError(f"{path}: {key!r} is missing or no {what}; these are no results of tau2-bench.")
    return value


def _domain(info: Mapping[str, Any]) -> str:
    environment = info.get("environment_info")
    name = environment.get("domain_name") if isinstance(environment, dict) else None
    return name if isinstance(name, str) else ""


def _who(info: Mapping[str, Any]) -> str:
    """Say who acted with whom."""
    told = []
    for word in ("agent", "user"):
        side = info.get(f"{word}_info")
        named = [side.get(key) for key in ("implementation", "llm")] if isinstance(side, dict) else []
        told.append(f"{word} {' '.join(str(name) for name in named if name) or 'unknown'}")
    return f"{', '.join(told)}; tau2-bench at {str(info.get('git_commit') or 'an unknown commit')[:12]}"


def _text(record: Any, key: str, place: str) -> str:
    value = record.get(key) if isinstance(record, dict) else None
    if isinstance(value, bool) or not isinstance(value, str | int) or value == "":
        raise DataError(f"{place}: {key!r} is missing or no name; these are no results of tau2-bench.")
    return str(value)


def _reward(value: Any, place: str) -> float:
    if isinstance(value, bool) or not isinstance(value, int | float) or not 0 <= value <= 1:
        raise DataError(f"{place}: the reward is {value!r}, no number from 0 to 1; the file is damaged, get it again.")
    return float(value)


def _trial(record: Mapping[str, Any], place: str) -> int:
    value = record.get("trial")
    if value is None:
        return -1  # numbered by its place among those of its task
    if type(value) is not int or value < 0:
        raise DataError(f"{place}: 'trial' is no number of a trial; the file is damaged, get it again.")
    return value


def _new(record: Any, place: str) -> Simulation:
    task_id = _text(record, "task_id", place)
    ended, checks, messages = (record.get(key) for key in ("termination_reason", "reward_info", "messages"))
    if ended not in _REASONS:
        raise DataError(f"{place}: 'termination_reason' is {ended!r}, none of {', '.join(_REASONS)}.")
    if not isinstance(checks, dict | None):
        raise DataError(f"{place}: 'reward_info' is no object; the file is damaged, get it again.")
    if messages is not None and not (isinstance(messages, list) and all(isinstance(one, dict) for one in messages)):
        raise DataError(f"{place}: 'messages' is no list of objects; the file is damaged, get it again.")
    reward = None if checks is None else _reward(checks.get("reward"), place)
    return Simulation(task_id, _trial(record, place), ended, reward, checks or {}, messages)


def _old(record: Any, place: str) -> Simulation:
    task_id = _text(record, "task_id", place)
    return Simulation(task_id, _trial(record, place), "", _reward(record.get("reward"), place), {}, None)


def _checked(path: Path, simulations: Sequence[Simulation]) -> tuple[Simulation, ...]:
    """Return the simulations, each trial of a task once."""
    if not simulations:
        raise DataError(f"{path} holds no simulations; run tau2-bench, or name another file.")
    kept: dict[str, Simulation] = {}
    counts: dict[str, int] = {}
    for one in simulations:
        place = counts[one.task_id] = counts.get(one.task_id, -1) + 1
        numbered = one if one.trial >= 0 else Simulation(**{**vars(one), "trial": place})
        if kept.setdefault(numbered.id, numbered) is not numbered:
            raise DataError(
                f"{path}: trial {numbered.trial} of task {one.task_id} is there twice, so that pass^k would count it "
                "twice; take one out, or score the runs one by one."
            )
    return tuple(kept.values())
