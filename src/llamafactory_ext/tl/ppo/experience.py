"""A batch of responses with everything that PPO learns from it.

Shapes: N responses of this process, P prompt positions (padded on the left), R response positions (on the right).
"""

from __future__ import annotations

from collections.abc import Mapping, Sequence
from dataclasses import dataclass, fields, replace
from typing import Any

import torch
from torch import Tensor

from .rollout.local import pad_left


@dataclass(frozen=True)
class Experience:
    """Responses of one batch; all tensors on one device.

    Attributes:
        prompt_NP: token ids.
        prompt_mask_NP: 0 on padding.
        response_NR: token ids.
        mask_NR: 1 on tokens of the response that the policy drew.
        seen_NR: 1 on all tokens of the response, an environment's included.
        logp_NR: log-probabilities under the policy that drew them.
        values_NR: the critic's then.
        advantages_NR: whitened, if the run whitens.
        returns_NR: what the critic learns.
        reference_NR: log-probabilities under the reference, where the loss has a KL to it.
        orders_KN: the order of the responses in each of the K passes.
    """

    prompt_NP: Tensor
    prompt_mask_NP: Tensor
    response_NR: Tensor
    mask_NR: Tensor
    seen_NR: Tensor
    logp_NR: Tensor
    values_NR: Tensor
    advantages_NR: Tensor
    returns_NR: Tensor
    reference_NR: Tensor
    orders_KN: Tensor

    @classmethod
    def of(
        cls,
        prompts: Sequence[Sequence[int]],
        responses: Sequence[Sequence[int]],
        pad_id: int,
        drawn: Sequence[Sequence[bool]] = (),
    ) -> Experience:
        """Return texts alone; everything else is zero, with no pass ordered yet.

        Args:
            prompts: token ids.
            responses: token ids.
            pad_id: fills rows.
            drawn: whether the policy drew each token, for each response; empty for one of which it drew all.
        """
        prompt_NP, prompt_mask_NP = pad_left(prompts, pad_id)
        backwards, seen_NR = pad_left([list(response)[::-1] for response in responses], pad_id)
        response_NR, seen_NR = backwards.flip(1), seen_NR.flip(1).float()
        mask_NR = seen_NR.clone()
        for row, own in enumerate(drawn):
            if own:
                mask_NR[row, : len(own)] = torch.tensor(own, dtype=mask_NR.dtype)
        zeros_NR = torch.zeros_like(mask_NR)
        none = torch.zeros((0, len(prompts)), dtype=torch.long)
        return cls(prompt_NP, prompt_mask_NP, response_NR, mask_NR, seen_NR, *(zeros_NR,) * 5, none)

    def __len__(self) -> int:
        return len(self.prompt_NP)

    def rows(self, places: Tensor) -> Experience:
        """Return some of the responses, without columns that are padding in all of them."""
        chosen = {part.name: getattr(self, part.name)[places] for part in fields(self) if part.name != "orders_KN"} | {
            "orders_KN": self.orders_KN[:, :0]
        }
        prompt = max(int(chosen["prompt_mask_NP"].sum(1).max()), 1)
        response = max(int(chosen["seen_NR"].sum(1).max()), 1)
        for name, part in chosen.items():
            if name.endswith("_NP"):
                chosen[name] = part[:, -prompt:]
            elif name.endswith("_NR"):
                chosen[name] = part[:, :response]
        return Experience(**chosen)

    def column(self, numbers: Sequence[Sequence[float]]) -> Tensor:
        """Return a number per token of each response (N, R), 0 behind the end."""
        found_NR = torch.zeros_like(self.mask_NR, device="cpu")
        for row, given in enumerate(numbers):
            found_NR[row, : len(given)] = torch.tensor(given)
        return found_NR.to(self.mask_NR.device)

    def lengths(self) -> Tensor:
        """Return tokens of prompt and response (N)."""
        return self.prompt_mask_NP.sum(1) + self.seen_NR.sum(1).long()

    def inputs(self) -> tuple[Tensor, Tensor, int]:
        """Return what the model takes: ids and mask (N, P + R), and R."""
        ids_NT = torch.cat([self.prompt_NP, self.response_NR], dim=1)
        mask_NT = torch.cat([self.prompt_mask_NP, self.seen_NR.long()], dim=1)
        return ids_NT, mask_NT, self.response_NR.shape[1]

    def to(self, device: torch.device) -> Experience:
        """Return the same on another device."""
        return replace(self, **{part.name: getattr(self, part.name).to(device) for part in fields(self)})

    def state(self) -> dict[str, Tensor]:
        """Return what a checkpoint keeps."""
        return {part.name: getattr(self, part.name) for part in fields(self)}

    @classmethod
    def restore(cls, state: Mapping[str, Any]) -> Experience:
        """Return what `state` gave; earlier checkpoints have no reference and no other tokens than the policy's."""
        state = {"reference_NR": torch.zeros_like(state["mask_NR"]), "seen_NR": state["mask_NR"], **state}
        return cls(**{part.name: state[part.name] for part in fields(cls)})
