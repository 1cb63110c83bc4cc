"""The reference model of PPO without a second model: the policy itself, with what it has learned taken out.

With a fresh adapter the reference is the backbone with the adapter off. Otherwise the weights that train are kept as
they were at the start, and put in the policy's place for one forward pass: a continued adapter, the layers of
`freeze`, or, with full fine-tuning, all of the model. Where an engine spreads weights over processes, each process
keeps and exchanges its own parts alone.
"""

from __future__ import annotations

from collections.abc import Callable, Iterator
from contextlib import contextmanager
from typing import Any

import torch
from peft import PeftModel
from torch import Tensor, nn

from ...errors import OptionError
from ...training.parameters import total_size
from .engines import held, is_spread


class Reference:
    """What the KL is measured from.

    Args:
        policy: as it is when training begins, before any checkpoint is loaded.
        kind: "start" for the policy as it is now, "base" for the backbone without its adapter.
        fresh: whether the policy's adapter, if it has one, does nothing yet, so that both kinds are the same.
        spread: whether an engine is going to wrap the policy; `keep` is called then, once it has.
    """

    def __init__(self, policy: Any, kind: str, *, fresh: bool, spread: bool = False) -> None:
        adapted = isinstance(policy, PeftModel)
        if kind == "base" and not adapted:
            raise OptionError(
                "tl_reference: base needs an adapter to turn off (finetuning_type: lora or citi); set tl_reference: "
                "start"
            )
        self._policy = policy
        self.adapter_off = adapted and (fresh or kind == "base")
        self._kept: dict[str, Tensor] = {}
        self._let_go: Callable[[], None] = _nothing
        if not self.adapter_off and not spread:
            self.keep(_nothing)

    def keep(self, let_go: Callable[[], None]) -> None:
        """Take the policy as it is now, unless the adapter is turned off for the reference.

        Args:
            let_go: drops what has been gathered from the parts that the processes hold.
        """
        self._let_go = let_go
        if not self.adapter_off:
            self._kept = {name: held(weight).clone() for name, weight in self._trained()}

    @property
    def copied(self) -> int:
        """Numbers that are kept a second time."""
        return 0 if self.adapter_off else total_size(weight for _, weight in self._trained())

    @contextmanager
    def in_place(self) -> Iterator[None]:
        """Let the policy be the reference within; no gradients."""
        trained = {name for name, _ in self._trained()}
        self._let_go()
        with torch.no_grad():
            if self.adapter_off:
                with self._policy.disable_adapter():
                    yield
                    self._let_go()  # the adapter's flags change in what is in place when it is turned on
                for name, weight in self._policy.named_parameters():  # turning an adapter on lets all of it move
                    weight.requires_grad_(name in trained)
                return
            own = self._exchange(self._kept)
            try:
                yield
            finally:
                self._let_go()
                self._exchange(own)

    def _exchange(self, others: dict[str, Tensor]) -> dict[str, Tensor]:
        """Put weights in the policy's place; what was there."""
        before = {}
        for name, weight in self._trained():
            if is_spread(weight):
                before[name] = held(weight).clone()
                held(weight).copy_(others[name])
            else:
                before[name], weight.data = weight.data, others[name]
        return before

    def _trained(self) -> list[tuple[str, nn.Parameter]]:
        return [(name, weight) for name, weight in self._policy.named_parameters() if weight.requires_grad]


def _nothing() -> None:
    pass
