"""One process of a run speaks, on however many machines it runs; upstream lets the first of each machine speak."""

from __future__ import annotations

import logging
import os
from typing import Any

from ...methods import counted, worker

# The functions of upstream and transformers for what is said once.
_STALE = "`torch_dtype` is deprecated"
_ONCE = ("info_rank0", "warning_rank0", "warning_rank0_once", "warning_once")


def let_main_speak(args: dict[str, Any] | list[str]) -> dict[str, Any] | list[str]:
    """Silence this process unless it is the main one of the run, and return the options that silence the trainer.

    Args:
        args: a command's options as upstream's `read_args` returns them; `log_on_each_node` among them is obeyed.
    """
    if int(os.environ.get("WORLD_SIZE", "1")) < 2:
        return args
    if any(str(word).lstrip("-").partition("=")[0].replace("-", "_") == "log_on_each_node" for word in args):
        return args
    if int(os.environ.get("RANK", "0")) > 0:
        _silence()
    if isinstance(args, dict):
        return {**args, "log_on_each_node": False}
    return [*args, "--log_on_each_node", "False"]


def leave_out_stale() -> None:
    """Leave out of the log what transformers says of names that upstream gives it, which no user can change."""
    from transformers.utils import logging as transformers_logging

    for handler in transformers_logging.get_logger().handlers:
        if not any(isinstance(known, _NotStale) for known in handler.filters):
            handler.addFilter(_NotStale())


def settings_line(model_args: Any, data_args: Any, training_args: Any, finetuning_args: Any) -> str:
    """Return what a run is made of, in one line: the whole settings of its log."""
    args, names = training_args, data_args.dataset or []
    stage = finetuning_args.tl_stage or finetuning_args.stage
    parts = [f"{stage} with {finetuning_args.finetuning_type}", f"model {model_args.model_name_or_path}"]
    if adapters := model_args.adapter_name_or_path:
        parts.append(f"adapter {','.join(adapters)}")
    parts += [f"template {data_args.template}", f"data {','.join(names)} up to {data_args.cutoff_len} tokens"]
    if args.do_train:
        size, steps, processes = args.per_device_train_batch_size, args.gradient_accumulation_steps, args.world_size
        shown = f"{size} x {steps} x {processes} = {size * steps * processes}"
        parts.append(f"batch {shown} (per device x accumulation x processes)")
        row = worker(finetuning_args.finetuning_type, stage)
        if row is None or not row.replaces:
            parts.append(f"learning rate {args.learning_rate:g}")
            bound = (args.max_steps, "step") if args.max_steps > 0 else (args.num_train_epochs, "epoch")
            parts.append(counted(*bound))
        parts.append("bf16" if args.bf16 else "fp16" if args.fp16 else "no mixed precision")
    parts += [f"seed {args.seed}", f"output_dir {args.output_dir}"]
    return f"Run: {'; '.join(parts)}. verbose: true logs everything."


def _silence() -> None:
    """Leave out what upstream says once for each machine, and all bars of progress."""
    import datasets
    from llamafactory.extras.logging import get_logger
    from transformers.utils import logging as transformers_logging

    for handler in (*get_logger().handlers, *transformers_logging.get_logger().handlers):
        if not any(isinstance(known, _NotOnce) for known in handler.filters):
            handler.addFilter(_NotOnce())
    datasets.disable_progress_bars()
    transformers_logging.disable_progress_bar()
    transformers_logging.set_verbosity_warning()


class _NotOnce(logging.Filter):
    """Lets warnings of this very process pass."""

    def filter(self, record: logging.LogRecord) -> bool:
        return record.levelno >= logging.WARNING and record.funcName not in _ONCE


class _NotStale(logging.Filter):
    """Keeps back warnings of upstream's own calls."""

    def filter(self, record: logging.LogRecord) -> bool:
        return not str(record.msg).startswith(_STALE)
