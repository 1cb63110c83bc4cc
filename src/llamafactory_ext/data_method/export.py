"""A DATA checkpoint as a self-contained model directory (format: data_method/exported.py).

Gates per token are exported beside the weights, as they depend on the input. An adapter without gates is merged and
gives a model of the base's own type. Gates over several tokens need state beside the cache, and are refused.
"""

from __future__ import annotations

import json
from pathlib import Path
from typing import Any

import torch
from huggingface_hub import split_torch_state_dict_into_shards
from peft import PeftModel
from safetensors.torch import save_file
from torch import Tensor

from ..checkpoint.atomic import publish_folder, staged_folder, write_json
from ..checkpoint.base import quantization
from ..duo import DataAdapterLinear
from ..duo.gating import row_scalars
from ..errors import CheckpointError, OptionError
from .exported import FORMAT, MODEL_TYPES, PREFIX

CARD = """---
library_name: transformers
base_model: {base}
tags: [continual-learning, llama-factory]
---
# {name}

`{base}` after DATA (arXiv:2502.11482), self-contained: {what}. Tasks, in order: {tasks}.

```python
{registration}from transformers import AutoModelForCausalLM

model = AutoModelForCausalLM.from_pretrained("{name}")
```
"""


def export_data(
    model: PeftModel, tokenizer: Any, processor: Any, out_dir: Path, max_shard_size: str, adapter: Path | None = None
) -> None:
    """Write `model` to `out_dir`, whole or not at all.

    Args:
        model: the base with a DATA adapter on it; one without gates is merged in place.
        tokenizer: written along, padding on the left.
        processor: of multimodal models, or None.
        out_dir: absent, empty, or an earlier export.
        max_shard_size: as in transformers, such as `5GB`.
        adapter: the folder `model`'s adapter came from.

    Raises:
        OptionError: the architecture or the gate has no exported type, or `out_dir` holds something else.
        CheckpointError: the model carries no adapter of DATA.
    """
    config = model.peft_config["default"] if isinstance(model, PeftModel) else None
    if config is None or str(config.peft_type.value) != "DATA":
        raise CheckpointError("there is no DATA adapter on the model; set adapter_name_or_path to a data run.")
    base: Any = model.get_base_model()
    if config.gate not in ("token", "none"):
        raise OptionError(
            f"the adapter's gate is {config.gate}, which needs the other tokens of a sequence; only data_gate: token "
            "and none can be exported. It works without export: adapter_name_or_path and finetuning_type: data."
        )
    if config.gate == "token" and PREFIX + base.config.model_type not in MODEL_TYPES:
        known = ", ".join(name.removeprefix(PREFIX) for name in MODEL_TYPES)
        raise OptionError(
            f"export knows the architectures {known}, not {base.config.model_type}. The adapter works without export: "
            "load it with adapter_name_or_path and finetuning_type: data."
        )
    if method := quantization(base):
        raise OptionError(
            f"the base model is quantized ({method}), which an export would not be; load it unquantized."
        )
    _check_target(out_dir)
    words = _words(model, config, out_dir.name)
    with staged_folder(out_dir) as staged:
        if config.gate == "token":
            _write_weights(exported_state(model), staged, max_shard_size)
            write_json(staged / "config.json", _config(model, config))
            if base.generation_config is not None:
                base.generation_config.save_pretrained(staged)
        else:
            dtype = next(base.parameters()).dtype
            merged: Any = model.merge_and_unload()
            merged.config.use_cache = True
            merged.config.data = {"format": FORMAT, "merged": True}
            merged.to(dtype).save_pretrained(staged, max_shard_size=max_shard_size)
        tokenizer.padding_side = "left"  # exported models generate; upstream's export does the same
        tokenizer.save_pretrained(staged)
        if processor is not None:
            processor.save_pretrained(staged)
        (staged / "README.md").write_text(CARD.format(**words), encoding="utf-8")
        publish_folder(staged, out_dir)


def exported_state(model: PeftModel) -> dict[str, Tensor]:
    """Return all tensors of the export by name, in the base model's number type; tied weights once."""
    base: Any = model.get_base_model()
    dtype = next(base.parameters()).dtype
    state: dict[str, Tensor] = {}
    special: list[str] = []
    for name, module in base.named_modules():
        if isinstance(module, DataAdapterLinear):
            special.append(name)
            state |= {f"{name}.{key}": tensor for key, tensor in module.base_layer.state_dict().items()}
            state[f"{name}.data.A"], state[f"{name}.data.B"] = module.weights("default")
        elif name.endswith(".data_gate"):
            special.append(name)
    layers = [name for name, _ in base.named_modules() if name.endswith(".data_gate")]
    for number, rows in model.base_model.gates().items():
        state[f"{layers[number]}.A"] = rows.rows("A")
        state[f"{layers[number]}.c"] = row_scalars(rows.rows("K").double(), rows.rows("W").double())
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
    if not isinstance(config, dict) or "data" not in config:
        raise OptionError(f"export_dir={out_dir} holds something else than an earlier export; name an empty folder.")


def _write_weights(state: dict[str, Tensor], folder: Path, max_shard_size: str) -> None:
    split = split_torch_state_dict_into_shards(state, max_shard_size=max_shard_size)
    for file, names in split.filename_to_tensors.items():
        save_file({name: state[name] for name in names}, folder / file, metadata={"format": "pt"})
    if split.is_sharded:
        index = {"metadata": split.metadata, "weight_map": split.tensor_to_filename}
        write_json(folder / "model.safetensors.index.json", index)


def _config(model: PeftModel, adapter: Any) -> dict[str, Any]:
    base: Any = model.get_base_model()
    model_type = PREFIX + base.config.model_type
    config = base.config.to_dict() | {
        "model_type": model_type,
        "architectures": [MODEL_TYPES[model_type][1].__name__],
        "dtype": str(next(base.parameters()).dtype).removeprefix("torch."),
        "use_cache": True,
        "data": {
            "format": FORMAT,
            "low_rank": adapter.low_rank,
            "high_rank": adapter.high_rank,
            "layers_per_gate": adapter.layers_per_gate,
            "rows": len(adapter.tasks) * adapter.components,
            "tasks": list(adapter.tasks),
            "target_modules": list(model.base_model.linears()),
        },
    }
    config.pop("_name_or_path", None)
    return {key: value for key, value in config.items() if not isinstance(value, torch.dtype)}


def _words(model: PeftModel, config: Any, name: str) -> dict[str, str]:
    """Return what stands in the gaps of `CARD`."""
    linears = len(model.base_model.linears())
    ranks = f"ranks {config.low_rank} and {config.high_rank} in {linears} linears"
    model_type = PREFIX + model.get_base_model().config.model_type
    gated = config.gate == "token"
    return {
        "base": str(config.base_model_name_or_path),
        "name": name,
        "what": f"{ranks}, gates per token over {config.layers_per_gate} layers" if gated else f"{ranks}, merged",
        "tasks": ", ".join(config.tasks),
        "registration": f"import llamafactory_ext  # registers {model_type} with transformers\n" if gated else "",
    }
