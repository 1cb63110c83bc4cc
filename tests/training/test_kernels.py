"""LLaMA-Factory's `use_v1_kernels` under each method, with a stand-in for the kernels that an NPU would have."""

from __future__ import annotations

import types
from pathlib import Path
from typing import Any

import pytest
import torch
from llamafactory.train.tuner import run_exp
from llamafactory.v1.plugins.model_plugins.kernels import interface
from safetensors.torch import load_file
from torch import Tensor, nn
from transformers.models.llama.modeling_llama import LlamaMLP

import option_runs

METHODS = ("citi", "data", "tl_sft", "tl_ppo", "skintern")


class GatedMlp:
    """A kernel that takes the place of the forward of each gated MLP, as the one for NPUs does."""

    used = 0

    @classmethod
    def apply(cls, *, model: nn.Module) -> nn.Module:
        for module in model.modules():
            if isinstance(module, LlamaMLP):
                module.forward = types.MethodType(gated, module)
        return model


def gated(self: Any, x: Tensor) -> Tensor:
    GatedMlp.used += 1
    gate, up = torch.cat((self.gate_proj(x), self.up_proj(x)), dim=-1).chunk(2, dim=-1)
    found: Tensor = self.down_proj(nn.functional.silu(gate) * up)
    return found


@pytest.mark.parametrize("method", METHODS)
def test_a_run_with_kernels_is_the_run_without(method: str, tmp_path: Path, monkeypatch: pytest.MonkeyPatch) -> None:
    monkeypatch.setitem(interface.default_kernels, "gated", GatedMlp)
    monkeypatch.setattr(GatedMlp, "used", 0)
    places = option_runs.make_world(tmp_path / "world")
    found = []
    for name, changes in (("plain", {}), ("fast", {"use_v1_kernels": True})):
        given = {"model_name_or_path": places["model"], "dataset_dir": places["data"], "max_steps": 1}
        run_exp(option_runs.options_of(method, given | {"output_dir": str(tmp_path / name)} | changes))
        files = sorted((tmp_path / name).glob("*model.safetensors"))
        found.append({key: weight for file in files for key, weight in load_file(file).items()})
        assert (GatedMlp.used > 0) == (name == "fast")
    assert found[0].keys() == found[1].keys()
    apart = [(weight - found[1][name]).abs().max().item() for name, weight in found[0].items() if weight.numel()]
    assert max(apart) < 1e-5
