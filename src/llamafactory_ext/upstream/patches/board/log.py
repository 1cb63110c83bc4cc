"""The training log that LLaMA Board reads, with what our trainers report beside the loss."""

from __future__ import annotations

from contextlib import suppress
from typing import Any

from ....methods import load, methods

REPORTED = tuple(
    dict.fromkeys(curve.key for row in methods() if row.curves for axis in load(row.curves) for curve in axis.curves)
)


def extend_log_callback(base: type) -> type:
    """Return the class that replaces upstream's LogCallback, which writes only figures it knows."""

    class LogCallback(base):  # type: ignore[misc, valid-type]
        """Adds the figures of the methods' curves to a step's line in trainer_log.jsonl."""

        def on_log(self, args: Any, state: Any, control: Any, **kwargs: Any) -> None:
            with suppress(Exception):  # figures are never worth a run
                newest = state.log_history[-1] if state.log_history else {}
                # Lines are written by another thread, in order; each finds its own figures by its step.
                self.__dict__.setdefault("_reported", {})[state.global_step] = {
                    name: newest[name] for name in REPORTED if name in newest
                }
            super().on_log(args, state, control, **kwargs)

        def _write_log(self, output_dir: str, logs: dict[str, Any], *args: Any, **kwargs: Any) -> None:
            with suppress(Exception):
                logs = logs | self._reported.pop(logs.get("current_steps"), {})
            super()._write_log(output_dir, logs, *args, **kwargs)

    LogCallback.__module__, LogCallback.__qualname__ = base.__module__, base.__qualname__
    return LogCallback
