"""How agents act, and which case is next: in the reference sandbox a user's cases go in order."""

from __future__ import annotations

from collections import deque
from collections.abc import Mapping, Sequence
from dataclasses import dataclass, field, replace
from pathlib import Path
from typing import Any

from ..errors import DataError, OptionError
from ..serving.infer.prompts import Prompt
from ..serving.infer.questions import Question
from .cases import Case, Source, split_id, trial_id
from .episodes import damaged
from .origin import first_prompt
from .prompts import STRATEGIES, Strategy
from .reference import ReferenceSandbox, replay
from .reference_tools import Instances
from .retrieval import BY_WORDS, Search
from .sandbox import SETTINGS, Sandbox, Setting
from .strategies import AnySandbox, Limits
from .wording import OURS, Wording

BENCHMARK = "etapp"


@dataclass(frozen=True)
class RunOptions:
    """How agents act.

    Attributes:
        setting: given or retrieval.
        strategy: fc, react or e-react.
        sandbox: strict or reference.
        trials: how often each case is run.
        limits: of each episode.
        faults: share of calls that fail as an unstable service does.
        seed: of the faults, and of the model's sampling.
        concurrency: cases at a time.
        quiet: show no progress.
        wording: whose words the model reads.
        search: finds tools by descriptions, in the setting retrieval.
        embedder: what names the model behind the search; "" for a search by words.
    """

    setting: Setting = "given"
    strategy: Strategy = "fc"
    sandbox: str = "strict"
    trials: int = 1
    limits: Limits = field(default_factory=Limits)
    faults: float = 0.0
    seed: int = 0
    concurrency: int = 8
    quiet: bool = False
    wording: Wording = OURS
    search: Search = BY_WORDS
    embedder: str = ""

    def __post_init__(self) -> None:
        problems = [
            f"--{name} {value}: choose one of {', '.join(known)}"
            for name, value, known in (
                ("setting", self.setting, SETTINGS),
                ("strategy", self.strategy, STRATEGIES),
                ("sandbox", self.sandbox, ("strict", "reference")),
            )
            if value not in known
        ]
        least = {"trials": self.trials, "turns": self.limits.turns, "concurrency": self.concurrency}
        problems += [f"--{name} is {value}; give at least 1" for name, value in least.items() if value < 1]
        if self.sandbox == "reference" and self.faults:
            problems.append("--faults goes with the strict sandbox alone")
        if self.embedder and self.setting != "retrieval":
            problems.append("--embedder goes with --setting retrieval alone; there tools are searched for")
        if not 0 <= self.faults < 1:
            problems.append(f"--faults is {self.faults}; give a share from 0 to below 1")
        if problems:
            raise OptionError.listing("etapp run:", problems)

    def identity(self) -> dict[str, Any]:
        """Return what answers depend on."""
        limits = {f"most_{name}": value for name, value in vars(self.limits).items()}
        names = ("setting", "strategy", "sandbox", "trials", "faults", "seed", "embedder")
        loop = {"loop": "published"} if self.sandbox == "reference" else {}
        loop |= {"trial_seeds": "seed + trial"} if self.trials > 1 else {}
        words = {"prompts": self.wording.name, "wording": self.wording.digest}
        return {name: getattr(self, name) for name in names} | limits | words | loop


@dataclass(frozen=True)
class Job:
    """A case, which trial of it, and how its dialogue begins."""

    case: Case
    trial: int
    prompt: Prompt


def job_of(source: Source, case: Case, trial: int, options: RunOptions) -> Job:
    """Return a trial of a case with its opening."""
    prompt = first_prompt(source, case, options.setting, options.strategy, options.wording)
    return Job(case, trial, replace(prompt, question=Question(trial_id(case.id, trial), BENCHMARK, ())))


def sandbox_of(source: Source, case: Case, trial: int, options: RunOptions) -> Sandbox:
    """Return a strict sandbox with a world of its own."""
    return Sandbox(
        source.worlds[case.user].fork(),
        case.now,
        case.given,
        options.setting,
        faults=options.faults,
        seed=options.seed,
        name=trial_id(case.id, trial),
        search=options.search,
        configs=options.wording.configs,
    )


def _gone_through(path: Path, jobs: Sequence[Job], done: Mapping[str, Any]) -> Sequence[Job]:
    """Return the cases that a user's tools have been through in a trial: the first of them, in their order (B2).

    Raises:
        DataError: the file holds others, or in another order; what they saw is not what they would see now.
    """
    order = {job.prompt.question.id: place for place, job in enumerate(jobs)}
    found = [key for key in done if key in order]
    for place, (key, job) in enumerate(zip(found, jobs, strict=False)):
        if key != (wanted := job.prompt.question.id):
            raise DataError(
                f"{path}: {key} stands where {wanted} belongs. In the reference sandbox a user's tools go through the "
                f"cases in order, so {key} saw another world than it would now. Delete the {len(found) - place} lines "
                f"of {job.case.user} from there on (of trial {job.trial}), or give back the --cases of before, or "
                "name another --out."
            )
    return jobs[: len(found)]


def check_order(source: Source, path: Path, acted: Sequence[tuple[str, Mapping[str, Any]]]) -> None:
    """Make sure that a reference run took each user's cases in their order; a case list that grew may have not.

    Args:
        source: has the cases.
        path: of the run.
        acted: ids and episodes, as they stand in the file.

    Raises:
        DataError: a case stands behind a later one, whose world it saw.
    """
    order = {case.id: place for place, case in enumerate(source.cases)}
    latest: dict[tuple[str, int], str] = {}
    for key, episode in acted:
        if episode["sandbox"] == "reference":
            name, trial = split_id(key)
            own = (source.case(key).user, trial)
            if order[split_id(before)[0] if (before := latest.get(own, "")) else name] > order[name]:
                raise DataError(
                    f"{path}: {key} stands behind {before}. In the reference sandbox a user's tools go through the "
                    f"cases in order, so both saw other worlds than in a run over all. Delete the lines of {own[0]} "
                    f"from {before} on (of trial {trial}), and repeat the command of the run."
                )
            latest[own] = key


def _replayed(path: Path, own: Instances, jobs: Sequence[Job], done: Mapping[str, Mapping[str, Any]]) -> Instances:
    """Return a user's tools behind these cases.

    Raises:
        DataError: a recorded call has another result now; the tools were in another state.
    """
    for job in jobs:
        key = job.prompt.question.id
        if (number := replay(own, job.case.now, done[key]["calls"])) is not None:
            raise damaged(path, key, f"call {number} has another result behind the cases before it")
    return own


class Queues:
    """Say which case is run next: in the strict sandbox any, in the reference one each user's in order (B2).

    Args:
        source: has the worlds.
        jobs: all of the run.
        done: episodes of those that are answered, by id, as they stand in the file.
        options: of the run.
        path: of the file, for messages.

    Raises:
        DataError: in the reference sandbox, a user's tools have not been through the cases before one that is done.
    """

    def __init__(
        self,
        source: Source,
        jobs: Sequence[Job],
        done: Mapping[str, Mapping[str, Any]],
        options: RunOptions,
        path: Path,
    ) -> None:
        self._source, self._options = source, options
        self._own: dict[tuple[str, int], Instances] = {}
        self._waiting: dict[Any, deque[Job]] = {}
        for job in jobs:
            if job.prompt.question.id not in done:
                self._waiting.setdefault(self._key(job), deque()).append(job)
        if options.sandbox == "reference":
            ordered: dict[tuple[str, int], list[Job]] = {}
            for job in jobs:
                ordered.setdefault((job.case.user, job.trial), []).append(job)
            for (user, trial), own in ordered.items():
                earlier = _gone_through(path, own, done)
                if (user, trial) in self._waiting:
                    self._own[user, trial] = _replayed(path, Instances(source.worlds[user]), earlier, done)
        self._free = deque(self._waiting)

    def _key(self, job: Job) -> Any:
        return (job.case.user, job.trial) if self._options.sandbox == "reference" else job.prompt.question.id

    def take(self) -> Job | None:
        """Return a case that can be run now."""
        return self._waiting[self._free.popleft()].popleft() if self._free else None

    def give_back(self, job: Job, *, is_kept: bool) -> None:
        """Free the next case of a queue.

        Behind one with an error a user's later cases would not be what they are.
        """
        key = self._key(job)
        if is_kept and self._waiting[key]:
            self._free.append(key)

    def sandbox(self, job: Job) -> AnySandbox:
        """Return where a case is run."""
        if self._options.sandbox == "reference":
            own = self._own[job.case.user, job.trial]
            configs = self._options.wording.configs
            return ReferenceSandbox(
                own,
                job.case.now,
                job.case.given,
                self._options.setting,
                self._options.search,
                configs=configs,
                first=1 if self._options.strategy == "e-react" else 0,
                label=self._options.wording.sentences["preferences"],
            )
        return sandbox_of(self._source, job.case, job.trial, self._options)
