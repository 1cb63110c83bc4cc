"""Let an agent act in all cases; each is kept as soon as it ends, and the same command goes on where it stopped."""

from __future__ import annotations

import hashlib
import signal
import sys
from collections import deque
from collections.abc import Iterator, Mapping, Sequence
from concurrent.futures import FIRST_COMPLETED, Future, wait
from dataclasses import dataclass, field, replace
from pathlib import Path
from typing import Any

from rich.console import Console

from ..checkpoint.own import sha256
from ..errors import DataError, ExtError, InterruptedRun, OptionError
from ..foreign import Asking
from ..metrics.predictions import read_predictions
from ..progress import Shown
from ..serving.agent.dialogue import PromptTooLongError
from ..serving.infer.answers import AnswerFile
from ..serving.infer.identity import settings_hash
from ..serving.infer.prompts import Prompt
from ..serving.infer.questions import Question
from .agents import MakeAsk
from .cases import Case, Source, trial_id
from .episodes import fault_of
from .prompts import STRATEGIES, Strategy
from .reference import ReferenceSandbox, replayed
from .reference_loop import run_published
from .reference_tools import Instances
from .retrieval import BY_WORDS, Search, by_embeddings
from .sandbox import SETTINGS, Sandbox, Setting
from .strategies import AnySandbox, Episode, Limits, record, run_case
from .wording import OURS, Wording

BENCHMARK = "etapp"
_OF_MODELS = (".json", ".txt", ".model", ".safetensors")


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
        words = {"prompts": self.wording.name, "wording": self.wording.digest}
        return {name: getattr(self, name) for name in names} | limits | words | loop


def searching(options: RunOptions, folder: Path) -> RunOptions:
    """Return the options with a search for tools by a sentence model; its files name it in the file of episodes.

    Raises:
        DataError: no such model.
    """
    from ..metrics.benchmarks.api_bank.search import Embedder

    embed = Embedder(folder)
    hashed = hashlib.sha256()  # the tokenizer and the pooling decide what is found as much as the weights do
    for path in sorted(folder.rglob("*")):
        if path.suffix in _OF_MODELS and path.is_file():
            hashed.update(f"{path.relative_to(folder).as_posix()} {sha256(path)}\n".encode("utf-8", "surrogateescape"))
    return replace(options, search=by_embeddings(embed), embedder=hashed.hexdigest()[:16])


@dataclass(frozen=True)
class _Job:
    case: Case
    trial: int
    prompt: Prompt


def run(
    source: Source,
    cases: Sequence[Case],
    make_ask: MakeAsk,
    model: Mapping[str, Any],
    options: RunOptions,
    out: Path,
) -> Path:
    """Run all cases that the file lacks; returns its path.

    Args:
        source: has the worlds.
        cases: to run.
        make_ask: gives the model for one case.
        model: says which model answers; a file by another one is refused.
        options: how it acts.
        out: the file of answers.

    Raises:
        DataError: some cases had errors; the others are kept.
        OptionError: the model cannot be reached, or the file is another run's.
    """
    jobs = [_job(source, case, trial, options) for trial in range(options.trials) for case in cases]
    settings = {"benchmark": BENCHMARK, "source": source.sha256, "wikipedia": source.encyclopedia}
    settings |= {**model, **options.identity()}
    failures: dict[str, str] = {}
    with AnswerFile(out, settings, settings_hash(settings), [job.prompt for job in jobs]) as file:
        for note in file.notes:
            print(note, file=sys.stderr)
        kept = read_predictions(out, BENCHMARK).predictions if file.done else ()
        done = {}
        for one in kept:
            if (fault := fault_of(one.episode or {}, one.messages or ())) is not None:
                raise damaged(out, one.id, fault)
            done[one.id] = one.episode or {}
        try:
            with Shown(Console(stderr=True, quiet=options.quiet)) as shown:
                piece = shown.add(out.name, len(done), len(jobs))
                for job, ended in _answers(source, jobs, done, make_ask, options):
                    if isinstance(ended, str):
                        failures[job.prompt.question.id] = ended
                    else:
                        episode, sandbox = ended
                        acted = record(episode, sandbox, options.setting, options.strategy, options.sandbox, job.trial)
                        file.add(job.prompt, episode.answer, episode.messages, acted)
                    shown.tell(piece, "cases", len(file.done), len(jobs))
        except ExtError as error:
            raise type(error)(f"{error.message}\n{_kept(file, jobs)}") from None
        except KeyboardInterrupt as error:
            raise InterruptedRun(getattr(error, "number", signal.SIGINT), _kept(file, jobs)) from None
        if failures:
            first, why = next(iter(failures.items()))
            raise DataError(f"{len(failures)} cases had errors, the first {first}: {why}\n{_kept(file, jobs)}")
    return out


def damaged(path: Path, key: str, why: str) -> DataError:
    """Return the error of an episode that is not as a run writes it; a run that goes on would leave it as it is."""
    return DataError(
        f"{path}: the episode of {key} is damaged ({why}); delete its line, and repeat the command of the run to have "
        "it acted anew."
    )


def _kept(file: AnswerFile, jobs: Sequence[_Job]) -> str:
    return f"{len(file.done)} of {len(jobs)} cases are kept in {file.path}; run the same command to go on."


def _job(source: Source, case: Case, trial: int, options: RunOptions) -> _Job:
    sandbox = _sandbox(source, case, trial, options)
    tools = sandbox.tools()
    messages = options.wording.opening(sandbox.world, case, options.setting, options.strategy, tools)
    question = Question(trial_id(case.id, trial), BENCHMARK, ())
    return _Job(case, trial, Prompt(question, messages=messages, tools=tools))


def _sandbox(source: Source, case: Case, trial: int, options: RunOptions) -> Sandbox:
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


class _Queues:
    """Which case is run next: in the strict sandbox any, in the reference one each user's in order (B2).

    Args:
        source: has the worlds.
        jobs: all of the run.
        done: episodes of those that are answered, by id.
        options: of the run.
    """

    def __init__(
        self, source: Source, jobs: Sequence[_Job], done: Mapping[str, Mapping[str, Any]], options: RunOptions
    ) -> None:
        self._source, self._options = source, options
        self._own: dict[tuple[str, int], Instances] = {}
        self._waiting: dict[Any, deque[_Job]] = {}
        for job in jobs:
            if job.prompt.question.id not in done:
                self._waiting.setdefault(self._key(job), deque()).append(job)
        if options.sandbox == "reference":
            for user, trial in self._waiting:
                earlier = [job for job in jobs if (job.case.user, job.trial) == (user, trial)]
                calls = [(j.case.now, done[i]["calls"]) for j in earlier if (i := j.prompt.question.id) in done]
                self._own[user, trial] = replayed(source.worlds[user], calls)
        self._free = deque(self._waiting)

    def _key(self, job: _Job) -> Any:
        return (job.case.user, job.trial) if self._options.sandbox == "reference" else job.prompt.question.id

    def take(self) -> _Job | None:
        """Return a case that can be run now."""
        return self._waiting[self._free.popleft()].popleft() if self._free else None

    def give_back(self, job: _Job, *, is_kept: bool) -> None:
        """Free the next case of a queue.

        Behind one with an error a user's later cases would not be what they are.
        """
        key = self._key(job)
        if is_kept and self._waiting[key]:
            self._free.append(key)

    def sandbox(self, job: _Job) -> AnySandbox:
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
        return _sandbox(self._source, job.case, job.trial, self._options)


def _answers(
    source: Source,
    jobs: Sequence[_Job],
    done: Mapping[str, Mapping[str, Any]],
    make_ask: MakeAsk,
    options: RunOptions,
) -> Iterator[tuple[_Job, tuple[Episode, AnySandbox] | str]]:
    """Return each job with its episode, or with what went wrong in it alone, in the order in which they finish."""
    queues = _Queues(source, jobs, done, options)
    with Asking(options.concurrency) as pool:
        running: dict[Future[tuple[Episode, AnySandbox]], _Job] = {}
        failure: ExtError | None = None
        while True:
            while failure is None and len(running) < options.concurrency and (job := queues.take()) is not None:
                running[pool.submit(_act, source, job, queues.sandbox(job), make_ask, options)] = job
            if not running:
                break
            finished, _ = wait(running, return_when=FIRST_COMPLETED)
            for future in finished:
                job = running.pop(future)
                try:
                    yield job, future.result()
                    queues.give_back(job, is_kept=True)
                except DataError as error:
                    queues.give_back(job, is_kept=False)
                    yield job, error.message
                except ExtError as error:  # the model is gone; what is under way and succeeds is kept
                    failure = failure or error
        if failure is not None:
            raise failure


def _act(
    source: Source, job: _Job, sandbox: AnySandbox, make_ask: MakeAsk, options: RunOptions
) -> tuple[Episode, AnySandbox]:
    ask, setting, strategy = make_ask(job.case, options.setting, options.strategy), options.setting, options.strategy
    if isinstance(sandbox, ReferenceSandbox):
        done = run_published(job.case, sandbox, ask, setting, strategy, options.limits, wording=options.wording)
        return done, sandbox
    slots = source.slots.get(job.case.user, {})
    try:
        done = run_case(job.case, sandbox, ask, slots, setting, strategy, options.limits, wording=options.wording)
        return done, sandbox
    except PromptTooLongError:
        return Episode(end="context", messages=list(job.prompt.messages)), sandbox
