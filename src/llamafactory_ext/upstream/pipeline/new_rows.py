"""The rows that `resize_vocab` adds to a base model's embeddings: the same ones whenever the base is loaded.

Upstream draws them anew at each load (mean of the old rows plus noise). A method that freezes the base
trains adapters on it, so a run that goes on, a chat and an export must find the rows that were trained on: the noise
comes from a fixed seed here.
"""

from __future__ import annotations

import math
from collections.abc import Mapping
from typing import Any

import torch
from transformers.integrations import is_deepspeed_zero3_enabled

from ...errors import OptionError
from ...methods import listed, methods

_SEED = 9802  # any number: it only has to stay
_MULTIPLE = 64  # upstream pads the new size to it


def vocabulary_of(model: Any) -> int:
    """Return how many tokens the model's embeddings hold."""
    return int(model.get_input_embeddings().weight.shape[0])


def own_vocabulary(model_args: Any) -> int:
    """Return how many tokens the base has of its own, before `resize_vocab` adds any."""
    from llamafactory.model.loader import load_config

    return int(load_config(model_args).get_text_config().vocab_size)


def settle_new_rows(model: Any, old: int) -> None:
    """Give the rows from `old` on their fixed values, in input and output embeddings.

    Raises:
        OptionError: the weights are spread over processes.
    """
    if vocabulary_of(model) <= old:
        return
    if is_deepspeed_zero3_enabled():
        raise OptionError(
            f"resize_vocab does not work with finetuning_type: {_types()} under DeepSpeed ZeRO-3, which spreads the "
            "rows; use ZeRO-2 or DDP."
        )
    embeddings = [model.get_input_embeddings().weight]
    output = model.get_output_embeddings()
    if output is not None and output.weight is not embeddings[0]:
        embeddings.append(output.weight)
    for number, weight in enumerate(embeddings):
        _settle(weight, old, number)


def restore_rows(model: Any, manifest: Mapping[str, Any], old: int) -> None:
    """Add the rows that an adapter was trained with, where the base was loaded without them.

    Args:
        model: the base.
        manifest: of the adapter; those of runs without new rows change nothing.
        old: how many tokens the base has of its own.
    """
    base = manifest.get("base")
    wanted = base.get("vocabulary") if isinstance(base, Mapping) else None
    if not isinstance(wanted, int) or wanted <= old:
        return
    if vocabulary_of(model) < wanted:
        model.resize_token_embeddings(wanted, pad_to_multiple_of=_MULTIPLE, mean_resizing=False)
    settle_new_rows(model, old)


def _types() -> str:
    return listed(tuple(row.name for row in methods() if row.adapter))


def _settle(weight_VD: torch.Tensor, old: int, number: int) -> None:
    with torch.no_grad():
        new = weight_VD.shape[0] - old
        mean_D = weight_VD[:old].float().mean(0)
        generator = torch.Generator().manual_seed(_SEED + number)
        noise_ND = torch.randn(new, weight_VD.shape[1], generator=generator) / math.sqrt(weight_VD.shape[1])
        weight_VD[old:] = (mean_D + noise_ND.to(mean_D.device)).to(weight_VD.dtype)
