"""The exported types as vLLM models: vLLM's own architectures with DATA's pairs and gates inside.

vLLM imports this module by name, also in a process of its own, to look at the classes, which are made when they are
asked for.
"""

from __future__ import annotations

from typing import Any, ClassVar

from torch import Tensor

from ...serving.exported import settings_of
from ...serving.vllm_plugin.checks import require_version
from ..exported import BLOCK
from .checks import check

require_version()  # before anything of vLLM that an older version may lack

from ...serving.vllm_plugin.linears import holder_of, slot_of, widths_of  # noqa: E402
from ...serving.vllm_plugin.models import ExportedMixin, classes, foreign  # noqa: E402
from .layer import GroupGate, Open, PackedPairs, PairsLinearMethod  # noqa: E402

PAIR, GATE = ".data.", ".data_gate."


class DataMixin(ExportedMixin):
    """Puts gates and pairs into the layers, and loads their tensors."""

    marks: ClassVar[tuple[str, ...]] = (PAIR, GATE)
    check = staticmethod(check)

    def put(self, config: Any) -> None:
        """Put pairs and gates in, and name the tensors that must come.

        Args:
            config: transformers' configuration.
        """
        data = settings_of(config, BLOCK)
        self._pairs: dict[str, tuple[str, int]] = {}  # adapted linear -> the vLLM linear it is in, its slot there
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

    def take(self, name: str, tensor: Tensor) -> str | None:
        """Take a tensor of a gate or of a pair."""
        if GATE in name:
            layer, _, kind = name.partition(GATE)
            gate = getattr(self.get_submodule(layer), "data_gate", None)  # type: ignore[attr-defined]
            if not isinstance(gate, GroupGate):
                raise foreign(name, "its block `data`")
            gate.load(kind, tensor)
            return name
        linear, _, kind = name.partition(PAIR)
        if linear not in self._pairs:
            raise foreign(name, "its block `data`")
        holder, number = self._pairs[linear]
        packed: Any = self.get_submodule(holder).data  # type: ignore[attr-defined]
        return f"{holder}{PAIR}{packed.load(number, kind, tensor)}"


__getattr__ = classes("Data", DataMixin, __name__)
