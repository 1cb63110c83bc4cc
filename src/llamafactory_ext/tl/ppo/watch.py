"""Notices what goes wrong in PPO, and says at which step and what to change. Numbers in, sentences out."""

from __future__ import annotations

import math
from collections import deque
from collections.abc import Mapping
from dataclasses import dataclass, field
from typing import Any

WINDOW = 5  # batches whose mean reward counts as now, and as the beginning
STILL = 20  # batches after which a reward that has not moved is told
STANDARD_ERRORS = 3.0


@dataclass
class Watch:
    """Remembers rewards and KL of the batches seen.

    Attributes:
        kl_limit: KL per response, in nats, above which the policy has left the reference.
        first: mean reward and its squared standard error of each of the first batches.
        recent: the same of the last batches.
        told: what has been said and still holds; it is said again only after it has passed.
        count: batches seen.
    """

    kl_limit: float
    first: list[tuple[float, float]] = field(default_factory=list)
    recent: deque[tuple[float, float]] = field(default_factory=lambda: deque(maxlen=WINDOW))
    told: set[str] = field(default_factory=set)
    count: int = 0

    def see(self, step: int, batch: Mapping[str, float], responses: int) -> list[str]:
        """Return what is wrong with a batch of responses.

        Args:
            step: the optimiser step that learns from it.
            batch: "reward" and "reward_spread" (mean, standard deviation), "kl" (per response), "value" and
                "response_tokens" (means), "empty" (share of responses without text).
            responses: how many.
        """
        broken = sorted(name for name, value in batch.items() if not math.isfinite(value))
        if broken:
            return [f"Step {step}: {', '.join(broken)} is no number any more. {AFTER_NAN}"]
        point = (batch["reward"], batch["reward_spread"] ** 2 / max(responses, 1))
        self.recent.append(point)
        self.count += 1
        if len(self.first) < WINDOW:
            self.first.append(point)
        said = []
        if self._newly("kl", batch["kl"] > self.kl_limit):
            said.append(
                f"Step {step}: KL blow-up. The policy is {batch['kl']:.3g} nats per response away from the reference "
                f"(tl_kl_limit: {self.kl_limit:g}). Raise tl_kl_coef or set tl_kl_target, lower learning_rate or "
                "tl_ppo_epochs, or take an earlier checkpoint."
            )
        before, now, margin = self._means()
        if self._newly("reward", len(self.recent) == WINDOW and before - now > margin):
            said.append(
                f"Step {step}: reward collapse. The mean reward of the last {WINDOW} batches is {now:.3f}, that of "
                f"the first {WINDOW} was {before:.3f}. Lower learning_rate, raise tl_kl_coef, or use more responses "
                "per update (gradient_accumulation_steps), and start from an earlier checkpoint."
            )
        if self._newly("still", self.count >= STILL and abs(now - before) <= margin):
            said.append(
                f"Step {step}: the reward does not move. The mean of the last {WINDOW} batches is {now:.3f}, that of "
                f"the first {WINDOW} was {before:.3f}, no more than chance apart. Raise learning_rate or lower "
                "tl_kl_coef, use more responses per update (gradient_accumulation_steps), or train longer with tl_sft "
                "first."
            )
        if self._newly("empty", batch["empty"] > 0):
            said.append(
                f"Step {step}: {round(batch['empty'] * responses)} of {responses} responses are empty: they end "
                "before any text, and count with their reward. If they stay, check that template and tl_stop are "
                "those the model was trained with, train with tl_sft first, or raise tl_kl_coef."
            )
        if self._newly("same", batch["reward_spread"] == 0 and responses > 1):
            said.append(
                f"Step {step}: all {responses} responses have the same reward {batch['reward']:.3f}, so there is "
                "nothing to learn from. Check the responses (tl_show_responses), stop texts and length limit; "
                "train with tl_sft first, or sample instead of greedy rollouts."
            )
        return said

    def state(self) -> dict[str, Any]:
        """Return what a checkpoint keeps."""
        return {"first": self.first, "recent": list(self.recent), "told": sorted(self.told), "count": self.count}

    def restore(self, state: Mapping[str, Any]) -> None:
        """Go on from what `state` gave."""
        self.first = [(mean, square) for mean, square in state["first"]]
        self.recent.clear()
        self.recent.extend((mean, square) for mean, square in state["recent"])
        self.told = set(state["told"])
        self.count = int(state.get("count", len(self.first)))  # checkpoints of earlier versions do not say

    def _means(self) -> tuple[float, float, float]:
        """Return mean reward of the first and the last batches, and how far apart they may be by chance."""
        before, now = (sum(mean for mean, _ in points) / max(len(points), 1) for points in (self.first, self.recent))
        squares = [square for points in (self.first, self.recent) for _, square in points]
        return before, now, STANDARD_ERRORS * math.sqrt(sum(squares)) / WINDOW

    def _newly(self, what: str, holds: bool) -> bool:
        new = holds and what not in self.told
        (self.told.add if holds else self.told.discard)(what)
        return new


AFTER_NAN = (
    "Start again from the newest checkpoint with a lower learning_rate or tl_critic_lr, a smaller max_grad_norm, or "
    "bf16 in place of fp16."
)
