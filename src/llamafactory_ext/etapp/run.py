"""Let an agent act in all cases; each is kept as soon as it ends, and the same command goes on where it stopped."""

from __future__ import annotations

import hashlib
import signal
import sys
from collections.abc import Iterator, Mapping, Sequence
from concurrent.futures import FIRST_COMPLETED, Future, wait
from dataclasses import replace
from pathlib import Path
from typing import Any

from rich.console import Console

from ..checkpoint.own import sha256
from ..errors import DataError, ExtError, InterruptedRun, printable
from ..foreign import Asking
from ..metrics.predictions import read_predictions
from ..progress import Shown
from ..serving.agent.dialogue import PromptTooLongError
from ..serving.infer.answers import AnswerFile
from ..serving.infer.identity import settings_hash
from .agents import MakeAsk
from .cases import Case, Source
from .episodes import damaged, fault_in
from .jobs import BENCHMARK, Job, Queues, RunOptions, job_of
from .reference import ReferenceSandbox
from .reference_loop import run_published
from .retrieval import by_embeddings
from .strategies import AnySandbox, Episode, record, run_case

__all__ = ["BENCHMARK", "RunOptions", "run", "searching"]
_OF_MODELS = (".json", ".txt", ".model", ".safetensors")


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
    jobs = [job_of(source, case, trial, options) for trial in range(options.trials) for case in cases]
    settings = {"benchmark": BENCHMARK, "source": source.sha256, "wikipedia": source.encyclopedia}
    settings |= {**model, **options.identity()}
    failures: dict[str, str] = {}
    with AnswerFile(out, settings, settings_hash(settings), [job.prompt for job in jobs]) as file:
        for note in file.notes:
            print(printable(note), file=sys.stderr)
        kept = read_predictions(out, BENCHMARK).predictions if file.done else ()
        done = {}
        for one in kept:
            if (fault := fault_in(one)) is not None:
                raise damaged(out, one.id, fault)
            done[one.id] = one.episode or {}
        queues = Queues(source, jobs, done, options, out)
        try:
            with Shown(Console(stderr=True, quiet=options.quiet)) as shown:
                piece = shown.add(printable(out.name), len(done), len(jobs))
                for job, ended in _answers(source, queues, make_ask, options):
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


def _kept(file: AnswerFile, jobs: Sequence[Job]) -> str:
    return f"{len(file.done)} of {len(jobs)} cases are kept in {file.path}; run the same command to go on."


def _answers(
    source: Source, queues: Queues, make_ask: MakeAsk, options: RunOptions
) -> Iterator[tuple[Job, tuple[Episode, AnySandbox] | str]]:
    """Return each job with its episode, or with what went wrong in it alone, in the order in which they finish."""
    with Asking(options.concurrency) as pool:
        running: dict[Future[tuple[Episode, AnySandbox]], Job] = {}
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
    source: Source, job: Job, sandbox: AnySandbox, make_ask: MakeAsk, options: RunOptions
) -> tuple[Episode, AnySandbox]:
    setting, strategy = options.setting, options.strategy
    ask = make_ask(replace(job.case, trial=job.trial), setting, strategy)
    if isinstance(sandbox, ReferenceSandbox):
        done = run_published(job.case, sandbox, ask, setting, strategy, options.limits, wording=options.wording)
        return done, sandbox
    slots = source.slots.get(job.case.user, {})
    try:
        done = run_case(job.case, sandbox, ask, slots, setting, strategy, options.limits, wording=options.wording)
        return done, sandbox
    except PromptTooLongError:
        return Episode(end="context", messages=list(job.prompt.messages)), sandbox
