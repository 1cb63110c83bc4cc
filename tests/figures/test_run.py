"""The pictures of a run: written whole, with the right number of panels, whatever the model's names look like."""

from __future__ import annotations

from pathlib import Path
from typing import Any

import matplotlib.image
import matplotlib.pyplot as plt
import numpy as np
import pytest

from llamafactory_ext.figures import run as figures

pytestmark = pytest.mark.fast

LINEARS = ("self_attn.q_proj", "self_attn.o_proj", "mlp.up_proj", "mlp.down_proj")
NAMES = [f"model.layers.{layer}.{linear}" for layer in range(12) for linear in LINEARS]
TOOL = {name: (i + 1) / 100 for i, name in enumerate(NAMES)}
GENERAL = {name: 1 / (i + 1) for i, name in enumerate(NAMES)}


def picture(path: Path) -> np.ndarray[Any, Any]:
    """The pixels; an unreadable or blank file fails."""
    pixels = matplotlib.image.imread(path)
    assert pixels.std() > 0.01, "a blank picture"
    assert list(path.parent.glob("*.tmp")) == []
    return pixels


def history(steps: int, **more: float) -> list[dict[str, float]]:
    logged = [
        {"step": i + 1, "loss": 3.0, "loss_lm": 3 / (i + 1), "loss_router": 1.0, "gate0_general": 0.5, **more}
        for i in range(steps)
    ]
    return [*logged, {"step": steps, "train_runtime": 1.0}]


def test_importance_map(tmp_path: Path) -> None:
    figures.importance_map(TOOL, GENERAL, NAMES[-4:], NAMES[:3], tmp_path / "a.png")
    figures.importance_map(TOOL, GENERAL, NAMES[-4:], (), tmp_path / "b.png")
    marked, unmarked = picture(tmp_path / "a.png"), picture(tmp_path / "b.png")
    assert marked.shape == unmarked.shape
    assert not np.array_equal(marked, unmarked), "tuned components are marked"


def test_importance_map_of_unusual_names_and_scores(tmp_path: Path) -> None:
    """No layer number; one component with all the importance, the others with none."""
    scores = {"encoder": 0.0, "transformer.h.0.attn": 1.0, "transformer.h.1.attn": 0.0}
    figures.importance_map(scores, scores, ["encoder"], ["transformer.h.1.attn"], tmp_path / "a.png")
    picture(tmp_path / "a.png")


@pytest.mark.parametrize("phases", [("rp",), ("rp", "mi", "uco")])
def test_training_curves(tmp_path: Path, phases: tuple[str, ...]) -> None:
    histories = {phase: history(30, gate0_tool=0.2) for phase in phases}
    figures.training_curves(histories, tmp_path / "a.png")
    picture(tmp_path / "a.png")


def test_training_curves_with_gaps(tmp_path: Path) -> None:
    """A phase that was not logged, one step only, a class that never came up."""
    figures.training_curves({"rp": history(1), "mi": [], "uco": history(2)}, tmp_path / "a.png")
    picture(tmp_path / "a.png")


def test_router_gates(tmp_path: Path) -> None:
    gates = {name: {"general": [0.6, 0.1, 0.3], "tool": [0.2, 0.4, 0.4]} for name in NAMES[:5]}
    figures.router_gates(gates, tmp_path / "a.png")
    swapped = {name: {"general": sides["tool"], "tool": sides["general"]} for name, sides in gates.items()}
    figures.router_gates(swapped, tmp_path / "b.png")
    assert not np.array_equal(picture(tmp_path / "a.png"), picture(tmp_path / "b.png"))


def test_what_a_run_without_neutral_gate_or_router_shows(tmp_path: Path) -> None:
    gates = {name: {"general": [0.6, 0.4], "tool": [0.2, 0.8]} for name in NAMES[:5]}
    figures.router_gates(gates, tmp_path / "a.png")
    figures.router_gates(gates, tmp_path / "b.png", neutral=False)
    assert not np.array_equal(picture(tmp_path / "a.png"), picture(tmp_path / "b.png"))
    plain = [{"step": i, "loss_lm": 3.0 / i} for i in range(1, 9)]
    figures.training_curves({"mi": plain}, tmp_path / "c.png")
    figures.training_curves({"mi": history(8)}, tmp_path / "d.png")
    assert picture(tmp_path / "c.png").shape[0] < picture(tmp_path / "d.png").shape[0] / 2
    for name, carried in (("e.png", "MOLoRA"), ("f.png", "full tuning")):
        figures.importance_map(TOOL, GENERAL, NAMES[-4:], (), tmp_path / name, carried)
    assert not np.array_equal(picture(tmp_path / "e.png"), picture(tmp_path / "f.png"))


def test_figures_are_closed_and_replace_older_files(tmp_path: Path) -> None:
    (tmp_path / "a.png").write_bytes(b"old")
    before = plt.get_fignums()
    figures.training_curves({"rp": history(3)}, tmp_path / "a.png")
    assert plt.get_fignums() == before
    picture(tmp_path / "a.png")


def test_grid_places_layers_in_columns() -> None:
    cells, kinds, layers = figures._grid(NAMES)
    assert kinds == ["q_proj", "o_proj", "up_proj", "down_proj"]
    assert layers == [str(layer) for layer in range(12)]
    assert cells["model.layers.10.mlp.up_proj"] == (2, 10)
