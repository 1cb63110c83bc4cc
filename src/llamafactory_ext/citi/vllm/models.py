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

require_version()  # before anything of vLLM that an older version may lack

from vllm.model_executor.models.llama import LlamaForCausalLM  # noqa: E402
from vllm.model_executor.models.mistral import MistralForCausalLM  # noqa: E402
from vllm.model_executor.models.phi3 import Phi3ForCausalLM  # noqa: E402

from ...serving.vllm_plugin.linears import holder_of, slot_of, widths_of  # noqa: E402
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
        self._expected = [f"{name}.weight" for name in citi["tuned_modules"] if holder_of(self, name)]
        holders: dict[str, list[str]] = {}
        for name in citi["target_modules"]:
            if holder := holder_of(self, name):
                holders.setdefault(holder, []).append(name)
        for holder, names in holders.items():
            self._adapt(holder, names, size)

    def _adapt(self, holder: str, names: list[str], size: Size) -> None:
        linear: Any = self.get_submodule(holder)  # type: ignore[attr-defined]
        slots = [slot_of(self, linear, holder, name, size.ranks) for name in names]
        d_in, d_out, spread = widths_of(linear)
        linear.molora = PackedMoLora(slots, size, d_in, d_out, spread_inputs=spread)
        linear.quant_method = MoLoraLinearMethod()
        linear.requires_unquantized_input = True  # the adapter reads the same input as the linear
        for number, name in enumerate(names):
            self._adapters[name] = (holder, number)
            self._expected += [f"{name}{MARK}{kind}" for kind in ("A", "B", "router")]

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
        return holder_of(self, name) is not None


class CitiLlamaForCausalLM(CitiMixin, LlamaForCausalLM):
    """citi_llama."""


class CitiMistralForCausalLM(CitiMixin, MistralForCausalLM):
    """citi_mistral."""


class CitiPhi3ForCausalLM(CitiMixin, Phi3ForCausalLM):
    """citi_phi3."""
