"""Measures a model on the world's held-out items: four general abilities, and calls of seen and unseen tools."""

from collections.abc import Callable
from dataclasses import dataclass
from pathlib import Path

import torch
from transformers import AutoModelForCausalLM, AutoTokenizer, PreTrainedModel, PreTrainedTokenizerFast

from ..errors import CheckpointError
from . import world
from .example import Example, Half
from .methods import SHIPPED_MODEL
from .scoring import Score, score
from .tokenizer import EOT, encode_output, encode_turn

_BATCH = 100
_LONGEST_REPLY = 48

Progress = Callable[[int, int], None]


@dataclass(frozen=True)
class Evaluation:
    """Scores by set name, with what was measured."""

    model: str
    adapter: str | None
    scores: dict[str, Score]

    @property
    def general(self) -> float:
        """Mean accuracy over the four general abilities."""
        return sum(self.scores[task].accuracy for task in world.ABILITIES) / len(world.ABILITIES)

    def to_dict(self) -> dict[str, object]:
        """Return the evaluation as plain JSON values."""
        return {
            "model": self.model,
            "adapter": self.adapter,
            "general": round(self.general, 4),
            "scores": {name: value.to_dict() for name, value in self.scores.items()},
        }


def load(model: Path, adapter: Path | None = None) -> tuple[PreTrainedModel, PreTrainedTokenizerFast]:
    """Load a model directory in float32, with a PEFT adapter on top if one is given.

    Raises:
        CheckpointError: if a directory is missing or holds no model or adapter.
    """
    for directory, needed in ((model, "config.json"), (adapter, "adapter_config.json")):
        if directory is not None and not (directory / needed).is_file():
            raise CheckpointError(f"{directory} has no {needed}; give the directory that training wrote it to")
    loaded = AutoModelForCausalLM.from_pretrained(model, dtype=torch.float32, trust_remote_code=False)
    if adapter is not None:
        from peft import PeftModel

        from ..checkpoint.base import check_loaded

        check_loaded(loaded, adapter)
        loaded = PeftModel.from_pretrained(loaded, str(adapter))
    return loaded.eval(), AutoTokenizer.from_pretrained(model, trust_remote_code=False)


@torch.no_grad()
def reply_to(
    model: PreTrainedModel, tokenizer: PreTrainedTokenizerFast, prompts: list[str], progress: Progress | None = None
) -> list[str]:
    """Answer prompts greedily, in batches of similar length with padding on the left."""
    encoded = [encode_turn(tokenizer, prompt)[0] for prompt in prompts]
    order = sorted(range(len(prompts)), key=lambda index: len(encoded[index]))
    replies = [""] * len(prompts)
    for start in range(0, len(order), _BATCH):
        chosen = order[start : start + _BATCH]
        longest = max(len(encoded[index]) for index in chosen)
        ids_BT = torch.full((len(chosen), longest), tokenizer.pad_token_id)
        for row, index in enumerate(chosen):
            ids_BT[row, longest - len(encoded[index]) :] = torch.tensor(encoded[index])
        out_BT = model.generate(
            input_ids=ids_BT.to(model.device),
            attention_mask=(ids_BT != tokenizer.pad_token_id).long().to(model.device),
            max_new_tokens=_LONGEST_REPLY,
            do_sample=False,
            eos_token_id=tokenizer.eos_token_id,
            pad_token_id=tokenizer.pad_token_id,
        )
        for index, text in zip(
            chosen, tokenizer.batch_decode(out_BT[:, longest:], skip_special_tokens=True), strict=True
        ):
            replies[index] = text
        if progress is not None:
            progress(start + len(chosen), len(order))
    return replies


def evaluate(
    model: Path = SHIPPED_MODEL,
    adapter: Path | None = None,
    limit: int = 400,
    progress: Progress | None = None,
    half: Half = "test",
) -> Evaluation:
    """Measure a plain model, a fully fine-tuned one, or an adapter on `limit` items of each set.

    Args:
        model: a model directory.
        adapter: a PEFT adapter to put on top.
        limit: items of each set.
        progress: is told how many items are answered.
        half: "validation" to choose settings, "test" to report.
    """
    loaded, tokenizer = load(model, adapter)
    return _measured(loaded, tokenizer, world.held_out(limit, half), model, adapter, progress)


def evaluate_base(model: Path, limit: int) -> Evaluation:
    """Measure a base model: also calls of other tools, in stated formats and over several turns."""
    loaded, tokenizer = load(model)
    more = world.other_calls(limit)
    several = more.pop("turns")
    found = _measured(loaded, tokenizer, world.held_out(limit) | more, model, None, None)
    right = sum(ends_right(loaded, tokenizer, example) for example in several)
    return Evaluation(found.model, None, found.scores | {"turns": Score(len(several), right)})


@torch.no_grad()
def ends_right(model: PreTrainedModel, tokenizer: PreTrainedTokenizerFast, example: Example) -> bool:
    """Tell whether every reply of a dialogue is right, each after the right ones before it; greedy decoding."""
    ids = encode_turn(tokenizer, example.prompt, example.answer)[0]
    asked = len(encode_turn(tokenizer, example.prompt)[0])
    replies = [(asked, len(ids))]
    for output, reply in example.after:
        ids = [*ids, *encode_output(tokenizer, output)]
        start = len(ids)
        ids = [*ids, *tokenizer.encode(reply + EOT, add_special_tokens=False)]
        replies.append((start, len(ids)))
    best_T = model(torch.tensor([ids])).logits[0].argmax(-1).tolist()
    return all(best_T[start - 1 : end - 1] == ids[start:end] for start, end in replies)


def _measured(
    loaded: PreTrainedModel,
    tokenizer: PreTrainedTokenizerFast,
    sets: dict[str, list[Example]],
    model: Path,
    adapter: Path | None,
    progress: Progress | None,
) -> Evaluation:
    flat = [example for examples in sets.values() for example in examples]
    replies = iter(reply_to(loaded, tokenizer, [example.prompt for example in flat], progress))
    scores = {name: score(examples, [next(replies) for _ in examples]) for name, examples in sets.items()}
    return Evaluation(str(model), None if adapter is None else str(adapter), scores)
