"""`streaming: true` with `stage: tl_sft`: the same counts and findings as without, and a training that goes on."""

from __future__ import annotations

import json
from pathlib import Path
from typing import Any

import pytest

from llamafactory_ext.errors import OptionError
from llamafactory_ext.tl.start import REPORT
from tl.sft.test_training import losses, moved, sft_options, train
from tl.trajectories import record, records, turn, write_data

_DATA_REPORT = "data_report.json"


@pytest.fixture(scope="module")
def data(tmp_path_factory: pytest.TempPathFactory) -> Path:
    """Good records, and of each tenth of them one that upstream leaves out and one that nothing can read."""
    made = records(20)
    for place in (3, 9, 15):
        made.insert(place, record(turn("gpt", "I speak first."), turn("human", "?")))
        made.insert(place + 2, {"conversations": "none"})
    return write_data(tmp_path_factory.mktemp("streamed"), made)


def found(options: dict[str, Any]) -> list[Any]:
    """What a run says about its data and how it will be served, without what it says about the run."""
    folder = Path(options["output_dir"])
    report = json.loads((folder / REPORT).read_text("utf-8"))
    served = report["served_prompt"]
    assert "problem" not in served, served
    return [[report.get("train"), served], json.loads((folder / _DATA_REPORT).read_text("utf-8"))]


@pytest.mark.parametrize(
    "how",
    [
        {},
        {"packing": True},
        {"preprocessing_batch_size": 4, "buffer_size": 5},
        {"cutoff_action": "keep", "cutoff_len": 400},
        {"packing": True, "cutoff_len": 421},
    ],
    ids=["plain", "packed", "small batches", "cut", "packed, of an odd length"],
)
def test_the_same_findings_from_a_stream(
    tiny_llama_dir: Path, data: Path, tmp_path: Path, how: dict[str, Any]
) -> None:
    options = sft_options(tiny_llama_dir, data, tmp_path / "whole", tl_skip_bad=True, max_steps=1)
    stream_only = {"buffer_size"}
    plain = options | {name: value for name, value in how.items() if name not in stream_only}
    streamed = options | how | {"output_dir": str(tmp_path / "stream"), "streaming": True}
    assert moved(train(plain), tiny_llama_dir) > 0
    assert moved(train(streamed), tiny_llama_dir) > 0
    assert found(streamed) == found(plain)
    assert found(plain)[1]["train"]["left_out"], "the data has records that are left out"
    assert len(losses(streamed)) == 1


def test_a_stream_needs_a_number_of_steps(tiny_llama_dir: Path, data: Path, tmp_path: Path) -> None:
    options = sft_options(tiny_llama_dir, data, tmp_path / "out", streaming=True, max_steps=-1)
    with pytest.raises((OptionError, ValueError), match="max_steps"):
        train(options)
