"""What evaluations steer in a phase: which checkpoint is the best, when to stop, how the learning rate falls."""

from __future__ import annotations

from collections.abc import Iterable
from typing import Any, Final

from transformers import EarlyStoppingCallback
from transformers.trainer_utils import SaveStrategy, SchedulerType

ROUTERS_ALONE: Final = "rp"
_FOLLOWS: Final = (
    (SchedulerType.REDUCE_ON_PLATEAU, SchedulerType.GREEDY)
    if hasattr(SchedulerType, "GREEDY")
    else (SchedulerType.REDUCE_ON_PLATEAU,)
)


def steered(args: Any, callbacks: Iterable[Any], *, by_evaluation: bool) -> list[Any]:
    """Return the callbacks of one phase, and take from its arguments what must not steer it.

    While routers train alone, experts are zero and the evaluation loss cannot move: its first value would be the best
    for good. Patience starts anew in every phase.

    Args:
        args: the phase's own training arguments, changed in place.
        callbacks: of the run.
        by_evaluation: whether the evaluation loss says how well the phase learns.
    """
    if not by_evaluation:
        args.load_best_model_at_end = False
        if args.save_strategy == SaveStrategy.BEST:
            args.save_strategy = SaveStrategy.NO
        if args.lr_scheduler_type in _FOLLOWS:
            args.lr_scheduler_type = SchedulerType.CONSTANT
            args.lr_scheduler_kwargs = {}
    found = []
    for callback in callbacks:
        if not isinstance(callback, EarlyStoppingCallback):
            found.append(callback)
        elif by_evaluation:
            found.append(EarlyStoppingCallback(callback.early_stopping_patience, callback.early_stopping_threshold))
    return found
