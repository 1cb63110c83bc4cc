"""The three phases of CITI as data, and what each of them trains (arXiv:2409.13202, section 3.3)."""

from __future__ import annotations

from collections.abc import Mapping, Sequence
from typing import Any

from torch import nn

from ..methods import counted
from ..training.parameters import Group, parameter_group, size
from ..training.phased import Phase

__all__ = ["IMPROVED", "Phase", "describe", "phase_table", "set_trainable", "undecided_routers"]

_SURE = 0.5

# What phase MI trains in the components chosen for tool use, by what they carry (`citi_adapter`).
IMPROVED: dict[str, frozenset[Group]] = {
    "molora": frozenset({"router", "experts"}),
    "lora": frozenset({"lora"}),
    "full": frozenset({"backbone"}),
}


def phase_table(args: Any) -> tuple[Phase, ...]:
    """Return the phases that `citi_phases` names, in their order, with epochs and learning rates from the options.

    `citi_bottom_ratio: 0` leaves nothing to tune in UCO, which is then left out.
    """
    carried = args.citi_adapter
    improvement = "MOLoRA Improvement" if carried == "molora" else "Improvement of the chosen components"
    table = (
        Phase("rp", "Router Pre-training", frozenset({"router"}), args.citi_rp_epochs, args.citi_rp_lr),
        Phase("mi", improvement, IMPROVED[carried], args.citi_mi_epochs, args.citi_mi_lr),
        Phase(
            "uco",
            "Unimportant Components Optimization",
            frozenset({"backbone"}),
            args.citi_uco_epochs,
            args.citi_uco_lr,
        ),
    )
    wanted = [name for name in args.citi_phases if name != "uco" or args.citi_bottom_ratio > 0]
    return tuple(phase for phase in table if phase.name in wanted)


def set_trainable(model: nn.Module, phase: Phase) -> dict[Group, tuple[int, int]]:
    """Let exactly the phase's groups move.

    Returns:
        For each group that moves: number of tensors and of parameters.
    """
    moving: dict[Group, tuple[int, int]] = {}
    for name, parameter in model.named_parameters():
        group = parameter_group(name)
        parameter.requires_grad_(group in phase.trains)
        if group in phase.trains:
            tensors, numbers = moving.get(group, (0, 0))
            moving[group] = (tensors + 1, numbers + size(parameter))
    return moving


def describe(phase: Phase, moving: dict[Group, tuple[int, int]], total: int) -> str:
    """Return one line for the log at the hand-over to `phase`."""
    parts = [f"{group}: {tensors} tensors, {numbers:,} parameters" for group, (tensors, numbers) in moving.items()]
    trained = sum(numbers for _, numbers in moving.values())
    return (
        f"Phase {phase.name} ({phase.title}), {counted(phase.epochs, 'epoch')} at {phase.lr:g}, trains "
        f"{'; '.join(parts)} ({trained / total:.3%} of {total:,})."
    )


def undecided_routers(history: Sequence[Mapping[str, Any]], scope: str) -> str | None:
    """Say that routers still send general data to the experts after RP; None where most of it stays away.

    Args:
        history: the logs of the phase.
        scope: of the router loss.
    """
    logged = [entry["gate0_general"] for entry in history if "gate0_general" in entry]
    if not logged or logged[-1] >= _SURE:
        return None
    advice = "raise citi_rp_lr or citi_rp_epochs"
    if scope == "batch":
        advice += ", or try citi_router_scope: sample (docs/citi.md says why batch hedges)"
    return (
        f"Warning: after phase rp gate 0 is {logged[-1]:.2f} on general data, under {_SURE:g}: the routers do not "
        f"keep general data from the experts; {advice}."
    )
