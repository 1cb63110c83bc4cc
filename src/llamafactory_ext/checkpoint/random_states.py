"""The states of all random generators that training draws from."""

from __future__ import annotations

import random
from typing import Any

import numpy as np
import torch


def collect_states(device: torch.device) -> dict[str, Any]:
    """Return the states of Python, NumPy, torch on the CPU and, if it is another, on this process's device."""
    numbers = dict(np.random.get_state(legacy=False))
    numbers["state"] = {**numbers["state"], "key": torch.from_numpy(numbers["state"]["key"].astype(np.int64))}
    states = {"python": random.getstate(), "numpy": numbers, "torch": torch.get_rng_state()}
    if device.type != "cpu":
        states[device.type] = torch.get_device_module(device).get_rng_state()
    return states


def restore_states(states: dict[str, Any], device: torch.device) -> None:
    """Set what `collect_states` saw."""
    random.setstate(states["python"])
    numbers = dict(states["numpy"])
    numbers["state"] = {**numbers["state"], "key": numbers["state"]["key"].numpy().astype(np.uint32)}
    np.random.set_state(numbers)
    torch.set_rng_state(states["torch"])
    if device.type in states:
        torch.get_device_module(device).set_rng_state(states[device.type])
