"""Which device computes, how much memory it has left, and what it can count in: CUDA, ROCm, Ascend, MPS, CPU.

Accelerate knows the devices; torch's module of a device (`torch.cuda`, `torch.npu`, `torch.xpu`) knows its memory.
ROCm is `cuda` to both.
"""

from __future__ import annotations

import torch

WITHOUT_FLOAT64 = frozenset({"mps"})


def default_device() -> torch.device:
    """Return the device that accelerate takes for a process of its own."""
    try:
        from accelerate import PartialState
    except ImportError:  # inference needs no accelerate
        return torch.accelerator.current_accelerator(check_available=True) or torch.device("cpu")
    found: torch.device = PartialState().default_device
    return found


def free_memory(device: torch.device) -> int:
    """Return the bytes that are free on a device; 0 where it does not say."""
    import psutil

    if device.type == "cpu":
        return int(psutil.virtual_memory().available)
    module = torch.get_device_module(device)
    if device.type == "mps":  # shares the machine's memory, and takes a part of it only
        left = module.recommended_max_memory() - module.driver_allocated_memory()
        return max(0, min(int(left), int(psutil.virtual_memory().available)))
    try:
        return int(module.mem_get_info(device)[0])
    except (AttributeError, NotImplementedError, RuntimeError):
        return 0


def widest(device: torch.device) -> torch.dtype:
    """Return the number type for sums over many tokens: float64 where the device has it."""
    return torch.float32 if device.type in WITHOUT_FLOAT64 else torch.float64
