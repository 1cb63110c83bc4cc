"""What the rows share: shapes, a random model, its data, and which linears are adapted and tuned."""

from __future__ import annotations

import copy
import random
from collections.abc import Mapping
from dataclasses import asdict, dataclass, replace
from typing import Any

import torch
from torch import Tensor, nn
from transformers import LlamaConfig, LlamaForCausalLM, PreTrainedModel

from llamafactory_ext.citi.importance import linear_components
from llamafactory_ext.data.marks import TokenMarks
from llamafactory_ext.training.losses import IGNORE_INDEX

EXPERTS, RANK, ALPHA = 4, 8, 2.0  # CITI, arXiv:2409.13202, appendix A.3
DELTA, BETA = 0.95, 0.01
TOP, BOTTOM = 0.2, 0.1


@dataclass(frozen=True)
class Shape:
    """A Llama, a batch of it (`rows` examples of `tokens` tokens), and linears measured alone.

    Attributes:
        alone: input and output width of single linears.
        alone_tokens: what they map.
        long: instead of this one where activations should outweigh gradients of weights (rows 8 and 9).
        narrow: instead of this one where adapters should be a large part of a step (row linear).
    """

    hidden: int
    intermediate: int
    layers: int
    heads: int
    kv_heads: int
    vocabulary: int
    rows: int
    tokens: int
    dtype: torch.dtype = torch.float32
    alone: tuple[tuple[int, int], ...] = ((1024, 1024), (1024, 3584), (4096, 4096))
    alone_tokens: int = 2048
    long: Shape | None = None
    narrow: Shape | None = None


SHAPES = {
    "toy": Shape(32, 48, 3, 4, 2, 128, 2, 12, alone=((32, 48),), alone_tokens=24),
    # As wide as a step of at most a second on one core allows: at hidden 512 the adapters of row 3 would add 3 % by
    # their arithmetic alone, here 1.6 %, at 4096 0.4 %.
    "small": Shape(
        *(1024, 3584, 8, 16, 4, 32768, 2, 64),
        long=Shape(512, 1792, 8, 8, 4, 8192, 2, 512),
        narrow=Shape(256, 896, 8, 8, 4, 2048, 2, 128),
    ),
    # Layers as wide as Llama-3-8B's, for what depends on the width (rows 3 and 4); a step takes three seconds.
    "wide": Shape(4096, 14336, 3, 32, 8, 8192, 2, 64),
    "llama3-8b": Shape(4096, 14336, 32, 32, 8, 128256, 2, 1024, torch.bfloat16, ((4096, 4096), (4096, 14336))),
}


@dataclass(frozen=True)
class Setting:
    """Where and how large a row is measured.

    Attributes:
        device: of everything.
        shape: of model and batch.
        rounds: how often the variants of a case take turns.
    """

    device: torch.device
    shape: Shape
    rounds: int

    def long(self) -> Setting:
        """This setting with the shape's `long` form, if it has one."""
        return replace(self, shape=self.shape.long or self.shape)

    def narrow(self) -> Setting:
        """This setting with the shape's `narrow` form, if it has one."""
        return replace(self, shape=self.shape.narrow or self.shape)

    def model(self, **changes: Any) -> PreTrainedModel:
        """A random Llama of this shape, frozen; `changes` override fields of the shape."""
        shape = replace(self.shape, **changes)
        config = LlamaConfig(
            vocab_size=shape.vocabulary,
            hidden_size=shape.hidden,
            intermediate_size=shape.intermediate,
            num_hidden_layers=shape.layers,
            num_attention_heads=shape.heads,
            num_key_value_heads=shape.kv_heads,
            max_position_embeddings=8192,
            attn_implementation="sdpa",
            use_cache=False,
        )
        torch.manual_seed(0)
        before = torch.get_default_dtype()
        torch.set_default_dtype(shape.dtype)
        try:
            with self.device:
                model = LlamaForCausalLM(config)
        finally:
            torch.set_default_dtype(before)
        return model.requires_grad_(False).train()

    @classmethod
    def exact(cls) -> tuple[PreTrainedModel, Batch]:
        """A small model in float64 on the CPU and its batch, for comparisons to the last digits."""
        small = cls(torch.device("cpu"), SHAPES["toy"], 1)
        return small.model(dtype=torch.float64), small.batch()

    def batch(self, seed: int = 0) -> Batch:
        """Random tokens of this shape."""
        shape = self.shape
        return draw_batch([shape.tokens] * shape.rows, shape.vocabulary, seed).to(self.device)

    def describe(self, model: nn.Module, memory: Mapping[str, int], **more: Any) -> dict[str, Any]:
        """For the row's settings: the shape, and the peaks behind its ratios in MiB."""
        others = ("alone", "alone_tokens", "long", "narrow")
        shape = {name: value for name, value in asdict(self.shape).items() if name not in others}
        shape["dtype"] = str(self.shape.dtype).removeprefix("torch.")
        peaks = {name: round(value / 2**20, 2) for name, value in memory.items()}
        return shape | {"linears": len(linear_components(model)), "peak_mib": peaks} | more


@dataclass(frozen=True)
class Batch:
    """One micro-batch; tensors (B, T).

    Attributes:
        inputs: what the model takes.
        labels: -100 is not trained.
        marks: which tokens count for the router loss, and of which class and example they are.
    """

    inputs: dict[str, Tensor]
    labels: Tensor
    marks: TokenMarks

    @property
    def trained(self) -> int:
        """Tokens with a loss."""
        return int((self.labels[:, 1:] != IGNORE_INDEX).sum())

    def to(self, device: torch.device) -> Batch:
        """The same elsewhere."""
        marks = (part.to(device) for part in (self.marks.is_tool, self.marks.mask, self.marks.sample))
        inputs = {name: value.to(device) for name, value in self.inputs.items()}
        return Batch(inputs, self.labels.to(device), TokenMarks(*marks))

    def as_mapping(self) -> dict[str, Tensor]:
        """As importance takes it."""
        return {**self.inputs, "labels": self.labels}


def draw_batch(lengths: list[int], vocabulary: int, seed: int) -> Batch:
    """Random examples, tool and general in turn, padded to the longest; the second half of each is trained."""
    draw = torch.Generator().manual_seed(seed)
    width = max(lengths)
    ids = torch.randint(3, vocabulary, (len(lengths), width), generator=draw)
    labels, codes, mask = torch.full_like(ids, IGNORE_INDEX), torch.zeros_like(ids), torch.zeros_like(ids)
    for i, length in enumerate(lengths):
        labels[i, length // 2 : length] = ids[i, length // 2 : length]
        codes[i, :length] = 2 - i % 2
        mask[i, :length] = 1
    return Batch({"input_ids": ids, "attention_mask": mask}, labels, TokenMarks.from_codes(codes))


def packed_batch(examples: list[list[Tensor]], width: int, dtype: torch.dtype) -> Batch:
    """Rows of several examples each, attending to themselves only, as upstream's `neat_packing` makes them.

    Args:
        examples: per row, examples of (ids, labels, is_tool) stacked to (3, length).
        width: of the rows; the rest is padding.
        dtype: of the attention mask.
    """
    from llamafactory.data.collator import prepare_4d_attention_mask

    shape = (len(examples), width)
    ids, positions, codes, indices = (torch.zeros(shape, dtype=torch.long) for _ in range(4))
    labels = torch.full(shape, IGNORE_INDEX)
    for i, row in enumerate(examples):
        start = 0
        for k, example in enumerate(row):
            end = start + example.shape[1]
            ids[i, start:end], labels[i, start:end] = example[0], example[1]
            codes[i, start:end] = 2 * k + 1 + example[2]
            positions[i, start:end], indices[i, start:end] = torch.arange(end - start), k + 1
            start = end
    mask = prepare_4d_attention_mask(indices, dtype)
    inputs = {"input_ids": ids, "attention_mask": mask, "position_ids": positions}
    return Batch(inputs, labels, TokenMarks.from_codes(codes))


def unpadded(batch: Batch) -> list[Tensor]:
    """The examples of a padded batch, for `packed_batch`."""
    found = []
    for i in range(len(batch.labels)):
        kept = batch.marks.mask[i]
        parts = (batch.inputs["input_ids"][i], batch.labels[i], batch.marks.is_tool[i].long())
        found.append(torch.stack([part[kept] for part in parts]))
    return found


def chosen(model: nn.Module) -> tuple[list[str], list[str]]:
    """Linears to adapt and to tune in full: a seeded random 20 % and another 10 %, at least one each, in order."""
    names = list(linear_components(model))
    order = random.Random(0).sample(range(len(names)), len(names))
    top, bottom = max(1, int(TOP * len(names))), max(1, int(BOTTOM * len(names)))
    adapted, tuned = (sorted(part) for part in (order[:top], order[top : top + bottom]))
    return [names[i] for i in adapted], [names[i] for i in tuned]


def twin(model: nn.Module) -> Any:
    """The model anew with parameters and buffers of its own that share the original's memory."""
    memo: dict[int, Any] = {id(p): nn.Parameter(p.data, p.requires_grad) for p in model.parameters()}
    return copy.deepcopy(model, memo)
