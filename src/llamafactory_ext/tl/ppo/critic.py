"""Policy and critic as one module, so that one trainer, one wrapper and one checkpoint hold both.

What it does: log-probabilities of responses and the value of the state before each of their tokens, in one forward
pass; a critic on the policy's own backbone, or on a copy of it. What it does not do: losses, or training.

Shapes: B rows, T positions of prompt and response, R of the response (the last R columns), D width.
"""

from __future__ import annotations

import copy
import inspect
from collections.abc import Callable, Iterator, Mapping
from contextlib import contextmanager
from typing import Any

import torch
from peft import PeftModel
from torch import Tensor, nn


class ActorCritic(nn.Module):
    """A policy with a value head.

    Args:
        policy: a causal language model of transformers, or one with adapters, ready to train.
        own_critic: the value head reads a copy of the policy's model, in which the same weights train; False: it reads
            the policy's own last hidden state, and its gradient goes into the policy's weights. None: there is none.
        temperature: of sampling; log-probabilities are those of the distribution that responses are drawn from.
        twin: the policy loaded once more, for an own critic in the place of a copy, which parts of weights do not
            allow; it becomes part of the result.
    """

    def __init__(self, policy: Any, *, own_critic: bool | None, temperature: float, twin: Any = None) -> None:
        super().__init__()
        disable_dropout(policy)
        self.policy = policy
        self.critic = (copy_without_head(policy) if twin is None else without_head(twin)) if own_critic else None
        head = policy.get_output_embeddings()
        width = policy.config.get_text_config().hidden_size
        if own_critic is not None:
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

    def tie_weights(self) -> None:
        """Tie input and output embedding of the policy again; FSDP asks for it when it has replaced all weights."""
        self.policy.tie_weights()

    def forward(
        self,
        ids_BT: Tensor,
        mask_BT: Tensor,
        responses: int,
        *,
        logp: bool = True,
        values: bool = True,
        policy_inputs: Mapping[str, Any] | None = None,
    ) -> Any:
        """Return log-probabilities of the last `responses` tokens and the values before them, both (B, R) in float32.

        Args:
            ids_BT: prompts padded on the left, responses on the right.
            mask_BT: 0 on padding.
            responses: R.
            logp: whether log-probabilities are wanted, the first of what is returned.
            values: whether values are wanted, the last of what is returned.
            policy_inputs: calls the policy alone with these arguments, and gives what it gives; for engines, which
                gather weights when a whole module is called.
        """
        if policy_inputs is not None:
            return self.policy(**policy_inputs)
        inputs: dict[str, Any] = {
            "input_ids": ids_BT,
            "attention_mask": mask_BT,
            "position_ids": (mask_BT.cumsum(1) - 1).clamp(min=0),
            "use_cache": False,
        }
        if self._few_logits:
            inputs["logits_to_keep"] = responses + 1
        found: list[Tensor] = []
        if logp or self.critic is None:
            with self._states() as seen:
                logits_BRV = self.policy(**inputs).logits[:, -responses - 1 : -1]
        if logp:
            found.append(chosen_logp(logits_BRV, ids_BT[:, -responses:], self.temperature))
        if values:
            states_BTD = seen[-1] if self.critic is None else self.critic(**inputs).logits
            found.append(self._values(states_BTD[:, -responses - 1 : -1]))
        return tuple(found)

    @contextmanager
    def rollout_values(self) -> Iterator[Callable[[], Tensor] | None]:
        """Yield a function for the values (B) of the policy's last pass; None with no or an own critic."""
        if self.critic is not None or not hasattr(self, "value_head"):
            yield None
            return
        with self._states() as seen:

            def last_values() -> Tensor:
                states_BTD = seen[-1]
                seen.clear()
                return self._values(states_BTD[:, -1])

            yield last_values

    @contextmanager
    def _states(self) -> Iterator[list[Tensor]]:
        """Return the last hidden states of the policy's passes within, one after the other."""
        seen: list[Tensor] = []
        head = self.policy.get_output_embeddings()
        hook = head.register_forward_pre_hook(lambda _, given: seen.append(given[0]))
        try:
            yield seen
        finally:
            hook.remove()

    def _values(self, states: Tensor) -> Tensor:
        """Return the values of states (..., D), in float32."""
        return self.value_head(states.to(self.value_head.weight.dtype)).squeeze(-1).float()

    def in_float32(self) -> bool:
        """Tell whether the policy computes in float32 throughout."""
        return all(weight.dtype == torch.float32 for weight in self.policy.parameters())

    def actor_parameters(self) -> list[tuple[str, nn.Parameter]]:
        """Return what trains in the policy, by its name in this module."""
        return [(name, weight) for name, weight in self._trained() if name.startswith("policy.")]

    def critic_parameters(self) -> list[tuple[str, nn.Parameter]]:
        """Return what trains in the critic alone, by its name in this module."""
        return [(name, weight) for name, weight in self._trained() if not name.startswith("policy.")]

    def _trained(self) -> list[tuple[str, nn.Parameter]]:
        return [(name, weight) for name, weight in self.named_parameters() if weight.requires_grad]


def chosen_logp(logits_BRV: Tensor, ids_BR: Tensor, temperature: float) -> Tensor:
    """Return log-probability of each token (B, R), in float32 at least."""
    chosen = []
    for logits_RV, ids_R in zip(logits_BRV, ids_BR, strict=True):  # row by row: float32 logits of one row at a time
        scaled_RV = logits_RV.to(torch.promote_types(logits_RV.dtype, torch.float32)) / temperature
        chosen.append(-nn.functional.cross_entropy(scaled_RV, ids_R, reduction="none"))
    return torch.stack(chosen)


def copy_without_head(policy: Any) -> Any:
    """Return a copy of a model whose logits are its last hidden states.

    What trains in the model trains in the copy.
    """
    head = policy.get_output_embeddings()
    # The head is left out of the copy's memory, unless it is the input embedding too.
    shared = policy.get_input_embeddings().weight is head.weight
    return without_head(copy.deepcopy(policy, {} if shared else {id(head): nn.Identity()}))


def without_head(model: Any) -> Any:
    """Return the model, with its last hidden states for logits."""
    disable_dropout(model)
    _plain(model).set_output_embeddings(nn.Identity())
    return model


def disable_dropout(model: nn.Module) -> None:
    """Turn dropout off, which makes log-probabilities differ between drawing and learning."""
    for module in model.modules():
        if isinstance(module, nn.Dropout):
            module.p = 0.0
        elif isinstance(getattr(module, "attention_dropout", None), float):
            module.attention_dropout = 0.0  # type: ignore[assignment]


def _plain(model: Any) -> Any:
    return model.get_base_model() if isinstance(model, PeftModel) else model
