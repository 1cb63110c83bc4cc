"""The formulas of docs/scale.md: bytes against torch's own on the meta device, and what must hold between them."""

from __future__ import annotations

from dataclasses import replace
from pathlib import Path
from typing import Any

import pytest
import torch
from peft import LoraConfig, get_peft_model
from torch import nn

from llamafactory_ext.lab.scale_page import MODELS, groups_of, page
from llamafactory_ext.training.scale import (
    GPU_FLOPS,
    GPU_FLOPS_32,
    UTILISATION,
    Engine,
    Sizes,
    Work,
    checkpoint_bytes,
    choose_engine,
    disk_bytes,
    flops,
    kept_checkpoints,
    memory,
    seconds,
    trained_bytes,
)
from llamafactory_ext.training.skeleton import skeleton
from llamafactory_ext.training.stopwatch import laps
from llamafactory_ext.upstream.patches.dry_run_computed import sizes_of, works_of

PUBLISHED = {"8B": 8_030_261_248, "70B": 70_553_706_496}  # of the model cards
WORK = Work("tl_sft", 1000, 0, 1e6, 2.0, 4096)


@pytest.fixture(scope="module", params=sorted(MODELS))
def model(request: pytest.FixtureRequest) -> tuple[str, nn.Module]:
    return request.param, skeleton(MODELS[request.param])


def _bytes(tensors: Any) -> int:
    return sum(tensor.numel() * tensor.element_size() for tensor in tensors)


def _adamw_bytes(weights: list[nn.Parameter]) -> int:
    """Bytes of AdamW's moments, by a step of torch's own optimiser; the count of steps of each tensor left out."""
    for weight in weights:
        weight.grad = torch.empty_like(weight)
    optimiser = torch.optim.AdamW(weights, foreach=False)
    optimiser.step()
    states = [tensor for state in optimiser.state.values() for tensor in state.values() if tensor.dim()]
    found = _bytes(states)
    for weight in weights:
        weight.grad = None
    return found


def test_weights_and_states_of_full_tuning(model: tuple[str, nn.Module]) -> None:
    name, base = model
    weights = list(base.parameters())
    total = sum(weight.numel() for weight in weights)
    assert total == PUBLISHED[name] == sizes_of(base, small=True).weights
    (work,) = works_of(base, groups_of("tl_sft"), 1e6, 2048)
    assert work.trained == total
    expected = trained_bytes(work.trained)
    assert expected["weights"] == expected["gradients"] == _bytes(weights)
    assert expected["optimiser"] == _adamw_bytes(weights)


def test_weights_and_states_of_lora() -> None:
    base = skeleton(MODELS["8B"])
    (work,) = works_of(base, groups_of("tl_sft lora"), 1e6, 2048)
    with torch.device("meta"):
        adapted = get_peft_model(base, LoraConfig(r=16, target_modules="all-linear"))  # type: ignore[arg-type]
    trained = [weight for weight in adapted.parameters() if weight.requires_grad]
    assert work.trained == sum(weight.numel() for weight in trained)
    assert trained_bytes(work.trained)["optimiser"] == _adamw_bytes(trained)


def test_phases_of_citi_count_what_is_put_on_a_model() -> None:
    """All linears chosen: the mean component is then no guess."""
    from llamafactory_ext.citi.importance import linear_components
    from llamafactory_ext.molora import MoLoraConfig

    base = skeleton(MODELS["8B"])
    groups = groups_of("citi")
    groups[3].citi_top_ratio, groups[3].citi_bottom_ratio = 1.0, 0.0
    works = {work.name: work for work in works_of(base, groups, 1e6, 2048)}
    assert works.keys() == {"rp", "mi"}
    config = MoLoraConfig(
        target_modules=sorted(linear_components(base)),
        r=groups[3].citi_rank,
        num_experts=groups[3].citi_num_experts,
    )
    with torch.device("meta"):
        adapted = get_peft_model(base, config)
    sizes = {"router": 0, "experts": 0}
    for name, weight in adapted.named_parameters():
        if ".molora_" in name:
            sizes["router" if "router" in name else "experts"] += weight.numel()
    assert works["rp"].trained == sizes["router"]
    assert works["mi"].trained == sum(sizes.values())


def test_importance_of_citi_is_counted_where_its_tokens_are_known() -> None:
    base = skeleton(MODELS["8B"])
    sizes = sizes_of(base, small=True)
    for dtype, wide in (("auto", True), ("float32", True), ("model", False)):
        groups = groups_of("citi")
        groups[3].citi_importance_dtype = dtype
        laps.planned["importance_tokens"] = 500_000
        scored, *phases = works_of(base, groups, 1e6, 2048)
        assert (scored.name, scored.passes, scored.trained, scored.wide) == ("importance", "scores", 0, wide)
        pace = GPU_FLOPS_32 if wide else GPU_FLOPS
        expected = 8 * sizes.linear * 500_000 / (pace * UTILISATION)  # forward, twice backward, recomputed
        assert seconds(sizes, scored, 1) == pytest.approx(expected)
        assert seconds(sizes, scored, 4) == pytest.approx(expected / 4)
        frozen = memory(sizes, scored, "one", 1)
        assert (frozen.weights, frozen.gradients, frozen.optimiser) == ((4 if wide else 2) * sizes.weights, 0, 0)
        assert [work.name for work in works_of(base, groups, 1e6, 2048)] == [work.name for work in phases]


SIZES = Sizes(8_000_000_000, 7_500_000_000, 32, 4096, 14336, 1024, 128256)


@pytest.mark.parametrize("gpus", [2, 8, 64])
def test_engines_share_what_they_say(gpus: int) -> None:
    work = replace(WORK, trained=SIZES.weights)
    of: dict[Engine, Any] = {
        engine: memory(SIZES, work, engine, gpus) for engine in ("ddp", "zero1", "zero2", "zero3", "fsdp")
    }
    assert of["ddp"] == memory(SIZES, work, "one", 1)
    assert of["zero1"].optimiser == of["ddp"].optimiser / gpus
    assert of["zero1"].gradients == of["ddp"].gradients
    assert of["zero2"].gradients == of["ddp"].gradients / gpus
    assert of["zero2"].weights == of["ddp"].weights
    assert of["fsdp"] == of["zero3"]
    assert of["fsdp"].weights == of["ddp"].weights / gpus + 2 * SIZES.bytes * SIZES.of_a_layer
    assert of["ddp"].total > of["zero1"].total > of["zero2"].total > of["fsdp"].total


def test_time_is_linear_in_data_and_shared_by_gpus() -> None:
    one = seconds(SIZES, WORK, 1)
    assert seconds(SIZES, WORK, 8) == pytest.approx(one / 8)
    assert seconds(SIZES, replace(WORK, tokens=3e6), 1) == pytest.approx(3 * one)
    assert flops(SIZES, replace(WORK, recomputes=False)) == 6 * SIZES.linear * WORK.tokens
    assert flops(SIZES, WORK) == 8 * SIZES.linear * WORK.tokens
    assert flops(SIZES, replace(WORK, passes="routers")) == 2 * SIZES.linear * WORK.tokens


def test_disk() -> None:
    assert checkpoint_bytes(10) == 120
    assert disk_bytes(10, 3) == 400
    assert kept_checkpoints(100, 30, None, "steps", 1.0) == 4  # and one at the end
    assert kept_checkpoints(100, 50, None, "steps", 1.0) == 2
    assert kept_checkpoints(100, 10, 2, "steps", 1.0) == 2
    assert kept_checkpoints(100, 0.25, None, "steps", 1.0) == 4
    assert kept_checkpoints(100, 10, None, "epoch", 2.5) == 3
    assert kept_checkpoints(100, 10, None, "no", 1.0) == 0


def test_the_simplest_engine_that_fits() -> None:
    work = replace(WORK, trained=SIZES.weights)
    rooms = {engine: memory(SIZES, work, engine, 8).total for engine in ("ddp", "zero1", "zero2", "fsdp")}
    for engine, room in rooms.items():
        assert choose_engine(SIZES, work, 8, room) == engine
    assert choose_engine(SIZES, work, 8, 1.0) == "fsdp"


def test_the_page_is_current() -> None:
    written = (Path(__file__).parents[2] / "docs" / "scale.md").read_text("utf-8")
    assert written == page(), "run: python -m llamafactory_ext.lab.scale_page > docs/scale.md"
