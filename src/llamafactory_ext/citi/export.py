"""Writes a CITI checkpoint as a self-contained model directory (format: citi/exported.py).

Fresh shards with the tuned linears put in and the original backbone names, the adapters beside them, config,
tokenizer, chat template and model card. MOLoRA is not merged: its gates depend on the input. What the ablations put in
its place (`citi_adapter: lora` or `full`) is, and gives a model of the base's own type.
"""

from __future__ import annotations

from pathlib import Path
from typing import Any

from peft import PeftModel
from peft.tuners.lora import LoraLayer
from peft.utils.other import ModulesToSaveWrapper
from torch import Tensor

from ..errors import CheckpointError
from ..families import is_export, standing
from ..molora import MoLoraLinear
from ..serving.exported import FORMAT
from ..serving.writing import (
    check_exportable,
    check_plain,
    check_target,
    published,
    whole_state,
    write_merged,
    write_model,
)
from .card import names_of, provenance_of, text
from .exported import BLOCK, MODEL_TYPES, PREFIX

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

{serving}{provenance}
"""
SERVED = "vLLM serves it too, where `llamafactory_ext` is installed.\n\n"
UNKNOWN = "Data, phases and settings are unknown: there was no complete manifest.json and selection.json."


def export_citi(
    model: PeftModel, tokenizer: Any, processor: Any, out_dir: Path, max_shard_size: str, adapter: Path | None = None
) -> None:
    """Write `model` to `out_dir`, whole or not at all.

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
    base: Any = model.get_base_model()
    if kind == "MOLORA":
        check_exportable(base, "citi")
    check_plain(base)
    check_target(out_dir, BLOCK)
    card = CARD.format(**_words(model, adapter, out_dir.name))
    with published(out_dir, tokenizer, processor, card) as staged:
        if kind == "MOLORA":
            write_model(staged, base, exported_state(model), _changes(model), max_shard_size)
        else:
            write_merged(staged, model, BLOCK, max_shard_size)


def exported_state(model: PeftModel) -> dict[str, Tensor]:
    """Return all tensors of the export by name, in the base model's number type; tied weights once."""
    base: Any = model.get_base_model()
    adapter = model.peft_config["default"]
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
    return whole_state(base, state, special)


def _import_of(model_type: str) -> str:
    return f"import llamafactory_ext  # registers {model_type} with transformers\n"


def _words(model: PeftModel, adapter: Path | None, name: str) -> dict[str, str]:
    """Return what stands in the gaps of `CARD`; reads the manifest before anything is written."""
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
        registration = _import_of(model_type)
        unserved = standing(model.get_base_model().config.to_dict()).serving
        serving = f"{text(unserved)}.\n\n" if unserved else SERVED
    else:
        method = "an ablation of CITI (arXiv:2409.13202)"
        targets = sum(isinstance(module, LoraLayer) for module in model.modules())
        what = (f"LoRA of rank {config.r} merged into {targets} linears, " if targets else "") + tuned
        base_config, serving = model.get_base_model().config, ""
        again = is_export(base_config.to_dict() | {"model_type": base_config.model_type})
        registration = _import_of(base_config.model_type) if again else ""
    try:
        provenance = UNKNOWN if adapter is None else provenance_of(adapter)
    except CheckpointError:  # made by PEFT alone, or by an older version: no reason to refuse the export
        provenance = UNKNOWN
    return {
        **names_of(config.base_model_name_or_path, name),
        "method": method,
        "what": what,
        "registration": registration,
        "serving": serving,
        "provenance": provenance,
    }


def _changes(model: PeftModel) -> dict[str, Any]:
    """Return what config.json has in place of the base's, or beside it."""
    adapter = model.peft_config["default"]
    model_type = PREFIX + model.get_base_model().config.model_type
    return {
        "model_type": model_type,
        "architectures": [MODEL_TYPES[model_type][1].__name__],
        BLOCK: {
            "format": FORMAT,
            "num_experts": adapter.num_experts,
            "neutral_gate": adapter.neutral_gate,
            "r": adapter.r,
            "alpha": adapter.alpha,
            "target_modules": list(model.base_model.molora_layers()),
            "tuned_modules": sorted(adapter.modules_to_save or []),
        },
    }
