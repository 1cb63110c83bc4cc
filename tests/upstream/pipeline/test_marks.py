"""Marks follow their tokens through upstream's tokenising, cutting, packing and collating, and change nothing else."""

from __future__ import annotations

import json
import random
from pathlib import Path
from typing import Any

import pytest
import torch
from datasets import Dataset, disable_progress_bars
from llamafactory.data import get_dataset, get_template_and_fix_tokenizer
from llamafactory.data.collator import SFTDataCollatorWith4DAttentionMask
from llamafactory.data.processor import PackedSupervisedDatasetProcessor, SupervisedDatasetProcessor
from llamafactory.hparams import DataArguments, ModelArguments, TrainingArguments

import tiny
from llamafactory_ext.data.marks import (
    MARKS_COLUMN,
    TASK_COLUMN,
    TokenMarks,
    code,
)
from llamafactory_ext.errors import DataError
from llamafactory_ext.upstream.pipeline.channels import CarryingCollator, CarryingPackedProcessor, CarryingProcessor
from llamafactory_ext.upstream.pipeline.requests import marks_requested, request_marks

pytestmark = pytest.mark.fast

TOKENIZER = tiny.tiny_tokenizer()
BOS, PAD = TOKENIZER.bos_token_id, TOKENIZER.pad_token_id
Rows = dict[str, list[Any]]
disable_progress_bars()


# Codes


def test_samples_are_numbered_over_the_whole_batch() -> None:
    marks = TokenMarks.from_codes(torch.tensor([[1, 1, 4, 4, 0], [2, 0, 0, 0, 0]]))
    assert marks.sample.tolist() == [[0, 0, 1, 1, -1], [2, -1, -1, -1, -1]]
    assert marks.is_tool.tolist() == [[False, False, True, True, False], [True, False, False, False, False]]


# Processors


def dialogues(seed: int, count: int) -> Rows:
    """Aligned examples as upstream's converters make them: one to three turns, some invalid, all texts different."""
    draw = random.Random(seed)
    rows: Rows = {name: [] for name in ("_prompt", "_response", "_system", "_tools", "_mark", "_task")}
    for i in range(count):
        turns = [
            {"role": "user" if turn % 2 == 0 else "assistant", "content": f"{i}.{turn} " + "ab " * draw.randrange(9)}
            for turn in range(2 * draw.randrange(1, 4))
        ]
        valid = draw.random() < 0.9
        rows["_prompt"].append(turns[:-1] if valid else [])
        rows["_response"].append(turns[-1:] if valid else [])
        rows["_system"].append(draw.choice(["", f"{i} be brief."]))
        rows["_tools"].append("")
        rows["_mark"].append(draw.choice(["tool", "general"]))
        rows["_task"].append(f"task {i}")
    for name in ("_images", "_videos", "_audios"):
        rows[name] = [None] * count
    return rows


def processors(seed: int, **settings: Any) -> tuple[Rows, Rows, Rows, Rows]:
    """Examples, upstream's own output, ours, and upstream's single examples without packing."""
    examples = dialogues(seed, 24)
    data_args = DataArguments(template="llama3", **settings)
    template = get_template_and_fix_tokenizer(TOKENIZER, data_args)
    parts = {"template": template, "tokenizer": TOKENIZER, "processor": None, "data_args": data_args}
    packing = data_args.packing
    upstream = (PackedSupervisedDatasetProcessor if packing else SupervisedDatasetProcessor)(**parts)
    asked = parts | {"data_args": request_marks(data_args)}
    ours = (CarryingPackedProcessor if packing else CarryingProcessor)(**asked)
    single = SupervisedDatasetProcessor(**parts)
    plain = {name: values for name, values in examples.items() if name not in ("_mark", "_task")}
    return (
        examples,
        upstream.preprocess_dataset(plain),
        ours.preprocess_dataset(examples),
        single.preprocess_dataset(plain),
    )


def valid_numbers(examples: Rows) -> list[int]:
    return [i for i, response in enumerate(examples["_response"]) if response]


@pytest.mark.parametrize("mask_history", [False, True])
@pytest.mark.parametrize("cutoff_len", [24, 48, 512])
@pytest.mark.parametrize("seed", range(3))
def test_single_examples_keep_their_mark_and_task(seed: int, cutoff_len: int, mask_history: bool) -> None:
    examples, upstream, ours, _ = processors(seed, cutoff_len=cutoff_len, mask_history=mask_history)
    assert set(ours) == {*upstream, MARKS_COLUMN, TASK_COLUMN}
    assert {name: ours[name] for name in upstream} == dict(upstream)
    numbers = valid_numbers(examples)
    assert ours[TASK_COLUMN] == [examples["_task"][i] for i in numbers]
    for i, ids, codes in zip(numbers, ours["input_ids"], ours[MARKS_COLUMN], strict=True):
        assert codes == [code(0, examples["_mark"][i] == "tool")] * len(ids)


@pytest.mark.parametrize("neat", [False, True])
@pytest.mark.parametrize("cutoff_len", [48, 96, 512])
@pytest.mark.parametrize("seed", range(3))
def test_packed_examples_keep_their_marks(seed: int, cutoff_len: int, neat: bool) -> None:
    settings = {"cutoff_len": cutoff_len, "packing": True, "neat_packing": neat}
    examples, upstream, ours, single = processors(seed, **settings)
    assert set(ours) == {*upstream, MARKS_COLUMN}
    assert {name: ours[name] for name in upstream} == dict(upstream)
    marks = {
        tuple(ids): examples["_mark"][i] for i, ids in zip(valid_numbers(examples), single["input_ids"], strict=True)
    }
    assert len(marks) == len(single["input_ids"]), "the texts differ, so every example is known by its ids"
    several = 0
    for row in range(len(ours["input_ids"])):
        segments = split_at_starts(ours["input_ids"][row], ours["position_ids"][row])
        expected: list[int] = []
        for k, ids in enumerate(segments):
            expected += [code(k, marks[tuple(ids)] == "tool")] * len(ids)
        padding = len(ours["input_ids"][row]) - len(expected)
        assert ours[MARKS_COLUMN][row] == expected + [0] * padding
        several += len(segments) > 1
        if neat:  # upstream numbers the examples of a row in its attention mask
            assert [(c + 1) // 2 for c in ours[MARKS_COLUMN][row]] == ours["attention_mask"][row]
    assert several or cutoff_len < 96


def split_at_starts(ids: list[int], positions: list[int]) -> list[list[int]]:
    """The examples of a packed row: each begins with position 0 and <|begin_of_text|>, the padding does not."""
    starts = [
        i for i, (token, position) in enumerate(zip(ids, positions, strict=True)) if token == BOS and not position
    ]
    last = next((i for i in range(starts[-1] + 1, len(ids)) if positions[i] == 0), len(ids))
    return [ids[start:end] for start, end in zip(starts, [*starts[1:], last], strict=True)]


# Collator


def collators(side: str, **settings: Any) -> tuple[CarryingCollator, SFTDataCollatorWith4DAttentionMask]:
    tokenizer = tiny.tiny_tokenizer()
    template = get_template_and_fix_tokenizer(tokenizer, DataArguments(template="llama3"))
    tokenizer.padding_side = side
    parts = {"template": template, "tokenizer": tokenizer, "label_pad_token_id": -100, **settings}
    return CarryingCollator(columns=(MARKS_COLUMN,), **parts), SFTDataCollatorWith4DAttentionMask(**parts)


@pytest.mark.parametrize("multiple", [None, 8])
@pytest.mark.parametrize("side", ["left", "right"])
def test_the_collator_pads_marks_like_ids(side: str, multiple: int | None) -> None:
    _, upstream, ours, _ = processors(5, cutoff_len=512)
    marked, plain = collators(side, pad_to_multiple_of=multiple)
    batch = marked([{name: ours[name][row] for name in ours} for row in range(6)])
    expected = plain([{name: upstream[name][row] for name in upstream} for row in range(6)])
    codes = batch.pop(MARKS_COLUMN)
    assert batch.keys() == expected.keys()
    assert all(torch.equal(batch[name], expected[name]) for name in expected)
    assert codes.shape == batch["input_ids"].shape
    assert torch.equal(codes > 0, batch["attention_mask"] > 0)
    for row in range(6):
        assert [c for c in codes[row].tolist() if c] == ours[MARKS_COLUMN][row]


def test_the_collator_keeps_the_marks_of_neatly_packed_rows() -> None:
    _, _, ours, _ = processors(6, cutoff_len=96, packing=True, neat_packing=True)
    length = len(ours["input_ids"][0])
    settings = {"pad_to_multiple_of": 64, "block_diag_attn": True, "neat_packing": True}
    marked, _ = collators("right", attn_implementation="sdpa", **settings)
    batch = marked([{name: ours[name][row] for name in ours} for row in range(2)])
    codes = batch[MARKS_COLUMN]
    assert codes.shape == batch["input_ids"].shape == (2, 128)
    assert codes[:, :length].tolist() == ours[MARKS_COLUMN][:2]
    assert not codes[:, length:].any()
    allowed = batch["attention_mask"][:, 0] == 0
    same_example = (codes[:, :, None] == codes[:, None, :]) & (codes[:, None, :] > 0)
    assert torch.equal(allowed, same_example & torch.ones(128, 128, dtype=torch.bool).tril())


def test_the_collator_follows_the_trimming_for_flash_attention() -> None:
    """Upstream cuts the padding out of a single neatly packed row."""
    _, _, ours, _ = processors(6, cutoff_len=96, packing=True, neat_packing=True)
    rows = [row for row in range(len(ours["input_ids"])) if not ours[MARKS_COLUMN][row][-1]]
    marked, _ = collators("right", attn_implementation="flash_attention_2", block_diag_attn=True, neat_packing=True)
    batch = marked([{name: ours[name][rows[0]] for name in ours}])
    codes = ours[MARKS_COLUMN][rows[0]]
    assert batch[MARKS_COLUMN].tolist() == [[token for token in codes if token]]
    assert batch[MARKS_COLUMN].shape == batch["input_ids"].shape


# Whole data sets


def write_dataset(folder: Path, *, marks: bool) -> Path:
    """`chat` in ShareGPT format and `tiny` in Alpaca format; without marks neither says anything of them."""
    tiny.write_tiny_data(folder, 8)
    chats = [
        {
            "conversations": [
                {"from": "human", "value": f"{i} hello"},
                {"from": "gpt", "value": "word"},
                {"from": "human", "value": "and?"},
                {"from": "gpt", "value": f"word {i}"},
            ]
        }
        for i in range(4)
    ]
    (folder / "chat.json").write_text(json.dumps(chats), encoding="utf-8")
    info = json.loads((folder / "dataset_info.json").read_text("utf-8"))
    info["chat"] = {"file_name": "chat.json", "formatting": "sharegpt", "columns": {"messages": "conversations"}}
    if marks:
        info["chat"] |= {"mark": "general", "task": "chat"}
    else:
        del info["tiny"]["columns"]["mark"], info["tiny"]["columns"]["task"]
    (folder / "dataset_info.json").write_text(json.dumps(info), encoding="utf-8")
    return folder


def load(folder: Path, *, requested: bool, **settings: Any) -> Dataset:
    data_args = DataArguments(
        template="llama3",
        dataset="tiny,chat",
        dataset_dir=str(folder),
        cutoff_len=128,
        overwrite_cache=True,
        **settings,
    )
    template = get_template_and_fix_tokenizer(TOKENIZER, data_args)
    training_args = TrainingArguments(output_dir=str(folder / "out"), use_cpu=True, report_to="none")
    data_args = request_marks(data_args) if requested else data_args
    module = get_dataset(
        template, ModelArguments(model_name_or_path="unused"), data_args, training_args, "sft", TOKENIZER
    )
    return module["train_dataset"]


def test_a_whole_mixture_is_marked(tmp_path: Path) -> None:
    dataset = load(write_dataset(tmp_path, marks=True), requested=True)
    expected = [(record["mark"], record["task"]) for record in tiny.tiny_records(8)] + [("general", "chat")] * 4
    found = [
        ("tool" if set(codes) == {2} else "general" if set(codes) == {1} else codes, task)
        for codes, task in zip(dataset[MARKS_COLUMN], dataset[TASK_COLUMN], strict=True)
    ]
    assert found == expected


def test_several_workers_give_the_same(tmp_path: Path) -> None:
    write_dataset(tmp_path, marks=True)
    one, two = (load(tmp_path, requested=True, preprocessing_num_workers=count) for count in (1, 2))
    assert one.to_dict() == two.to_dict()


def test_plain_supervised_training_sees_upstreams_columns(tmp_path: Path) -> None:
    """Marked data or not, every other method gets what upstream makes of it."""
    unmarked = load(write_dataset(tmp_path / "unmarked", marks=False), requested=False)
    plain = load(write_dataset(tmp_path / "marked", marks=True), requested=False)
    marked = load(tmp_path / "marked", requested=True)
    assert plain.column_names == ["input_ids", "attention_mask", "labels", "images", "videos", "audios"]
    assert plain.to_dict() == unmarked.to_dict()
    assert marked.remove_columns([MARKS_COLUMN, TASK_COLUMN]).to_dict() == plain.to_dict()


def test_marks_are_requested_on_a_copy() -> None:
    data_args = DataArguments(template="llama3", packing=True)
    asked = request_marks(data_args, packing=False)
    assert marks_requested(asked)
    assert not marks_requested(data_args)
    assert (asked.packing, data_args.packing) == (False, True)


@pytest.mark.parametrize("workers", [1, 2])
def test_data_without_marks_is_refused_where_marks_are_needed(tmp_path: Path, workers: int) -> None:
    write_dataset(tmp_path, marks=False)
    with pytest.raises(DataError, match="the entry states no mark; add") as error:
        load(tmp_path, requested=True, preprocessing_num_workers=workers)
    assert '"mark": "tool"' in error.value.message
