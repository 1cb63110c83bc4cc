"""The gates of decoder layers as modules: rows per group, opened once per group and handed on with the hidden states.

Every decoder layer has a `LayerGate`. A forward pre-hook opens the gates of the groups that begin there; a forward
hook ties the open gates to the layer's output. So a layer that is computed again for its gradient finds the gates of
its own forward pass, however many passes lie between: non-reentrant checkpointing hands it the same tensors.
"""

from __future__ import annotations

from typing import Any, cast

import torch
from peft.tuners.tuners_utils import BaseTunerLayer
from torch import Tensor, nn

from ..errors import OptionError
from .causal import running_sums
from .gating import fresh_rows, gate_logits, orthogonality, row_scalars

_CARRIED = "_data_adapter_gates"
_SIDES = 2 * 3  # low and high gate, K, A and W: each has rows of its own
REENTRANT = (
    "Reentrant gradient checkpointing cuts the gates off from their gradient. Call "
    "`gradient_checkpointing_enable({'use_reentrant': False})`, or set use_reentrant_gc: false."
)


class DataAdapterLayer(BaseTunerLayer):
    """What PEFT switches, saves and deletes: the linears with a pair and the gates of the decoder layers."""


class Opened:
    """What the last forward pass of one decoder layer left here; neither copied nor saved with the model.

    Attributes:
        gates: gates of each adapter (2, B, L).
        ortho: distance of each adapter's rows from being orthonormal, of groups that begin here.
    """

    def __init__(self) -> None:
        self.gates: dict[str, Tensor] = {}
        self.ortho: dict[str, Tensor] = {}

    def __getstate__(self) -> dict[str, Any]:
        return {}

    def __setstate__(self, state: dict[str, Any]) -> None:
        self.__init__()  # type: ignore[misc]


class GateRows(nn.Module):
    """The rows of one group's low and high gate, and how a gate follows from them.

    Buffers `old_K`, `old_A`, `old_W` (2, k - m, D) hold the rows of earlier tasks, parameters `new_K`, `new_A`,
    `new_W` (2, m, D) those of the task that trains. Decay and optimizer state thus never reach earlier rows.
    """

    def __init__(self, kind: str, width: int, components: int, tasks: int, seed: int) -> None:
        super().__init__()
        self.kind, self.seed = kind, seed
        self.limit: int | None = None
        for name in "KAW":
            self.register_buffer(f"old_{name}", torch.zeros(2, (tasks - 1) * components, width))
            self.register_parameter(f"new_{name}", nn.Parameter(torch.zeros(2, components, width)))
        self._fill(tasks * components, whole=True)

    def rows(self, name: str) -> Tensor:
        """Return all rows of K, A or W: (2, k, D)."""
        return torch.cat([getattr(self, f"old_{name}"), getattr(self, f"new_{name}")], dim=1)

    def grow(self, components: int) -> None:
        """Make this task's rows earlier rows, and add rows orthogonal to all of them for the next task."""
        for name in "KAW":
            new = getattr(self, f"new_{name}")
            setattr(self, f"old_{name}", self.rows(name).detach())
            fresh = torch.zeros(2, components, new.shape[-1], dtype=new.dtype, device=new.device)
            setattr(self, f"new_{name}", nn.Parameter(fresh, requires_grad=new.requires_grad))
        self._fill(components)

    @torch.no_grad()
    def _fill(self, count: int, whole: bool = False) -> None:
        for side, name in enumerate("KAW"):
            new, old = getattr(self, f"new_{name}"), getattr(self, f"old_{name}")
            if new.is_meta or old.is_meta:  # PEFT fills them from the checkpoint
                continue
            for gate in (0, 1):
                earlier = old[gate, :0] if whole else old[gate]
                rows = fresh_rows(earlier, count, self.seed * 1_000_003 + len(earlier) * _SIDES + side * 2 + gate)
                if whole:
                    old[gate].copy_(rows[: old.shape[1]])
                new[gate].copy_(rows[-new.shape[1] :])

    def forward(self, h: Tensor, reach: dict[str, Any], key: tuple[str, int]) -> tuple[Tensor, Tensor]:
        """Return the gates of h (B, L, D), and how far the rows are from orthonormal: (2, B, L), ().

        Args:
            h: hidden states that enter the group's first layer.
            reach: what the layer was called with, which tells the tokens that a token may attend to.
            key: the adapter and the number of the layer.
        """
        K, A, W = (self.rows(name) for name in "KAW")
        c_2k = row_scalars(K, W)
        old_A, new_A = cast(Tensor, self.old_A), cast(Tensor, self.new_A)
        if self.limit is not None:
            c_2k = c_2k[:, : self.limit]
            old_A, new_A = old_A[:, : self.limit], new_A[:, : max(self.limit - old_A.shape[1], 0)]
        logits = gate_logits(h, old_A, new_A, c_2k)
        if self.kind == "prefix":
            logits = running_sums(logits, reach, key)
        elif self.kind == "reference":
            logits = logits.sum(-1, keepdim=True).expand_as(logits)
        ortho = orthogonality(K, A, W) if self.training else logits.new_zeros(())
        return logits.sigmoid(), ortho


class LayerGate(nn.Module, DataAdapterLayer):
    """The gates that begin at one decoder layer, and the open gates of all that reach it."""

    adapter_layer_names = ("data_adapter_gate",)
    other_param_names = ()

    def __init__(self, number: int, previous: LayerGate | None) -> None:
        super().__init__()
        self.data_adapter_gate = nn.ModuleDict()
        self.number, self.opened = number, Opened()
        self._before = previous.opened if previous is not None else Opened()
        self._disable_adapters = False
        self.merged_adapters: list[str] = []

    def enter(self, layer: nn.Module, args: tuple[Any, ...], kwargs: dict[str, Any]) -> None:
        """Open the gates of the groups that begin here: the decoder layer's forward pre-hook."""
        h = args[0] if args else kwargs.get("hidden_states")
        if not isinstance(h, Tensor):
            raise OptionError(
                f"{type(layer).__name__} takes no hidden states; DATA gates need decoder layers that do."
            )
        gates = dict(getattr(h, _CARRIED, self._before.gates))
        active = [] if self.disable_adapters else cast(list[str], self.active_adapters)
        here = [name for name in active if name in self.data_adapter_gate]
        if torch.is_grad_enabled() and any(_cut(gate) for name, gate in gates.items() if name not in here):
            raise OptionError(REENTRANT)
        for name in here:
            gate, self.opened.ortho[name] = self.data_adapter_gate[name](h, kwargs, (name, self.number))
            if not torch.is_grad_enabled() and any(p.requires_grad for p in self.data_adapter_gate[name].parameters()):
                _mark_cut(gate)
            gates[name] = gate
        self.opened.gates = gates

    def leave(self, layer: nn.Module, args: tuple[Any, ...], output: Any) -> None:
        """Tie the open gates to the decoder layer's output: its forward hook."""
        h = output[0] if isinstance(output, tuple) else output
        if isinstance(h, Tensor) and not torch.compiler.is_compiling():
            setattr(h, _CARRIED, self.opened.gates)

    def _move_adapter_to_device_of_base_layer(self, adapter_name: str, device: torch.device | None = None) -> None:
        """Do nothing: PEFT asks for it where tensors of a checkpoint have taken the places of empty ones."""

    def merge(self, safe_merge: bool = False, adapter_names: list[str] | None = None) -> None:
        """Do nothing: only linears merge."""

    def unmerge(self) -> None:
        """Do nothing: only linears merge."""

    def __repr__(self) -> str:
        return "duo." + super().__repr__()


def _mark_cut(gate: Tensor) -> None:
    gate._data_adapter_cut = True  # type: ignore[attr-defined]


def _cut(gate: Tensor) -> bool:
    """Tell whether a gate was opened without a graph although its rows train, as reentrant checkpointing does."""
    return bool(getattr(gate, "_data_adapter_cut", False))
