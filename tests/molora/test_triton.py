"""The Triton kernels equal torch where Triton interprets them, and compile for GPUs that are not here."""

from __future__ import annotations

import json
import sys
from pathlib import Path
from typing import Any

import pytest
import torch
from peft import get_peft_model

from llamafactory_ext.errors import OptionError
from llamafactory_ext.molora import MoLoraConfig
from llamafactory_ext.molora.kernel import triton_problem
from processes import run
from tiny import tiny_model

pytest.importorskip("triton", reason="torch was installed without Triton")

# Number type; experts, rank, gates, tokens. Sides of tiles are powers of two, these sides need not be.
CASES = [
    ("float64", 4, 8, 5, 130),
    ("float64", 4, 8, 4, 7),
    ("float64", 3, 5, 4, 40),
    ("float64", 1, 1, 2, 1),
    ("float64", 6, 40, 7, 5),
    ("float32", 4, 8, 5, 33),
    ("float16", 4, 8, 5, 33),
    ("bfloat16", 4, 8, 5, 33),
]
# The interpreter cuts numbers off where it makes bfloat16 of them; a GPU rounds.
BOUNDS = {"float64": 1e-13, "float32": 1e-6, "float16": 2e-3, "bfloat16": 2e-2}
ROUNDED_ALIKE = ("stack", "gated")


@pytest.fixture(scope="module")
def interpreted(tiny_llama_dir: Path, tiny_data_dir: Path, tmp_path_factory: pytest.TempPathFactory) -> dict[str, Any]:
    script, folder = Path(__file__).with_name("interpreted_kernels.py"), tmp_path_factory.mktemp("triton")
    command = [sys.executable, script, json.dumps(CASES), tiny_llama_dir, tiny_data_dir, folder]
    variables = {"TRITON_INTERPRET": "1", "PYTHONPATH": str(Path(__file__).parents[1])}
    result = run([str(word) for word in command], folder, **variables)
    assert result.returncode == 0, result.stderr
    return json.loads(result.stdout.splitlines()[-1])


@pytest.mark.parametrize("case", range(len(CASES)), ids=[" ".join(map(str, case)) for case in CASES])
def test_each_kernel_equals_torch(interpreted: dict[str, Any], case: int) -> None:
    dtype, found = CASES[case][0], interpreted["functions"][case]
    assert len(found) == 5
    assert all(difference <= BOUNDS[dtype] for difference in found.values()), found
    if dtype != "bfloat16":
        assert all(found[name] == 0 for name in ROUNDED_ALIKE), found


def test_an_adapted_linear_with_them_has_the_same_output_and_gradients(interpreted: dict[str, Any]) -> None:
    assert len(interpreted["layers"]) == 4
    assert all(difference <= 1e-12 for difference in interpreted["layers"])


@pytest.mark.parametrize("capability", [80, 90])
@pytest.mark.parametrize("dtype", ["bf16", "fp16", "fp32"])
def test_they_compile_for_gpus(dtype: str, capability: int, tmp_path: Path, monkeypatch: pytest.MonkeyPatch) -> None:
    import triton
    from triton.backends.compiler import GPUTarget
    from triton.compiler import ASTSource

    from llamafactory_ext.molora import gating_triton

    monkeypatch.setenv("TRITON_CACHE_DIR", str(tmp_path))
    low, high = f"*{dtype}", "*fp32"
    tile = {"N": 4, "R": 8, "N2": 4, "R2": 8, "TOKENS": 32, "scaling": 0.25}
    sources = [(gating_triton._stack, {"A_ptr": high, "router_ptr": high, "out_ptr": low, "D": "i32"})]
    values = [{"M": 32, "COLUMNS": 1024}]
    for gates in (4, 5):
        sources.append((gating_triton._gates, {"logits_ptr": low, "gates_ptr": high, "tokens": "i32"}))
        values.append({"E": gates, "E2": 4 if gates == 4 else 8, "TOKENS": 128})
        sources.append((gating_triton._gated, {"u_ptr": low, "gates_ptr": high, "z_ptr": low, "tokens": "i32"}))
        values.append({**tile, "E": gates})
        for extra in (False, True):
            pointers = {"z_ptr": low, "gates_ptr": high, "dz_ptr": low, "extra_ptr": high, "du_ptr": low}
            sources.append((gating_triton._ungated, pointers | {"tokens": "i32"}))
            values.append({**tile, "E": gates, "EXTRA": extra})
    for (kernel, signature), constants in zip(sources, values, strict=True):
        source = ASTSource(kernel, {**signature, **dict.fromkeys(constants, "constexpr")}, constants)
        assert triton.compile(source, target=GPUTarget("cuda", capability, 32)).asm["cubin"]


def test_without_a_gpu_they_are_refused(monkeypatch: pytest.MonkeyPatch) -> None:
    monkeypatch.setattr(torch.cuda, "is_available", lambda: False)
    monkeypatch.delenv("TRITON_INTERPRET", raising=False)
    model = get_peft_model(tiny_model("llama"), MoLoraConfig(target_modules=["q_proj"]))
    with pytest.raises(OptionError, match="Kernel triton cannot be used, as it needs a GPU; set citi_kernel: torch"):
        model.base_model.set_kernel("triton")
    model.base_model.set_kernel("torch")
    monkeypatch.setattr("importlib.util.find_spec", lambda name: None)
    assert triton_problem() == "Triton is not installed (torch for a GPU brings it along)"


def test_a_run_with_them_ends_where_torch_ends(interpreted: dict[str, Any]) -> None:
    found = interpreted["ends"]
    assert sum(name.endswith("molora_B.weight") for name in found) == 4
    assert all(difference <= 1e-4 for difference in found.values()), found
    assert any(found.values()), "equal to the last bit: the run did not use them"
