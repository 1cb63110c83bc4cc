"""The numbers of the released code (Xnhyacinth/DATA 3180d8e), in float64: `data_reference.json` says how they came."""

from __future__ import annotations

import json
from pathlib import Path

import pytest
import torch
from torch import Tensor, nn

import llamafactory_ext  # noqa: F401  # registers DATA
from llamafactory_ext.duo.gate import GateRows, Opened
from llamafactory_ext.duo.layer import DataAdapterLinear

pytestmark = pytest.mark.fast

GOLDEN = json.loads((Path(__file__).parent / "data_reference.json").read_text("utf-8"))
BOUND = 1e-6


def close(found: Tensor, wanted: list) -> bool:
    return torch.allclose(found, torch.tensor(wanted, dtype=torch.float64), rtol=0, atol=BOUND)


def rows_of(case: dict) -> GateRows:
    """The case's rows as both the low and the high gate: in training earlier ones frozen, else all as if new."""
    m, task = case["components"], case["task"]
    earlier = task * m if case["training"] else 0
    gate = GateRows("reference", 6, (task + 1) * m - earlier, 1, 0).double().train(case["training"])
    for name in "KAW":
        rows = torch.tensor(case[name], dtype=torch.float64)[: (task + 1) * m].expand(2, -1, -1)
        setattr(gate, f"old_{name}", rows[:, :earlier].clone())
        setattr(gate, f"new_{name}", nn.Parameter(rows[:, earlier:].clone()))
    return gate


@pytest.mark.parametrize("case", GOLDEN["gate"], ids=lambda case: f"task {case['task']}, training {case['training']}")
def test_gate_and_gradients(case: dict) -> None:
    gate, h = rows_of(case), torch.tensor(case["h"], dtype=torch.float64, requires_grad=True)
    opened, ortho = gate(h, {}, ("default", 0))
    assert close(opened[0, :, 0], case["gate"])
    assert torch.equal(opened, opened[:, :, :1].expand_as(opened))
    low = opened[0, :, 0].sum()
    if case["training"]:
        assert ortho.item() * case["ortho_mu"] == pytest.approx(case["ortho"], abs=BOUND)
        low = low + ortho * case["ortho_mu"] * 2  # the mean over both gates, of which one counts here
    low.backward()
    assert close(h.grad, case["grad_h"])
    for name in "KAW":
        earlier = getattr(gate, f"old_{name}").shape[1]
        assert close(
            getattr(gate, f"new_{name}").grad[0], case[f"grad_{name}"][earlier : earlier + len(gate.new_K[0])]
        )


def test_layer_and_gradients() -> None:
    case = {name: torch.tensor(value, dtype=torch.float64) for name, value in GOLDEN["layer"].items()}
    base = nn.Linear(6, 4).double().requires_grad_(False)
    base.weight.copy_(case["weight"])
    base.bias.copy_(case["bias"])
    layer = DataAdapterLinear(base, Opened())
    layer.update_layer("default", low_rank=2, high_rank=3, init="kaiming", gated=True, init_weights=True)
    A, B = layer.double().weights("default")
    with torch.no_grad():
        A.copy_(torch.cat([case["A_low"], case["A_high"]]))
        B.copy_(torch.cat([case["B_low"], case["B_high"]], dim=1))
    gates = torch.stack([case["gate_low"], case["gate_high"]]).requires_grad_()
    layer.opened.gates["default"] = gates[..., None].expand(2, 2, 3)
    x = case["x"].clone().requires_grad_()
    y = layer(x)
    y.backward(case["dy"])
    found = {
        "y": y, "grad_x": x.grad, "grad_gate_low": gates.grad[0], "grad_gate_high": gates.grad[1],
        "grad_A_low": A.grad[:2], "grad_A_high": A.grad[2:], "grad_B_low": B.grad[:, :2], "grad_B_high": B.grad[:, 2:],
    }  # fmt: skip
    assert {
        name for name, tensor in found.items() if not torch.allclose(tensor, case[name], rtol=0, atol=BOUND)
    } == set()
