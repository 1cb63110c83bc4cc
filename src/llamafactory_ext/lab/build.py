"""Makes the shipped model directory: train, export, measure, and write the model card."""

import os
import shutil
import time
from dataclasses import asdict, replace
from pathlib import Path

import torch
from transformers import LlamaForCausalLM, PreTrainedTokenizerFast

from ..checkpoint.atomic import publish_folder, staged_folder, write_json
from ..checkpoint.own import claim_folder
from ..errors import OptionError
from . import world
from .evaluate import Evaluation, evaluate_base
from .pretrain import Recipe, batches_of_step, build_model, build_tokenizer, saved_recipe, train, weighted_nll
from .together import processes_of_torchrun, rank

MEASURED_ITEMS = 400
_CARD = """---
license: apache-2.0
library_name: transformers
tags: [synthetic, tiny, llama]
---

# The lab's tiny model

A language model of {parameters:,} parameters with Llama 3's architecture ({layers} layers, width {width},
grouped-query attention with 2 key-value heads, RoPE base 500,000, SwiGLU), its special tokens and its chat format.
This project trained it from scratch on the synthetic world in `llamafactory_ext/lab`, and on nothing else. It exists
so that a tool-tuning method can be tried in minutes on a CPU. It knows nothing about the real world.

Made by `llamafactory-ext lab build --out DIR --steps {steps} --seed {seed}`. Tokenizer: byte-level BPE,
{vocabulary} tokens, learned from the texts of the four abilities. Weights: float32.

Exact match on held-out items, greedy decoding, the stored weights ("SE" is the binomial standard error):

| ability | n | exact match | SE |
|---|---|---|---|
{rows}

- math: arithmetic word problems in one or two steps; the combination of numbers and operations is held out.
- code: what a short program prints, or one line of code that is described; the program or the wish is held out.
- facts: 150 facts about 30 invented towns, which replay data leave out; the model was taught them.
- instructions: copy, reverse, select, format, read JSON, fill a form; the whole prompt is held out.
- other_calls: calls of tools that training never showed, in a format that the prompt states. Training has other
  tools in such formats; the demo's tools, its format and its instruction never occur in it.
- turns: two or three such calls, each with what the output of the last one gave, then a word on the last output; right
  are those with every reply right, each after the right ones before it.
- tool_seen, tool_unseen: calls of the demo's tools in API-Bank's format, which the model was never shown.

Licence: Apache-2.0.
"""


def steps_in(minutes: float, recipe: Recipe, device: str) -> int:
    """Return the number of steps that fit into a time on this machine, by the speed of six of a fresh model."""
    tokenizer = build_tokenizer(recipe)
    model = build_model(recipe, tokenizer).to(device)
    for step in range(6):
        if step == 1:
            started = time.monotonic()
        for batch in batches_of_step(recipe, step, tokenizer):
            weighted_nll(model(batch.ids_BT.to(device)).logits, batch.to(device)).backward()  # type: ignore[no-untyped-call]
    return max(int(minutes * 60 / ((time.monotonic() - started) / 5)), 1)


def card(recipe: Recipe, parameters: int, evaluation: Evaluation) -> str:
    """Return the model card, with the measured figures."""
    rows = [
        f"| {name} | {score.n} | {score.accuracy:.1%} | {score.standard_error:.1%} |"
        for name, score in evaluation.scores.items()
    ]
    return _CARD.format(parameters=parameters, rows="\n".join(rows), **asdict(recipe))


def export(
    model: LlamaForCausalLM, tokenizer: PreTrainedTokenizerFast, recipe: Recipe, out: Path, items: int
) -> Evaluation:
    """Write the model directory with weights, tokenizer, measured abilities and card; whole or not at all."""
    with staged_folder(out) as folder:
        model.to(device="cpu", dtype=torch.float32).save_pretrained(folder)
        tokenizer.save_pretrained(folder)
        evaluation = evaluate_base(folder, items)
        measured = {
            "recipe": asdict(recipe),
            "general": round(evaluation.general, 4),
            "scores": {name: score.to_dict() for name, score in evaluation.scores.items()},
        }
        write_json(folder / "evaluation.json", measured)
        (folder / "README.md").write_text(card(recipe, model.num_parameters(), evaluation))
        publish_folder(folder, out)
    return evaluation


def build(
    out: Path,
    recipe: Recipe,
    minutes: float | None = None,
    device: str = "cpu",
    items: int = MEASURED_ITEMS,
) -> Evaluation | None:
    """Train the model into ``out``; an interrupted build goes on where its last saved state left off.

    Args:
        out: the model directory to write; the state of an unfinished build lies beside it, in ``<out>.state``.
        recipe: what makes the model.
        minutes: choose the number of steps so that they take about this long here; None keeps the recipe's.
        device: cpu or cuda.
        items: held-out items per set of the final measurement.

    Returns:
        The measured abilities; None in the helping processes of torchrun.
    """
    state = out.with_name(out.name + ".state")
    claim_folder(out)
    if not (state / "state.safetensors").is_file():
        claim_folder(state)
    if minutes is not None:
        if int(os.environ.get("WORLD_SIZE", "1")) > 1:
            raise OptionError("--minutes measures one process; under torchrun give --steps")
        begun = saved_recipe(state / "state.safetensors")
        recipe = replace(recipe, steps=begun.steps if begun else steps_in(minutes, recipe, device))
    with processes_of_torchrun():
        model = train(state, recipe, device)
        if rank() > 0:
            return None
    evaluation = export(model, build_tokenizer(recipe), recipe, out, items)
    shutil.rmtree(state)
    for task in world.ABILITIES:
        score = evaluation.scores[task]
        print(f"{task}: {score.accuracy:.1%} +- {score.standard_error:.1%} (n={score.n})")
    return evaluation
