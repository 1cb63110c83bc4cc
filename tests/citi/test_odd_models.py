"""Odd folders of models: `doctor --model` and a training command agree, in a line each; nothing is loaded."""

from __future__ import annotations

import json
from collections.abc import Iterator
from contextlib import contextmanager
from pathlib import Path
from types import SimpleNamespace
from typing import Any

import pytest
import torch
from llamafactory.hparams import get_train_args
from transformers import AutoModelForCausalLM, AutoTokenizer, PreTrainedModel

import option_runs
from llamafactory_ext.errors import CheckpointError, ExtError
from llamafactory_ext.upstream.doctor import model_checks
from llamafactory_ext.upstream.pipeline.api import loading_model
from odd_models import Odd, odd_models
from sampling import sample
from tiny import save_tiny_model, tiny_config

RIGHT = json.loads(json.dumps(tiny_config().to_dict(), default=str))
ROWS = odd_models(RIGHT)
LINE = 600  # characters, with a library's words of at most 200 and the folder twice


@pytest.fixture(scope="module")
def world(tmp_path_factory: pytest.TempPathFactory) -> dict[str, str]:
    return option_runs.make_world(tmp_path_factory.mktemp("world"))


@contextmanager
def nothing_loaded() -> Iterator[None]:
    """End a test in which a model is loaded."""

    def refused(*_: Any, **__: Any) -> None:
        raise AssertionError("a model is loaded")

    with pytest.MonkeyPatch.context() as patch:
        patch.setattr(PreTrainedModel, "from_pretrained", classmethod(refused))
        patch.setattr(AutoModelForCausalLM, "from_pretrained", classmethod(refused))
        yield


def told_by_doctor(folder: Path) -> tuple[bool, bool]:
    """Whether doctor says that a model trains, and that it is exported."""
    try:
        checks, _ = model_checks(folder)
    except CheckpointError as error:
        check_line(error.message)
        return False, False
    for check in checks:
        assert len(check.found) + len(check.next_step) < LINE
        assert "\n" not in check.found
        assert check.state in ("ok", "warning") or check.next_step, check
    exported = not any(check.what.startswith("exports") and check.state != "ok" for check in checks)
    return all(check.state != "broken" for check in checks), exported


def told_by_training(folder: Path, world: dict[str, str], output: Path, options: dict[str, Any]) -> str | None:
    """What a training command refuses the model with; None where it goes on."""
    given = {**option_runs.BASE, **option_runs.METHODS["citi"], **options}
    places = {"model_name_or_path": str(folder), "dataset_dir": world["data"], "output_dir": str(output)}
    try:
        get_train_args({name: value for name, value in (given | places).items() if value is not None})
    except ExtError as error:
        return error.message
    return None


def check_line(message: str) -> None:
    """Each problem is one line with its next step."""
    first, *more = message.splitlines()
    assert bool(more) == (first == "These options do not work:"), message
    for line in more or [first]:
        assert len(line) < LINE
        assert "; " in line or ". Check " in line, line
        assert "Traceback" not in line


def state(folder: Path) -> Any:
    if not folder.is_dir():
        return folder.is_file()
    return sorted((str(file.relative_to(folder)), file.lstat().st_mtime_ns) for file in folder.rglob("*"))


def assert_it_runs(folder: Path, *, trusted: bool) -> None:
    """A model that was not refused trains for a step, or is refused in a line while it is loaded."""
    named = SimpleNamespace(model_name_or_path=str(folder), adapter_name_or_path=None)
    try:
        with loading_model(named):
            AutoTokenizer.from_pretrained(folder, trust_remote_code=trusted)
            model = AutoModelForCausalLM.from_pretrained(folder, dtype=torch.float32, trust_remote_code=trusted)
    except CheckpointError as error:
        check_line(error.message)
        return
    ids = torch.arange(5, 25).view(2, 10)
    loss = model.train()(input_ids=ids, labels=ids, use_cache=False).loss
    loss.backward()
    found = [weight.grad for weight in model.parameters() if weight.grad is not None]
    assert loss.isfinite()
    assert all(bool(grad.isfinite().all()) for grad in found)


def test_the_table_is_large_and_its_right_folder_is_right(tmp_path: Path, world: dict[str, str]) -> None:
    assert len({row.name for row in ROWS}) == len(ROWS) > 900
    folder = save_tiny_model(tmp_path / "model")
    with nothing_loaded():
        assert told_by_doctor(folder) == (True, True)
        assert told_by_training(folder, world, tmp_path / "out", {}) is None
    assert_it_runs(folder, trusted=False)


@pytest.mark.parametrize("row", sample(ROWS, 90), ids=lambda row: row.name)
def test_an_odd_folder(row: Odd, tmp_path: Path, world: dict[str, str]) -> None:
    folder, trusted = save_tiny_model(tmp_path / "model"), bool(row.options.get("trust_remote_code"))
    row.make(folder)
    before = state(folder)
    with nothing_loaded():
        trains, exported = told_by_doctor(folder)
        least = row.options | {"citi_export": "none", "citi_phases": "rp,mi"}  # what most bases allow
        refused = told_by_training(folder, world, tmp_path / "out", least)
        wholly = told_by_training(folder, world, tmp_path / "out", row.options)
    assert state(folder) == before
    assert not (tmp_path / "out").exists()
    for message in filter(None, (refused, wholly)):
        check_line(message)
    if not trusted:
        assert trains == (refused is None), refused
        assert (trains and exported) == (wholly is None), wholly
    if refused is None:
        assert_it_runs(folder, trusted=trusted)
