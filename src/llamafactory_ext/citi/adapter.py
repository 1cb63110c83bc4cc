"""Put a finished CITI adapter on a base model, or say in one line why it does not fit."""

from __future__ import annotations

from collections.abc import Mapping
from pathlib import Path
from typing import Any

from ..checkpoint.atomic import read_json
from ..checkpoint.base import MANIFEST, check_base
from ..checkpoint.folders import check_adapter
from ..errors import CheckpointError, OptionError


def load_adapter(model: Any, model_args: Any, finetuning_args: Any, paths: list[str]) -> Any:
    """Put the one adapter of `adapter_name_or_path` on the model, unmerged: gates depend on the input."""
    from peft import PeftModel, get_peft_model_state_dict

    from ..molora import MoLoraModel
    from ..upstream.pipeline.new_rows import own_vocabulary, restore_rows

    if len(paths) != 1:
        raise OptionError(
            f"adapter_name_or_path names {len(paths)} adapters; citi adapters cannot be stacked, give exactly one."
        )
    where = {
        "subfolder": model_args.adapter_folder or "",
        "cache_dir": model_args.cache_dir,
        "revision": model_args.model_revision,
        "token": model_args.hf_hub_token,
    }
    path = Path(paths[0]) / (model_args.adapter_folder or "")
    if path.is_dir():
        check_adapter(path)
        if (path / MANIFEST).is_file():
            restore_rows(model, read_json(path / MANIFEST, "manifest"), own_vocabulary(model_args))
        check_base(model, path)
    else:
        _check_method(paths[0], where)
    try:
        loaded = PeftModel.from_pretrained(model, paths[0], offload_folder=model_args.offload_folder, **where)
    except (RuntimeError, ValueError) as error:
        raise _misfit(paths[0], model_args, str(error).splitlines()[0]) from error
    # PEFT passes over tensors for modules that this base does not have.
    saved, placed = _tensor_names(paths[0], where), get_peft_model_state_dict(loaded).keys()
    if unused := saved - placed:
        raise _misfit(paths[0], model_args, f"there is no place for {min(unused)}")
    if lacking := {name for name in placed - saved if "molora_" in name}:
        raise CheckpointError(
            f"the adapter in {paths[0]} lacks {min(lacking)}, which would stay untrained; use a whole copy, or "
            "train it anew."
        )
    if isinstance(loaded.base_model, MoLoraModel):
        loaded.base_model.set_kernel(finetuning_args.citi_kernel)
    return loaded


def is_ours(folder: Path, config: Mapping[str, Any]) -> bool:
    """Return whether an adapter is one of CITI, or comes from a run with `citi_adapter: lora` or `full`.

    Args:
        folder: of the adapter.
        config: its adapter_config.json.
    """
    if config.get("peft_type") == "MOLORA":
        return True
    if not (folder / MANIFEST).is_file():
        return False
    manifest = read_json(folder / MANIFEST, "manifest")
    plan = manifest.get("plan") if isinstance(manifest, dict) else None
    return isinstance(plan, dict) and plan.get("citi_adapter") in ("lora", "full")


def _check_method(name: str, where: dict[str, Any]) -> None:
    """Check an adapter of a hub: it exists and is one of citi."""
    from peft import PeftConfig

    try:
        kind = PeftConfig.from_pretrained(name, **where).peft_type
    except (OSError, ValueError, TypeError) as error:
        raise CheckpointError(
            f"adapter_name_or_path={name} cannot be loaded ({str(error).splitlines()[0]}); name the output_dir of a "
            "citi run, or an adapter of the Hugging Face hub that can be reached from here."
        ) from error
    if str(getattr(kind, "value", kind)) != "MOLORA":
        raise CheckpointError(
            f"{name} holds a {kind} adapter, not one of citi; set finetuning_type to the method it was trained with."
        )


def _tensor_names(adapter: str, where: dict[str, Any]) -> set[str]:
    """Return the names in an adapter's weights file, of a folder or, already in the cache, of the hub."""
    from safetensors import safe_open
    from transformers.utils import cached_file

    with safe_open(cached_file(adapter, "adapter_model.safetensors", **where), "pt") as weights:
        return set(weights.keys())


def _misfit(adapter: str, model_args: Any, difference: str) -> CheckpointError:
    return CheckpointError(
        f"the adapter in {adapter} does not fit {model_args.model_name_or_path} ({difference}); set "
        "model_name_or_path to the base model it was trained on."
    )
