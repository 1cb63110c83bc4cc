"""The public data beside the repository, where a machine has it; tests that need it skip with a reason."""

import os
from collections.abc import Mapping
from pathlib import Path

import pytest

from llamafactory_ext.metrics import Prediction

_ROOT = Path(__file__).resolve().parents[2]
SHARED = Path(os.environ.get("LLAMAFACTORY_EXT_SHARED", _ROOT.parent / "shared")) / "data"


def published(folder: str) -> Path:
    path = SHARED / folder
    if not path.exists():
        pytest.skip(f"{path} is missing: the public data are not part of the repository")
    return path


def write_predictions(path: Path, benchmark: str, answers: Mapping[str, str]) -> Path:
    lines = (Prediction(id_, benchmark, "prompt", "model", text).to_line() for id_, text in answers.items())
    path.write_text("".join(lines), encoding="utf-8")
    return path
