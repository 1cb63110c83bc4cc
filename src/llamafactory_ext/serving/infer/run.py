"""`llamafactory-ext infer`: asks a model every question of a benchmark or a data file, and keeps every answer.

Works without LLaMA-Factory; `hf` needs transformers, `vllm` vLLM, `openai` only a server.
"""

from __future__ import annotations

import sys
from collections.abc import Iterator, Sequence
from dataclasses import replace
from pathlib import Path
from typing import Any, Protocol

from rich.console import Console

from ...benchmarks import benchmark_of
from ...checkpoint.own import same_file
from ...errors import ExtError, OptionError
from ...methods import load
from ...progress import Shown
from .answers import AnswerFile, check_out, settings_path
from .identity import settings_hash
from .options import InferOptions, help_text
from .prompts import Prompt
from .questions import Question, QuestionSet, of_benchmark, of_file


class Answering(Protocol):
    """What answers prompts."""

    def answers(self, prompts: Sequence[Prompt]) -> Iterator[tuple[Prompt, Any]]:
        """Return each prompt with its answer as soon as it is finished; None where the prompt leaves no room for one.

        An answer is a text, or (text, all messages) of a dialogue.
        """


class Backend(Answering, Protocol):
    """A model."""

    def identity(self) -> dict[str, Any]:
        """Return what of the model the answers depend on."""

    def prompt(self, question: Question) -> Prompt:
        """Return what the model gets for a question."""

    def close(self) -> None:
        """End what the backend has started."""


def infer(*extra: object, **given: object) -> None:
    """Ask a model all questions; `--help` lists the options (see `InferOptions`).

    Args:
        extra: nothing; more words are an error.
        given: the options.

    Raises:
        ExtError: with what was kept and how to go on.
    """
    if {"help", "h"} & given.keys():
        print(help_text())
        return
    if extra:
        raise OptionError.listing("infer:", [f'"{word}" is one word too many' for word in extra])
    run(InferOptions.of(given))


def run(options: InferOptions) -> Path:
    """Ask all questions that the file of answers lacks; returns its path."""
    _check_out(options)
    row = benchmark_of(options.benchmark)
    if row is not None and row.act and not options.dataset:
        path: Path = load(row.act)(options)
        return path
    questions = _questions(options)
    backend = backend_of(options)
    try:
        prompts = [backend.prompt(question) for question in questions.questions]
        settings = backend.identity() | settings_of(options, questions.benchmark)
        with AnswerFile(Path(options.out), settings, settings_hash(settings), prompts) as file:
            ask(backend, prompts, file, [*questions.notes, *file.notes])
    finally:
        backend.close()
    return Path(options.out)


def ask(backend: Answering, prompts: Sequence[Prompt], file: AnswerFile, notes: Sequence[str]) -> None:
    """Ask what the file of answers lacks.

    Raises:
        ExtError: with what was kept and how to go on.
    """
    _tell(notes)
    left = [prompt for prompt in prompts if prompt.question.id not in file.done]
    too_long = []
    there = len(prompts) - len(left)
    try:
        with Shown(Console(stderr=True)) as shown:
            piece = shown.add(file.path.name, there, len(prompts))
            for answered, (prompt, answer) in enumerate(backend.answers(left), there + 1):
                text, messages = answer if isinstance(answer, tuple) else (answer or "", None)
                if answer is None:
                    too_long.append(prompt.question.id)
                file.add(prompt, text, messages)
                shown.tell(piece, "answers", answered, len(prompts))
    except ExtError as error:
        raise type(error)(f"{error.message}\n{_kept(file, prompts)}") from None
    except KeyboardInterrupt as error:
        _tell([_kept(file, prompts)])
        sys.exit(128 + getattr(error, "number", 2))
    if too_long:
        _tell([f"{len(too_long)} prompts leave no room for an answer ({', '.join(too_long[:5])}); theirs are empty."])
    print(f"{len(file.done)} answers: {file.path}")


def _kept(file: AnswerFile, prompts: Sequence[Prompt]) -> str:
    return f"{len(file.done)} of {len(prompts)} answers are kept in {file.path}; run the same command to go on."


def _check_out(options: InferOptions) -> None:
    """Make sure, before a model is loaded, that answers are written over nothing that is read."""
    inputs = [Path(name) for name in (options.dataset, options.source, options.model, options.base) if name]
    check_out(out := Path(options.out))
    inside = [folder for folder in inputs if folder.is_dir()]
    inputs += [file for folder in inside for file in folder.iterdir() if file.is_file()]
    for written in (out, settings_path(out)):
        if any(same_file(written, path) for path in inputs):
            raise OptionError(f"--out {out}: {written} is read by this command, and would change; name another --out.")


def _questions(options: InferOptions) -> QuestionSet:
    if options.dataset:
        path = Path(options.dataset)
        found = of_file(path, options.benchmark or path.stem)
    else:
        found = of_benchmark(options.benchmark, Path(options.source))
    return replace(found, questions=found.questions[: options.limit]) if options.limit else found


def backend_of(options: InferOptions) -> Backend:
    """Return the backend, imported only now: each needs packages of its own."""
    if options.backend == "hf":
        from .hf import HfBackend

        return HfBackend(options)
    if options.backend == "vllm":
        from .vllm import VllmBackend

        return VllmBackend(options)
    from .server import ServerBackend

    return ServerBackend(options)


def settings_of(options: InferOptions, benchmark: str) -> dict[str, Any]:
    """Return what answers depend on beside the model.

    How many run at a time is left out, as it only changes the speed.
    """
    sampling = {"temperature": options.temperature}
    if options.temperature:
        sampling |= {"top_p": options.top_p, "seed": options.seed}
    turns = {}
    if options.tool_server:
        turns = {name: getattr(options, name) for name in ("turns", "turn_seconds", "turn_tokens")}
    named = {name: getattr(options, name) for name in ("backend", "template", "max_new_tokens")}
    return {"benchmark": benchmark, **named, **sampling, **turns}


def _tell(notes: Sequence[str]) -> None:
    for note in notes:
        print(note, file=sys.stderr)
