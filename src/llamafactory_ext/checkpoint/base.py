"""Recognises the base model that an adapter was trained on, by shapes and a few weights."""

from __future__ import annotations

from collections.abc import Collection, Mapping
from pathlib import Path
from typing import Any

import torch
from peft.tuners.tuners_utils import BaseTunerLayer
from peft.utils.other import AuxiliaryTrainingWrapper
from torch import nn

from ..errors import CheckpointError
from ..methods import load, methods
from .atomic import read_object
from .folders import check_adapter

MANIFEST = "manifest.json"
_CONFIG = "adapter_config.json"
SAMPLED, SPREAD = 4, 12  # weights kept of each linear: the first, which earlier versions kept alone, and others
_INSIDE = (
    ".molora_",
    ".data_adapter_",
    ".data_gate",
    ".lora_",
    ".modules_to_save.",
    ".original_module",
    ".base_layer",
)


def fingerprint(model: nn.Module) -> dict[str, Any]:
    """Return shape and some weights of every linear of the base, adapters left out: name to `{shape, sample}`.

    Quantised linears are left out; some of them store bytes as if they were floats, in a shape of their own.
    """
    found = {}
    for name, module in model.named_modules():
        if any(part in name for part in _INSIDE):
            continue
        linear = _untouched(module)
        if not isinstance(linear, nn.Linear) or not linear.weight.is_floating_point():
            continue
        if linear.weight.shape == (linear.out_features, linear.in_features):
            sample = _sample(linear.weight.detach().flatten())
            found[_base_name(name)] = {"shape": list(linear.weight.shape), "sample": sample}
    return found


def _sample(weights: torch.Tensor) -> list[float]:
    """Return the first weights, and some of the whole matrix: a trained one may differ in few places."""
    places = [(weights.numel() - 1) * part // SPREAD for part in range(1, SPREAD + 1)]
    found: list[float] = torch.cat([weights[:SAMPLED], weights[places]]).float().tolist()
    return found


def identity_of(model: nn.Module) -> dict[str, Any]:
    """Return what tells a base from any other, also from one of the same shapes: configuration and some weights."""
    return {
        "quantization": quantization(model),
        "linears": fingerprint(model),
        "config": config_facts(getattr(model, "config", None)),
    }


# What says nothing about what the layers compute, or what a run may set otherwise than the next one.
_NOT_COMPUTED = frozenset(
    {
        "architectures",
        "auto_map",
        "aux_loss_alpha",
        "aux_loss_coef",
        "bos_token_id",
        "chunk_size_feed_forward",
        "dtype",
        "eos_token_id",
        "id2label",
        "initializer_range",
        "label2id",
        "max_position_embeddings",
        "original_max_position_embeddings",
        "output_attentions",
        "output_hidden_states",
        "output_router_logits",
        "pad_token_id",
        "pretraining_tp",
        "problem_type",
        "quantization_config",
        "return_dict",
        "router_aux_loss_coef",
        "router_z_loss_coef",
        "tokenizer_class",
        "torch_dtype",
        "transformers_version",
        "use_cache",
        "vocab_size",
    }
)
_OF_ROPE = ("rope_theta", "partial_rotary_factor")


def config_facts(config: Any) -> dict[str, Any]:
    """Return by name what a model's configuration says of what its layers compute; parts have names with a dot."""
    written = config.to_dict() if hasattr(config, "to_dict") else {}
    return _facts(written, "")


def _facts(written: Mapping[str, Any], prefix: str) -> dict[str, Any]:
    found: dict[str, Any] = {}
    for name, value in written.items():
        if name.startswith("_") or name in _NOT_COMPUTED or "dropout" in name:
            continue
        if name in ("rope_parameters", "rope_scaling"):
            found |= {f"{prefix}{part}": value[part] for part in _OF_ROPE if isinstance(value, dict) and part in value}
        elif isinstance(value, dict):
            found |= _facts(value, f"{prefix}{name}.")
        elif value is None or isinstance(value, str | int | float | bool):
            found[f"{prefix}{name}"] = value
    return found


def config_difference(expected: Mapping[str, Any], actual: Mapping[str, Any]) -> str | None:
    """Return what two configurations say differently, in words.

    Options that one of them lacks are another version's.
    """
    for name in sorted(expected.keys() & actual.keys()):
        then, now = expected[name], actual[name]
        if then != now and None not in (then, now):
            return f"its {name} is {now}, was {then}"
    return None


def check_base(model: nn.Module, adapter: Path) -> None:
    """Make sure that `adapter` was trained on this base.

    Values are compared loosely, as the base may be loaded in another number type. Quantised linears are not compared.

    Raises:
        CheckpointError: no adapter of a method of ours there, a damaged manifest, or another base model.
    """
    config = read_object(adapter / _CONFIG, "adapter configuration")
    kinds = [row.adapter for row in methods() if row.adapter]
    if not _is_ours(adapter, config):
        raise CheckpointError(
            f"{adapter} holds a {config.get('peft_type')} adapter, not a {' or '.join(kind.title for kind in kinds)} "
            "one; set finetuning_type to the method it was trained with."
        )
    if not (adapter / "adapter_model.safetensors").is_file():
        raise CheckpointError(
            f"{adapter} has no adapter_model.safetensors; the checkpoint is incomplete, use another."
        )
    if not (adapter / MANIFEST).is_file():
        return  # made by PEFT alone: shapes are all there is, and PEFT checks them
    found = difference(read_object(adapter / MANIFEST, "manifest"), adapter / MANIFEST, model)
    if found is not None:
        raise CheckpointError(
            f"{adapter} was trained on another base model than this one: {found}. Set model_name_or_path to its "
            f"base, {config.get('base_model_name_or_path')}."
        )


def check_loaded(model: nn.Module, adapter: Path) -> None:
    """Make sure that an adapter is whole, and of this base where a run of ours has kept which it was.

    Raises:
        CheckpointError: it is not.
    """
    check_adapter(adapter)
    if (adapter / MANIFEST).is_file() and _is_ours(adapter, read_object(adapter / _CONFIG, "adapter configuration")):
        check_base(model, adapter)


def _is_ours(adapter: Path, config: Mapping[str, Any]) -> bool:
    return any(load(row.adapter.check)(adapter, config) for row in methods() if row.adapter)


def difference(
    manifest: Mapping[str, Any], path: Path, model: nn.Module, only: Collection[str] | None = None
) -> str | None:
    """Return how this base differs from the manifest's, in words; None if it does not, as far as can be seen.

    Args:
        manifest: what was kept of the other.
        path: of the manifest.
        model: the base.
        only: names of the linears to compare; None for all.

    Raises:
        CheckpointError: the manifest, read from `path`, says nothing usable.
    """
    actual = _of(fingerprint(model), only)
    try:
        configured = config_difference(
            manifest["base"].get("config") or {}, config_facts(getattr(model, "config", None))
        )
        expected = _of(manifest["base"]["linears"], only)
        if not expected or not actual:
            return configured  # weights spread over processes or quantised: nothing else to compare
        for name in sorted({*expected, *actual}):
            if name not in actual and not quantization(model):
                return f"{name} is missing"
            if name in actual and name not in expected and not manifest["base"].get("quantization"):
                return f"{name} was not there"
            if name not in actual or name not in expected:
                continue
            if actual[name]["shape"] != expected[name]["shape"]:
                return f"{name} is {actual[name]['shape']}, was {expected[name]['shape']}"
            both = (actual[name]["sample"], expected[name]["sample"])
            ours, theirs = (torch.tensor(sample[: min(map(len, both))]) for sample in both)
            if not torch.allclose(ours, theirs, rtol=0.02, atol=1e-4):
                return f"the weights of {name} differ"
    except (KeyError, TypeError, ValueError, RuntimeError):
        raise CheckpointError(f"{path}: the manifest is damaged; restore it, or train again.") from None
    return configured


def _of(linears: Mapping[str, Any], only: Collection[str] | None) -> Mapping[str, Any]:
    return linears if only is None else {name: linears[name] for name in linears if name in only}


def quantization(model: nn.Module) -> str | None:
    """Return how the model's linears are quantised, such as `bitsandbytes`; None if they are not."""
    method = getattr(model, "quantization_method", None)
    return None if method is None else str(getattr(method, "value", method))


def _untouched(module: nn.Module) -> nn.Module:
    if isinstance(module, BaseTunerLayer):
        return module.get_base_layer()
    if isinstance(module, AuxiliaryTrainingWrapper):
        return module.original_module
    return module


def _base_name(name: str) -> str:
    return name.removeprefix("base_model.model.")
