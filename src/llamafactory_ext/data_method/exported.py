"""The exported model types for transformers: the base architecture with DATA's pairs and gates inside.

What it does: defines data_llama, data_mistral, data_phi3, data_qwen2 and data_qwen3, which load the tensors
`<linear>.data.A` (r1 + r2, D), `<linear>.data.B` (O, r1 + r2), `<first layer of a group>.data_gate.A` (2, k, D) and
`.data_gate.c` (2, k) beside the backbone's own names. Serving needs no K and no W: they act through c alone. What it
does not do: train. A loader that does not know these types refuses the directory, as it should.
"""

from __future__ import annotations

from typing import Any

import torch
from torch import Tensor, nn
from transformers import (
    LlamaConfig,
    LlamaForCausalLM,
    MistralConfig,
    MistralForCausalLM,
    Phi3Config,
    Phi3ForCausalLM,
    PreTrainedConfig,
    PreTrainedModel,
    Qwen2Config,
    Qwen2ForCausalLM,
    Qwen3Config,
    Qwen3ForCausalLM,
)

from ..duo.gate import Opened
from ..duo.gating import gate_logits
from ..duo.kernel import Pair, apply_pair
from ..errors import CheckpointError

FORMAT = 1
PREFIX = "data_"
NAME = "exported"  # of the one adapter in `Opened`


class ExportedPair(nn.Module):
    """The tensors of one linear's low and high pair."""

    def __init__(self, d_in: int, d_out: int, rank: int, **factory: Any) -> None:
        super().__init__()
        self.A = nn.Parameter(torch.zeros(rank, d_in, **factory))
        self.B = nn.Parameter(torch.zeros(d_out, rank, **factory))


class GatedPairLinear(nn.Linear):
    """A linear of an exported model with its pairs inside."""

    def __init__(self, linear: nn.Linear, opened: Opened, low_rank: int, high_rank: int) -> None:
        factory = {"device": linear.weight.device, "dtype": linear.weight.dtype}
        super().__init__(linear.in_features, linear.out_features, linear.bias is not None, **factory)
        self.opened, self.low_rank = opened, low_rank
        self.data = ExportedPair(linear.in_features, linear.out_features, low_rank + high_rank, **factory)

    def forward(self, x: Tensor) -> Tensor:
        """Map x (..., D) to (..., O)."""
        gate_2T = self.opened.gates[NAME].flatten(1).to(x.device)
        return apply_pair(super().forward(x), x, Pair(self.data.A, self.data.B, gate_2T, self.low_rank))


class ExportedGate(nn.Module):
    """The gates of a group of layers: A and one scalar per row."""

    def __init__(self, rows: int, width: int, opened: Opened, **factory: Any) -> None:
        super().__init__()
        self.A = nn.Parameter(torch.zeros(2, rows, width, **factory))
        self.c = nn.Parameter(torch.zeros(2, rows, **factory))
        self.opened = opened

    def enter(self, layer: nn.Module, args: tuple[Any, ...], kwargs: dict[str, Any]) -> None:
        """Open the gates: the forward pre-hook of the group's first layer."""
        h = args[0] if args else kwargs["hidden_states"]
        self.opened.gates[NAME] = self(h)

    def forward(self, h: Tensor) -> Tensor:
        """Return the low and the high gate of every token: (2, B, L)."""
        c_2k = self.c.to(torch.promote_types(self.c.dtype, torch.float32))
        return gate_logits(h, self.A[:, :0], self.A, c_2k).sigmoid()


def adapter_settings(config: Any) -> dict[str, Any]:
    """Return the block `data` of an exported model's configuration.

    Raises:
        CheckpointError: it is none that this version reads.
    """
    data: dict[str, Any] | None = getattr(config, "data", None)
    if not isinstance(data, dict) or data.get("format") != FORMAT:
        found = data.get("format") if isinstance(data, dict) else "no data block at all"
        raise CheckpointError(
            f"config.json of this {config.model_type} model says {found}; format {FORMAT} of the block `data` is "
            "needed: export the checkpoint again with this version of llamafactory_ext."
        )
    return data


class DataMixin:
    """Puts pairs and gates where the config names them; loading without their tensors is an error."""

    def __init__(self, config: Any, *args: Any, **kwargs: Any) -> None:
        super().__init__(config, *args, **kwargs)  # type: ignore[call-arg]  # of the base model beside the mixin
        data = adapter_settings(config)
        layers: Any = self.get_submodule("model.layers")  # type: ignore[attr-defined]
        weight = next(layers.parameters())
        factory = {"device": weight.device, "dtype": weight.dtype}
        groups: list[Opened] = []
        for number, layer in enumerate(layers):
            if number % data["layers_per_gate"] == 0:
                groups.append(Opened())
                layer.data_gate = ExportedGate(data["rows"], config.hidden_size, groups[-1], **factory)
                layer.register_forward_pre_hook(layer.data_gate.enter, with_kwargs=True)
        for name in data["target_modules"]:
            number = int(name.split(".")[2])
            parent_name, _, child = name.rpartition(".")
            parent = self.get_submodule(parent_name)  # type: ignore[attr-defined]
            opened = groups[number // data["layers_per_gate"]]
            linear = GatedPairLinear(getattr(parent, child), opened, data["low_rank"], data["high_rank"])
            setattr(parent, child, linear)

    @classmethod
    def from_pretrained(cls, path: Any, *args: Any, output_loading_info: bool = False, **kwargs: Any) -> Any:
        """Load as in transformers, but missing adapter tensors are an error, not a warning."""
        model, info = super().from_pretrained(path, *args, output_loading_info=True, **kwargs)  # type: ignore[misc]
        if missing := sorted(key for key in info["missing_keys"] if ".data." in key or ".data_gate." in key):
            raise CheckpointError(
                f"{path} lacks {len(missing)} adapter tensors, {missing[0]} for example; the export is incomplete, "
                "write it again with `llamafactory-cli export`."
            )
        return (model, info) if output_loading_info else model


def _define(base_config: type[PreTrainedConfig], base_model: type[PreTrainedModel]) -> tuple[Any, Any]:
    """Return config and model class of one exported type."""
    name = base_model.__name__
    model_type = PREFIX + base_config.model_type
    config = type(f"Data{base_config.__name__}", (base_config,), {"model_type": model_type, "__module__": __name__})
    body = {"config_class": config, "__module__": __name__, "__doc__": f"{name} with DATA (arXiv:2502.11482)."}
    return config, type(f"Data{name}", (DataMixin, base_model), body)


DataLlamaConfig, DataLlamaForCausalLM = _define(LlamaConfig, LlamaForCausalLM)
DataMistralConfig, DataMistralForCausalLM = _define(MistralConfig, MistralForCausalLM)
DataPhi3Config, DataPhi3ForCausalLM = _define(Phi3Config, Phi3ForCausalLM)
DataQwen2Config, DataQwen2ForCausalLM = _define(Qwen2Config, Qwen2ForCausalLM)
DataQwen3Config, DataQwen3ForCausalLM = _define(Qwen3Config, Qwen3ForCausalLM)

MODEL_TYPES: dict[str, tuple[Any, Any]] = {
    config.model_type: (config, model)
    for config, model in (
        (DataLlamaConfig, DataLlamaForCausalLM),
        (DataMistralConfig, DataMistralForCausalLM),
        (DataPhi3Config, DataPhi3ForCausalLM),
        (DataQwen2Config, DataQwen2ForCausalLM),
        (DataQwen3Config, DataQwen3ForCausalLM),
    )
}
