"""A stand-in for the package `torchao`: linears whose weights are rounded to 8 bits, for a machine without them."""

from __future__ import annotations

import importlib.machinery
import sys
import types
from collections.abc import Callable
from pathlib import Path
from typing import Any

import pytest
import torch
from torch import Tensor, nn


def install(monkeypatch: pytest.MonkeyPatch, folder: Path) -> dict[str, set[str]]:
    """Put the package in the place of what is installed; names of the linears that were "replaced" and "called".

    Args:
        monkeypatch: takes everything back.
        folder: for what pip would write about the package.
    """
    seen: dict[str, set[str]] = {"replaced": set(), "called": set()}

    def replace(model: nn.Module, *, module_filter_fn: Callable[[nn.Module, str], bool], **_: Any) -> nn.Module:
        for name, module in list(model.named_modules()):
            if isinstance(module, nn.Linear) and module_filter_fn(module, name):
                parent, _, own = name.rpartition(".")
                setattr(model.get_submodule(parent), own, Rounded(module, lambda name=name: seen["called"].add(name)))
                seen["replaced"].add(name)
        return model

    modules = {name: types.ModuleType(name) for name in ("torchao", "torchao.float8")}
    for name, module in modules.items():
        module.__spec__ = importlib.machinery.ModuleSpec(name, None, is_package=True)
        module.__path__ = []
        monkeypatch.setitem(sys.modules, name, module)
    modules["torchao.float8"].convert_to_float8_training = replace  # type: ignore[attr-defined]
    modules["torchao.float8"].Float8LinearConfig = types.SimpleNamespace(  # type: ignore[attr-defined]
        from_recipe_name=lambda _: types.SimpleNamespace()
    )
    monkeypatch.setattr("peft.tuners.lora.torchao.is_torchao_available", lambda: False)  # it asks for quantized bases
    about = folder / "torchao-0.17.0.dist-info" / "METADATA"
    about.parent.mkdir()
    about.write_text("Metadata-Version: 2.1\nName: torchao\nVersion: 0.17.0\n", encoding="utf-8")
    monkeypatch.syspath_prepend(folder)
    for name in ("ACCELERATE_MIXED_PRECISION", "FP8_BACKEND"):  # which LLaMA-Factory sets for its process
        monkeypatch.setenv(name, "no")
        monkeypatch.delenv(name)
    return seen


class Rounded(nn.Linear):
    """A linear that computes with its weights rounded to 8 bits, and gives them their gradients."""

    def __init__(self, linear: nn.Linear, say: Callable[[], None]) -> None:
        nn.Module.__init__(self)
        self.in_features, self.out_features = linear.in_features, linear.out_features
        self.weight, self.bias, self.say = linear.weight, linear.bias, say

    def forward(self, x: Tensor) -> Tensor:
        self.say()
        rounded = self.weight.detach().to(torch.float8_e4m3fn).to(self.weight.dtype)
        weight = self.weight + (rounded - self.weight).detach()
        return nn.functional.linear(x, weight, self.bias)
