"""The numbers that PPO's trainer works with, from the options of `stage: tl_ppo`."""

from __future__ import annotations

from dataclasses import dataclass
from typing import Any

from ...errors import OptionError

GAE = "gae"


@dataclass(frozen=True, kw_only=True)
class PpoSettings:
    """PPO's numbers; the options of the same names explain them; `longest` is in tokens of a whole response."""

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
    advantage: str = GAE
    group: int = 1
    scale: bool = True
    mean: str = "token"
    ratio: str = "token"
    clip_high: float | None = None
    mask_cut: bool = False
    kl_in: str = "reward"
    longest: int = 1
    correction: float | None = None

    @property
    def has_critic(self) -> bool:
        """Tell whether a critic values the states; groups of responses do without."""
        return self.advantage == GAE

    @property
    def has_reference(self) -> bool:
        """Tell whether the KL to a reference is measured; without a critic only where it counts."""
        return self.has_critic or self.kl_coef > 0 or self.kl_target is not None


def settings_of(args: Any) -> PpoSettings:
    """Return PPO's numbers from the options."""
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
        advantage=args.tl_advantage,
        group=args.tl_group_size,
        scale=args.tl_group_scale,
        mean=args.tl_loss_mean,
        ratio=args.tl_ratio,
        clip_high=args.tl_clip_high or None,
        mask_cut=args.tl_mask_cut,
        kl_in=args.tl_kl_in,
        longest=args.tl_episode_tokens if args.tl_environment else args.tl_max_new_tokens,
        correction=(args.tl_rollout_correction or None) if args.tl_temperature == 1 else None,
    )


def check_batch(queries: int, training_args: Any, settings: PpoSettings) -> int:
    """Return the responses of a batch on one process, those to one query in a row.

    Raises:
        OptionError: the data has too few queries for one batch, or a batch is no whole number of groups.
    """
    rows = training_args.per_device_train_batch_size * training_args.gradient_accumulation_steps
    rows *= settings.minibatches
    if rows % settings.group:
        raise OptionError(
            f"tl_group_size={settings.group} does not divide the {rows} responses of a batch on one process "
            "(per_device_train_batch_size x gradient_accumulation_steps x tl_minibatches); change one of them."
        )
    if queries < (needed := rows // settings.group * training_args.world_size):
        raise OptionError(
            f"A batch of responses takes {needed} queries and the data has {queries}; lower "
            "per_device_train_batch_size, gradient_accumulation_steps or tl_minibatches."
        )
    return int(rows)
