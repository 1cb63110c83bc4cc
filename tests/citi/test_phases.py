"""Only the phase's parameters move, in every phase; what moves is printed and recorded."""

from __future__ import annotations

import re
from pathlib import Path
from types import SimpleNamespace

import pytest
import torch
from peft import get_peft_model

import tiny
from llamafactory_ext.citi.phases import (
    Phase,
    describe,
    phase_table,
    set_trainable,
    undecided_routers,
)
from llamafactory_ext.molora import MoLoraConfig
from llamafactory_ext.training.parameters import (
    parameter_group,
    total_size,
    trainable_names,
)
from runs import PHASES, Run, Snapshots, citi_options, differing, train

pytestmark = pytest.mark.fast

MOVING = {"rp": {"router"}, "mi": {"router", "experts"}, "uco": {"backbone"}}


@pytest.fixture(scope="module")
def watched(
    tiny_llama_dir: Path, tiny_data_dir: Path, tmp_path_factory: pytest.TempPathFactory
) -> tuple[Run, Snapshots]:
    snapshots = Snapshots()
    options = citi_options(tiny_llama_dir, tiny_data_dir, tmp_path_factory.mktemp("run"))
    return train(options, snapshots), snapshots


def names_of(weights: dict[str, torch.Tensor], groups: set[str]) -> set[str]:
    return {name for name in weights if parameter_group(name) in groups}


@pytest.mark.parametrize("phase", PHASES)
def test_exactly_the_parameters_of_the_phase_move(watched: tuple[Run, Snapshots], phase: str) -> None:
    _, seen = watched
    expected = names_of(seen.begin[phase], MOVING[phase])
    assert expected
    assert differing(seen.begin[phase], seen.end[phase]) == expected
    assert seen.trainable[phase] == expected


@pytest.mark.parametrize(("before", "after"), [("rp", "mi"), ("mi", "uco")])
def test_nothing_moves_between_phases(watched: tuple[Run, Snapshots], before: str, after: str) -> None:
    _, seen = watched
    assert differing(seen.end[before], seen.begin[after]) == set()


@pytest.mark.parametrize(("before", "after"), [("rp", "mi"), ("mi", "uco")])
def test_the_saved_adapters_differ_in_what_the_phase_trains(
    watched: tuple[Run, Snapshots], before: str, after: str
) -> None:
    run, _ = watched
    moved = differing(run.adapter(before), run.adapter(after))
    for name in run.adapter(after):
        group = "router" if ".molora_router." in name else "experts" if ".molora_" in name else "backbone"
        assert (name in moved) == (group in MOVING[after]), name


def test_the_base_never_moves(watched: tuple[Run, Snapshots]) -> None:
    _, seen = watched
    original = dict(tiny.tiny_model().named_parameters())
    frozen = {name: weight for name, weight in seen.end["uco"].items() if parameter_group(name) == "frozen"}
    plain = {
        name.removeprefix("base_model.model.").replace(".base_layer", "").replace(".original_module", ""): weight
        for name, weight in frozen.items()
    }
    assert plain.keys() == original.keys()
    assert all(torch.equal(plain[name], original[name]) for name in original)


def test_the_tuned_copies_start_as_the_originals(watched: tuple[Run, Snapshots]) -> None:
    _, seen = watched
    begin = seen.begin["uco"]
    copies = names_of(begin, {"backbone"})
    assert all(
        torch.equal(begin[name], begin[name.replace("modules_to_save.default", "original_module")]) for name in copies
    )


def test_the_trainable_set_is_printed_and_recorded(watched: tuple[Run, Snapshots]) -> None:
    run, seen = watched
    total = sum(weight.numel() for weight in seen.begin["rp"].values())
    for phase in PHASES:
        manifest = run.json(f"{run.folder(phase).name}/adapter/manifest.json")
        (line,) = [line for line in run.said if line.startswith(f"Phase {phase} (")]
        assert manifest["phase"] == phase
        assert set(manifest["trained"]) == MOVING[phase]
        for group, (tensors, numbers) in manifest["trained"].items():
            names = names_of(seen.begin[phase], {group})
            assert (tensors, numbers) == (len(names), sum(seen.begin[phase][name].numel() for name in names))
            assert f"{group}: {tensors} tensors, {numbers:,} parameters" in line
        assert f"of {total:,}" in line
    order = [line.split()[1] for line in run.said if line.startswith("Phase ")]
    assert order == list(PHASES)


def options(phases: list[str], bottom: float = 0.1, adapter: str = "molora") -> SimpleNamespace:
    values = {"citi_rp_epochs": 1, "citi_mi_epochs": 2, "citi_uco_epochs": 3, "citi_bottom_ratio": bottom}
    values["citi_adapter"] = adapter
    return SimpleNamespace(citi_phases=phases, citi_rp_lr=0.1, citi_mi_lr=0.2, citi_uco_lr=0.3, **values)


def test_the_table_takes_epochs_and_rates_from_the_options() -> None:
    table = phase_table(options(list(PHASES)))
    assert [(phase.name, set(phase.trains), phase.epochs, phase.lr) for phase in table] == [
        ("rp", {"router"}, 1, 0.1),
        ("mi", {"router", "experts"}, 2, 0.2),
        ("uco", {"backbone"}, 3, 0.3),
    ]
    assert [phase.name for phase in phase_table(options(["mi", "uco"]))] == ["mi", "uco"]


@pytest.mark.parametrize(("adapter", "trained"), [("lora", "lora"), ("full", "backbone")])
def test_phase_mi_trains_what_the_components_carry(adapter: str, trained: str) -> None:
    (mi,) = phase_table(options(["mi"], adapter=adapter))
    assert (mi.trains, mi.epochs, mi.lr) == ({trained}, 2, 0.2)
    assert "MOLoRA" not in mi.title


def test_no_component_to_tune_means_no_phase_for_it() -> None:
    assert [phase.name for phase in phase_table(options(list(PHASES), bottom=0))] == ["rp", "mi"]


def test_every_parameter_has_one_group() -> None:
    config = MoLoraConfig(target_modules=["q_proj"], modules_to_save=["up_proj"], num_experts=2, r=2)
    model = get_peft_model(tiny.tiny_model(), config)
    everything: frozenset = frozenset({"router", "experts", "backbone", "frozen"})
    moving = set_trainable(model, Phase("all", "", everything, 1, 1))
    assert {group: tensors for group, (tensors, _) in moving.items()} == {
        "router": 2,
        "experts": 4,
        "backbone": 2,
        "frozen": len(dict(tiny.tiny_model().named_parameters())),
    }
    assert sum(numbers for _, numbers in moving.values()) == total_size(model.parameters())
    set_trainable(model, Phase("rp", "Router", frozenset({"router"}), 1, 1))
    assert trainable_names(model) == [name for name, _ in model.named_parameters() if "molora_router" in name]
    moving = {"router": (2, 192)}
    line = describe(Phase("rp", "Router Pre-training", frozenset({"router"}), 1.5, 2e-4), moving, 1920)
    assert line == (
        "Phase rp (Router Pre-training), 1.5 epochs at 0.0002, trains router: 2 tensors, 192 parameters (10.000% of "
        "1,920)."
    )


@pytest.mark.parametrize(
    ("gates", "scope", "said"),
    [
        ((), "batch", ""),
        ((0.3, 0.5), "batch", ""),
        ((0.8, 0.49), "batch", "0.49 on general data.*citi_rp_lr.*citi_router_scope: sample"),
        ((0.2,), "token", "0.20 on general data.*citi_rp_epochs"),
    ],
)
def test_routers_that_let_general_data_through_are_named(gates: tuple[float, ...], scope: str, said: str) -> None:
    history = [{"loss": 1.0}, *({"gate0_general": gate} for gate in gates), {"train_runtime": 1.0}]
    found = undecided_routers(history, scope)
    assert (found is None) == (not said)
    if found is not None:
        assert re.search(said, found)
        assert ("sample" in found) == (scope == "batch")
