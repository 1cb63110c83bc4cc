"""Score predictions of BBH, AGIEval, GSM8K and ARC in three readings, with what a prompt costs (arXiv:2409.13183).

`strict` wants the answer behind the cue, `lenient` takes the last candidate where there is no cue, `reference` reads
as the published evaluator does. Costs are means over the items; they need a model's config.json and tokenizer.
"""

from __future__ import annotations

import json
import math
import re
from collections.abc import Callable, Mapping, Sequence
from dataclasses import asdict, dataclass
from decimal import Decimal
from pathlib import Path
from typing import Any, Final

from ..errors import DataError, OptionError
from ..metrics.benchmarks.cued_answers import behind_cue, last_candidate, read_number
from ..metrics.predictions import read_predictions
from ..metrics.references import read_references
from ..metrics.report import Report, standard_error
from ..metrics.scoring import score as score_files
from ..serving.infer.questions import Question, of_benchmark, of_file
from .flops import ModelSize, cache_bytes, config_of, generation_flops, reference_macs
from .typed import number, text, whole

BENCHMARKS: Final = ("bbh", "agieval", "gsm8k", "arc")
READINGS: Final = ("strict", "lenient", "reference", "cue missing")
_CUT: Final = "Question: "
_DIGITS: Final = re.compile(r"-?\d+(?:\.\d+)?")


@dataclass(frozen=True)
class Reading:
    """A share of the items, with its standard error."""

    value: float
    standard_error: float | None
    n: int


@dataclass(frozen=True)
class Cost:
    """What an item costs on average.

    Attributes:
        prompt_tokens: of its prompt.
        generated_tokens: of its answer, with the token that ends it.
        flops: of both.
        kv_bytes: of the cache at its end, at two bytes a number.
        reference_macs: as the published code counts: linear layers over the prompt.
    """

    prompt_tokens: float
    generated_tokens: float
    flops: float
    kv_bytes: float
    reference_macs: float


@dataclass(frozen=True)
class Scores:
    """One prediction file's figures.

    Attributes:
        benchmark: its name.
        readings: by name, of `READINGS`.
        n_references: items of the benchmark; more than were answered in a partial run.
        step: after which step of training the model answered, from 1; 0 where that does not matter.
        knowledge: whether its prompts held knowledge.
        cost: of an item, or None where no model was named.
        notes: what a reader must know beside the figures.
    """

    benchmark: str
    readings: Mapping[str, Reading]
    n_references: int
    step: int = 0
    knowledge: bool = False
    cost: Cost | None = None
    notes: tuple[str, ...] = ()

    def to_json(self) -> dict[str, Any]:
        """Return plain JSON values."""
        return {**asdict(self), "notes": list(self.notes), "kind": KIND}


KIND: Final = "skintern scores"


def score(
    benchmark: str,
    predictions: Path,
    references: Path,
    *,
    model: Path | None = None,
    asked: Path | None = None,
    step: int = 0,
    knowledge: bool = False,
) -> Scores:
    """Score a prediction file in all readings.

    Args:
        benchmark: one of `BENCHMARKS`.
        predictions: of `llamafactory-ext infer`.
        references: the published files.
        model: folder of the model that answered; its sizes and tokenizer decide the cost.
        asked: the data file that was asked in place of the benchmark's own prompts, such as one with knowledge.
        step: after which step of training.
        knowledge: whether the prompts held knowledge.

    Raises:
        ExtError: no such benchmark, or files that do not belong together.
    """
    if benchmark not in BENCHMARKS:
        raise OptionError(f"skintern score reads {', '.join(BENCHMARKS)}, not {benchmark!r}; choose one of them.")
    report = score_files(benchmark, predictions, references, "strict")
    readings = _gsm8k(predictions, references) if benchmark == "gsm8k" else _cued(report, predictions, references)
    cost = None
    if model is not None:
        questions = of_file(asked, benchmark) if asked is not None else of_benchmark(benchmark, references)
        answers = {
            one.id: one.prediction for one in read_predictions(predictions, benchmark, foreign=True).predictions
        }
        cost = cost_of(model, questions.questions, answers)
    return Scores(benchmark, readings, report.n_references, step, knowledge, cost, report.notes)


def _cued(report: Report, predictions: Path, references: Path) -> dict[str, Reading]:
    """Return the readings of a benchmark whose scorer knows the cue."""
    official = score_files(report.benchmark, predictions, references, "official")
    found = {"strict": report.figures[0], "reference": official.figures[0]}
    found |= {
        "lenient": report.figure(f"{report.figures[0].name} lenient"),
        "cue missing": report.figure("cue missing"),
    }
    return {name: Reading(found[name].value, found[name].standard_error, found[name].n) for name in READINGS}


def read_gsm8k(reply: str, gold: str) -> dict[str, bool]:
    """Return what each reading says of a reply: whether its number is the gold one.

    `reference` compares the last number as a text, so that "18.0" is not "18".
    """
    number = Decimal(gold.replace(",", "")).normalize()
    cued = behind_cue(reply)
    strict = cued is not None and read_number(cued) == number
    lenient = strict if cued is not None else last_candidate(reply, read_number) == number
    found = _DIGITS.findall(reply.split(_CUT, 1)[0].replace(",", ""))
    return {
        "strict": strict,
        "lenient": lenient,
        "reference": bool(found) and found[-1] == gold.replace(",", "").strip(),
        "cue missing": cued is None,
    }


def _gsm8k(predictions: Path, references: Path) -> dict[str, Reading]:
    replies = {one.id: one.prediction for one in read_predictions(predictions, "gsm8k", foreign=True).predictions}
    said = [
        read_gsm8k(replies[item.id], str(item.record["answer"]).rpartition("#### ")[2])
        for item in read_references("gsm8k", references).items
        if item.id in replies
    ]
    return {name: _mean([float(one[name]) for one in said]) for name in READINGS}


def _mean(values: Sequence[float]) -> Reading:
    return Reading(math.fsum(values) / len(values), standard_error(values), len(values))


def cost_of(model: Path, questions: Sequence[Question], answers: Mapping[str, str]) -> Cost:
    """Return the mean cost of the questions that have an answer.

    Raises:
        OptionError: the folder has no sizes or no tokenizer.
    """
    size = ModelSize.of(config_of(model))
    count = _counter(model)
    lengths = [
        (count(question.turns), count(answers[question.id]) + 1) for question in questions if question.id in answers
    ]
    if not lengths:
        raise DataError("none of the questions has an answer; name the file that was asked as --asked.")
    prompts, generated = zip(*lengths, strict=True)
    return Cost(
        *(
            math.fsum(values) / len(lengths)
            for values in (
                prompts,
                generated,
                [generation_flops(size, *pair) for pair in lengths],
                [cache_bytes(size, *pair) for pair in lengths],
                [reference_macs(size, prompt) for prompt in prompts],
            )
        )
    )


def _counter(model: Path) -> Callable[[Any], int]:
    """Return what counts the tokens of an answer, or of a dialogue as the model's chat template writes it."""
    from transformers import AutoTokenizer

    try:
        tokenizer = AutoTokenizer.from_pretrained(str(model), trust_remote_code=False)
    except (OSError, ValueError) as error:
        raise OptionError(f"{model} has no tokenizer ({str(error).splitlines()[0]}); name a model's folder.") from None

    def count(what: Any) -> int:
        if isinstance(what, str):
            return len(tokenizer.encode(what, add_special_tokens=False))
        messages = [{"role": turn.role, "content": turn.content} for turn in what]
        if tokenizer.chat_template:
            text = tokenizer.apply_chat_template(messages, tokenize=False, add_generation_prompt=True)
            return len(tokenizer.encode(text, add_special_tokens=False))
        return len(tokenizer.encode("\n".join(message["content"] for message in messages)))

    return count


def _reading(read: Reading) -> Reading:
    number(read.value, 0, 1), whole(read.n)
    if read.standard_error is not None:
        number(read.standard_error, 0)
    return read


def read_scores(path: Path) -> Scores:
    """Read what `to_json` wrote.

    Raises:
        DataError: missing, malformed, or something else.
    """
    try:
        record = json.loads(path.read_text("utf-8"))
        if record.pop("kind") != KIND:
            raise ValueError("another kind of file")
        readings = {name: _reading(Reading(**record["readings"][name])) for name in READINGS}
        cost = None if record["cost"] is None else Cost(**record["cost"])
        for figure in asdict(cost).values() if cost else ():
            number(figure, 0)
        notes = tuple(text(note) for note in record["notes"])
        found = Scores(**(record | {"readings": readings, "cost": cost, "notes": notes}))
        text(found.benchmark), whole(found.n_references), whole(found.step)
        if type(found.knowledge) is not bool:
            raise TypeError("knowledge is neither true nor false")
    except OSError as error:
        raise DataError(f"{path} cannot be read ({error.strerror}); name a file of `skintern score`.") from None
    except (ValueError, TypeError, KeyError, AttributeError, OverflowError, RecursionError) as error:
        raise DataError(f"{path} is no file of `skintern score` ({error}); score the predictions again.") from None
    return found
