"""From files to a report: which scorer, which items, which mode."""

from __future__ import annotations

from pathlib import Path

from ..benchmarks import benchmark_of
from ..errors import DataError, OptionError
from ..methods import load
from .answers import Answered, Context, Scored
from .judge import Judge
from .predictions import PredictionFile, read_predictions
from .references import References, read_references
from .report import MODES, Mode, Report, figures_of


def score(
    benchmark: str,
    predictions: str | Path,
    references: str | Path,
    mode: Mode = "official",
    *,
    execute: bool = False,
    checkout: str | Path | None = None,
    embedder: str | Path | None = None,
    judge: Judge | None = None,
    bfcl_version: str = "",
    any_format: bool = False,
    kept: str | Path | None = None,
) -> Report:
    """Score a prediction file.

    Args:
        benchmark: one of `metrics.BENCHMARKS`.
        predictions: a prediction file.
        references: the folder with the benchmark's published files, or one of them.
        mode: "official" or "strict".
        execute: whether code that the model wrote may run, in the sandbox (humaneval).
        checkout: whose classes run in the sandbox: of API-Bank (api_bank, `official`), of BFCL (bfcl_multi_turn).
        embedder: folder of the sentence-transformers model by which API-Bank's ToolSearcher finds tools (api_bank).
        judge: who judges procedure and response (toolalpaca).
        bfcl_version: whose decoder reads predictions, "v3" or "v4"; default: as the reference files' names say, else
            v3 (bfcl, bfcl_ast, bfcl_multi_turn).
        any_format: let bfcl_ast's official mode read, and count, calls that the published decoder refuses.
        kept: a file that takes each verdict as it falls, so that an interrupted scoring goes on (humaneval).

    Raises:
        OptionError: no such benchmark or mode, or a mode that lacks what it needs.
        DataError: files missing, damaged, or not belonging together.
    """
    if mode not in MODES:
        raise OptionError(f"There is no mode {mode!r}; choose one of {', '.join(MODES)}.")
    row = benchmark_of(benchmark)
    if row is not None and row.check:
        report: Report = load(row.check)(Path(predictions), str(references), mode)
        return report
    wanted = read_references(benchmark, Path(references))
    given = read_predictions(Path(predictions), benchmark, foreign=True)
    answered = _joined(given, wanted)
    options = {
        "execute": execute,
        "checkout": checkout,
        "embedder": embedder,
        "judge": judge,
        "bfcl_version": bfcl_version,
        "any_format": any_format,
        "kept": kept,
    }
    assert row is not None  # its references were read
    context = Context(mode, wanted, f"{given.sha256} {wanted.sha256} {mode}", options)
    scored: Scored = load(row.score)(answered, context)
    return _report(mode, given, wanted, answered, scored)


def _joined(given: PredictionFile, wanted: References) -> list[Answered]:
    """Return items with their predictions, in the items' order."""
    by_id = {prediction.id: prediction for prediction in given.predictions}
    unknown = sorted(by_id.keys() - {item.id for item in wanted.items})
    if unknown:
        raise DataError(
            f"{given.path}: {len(unknown)} of {len(by_id)} predictions answer items that {wanted.files[0].parent} "
            f"does not hold, such as {unknown[0]!r}. Nothing was scored; name the references the inference ran on."
        )
    return [Answered(item, by_id[item.id]) for item in wanted.items if item.id in by_id]


def _report(mode: Mode, given: PredictionFile, wanted: References, answered: list[Answered], scored: Scored) -> Report:
    missing = len(wanted.items) - len(answered)
    models = tuple(dict.fromkeys(one.prediction.model_hash for one in answered if one.prediction.model_hash))
    notes = [*given.notes, *wanted.notes]
    if missing:
        notes.append(
            f"Partial: {missing} of {len(wanted.items)} items have no prediction; the figures are over the others. "
            "Resume the inference to complete them."
        )
    if len(models) > 1:
        notes.append(f"The predictions come from {len(models)} different models or settings.")
    return Report(
        benchmark=wanted.benchmark,
        mode=mode,
        figures=figures_of(scored.verdicts),
        predictions_sha256=given.sha256,
        references_sha256=wanted.sha256,
        model_hashes=models,
        n_references=len(wanted.items),
        n_predictions=len(answered),
        notes=(*notes, *scored.notes),
        judge=scored.judge,
        part=scored.part,
        verdicts=scored.verdicts,
    )
