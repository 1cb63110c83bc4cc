"""Policy and critic as one module, so that one trainer, one wrapper and one checkpoint hold both.

What it does: log-probabilities of responses and the value of the state before each of their tokens, in one forward
pass; a critic on the policy's own backbone, or on a copy of it. What it does not do: losses, or training.

Shapes: B rows, T positions of prompt and response, R of the response (the last R columns), D width.
"""

from __future__ import annotations

import copy
import inspect
from typing import Any

import torch
from peft import PeftModel
from torch import Tensor, nn


class ActorCritic(nn.Module):
    """A policy with a value head.

    Args:
        policy: a causal language model of transformers, or one with adapters, ready to train.
        own_critic: the value head reads a copy of the policy's model, in which the same weights train; False: it reads
            the policy's own last hidden state, and its gradient goes into the policy's weights.
        temperature: of sampling; log-probabilities are those of the distribution that responses are drawn from.
    """

    def __init__(self, policy: Any, *, own_critic: bool, temperature: float) -> None:
        super().__init__()
        disable_dropout(policy)
        self.policy = policy
        self.critic = copy_without_head(policy) if own_critic else None
        head = policy.get_output_embeddings()
        width = policy.config.get_text_config().hidden_size
        # Values start at zero: the first advantages are the rewards themselves.
        self.value_head = nn.Linear(width, 1, device=head.weight.device)
        nn.init.zeros_(self.value_head.weight)
        nn.init.zeros_(self.value_head.bias)
        self.temperature = temperature
        parameters = inspect.signature(_plain(policy).forward).parameters
        self._few_logits = "logits_to_keep" in parameters

    @property
    def config(self) -> Any:
        """The policy's, for engines that read sizes from it."""
        return self.policy.config

    @property
    def _no_split_modules(self) -> Any:
        return getattr(_plain(self.policy), "_no_split_modules", None)

    def forward(self, ids_BT: Tensor, mask_BT: Tensor, responses: int) -> tuple[Tensor, Tensor]:
        """Log-probabilities of the last `responses` tokens and the values before them, both (B, R) in float32.

        Args:
            ids_BT: prompts padded on the left, responses on the right.
            mask_BT: 0 on padding.
            responses: R.
        """
        inputs: dict[str, Any] = {
            "input_ids": ids_BT,
            "attention_mask": mask_BT,
            "position_ids": (mask_BT.cumsum(1) - 1).clamp(min=0),
            "use_cache": False,
        }
        if self._few_logits:
            inputs["logits_to_keep"] = responses + 1
        seen: list[Tensor] = []
        head = self.policy.get_output_embeddings()
        hook = head.register_forward_pre_hook(lambda _, given: seen.append(given[0]))
        try:
            logits_BRV = self.policy(**inputs).logits[:, -responses - 1 : -1]
        finally:
            hook.remove()
        logp_BR = chosen_logp(logits_BRV, ids_BT[:, -responses:], self.temperature)
        states_BTD = seen[-1] if self.critic is None else self.critic(**inputs).logits
        states_BRD = states_BTD[:, -responses - 1 : -1]
        values_BR = self.value_head(states_BRD.to(self.value_head.weight.dtype)).squeeze(-1)
        return logp_BR, values_BR.float()

    def actor_parameters(self) -> list[tuple[str, nn.Parameter]]:
        """What trains in the policy, by its name in this module."""
        return [(name, weight) for name, weight in self._trained() if name.startswith("policy.")]

    def critic_parameters(self) -> list[tuple[str, nn.Parameter]]:
        """What trains in the critic alone, by its name in this module."""
        return [(name, weight) for name, weight in self._trained() if not name.startswith("policy.")]

    def _trained(self) -> list[tuple[str, nn.Parameter]]:
        return [(name, weight) for name, weight in self.named_parameters() if weight.requires_grad]


def chosen_logp(logits_BRV: Tensor, ids_BR: Tensor, temperature: float) -> Tensor:
    """Log-probability of each token (B, R), in float32 at least."""
    chosen = []
    for logits_RV, ids_R in zip(logits_BRV, ids_BR, strict=True):  # row by row: float32 logits of one row at a time
        scaled_RV = logits_RV.to(torch.promote_types(logits_RV.dtype, torch.float32)) / temperature
        chosen.append(scaled_RV.gather(1, ids_R[:, None]).squeeze(1) - scaled_RV.logsumexp(1))
    return torch.stack(chosen)


def copy_without_head(policy: Any) -> Any:
    """A copy of a model whose logits are its last hidden states; what trains in the model trains in the copy."""
    head = policy.get_output_embeddings()
    # The head is left out of the copy's memory, unless it is the input embedding too.
    shared = policy.get_input_embeddings().weight is head.weight
    found = copy.deepcopy(policy, {} if shared else {id(head): nn.Identity()})
    _plain(found).set_output_embeddings(nn.Identity())
    return found


def disable_dropout(model: nn.Module) -> None:
    """Without it, the same weights give other log-probabilities when a response is drawn and when it is learned."""
    for module in model.modules():
        if isinstance(module, nn.Dropout):
            module.p = 0.0
        elif isinstance(getattr(module, "attention_dropout", None), float):
            module.attention_dropout = 0.0  # type: ignore[assignment]


def _plain(model: Any) -> Any:
    return model.get_base_model() if isinstance(model, PeftModel) else model
