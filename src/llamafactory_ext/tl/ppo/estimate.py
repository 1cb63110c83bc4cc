"""What a run of the second stage takes: a trial's steps, what trains, the tokens of its prompts and responses."""

from __future__ import annotations

from typing import Any

from torch import nn

from ...training.estimates import moved_weights
from ...training.scale import Work
from ..stages import PPO_STAGE
from .settings import settings_of


def trial(small: Any, asked: Any) -> int:
    """Return the steps of a trial: two rounds of rollouts, each learned from as often as the run does.

    Args:
        small: a copy of the fine-tuning options.
        asked: those of the run.
    """
    return int(2 * asked.tl_ppo_epochs * asked.tl_minibatches)


def works(model: nn.Module, groups: tuple[Any, ...], tokens: float, micro: int) -> list[Work]:
    """Return the training of policy and critic.

    Args:
        model: the base.
        groups: upstream's groups of the options.
        tokens: of one pass over the data.
        micro: tokens of a micro-batch on one GPU.
    """
    model_args, _, training_args, args = groups[:4]
    settings = settings_of(args)
    full, own = args.finetuning_type == "full", settings.has_critic and args.tl_critic == "own"
    moved, added = moved_weights(model, args)
    critic = moved if own and full else 0
    longest = micro / training_args.per_device_train_batch_size
    return [
        Work(
            PPO_STAGE,
            moved + critic,
            added + critic,
            tokens,
            float(training_args.num_train_epochs),
            micro,
            not model_args.disable_gradient_checkpointing,
            share=1.0 if full else 0.0,
            copies=int(full and settings.has_reference) + int(own and not full),
            drawn=settings.longest / max(1, longest),
            learned=args.tl_ppo_epochs,
        )
    ]


def lengths(model_args: Any, data_args: Any, training_args: Any, finetuning_args: Any) -> list[int]:
    """Return the tokens of every prompt with each of its responses, and say what becomes of the records."""
    from .workflow import prompts_of

    queries = prompts_of(model_args, data_args, training_args, finetuning_args)
    drawn, longest = finetuning_args.tl_group_size, settings_of(finetuning_args).longest
    return [len(query.ids) + longest for query in queries for _ in range(drawn)]
