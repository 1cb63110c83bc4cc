"""Runs the Triton kernels in Triton's interpreter and prints, as JSON, how far they are from torch.

Started by `test_triton.py` with TRITON_INTERPRET=1, which counts only if it is set before Triton is loaded.
"""

import json
import sys
from pathlib import Path

import torch
from torch import Tensor, nn

from llamafactory_ext.molora import MoLoraLinear, gating, gating_triton
from runs import citi_options, train

DTYPES = {"float64": torch.float64, "float32": torch.float32, "float16": torch.float16, "bfloat16": torch.bfloat16}
D = 70


def apart(one: Tensor, other: Tensor) -> float:
    """The greatest difference, relative to the greatest number; one that is no number differs without bound."""
    assert one.shape == other.shape
    assert one.dtype == other.dtype
    found = ((one.double() - other.double()).abs().max() / other.double().abs().max()).item()
    return found if found == found else float("inf")


def functions(dtype: torch.dtype, experts: int, rank: int, gates: int, tokens: int) -> dict[str, float]:
    draw = torch.Generator().manual_seed(0)
    A_ND = torch.randn(experts * rank, D, generator=draw, dtype=torch.float64).float()
    router_ED = torch.randn(gates, D, generator=draw, dtype=torch.float64).float()
    stacked = gating.stack(router_ED, A_ND, dtype)
    found = {"stack": apart(gating_triton.stack(router_ED, A_ND, dtype), stacked)}
    u_KT = (stacked @ torch.randn(D, tokens, generator=draw, dtype=torch.float64).to(dtype)) * 0.2
    gates_ET = gating.gates(u_KT, gates)
    found["gates"] = apart(gating_triton.gates(u_KT, gates), gates_ET)
    size = (experts, 2 / 3)
    z_MT = gating.gated(u_KT, gates_ET, *size)
    found["gated"] = apart(gating_triton.gated(u_KT, gates_ET, *size), z_MT)
    dz_TM = torch.randn(tokens, experts * rank, generator=draw, dtype=torch.float64).to(dtype)
    extra_ET = torch.randn(gates, tokens, generator=draw, dtype=torch.float64).to(gates_ET.dtype)
    for name, extra in (("ungated", None), ("ungated, router loss", extra_ET)):
        ours = gating_triton.ungated(z_MT, gates_ET, dz_TM, extra, *size)
        found[name] = apart(ours, gating.ungated(z_MT, gates_ET, dz_TM, extra, *size))
    return found


class Push:
    """A loss that wants the later gates closed."""

    alone = False

    def observe(self, layer: str, gates_ET: Tensor) -> None:
        pass

    def gradient(self, layer: str, gates_ET: Tensor) -> Tensor:
        return torch.arange(len(gates_ET))[:, None].expand_as(gates_ET).to(gates_ET)

    def learn(self, layer: str, x: Tensor, router_ED: Tensor) -> None:
        pass


def layer(neutral: bool, pushed: bool) -> float:
    """Output and all gradients of a whole adapted linear in float64."""
    torch.manual_seed(0)
    linear = nn.Linear(D, 24, dtype=torch.float64).requires_grad_(False)
    settings = {"num_experts": 3, "r": 5, "alpha": 2.0, "init_weights": False, "neutral_gate": neutral}
    adapted = MoLoraLinear(linear, "default", **settings).double()
    adapted.gate_loss = Push() if pushed else None
    x = torch.randn(2, 33, D, dtype=torch.float64, requires_grad=True)
    results = {}
    for adapted.kernel in ("torch", "triton"):
        adapted.zero_grad()
        x.grad = None
        y = adapted(x)
        y.sin().sum().backward()
        trained = [parameter for parameter in adapted.parameters() if parameter.requires_grad]
        results[adapted.kernel] = [y.detach(), x.grad, *(parameter.grad for parameter in trained)]
    assert len(results["torch"]) == 5
    return max(apart(ours, theirs) for ours, theirs in zip(results["triton"], results["torch"], strict=True))


def ends(model: Path, data: Path, output: Path) -> dict[str, float]:
    """Each tensor at the end of a short CITI run."""
    weights = {}
    for kernel in ("torch", "triton"):
        changes = {"citi_kernel": kernel, "citi_phases": "mi,uco", "max_steps": 3}
        weights[kernel] = train(citi_options(model, data, output / kernel, **changes)).weights()
    assert weights["torch"].keys() == weights["triton"].keys()
    return {name: apart(weights["triton"][name], end) for name, end in weights["torch"].items()}


if __name__ == "__main__":
    found = {
        "functions": [functions(DTYPES[name], *sizes) for name, *sizes in json.loads(sys.argv[1])],
        "layers": [layer(neutral, pushed) for neutral in (True, False) for pushed in (True, False)],
        "ends": ends(*map(Path, sys.argv[2:])),
    }
    print(json.dumps(found))
