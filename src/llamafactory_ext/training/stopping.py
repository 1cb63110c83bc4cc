"""Ctrl-C and SIGTERM in a run: the newest checkpoint is saved or kept, and one line says how to go on.

While steps are trained, a signal ends the run after the step, with a checkpoint; a second one ends it at once.
Everywhere else the first one ends it: what a run has finished by then is on disk already.
"""

from __future__ import annotations

import os
import signal
import threading
import time
from collections.abc import Callable, Iterator
from contextlib import contextmanager
from pathlib import Path
from types import FrameType
from typing import Any

import torch
from torch import distributed
from transformers import TrainerCallback

from .._report import SIGNALS
from ..checkpoint.folders import newest_complete
from ..errors import InterruptedRun
from .processes import sum_of_all, world

SAME = 5.0  # seconds in which a second signal is the first one again, handed on by torchrun
WAIT = "Stopping after this step, with a checkpoint. Once more stops at once.\n"


class Stop:
    """What a run knows of signals; the workflow asks it after each training.

    Attributes:
        asked: the signal that came, 0 for none.
        patient: whether steps are being trained, and a first signal waits for the end of the step.
    """

    def __init__(self) -> None:
        self.asked = 0
        self.patient = False
        self._since = 0.0
        self._process = os.getpid()

    @property
    def callback(self) -> TrainerCallback:
        """What a trainer needs to end after a step."""
        return _StopAfterStep(self)

    def check(self, state: Any = None) -> None:
        """End the run here if a signal came while it was patient.

        Args:
            state: of a trainer that has returned; a training that was complete by then is saved first.

        Raises:
            InterruptedRun: it ends.
        """
        if state is not None and state.global_step >= state.max_steps:
            return
        self.patient = False
        if self.asked:
            raise InterruptedRun(self.asked)

    def hear(self, number: int) -> None:
        """Remember a signal; this process's own one may follow that of another."""
        self.asked, self._since = number, time.monotonic()

    def take(self, number: int, _: FrameType | None) -> None:
        """Handle a signal."""
        if os.getpid() != self._process:  # a worker that loads or maps data: its parent decides
            if number == signal.SIGTERM:
                os._exit(128 + number)
            return
        if self.asked and self.patient and world() > 1 and time.monotonic() - self._since < SAME:
            return
        again = bool(self.asked)
        self.hear(number)
        if not self.patient or again:
            raise InterruptedRun(number)
        if os.environ.get("RANK", "0") == "0":
            os.write(2, f"\n{WAIT}".encode())  # print may be what the signal has interrupted


class _StopAfterStep(TrainerCallback):
    """Has the trainer save and end after the step in which a signal came, the same step on all processes."""

    def __init__(self, stop: Stop) -> None:
        self.stop = stop

    def on_train_begin(self, args: Any, state: Any, control: Any, **_: Any) -> None:
        self.stop.patient = True

    def on_step_end(self, args: Any, state: Any, control: Any, **_: Any) -> None:
        if self._asked_of_any(args):
            control.should_save = control.should_training_stop = True
            control.should_evaluate = False

    def on_evaluate(self, args: Any, state: Any, control: Any, **_: Any) -> None:
        if self._asked_of_any(args):
            control.should_save = control.should_training_stop = True

    def _asked_of_any(self, args: Any) -> bool:
        if distributed.is_initialized() and world() > 1:
            own = [float(self.stop.asked), float(bool(self.stop.asked))]
            numbers, count = sum_of_all(torch.tensor(own, device=args.device)).tolist()
            if count and not self.stop.asked:  # the signal that most of them have heard
                nearest = min((signal.SIGINT, signal.SIGTERM), key=lambda number: abs(number - numbers / count))
                self.stop.hear(nearest)
        return bool(self.stop.asked)


@contextmanager
def stoppable(how_to_resume: Callable[[], str]) -> Iterator[Stop]:
    """Take Ctrl-C and SIGTERM within, and say how to go on when they have ended the run.

    Args:
        how_to_resume: what is kept and what to do, in one sentence; called once the run has ended.
    """
    stop, before = Stop(), {}
    if threading.current_thread() is threading.main_thread():
        before = {number: signal.signal(number, stop.take) for number in (signal.SIGINT, signal.SIGTERM)}
    try:
        yield stop
    except KeyboardInterrupt as error:
        number = getattr(error, "number", stop.asked or signal.SIGINT)
        raise InterruptedRun(number, f"Interrupted by {SIGNALS.get(number, number)}: {how_to_resume()}") from None
    finally:
        for number, handler in before.items():
            signal.signal(number, handler)


def how_to_resume(training_args: Any, *folders: Path) -> str:
    """Return what an interrupted run has kept, and what goes on from there.

    Args:
        training_args: upstream's group of the options.
        folders: that hold checkpoints, the last phase first.
    """
    newest = next((found for folder in folders if (found := newest_complete(folder)) is not None), None)
    if newest is None:
        return "no checkpoint was saved yet. Repeat the command to begin again."
    if training_args.save_only_model:
        return f"{newest} holds weights only (save_only_model). Repeat the command to begin again."
    named = training_args.resume_from_checkpoint
    changes = ["overwrite_output_dir"] * bool(training_args.overwrite_output_dir)
    changes += ["resume_from_checkpoint"] * isinstance(named, str)
    without = f" without {' and '.join(changes)}" if changes else ""
    return f"{newest} is kept. Repeat the command{without} to go on from it."
