"""Experiment 3 of CITI's paper on the tiny model: its six rows, their figures, and what is missing."""

from __future__ import annotations

import json
from pathlib import Path
from typing import Any

import pytest
import yaml

from llamafactory_ext.errors import DataError, OptionError
from llamafactory_ext.lab import jobs
from llamafactory_ext.lab.components import ROWS, components, run_of, summary
from llamafactory_ext.lab.jobs import EndedEarly, Setting
from llamafactory_ext.lab.methods import PACKAGE_ROOT, Method
from llamafactory_ext.lab.scoring import MISTAKES
from llamafactory_ext.lab.table import MEASURES

pytestmark = pytest.mark.fast


def row(method: Method, right: int = 4) -> dict[str, Any]:
    scores: dict[str, Any] = {
        key: {"n": 8, "right": right, "accuracy": right / 8, "standard_error": 0.1, "unparsable": 0}
        for key in MEASURES
    }
    for key in ("tool_seen", "tool_unseen"):
        scores[key]["mistakes"] = {**dict.fromkeys(MISTAKES, 0), "NO_API_CALL": 8 - right}
    common = {"label": method.label, "options": list(method.options), "training_seconds": 2.0}
    return {"name": method.name, "made_from": "x", "general": right / 8, "scores": scores, **common}


def test_rows_differ_as_the_paper_sized_files_do() -> None:
    names = [f"{adapter}_{which}" for adapter in ("lora", "full") for which in ("bottom", "random", "top")]
    assert [method.name for method in ROWS] == names
    for method in ROWS:
        options = dict(word.split("=") for word in method.options if not word.startswith("~"))
        large = yaml.safe_load(
            (PACKAGE_ROOT / f"examples/yaml/ablations/llama3/{method.name}.yaml").read_text("utf-8")
        )
        for key in ("citi_phases", "citi_adapter", "citi_select", "citi_rank", "citi_alpha"):
            assert options.get(key) == (str(large[key]) if key in large else None), (method.name, key)


def test_figures_and_categories() -> None:
    top = ROWS[2]
    done = [row(run_of(top, 42), 4), row(run_of(top, 43), 6)]
    found = summary(done, 2)
    (only,) = found["rows"]
    assert (only["name"], only["seeds"], only["tools"]) == ("lora_top", [42, 43], {"mean": 62.5, "se": 12.5})
    assert only["mistakes"] == {**dict.fromkeys(MISTAKES, 0), "NO_API_CALL": 12, "right": 20}
    assert found["missing"] == {method.name: 2 for method in ROWS if method is not top}
    del done[0]["scores"]["tool_seen"]["mistakes"]
    with pytest.raises(DataError, match="LoRA, top, seed 42"):
        summary(done, 2)


def test_runs_are_kept_and_those_that_are_missing_are_named(tmp_path: Path, monkeypatch: pytest.MonkeyPatch) -> None:
    def run(method: Method, *_: Any) -> dict[str, Any]:
        if not method.name.startswith("lora"):
            raise EndedEarly
        return row(method)

    monkeypatch.setattr(jobs, "run_job", run)
    found = components(tmp_path / "c", minutes=5, workers=1)
    assert found["missing"] == {"full_bottom": 1, "full_random": 1, "full_top": 1}
    assert json.loads((tmp_path / "c/components.json").read_text("utf-8")) == found
    assert (tmp_path / "c/components.png").read_bytes()[:4] == b"\x89PNG"
    assert {path.stem for path in (tmp_path / "c/components").glob("*.json")} == {
        *("lora_bottom-42", "lora_random-42", "lora_top-42"),
    }


def test_every_row_is_a_training_of_its_own(tmp_path: Path) -> None:
    setting = Setting(PACKAGE_ROOT, tmp_path, 8, None)  # type: ignore[arg-type]
    assert len({jobs._fingerprint(run_of(method, seed), setting) for method in ROWS for seed in (42, 43)}) == 12


def test_somebodys_file_is_kept(tmp_path: Path) -> None:
    (tmp_path / "components.json").write_text("mine")
    with pytest.raises(OptionError, match=r"components\.json"):
        components(tmp_path)
