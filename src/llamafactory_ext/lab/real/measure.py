"""Measure one model or adapter on the held-out items: calls, replies, instructions, endings, and held-out NLL.

Run as a program by the table, in a process of its own: `python -m llamafactory_ext.lab.real.measure REQUEST.json`.
"""

from __future__ import annotations

import math
import sys
import time
from collections.abc import Mapping, Sequence
from dataclasses import asdict, dataclass, replace
from pathlib import Path
from typing import Any

import torch

from ...checkpoint.atomic import read_json, write_json
from ...errors import CheckpointError, ExtError
from ...metrics.answers import Answered
from ...metrics.benchmarks.api_bank import execution, score
from ...metrics.predictions import Prediction
from ...metrics.references import Item
from ...metrics.report import Verdict
from ...serving.infer import prompts
from ...serving.infer.hf import HfBackend
from ...serving.infer.options import InferOptions
from ...serving.infer.questions import Question
from ...templates import Message
from .ifeval import kept

Figures = dict[str, Any]
Held = Mapping[str, Sequence[Mapping[str, Any]]]
# Items of each set, and the longest answer in tokens where one is written.
TEST = {
    "level_3_search": 114,
    "level_3": 131,
    "level_1": 100,
    "level_3_replies": 50,
    "level_1_replies": 50,
    "ifeval": 100,
    "hellaswag": 200,
    "gsm8k": 100,
    "nq": 200,
    "alpaca": 100,
}
VALIDATION = {"calls": 80, "hellaswag": 60, "gsm8k": 40, "nq": 80, "alpaca": 40}
_CALLS = ("calls", "level_3_search", "level_3", "level_1")
_REPLIES = ("level_3_replies", "level_1_replies")
NLL = ("gsm8k", "nq", "alpaca")
LENGTHS = {**dict.fromkeys(_CALLS, 96), **dict.fromkeys(_REPLIES, 96), "ifeval": 384}
_ANSWER_TOKENS = 200  # of a held-out answer whose NLL is measured
_AT_A_TIME = 25


@dataclass(frozen=True)
class Request:
    """What to measure.

    Attributes:
        model: folder of a whole model, or of an adapter.
        base: of the adapter; "" for a whole model.
        template: that the model was trained with.
        held: the file of held-out items.
        half: validation or test.
        limit: most items of a set; 0 takes the table's sizes.
        api_bank: folder of API-Bank's test files.
        checkout: of API-Bank, whose classes judge calls in `official`; "" leaves that figure out.
        out: the file to write.
    """

    model: str
    base: str
    template: str
    held: str
    half: str
    limit: int
    api_bank: str
    checkout: str
    out: str

    def save(self, path: Path) -> None:
        """Write it as JSON."""
        write_json(path, asdict(self))


class Asked(HfBackend):
    """A model that writes answers, as for `infer`, and tells how likely a given text is to it."""

    @torch.inference_mode()
    def log_likelihood(self, before: Sequence[int], text: str) -> tuple[float, int]:
        """Return the log-probability of a text behind some tokens, and its number of tokens."""
        wanted = self._tokenizer(text, add_special_tokens=False)["input_ids"][:_ANSWER_TOKENS]
        ids_1T = torch.tensor([[*before, *wanted]], device=self._model.device)
        logits_TV = self._model(input_ids=ids_1T, logits_to_keep=len(wanted) + 1).logits[0, :-1].float()
        picked_T = logits_TV.log_softmax(-1).gather(1, ids_1T[0, -len(wanted) :, None])
        found = float(picked_T.sum())
        if not math.isfinite(found):
            raise CheckpointError(f"a held-out answer has a log-likelihood of {found}: the training diverged.")
        return found, len(wanted)

    def plain(self, text: str) -> list[int]:
        """Return the tokens of a text without a chat around it."""
        ids: list[int] = self._tokenizer(text, add_special_tokens=False)["input_ids"]
        return ids

    def chat(self, text: str) -> list[int]:
        """Return the tokens of a user's turn, up to where the reply begins."""
        return self._texts.encode(self.prompt(_question("", text)))


def _question(own_id: str, text: str) -> Question:
    return Question(own_id, "", (Message("user", text),))


def share(values: Sequence[float]) -> Figures:
    """Return mean and standard error of the items' scores."""
    n = len(values)
    mean = sum(values) / n
    spread = math.sqrt(sum((value - mean) ** 2 for value in values) / (n - 1) / n) if n > 1 else None
    return {"n": n, "mean": round(mean, 5), "se": None if spread is None else round(spread, 5)}


def nats(pairs: Sequence[tuple[float, int]]) -> Figures:
    """Return the NLL in nats per token over all items, with the standard error of that ratio over the items.

    Args:
        pairs: the NLL and the tokens of each item.
    """
    n, tokens = len(pairs), sum(count for _, count in pairs)
    mean = sum(loss for loss, _ in pairs) / tokens
    gaps = sum((loss - mean * count) ** 2 for loss, count in pairs)
    error = round(math.sqrt(gaps * n / (n - 1)) / tokens, 5) if n > 1 else None
    return {"n": n, "mean": round(mean, 5), "se": error, "tokens": tokens}


def sizes(half: str, limit: int) -> dict[str, int]:
    """Return how many items of each set are measured."""
    return {
        name: min(many, limit) if limit else many for name, many in (TEST if half == "test" else VALIDATION).items()
    }


def measure(request: Request) -> Figures:
    """Return the figures of every set, the items' scores in the order of their ids, and the seconds it took."""
    held: Held = read_json(Path(request.held), "held-out items")[request.half]
    options = InferOptions(
        model=request.model,
        base=request.base,
        template=request.template,
        dtype="float32",
        batch_size=_AT_A_TIME,
        backend="hf",
    )
    asked, started = Asked(options), time.monotonic()
    scores: dict[str, Figures] = {}
    items: dict[str, list[Any]] = {}
    seconds: dict[str, float] = {}
    for name, many in sizes(request.half, request.limit).items():
        begun, chosen = time.monotonic(), held[name][:many]
        scores[name], items[name] = _of(name, asked, options, chosen, request)
        seconds[name] = round(time.monotonic() - begun, 1)
        print(f"{name}: n={len(chosen)} in {seconds[name]:.0f} s", flush=True)
    whole = round(time.monotonic() - started, 1)
    return {"scores": scores, "items": items, "seconds_by_set": seconds, "seconds": whole}


def _of(
    name: str, asked: Asked, options: InferOptions, chosen: Sequence[Mapping[str, Any]], request: Request
) -> tuple[Figures, list[Any]]:
    if name in NLL:
        pairs = [asked.log_likelihood(asked.chat(one["prompt"]), one["answer"]) for one in chosen]
        return nats([(-value, count) for value, count in pairs]), [[round(-value, 4), count] for value, count in pairs]
    if name == "hellaswag":
        return _endings(asked, chosen)
    replies = _replies(asked, options, chosen, LENGTHS[name])
    if name == "ifeval":
        return _instructions(chosen, replies)
    return _api_bank(chosen, replies, request, is_call=name in _CALLS)


def _replies(asked: Asked, options: InferOptions, chosen: Sequence[Mapping[str, Any]], length: int) -> list[str]:
    asked.use(replace(options, max_new_tokens=length))
    given = [asked.prompt(_question(str(place), one["prompt"])) for place, one in enumerate(chosen)]
    found = {prompt.question.id: text or "" for prompt, text in asked.answers(given)}
    return [found[str(place)] for place in range(len(chosen))]


def _endings(asked: Asked, chosen: Sequence[Mapping[str, Any]]) -> tuple[Figures, list[Any]]:
    """Choose the ending with the highest log-likelihood per byte; beside it by the whole log-likelihood."""
    by_byte, by_sum = [], []
    for one in chosen:
        before = asked.plain(one["context"])
        found = [asked.log_likelihood(before, f" {ending}")[0] for ending in one["endings"]]
        per_byte = [value / len(ending.encode()) for value, ending in zip(found, one["endings"], strict=True)]
        by_byte.append(float(per_byte.index(max(per_byte)) == one["label"]))
        by_sum.append(float(found.index(max(found)) == one["label"]))
    return {**share(by_byte), "by_sum": share(by_sum)}, by_byte


def _instructions(chosen: Sequence[Mapping[str, Any]], replies: Sequence[str]) -> tuple[Figures, list[Any]]:
    judged = [kept(reply, one["rules"]) for one, reply in zip(chosen, replies, strict=True)]
    whole = [float(all(one)) for one in judged]
    return {**share(whole), "rules": share([float(rule) for one in judged for rule in one])}, whole


def _api_bank(
    chosen: Sequence[Mapping[str, Any]], replies: Sequence[str], request: Request, *, is_call: bool
) -> tuple[Figures, list[Any]]:
    """Score calls or replies by the scorers of `llamafactory-ext score api_bank`."""
    answered = [
        Answered(Item(one["id"], one["group"], one["record"]), Prediction(one["id"], "api_bank", "", "", reply))
        for one, reply in zip(chosen, replies, strict=True)
    ]
    figure = score.CORRECTNESS if is_call else score.ROUGE
    strict = score.score(answered, "strict").verdicts
    values = [verdict.scores[figure] for verdict in strict]
    found = {**share(values), "official": _official(answered, request, figure, is_call=is_call)}
    if is_call:
        named = [float(verdict.parsed and verdict.category not in _NO_NAME) for verdict in strict]
        found |= {"name": share(named), "parsed": share([float(verdict.parsed) for verdict in strict])}
        return found, [[value, name] for value, name in zip(values, named, strict=True)]
    return found, [round(value, 4) for value in values]


_NO_NAME = ("API_NAME_MISMATCH", "NO_API_CALL", "FAILED_PARSE_API_CALL")


def _official(answered: Sequence[Answered], request: Request, figure: str, *, is_call: bool) -> Figures | None:
    """Return the published evaluator's figure; None for calls without a checkout, or none that it can judge."""
    if is_call:
        if not request.checkout or answered[0].item.group == "validation":
            return None
        verdicts: Sequence[Verdict] = execution.score(
            answered, Path(request.checkout), Path(request.api_bank)
        ).verdicts
    else:
        verdicts = score.score(answered, "official").verdicts
    values = [verdict.scores[figure] for verdict in verdicts if figure in verdict.scores]
    return share(values) if values else None


def main(arguments: Sequence[str]) -> int:
    """Measure what a request file says and write its figures."""
    from ...upstream.pipeline.asking import upstream_template

    prompts.ELSEWHERE[:] = [upstream_template]
    try:
        request = Request(**read_json(Path(arguments[0]), "request"))
        write_json(Path(request.out), measure(request))
    except ExtError as error:
        print(f"{type(error).__name__}: {error.message}", file=sys.stderr)
        return 2
    return 0


if __name__ == "__main__":
    sys.exit(main(sys.argv[1:]))
