"""What PPO must know of a batch of responses before it learns from it: log-probabilities and values.

What it does: takes from the rollout what it has computed already, and makes passes without gradients for the rest.
What it does not do: put the reference in the policy's place; what is in place is looked at.

Shapes: N responses of this process, R response positions; B of the responses in one pass.
"""

from __future__ import annotations

from collections.abc import Sequence
from typing import Any

import torch
from torch import Tensor

from .critic import ActorCritic
from .experience import Experience
from .rollout.local import Response, Sampling
from .settings import PpoSettings


class PpoLooks:
    """Mixin, before the trainer of PPO."""

    accelerator: Any
    actor_critic: ActorCritic
    args: Any
    model_wrapped: Any
    sampling: Sampling
    settings: PpoSettings
    _engine_saves: bool

    def _draws_exactly(self) -> bool:
        """Tell whether a token's log-probability as it is drawn is as exact as when it is learned from.

        In 16 bits, other batches and cached keys give other numbers.
        """
        coarse = self.accelerator.mixed_precision != "no" or self.args.tf32 or self.args.torch_compile
        return not coarse and not self._engine_saves and self.actor_critic.in_float32()

    def _policy_and_critic(self, batch: Experience, responses: Sequence[Response]) -> list[Tensor]:
        """Return log-probabilities and values (N, R): the rollout's, if it is exact, else those of another look.

        Without a critic the values are zeros.
        """
        valued = self.settings.has_critic
        if not responses[0].logp or not self._draws_exactly():
            looked = self._look_at(batch, values=valued)
            return looked if valued else [*looked, torch.zeros_like(batch.mask_NR)]
        logp_NR = batch.column([response.logp for response in responses])
        if not valued:
            return [logp_NR, torch.zeros_like(batch.mask_NR)]
        if not responses[0].values:
            return [logp_NR, *self._look_at(batch, logp=False)]
        return [logp_NR, batch.column([response.values for response in responses])]

    def _engine_logp(self, batch: Experience, responses: Sequence[Response]) -> Tensor | None:
        """Return another engine's log-probabilities (N, R) where it told them and they are to be corrected."""
        if self.settings.correction is None or not all(response.engine_logp for response in responses):
            return None
        return batch.column([response.engine_logp for response in responses])

    @torch.no_grad()
    def _look_at(self, batch: Experience, *, logp: bool = True, values: bool = True) -> list[Tensor]:
        """Return log-probabilities and values of all responses (N, R), in parts of similar length."""
        self.model_wrapped.eval()
        found = [torch.zeros_like(batch.mask_NR) for wanted in (logp, values) if wanted]
        for places in batch.lengths().argsort(stable=True).split(self.sampling.rows):
            part = batch.rows(places)
            with self.accelerator.autocast():
                looked = self.actor_critic(*part.inputs(), logp=logp, values=values)
            for whole_NR, part_BR in zip(found, looked, strict=True):
                whole_NR[places, : part_BR.shape[1]] = part_BR
        return [whole_NR * batch.mask_NR for whole_NR in found]
