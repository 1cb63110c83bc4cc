"""The exported types as vLLM models: vLLM's own architectures with MOLoRA in the linears that config.json names.

vLLM imports this module by name (see `register`), also in a process of its own, to look at the classes.
"""

from __future__ import annotations

from collections.abc import Iterable, Iterator
from typing import Any

from torch import Tensor, nn

from ...errors import CheckpointError
from ...serving.vllm_plugin.checks import require_version
from ..exported import adapter_settings
from .checks import check
from .geometry import Part, Slot, column_slot, row_slot

require_version()  # before anything of vLLM that an older version may lack

from vllm.model_executor.layers.linear import (  # noqa: E402
    MergedColumnParallelLinear,
    QKVParallelLinear,
    RowParallelLinear,
)
from vllm.model_executor.models.llama import LlamaForCausalLM  # noqa: E402
from vllm.model_executor.models.mistral import MistralForCausalLM  # noqa: E402
from vllm.model_executor.models.phi3 import Phi3ForCausalLM  # noqa: E402
from vllm.model_executor.models.utils import PPMissingLayer  # noqa: E402

from .layer import MoLoraLinearMethod, PackedMoLora, Size  # noqa: E402

MARK = ".molora."


class CitiMixin:
    """Puts `PackedMoLora` into the linears, and loads its tensors; a missing or unknown one is an error."""

    def __init__(self, *, vllm_config: Any, prefix: str = "") -> None:
        check(vllm_config)
        super().__init__(vllm_config=vllm_config, prefix=prefix)  # type: ignore[call-arg]  # vLLM's class beside it
        config = vllm_config.model_config.hf_config
        citi = adapter_settings(config)
        experts, rank = citi["num_experts"], citi["r"]
        size = Size(experts, experts + citi.get("neutral_gate", True), rank, citi["alpha"] / rank)
        self._adapters: dict[str, tuple[str, int]] = {}  # adapted linear -> the vLLM linear it is in, its slot there
        self._seen: set[str] = set()
        self._expected = [f"{name}.weight" for name in citi["tuned_modules"] if self._holder(name)]
        holders: dict[str, list[str]] = {}
        for name in citi["target_modules"]:
            if holder := self._holder(name):
                holders.setdefault(holder, []).append(name)
        for holder, names in holders.items():
            self._adapt(holder, names, size)

    def _holder(self, name: str) -> str | None:
        """The vLLM linear that holds linear `name` of the checkpoint; None if another pipeline stage has it."""
        parent_name, _, child = name.rpartition(".")
        fused: dict[str, list[str]] = self.packed_modules_mapping  # type: ignore[attr-defined]
        child = next((holder for holder, parts in fused.items() if child in parts), child)
        module: Any = self
        for step in [*filter(None, parent_name.split(".")), child]:
            module = getattr(module, step, None)
            if isinstance(module, PPMissingLayer):
                return None
        if not isinstance(module, (QKVParallelLinear, MergedColumnParallelLinear, RowParallelLinear)):
            raise CheckpointError(
                f"config.json adapts or tunes {name}, which is no linear of a layer in vLLM's {type(self).__name__}; "
                "run this model with transformers."
            )
        return f"{parent_name}.{child}"

    def _adapt(self, holder: str, names: list[str], size: Size) -> None:
        linear: Any = self.get_submodule(holder)  # type: ignore[attr-defined]
        slots = [self._slot(linear, holder, name, size.ranks) for name in names]
        row = isinstance(linear, RowParallelLinear)
        linear.molora = PackedMoLora(
            slots,
            size,
            linear.input_size_per_partition if row else linear.input_size,
            sum(linear.output_partition_sizes),
            spread_inputs=row and linear.tp_size > 1,
        )
        linear.quant_method = MoLoraLinearMethod()
        linear.requires_unquantized_input = True  # the adapter reads the same input as the linear
        for number, name in enumerate(names):
            self._adapters[name] = (holder, number)
            self._expected += [f"{name}{MARK}{kind}" for kind in ("A", "B", "router")]

    def _slot(self, linear: Any, holder: str, name: str, ranks: int) -> Slot:
        if isinstance(linear, RowParallelLinear):
            return row_slot(name, linear.tp_rank, linear.tp_size, linear.input_size, linear.output_size, ranks)
        fused = self.packed_modules_mapping[holder.rpartition(".")[2]]  # type: ignore[attr-defined]
        index = fused.index(name.rpartition(".")[2]) if len(fused) > 1 else None
        return column_slot(name, _parts(linear), index, linear.input_size, ranks)

    def load_weights(self, weights: Iterable[tuple[str, Tensor]]) -> set[str]:
        """Loads the backbone as vLLM does, and the adapters; all of them by the end of the first call."""
        into: set[str] = set()

        def backbone() -> Iterator[tuple[str, Tensor]]:
            for name, tensor in weights:
                self._seen.add(name)
                linear, found, kind = name.partition(MARK)
                if not found:
                    yield name, tensor
                elif linear in self._adapters:
                    holder, number = self._adapters[linear]
                    packed: Any = self.get_submodule(holder).molora  # type: ignore[attr-defined]
                    into.add(f"{holder}{MARK}{packed.load(number, kind, tensor)}")
                elif self._is_here(linear):
                    raise CheckpointError(
                        f"tensor {name} belongs to an adapter that config.json does not name in citi.target_modules; "
                        "config.json and weights are of different exports: export the checkpoint again."
                    )

        into |= super().load_weights(backbone())  # type: ignore[misc]
        missing = [name for name in self._expected if name not in self._seen]
        parameters: Iterable[tuple[str, nn.Parameter]] = self.named_parameters()  # type: ignore[attr-defined]
        missing += [name for name, _ in parameters if MARK not in name and name not in into]
        if missing:
            raise CheckpointError(
                f"the model directory lacks {len(missing)} tensors, {missing[0]} for example; the export is "
                "incomplete, write it again with `llamafactory-cli export`."
            )
        return into

    def _is_here(self, name: str) -> bool:
        return self._holder(name) is not None


def _parts(linear: Any) -> list[Part]:
    """What is fused into a column-parallel linear, and the share of each that is here."""
    if isinstance(linear, QKVParallelLinear):
        q = Part(linear.total_num_heads * linear.head_size, linear.num_heads * linear.head_size, linear.tp_rank)
        rank = linear.tp_rank // linear.num_kv_head_replicas
        k, v = (
            Part(linear.total_num_kv_heads * width, linear.num_kv_heads * width, rank)
            for width in (linear.head_size, linear.v_head_size)
        )
        return [q, k, v]
    return [Part(width, width // linear.tp_size, linear.tp_rank) for width in linear.output_sizes]


class CitiLlamaForCausalLM(CitiMixin, LlamaForCausalLM):
    """citi_llama."""


class CitiMistralForCausalLM(CitiMixin, MistralForCausalLM):
    """citi_mistral."""


class CitiPhi3ForCausalLM(CitiMixin, Phi3ForCausalLM):
    """citi_phi3."""
