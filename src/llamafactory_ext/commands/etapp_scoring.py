"""What the verbs of `llamafactory-ext etapp` do that read a run: check, judge, report and export."""

from __future__ import annotations

from pathlib import Path

from rich.console import Console

from ..checkpoint.own import claim
from ..errors import DataError, OptionError
from ..etapp.cases import chosen, open_source
from ..etapp.checking import other_source, read_acted, report_of
from ..etapp.checkout import Checkout
from ..etapp.export import Wanted, export, read_ids
from ..etapp.judge_prompt import CRITERIA, MODES, prompt, template_hash
from ..etapp.judges import claim_checked, claim_judged, read_judged, report_for
from ..etapp.judging import asking, estimate, judge_all, judge_options, setup
from ..etapp.judging import report_of as judged_report
from ..etapp.page import read_runs, write
from ..etapp.published_judge import published_prompter
from ..metrics.judge import claim_log, prices_from_environment
from ..metrics.report import Report, verdicts_path, write_report
from .score import show
from .words import file_of, folder_of, tell

PROMPTS = ("ours", "checkout")
Least = tuple[float, float, float]
"""Least final scores: procedure, personalisation, proactivity."""


def check(predictions: str, source: str, out: str) -> None:
    """See `Etapp.check`."""
    path = file_of("predictions", predictions)
    target = file_of("out", out) if out else report_for(path, "check")
    claim([target, verdicts_path(target)], inputs=[path])
    claim_checked(target)
    world = open_source(source)
    file, acted = read_acted(world, path)
    _tell(report_of(world, file, acted, len(world.cases)), target)


def judge(
    predictions: str,
    source: str,
    mode: str,
    samples: int,
    limit: int,
    concurrency: int,
    only_estimate: bool,
    out: str,
    prompts: str,
    least: Least,
) -> None:
    """See `Etapp.judge`."""
    if mode not in MODES:
        raise OptionError(f"--mode {mode}: choose one of {', '.join(MODES)}.")
    if prompts not in PROMPTS:
        raise OptionError(f"--prompts {prompts}: choose one of {', '.join(PROMPTS)}.")
    path = file_of("predictions", predictions)
    other = "".join(f".{word}" for word in (mode, prompts) if word not in ("strict", "ours"))
    target = file_of("out", out) if out else report_for(path, f"judge{other}")
    log = target.with_suffix(".log.jsonl")
    claim([target, verdicts_path(target)], inputs=[path])
    claim_log(log, [path])
    world = open_source(source)
    file, acted = read_acted(world, path)
    acted = acted[:limit] if limit else acted
    if prompts == "checkout" and not world.folder:
        raise OptionError(f"--prompts {prompts}: choose ours or, with a checkout as --source, checkout.")
    make = published_prompter(Checkout(Path(world.folder))) if prompts == "checkout" else prompt
    tell(estimate(world, acted, samples, prices_from_environment(), make))
    if only_estimate:
        return
    options, good = judge_options(), dict(zip(CRITERIA, least, strict=True))
    words = ("of the checkout " if prompts == "checkout" else "") + template_hash(make)
    asked = {"model": options.model, "temperature": options.temperature, "reading": mode}
    ids, who = {one.prediction.id for one in acted}, asked | setup(words, samples, good)
    claim_judged(target, who, ids)
    with asking(options, log) as judging:
        claim_judged(target, who, ids)  # another command may have ended since
        judged = judge_all(world, acted, judging, mode, samples, concurrency, make)  # type: ignore[arg-type]
        if not any(one.verdicts for one in judged):
            raise DataError(
                f"No reply of the judge could be read. Look at {log}; with a judge that fills the form, remove that "
                "file and repeat the command."
            )
        summary, n = judging.summary(), len(world.cases)
        found = judged_report(world, file, judged, mode, summary, n, words, good, samples)  # type: ignore[arg-type]
        _tell(found, target)


def report(runs: list[str], source: str, out: str) -> None:
    """See `Etapp.report`."""
    folder = folder_of("out", out)
    inputs = [file_of("runs", word.partition("=")[2] or word) for word in runs]
    world = open_source(source)
    tell(*write(world, read_runs(world, runs), folder, inputs))


def export_sft(
    predictions: str,
    out: str,
    source: str,
    verdicts: str,
    least: Least,
    checks: str,
    no_thought: bool,
    cases: str,
    held_out: str,
) -> None:
    """See `Etapp.export_sft`."""
    path, target, world = file_of("predictions", predictions), file_of("out", out), open_source(source)
    told = file_of("verdicts", verdicts) if verdicts else Path("the verdicts")
    held = read_ids(file_of("held_out", held_out), world.by_id) if held_out else frozenset()
    wanted = Wanted(*least, checks, no_thought, held, told)
    file, acted = read_acted(world, path)
    if other := other_source(world, path):
        raise DataError(f"{path}: {other[0]}.")
    judged = read_judged(told, file.sha256) if verdicts else {}
    wished = {case.id for case in chosen(world, cases)}
    acted = [one for one in acted if one.case.id in wished]
    done = export(world, acted, judged, wanted, target, path)
    for reason, count in done.left_out.most_common():
        tell(f"{count} left out: {reason}")
    tell(f"{done.path}: {done.written} dialogues")


def _tell(found: Report, target: Path) -> None:
    """Write a report with its verdicts, show it, and say where it lies."""
    write_report(found, target)
    show(found, Console())
    tell(target, verdicts_path(target))
