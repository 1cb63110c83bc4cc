"""The exported model types for transformers: the base architecture with MOLoRA in chosen linears.

What it does: defines citi_llama, citi_mistral and citi_phi3, which load the tensors `<module>.molora.A` (N, R, D),
`.molora.B` (N, O, R) and `.molora.router` (E, D) beside the backbone's own names; E is N + 1, or N where the config
says `neutral_gate: false`. What it does not do: train. A loader that does not know these types refuses the directory,
as it should: without the adapters it is another model.
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
)

from ..errors import CheckpointError
from ..molora.kernel import Adapter, apply_molora

FORMAT = 1
PREFIX = "citi_"


class ExportedMoLora(nn.Module):
    """The adapter's tensors in the export's layout."""

    def __init__(self, d_in: int, d_out: int, num_experts: int, r: int, gates: int, **factory: Any) -> None:
        super().__init__()
        self.A = nn.Parameter(torch.zeros(num_experts, r, d_in, **factory))
        self.B = nn.Parameter(torch.zeros(num_experts, d_out, r, **factory))
        self.router = nn.Parameter(torch.zeros(gates, d_in, **factory))


class GatedLinear(nn.Linear):
    """A linear of an exported model with its adapter inside."""

    def __init__(self, linear: nn.Linear, num_experts: int, r: int, alpha: float, gates: int) -> None:
        factory = {"device": linear.weight.device, "dtype": linear.weight.dtype}
        super().__init__(linear.in_features, linear.out_features, linear.bias is not None, **factory)
        self.scaling = alpha / r
        self.molora = ExportedMoLora(linear.in_features, linear.out_features, num_experts, r, gates, **factory)

    def forward(self, x: Tensor) -> Tensor:
        """Maps x (..., D) to (..., O)."""
        A_ND, B_ON = self.molora.A.flatten(0, 1), self.molora.B.permute(1, 0, 2).flatten(1)
        adapter = Adapter(self.molora.router, A_ND, B_ON, self.molora.A.shape[1], self.scaling)
        return apply_molora(super().forward(x), x, adapter)


def adapter_settings(config: Any) -> dict[str, Any]:
    """The block `citi` of an exported model's configuration; CheckpointError if it is none that this version reads."""
    citi: dict[str, Any] | None = getattr(config, "citi", None)
    if not citi or citi.get("format") != FORMAT:
        found = citi.get("format") if citi else "no citi block at all"
        raise CheckpointError(
            f"config.json of this {config.model_type} model says {found}; format {FORMAT} of the block `citi` is "
            "needed: export the checkpoint again with this version of llamafactory_ext."
        )
    return citi


class CitiMixin:
    """Puts `GatedLinear` in place of the linears that the config names; loading without their tensors is an error."""

    def __init__(self, config: Any, *args: Any, **kwargs: Any) -> None:
        super().__init__(config, *args, **kwargs)  # type: ignore[call-arg]  # of the base model beside the mixin
        citi = adapter_settings(config)
        experts, r, alpha = citi["num_experts"], citi["r"], citi["alpha"]
        gates = experts + citi.get("neutral_gate", True)
        for name in citi["target_modules"]:
            parent_name, _, child = name.rpartition(".")
            parent = self.get_submodule(parent_name)  # type: ignore[attr-defined]
            setattr(parent, child, GatedLinear(getattr(parent, child), experts, r, alpha, gates))

    @classmethod
    def from_pretrained(cls, path: Any, *args: Any, output_loading_info: bool = False, **kwargs: Any) -> Any:
        """As in transformers, but missing adapter tensors are an error, not a warning."""
        model, info = super().from_pretrained(path, *args, output_loading_info=True, **kwargs)  # type: ignore[misc]
        if missing := sorted(key for key in info["missing_keys"] if ".molora." in key):
            raise CheckpointError(
                f"{path} lacks {len(missing)} adapter tensors, {missing[0]} for example; the export is incomplete, "
                "write it again with `llamafactory-cli export`."
            )
        return (model, info) if output_loading_info else model


def _define(base_config: type[PreTrainedConfig], base_model: type[PreTrainedModel]) -> tuple[Any, Any]:
    """Config and model class of one exported type."""
    name = base_model.__name__
    model_type = PREFIX + base_config.model_type
    config = type(f"Citi{base_config.__name__}", (base_config,), {"model_type": model_type, "__module__": __name__})
    body = {"config_class": config, "__module__": __name__, "__doc__": f"{name} with MOLoRA (CITI, arXiv:2409.13202)."}
    return config, type(f"Citi{name}", (CitiMixin, base_model), body)


CitiLlamaConfig, CitiLlamaForCausalLM = _define(LlamaConfig, LlamaForCausalLM)
CitiMistralConfig, CitiMistralForCausalLM = _define(MistralConfig, MistralForCausalLM)
CitiPhi3Config, CitiPhi3ForCausalLM = _define(Phi3Config, Phi3ForCausalLM)

MODEL_TYPES: dict[str, tuple[Any, Any]] = {
    config.model_type: (config, model)
    for config, model in (
        (CitiLlamaConfig, CitiLlamaForCausalLM),
        (CitiMistralConfig, CitiMistralForCausalLM),
        (CitiPhi3Config, CitiPhi3ForCausalLM),
    )
}
