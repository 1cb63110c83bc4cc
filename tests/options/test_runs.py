"""Every row of the table of options is true: two steps with the option, compared with two steps without it.

A sample runs here; `OPTION_TRIALS=all` (`make test-all`) runs all of them, `OPTION_TRIALS=each` in a run for each.
"""

from __future__ import annotations

import os
from pathlib import Path
from typing import Any

import pytest
from llamafactory.hparams import parser

from llamafactory_ext.options.fates.judge import defaults_of
from llamafactory_ext.options.fates.table import ROWS
from option_trials import Trial, fault, run, sample, trials_of

ALL = trials_of(ROWS.values(), defaults_of(parser._TRAIN_ARGS))
ASKED = os.environ.get("OPTION_TRIALS", "")
TRIALS = ALL if ASKED in ("all", "each") else sample(ALL)


@pytest.fixture(scope="module")
def results(tmp_path_factory: pytest.TempPathFactory) -> dict[str, dict[str, Any]]:
    folder: Path = tmp_path_factory.mktemp("trials")
    return run(TRIALS, folder, each=ASKED == "each")


@pytest.mark.parametrize("trial", TRIALS, ids=lambda trial: trial.id)
def test_a_row(trial: Trial, results: dict[str, dict[str, Any]]) -> None:
    assert fault(trial, results) is None


def test_the_sample_has_every_kind() -> None:
    assert {trial.kind for trial in sample(ALL)} == {trial.kind for trial in ALL}
    assert len(ALL) > 700
