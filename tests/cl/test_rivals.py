"""Every rival through three small tasks: what it shares with plain LoRA, what it keeps, what it adds."""

from __future__ import annotations

from pathlib import Path
from typing import Any

import pytest
import torch
from safetensors.torch import load_file, save_file

from cl.comparisons import METHODS, RIVALS, Here, plan_of, silent
from llamafactory_ext.cl.driver import run_plan
from llamafactory_ext.cl.kinds import KINDS, PROTECTED, WHOLE
from llamafactory_ext.cl.parts import Plan
from llamafactory_ext.cl.rivals.lora_files import read_lora
from llamafactory_ext.cl.rivals.methods import RIVALS as TRAININGS
from llamafactory_ext.errors import CheckpointError

ADAPTER = "adapter_model.safetensors"


@pytest.fixture(scope="module")
def whole(tiny_llama_dir: Path, tmp_path_factory: pytest.TempPathFactory) -> tuple[Plan, dict[str, Any]]:
    """All rivals and plain LoRA on three tasks; read-only."""
    methods = {"seq_lora": METHODS["seq_lora"], **RIVALS}
    plan = plan_of(tmp_path_factory.mktemp("rivals"), tiny_llama_dir, methods=methods)
    return plan, run_plan(plan, Here(), silent)


def place(plan: Plan, method: str, task: int) -> Path:
    return plan.out / method / "seed-1" / f"task-{task}" / "adapter"


def same(one: Path, other: Path) -> bool:
    first, second = load_file(one / ADAPTER), load_file(other / ADAPTER)
    return first.keys() == second.keys() and all(torch.equal(first[name], second[name]) for name in first)


def test_every_rival_is_tried() -> None:
    assert set(RIVALS) == {kind.rival for kind in KINDS.values() if kind.is_rival}
    assert set(TRAININGS) == set(RIVALS) | {kind.rival for kind in PROTECTED.values() if kind.is_rival}


@pytest.mark.parametrize("method", RIVALS)
def test_a_rival_has_its_whole_matrix(method: str, whole: tuple[Plan, dict[str, Any]]) -> None:
    (run,) = whole[1]["methods"][method]["runs"]
    assert [[cell is not None for cell in row] for row in run["matrix"]] == [[True, True, False], *[[True] * 3] * 2]
    assert None not in (run["ap"], run["bwt"], run["fwt"], run["general_change"])
    assert run["steps"] == [2, 2, 2]
    assert run["stored_bytes"] > 0


@pytest.mark.parametrize("method", ["inc_lora", "olora", "slao", "ewc", "lwf"])
def test_the_first_task_is_plain_lora(method: str, whole: tuple[Plan, dict[str, Any]]) -> None:
    plan = whole[0]
    assert same(place(plan, method, 1), place(plan, "seq_lora", 1))


@pytest.mark.parametrize(
    ("method", "plain"), [("ewc", "seq_lora"), ("lwf", "seq_lora"), ("slao", "seq_lora"), ("olora", "inc_lora")]
)
def test_later_tasks_are_not(method: str, plain: str, whole: tuple[Plan, dict[str, Any]]) -> None:
    plan = whole[0]
    assert not same(place(plan, method, 2), place(plan, plain, 2))


@pytest.mark.parametrize("method", ["inc_lora", "olora"])
def test_earlier_adapters_stay_frozen_in_the_sum(method: str, whole: tuple[Plan, dict[str, Any]]) -> None:
    plan = whole[0]
    sums = [read_lora(place(plan, method, t) / WHOLE).pairs for t in (1, 2, 3)]
    new = [read_lora(place(plan, method, t)).pairs for t in (1, 2, 3)]
    for linear, (a, b) in sums[2].items():
        assert a.shape[0] == b.shape[1] == 12
        assert torch.equal(a[:8], sums[1][linear][0])
        assert torch.equal(b[:, :8], sums[1][linear][1])
        total = sum(pairs[linear][1] @ pairs[linear][0] for pairs in new)
        assert torch.allclose(b @ a, total, atol=1e-6)


def test_olora_s_new_rows_overlap_less(tiny_llama_dir: Path, tmp_path: Path) -> None:
    """With a strong term; beside the same training without it."""
    options = {"lora_rank": 4}
    methods = {
        "free": {"kind": "olora", "settings": {"orthogonality": 0}, "options": options},
        "held": {"kind": "olora", "settings": {"orthogonality": 10}, "options": options},
    }
    train = {"use_cpu": True, "max_steps": 20, "learning_rate": 1e-2, "per_device_train_batch_size": 6}
    plan = plan_of(
        tmp_path, tiny_llama_dir, methods=methods, order=["numbers", "animals"], train=train, evaluate={"base": False}
    )
    run_plan(plan, Here(), silent)
    overlap = {}
    for method in methods:
        old, new = (read_lora(place(plan, method, t)).pairs for t in (1, 2))
        overlap[method] = sum(float((old[name][0] @ new[name][0].T).abs().sum()) for name in old)
    assert overlap["held"] < 0.5 * overlap["free"]


def test_slao_merges_what_it_trained(whole: tuple[Plan, dict[str, Any]]) -> None:
    plan = whole[0]
    start = read_lora(plan.out / "slao/seed-1/task-2/start").pairs
    tuned = [read_lora(place(plan, "slao", t)).pairs for t in (1, 2, 3)]
    answers = [read_lora(place(plan, "slao", t) / WHOLE).pairs for t in (1, 2, 3)]
    for linear, (a, b) in answers[2].items():
        assert torch.allclose(start[linear][0] @ start[linear][0].T, torch.eye(4), atol=1e-5)
        assert torch.equal(start[linear][1], tuned[0][linear][1])
        assert torch.equal(a, tuned[2][linear][0])
        before = answers[1][linear][1]
        assert torch.allclose(b, before + (tuned[2][linear][1] - before) / 3**0.5, atol=1e-7)


def test_ewc_adds_up_what_earlier_tasks_need(whole: tuple[Plan, dict[str, Any]]) -> None:
    plan = whole[0]
    first, second = (load_file(place(plan, "ewc", t) / "fisher.safetensors") for t in (1, 2))
    weights = load_file(place(plan, "ewc", 1) / ADAPTER)
    assert len(first) == 2 * len(weights)
    for name, tensor in first.items():
        kind, _, weight = name.partition(" ")
        if kind == "importance":
            assert bool((tensor >= 0).all() and (second[name] >= tensor).all())
            stored = weights[weight.replace(".default", "")]
            assert torch.equal(first[f"drawn {weight}"], tensor * stored)
    assert max(float(tensor.max()) for tensor in first.values()) > 0


def test_osf_keeps_the_large_directions(whole: tuple[Plan, dict[str, Any]], tiny_llama_dir: Path) -> None:
    """Those of the base in the first task, and in the second those of what the first one left."""
    plan = whole[0]
    weights = {
        name.removesuffix(".weight"): tensor.float()
        for path in tiny_llama_dir.glob("*.safetensors")
        for name, tensor in load_file(path).items()
        if ".layers." in name and tensor.ndim == 2
    }
    changes = [read_lora(place(plan, "osf", t) / WHOLE).pairs for t in (1, 2)]
    assert set(changes[0]) == set(weights)
    for linear, base in weights.items():
        first, second = (pairs[linear][1] @ pairs[linear][0] for pairs in changes)
        for start, change in ((base, first), (base + first, second - first)):
            u, _, v = torch.linalg.svd(start, full_matrices=False)
            half = min(start.shape) // 2
            most = float(change.abs().max())
            assert most > 1e-5
            assert float((u[:, :half].T @ change).abs().max()) < 1e-2 * most
            assert float((change @ v[:half].T).abs().max()) < 1e-2 * most


def test_more_than_pairs_is_refused(whole: tuple[Plan, dict[str, Any]], tmp_path: Path) -> None:
    config = (place(whole[0], "seq_lora", 1) / "adapter_config.json").read_text("utf-8")
    (tmp_path / "adapter_config.json").write_text(config, encoding="utf-8")
    with pytest.raises(CheckpointError, match="holds no adapter that can be read"):
        read_lora(tmp_path)
    save_file({"base_model.model.q.lora_magnitude_vector": torch.ones(2)}, tmp_path / ADAPTER)
    with pytest.raises(CheckpointError, match=r"lora_magnitude_vector is no part of a plain LoRA"):
        read_lora(tmp_path)
