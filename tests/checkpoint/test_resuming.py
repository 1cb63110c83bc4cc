"""A run of any method that was interrupted ends with the bits of one that was not, whatever its base model is like."""

from __future__ import annotations

from pathlib import Path

import pytest
import torch
from llamafactory.hparams import get_train_args
from llamafactory.train.tuner import run_exp

from checkpoint.resume_cases import METHODS, MODELS, Case, Interrupt, Model, cases, outcome
from runs import differing


@pytest.fixture(scope="module")
def models(tmp_path_factory: pytest.TempPathFactory) -> dict[Model, Path]:
    folder = tmp_path_factory.mktemp("models")
    return {model: model.save(folder / model.name) for model in MODELS}


@pytest.mark.parametrize("method", METHODS)
def test_every_row_is_a_command_that_the_checks_take(method: str, models: dict[Model, Path], tmp_path: Path) -> None:
    get_train_args(Case(method, MODELS[0]).options(models[MODELS[0]], tmp_path, tmp_path / "run"))


@pytest.mark.parametrize("case", cases(), ids=lambda case: case.name)
def test_interrupted_is_uninterrupted(
    case: Case, models: dict[Model, Path], tmp_path: Path, monkeypatch: pytest.MonkeyPatch
) -> None:
    monkeypatch.setattr("llamafactory_ext.citi.run.workflow.write_outputs", lambda *_: None)
    whole, part = (case.options(models[case.model], tmp_path, tmp_path / name) for name in ("whole", "part"))
    run_exp(whole, [])
    with pytest.raises(KeyboardInterrupt):
        run_exp(part, [Interrupt()])
    run_exp(part, [])
    expected, found = (outcome(tmp_path / name) for name in ("whole", "part"))
    assert differing(found, expected) == set()
    assert any(name.startswith(("model", "adapter_model")) for name in expected)
    steps = [name for name in expected if "checkpoint-2/" in name and "optimizer" not in name]
    assert any(
        not torch.equal(expected[name], expected[last])
        for name in steps
        if (last := name.replace("checkpoint-2", "checkpoint-4")) in expected
    ), "the weights must move between the checkpoint and the end"
