"""Engines without an accelerator, for tests that run several jobs in the two processes of one torchrun."""

from collections.abc import Iterator
from contextlib import contextmanager
from datetime import timedelta
from typing import Any

import pytest
import torch
from accelerate.state import AcceleratorState, PartialState
from accelerate.utils import DistributedType
from torch import distributed


@contextmanager
def one_process_group() -> Iterator[None]:
    """One gloo group for all runs within, which upstream would end with the first: torchrun gives no second."""
    torch.set_num_threads(1)
    distributed.init_process_group("gloo", timeout=timedelta(minutes=2))
    with pytest.MonkeyPatch.context() as patch:
        patch.setattr(distributed, "destroy_process_group", lambda: None)
        let_fsdp_run_on_a_cpu(patch)
        yield
    distributed.destroy_process_group()


def let_fsdp_run_on_a_cpu(patch: pytest.MonkeyPatch) -> None:
    """Accelerate takes FSDP for accelerators alone and goes on without it elsewhere, silently; torch's runs here."""
    original = AcceleratorState.__init__

    def init(self: Any, *args: Any, fsdp_plugin: Any = None, **kwargs: Any) -> None:
        known = PartialState._shared_state
        if fsdp_plugin is not None and known.get("distributed_type") == DistributedType.MULTI_CPU:
            known["distributed_type"] = DistributedType.MULTI_GPU
        original(self, *args, fsdp_plugin=fsdp_plugin, **kwargs)

    patch.setattr(AcceleratorState, "__init__", init)
