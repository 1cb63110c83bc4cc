"""What a run takes on a number of GPUs, by formulas alone: memory of each, time, disk (docs/scale.md).

What it does: arithmetic over sizes. What it does not do: look at a model or a machine; `skeleton` gives the sizes.
Sources: mixed-precision AdamW keeps 4 bytes of weight, 4 of gradient and 8 of moments for each weight that moves
(ZeRO, arXiv:1910.02054, section 3.1, whose 2-byte copies are 4 bytes here); 2 FLOPs per weight and token forward, 4
backward (arXiv:2001.08361, section 2.1).
"""

from __future__ import annotations

import math
from dataclasses import dataclass
from typing import Final, Literal

Engine = Literal["one", "ddp", "zero1", "zero2", "zero3", "fsdp"]
Passes = Literal["routers", "scores", "train"]
GIB: Final = 2**30
GPU_FLOPS: Final = 989e12  # H100, bfloat16, dense
GPU_FLOPS_32: Final = 67e12  # H100, float32 as torch multiplies it unless told otherwise
GPU_ROOM: Final = 80 * GIB
GPU_BANDWIDTH: Final = 3.35e12  # H100, bytes per second of its memory
UTILISATION: Final = 0.4  # of the FLOPs, a usual share for training at this size
CONTEXT: Final = 1.5 * GIB  # CUDA, its libraries, fragments
LOGIT_TOKENS: Final = 1 << 13  # tokens that pass the vocabulary at once (losses.py)
MASTER, GRADIENT, MOMENTS = 4, 4, 8  # bytes for each weight that moves


@dataclass(frozen=True)
class Sizes:
    """A model in numbers.

    Attributes:
        weights: parameters, tied ones once.
        linear: of these, the parameters that every token is multiplied by: all linears, the head included.
        layers: transformer layers.
        hidden: width.
        inner: width within the MLP.
        key_value: width of keys, and of values.
        vocabulary: tokens.
        bytes: of one frozen weight.
    """

    weights: int
    linear: int
    layers: int
    hidden: int
    inner: int
    key_value: int
    vocabulary: int
    bytes: int = 2

    @property
    def of_a_layer(self) -> int:
        """Weights of one layer, without embeddings and head."""
        return (self.linear - self.vocabulary * self.hidden) // max(1, self.layers)


@dataclass(frozen=True)
class Work:
    """One training of some weights of a model.

    Attributes:
        name: of the phase or stage.
        trained: weights that move.
        added: weights that the base does not have, of adapters and critics.
        tokens: in one pass over the data, padding included.
        epochs: passes.
        micro: tokens of a micro-batch on one GPU.
        recomputes: whether activations are recomputed.
        passes: "routers" for a forward pass alone, "scores" for passes that move nothing.
        share: of the backbone's weights that the weight gradients are formed of.
        copies: frozen copies of the model beside the policy.
        drawn: response tokens drawn for each token trained, 0 without.
        learned: times that each drawn token is learned from.
        wide: whether the model computes in float32.
    """

    name: str
    trained: int
    added: int
    tokens: float
    epochs: float
    micro: int
    recomputes: bool = True
    passes: Passes = "train"
    share: float = 1.0
    copies: int = 0
    drawn: float = 0.0
    learned: int = 1
    wide: bool = False


@dataclass(frozen=True)
class Memory:
    """Bytes on one GPU at the peak."""

    weights: float
    gradients: float
    optimiser: float
    activations: float
    logits: float
    context: float = CONTEXT

    @property
    def total(self) -> float:
        """All of them."""
        parts = (self.weights, self.gradients, self.optimiser, self.activations, self.logits, self.context)
        return sum(parts)


def trained_bytes(trained: int) -> dict[str, int]:
    """Return the bytes of the weights that move, of their gradients, and of AdamW's two moments."""
    return {"weights": MASTER * trained, "gradients": GRADIENT * trained, "optimiser": MOMENTS * trained}


def memory(sizes: Sizes, work: Work, engine: Engine, gpus: int) -> Memory:
    """Return the peak on one GPU: weights + gradients + moments, each over its share, + activations + logits."""
    own = trained_bytes(work.trained)
    kept = work.trained - min(work.trained, work.added)  # weights of the base that move, and so are no frozen ones
    each = 4 if work.wide else sizes.bytes
    frozen = each * (sizes.weights - kept) + each * sizes.weights * work.copies
    whole = frozen + own["weights"] + MASTER * max(0, work.added - work.trained)
    spread = engine in ("zero3", "fsdp")
    weights = whole / gpus + 2 * each * sizes.of_a_layer if spread else whole
    gradients = own["gradients"] / (gpus if spread or engine == "zero2" else 1)
    optimiser = own["optimiser"] / (gpus if spread or engine in ("zero1", "zero2") else 1)
    width = 4 if work.wide else 2
    inside = width * work.micro * (6 * sizes.hidden + 2 * sizes.key_value + 4 * sizes.inner)
    edges = width * work.micro * sizes.hidden * sizes.layers
    if work.passes == "routers":  # a forward pass keeps nothing
        activations = float(inside)
    else:
        activations = float(edges + inside if work.recomputes else edges + inside * sizes.layers)
    logits = 4 * min(work.micro, LOGIT_TOKENS) * sizes.vocabulary
    return Memory(weights, gradients, optimiser, activations, float(logits))


def flops(sizes: Sizes, work: Work) -> float:
    """Return the FLOPs of one pass over the data."""
    forward = 2 * sizes.linear
    if work.passes == "routers":
        return forward * work.tokens
    backward = 2 * sizes.linear + 2 * sizes.linear * work.share
    again = forward if work.recomputes else 0
    learned = (forward + backward + again) * max(1, work.learned)
    looks = forward * (1 + work.copies) if work.drawn else 0
    return float((learned + looks) * work.tokens)


def seconds(sizes: Sizes, work: Work, gpus: int, rows: int = 64) -> float:
    """Return the time of the whole training: FLOPs at 40 % of the GPU's, and drawing at its memory's pace.

    Args:
        sizes: of the model.
        work: what is trained.
        gpus: that share the data.
        rows: responses that one GPU draws at once.
    """
    pace = GPU_FLOPS_32 if work.wide else GPU_FLOPS
    computing = flops(sizes, work) * work.epochs / (pace * UTILISATION * gpus)
    drawing = work.drawn * work.tokens * work.epochs / (rows * gpus) * sizes.weights * sizes.bytes / GPU_BANDWIDTH
    return computing + drawing


def checkpoint_bytes(trained: int) -> int:
    """Return the size of one checkpoint that a run can go on from: weights that moved and both moments."""
    return (MASTER + MOMENTS) * trained


def disk_bytes(trained: int, checkpoints: int) -> int:
    """Return what a training leaves: its checkpoints, and the weights at the end."""
    return checkpoint_bytes(trained) * checkpoints + MASTER * trained


def kept_checkpoints(steps: int, save_steps: float, limit: int | None, strategy: str, epochs: float) -> int:
    """Return how many checkpoints are there at the end."""
    if strategy == "no" or steps <= 0:
        return 0
    if strategy == "epoch":
        count = math.ceil(epochs)
    else:
        each = save_steps * steps if save_steps < 1 else save_steps
        count = int(steps // each) + (1 if steps % each else 0)
    return min(count, limit) if limit else max(1, count)


def choose_engine(sizes: Sizes, work: Work, gpus: int, room: float) -> Engine:
    """Return the first of one, zero1, zero2 and fsdp whose peak fits into `room` bytes; fsdp where none does."""
    order: tuple[Engine, ...] = ("one",) if gpus == 1 else ("ddp", "zero1", "zero2", "fsdp")
    return next((engine for engine in order if memory(sizes, work, engine, gpus).total <= room), order[-1])
