"""The numbers that PPO's trainer works with, from the options of `stage: tl_ppo`."""

from __future__ import annotations

from dataclasses import dataclass
from typing import Any

from ...errors import OptionError


@dataclass(frozen=True, kw_only=True)
class PpoSettings:
    """PPO's numbers; the options of the same names explain them."""

    epochs: int
    minibatches: int
    clip: float
    value_clip: float | None
    value_coef: float
    gamma: float
    lam: float
    whiten: bool
    kl_coef: float
    kl_estimator: str
    kl_target: float | None
    kl_horizon: int
    kl_limit: float
    reward_clip: float | None
    critic_lr: float | None
    show: int


def settings_of(args: Any) -> PpoSettings:
    """PPO's numbers from the options."""
    return PpoSettings(
        epochs=args.tl_ppo_epochs,
        minibatches=args.tl_minibatches,
        clip=args.tl_clip,
        value_clip=args.tl_value_clip or None,
        value_coef=args.tl_value_coef,
        gamma=args.tl_gamma,
        lam=args.tl_lambda,
        whiten=args.tl_whiten,
        kl_coef=args.tl_kl_coef,
        kl_estimator=args.tl_kl_estimator,
        kl_target=args.tl_kl_target or None,
        kl_horizon=args.tl_kl_horizon,
        kl_limit=args.tl_kl_limit,
        reward_clip=args.tl_reward_clip or None,
        critic_lr=args.tl_critic_lr or None,
        show=args.tl_show_responses,
    )


def check_batch(queries: int, training_args: Any, settings: PpoSettings) -> int:
    """Return the queries of a batch of responses on one process.

    Raises:
        OptionError: the data has too few for one batch.
    """
    rows = training_args.per_device_train_batch_size * training_args.gradient_accumulation_steps
    rows *= settings.minibatches
    if queries < rows * training_args.world_size:
        raise OptionError(
            f"A batch of responses takes {rows * training_args.world_size} queries and the data has {queries}; lower "
            "per_device_train_batch_size, gradient_accumulation_steps or tl_minibatches."
        )
    return int(rows)
