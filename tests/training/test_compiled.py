"""torch_compile with citi and tl_sft: the same weights, and a run that goes on from its checkpoint."""

from __future__ import annotations

import shutil
from pathlib import Path
from typing import Any

import pytest
from llamafactory.train.tuner import run_exp
from safetensors.torch import load_file
from torch import Tensor

import option_runs
from runs import differing

# Traced as for every backend, and then run as it stands: compiling takes minutes on a CPU.
COMPILED = {"torch_compile": True, "torch_compile_backend": "eager"}
# Forward and backward are cut into graphs as for every backend.
CUT = {"torch_compile": True, "torch_compile_backend": "aot_eager"}


@pytest.mark.parametrize("kind", ["lora", "full"])
def test_compiled_runs_are_the_plain_ones(kind: str, tmp_path: Path) -> None:
    places = option_runs.make_world(tmp_path / "world")

    def train(name: str, **changes: Any) -> dict[str, Tensor]:
        given = {"model_name_or_path": places["model"], "dataset_dir": places["data"], "finetuning_type": kind}
        saving = {"save_strategy": "steps", "save_steps": 2, "max_steps": 4, "output_dir": str(tmp_path / name)}
        run_exp(option_runs.options_of("tl_sft", given | saving | changes))
        (file,) = (tmp_path / name).glob("*model.safetensors")
        return load_file(file)

    plain, compiled = train("plain"), train("compiled", **COMPILED)
    assert differing(compiled, plain) == set()
    shutil.copytree(tmp_path / "compiled" / "checkpoint-2", tmp_path / "again" / "checkpoint-2")
    assert differing(train("again", **COMPILED), plain) == set()


def test_every_phase_of_citi_is_compiled_anew(tmp_path: Path) -> None:
    """What trains changes between phases; graphs of the last one would leave the gradients of the next at zero."""
    places = option_runs.make_world(tmp_path / "world")
    given = {"model_name_or_path": places["model"], "dataset_dir": places["data"], "max_steps": 1}
    given |= {"gradient_accumulation_steps": 2, "per_device_train_batch_size": 1}
    weights, moved = {}, []
    for name, changes in (("plain", {}), ("compiled", CUT)):
        output = tmp_path / name
        run_exp(option_runs.options_of("citi", given | changes | {"output_dir": str(output)}))
        weights[name] = load_file(output / "adapter_model.safetensors")
        before, after = (
            load_file(next(output.glob(f"phase-*-{phase}/adapter/*.safetensors"))) for phase in ("mi", "uco")
        )
        moved.append(differing(before, after))
    assert moved[0] == moved[1] != set()
    plain, compiled = weights["plain"], weights["compiled"]
    assert max((plain[name] - compiled[name]).abs().max().item() for name in plain) < 1e-6
