"""Liger's kernels under citi and tl_sft: the same training and the same importance, though they write over outputs."""

from __future__ import annotations

import json
from pathlib import Path
from typing import Any

import pytest
from llamafactory.train.tuner import run_exp
from safetensors.torch import load_file
from torch import Tensor

import liger
import option_runs
from llamafactory_ext.errors import OptionError

STEPS = {"max_steps": 2, "gradient_accumulation_steps": 2, "per_device_train_batch_size": 1}


def options_of(method: str, folder: Path, name: str, **changes: Any) -> dict[str, Any]:
    places = option_runs.make_world(folder / "world")
    given = {"model_name_or_path": places["model"], "dataset_dir": places["data"], "output_dir": str(folder / name)}
    return option_runs.options_of(method, given | STEPS | changes)


def weights_of(options: dict[str, Any]) -> dict[str, Tensor]:
    (file,) = Path(options["output_dir"]).glob("*model.safetensors")
    return load_file(file)


@pytest.mark.parametrize(
    ("method", "option"),
    [("citi", "enable_liger_kernel"), ("citi", "use_liger_kernel"), ("tl_sft", "use_liger_kernel")],
)
def test_a_run_with_the_kernels_is_the_run_without(
    method: str, option: str, tmp_path: Path, monkeypatch: pytest.MonkeyPatch
) -> None:
    plain = options_of(method, tmp_path, "plain")
    run_exp(plain)
    calls = liger.install(monkeypatch, tmp_path)
    fast = options_of(method, tmp_path, "fast", **{option: True})
    run_exp(fast)
    assert calls
    one, other = weights_of(plain), weights_of(fast)
    assert one.keys() == other.keys()
    assert max((one[name] - other[name]).abs().max().item() for name in one) < 2e-5
    if method == "citi":
        found, wanted = (
            json.loads((tmp_path / name / "importance.json").read_text("utf-8")) for name in ("fast", "plain")
        )
        assert found["tasks"]["tool"]["scores"] == pytest.approx(wanted["tasks"]["tool"]["scores"], rel=1e-3)


@pytest.mark.parametrize("option", ["enable_liger_kernel", "use_liger_kernel"])
def test_without_a_gpu_it_is_refused_before_anything_is_loaded(
    option: str, tmp_path: Path, monkeypatch: pytest.MonkeyPatch
) -> None:
    liger.install(monkeypatch, tmp_path)
    monkeypatch.delenv("TRITON_INTERPRET")
    with pytest.raises(OptionError, match=f"{option} needs a GPU; remove it"):
        run_exp(options_of("tl_sft", tmp_path, "out", **{option: True}))
    assert not (tmp_path / "out").exists()
