"""A DATA checkpoint as a self-contained model directory (format: data_method/exported.py).

Gates per token are exported beside the weights, as they depend on the input. An adapter without gates is merged and
gives a model of the base's own type. Gates over several tokens need state beside the cache, and are refused.
"""

from __future__ import annotations

from collections.abc import Mapping
from pathlib import Path
from typing import Any

from peft import PeftModel
from torch import Tensor

from ..duo import DataAdapterLinear
from ..duo.gating import row_scalars
from ..errors import CheckpointError, OptionError
from ..families import standing
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
from .exported import BLOCK, MODEL_TYPES, PREFIX

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


def gate_problem(gate: str) -> str | None:
    """Say why an adapter with this gate has no export; None where it has one."""
    if gate in ("token", "none"):
        return None
    return (
        f"the adapter's gate is {gate}, which needs the other tokens of a sequence; only data_gate: token and none "
        "can be exported"
    )


def export_remark(config: Mapping[str, Any], gate: str) -> str | None:
    """Say at the start of a training that its adapter will have no export; None where it will.

    Args:
        config: the base's configuration, as config.json has it.
        gate: the value of data_gate.
    """
    problem = gate_problem(gate) or (standing(config).export if gate == "token" else None)
    return problem and f"`export` will refuse what this run trains: {problem}."


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
    if problem := gate_problem(config.gate):
        raise OptionError(f"{problem}. It works without export: adapter_name_or_path and finetuning_type: data.")
    if config.gate == "token":
        check_exportable(base, "data")
    check_plain(base)
    check_target(out_dir, BLOCK)
    card = CARD.format(**_words(model, config, out_dir.name))
    with published(out_dir, tokenizer, processor, card) as staged:
        if config.gate == "token":
            write_model(staged, base, exported_state(model), _changes(model, config), max_shard_size)
        else:
            write_merged(staged, model, BLOCK, max_shard_size)


def exported_state(model: PeftModel) -> dict[str, Tensor]:
    """Return all tensors of the export by name, in the base model's number type; tied weights once."""
    base: Any = model.get_base_model()
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
    return whole_state(base, state, special)


def _changes(model: PeftModel, adapter: Any) -> dict[str, Any]:
    """Return what config.json has in place of the base's, or beside it."""
    model_type = PREFIX + model.get_base_model().config.model_type
    return {
        "model_type": model_type,
        "architectures": [MODEL_TYPES[model_type][1].__name__],
        BLOCK: {
            "format": FORMAT,
            "low_rank": adapter.low_rank,
            "high_rank": adapter.high_rank,
            "layers_per_gate": adapter.layers_per_gate,
            "rows": len(adapter.tasks) * adapter.components,
            "tasks": list(adapter.tasks),
            "target_modules": list(model.base_model.linears()),
        },
    }


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
