"""Writes a CITI checkpoint as a self-contained model directory (format: citi/exported.py).

Fresh shards with the tuned linears put in and the original backbone names, the adapters beside them, config,
tokenizer, chat template and model card. MOLoRA is not merged: its gates depend on the input. What the ablations put in
its place (`citi_adapter: lora` or `full`) is, and gives a model of the base's own type.
"""

from __future__ import annotations

import json
from pathlib import Path
from typing import Any

import torch
from huggingface_hub import split_torch_state_dict_into_shards
from peft import PeftModel
from peft.tuners.lora import LoraLayer
from peft.utils.other import ModulesToSaveWrapper
from safetensors.torch import save_file
from torch import Tensor

from ..checkpoint.atomic import publish_folder, staged_folder, write_json
from ..checkpoint.base import quantization
from ..errors import CheckpointError, OptionError
from ..molora import MoLoraLinear
from .card import names_of, provenance_of
from .exported import FORMAT, MODEL_TYPES, PREFIX

CARD = """---
library_name: transformers
base_model: {base_scalar}
tags: [citi, molora, tool-use, llama-factory]
---
# {title}

{base_code} after {method}, self-contained: {what}.

```python
{registration}from transformers import AutoModelForCausalLM

model = AutoModelForCausalLM.from_pretrained({name_quoted})
```

{provenance}
"""
UNKNOWN = "Data, phases and settings are unknown: there was no complete manifest.json and selection.json."


def export_citi(
    model: PeftModel, tokenizer: Any, processor: Any, out_dir: Path, max_shard_size: str, adapter: Path | None = None
) -> None:
    """Writes `model` to `out_dir`, whole or not at all.

    Args:
        model: the base with an adapter of CITI on it; one that can be merged is merged in place.
        tokenizer: written along, padding on the left.
        processor: of multimodal models, or None.
        out_dir: absent, empty, or an earlier export.
        max_shard_size: as in transformers, such as `5GB`.
        adapter: the folder `model`'s adapter came from; its manifest goes into the model card.

    Raises:
        OptionError: the architecture has no exported type, the base is quantised, or `out_dir` holds something else.
        CheckpointError: the model carries no adapter of CITI.
    """
    kind = str(model.peft_config["default"].peft_type.value) if isinstance(model, PeftModel) else "none"
    if kind not in ("MOLORA", "LORA"):
        raise CheckpointError(
            "there is no MOLoRA adapter on the model; set adapter_name_or_path to a CITI checkpoint."
        )
    base_type = model.get_base_model().config.model_type
    if kind == "MOLORA" and PREFIX + base_type not in MODEL_TYPES:
        known = ", ".join(name.removeprefix(PREFIX) for name in MODEL_TYPES)
        raise OptionError(
            f"export knows the architectures {known}, not {base_type}. The adapter works without export: "
            "load it with adapter_name_or_path and finetuning_type: citi."
        )
    if method := quantization(model.get_base_model()):
        raise OptionError(
            f"the base model is quantized ({method}), which an export would not be; load the adapter on the "
            "unquantized base: name that one in model_name_or_path, without quantization options."
        )
    _check_target(out_dir)
    words = _words(model, adapter, out_dir.name)
    with staged_folder(out_dir) as staged:
        if kind == "MOLORA":
            _write_weights(exported_state(model), staged, max_shard_size)
            _write_config(model, base_type, staged)
        else:
            _write_merged(model, staged, max_shard_size)
        tokenizer.padding_side = "left"  # exported models generate; upstream's export does the same
        tokenizer.save_pretrained(staged)
        if processor is not None:
            processor.save_pretrained(staged)
        (staged / "README.md").write_text(CARD.format(**words), encoding="utf-8")
        publish_folder(staged, out_dir)


def exported_state(model: PeftModel) -> dict[str, Tensor]:
    """All tensors of the export by name, in the base model's number type; tied weights once."""
    base: Any = model.get_base_model()
    adapter = model.peft_config["default"]
    dtype = next(base.parameters()).dtype
    state: dict[str, Tensor] = {}
    special: list[str] = []
    for name, module in base.named_modules():
        if isinstance(module, MoLoraLinear):
            special.append(name)
            state |= {f"{name}.{key}": tensor for key, tensor in module.base_layer.state_dict().items()}
            router, A, B = module.weights("default")
            state[f"{name}.molora.A"] = A.unflatten(0, (adapter.num_experts, adapter.r))
            state[f"{name}.molora.B"] = B.unflatten(1, (adapter.num_experts, adapter.r)).permute(1, 0, 2)
            state[f"{name}.molora.router"] = router
        elif isinstance(module, ModulesToSaveWrapper):
            special.append(name)
            tuned = module.modules_to_save["default"].state_dict()
            state |= {f"{name}.{key}": tensor for key, tensor in tuned.items()}
    inside = tuple(f"{name}." for name in special)
    state |= {name: tensor for name, tensor in base.state_dict().items() if not name.startswith(inside)}
    if base.config.tie_word_embeddings:
        state.pop("lm_head.weight", None)
    return {
        name: tensor.detach().to(dtype if tensor.is_floating_point() else tensor.dtype).contiguous()
        for name, tensor in state.items()
    }


def _check_target(out_dir: Path) -> None:
    if not out_dir.exists() or (out_dir.is_dir() and not any(out_dir.iterdir())):
        return
    try:
        config = json.loads((out_dir / "config.json").read_text(encoding="utf-8"))
    except (OSError, ValueError):
        config = None
    if not isinstance(config, dict) or "citi" not in config:
        raise OptionError(f"export_dir={out_dir} holds something else than an earlier export; name an empty folder.")


def _write_weights(state: dict[str, Tensor], folder: Path, max_shard_size: str) -> None:
    split = split_torch_state_dict_into_shards(state, max_shard_size=max_shard_size)
    for file, names in split.filename_to_tensors.items():
        save_file({name: state[name] for name in names}, folder / file, metadata={"format": "pt"})
    if split.is_sharded:
        write_json(
            folder / "model.safetensors.index.json",
            {"metadata": split.metadata, "weight_map": split.tensor_to_filename},
        )


def _write_merged(model: PeftModel, folder: Path, max_shard_size: str) -> None:
    """A model of the base's own type, with what the adapter changed in its weights."""
    dtype = next(model.get_base_model().parameters()).dtype
    merged: Any = model.merge_and_unload()
    merged.config.use_cache = True
    merged.config.citi = {"format": FORMAT, "merged": True}
    merged.to(dtype).save_pretrained(folder, max_shard_size=max_shard_size)


def _words(model: PeftModel, adapter: Path | None, name: str) -> dict[str, str]:
    """What stands in the gaps of `CARD`; reads the manifest before anything is written."""
    config = model.peft_config["default"]
    tuned = f"{len(config.modules_to_save or [])} linears tuned in full"
    if hasattr(config, "num_experts"):
        method = "CITI (arXiv:2409.13202)"
        targets = len(model.base_model.molora_layers())
        what = (
            f"MOLoRA adapters in {targets} linears ({config.num_experts} experts of rank {config.r}, alpha "
            f"{config.alpha:g}), {tuned}"
        )
        model_type = PREFIX + model.get_base_model().config.model_type
        registration = f"import llamafactory_ext  # registers {model_type} with transformers\n"
    else:
        method = "an ablation of CITI (arXiv:2409.13202)"
        targets = sum(isinstance(module, LoraLayer) for module in model.modules())
        what = (f"LoRA of rank {config.r} merged into {targets} linears, " if targets else "") + tuned
        registration = ""
    try:
        provenance = UNKNOWN if adapter is None else provenance_of(adapter)
    except CheckpointError:  # made by PEFT alone, or by an older version: no reason to refuse the export
        provenance = UNKNOWN
    return {
        **names_of(config.base_model_name_or_path, name),
        "method": method,
        "what": what,
        "registration": registration,
        "provenance": provenance,
    }


def _write_config(model: PeftModel, base_type: str, folder: Path) -> None:
    base, adapter = model.get_base_model(), model.peft_config["default"]
    model_type = PREFIX + base_type
    dtype = str(next(base.parameters()).dtype).removeprefix("torch.")
    config = base.config.to_dict() | {
        "model_type": model_type,
        "architectures": [MODEL_TYPES[model_type][1].__name__],
        "dtype": dtype,
        "use_cache": True,
        "citi": {
            "format": FORMAT,
            "num_experts": adapter.num_experts,
            "neutral_gate": adapter.neutral_gate,
            "r": adapter.r,
            "alpha": adapter.alpha,
            "target_modules": list(model.base_model.molora_layers()),
            "tuned_modules": sorted(adapter.modules_to_save or []),
        },
    }
    config.pop("_name_or_path", None)
    config = {key: value for key, value in config.items() if not isinstance(value, torch.dtype)}
    write_json(folder / "config.json", config)
    if base.generation_config is not None:
        base.generation_config.save_pretrained(folder)
