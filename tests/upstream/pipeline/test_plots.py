"""Curves bear the name of the folder that a user finds them in."""

import json
from pathlib import Path

import pytest
from matplotlib import pyplot

from llamafactory_ext.upstream.pipeline.api import plot_loss

pytestmark = pytest.mark.fast


@pytest.mark.parametrize("shown", ["runs/mine/phase-1-rp", ""])
def test_no_title_names_a_folder_that_is_gone(
    shown: str, tmp_path: Path, monkeypatch: pytest.MonkeyPatch, capsys: pytest.CaptureFixture[str]
) -> None:
    folder, titles = tmp_path / ".closing.tmp", []
    folder.mkdir()
    history = [{"step": step, "loss": 1 / step} for step in (1, 2, 3)]
    (folder / "trainer_state.json").write_text(json.dumps({"log_history": history}))
    monkeypatch.setattr(pyplot, "title", titles.append)
    plot_loss(str(folder), ["loss", "reward"], shown)
    assert titles == [f"training loss of {shown or folder}"]
    assert (folder / "training_loss.png").stat().st_size > 1000
    assert f"Figure saved at: {shown or folder}/training_loss.png" in capsys.readouterr().out
