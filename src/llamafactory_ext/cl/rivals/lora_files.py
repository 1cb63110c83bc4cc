"""LoRA adapters as files: read, added up, written; with the base model in no memory."""

from __future__ import annotations

import json
import math
import re
from collections.abc import Mapping, Sequence
from dataclasses import dataclass
from pathlib import Path
from typing import Any, Final

import torch
from safetensors.torch import load_file, save_file
from torch import Tensor

from ...checkpoint.atomic import write_json
from ...errors import CheckpointError

WEIGHTS: Final = "adapter_model.safetensors"
CONFIG: Final = "adapter_config.json"
_PREFIX: Final = "base_model.model."
_NAME: Final = re.compile(rf"{re.escape(_PREFIX)}(?P<linear>.+)\.lora_(?P<part>[AB])\.weight")
Pairs = dict[str, tuple[Tensor, Tensor]]


@dataclass(frozen=True)
class Lora:
    """An adapter.

    Attributes:
        pairs: A (R,D) and B (O,R) of each linear; B holds the scale, so that a linear adds B A x.
        config: adapter_config.json.
    """

    pairs: Pairs
    config: Mapping[str, Any]


def read_lora(folder: Path) -> Lora:
    """Read a plain LoRA; its scale goes into B.

    Raises:
        CheckpointError: it cannot be read, or holds more than pairs of A and B.
    """
    try:
        config = json.loads((folder / CONFIG).read_text("utf-8"))
        tensors = load_file(folder / WEIGHTS)
    except (OSError, ValueError, RuntimeError) as error:
        raise CheckpointError(f"{folder} holds no adapter that can be read ({error}); delete it.") from None
    parts: dict[str, dict[str, Tensor]] = {}
    for name, tensor in tensors.items():
        found = _NAME.fullmatch(name)
        if found is None:
            raise CheckpointError(
                f"{folder}: {name} is no part of a plain LoRA; train without additional_target, use_dora and such."
            )
        parts.setdefault(found["linear"], {})[found["part"]] = tensor
    pairs = {}
    for linear, pair in parts.items():
        scale = _scale(config, linear)
        pairs[linear] = (pair["A"].float(), pair["B"].float() * scale)
    return Lora(pairs, config)


def write_lora(folder: Path, pairs: Pairs, config: Mapping[str, Any]) -> None:
    """Write an adapter whose linears add B A x; every linear may have a rank of its own.

    Args:
        folder: made where there is none.
        pairs: of each linear.
        config: an adapter_config.json whose other entries are kept.
    """
    ranks = {linear: a.shape[0] for linear, (a, _) in pairs.items()}
    most = max(ranks.values())
    other = {linear: rank for linear, rank in ranks.items() if rank != most}
    changes = {
        "r": most,
        "lora_alpha": most,
        "rank_pattern": other,
        "alpha_pattern": dict(other),
        "use_rslora": False,
        "inference_mode": True,
        "init_lora_weights": True,
    }
    _write(folder, pairs, {**config, **changes})


def write_start(folder: Path, lora: Lora) -> None:
    """Write an adapter that a training starts from: with the scale of its configuration outside of B.

    Args:
        folder: made where there is none.
        lora: as `read_lora` returns it.
    """
    pairs = {linear: (a, b / _scale(lora.config, linear)) for linear, (a, b) in lora.pairs.items()}
    _write(folder, pairs, lora.config)


def added(adapters: Sequence[Pairs]) -> Pairs:
    """Return adapters as one: the rows of all A above one another, the columns of all B side by side.

    A linear that an adapter lacks has none of its rows.
    """
    linears = dict.fromkeys(linear for pairs in adapters for linear in pairs)
    found = {linear: [pairs[linear] for pairs in adapters if linear in pairs] for linear in linears}
    return {
        linear: (torch.cat([a for a, _ in pairs]), torch.cat([b for _, b in pairs], dim=1))
        for linear, pairs in found.items()
    }


def whole_rank(delta_OD: Tensor) -> tuple[Tensor, Tensor]:
    """Return A and B with B A equal to a change of a weight, bit for bit: one of them is the identity."""
    outputs, inputs = delta_OD.shape
    if outputs <= inputs:
        return delta_OD, torch.eye(outputs, dtype=delta_OD.dtype)
    return torch.eye(inputs, dtype=delta_OD.dtype), delta_OD


def parameter_name(linear: str, part: str) -> str:
    """Return what PEFT's model calls A or B of a linear."""
    return f"{_PREFIX}{linear}.lora_{part}.default.weight"


def _write(folder: Path, pairs: Pairs, config: Mapping[str, Any]) -> None:
    tensors = {}
    for linear, (a, b) in pairs.items():
        tensors[f"{_PREFIX}{linear}.lora_A.weight"] = a.contiguous()
        tensors[f"{_PREFIX}{linear}.lora_B.weight"] = b.contiguous()
    folder.mkdir(parents=True, exist_ok=True)
    save_file(tensors, folder / WEIGHTS, metadata={"format": "pt"})
    write_json(folder / CONFIG, dict(config))


def _scale(config: Mapping[str, Any], linear: str) -> float:
    rank = _of(config.get("rank_pattern"), linear, config["r"])
    alpha = _of(config.get("alpha_pattern"), linear, config["lora_alpha"])
    return float(alpha / math.sqrt(rank) if config.get("use_rslora") else alpha / rank)


def _of(pattern: Any, linear: str, default: Any) -> Any:
    return pattern.get(linear, default) if isinstance(pattern, dict) else default
