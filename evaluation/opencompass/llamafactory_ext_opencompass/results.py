"""OpenCompass's result files as our score reports: with n, standard error and hashes, which its summary lacks."""

from __future__ import annotations

import csv
import hashlib
import json
from collections.abc import Iterable, Mapping
from dataclasses import dataclass
from pathlib import Path
from typing import Any, Final

from llamafactory_ext.errors import DataError
from llamafactory_ext.metrics.report import Report, Verdict, figures_of
from llamafactory_ext.serving.infer.identity import settings_hash


@dataclass(frozen=True)
class Part:
    """What one configuration needs and gives.

    Attributes:
        files: below the data folder; folders count with all they hold.
        benchmark: name of the report; empty where the evaluator makes the reports.
        figure: its figure.
        items: files whose rows are the items, below the data folder, as a glob pattern.
    """

    files: tuple[str, ...] = ()
    benchmark: str = ""
    figure: str = ""
    items: str = ""


PARTS: Final[Mapping[str, Part]] = {
    "gsm8k": Part(("data/gsm8k/train.jsonl", "data/gsm8k/test.jsonl"), "gsm8k", "GSM", "data/gsm8k/test.jsonl"),
    "triviaqa": Part(
        ("data/triviaqa/trivia-dev.qa.csv", "data/triviaqa/trivia-test.qa.csv"),
        "triviaqa",
        "TQA",
        "data/triviaqa/trivia-dev.qa.csv",
    ),
    "mmlu": Part(("data/mmlu/dev", "data/mmlu/test"), "mmlu", "MMLU", "data/mmlu/test/*.csv"),
    "humaneval": Part(
        ("data/humaneval/human-eval-v2-20210705.jsonl",),
        "humaneval",
        "HE",
        "data/humaneval/human-eval-v2-20210705.jsonl",
    ),
    "mt_bench": Part(
        tuple(f"data/mt_bench/{name}" for name in ("question.jsonl", "judge_prompts.jsonl", "reference_answer")),
        "mt_bench",
        "MT",
        "data/mt_bench/question.jsonl",
    ),
    "tools": Part(),
}
_MT_NOTE = (
    "MT-Bench in per cent of 10: both turns rated as by FastChat, averaged for each question; local judge. Answers "
    "are greedy. A rating that cannot be read is left out; a question without any counts 0."
)


def read_reports(name: str, folder: Path, data: Path, model: str) -> list[Report]:
    """The reports of one configuration's run.

    Args:
        name: of the configuration.
        folder: OpenCompass's, with results/ and predictions/.
        data: the data folder.
        model: as the server calls it.

    Raises:
        DataError: a result is missing or has no verdicts.
    """
    part = PARTS[name]
    files = sorted(folder.glob("results/*/*.json"))
    if not part.benchmark:
        return [_own_report(file, _read(file)) for file in files]
    results = {file: _read(file) for file in files}
    read = _ratings if name == "mt_bench" else _verdicts
    verdicts = [verdict for file, result in results.items() for verdict in read(part.figure, file, result)]
    if not verdicts:
        raise DataError(f"{folder}: {name} has no verdicts; the log beside it says why.")
    sources = sorted(data.glob(part.items))
    predictions = sorted(folder.glob("predictions/*/*.json"))
    return [
        Report(
            benchmark=part.benchmark,
            mode="official",
            figures=figures_of(verdicts),
            predictions_sha256=_sha256(predictions),
            references_sha256=_sha256(sources),
            model_hashes=(settings_hash({"served_model": model, "through": "opencompass"}),),
            n_references=sum(map(_rows, sources)),
            n_predictions=len(verdicts),
            notes=(_MT_NOTE if name == "mt_bench" else "Prompts, answer extraction and verdicts by OpenCompass.",),
            judge=next((result["judge"] for result in results.values() if result.get("judge")), None),
            verdicts=tuple(verdicts),
        )
    ]


def _own_report(path: Path, result: Any) -> Report:
    if not isinstance(result, dict) or "report" not in result:
        raise DataError(f"{path} holds no report of our scorer; the log beside it says why.")
    return Report.from_json(result["report"], str(path))


def _read(path: Path) -> Any:
    try:
        return json.loads(path.read_text(encoding="utf-8"))
    except (OSError, ValueError) as error:
        raise DataError(f"{path} cannot be read ({error}); run the data set again.") from None


def _verdicts(figure: str, path: Path, result: Any) -> Iterable[Verdict]:
    """One verdict for each detail that OpenCompass gives, in each of the ways in which it gives them."""
    details = result.get("details") if isinstance(result, dict) else None
    if isinstance(details, dict):
        details = [{"key": key, **detail} for key, detail in details.items() if isinstance(detail, dict)]
    if not details:
        raise DataError(f"{path} has no details: OpenCompass could not evaluate; the log beside it says why.")
    for place, detail in enumerate(details):
        correct = detail.get("correct", detail.get("is_correct"))
        if isinstance(correct, list):
            correct = all(correct)
        if not isinstance(correct, bool):
            raise DataError(f"{path}, detail {place}: says neither correct nor wrong; another OpenCompass?")
        yield Verdict(f"{path.stem}:{place}", {figure: float(correct)}, "right" if correct else "wrong")


def _ratings(figure: str, path: Path, result: Any) -> Iterable[Verdict]:
    """One verdict for each question of MT-Bench, over its turns."""
    for question, ratings in (result.get("ratings") or {}).items():
        given = [rating for rating in ratings if rating is not None]
        score = sum(given) / len(given) / 10 if given else 0.0
        yield Verdict(f"{path.stem}:{question}", {figure: score}, "rated", len(given) == len(ratings))


def _rows(path: Path) -> int:
    """Items in a data file."""
    with path.open(encoding="utf-8", newline="") as file:
        if path.suffix == ".csv":
            return sum(1 for row in csv.reader(file, delimiter="\t" if ".qa." in path.name else ",") if row)
        return sum(1 for line in file if line.strip())


def _sha256(paths: Iterable[Path]) -> str:
    digest = hashlib.sha256()
    for path in paths:
        digest.update(f"{path.name}\n{hashlib.sha256(path.read_bytes()).hexdigest()}\n".encode())
    return digest.hexdigest()
