"""`llamafactory-ext score`: from a prediction file to a table, a report and verdicts."""

from __future__ import annotations

from pathlib import Path

from rich.console import Console
from rich.table import Table

from ..benchmarks import names, needing
from ..checkpoint.own import claim
from ..errors import OptionError, printable
from ..metrics.judge import Judge, JudgeOptions, claim_log
from ..metrics.report import MODES, Report, verdicts_path, write_report
from ..metrics.scoring import score as score_files
from .words import file_of, switch


def score(
    benchmark: str = "",
    predictions: str = "",
    references: str = "",
    mode: str = "official",
    out: str = "",
    checkout: str = "",
    embedder: str = "",
    execute: bool = False,
    judge: bool = False,
    bfcl_version: str = "",
    any_format: bool = False,
) -> None:
    """Score saved predictions of a benchmark.

    Args:
        benchmark: api_bank, toolalpaca, rotbench, bfcl (executable split), bfcl_ast, bfcl_multi_turn, tooleyes,
            gsm8k, humaneval, triviaqa, bbh, agieval, arc, etapp or tau2.
        predictions: the file that `llamafactory-ext infer` wrote; tau2: the results of one of its runs.
        references: the folder with the benchmark's published files, or one of them; etapp: mini or your checkout;
            tau2: a clone, or the results again, which hold their tasks.
        mode: official (the published evaluator's verdicts, quirks included) or strict (what the score should be).
        out: the report, JSON; the verdicts of all items land beside it. Default: beside the predictions.
        checkout: your checkout whose API classes run in the sandbox: API-Bank's for api_bank's official mode, BFCL's
            for bfcl_multi_turn where the references lie in none.
        embedder: for api_bank's ToolSearcher: a local copy of sentence-transformers/paraphrase-MiniLM-L3-v2.
        execute: let humaneval run what the model wrote, in the sandbox.
        judge: ask a judge about toolalpaca's solutions. Its endpoint comes from LLAMAFACTORY_EXT_JUDGE_URL, _MODEL and
            _KEY; replies are kept beside the report, and the same command goes on where it stopped.
        bfcl_version: v3 or v4, whose decoder reads the predictions of bfcl, bfcl_ast and bfcl_multi_turn. Default: as
            the files' names.
        any_format: let bfcl_ast's official mode read calls that the published decoder refuses (JSON, chat marks,
            prose around them); the report counts them.
    """
    execute, judge, any_format = switch("execute", execute), switch("judge", judge), switch("any_format", any_format)
    needed = {"a benchmark": benchmark, "--predictions": predictions, "--references": references}
    missing = [name for name, given in needed.items() if not given]
    if missing:
        raise OptionError(
            f"score needs {' and '.join(missing)}: llamafactory-ext score {benchmark or 'BENCHMARK'} "
            f"--predictions FILE --references DIR [--mode official|strict] [--out FILE]; "
            f"benchmarks: {', '.join(names())}."
        )
    _refuse_misplaced(
        str(benchmark),
        checkout=checkout,
        embedder=embedder,
        execute=execute,
        judge=judge,
        bfcl_version=bfcl_version,
        any_format=any_format,
    )
    known = next((known for known in MODES if known == mode), None)
    if known is None:
        raise OptionError(f"There is no mode {mode!r}; choose one of {', '.join(MODES)}.")
    source = file_of("predictions", predictions)
    target = file_of("out", out) if out else source.with_name(f"{source.stem}.{mode}.json")
    if target.resolve() in (source.resolve(), verdicts_path(source).resolve()):
        raise OptionError(f"--out {target} would overwrite the predictions; name another file.")
    part = target.with_suffix(".verdicts.part.jsonl")
    log = target.with_suffix(".judge.jsonl")
    claim([target, verdicts_path(target)], inputs=[source, Path(str(references))])
    if judge:
        claim_log(log, [source, Path(str(references))])
    asked = Judge(JudgeOptions.from_environment(), log) if judge else None
    report = score_files(
        str(benchmark),
        source,
        Path(str(references)),
        known,
        execute=execute,
        checkout=str(checkout),
        embedder=str(embedder),
        judge=asked,
        bfcl_version=str(bfcl_version),
        any_format=any_format,
        kept=part,
    )
    write_report(report, target)
    show(report, Console())
    print(f"{target}\n{verdicts_path(target)}")


def _refuse_misplaced(benchmark: str, **given: object) -> None:
    misplaced = [
        f"--{name} has no effect with {benchmark}, only with {' and '.join(needing(name))}; leave it out"
        for name, value in given.items()
        if value and benchmark not in needing(name)
    ]
    if benchmark in names() and misplaced:
        raise OptionError.listing("score:", misplaced)


def show(report: Report, console: Console) -> None:
    """Print the report as a table with its notes."""
    partial = ", PARTIAL" if report.partial else ""
    table = Table(
        title=f"{report.name}, {report.mode} ({report.n_predictions} of {report.n_references} items{partial})"
    )
    table.add_column("figure")
    for heading in ("%", "± one standard error", "n", "not parsed"):
        table.add_column(heading, justify="right")
    for figure in report.figures:
        error = "" if figure.standard_error is None else f"{100 * figure.standard_error:.2f}"
        table.add_row(
            printable(figure.name), f"{100 * figure.value:.2f}", error, str(figure.n), str(figure.parse_failures)
        )
    console.print(table)
    if report.judge is not None:
        cost, model = report.judge["cost_usd"], printable(str(report.judge["model"]))
        console.print(
            f"- judge {model}: {report.judge['replies']} replies ({report.judge['asked_now']} now), "
            f"{report.judge['prompt_tokens']} + {report.judge['completion_tokens']} tokens, "
            + ("cost unknown (set LLAMAFACTORY_EXT_JUDGE_PRICES)" if cost is None else f"{cost:.4f} USD"),
            markup=False,
            highlight=False,
        )
    for note in report.notes:
        console.print(printable(f"- {note}"), markup=False, highlight=False)
