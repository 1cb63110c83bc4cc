"""Other devices than a CPU are asked as torch asks them, and no sum needs a number type that one lacks."""

from __future__ import annotations

import types
from collections.abc import Callable
from pathlib import Path
from typing import Any

import psutil
import pytest
import torch

from llamafactory_ext.citi.scoring import fits_float32
from llamafactory_ext.molora.kernel import triton_problem
from llamafactory_ext.tl.ppo.math import whiten
from llamafactory_ext.training import devices
from llamafactory_ext.training.devices import default_device, free_memory, widest
from llamafactory_ext.training.token_weights import code_of, weights_of
from runs import citi_options, train
from tiny import tiny_model

pytestmark = pytest.mark.fast

GIB = 1 << 30


def asks_torch(monkeypatch: pytest.MonkeyPatch, **functions: Callable[..., Any]) -> None:
    monkeypatch.setattr(torch, "get_device_module", lambda device: types.SimpleNamespace(**functions))


@pytest.mark.parametrize("kind", ["cuda", "npu", "xpu"])
def test_an_accelerators_own_memory_counts(kind: str, monkeypatch: pytest.MonkeyPatch) -> None:
    asks_torch(monkeypatch, mem_get_info=lambda device: (5 * GIB, 8 * GIB))
    assert free_memory(types.SimpleNamespace(type=kind)) == 5 * GIB


def test_a_device_that_does_not_say_has_none(monkeypatch: pytest.MonkeyPatch) -> None:
    asks_torch(monkeypatch)
    assert free_memory(types.SimpleNamespace(type="mlu")) == 0


@pytest.mark.parametrize(("recommended", "used", "left"), [(8, 3, 5), (64, 4, 9), (8, 9, 0)])
def test_mps_has_what_it_may_take_of_the_machines(
    recommended: int, used: int, left: int, monkeypatch: pytest.MonkeyPatch
) -> None:
    memory = types.SimpleNamespace(available=9 * GIB)
    monkeypatch.setattr(psutil, "virtual_memory", lambda: memory)
    asks_torch(
        monkeypatch,
        recommended_max_memory=lambda: recommended * GIB,
        driver_allocated_memory=lambda: used * GIB,
    )
    assert free_memory(types.SimpleNamespace(type="mps")) == left * GIB
    assert free_memory(torch.device("cpu")) == 9 * GIB


@pytest.mark.parametrize("free", [0, GIB])
def test_float32_is_chosen_where_the_device_has_room(free: int, monkeypatch: pytest.MonkeyPatch) -> None:
    monkeypatch.setattr("llamafactory_ext.citi.scoring.free_memory", lambda device: free)
    assert fits_float32(tiny_model(dtype=torch.bfloat16)) == (free > 0)


def test_inference_takes_accelerates_device(monkeypatch: pytest.MonkeyPatch) -> None:
    from accelerate import PartialState

    assert default_device() == PartialState().default_device
    monkeypatch.setattr(PartialState, "default_device", torch.device("meta"))
    assert default_device().type == "meta"


def test_triton_asks_for_a_gpu_that_torch_calls_cuda(monkeypatch: pytest.MonkeyPatch) -> None:
    """ROCm is one; Ascend and MPS are none."""
    monkeypatch.delenv("TRITON_INTERPRET", raising=False)
    monkeypatch.setattr("importlib.util.find_spec", lambda name: object())
    for found in (True, False):
        monkeypatch.setattr(torch.cuda, "is_available", lambda found=found: found)
        assert (triton_problem() is None) == found


# Without float64


@pytest.fixture
def narrow(monkeypatch: pytest.MonkeyPatch) -> None:
    """This machine's CPU as if it were a device without float64."""
    monkeypatch.setattr(devices, "WITHOUT_FLOAT64", frozenset({"cpu"}))


def test_sums_use_what_the_device_has(narrow: None) -> None:
    assert widest(torch.device("cpu")) == torch.float32
    assert widest(types.SimpleNamespace(type="cuda")) == torch.float64


def test_weights_of_tokens_are_the_same(narrow: None) -> None:
    weights = [1.0, 0.25, 3.5, 15.75]
    assert weights_of(torch.tensor([code_of(weight) for weight in weights])).tolist() == weights


def test_whitening_is_close(monkeypatch: pytest.MonkeyPatch) -> None:
    values, mask = torch.randn(4, 9), torch.ones(4, 9)
    wide = whiten(values, mask)
    monkeypatch.setattr(devices, "WITHOUT_FLOAT64", frozenset({"cpu"}))
    assert torch.allclose(whiten(values, mask), wide, atol=1e-5)


def test_a_whole_run_ends_where_it_ends_with_float64(
    tiny_llama_dir: Path, tiny_data_dir: Path, tmp_path: Path, monkeypatch: pytest.MonkeyPatch
) -> None:
    wide = train(citi_options(tiny_llama_dir, tiny_data_dir, tmp_path / "wide", max_steps=2))
    monkeypatch.setattr(devices, "WITHOUT_FLOAT64", frozenset({"cpu"}))
    kinds = set()
    monkeypatch.setattr(
        "llamafactory_ext.citi.importance.sum_of_all", lambda values: kinds.add(values.dtype) or values
    )
    found = train(citi_options(tiny_llama_dir, tiny_data_dir, tmp_path / "narrow", max_steps=2))
    assert kinds == {torch.float32}
    ends = zip(found.weights().values(), wide.weights().values(), strict=True)
    assert all(torch.allclose(one, other, atol=1e-3) for one, other in ends)
