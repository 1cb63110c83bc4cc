"""ETAPP as a row of benchmarks.py: `infer` and `score` call what `etapp run` and `etapp check` call."""

from __future__ import annotations

from dataclasses import fields
from pathlib import Path

from ..errors import OptionError
from ..metrics.report import Mode, Report
from ..serving.infer.options import InferOptions
from ..serving.infer.server import ChatServer
from .cases import open_source
from .checking import read_acted, report_of
from .run import BENCHMARK, RunOptions, run
from .served import served

_READ = (
    *("model", "benchmark", "source", "out", "backend", "max_new_tokens", "temperature", "seed", "limit"),
    *("url", "concurrency", "retries", "timeout"),
)


def act(options: InferOptions) -> Path:
    """Let a served model act in all cases of `--source`, mini or a checkout; tools are given and called as functions.

    Raises:
        OptionError: no server, or options that have no meaning here.
    """
    problems = [
        f"--{part.name} has no effect with {BENCHMARK}; leave it out"
        for part in fields(options)
        if part.name not in _READ and getattr(options, part.name) != part.default
    ]
    if options.backend != "openai":
        problems.append("an agent acts turn after turn; serve the model, and give --backend openai and --url")
    if problems:
        raise OptionError.listing(f"infer --benchmark {BENCHMARK} (`etapp run` has more options):", problems)
    source = open_source(options.source)
    cases = source.cases[: options.limit] if options.limit else source.cases
    server = ChatServer(options.url, options.model, options.retries, options.timeout)
    settings = {"served_model": options.model, "temperature": options.temperature}
    try:
        server.check()
        ask = served(server, options.max_new_tokens, options.temperature, options.seed)
        how = RunOptions(seed=options.seed, concurrency=options.concurrency)
        settings |= {"max_new_tokens": options.max_new_tokens}
        path = run(source, cases, ask, settings, how, Path(options.out))
    finally:
        server.close()
    print(path)
    return path


def check(predictions: Path, references: str, mode: Mode) -> Report:
    """Return what the checks say, as `etapp check` does.

    Args:
        predictions: the file of episodes.
        references: mini, or the folder of a checkout.
        mode: strict; the published evaluator is a judge.

    Raises:
        OptionError: the mode is official.
    """
    if mode != "strict":
        raise OptionError(
            f"{BENCHMARK}'s published evaluator is a judge: give --mode strict for the checks, or call "
            f"`llamafactory-ext etapp judge --predictions {predictions} --mode official`."
        )
    source = open_source(references)
    file, acted = read_acted(source, predictions)
    return report_of(source, file, acted, len(source.cases))
