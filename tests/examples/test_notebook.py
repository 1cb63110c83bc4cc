"""The notebook of the first run: every cell runs, and what a reader is to see is there."""

from __future__ import annotations

import os
from pathlib import Path

import nbformat
import pytest
from nbclient import NotebookClient

from forked import commands
from processes import environment

NOTEBOOK = Path(__file__).parents[2] / "examples" / "first_run.ipynb"


def outputs(cell: nbformat.NotebookNode) -> str:
    """What a cell printed or returned, pictures by their type."""
    parts = []
    for output in cell.get("outputs", []):
        parts.append(output.get("text", ""))
        parts += [f"{kind}: {text}" for kind, text in output.get("data", {}).items() if not kind.startswith("image/")]
        parts += [kind for kind in output.get("data", {}) if kind.startswith("image/")]
    return "\n".join(parts)


def test_it_is_kept_without_outputs() -> None:
    notebook = nbformat.read(NOTEBOOK, as_version=4)
    nbformat.validate(notebook)
    assert not any(cell.get("outputs") or cell.get("execution_count") for cell in notebook.cells)


def test_every_cell_runs(tmp_path: Path, monkeypatch: pytest.MonkeyPatch) -> None:
    for name, value in environment().items():
        monkeypatch.setenv(name, value)
    monkeypatch.setenv("PATH", f"{commands()}{os.pathsep}{os.environ['PATH']}")
    monkeypatch.delenv("LLAMAFACTORY_VERBOSITY")
    notebook = nbformat.read(NOTEBOOK, as_version=4)
    (settings,) = [cell for cell in notebook.cells if "parameters" in cell.metadata.get("tags", [])]
    assert "SHORT = False" in settings.source
    settings.source = settings.source.replace("SHORT = False", "SHORT = True")
    NotebookClient(notebook, timeout=900, resources={"metadata": {"path": os.fspath(tmp_path)}}).execute()
    shown = [outputs(cell) for cell in notebook.cells if cell.cell_type == "code"]
    assert not any("Traceback" in text or "Error:" in text for text in shown)
    printed = "\n".join(shown)
    assert "llamafactory_ext doctor" in printed
    assert printed.count("image/png") == 2
    assert "expected: API-Request: [" in shown[-1]
    assert "answered:" in shown[-1]
    assert {path.name for path in (tmp_path / "first_run").glob("*.json")} == {"before.json", "after.json"}
