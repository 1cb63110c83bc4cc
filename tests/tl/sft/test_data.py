"""Weights go through upstream's tokenising, cutting, packing and collating with their tokens; nothing else changes."""

from __future__ import annotations

from pathlib import Path
from typing import Any

import pytest
import torch
from datasets import disable_progress_bars
from llamafactory.data import get_dataset, get_template_and_fix_tokenizer
from llamafactory.data.collator import SFTDataCollatorWith4DAttentionMask
from llamafactory.hparams import DataArguments, ModelArguments, TrainingArguments

import tiny
from llamafactory_ext.data.marks import MARKS_COLUMN
from llamafactory_ext.errors import DataError
from llamafactory_ext.tl.sft.examples import NO_FEEDBACK, NO_TOOLS, NOT_PARSED, NOT_RENDERED, Settings
from llamafactory_ext.tl.sft.findings import Findings, check_usable
from llamafactory_ext.training.token_weights import SCALE, WEIGHTS_COLUMN
from llamafactory_ext.upstream.pipeline.channels import CarryingCollator
from llamafactory_ext.upstream.pipeline.requests import request_marks, request_weights
from llamafactory_ext.upstream.pipeline.weights import NOTE_COLUMN, take_notes
from tl.trajectories import call, corrected, parallel, record, records, talk, turn, write_data

pytestmark = pytest.mark.fast

disable_progress_bars()
ONE = SCALE
Rows = list[dict[str, Any]]


def load(
    folder: Path, rows: Rows | None, settings: Settings | None, *, marks: bool = False, **options: Any
) -> tuple[Any, Any, DataArguments]:
    """Upstream's own data set, or ours with notes in it; the template, and the arguments."""
    if rows is not None:
        write_data(folder, rows)
    data_args = DataArguments(
        dataset="trajectories", dataset_dir=str(folder), overwrite_cache=True, **({"template": "qwen"} | options)
    )
    data_args.packing = bool(data_args.packing)
    if marks:
        data_args = request_marks(data_args)
    if settings is not None:
        data_args = request_weights(data_args, settings)
    tokenizer = tiny.tiny_tokenizer()
    template = get_template_and_fix_tokenizer(tokenizer, data_args)
    training_args = TrainingArguments(output_dir=str(folder / "out"), use_cpu=True, report_to="none")
    module = get_dataset(
        template, ModelArguments(model_name_or_path="x"), data_args, training_args, "sft", tokenizer, None
    )
    return module["train_dataset"], template, data_args


PLAIN = Settings(use_mae=False, use_pkt=False)
VARIANTS: dict[str, dict[str, Any]] = {
    "whole": {"cutoff_len": 2048},
    "cut": {"cutoff_len": 280},
    "history": {"cutoff_len": 2048, "mask_history": True},
    "prompt": {"cutoff_len": 2048, "train_on_prompt": True},
    "efficient eos": {"cutoff_len": 2048, "template": "default"},
    "packed": {"cutoff_len": 1500, "packing": True},
    "neat": {"cutoff_len": 1500, "packing": True, "neat_packing": True},
    "ours": {"cutoff_len": 2048, "template": "llama3_api_bank"},
}


@pytest.mark.parametrize("name", VARIANTS)
def test_unit_weights_lie_on_upstreams_own_labels(name: str, tmp_path: Path) -> None:
    upstream, *_ = load(tmp_path, records(9), None, **VARIANTS[name])
    ours, findings = take_notes(load(tmp_path, None, PLAIN, **VARIANTS[name])[0], PLAIN)
    assert {*ours.column_names} == {*upstream.column_names, WEIGHTS_COLUMN}
    for column in upstream.column_names:
        assert ours[column] == upstream[column], column
    for row in ours:
        assert row[WEIGHTS_COLUMN] == [0 if label == -100 else ONE for label in row["labels"]]
    assert (findings.examples, findings.with_calls, findings.calls) == (9, 6, 9)
    assert not findings.errors
    assert findings.key_tokens == 0


@pytest.mark.parametrize("name", VARIANTS)
def test_erroneous_calls_leave_the_loss_and_nothing_else_does(name: str, tmp_path: Path) -> None:
    options = VARIANTS[name]
    plain, *_ = load(tmp_path, records(9), None, **options)
    settings = Settings()
    ours, findings = take_notes(load(tmp_path, None, settings, **options)[0], settings)
    assert findings.errors == {"Parameter Hallucination": 3}
    tokenizer = tiny.tiny_tokenizer()
    get_template_and_fix_tokenizer(tokenizer, DataArguments(template=options.get("template", "qwen")))
    masked = weighed = 0
    for row, before in zip(ours, plain, strict=True):
        assert row["input_ids"] == before["input_ids"]
        lost = [
            token
            for token, label, old in zip(row["input_ids"], row["labels"], before["labels"], strict=True)
            if label != old
        ]
        assert all(label in (-100, old) for label, old in zip(row["labels"], before["labels"], strict=True))
        text = tokenizer.decode(lost)
        masked += text.count("Town")
        trained = [token for token, label in zip(row["input_ids"], row["labels"], strict=True) if label != -100]
        if not options.get("train_on_prompt"):
            assert "get_weather_today" not in tokenizer.decode(trained)
        assert (not lost) or "get_weather_today" in text
        for code, label in zip(row[WEIGHTS_COLUMN], row["labels"], strict=True):
            assert (code > 0) == (label != -100)
            assert code == 0 or ONE <= code <= 9 * ONE
        weighed += sum(code > ONE for code in row[WEIGHTS_COLUMN])
    if name not in ("cut", "history"):
        assert masked == 3
        assert weighed == findings.key_tokens > 0


def test_packing_moves_weights_with_their_tokens(tmp_path: Path) -> None:
    settings = Settings()
    single, _ = take_notes(load(tmp_path, records(9), settings, cutoff_len=1500)[0], settings)
    expected = {tuple(row["input_ids"]): (row["labels"], row[WEIGHTS_COLUMN]) for row in single}
    packed, _ = take_notes(
        load(tmp_path, None, settings, cutoff_len=1500, packing=True, neat_packing=True)[0], settings
    )
    found = 0
    for row in packed:
        for number in range(1, max(row["attention_mask"]) + 1):
            places = [i for i, mask in enumerate(row["attention_mask"]) if mask == number]
            ids, labels, codes = ([row[name][i] for i in places] for name in ("input_ids", "labels", WEIGHTS_COLUMN))
            assert expected[tuple(ids)] == (labels, codes)
            found += 1
    assert found == 9
    assert len(packed) < 9


@pytest.mark.parametrize("packing", [False, True])
def test_marks_and_weights_travel_together(packing: bool, tmp_path: Path) -> None:
    settings = Settings()
    options = {"cutoff_len": 1500, "packing": packing}
    marked, *_ = load(tmp_path, records(9), None, marks=True, **options)
    weighed, _ = take_notes(load(tmp_path, None, settings, **options)[0], settings)
    both, _ = take_notes(load(tmp_path, None, settings, marks=True, **options)[0], settings)
    assert both["citi_marks"] == marked["citi_marks"]
    assert both[WEIGHTS_COLUMN] == weighed[WEIGHTS_COLUMN]
    assert both["labels"] == weighed["labels"]
    assert packing or both["citi_task"] == marked["citi_task"]


@pytest.mark.parametrize("side", ["right", "left"])
@pytest.mark.parametrize("columns", [(WEIGHTS_COLUMN,), (MARKS_COLUMN, WEIGHTS_COLUMN)], ids=len)
def test_collating_pads_weights_like_labels(side: str, columns: tuple[str, ...], tmp_path: Path) -> None:
    settings = Settings()
    raw, template, _ = load(tmp_path, records(6), settings, marks=MARKS_COLUMN in columns, cutoff_len=1500)
    rows, _ = take_notes(raw, settings)
    tokenizer = tiny.tiny_tokenizer()
    tokenizer.padding_side = side
    parts = {"template": template, "tokenizer": tokenizer, "processor": None, "pad_to_multiple_of": 8}
    features = [dict(row) for row in rows]
    batch = CarryingCollator(columns=columns, **parts)(features)
    upstream = SFTDataCollatorWith4DAttentionMask(**parts)(
        [{name: row[name] for name in ("input_ids", "attention_mask", "labels")} for row in rows]
    )
    for name in upstream:
        assert torch.equal(batch[name], upstream[name]), name
    for i, row in enumerate(rows):
        length = len(row["labels"])
        place = slice(0, length) if side == "right" else slice(batch["labels"].shape[1] - length, None)
        assert batch[WEIGHTS_COLUMN][i, place].tolist() == row[WEIGHTS_COLUMN]
    assert torch.equal(batch[WEIGHTS_COLUMN] > 0, batch["labels"] != -100)
    assert features[0][WEIGHTS_COLUMN] == rows[0][WEIGHTS_COLUMN]  # a data set kept in memory stays whole
    with pytest.raises(DataError, match="tl_weights"):
        CarryingCollator(columns=columns, **parts)(
            [{key: value for key, value in row.items() if key != WEIGHTS_COLUMN} for row in rows]
        )


# What cannot be used

BAD: dict[str, list[dict[str, Any]]] = {
    NO_FEEDBACK: [record(turn("human", "Weather?"), call("get_weather"))],
    NO_TOOLS: [
        record(turn("human", "?"), call("get_weather"), turn("observation", "{}"), turn("gpt", "!"), tools="[1]"),
        record(turn("human", "?"), call("get_weather"), turn("observation", "{}"), turn("gpt", "!"), tools=""),
    ],
    NOT_PARSED: [
        record(turn("human", "?"), turn("function_call", '{"name"'), turn("observation", "{}"), turn("gpt", "!"))
    ],
    NOT_RENDERED: [  # upstream's templates take calls as JSON
        record(
            turn("human", "?"),
            turn("function_call", "get_weather(city='Town0')"),
            turn("observation", "{}"),
            turn("gpt", "!"),
        )
    ],
}


def mixed() -> Rows:
    """Two of each kind that can be used among all that cannot."""
    bad = [row for rows in BAD.values() for row in rows]
    good = [make(i) for i, make in enumerate((corrected, parallel, talk, corrected, parallel, talk))]
    return [row for i in range(6) for row in (*bad[i : i + 1], good[i])]


@pytest.mark.parametrize("batch", [2, 1000])
@pytest.mark.parametrize("packing", [False, True])
def test_unusable_examples_are_counted_shown_and_left_out(batch: int, packing: bool, tmp_path: Path) -> None:
    settings = Settings()
    options = {"cutoff_len": 1500, "packing": packing, "template": "llama3", "preprocessing_batch_size": batch}
    rows, findings = take_notes(load(tmp_path, mixed(), settings, **options)[0], settings)
    assert findings.problems == {problem: len(bad) for problem, bad in BAD.items()}
    assert (findings.examples, findings.unusable, findings.calls) == (11, 5, 6)
    assert NOTE_COLUMN not in rows.column_names
    if not packing:
        assert len(rows) == 6
    with pytest.raises(DataError) as caught:
        check_usable({"train": findings}, skip=False)
    for problem in BAD:
        assert f"of 11 examples (train): {problem}; " in caught.value.message
    assert "user: Weather? | function: " in caught.value.message
    remark = check_usable({"train": findings}, skip=True)
    assert remark is not None
    assert remark.startswith("Training without these examples")


def test_nothing_but_unusable_examples(tmp_path: Path) -> None:
    settings = Settings()
    rows, findings = take_notes(load(tmp_path, BAD[NO_TOOLS] * 3, settings, cutoff_len=512)[0], settings)
    assert len(rows) == 0
    with pytest.raises(DataError, match="No example is left"):
        check_usable({"train": findings}, skip=True)
    assert check_usable({"train": Findings(examples=3)}, skip=False) is None


def test_tokenized_data_knows_its_settings(tmp_path: Path) -> None:
    settings = Settings()
    options = {"cutoff_len": 512, "tokenized_path": str(tmp_path / "tokenized")}
    first, findings = take_notes(load(tmp_path, records(6), settings, **options)[0], settings)
    again, found = take_notes(load(tmp_path, None, settings, **options)[0], settings)
    assert again[:] == first[:]
    assert found == findings
    stored, *_ = load(tmp_path, None, settings, **options)
    with pytest.raises(DataError, match=r"made with tl_w_max: 9\.0, tl_call_format: auto; delete that folder"):
        take_notes(stored, Settings(w_max=4, call_format="qwen"))
    options["tokenized_path"] = str(tmp_path / "plain")
    load(tmp_path, None, None, **options)
    stored, *_ = load(tmp_path, None, settings, **options)
    with pytest.raises(DataError, match="made without loss weights"):
        take_notes(stored, settings)


def test_runs_that_ask_for_nothing_see_upstreams_own_data(tmp_path: Path) -> None:
    rows, *_ = load(tmp_path, records(3), None, cutoff_len=512)
    assert not {WEIGHTS_COLUMN, NOTE_COLUMN} & {*rows.column_names}
