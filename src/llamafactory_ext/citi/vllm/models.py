"""The exported types as vLLM models: vLLM's own architectures with MOLoRA in the linears that config.json names.

vLLM imports this module by name (see `register`), also in a process of its own, to look at the classes, which are made
when they are asked for.
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
from .layer import MoLoraLinearMethod, PackedMoLora, Size  # noqa: E402

MARK = ".molora."


class CitiMixin(ExportedMixin):
    """Puts `PackedMoLora` into the linears, and loads its tensors."""

    marks: ClassVar[tuple[str, ...]] = (MARK,)
    check = staticmethod(check)

    def put(self, config: Any) -> None:
        """Put the adapters in, and name the tensors that must come.

        Args:
            config: transformers' configuration.
        """
        citi = settings_of(config, BLOCK)
        experts, rank = citi["num_experts"], citi["r"]
        size = Size(experts, experts + citi.get("neutral_gate", True), rank, citi["alpha"] / rank)
        self._adapters: dict[str, tuple[str, int]] = {}  # adapted linear -> the vLLM linear it is in, its slot there
        self._expected += [f"{name}.weight" for name in citi["tuned_modules"] if holder_of(self, name)]
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

    def take(self, name: str, tensor: Tensor) -> str | None:
        """Take a tensor of an adapter."""
        linear, _, kind = name.partition(MARK)
        if linear in self._adapters:
            holder, number = self._adapters[linear]
            packed: Any = self.get_submodule(holder).molora  # type: ignore[attr-defined]
            return f"{holder}{MARK}{packed.load(number, kind, tensor)}"
        if holder_of(self, linear) is not None:
            raise foreign(name, "citi.target_modules")
        return None


__getattr__ = classes("Citi", CitiMixin, __name__)
