"""Writes exported model directories, the same for all methods: what is refused, weights, configuration, folder."""

from __future__ import annotations

import os
from collections.abc import Iterator, Mapping
from contextlib import contextmanager
from pathlib import Path
from typing import Any

import torch
from huggingface_hub import split_torch_state_dict_into_shards
from safetensors.torch import save_file
from torch import Tensor

from ..checkpoint.atomic import publish_folder, staged_folder, write_json
from ..checkpoint.base import quantization
from ..errors import OptionError
from ..families import standing
from .exported import FORMAT
from .targets import check_unmixed, list_files, target_problem

HEAD, EMBEDDINGS = "lm_head.weight", "model.embed_tokens.weight"


def check_exportable(base: Any, method: str) -> None:
    """Make sure that a base with an adapter of a method has an exported type.

    Args:
        base: the base model.
        method: the value of finetuning_type, for the message.

    Raises:
        OptionError: it has none.
    """
    if problem := standing(base.config.to_dict() | {"model_type": base.config.model_type}).export:
        raise OptionError(
            f"{problem}. The adapter works without export: load it with adapter_name_or_path and finetuning_type: "
            f"{method}."
        )


def check_plain(base: Any) -> None:
    """Make sure that a base is not quantised.

    Raises:
        OptionError: it is.
    """
    if method := quantization(base):
        raise OptionError(
            f"the base model is quantized ({method}), which an export would not be; load the adapter on the "
            "unquantized base: name that one in model_name_or_path, without quantization options."
        )


def check_target(out_dir: Path, block: str) -> None:
    """Make sure that a folder is free or holds an earlier export alone.

    Args:
        out_dir: that export_dir names.
        block: the method's key in config.json.

    Raises:
        OptionError: it holds something else.
    """
    if (problem := target_problem(out_dir, block)) is not None:
        raise OptionError(f"{problem}.")


@contextmanager
def published(out_dir: Path, tokenizer: Any, processor: Any, card: str) -> Iterator[Path]:
    """Give a folder to write a model into; it takes its place whole, with tokenizer and card, or not at all.

    Args:
        out_dir: the folder's place.
        tokenizer: written along, padding on the left.
        processor: of multimodal models, or None.
        card: the model card.

    Raises:
        OptionError: files of somebody else came into the folder meanwhile.
    """
    out_dir = Path(os.path.realpath(out_dir))  # a link stays a link
    with staged_folder(out_dir) as staged:
        yield staged
        tokenizer.padding_side = "left"  # exported models generate; upstream's export does the same
        tokenizer.save_pretrained(staged)
        if processor is not None:
            processor.save_pretrained(staged)
        (staged / "README.md").write_text(card, encoding="utf-8")
        list_files(staged)
        check_unmixed(out_dir)
        publish_folder(staged, out_dir)


def whole_state(base: Any, state: Mapping[str, Tensor], special: list[str]) -> dict[str, Tensor]:
    """Return all tensors of an export by name, in the base model's number type; tied weights once.

    Args:
        base: the base model.
        state: what a method makes of its modules.
        special: the names of these modules, whose own tensors are left out.
    """
    dtype = next(base.parameters()).dtype
    inside = tuple(f"{name}." for name in special)
    made = dict(state) | {name: tensor for name, tensor in base.state_dict().items() if not name.startswith(inside)}
    if base.config.tie_word_embeddings and _is_tied(made):
        made.pop(HEAD, None)
    return {
        name: tensor.detach().to(dtype if tensor.is_floating_point() else tensor.dtype).contiguous()
        for name, tensor in made.items()
    }


def _is_tied(state: Mapping[str, Tensor]) -> bool:
    """Tell whether head and embeddings still hold the same numbers: one of them may have been tuned."""
    head, embeddings = state.get(HEAD), state.get(EMBEDDINGS)
    return head is None or embeddings is None or torch.equal(head, embeddings)


def write_model(
    folder: Path, base: Any, state: dict[str, Tensor], changes: Mapping[str, Any], max_shard_size: str
) -> None:
    """Write weights, configuration and generation defaults of an exported type.

    Args:
        folder: exists.
        base: the base model.
        state: all tensors by name.
        changes: of the configuration; its model type, its class and the method's block.
        max_shard_size: as in transformers, such as `5GB`.
    """
    split = split_torch_state_dict_into_shards(state, max_shard_size=max_shard_size)
    for file, names in split.filename_to_tensors.items():
        save_file({name: state[name] for name in names}, folder / file, metadata={"format": "pt"})
    if split.is_sharded:
        index = {"metadata": split.metadata, "weight_map": split.tensor_to_filename}
        write_json(folder / "model.safetensors.index.json", index)
    write_json(folder / "config.json", _config(base, changes, tied=HEAD not in state))
    if base.generation_config is not None:
        base.generation_config.save_pretrained(folder)


def _config(base: Any, changes: Mapping[str, Any], *, tied: bool) -> dict[str, Any]:
    config = base.config.to_dict() | {
        "dtype": str(next(base.parameters()).dtype).removeprefix("torch."),
        "use_cache": True,
        "tie_word_embeddings": bool(base.config.tie_word_embeddings) and tied,
        **changes,
    }
    config.pop("_name_or_path", None)
    return {key: value for key, value in config.items() if not isinstance(value, torch.dtype)}


def write_merged(folder: Path, model: Any, block: str, max_shard_size: str) -> None:
    """Write a model of the base's own type, with what the adapter changed in its weights.

    A base that is an export itself keeps its block, which says where its own adapters are.

    Args:
        folder: exists.
        model: with an adapter that can be merged; it is, in place.
        block: the method's key in config.json.
        max_shard_size: as in transformers.
    """
    dtype = next(model.get_base_model().parameters()).dtype
    merged: Any = model.merge_and_unload()
    merged.config.use_cache = True
    if not isinstance(getattr(merged.config, block, None), dict):
        setattr(merged.config, block, {"format": FORMAT, "merged": True})
    merged.to(dtype).save_pretrained(folder, max_shard_size=max_shard_size)
