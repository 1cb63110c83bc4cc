"""The reference model of PPO without a second model: the policy itself, with what it has learned taken out.

With a fresh adapter the reference is the backbone with the adapter off. Otherwise the weights that train are kept as
they were at the start, and put in the policy's place for one forward pass: a continued adapter, the layers of
`freeze`, or, with full fine-tuning, all of the model.
"""

from __future__ import annotations

from collections.abc import Iterator
from contextlib import contextmanager
from typing import Any

import torch
from peft import PeftModel
from torch import Tensor

from ..errors import OptionError


class Reference:
    """What the KL is measured from.

    Args:
        policy: as it is when training begins, before any checkpoint is loaded.
        kind: "start" for the policy as it is now, "base" for the backbone without its adapter.
        fresh: whether the policy's adapter, if it has one, does nothing yet, so that both kinds are the same.
    """

    def __init__(self, policy: Any, kind: str, *, fresh: bool) -> None:
        adapted = isinstance(policy, PeftModel)
        if kind == "base" and not adapted:
            raise OptionError(
                "tl_reference: base needs an adapter to turn off (finetuning_type: lora or citi); set tl_reference: "
                "start"
            )
        self._policy = policy
        self.adapter_off = adapted and (fresh or kind == "base")
        self._kept: dict[str, Tensor] = {}
        if not self.adapter_off:
            self._kept = {
                name: weight.detach().clone() for name, weight in policy.named_parameters() if weight.requires_grad
            }

    @property
    def copied(self) -> int:
        """Numbers that are kept a second time."""
        return sum(weight.numel() for weight in self._kept.values())

    @contextmanager
    def in_place(self) -> Iterator[None]:
        """Within, the policy is the reference; no gradients."""
        with torch.no_grad():
            if self.adapter_off:
                with self._policy.disable_adapter():
                    yield
                return
            swapped = [(weight, weight.data) for name, weight in self._policy.named_parameters() if name in self._kept]
            try:
                for name, weight in self._policy.named_parameters():
                    if name in self._kept:
                        weight.data = self._kept[name]
                yield
            finally:
                for weight, own in swapped:
                    weight.data = own
