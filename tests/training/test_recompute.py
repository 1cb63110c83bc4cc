"""Activations are recomputed from the lowest trained layer to the last but one; gradients stay what they are."""

from __future__ import annotations

import pytest
import torch
from torch import nn

from llamafactory_ext.training.recompute import recompute_everywhere, recompute_from_lowest_trained
from tiny import tiny_model

pytestmark = pytest.mark.fast

LAYERS = 4


def counted(model: nn.Module) -> list[int]:
    """How often each layer runs; filled by passes that follow."""
    runs = [0] * LAYERS
    for i, layer in enumerate(model.model.layers):

        def count(module: nn.Module, args: object, i: int = i) -> None:
            runs[i] += 1

        layer.input_layernorm.register_forward_pre_hook(count)
    return runs


def gradient(model: nn.Module, name: str) -> torch.Tensor:
    ids = torch.arange(12)[None] + 5
    model(input_ids=ids, labels=ids).loss.backward()
    return model.get_parameter(name).grad


@pytest.mark.parametrize("lowest", [0, 2, 3])
def test_from_the_lowest_trained_layer_on(lowest: int) -> None:
    name = f"model.layers.{lowest}.mlp.down_proj.weight"

    def trained() -> nn.Module:
        model = tiny_model(layers=LAYERS).train().requires_grad_(False)
        model.get_parameter(name).requires_grad_(True)
        return model

    expected = gradient(trained(), name)
    model = trained()
    model.gradient_checkpointing_enable({"use_reentrant": True})
    recompute_from_lowest_trained(model)
    runs = counted(model)
    assert torch.equal(gradient(model, name), expected)
    assert runs == [1] * lowest + [2] * (LAYERS - 1 - lowest) + [1]


def test_everywhere_and_back() -> None:
    model = tiny_model(layers=LAYERS).train().requires_grad_(False)
    model.gradient_checkpointing_enable({"use_reentrant": True})
    before = [layer._gradient_checkpointing_func for layer in model.model.layers]
    model.get_input_embeddings().register_forward_hook(lambda module, args, output: output.requires_grad_(True))
    runs = counted(model)
    with recompute_everywhere(model):
        ids = torch.arange(12)[None] + 5
        model(input_ids=ids, labels=ids).loss.backward()
    assert runs == [2] * LAYERS
    assert [layer._gradient_checkpointing_func for layer in model.model.layers] == before


def test_a_model_without_checkpointing_is_left_alone() -> None:
    model = tiny_model(layers=LAYERS).train()
    recompute_from_lowest_trained(model)
    runs = counted(model)
    gradient(model, "model.layers.0.mlp.down_proj.weight")
    assert runs == [1] * LAYERS
