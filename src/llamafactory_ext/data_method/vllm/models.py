"""The exported types as vLLM models: vLLM's own architectures with DATA's pairs and gates inside.

vLLM imports this module by name, also in a process of its own, to look at the classes.
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
from vllm.model_executor.models.qwen2 import Qwen2ForCausalLM  # noqa: E402
from vllm.model_executor.models.qwen3 import Qwen3ForCausalLM  # noqa: E402

from ...serving.vllm_plugin.linears import holder_of, slot_of, widths_of  # noqa: E402
from .layer import GroupGate, Open, PackedPairs, PairsLinearMethod  # noqa: E402

PAIR, GATE = ".data.", ".data_gate."


class DataMixin:
    """Puts gates and pairs into the layers, and loads their tensors; a missing or unknown one is an error."""

    def __init__(self, *, vllm_config: Any, prefix: str = "") -> None:
        check(vllm_config)
        super().__init__(vllm_config=vllm_config, prefix=prefix)  # type: ignore[call-arg]  # vLLM's class beside it
        config = vllm_config.model_config.hf_config
        data = adapter_settings(config)
        self._pairs: dict[str, tuple[str, int]] = {}  # adapted linear -> the vLLM linear it is in, its slot there
        self._seen: set[str] = set()
        self._expected: list[str] = []
        groups: list[Open] = []
        for number, layer in enumerate(self.model.layers):  # type: ignore[attr-defined]
            if number % data["layers_per_gate"] == 0:
                groups.append(Open())
                layer.data_gate = GroupGate(data["rows"], config.hidden_size, groups[-1])
                layer.register_forward_pre_hook(layer.data_gate.enter)
                self._expected += [f"model.layers.{number}{GATE}{kind}" for kind in ("A", "c")]
        holders: dict[str, list[str]] = {}
        for name in data["target_modules"]:
            if holder := holder_of(self, name):
                holders.setdefault(holder, []).append(name)
        for holder, names in holders.items():
            opened = groups[int(holder.split(".")[2]) // data["layers_per_gate"]]
            self._adapt(holder, names, (data["low_rank"], data["high_rank"]), opened)

    def _adapt(self, holder: str, names: list[str], ranks: tuple[int, int], opened: Open) -> None:
        linear: Any = self.get_submodule(holder)  # type: ignore[attr-defined]
        slots = [slot_of(self, linear, holder, name, sum(ranks)) for name in names]
        d_in, d_out, spread = widths_of(linear)
        linear.data = PackedPairs(slots, ranks, d_in, d_out, spread_inputs=spread, opened=opened)
        linear.quant_method = PairsLinearMethod()
        linear.requires_unquantized_input = True  # the pairs read the same input as the linear
        for number, name in enumerate(names):
            self._pairs[name] = (holder, number)
            self._expected += [f"{name}{PAIR}{kind}" for kind in ("A", "B")]

    def load_weights(self, weights: Iterable[tuple[str, Tensor]]) -> set[str]:
        """Load the backbone as vLLM does, and what DATA adds; all of it by the end of the first call."""
        into: set[str] = set()

        def backbone() -> Iterator[tuple[str, Tensor]]:
            for name, tensor in weights:
                self._seen.add(name)
                if GATE in name:
                    layer, _, kind = name.partition(GATE)
                    self._gate(layer, name).load(kind, tensor)
                    into.add(name)
                elif PAIR in name:
                    linear, _, kind = name.partition(PAIR)
                    if linear not in self._pairs:
                        raise _foreign(name)
                    holder, number = self._pairs[linear]
                    packed: Any = self.get_submodule(holder).data  # type: ignore[attr-defined]
                    into.add(f"{holder}{PAIR}{packed.load(number, kind, tensor)}")
                else:
                    yield name, tensor

        into |= super().load_weights(backbone())  # type: ignore[misc]
        missing = [name for name in self._expected if name not in self._seen]
        parameters: Iterable[tuple[str, nn.Parameter]] = self.named_parameters()  # type: ignore[attr-defined]
        missing += [name for name, _ in parameters if PAIR not in name and GATE not in name and name not in into]
        if missing:
            raise CheckpointError(
                f"the model directory lacks {len(missing)} tensors, {missing[0]} for example; the export is "
                "incomplete, write it again with `llamafactory-cli export`."
            )
        return into

    def _gate(self, layer: str, name: str) -> GroupGate:
        found = getattr(self.get_submodule(layer), "data_gate", None)  # type: ignore[attr-defined]
        if not isinstance(found, GroupGate):
            raise _foreign(name)
        return found


def _foreign(name: str) -> CheckpointError:
    return CheckpointError(
        f"tensor {name} belongs to a part that config.json does not name in its block `data`; config.json and weights "
        "are of different exports: export the checkpoint again."
    )


class DataLlamaForCausalLM(DataMixin, LlamaForCausalLM):
    """data_llama."""


class DataMistralForCausalLM(DataMixin, MistralForCausalLM):
    """data_mistral."""


class DataPhi3ForCausalLM(DataMixin, Phi3ForCausalLM):
    """data_phi3."""


class DataQwen2ForCausalLM(DataMixin, Qwen2ForCausalLM):
    """data_qwen2."""


class DataQwen3ForCausalLM(DataMixin, Qwen3ForCausalLM):
    """data_qwen3."""
