"""From scores to a model that can be trained: which components are chosen and what is put on them.

What it does: the method's MOLoRA, and what stands in its place in the ablations (CITI, arXiv:2409.13202, sections 2
and 4.6). What it does not do: compute importance (`citi/scoring.py`) or train (`workflow.py`).
"""

from __future__ import annotations

from collections.abc import Sequence
from typing import Any

from peft import LoraConfig, PeftConfig, PeftModel, TaskType, get_peft_model
from peft.utils.constants import DUMMY_TARGET_MODULES
from torch import nn

from ...checkpoint.base import quantization
from ...errors import OptionError
from ...molora import MoLoraConfig
from ...training.parameters import backbone_linears, expert_tensors, is_router, total_size
from ..importance_file import Importance
from ..phases import Phase
from ..router_backward import RouterLoss
from ..selection import Selection

CARRIED = {"molora": "MOLoRA", "lora": "LoRA", "full": "full tuning"}


def ratios(args: Any, phases: Sequence[Phase]) -> tuple[float, float]:
    """Return the shares of components that are adapted and that phase uco, if it runs, tunes in full.

    Args:
        args: the fine-tuning options.
        phases: the phases of the run.
    """
    tunes = any(phase.name == "uco" for phase in phases)
    return args.citi_top_ratio, args.citi_bottom_ratio if tunes else 0.0


def check_tunable(base: nn.Module, phases: Sequence[Phase]) -> None:
    """Make sure that no phase has to tune quantised weights.

    Raises:
        OptionError: one has to.
    """
    tuned = [phase.name for phase in phases if "backbone" in phase.trains]
    if tuned and quantization(base):
        raise OptionError(
            f"the base model is quantized ({quantization(base)}), and phase {tuned[0]} cannot tune quantized "
            "components; set citi_phases: rp,mi (with citi_adapter: lora: mi), or name an unquantized model."
        )


def describe_experts(base: nn.Module) -> str | None:
    """Return one line for the log on fused weights of experts, which no linear module holds.

    None where there are none.

    Args:
        base: the base model.
    """
    left = expert_tensors(base)
    if not left:
        return None
    count, whole = sum(left.values()), total_size(base.parameters())
    routers = [name for name in backbone_linears(base) if is_router(base, name)]
    also = f" So do the {len(routers)} linears that choose among experts." if routers else ""
    return (
        f"{len(left)} tensors hold the weights of all experts of a layer: {count:,} of {whole:,} parameters "
        f"({count / whole:.0%}). They are no linear modules and stay as they are, neither scored, adapted nor "
        f"tuned.{also}"
    )


def choose(importance: Importance, args: Any, phases: Sequence[Phase], seed: int) -> Selection:
    """Return the components of this run; `seed` decides a random choice."""
    return importance.select(*ratios(args, phases), end=args.citi_select, seed=seed)


def describe_selection(selection: Selection, args: Any) -> str:
    """Return one line for the log: how many components, which, and what they carry."""
    end = "" if selection.end == "top" else f", {selection.end} of the ranking"
    adapted, tuned = ", ".join(selection.adapted), ", ".join(selection.tuned) or "none"
    return (
        f"{selection.total} linear components: {CARRIED[args.citi_adapter]} on {len(selection.adapted)}{end} "
        f"({adapted}); tuned in full {len(selection.tuned)} ({tuned})."
    )


def adapt(base: nn.Module, selection: Selection, args: Any, base_name: str) -> PeftModel:
    """Put fresh adapters and copies of the tuned linears on the base.

    Args:
        base: the model; it becomes part of the result.
        selection: the components.
        args: the fine-tuning options.
        base_name: written into the adapter's configuration.
    """
    model = get_peft_model(base, _config(selection, args, base_name))
    if args.citi_adapter == "lora":
        # PEFT shortens long lists of names; the checkpoint says in full what was chosen.
        model.peft_config["default"].target_modules = list(selection.adapted)
    if args.citi_adapter == "molora":
        model.base_model.set_kernel(args.citi_kernel)
    for name, parameter in model.named_parameters():
        if ".modules_to_save." in name:
            parameter.data = parameter.data.float()  # as upstream keeps whatever it trains
    return model


def watch_routers(model: PeftModel, args: Any, *, compiled: bool = False) -> RouterLoss | None:
    """Return the router loss with all routers of the model in it; None if it has none.

    Args:
        model: adapted.
        args: of CITI.
        compiled: whether torch.compile will get the model.
    """
    if args.citi_adapter != "molora":
        return None
    router = RouterLoss(
        list(model.base_model.molora_layers()),
        delta=args.citi_router_delta,
        beta=args.citi_router_beta,
        scope=args.citi_router_scope,
    )
    model.base_model.set_gate_loss(router)
    if compiled:
        model.base_model.leave_to_eager()
    return router


def _config(selection: Selection, args: Any, base_name: str) -> PeftConfig:
    common = {"task_type": TaskType.CAUSAL_LM, "base_model_name_or_path": base_name}
    adapted, tuned = list(selection.adapted), list(selection.tuned) or None
    if args.citi_adapter == "full":
        # The name that PEFT reserves for an adapter without low-rank parts: it only stores tuned modules.
        return LoraConfig(target_modules=DUMMY_TARGET_MODULES, modules_to_save=adapted, **common)
    if args.citi_adapter == "lora":
        return LoraConfig(
            target_modules=adapted,
            modules_to_save=tuned,
            r=args.citi_rank,
            lora_alpha=args.citi_alpha,
            **common,
        )
    return MoLoraConfig(
        target_modules=adapted,
        modules_to_save=tuned,
        num_experts=args.citi_num_experts,
        neutral_gate=args.citi_router_neutral,
        r=args.citi_rank,
        alpha=args.citi_alpha,
        **common,
    )
