"""What a supervised run of upstream's fine-tuning types trains, for an estimate from the model's configuration."""

from __future__ import annotations

from typing import Any

from torch import nn

from .parameters import backbone_linears
from .scale import Work


def moved_weights(model: nn.Module, finetuning_args: Any) -> tuple[int, int]:
    """Return how many weights move, and how many of these the base does not have.

    Args:
        model: the base, which may be on the meta device.
        finetuning_args: upstream's group of the options.
    """
    if finetuning_args.finetuning_type == "full":
        return sum(weight.numel() for weight in model.parameters()), 0
    names = list(finetuning_args.lora_target)
    chosen = [
        module
        for name, module in backbone_linears(model).items()
        if names == ["all"] or name.rpartition(".")[2] in names
    ]
    added = sum(finetuning_args.lora_rank * (module.in_features + module.out_features) for module in chosen)
    return added, added


def supervised(name: str, model: nn.Module, groups: tuple[Any, ...], tokens: float, micro: int) -> list[Work]:
    """Return the one training of a supervised run.

    Args:
        name: of the run's method.
        model: the base.
        groups: upstream's groups of the options.
        tokens: of one pass over the data.
        micro: tokens of a micro-batch on one GPU.
    """
    model_args, _, training_args, finetuning_args = groups[:4]
    moved, added = moved_weights(model, finetuning_args)
    recomputes = not model_args.disable_gradient_checkpointing
    share = 1.0 if finetuning_args.finetuning_type == "full" else 0.0
    return [Work(name, moved, added, tokens, float(training_args.num_train_epochs), micro, recomputes, share=share)]
