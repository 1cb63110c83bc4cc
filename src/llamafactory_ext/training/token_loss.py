"""The part of a trainer that computes the next-token loss over the trained tokens of a whole optimiser step.

What it does: mean over the step, whatever its split into micro-batches and processes; weights of single tokens where
the data has them; no full logits where the model allows; the balance of experts where the model computes it. What it
does not do: decide what is trained and how much.
"""

from __future__ import annotations

from typing import Any

import torch
from torch import Tensor, nn
from transformers import Trainer

from ..errors import DataError
from .losses import IGNORE_INDEX, head_deferred, plain_head, summed_nll
from .token_weights import WEIGHTS_COLUMN, weights_of


class TokenLoss(Trainer):
    """Mixin, before the trainer whose loss it replaces.

    With weights w the loss is sum(w nll) / sum(w), both over all micro-batches and processes of the step.
    """

    weighted = False  # whether every batch must have weights
    _codes_BT: Tensor | None = None
    _balance = 0.0

    def _set_up_loss(self, model: nn.Module, *, whole: bool) -> None:
        """Set up the loss; the trainer's `__init__` calls it at its end.

        Args:
            model: unwrapped.
            whole: every process holds all weights as plain tensors (one process, DDP).
        """
        self.compute_loss_func = self._mean_nll
        self.args.average_tokens_across_devices = True  # the token count below spans all processes
        self._half = torch.bfloat16 if self.args.bf16 else torch.float16 if self.args.fp16 else None
        # fp8 puts other modules in the place of linears as training starts, the head perhaps among them.
        whole = whole and not getattr(self.args, "fp8", False)
        with torch.autocast(self.args.device.type, dtype=self._half, enabled=self._half is not None):
            self._head = plain_head(model) if whole else None
        if self._head is not None and self._head.weight.requires_grad and self._looks_for_unused(model):
            self._head = None
        self._balance = _balance_of(model)
        if self.args.torch_compile:  # graphs of an earlier phase would go on without gradients for what trains now
            torch.compiler.reset()

    def _looks_for_unused(self, model: nn.Module) -> bool:
        """Tell whether DDP will look through each forward pass for its parameters.

        The deferred head is not among them.
        """
        if self.args.world_size == 1:
            return False
        if self.args.ddp_find_unused_parameters is not None:
            return bool(self.args.ddp_find_unused_parameters)
        return not (getattr(model, "is_gradient_checkpointing", False) or self.args.gradient_checkpointing)

    def _mean_nll(self, outputs: Any, labels: Tensor, num_items_in_batch: Tensor | int | None = None) -> Tensor:
        """Return the next-token loss over the trained tokens of the optimiser step; in evaluation of this batch."""
        weights_BT = None if self._codes_BT is None else weights_of(self._codes_BT)
        own = (labels[:, 1:] != IGNORE_INDEX).sum() if weights_BT is None else weights_BT[:, 1:].sum()
        items = own if num_items_in_batch is None else num_items_in_batch
        items = torch.as_tensor(items, device=labels.device).clamp(min=1)
        smoothing = self.args.label_smoothing_factor
        loss = summed_nll(outputs["logits"], labels, self._head, self._half, weights_BT, smoothing) / items
        if self._balance and (uneven := outputs.get("aux_loss")) is not None:
            loss = loss + self._balance * uneven.to(loss.device) * (own / items)
        return loss

    def _get_num_items_in_batch(self, batch_samples: list, device: torch.device) -> Tensor | int | None:
        """Return the number of trained tokens, by their weights, of all micro-batches and processes.

        Position 0 is nobody's target.
        """
        if not batch_samples or "labels" not in batch_samples[0]:
            return None
        if any(WEIGHTS_COLUMN in batch for batch in batch_samples):
            items = sum(batch[WEIGHTS_COLUMN][:, 1:].sum() for batch in batch_samples)
            items = torch.as_tensor(items, device=device)
            return weights_of(self._over_processes(items))
        items = sum((batch["labels"][:, 1:] != IGNORE_INDEX).sum() for batch in batch_samples)
        return self._over_processes(torch.as_tensor(items, device=device))

    def _over_processes(self, items: Tensor) -> Tensor:
        total: Tensor = self.accelerator.gather(items).sum() if self.args.world_size > 1 else items
        return total

    def compute_loss(
        self, model: nn.Module, inputs: dict[str, Any], return_outputs: bool = False, **kwargs: Any
    ) -> Any:
        """Return the loss of one micro-batch, as its part of the step's.

        Raises:
            DataError: weights are due and there are none.
        """
        self._codes_BT = inputs.pop(WEIGHTS_COLUMN, None)
        if self.weighted and self._codes_BT is None:
            raise DataError(f'A batch has no "{WEIGHTS_COLUMN}"; its loss would be unweighted. Keep the collator.')
        head, measured = self._head, not model.training and self.compute_metrics is not None
        if measured:  # what measures an evaluation reads the logits themselves
            self._head = None
        try:
            with head_deferred(self._head):
                return super().compute_loss(model, inputs, return_outputs, **kwargs)
        finally:
            self._codes_BT, self._head = None, head


def _balance_of(model: nn.Module) -> float:
    """Return the factor of the loss that keeps experts equally busy (moe_aux_loss_coef), if the model has one."""
    config: Any = model.config
    config = getattr(config, "text_config", None) or config
    return (
        float(getattr(config, "router_aux_loss_coef", 0) or 0) if getattr(config, "output_router_logits", 0) else 0.0
    )
