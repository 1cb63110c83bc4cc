"""Ways to keep what DATA's shared pairs have learnt: identities, and both through three small tasks."""

from __future__ import annotations

import json
from pathlib import Path
from typing import Any

import pytest
import torch
from safetensors.torch import load_file

from cl.comparisons import METHODS, PROTECTED, Here, plan_of, silent
from llamafactory_ext.cl.driver import run_plan
from llamafactory_ext.cl.kinds import PROTECTED as ROWS
from llamafactory_ext.cl.parts import Plan
from llamafactory_ext.cl.rivals.projection import grown_span, outside
from llamafactory_ext.cl.routing import BASE, Expert, expert_of, k_means, routed, whitening

ADAPTER = "adapter_model.safetensors"


def low_rank(count: int, rank: int, width: int) -> torch.Tensor:
    return torch.randn(count, rank, dtype=torch.float64) @ torch.randn(rank, width, dtype=torch.float64)


def nothing(width: int) -> torch.Tensor:
    return torch.zeros(0, width, dtype=torch.float64)


@pytest.mark.fast
def test_a_span_holds_what_was_asked_and_keeps_what_it_had() -> None:
    torch.manual_seed(0)
    first, second = low_rank(50, 3, 8), low_rank(50, 2, 8)
    span = grown_span(nothing(8), first.T @ first, 1 - 1e-12)
    assert span.shape == (3, 8)
    both = grown_span(span, second.T @ second, 1 - 1e-12)
    assert both.shape == (5, 8)
    assert torch.allclose(both @ both.T, torch.eye(5, dtype=torch.float64), atol=1e-12)
    for vectors in (first, second):
        assert torch.allclose(vectors @ both.T @ both, vectors)
    assert torch.equal(grown_span(both, first.T @ first, 0.99), both)  # it was there already
    noise = torch.randn(500, 8, dtype=torch.float64) * torch.tensor([3.0, 2.0, 1.0, *[0.1] * 5])
    moments = noise.T @ noise
    half = grown_span(nothing(8), moments, 0.9)
    held = float((half @ moments @ half.T).trace() / moments.trace())
    assert half.shape[0] == 2
    assert held >= 0.9
    assert grown_span(nothing(8), moments, 1.0).shape[0] <= 8


@pytest.mark.fast
def test_a_step_outside_the_spans_changes_no_earlier_output() -> None:
    """Whatever the steps of A and B are, with any gates."""
    torch.manual_seed(0)
    x = low_rank(40, 3, 8)
    a, b = (torch.randn(shape, dtype=torch.float64) for shape in ((6, 8), (5, 6)))
    gate = torch.rand(40, 6, dtype=torch.float64)
    z = gate * (x @ a.T)
    z[:, 4:] = 0  # ranks that this task leaves alone
    gate[:, 4:] = 0
    inputs = grown_span(nothing(8), x.T @ x, 1 - 1e-12)
    pairs = grown_span(nothing(6), z.T @ z, 1 - 1e-12)
    assert (len(inputs), len(pairs)) == (3, 4)
    a_then, b_then = a + outside(torch.randn_like(a), inputs), b + outside(torch.randn_like(b), pairs)
    assert not torch.allclose(a, a_then)
    assert not torch.allclose(b, b_then)
    assert torch.allclose((gate * (x @ a_then.T)) @ b_then.T, z @ b.T)


@pytest.mark.fast
def test_prompts_go_to_the_nearest_expert_or_to_the_base() -> None:
    torch.manual_seed(0)
    centres = torch.tensor([[0.0, 0.0], [8.0, 0.0], [0.0, 8.0]], dtype=torch.float64)
    spread = torch.tensor([1.0, 0.5], dtype=torch.float64)
    sets = [centre + torch.randn(60, 2, dtype=torch.float64) * spread for centre in centres]
    w = whitening(sets[0])
    assert torch.allclose(w, w.T)
    experts = [expert_of(features, w) for features in sets]
    for place, centre in enumerate(centres):
        others = centre + 0.3 * torch.randn(20, 2, dtype=torch.float64)
        assert routed(others, experts, w) == [place] * 20
    assert routed(torch.tensor([[40.0, 40.0], [4.0, 4.0]], dtype=torch.float64), experts, w) == [BASE, BASE]
    assert routed(sets[0], experts[:1], w) == routed(sets[0], experts, w)  # far later tasks take no earlier prompt
    assert routed(sets[0], experts, w).count(0) >= 48


@pytest.mark.fast
def test_groups_are_found_and_always_the_same() -> None:
    torch.manual_seed(0)
    centres = 10 * torch.eye(5, dtype=torch.float64)
    points = (centres[:, None] + 0.1 * torch.randn(5, 4, 5, dtype=torch.float64)).flatten(0, 1)
    found, groups = k_means(points)
    assert found.shape == (5, 5)
    assert torch.allclose(torch.cdist(found, centres).min(0).values, torch.zeros(5, dtype=torch.float64), atol=0.3)
    assert [len(set(groups[4 * i : 4 * i + 4].tolist())) for i in range(5)] == [1] * 5
    assert all(torch.equal(*pair) for pair in zip(k_means(points), (found, groups), strict=True))


@pytest.mark.fast
@pytest.mark.parametrize("count", [1, 2])
def test_a_task_of_few_prompts_has_an_expert(count: int) -> None:
    features = torch.ones(count, 3, dtype=torch.float64)
    w = whitening(features)
    expert = expert_of(features, w)
    assert isinstance(expert, Expert)
    assert routed(features, [expert], w) == [0] * count


@pytest.fixture(scope="module")
def whole(tiny_llama_dir: Path, tmp_path_factory: pytest.TempPathFactory) -> tuple[Plan, dict[str, Any], Here]:
    """Both and plain DATA on three tasks; read-only."""
    here = Here()
    methods = {"data": METHODS["data"], **PROTECTED}
    plan = plan_of(tmp_path_factory.mktemp("protected"), tiny_llama_dir, methods=methods)
    return plan, run_plan(plan, here, silent), here


def weights(plan: Plan, method: str, task: int) -> dict[str, torch.Tensor]:
    return load_file(plan.out / method / "seed-1" / f"task-{task}" / "adapter" / ADAPTER)


def test_every_protection_is_tried(whole: tuple[Plan, dict[str, Any], Here]) -> None:
    assert set(PROTECTED) == set(ROWS)
    for name in PROTECTED:
        (run,) = whole[1]["methods"][name]["runs"]
        assert whole[1]["methods"][name]["protect"] == name
        assert None not in (run["ap"], run["bwt"], run["forgetting"], run["general_change"])
        assert run["stored_bytes"] > whole[1]["methods"]["data"]["runs"][0]["stored_bytes"]


def test_projected_steps_leave_the_span(whole: tuple[Plan, dict[str, Any], Here]) -> None:
    plan = whole[0]
    spans = load_file(plan.out / "project/seed-1/task-1/adapter/spans.safetensors")
    first, second = (weights(plan, "project", task) for task in (1, 2))
    assert all(torch.equal(first[name], tensor) for name, tensor in weights(plan, "data", 1).items())
    learnt = 0.0
    for name, span in spans.items():
        stored = name.replace(".default.weight", ".weight")
        step = second[stored] - first[stored]
        assert span.shape[1] == step.shape[1]
        assert float((step @ span.T).abs().max()) < 1e-5
        learnt = max(learnt, float(step.abs().max()))
    assert len(spans) == len([name for name in first if "data_adapter_A" in name or "data_adapter_B" in name])
    assert learnt > 1e-3


def test_experts_are_trained_by_themselves_and_asked_what_is_theirs(whole: tuple[Plan, dict[str, Any], Here]) -> None:
    plan, _, here = whole
    for task in (1, 2, 3):
        config = json.loads((plan.out / f"experts/seed-1/task-{task}/adapter/adapter_config.json").read_text("utf-8"))
        assert len(config["tasks"]) == 1
    folder = plan.out / "experts/seed-1/task-3/answers"
    choices = {
        path.name.partition(".")[0]: json.loads(path.read_text("utf-8")) for path in folder.glob("*.experts.json")
    }
    assert set(choices) == {"colours", "numbers", "animals", "general"}
    assert all(len(found) == (6 if name == "general" else 4) for name, found in choices.items())
    assert {choice for found in choices.values() for choice in found} <= {BASE, 0, 1, 2}
    assert here.done.count("route answers") == 3
    assert [line for line in here.done if line.startswith("route task")] == [
        "route task-1",
        "route task-2",
        "route task-3",
    ]
    again = Here()
    assert run_plan(plan, again, silent) == whole[1]
    assert again.done == []
