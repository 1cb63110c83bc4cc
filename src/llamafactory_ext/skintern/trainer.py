"""The trainer of one step: upstream's supervised trainer with safe checkpoints and a schedule over all steps."""

from __future__ import annotations

from collections.abc import Callable
from typing import Any

from torch.optim.lr_scheduler import LambdaLR

from ..checkpoint.saving import SafeCheckpoints
from ..errors import OptionError
from ..training.token_loss import TokenLoss
from ..upstream.pipeline.api import CustomSeq2SeqTrainer


class SkinternTrainer(SafeCheckpoints, TokenLoss, CustomSeq2SeqTrainer):
    """Minimises the next-token loss of one step (SKIntern, arXiv:2409.13183, section 3.3).

    Args:
        before: epochs of the earlier steps, in units of this step's own.
        whole: epochs of all steps likewise; the learning rate's schedule spans them. None: it spans this step.
    """

    def __init__(self, *, before: float = 0.0, whole: float | None = None, **kwargs: Any) -> None:
        self.before, self.whole = before, whole
        super().__init__(**kwargs)
        self._set_up_loss(self.accelerator.unwrap_model(self.model), whole=not self._engine_saves)

    def create_scheduler(self, num_training_steps: int, optimizer: Any = None) -> Any:
        """Make the schedule of this step, or this step's part of one schedule over all steps."""
        if self.whole is None:
            return super().create_scheduler(num_training_steps, optimizer)
        start = round(self.before * num_training_steps)
        scheduler = super().create_scheduler(round(self.whole * num_training_steps), optimizer)
        if not isinstance(scheduler, LambdaLR):
            raise OptionError(
                f"lr_scheduler_type: {self.args.lr_scheduler_type.value} depends on more than the step; set "
                "skintern_lr_schedule: per_step, or another type."
            )
        scheduler.lr_lambdas = [_later(factor, start) for factor in scheduler.lr_lambdas]
        rates = [base * factor(0) for base, factor in zip(scheduler.base_lrs, scheduler.lr_lambdas, strict=True)]
        for group, rate in zip(scheduler.optimizer.param_groups, rates, strict=True):
            group["lr"] = rate
        scheduler._last_lr = rates
        return scheduler


def _later(factor: Callable[[int], float], start: int) -> Callable[[int], float]:
    def shifted(step: int) -> float:
        return factor(step + start)

    return shifted
