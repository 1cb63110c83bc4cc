"""Pretrains the tiny model of the lab on the synthetic world, from nothing but a seed.

Does: tokenizer, model, training with a resumable state. Does not: use any tool data. Every batch is a function of the
seed and the step, so an interrupted run goes on exactly where its last saved state left off.
"""

import json
import math
import time
from dataclasses import asdict, dataclass
from pathlib import Path
from random import Random

import torch
from safetensors import safe_open
from safetensors.torch import save_file
from torch import Tensor
from transformers import LlamaConfig, LlamaForCausalLM, PreTrainedTokenizerFast

from ..errors import CheckpointError
from . import together, words, world
from .calls import calls, turns
from .example import Example, Generator, draw
from .optimisers import Optimisers
from .tokenizer import EOT, encode_output, encode_turn, train_tokenizer

# What the base learns: the four abilities, and calls of other tools than the demo's in formats that the prompt states.
TASKS: dict[str, Generator] = {**world.ABILITIES, "calls": calls, "turns": turns}
TASK_WEIGHTS = {"math": 3.0, "code": 3.0, "facts": 2.5, "instructions": 7.0, "calls": 6.5, "turns": 2.0}


@dataclass(frozen=True, kw_only=True)
class Recipe:
    """What makes the model; two builds with equal recipes on one machine give equal models."""

    seed: int = 17
    steps: int = 5200
    examples_per_step: int = 96
    micro_batches: int = 10
    matrix_lr: float = 0.02
    vector_lr: float = 3e-3
    warm_up: int = 100
    decay_share: float = 0.6
    prompt_weight: float = 0.1
    layers: int = 6
    width: int = 128
    vocabulary: int = 1280

    def lr_factor(self, step: int) -> float:
        """Return the factor of a warm-up, a plateau, then a linear decay to zero over the last part."""
        decay = self.steps * self.decay_share
        return min((step + 1) / self.warm_up, 1.0, max(self.steps - step, 0) / decay)


@dataclass(frozen=True)
class Batch:
    """Token ids and the weight of each position as a prediction target (0 for padding)."""

    ids_BT: Tensor
    weights_BT: Tensor

    def to(self, device: str | torch.device) -> "Batch":
        """Return the same batch on a device."""
        return Batch(self.ids_BT.to(device), self.weights_BT.to(device))


def build_tokenizer(recipe: Recipe) -> PreTrainedTokenizerFast:
    """Train the tokenizer on the training split of the four abilities and on the word list."""
    texts = words.lexicon() * 60
    for task in world.ABILITIES:
        for example in world.sample(task, "train", 1200, recipe.seed):
            texts += [example.prompt, example.answer]
    return train_tokenizer(texts, recipe.vocabulary)


def build_model(recipe: Recipe, tokenizer: PreTrainedTokenizerFast) -> LlamaForCausalLM:
    """Return a fresh model of Llama 3's architecture: grouped queries, RoPE base 500,000, SwiGLU, no biases."""
    torch.manual_seed(recipe.seed)
    config = LlamaConfig(
        vocab_size=len(tokenizer),
        hidden_size=recipe.width,
        intermediate_size=recipe.width * 3,
        num_hidden_layers=recipe.layers,
        num_attention_heads=recipe.width // 32,
        num_key_value_heads=2,
        head_dim=32,
        max_position_embeddings=2048,
        rope_theta=500000.0,
        rms_norm_eps=1e-5,
        tie_word_embeddings=True,
        bos_token_id=tokenizer.bos_token_id,
        eos_token_id=tokenizer.eos_token_id,
        pad_token_id=tokenizer.pad_token_id,
    )
    return LlamaForCausalLM(config)


def collate(examples: list[Example], tokenizer: PreTrainedTokenizerFast, prompt_weight: float) -> Batch:
    """Pad examples on the right; answers weigh 1, questions `prompt_weight`, padding 0."""
    rows = [encode(tokenizer, example, prompt_weight) for example in examples]
    longest = max(len(ids) for ids, _ in rows)
    ids_BT = torch.full((len(rows), longest), tokenizer.pad_token_id)
    weights_BT = torch.zeros(len(rows), longest)
    for row, (ids, weights) in enumerate(rows):
        ids_BT[row, : len(ids)] = torch.tensor(ids)
        weights_BT[row, : len(ids)] = torch.tensor(weights)
    return Batch(ids_BT, weights_BT)


def encode(
    tokenizer: PreTrainedTokenizerFast, example: Example, prompt_weight: float
) -> tuple[list[int], list[float]]:
    """Encode all turns of an example; replies weigh 1, all else `prompt_weight`, the first token 0."""
    ids, asked = encode_turn(tokenizer, example.prompt, example.answer)
    weights = [0.0] + [prompt_weight] * (asked - 1) + [1.0] * (len(ids) - asked)
    for output, reply in example.after:
        given, told = encode_output(tokenizer, output), tokenizer.encode(reply + EOT, add_special_tokens=False)
        ids = [*ids, *given, *told]
        weights += [prompt_weight] * len(given) + [1.0] * len(told)
    return ids, weights


def batches_of_step(recipe: Recipe, step: int, tokenizer: PreTrainedTokenizerFast) -> list[Batch]:
    """Return the micro-batches of one optimiser step: a mix of all abilities, grouped by length to save padding."""
    rng = Random(f"{recipe.seed}/{step}")
    examples: list[Example] = []
    tasks, weights = list(TASK_WEIGHTS), list(TASK_WEIGHTS.values())
    while len(examples) < recipe.examples_per_step:
        example = TASKS[rng.choices(tasks, weights)[0]](rng)
        if example.split == "train":
            examples.append(example)
    examples.sort(key=lambda example: len(encode(tokenizer, example, 0.0)[0]))
    size = math.ceil(len(examples) / recipe.micro_batches)
    groups = [examples[start : start + size] for start in range(0, len(examples), size)]
    return [collate(group, tokenizer, recipe.prompt_weight) for group in groups]


def weighted_nll(logits_BTV: Tensor, batch: Batch) -> Tensor:
    """Sum over targets of weight times negative log-likelihood, in nats."""
    targets = batch.ids_BT[:, 1:].reshape(-1)
    nll = torch.nn.functional.cross_entropy(logits_BTV[:, :-1].flatten(0, 1).float(), targets, reduction="none")
    return (nll * batch.weights_BT[:, 1:].reshape(-1)).sum()


@torch.no_grad()
def teacher_forced_accuracy(
    model: LlamaForCausalLM, tokenizer: PreTrainedTokenizerFast, examples: list[Example]
) -> float:
    """Return share of answers whose every token is the arg max; equals exact match under greedy decoding."""
    right = 0
    device = model.device
    for start in range(0, len(examples), 64):
        batch = collate(examples[start : start + 64], tokenizer, 0.0)
        hits_BT = model(batch.ids_BT.to(device)).logits[:, :-1].argmax(-1).cpu() == batch.ids_BT[:, 1:]
        right += int((hits_BT | (batch.weights_BT[:, 1:] < 1)).all(-1).sum())
    return right / len(examples)


def save_state(path: Path, model: LlamaForCausalLM, optimisers: Optimisers, recipe: Recipe, step: int) -> None:
    """Write the whole training state atomically."""
    tensors = {f"model/{name}": value.detach().clone().contiguous() for name, value in model.named_parameters()}
    tensors |= optimisers.state()
    partial = path.with_suffix(".partial")
    save_file(tensors, partial, metadata={"step": str(step), "recipe": json.dumps(asdict(recipe))})
    partial.replace(path)


def saved_recipe(path: Path) -> Recipe | None:
    """Return the recipe of the training state at `path`; None where there is no state."""
    if not path.exists():
        return None
    with safe_open(path, framework="pt") as file:
        return Recipe(**json.loads(file.metadata()["recipe"]))


def load_state(path: Path, model: LlamaForCausalLM, optimisers: Optimisers) -> int:
    """Restore a training state and return the number of steps it has seen."""
    with safe_open(path, framework="pt", device=str(model.device)) as file:
        tensors = {name: file.get_tensor(name) for name in file.keys()}  # noqa: SIM118
        step = int(file.metadata()["step"])
    with torch.no_grad():
        for name, parameter in model.named_parameters():
            parameter.copy_(tensors[f"model/{name}"])
    optimisers.load(tensors)
    return step


def train(out: Path, recipe: Recipe, device: str = "cpu", stop_after: int | None = None) -> LlamaForCausalLM:
    """Train from scratch, or on from ``out/state.safetensors``, with a line of progress every 50 steps.

    Under torchrun the processes share each step; the sum of their gradients is that of one process up to rounding.

    Args:
        out: folder of the training state, saved every 250 steps and at the end.
        recipe: what makes the model.
        device: cpu or cuda.
        stop_after: save and stop after this many steps of the recipe; None runs to its end.

    Raises:
        CheckpointError: if the saved state belongs to another recipe.
    """
    state = out / "state.safetensors"
    if saved_recipe(state) not in (None, recipe):
        raise CheckpointError(f"{state} is of a build with other settings; repeat them, or delete the folder {out}")
    out.mkdir(parents=True, exist_ok=True)
    tokenizer = build_tokenizer(recipe)
    model = build_model(recipe, tokenizer).to(device)
    optimisers = Optimisers(model, recipe.matrix_lr, recipe.vector_lr)
    first = load_state(state, model, optimisers) if state.exists() else 0
    probes = {
        task: draw(generate, "test", 96, Random(f"{task}/test/{world.HELD_OUT_SEED + 1}"))
        for task, generate in TASKS.items()
    }
    started, tokens, total = time.monotonic(), 0, 0.0
    last = min(stop_after or recipe.steps, recipe.steps)
    for step in range(first, last):
        batches = batches_of_step(recipe, step, tokenizer)
        weight = sum(float(batch.weights_BT.sum()) for batch in batches)
        for batch in (batch.to(device) for batch in batches[together.rank() :: together.count()]):
            loss = weighted_nll(model(batch.ids_BT, use_cache=False).logits, batch) / weight
            loss.backward()  # type: ignore[no-untyped-call]
            total, tokens = total + loss.item(), tokens + batch.ids_BT.numel()
        together.add_up_gradients(model)
        optimisers.step(recipe.lr_factor(step))
        if together.rank() > 0:
            continue
        if (step + 1) % 50 == 0:
            seconds = time.monotonic() - started
            left = seconds / (step + 1 - first) * (last - step - 1) / 60
            print(
                f"step {step + 1}/{recipe.steps} loss {total * together.count() / 50:.3f} "
                f"{tokens * together.count() / seconds:.0f} tokens/s, {left:.0f} min left",
                flush=True,
            )
            total = 0.0
        if (step + 1) % 250 == 0 or step + 1 == last:
            save_state(state, model, optimisers, recipe, step + 1)
            scores = {task: teacher_forced_accuracy(model, tokenizer, probe) for task, probe in probes.items()}
            print("held out: " + ", ".join(f"{task} {score:.2f}" for task, score in scores.items()), flush=True)
    return model
