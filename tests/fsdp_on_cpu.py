"""FSDP without an accelerator, for tests on two processes."""

from typing import Any

import pytest
from accelerate.state import AcceleratorState, PartialState
from accelerate.utils import DistributedType


def let_fsdp_run_on_a_cpu(patch: pytest.MonkeyPatch) -> None:
    """Accelerate takes FSDP for accelerators alone and goes on without it elsewhere, silently; torch's runs here."""
    original = AcceleratorState.__init__

    def init(self: Any, *args: Any, fsdp_plugin: Any = None, **kwargs: Any) -> None:
        known = PartialState._shared_state
        if fsdp_plugin is not None and known.get("distributed_type") == DistributedType.MULTI_CPU:
            known["distributed_type"] = DistributedType.MULTI_GPU
        original(self, *args, fsdp_plugin=fsdp_plugin, **kwargs)

    patch.setattr(AcceleratorState, "__init__", init)
