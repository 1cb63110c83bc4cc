"""The published evaluators' checkouts, which the environment names; tests that need one skip with the reason."""

from __future__ import annotations

import os
from collections.abc import Mapping
from pathlib import Path

import pytest


def checkout(variable: str, file: str) -> Path:
    """Return the checkout that a variable names and that holds a file."""
    root = os.environ.get(variable)
    if not root:
        pytest.skip(f"{variable} names no checkout of the published evaluator")
    if not Path(root, file).is_file():
        pytest.skip(f"{variable}={root} holds no {file}: it is no checkout of the published evaluator")
    return Path(root).resolve()


def undocumented(differences: Mapping[str, list[str]], documented: Mapping[str, str]) -> dict[str, list[str]]:
    """Return the differences whose kind no table documents, after printing how many there are of each."""
    for kind, ids in differences.items():
        print(f"{len(ids)} differences: {kind} ({documented.get(kind, 'UNDOCUMENTED')})")
    return {kind: ids[:5] for kind, ids in differences.items() if kind not in documented}
