"""Runs that several tests of ETAPP read or change."""

from __future__ import annotations

import shutil
from pathlib import Path

import pytest

from etapp.judged_runs import two_runs


@pytest.fixture(scope="session")
def gold_and_null(tmp_path_factory: pytest.TempPathFactory) -> Path:
    """The runs of two agents; treat them as read-only."""
    return two_runs(tmp_path_factory.mktemp("runs"))


@pytest.fixture
def runs(gold_and_null: Path, tmp_path: Path) -> Path:
    """A copy of them."""
    return Path(shutil.copytree(gold_and_null, tmp_path / "runs"))
