"""A third channel is one row: with it alone, numbers of its own go from the examples to the batches of a run."""

from __future__ import annotations

from pathlib import Path
from typing import Any

import pytest
from llamafactory.data import get_dataset, get_template_and_fix_tokenizer
from llamafactory.hparams import DataArguments, ModelArguments, TrainingArguments

import tiny
from llamafactory_ext.tl.sft.examples import Settings
from llamafactory_ext.training import channels
from llamafactory_ext.training.channels import Channel, Example
from llamafactory_ext.training.same_data import content_hash
from llamafactory_ext.upstream.pipeline.channels import CarryingCollator
from llamafactory_ext.upstream.pipeline.requests import request_marks, request_weights
from llamafactory_ext.upstream.pipeline.weights import take_notes
from tl.trajectories import records, write_data

pytestmark = pytest.mark.fast


def numbers(example: Example, k: int) -> list[int]:
    """The place of the example in its row and of the token in its example; never 0."""
    return [1000 * (k + 1) + place for place in range(len(example.ids))]


ROW = Channel("dummy_places", "dummy_places_requested", numbers)
ALL = ("citi_marks", "tl_weights", ROW.column)


@pytest.mark.parametrize("packing", [False, True])
@pytest.mark.parametrize("side", ["right", "left"])
def test_a_row_is_all_that_it_takes(packing: bool, side: str, tmp_path: Path, monkeypatch: pytest.MonkeyPatch) -> None:
    monkeypatch.setattr(channels, "CHANNELS", (*channels.CHANNELS, ROW))
    settings, tokenizer = Settings(), tiny.tiny_tokenizer()
    write_data(tmp_path, records(6))
    plain = DataArguments(
        template="qwen",
        dataset="trajectories",
        dataset_dir=str(tmp_path),
        overwrite_cache=True,
        cutoff_len=1500,
        packing=packing,
        neat_packing=packing,
    )
    asked: Any = request_weights(request_marks(plain), settings)
    setattr(asked, ROW.asked, True)
    parts = {"template": get_template_and_fix_tokenizer(tokenizer, asked), "tokenizer": tokenizer, "processor": None}
    rest = (ModelArguments(model_name_or_path="x"), asked, TrainingArguments(str(tmp_path / "out"), use_cpu=True))
    made = get_dataset(parts["template"], *rest, "sft", tokenizer, None)["train_dataset"]
    rows, _ = take_notes(made, settings)
    for row in rows:
        assert row[ROW.column] == expected(row, packing)
    assert content_hash(rows) != content_hash(rows.remove_columns(ROW.column))

    tokenizer.padding_side = side
    batch = CarryingCollator(**parts, columns=ALL, pad_to_multiple_of=None if packing else 8)([dict(r) for r in rows])
    for i, row in enumerate(rows):
        length = len(row["labels"])
        place = slice(0, length) if side == "right" else slice(batch["labels"].shape[1] - length, None)
        assert all(batch[name][i, place].tolist() == row[name] for name in (*ALL, "labels", "input_ids"))
        assert all(int(batch[name][i].sum()) == sum(row[name]) for name in ALL)


def expected(row: dict[str, Any], packing: bool) -> list[int]:
    """A neatly packed row has the number of each token's example in its attention mask."""
    if not packing:
        return [1000 + place for place in range(len(row["input_ids"]))]
    seen: dict[int, int] = {}
    found = []
    for k in row["attention_mask"]:
        found.append(1000 * k + seen.get(k, 0) if k else 0)
        seen[k] = seen.get(k, 0) + 1
    return found
