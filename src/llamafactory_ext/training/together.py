"""What several processes of a run settle before they train, and how one of them says that another has died."""

from __future__ import annotations

import os
import re
import socket
from collections.abc import Callable, Iterator, Mapping
from contextlib import contextmanager
from datetime import timedelta
from typing import Any

import torch
from torch import distributed

from .._report import note_run
from ..errors import OptionError, ProcessError
from ..options.groups import method_options
from .disks import held, settle_disks
from .processes import from_all, world
from .watching import SILENT, watched

# What the libraries say when the other side of a connection is gone; each backend's errors carry its name.
_LOST = re.compile(r"\b(gloo|nccl|hccl|xccl|rccl)|connection (closed|reset|refused)|broken pipe|socket", re.IGNORECASE)
_LATE = re.compile(r"timed? ?out|timeout", re.IGNORECASE)
_SHARED = (
    "finetuning_type",
    "dataset",
    "template",
    "cutoff_len",
    "cutoff_action",
    "packing",
    "max_samples",
    "val_size",
    "per_device_train_batch_size",
    "gradient_accumulation_steps",
    "num_train_epochs",
    "max_steps",
    "learning_rate",
    "lr_scheduler_type",
    "warmup_steps",
    "weight_decay",
    "max_grad_norm",
    "optim",
    "bf16",
    "fp16",
    "seed",
    "save_strategy",
    "save_steps",
    "eval_strategy",
    "eval_steps",
    "logging_steps",
    "overwrite_output_dir",
    "save_on_each_node",
    "fsdp",
)
_AGAIN = (
    "See what its machine printed, then repeat the command on all machines: the run goes on from its newest complete "
    "checkpoint, if it has saved one."
)


@contextmanager
def together(training_args: Any, say: Callable[[str], None]) -> Iterator[None]:
    """Settle how the processes of this run work together; one process alone has nothing to settle.

    Args:
        training_args: upstream's group of the options.
        say: tells the user, on every process.

    Raises:
        ExtError: they cannot, or, later, a process has died.
    """
    if world() == 1:
        with held(training_args, training_args.should_save):
            yield
        return
    note_run()
    try:
        check_elastic(os.environ)
        _limit_waiting(training_args)
        settle_disks(training_args, say if distributed.get_rank() == 0 else _nothing)
        hosts = from_all(socket.gethostname())
        with (
            held(training_args, training_args.should_save),
            watched(hosts, min(SILENT, training_args.ddp_timeout / 2), say),
        ):
            yield
        from_all(None)  # whoever leaves first may take the store along
    except Exception as error:
        if (text := loss(error, training_args.ddp_timeout)) is not None:
            raise ProcessError(text) from error
        raise


def check_elastic(variables: Mapping[str, str]) -> None:
    """Make sure that torchrun never goes on with another number of machines.

    Raises:
        OptionError: it may.
    """
    least, most = variables.get("MIN_NNODES"), variables.get("MAX_NNODES")
    if variables.get("RDZV_ID") and least and most and least != most:
        raise OptionError(
            f"MIN_NNODES={least} and MAX_NNODES={most}: a run goes on exactly with as many processes as it began with "
            f"and no others. Set both to {most}, and repeat the command on all machines when one was lost."
        )


def loss(error: Exception, ddp_timeout: float) -> str | None:
    """Return what to say if an error means that another process has ended or does not answer, else None."""
    lost = isinstance(error, distributed.DistError) or (
        isinstance(error, RuntimeError) and _LOST.search(str(error)) is not None
    )
    if not lost or isinstance(error, torch.OutOfMemoryError):
        return None
    lines = str(error).strip().splitlines() or [type(error).__name__]
    reason = lines[0].strip()[:200]
    if _LATE.search(reason):
        return (
            f"Another process of this run has not answered for {ddp_timeout:.0f} s (ddp_timeout): it hangs, or its "
            f"machine is frozen ({reason}). {_AGAIN}"
        )
    return f"Another process of this run has ended, or its machine is out of reach ({reason}). {_AGAIN}"


def check_options(*groups: Any) -> None:
    """Make sure that all processes were given the same options, as far as these shape what they do together.

    Args:
        groups: upstream's groups of the options. Paths may differ from machine to machine.

    Raises:
        OptionError: they were not.
    """
    compared = (*_SHARED, "tl_stage", *method_options())
    check_same({name: str(getattr(group, name)) for name in compared for group in groups if hasattr(group, name)})


def check_same(facts: Mapping[str, Any]) -> None:
    """Make sure that all processes were given the same.

    Raises:
        OptionError: they were not.
    """
    parts = from_all((dict(facts), socket.gethostname()))
    (first, host), *others = parts
    for number, (found, other) in enumerate(others, start=1):
        for name in first:
            if found.get(name) != first[name]:
                raise OptionError(
                    f"{name}: {_short(first[name])} for process 0 on {host}, {_short(found.get(name))} for process "
                    f"{number} on {other}; give all machines the same options, model and data."
                )


def _short(value: Any) -> str:
    text = str(value)
    return text if len(text) < 40 else f"{text[:36]}..."


def _limit_waiting(training_args: Any) -> None:
    """Have gloo wait as long as ddp_timeout says, which with use_cpu nobody tells it."""
    timeout = timedelta(seconds=training_args.ddp_timeout)
    if distributed.get_backend() == "gloo":
        distributed.distributed_c10d._set_pg_timeout(timeout)


def _nothing(_: str) -> None:
    pass
