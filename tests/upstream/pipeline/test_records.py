"""What training gets of a record is what check and preview show of it, and the counts of a data set add up."""

from __future__ import annotations

import json
import random
from collections.abc import Sequence
from pathlib import Path
from typing import Any

import pytest
from datasets import Dataset, disable_progress_bars
from llamafactory.data import get_dataset
from llamafactory.data.template import TEMPLATES
from llamafactory.hparams import DataArguments, ModelArguments, TrainingArguments

import tiny
from llamafactory_ext.data.checks.audit import ALL_SILENT, audit
from llamafactory_ext.data.entries import DataEntry
from llamafactory_ext.data.preview.examples import preview
from llamafactory_ext.data.preview.pieces import SILENCED
from llamafactory_ext.data.preview.request import Request
from llamafactory_ext.errors import DataError
from llamafactory_ext.tl.sft.examples import Settings
from llamafactory_ext.tl.sft.findings import Findings
from llamafactory_ext.training.losses import IGNORE_INDEX
from llamafactory_ext.training.token_weights import SCALE, WEIGHTS_COLUMN
from llamafactory_ext.upstream.pipeline.encoding import ExampleEncoder
from llamafactory_ext.upstream.pipeline.fitting import fit_template
from llamafactory_ext.upstream.pipeline.previewing import WeighingEncoder
from llamafactory_ext.upstream.pipeline.requests import request_marks, request_records, request_weights
from llamafactory_ext.upstream.pipeline.weights import take_notes

pytestmark = pytest.mark.fast
disable_progress_bars()
PLAIN = Settings(use_mae=False)
SCHEMA = {"type": "object", "properties": {"a": {"type": "string", "description": "A."}}, "required": []}
TOOLS = [
    {"type": "function", "function": {"name": name, "description": "D.", "parameters": SCHEMA}}
    for name in ("get", "put")
]
Records = list[dict[str, Any]]


@pytest.fixture(scope="module")
def model(tmp_path_factory: pytest.TempPathFactory) -> Path:
    """A model with room for the tokens of every template."""
    return tiny.save_tiny_model(tmp_path_factory.mktemp("model"), vocab_size=512)


def user(text: str) -> dict[str, Any]:
    return {"role": "user", "content": text}


def said(text: str, **more: Any) -> dict[str, Any]:
    return {"role": "assistant", "content": text, **more}


def calling(*named: tuple[str, Any], **more: Any) -> dict[str, Any]:
    calls = [{"id": str(i), "function": {"name": name, "arguments": given}} for i, (name, given) in enumerate(named)]
    return {"role": "assistant", "content": None, "tool_calls": calls, **more}


def result(text: str) -> dict[str, Any]:
    return {"role": "tool", "content": text}


def generated(seed: int) -> dict[str, Any]:
    """A record of OpenAI's layout with whatever it may hold."""
    rng = random.Random(seed)
    messages: Records = [{"role": rng.choice(["system", "developer"]), "content": "S"}] if rng.random() < 0.5 else []
    for number in range(rng.randint(1, 3)):
        messages.append(user(f"Ask {number}"))
        for _ in range(rng.randint(0, 2)):
            named: Any = [(rng.choice(["get", "put"]), arguments(rng)) for _ in range(rng.randint(1, 2))]
            thought = {"reasoning_content": "hm"} if rng.random() < 0.3 else {}
            messages.append(calling(*named, **thought, **mark(rng)))
            messages += [result(f"r{i}") for i in range(len(named))]
        messages.append(said(f"Answer {number}", **mark(rng)))
    record: dict[str, Any] = {"messages": messages, "tools": TOOLS if rng.random() < 0.5 else json.dumps(TOOLS)}
    if rng.random() < 0.3:
        record["loss_mask"] = [rng.randint(0, 1) for message in messages if message["role"] == "assistant"]
    record["id"] = rng.choice([seed, str(seed)])
    return record


def arguments(rng: random.Random) -> Any:
    given = {rng.choice("abcd"): rng.choice([1, "x", None, [1], {"y": 2}, True])}
    return rng.choice([given, json.dumps(given), "" if rng.random() < 0.2 else given])


def mark(rng: random.Random) -> dict[str, Any]:
    return {"loss": False} if rng.random() < 0.2 else {}


def write(folder: Path, records: Records, name: str = "mine.json", **entry: Any) -> Path:
    path = folder / name
    path.write_text(json.dumps(records), encoding="utf-8")
    info = {"mine": {"file_name": name, "formatting": "openai", **entry}}
    (folder / "dataset_info.json").write_text(json.dumps(info))
    return path


def load(
    folder: Path, model: Path, settings: Settings | None, action: str = "keep", *, marks: bool = False, **options: Any
) -> tuple[Any, Findings]:
    """The data set as training has it, and what was found in it."""
    given = {"dataset": "mine", "dataset_dir": str(folder), "template": "qwen", "overwrite_cache": True}
    data_args = DataArguments(**(given | {"cutoff_len": 4096} | options))
    data_args.packing = bool(data_args.packing)
    asked = request_records(data_args, action)
    asked = request_marks(asked) if marks else asked
    asked = asked if settings is None else request_weights(asked, settings)
    tokenizer = tiny.tiny_tokenizer()
    template = fit_template({"tokenizer": tokenizer, "processor": None}, data_args)
    training_args = TrainingArguments(output_dir=str(folder / "out"), use_cpu=True, report_to="none")
    model_args = ModelArguments(model_name_or_path=str(model), cache_dir=str(folder / "cache"))
    module = get_dataset(template, model_args, asked, training_args, "sft", tokenizer, None)
    return take_notes(module["train_dataset"], settings, action)


@pytest.mark.parametrize("template", ["qwen", "llama3", "qwen3", "mistral", "default", "llama3_api_bank", "gemma3"])
@pytest.mark.parametrize("settings", [None, PLAIN], ids=["sft", "tl_sft"])
def test_training_gets_what_check_and_preview_show(
    tmp_path: Path, model: Path, template: str, settings: Settings | None
) -> None:
    records = [generated(seed) for seed in range(12)]
    path = write(tmp_path, records)
    rows, found = load(tmp_path, model, settings, template=template, cutoff_len=300)
    stage = "sft" if settings is None else "tl_sft"
    options = {} if settings is None else {"tl_use_mae": False}
    encoder = WeighingEncoder(Request(("x",), str(model), template, cutoff_len=300, stage=stage, tl_options=options))
    entry = DataEntry.found("mine", tmp_path)
    shown = []
    for record in records:
        dialogue = entry.dialogue(record, encoder.words)
        assert not isinstance(dialogue, str), dialogue
        shown.append(encoder.weigh(dialogue))
    assert found.intake.read == found.intake.trained == len(rows) == len(records)
    for row, weighed in zip(rows, shown, strict=True):
        assert row["input_ids"] == list(weighed.ids)
        learned = [label != IGNORE_INDEX for label in row["labels"]]
        assert learned == [weight > 0 for weight in weighed.weights]
        if settings is not None:
            assert [code / SCALE for code in row[WEIGHTS_COLUMN]] == list(weighed.weights)
    checked = audit(entry, ExampleEncoder(str(model), template, 300))
    assert checked.tokens == sum(len(row["input_ids"]) for row in rows)
    assert checked.trained == sum(label != IGNORE_INDEX for row in rows for label in row["labels"])
    assert checked.cut == sum(cut.cut for cut in found.intake.cut.values())
    assert path.is_file()


def decoded(rows: Any) -> list[str]:
    tokenizer = tiny.tiny_tokenizer()
    fit_template({"tokenizer": tokenizer, "processor": None}, DataArguments(template="qwen"))
    return [tokenizer.decode(row["input_ids"]) for row in rows]


def learned(rows: Any) -> list[str]:
    tokenizer = tiny.tiny_tokenizer()
    fit_template({"tokenizer": tokenizer, "processor": None}, DataArguments(template="qwen"))
    return [tokenizer.decode([label for label in row["labels"] if label != IGNORE_INDEX]) for row in rows]


@pytest.mark.parametrize("as_text", [False, True])
def test_arguments_and_tools_are_the_records_own(tmp_path: Path, model: Path, as_text: bool) -> None:
    given: list[dict[str, Any]] = [{"city": "Paris"}, {"amount": 3, "to": None}, {}]
    records = [
        {"messages": [user("Go"), calling(("get", json.dumps(one) if as_text else one)), result("1"), said("ok")]}
        for one in given
    ]
    records[0]["tools"] = [{"name": "get", "parameters": {"properties": {"city": {"type": "string"}}}}]
    records[1]["tools"] = [{"name": "get", "parameters": {"properties": {"amount": {"enum": [1, 3]}}}}]
    write(tmp_path, records)
    rows, _ = load(tmp_path, model, None)
    for text, one in zip(decoded(rows), given, strict=True):
        assert json.dumps({"name": "get", "arguments": one}) in text
        assert text.count("null") == ("to" in one)


def test_a_typed_file_loses_the_nulls_of_other_records(tmp_path: Path, model: Path) -> None:
    given: list[dict[str, Any]] = [{"city": "Paris"}, {"amount": 3, "to": "EUR"}]
    records = [{"messages": [user("Go"), calling(("get", one)), result("1"), said("ok")]} for one in given]
    Dataset.from_list(records).to_parquet(str(tmp_path / "mine.parquet"))
    (tmp_path / "dataset_info.json").write_text(
        json.dumps({"mine": {"file_name": "mine.parquet", "formatting": "openai"}})
    )
    rows, _ = load(tmp_path, model, None)
    for text, one in zip(decoded(rows), given, strict=True):
        assert json.dumps({"name": "get", "arguments": one}) in text


def test_a_byte_order_mark_and_two_types_in_a_column_do_not_matter(tmp_path: Path, model: Path) -> None:
    records = [{"messages": [user("Go"), said("ok")], "id": one, "meta": [one]} for one in (1, "b", None, {"c": 2})]
    path = write(tmp_path, records)
    path.write_text("\ufeff" + path.read_text(), encoding="utf-8")
    rows, found = load(tmp_path, model, None)
    assert len(rows) == found.intake.read == 4


def test_a_folder_of_files_is_read_whole(tmp_path: Path, model: Path) -> None:
    folder = tmp_path / "parts"
    folder.mkdir()
    for name in ("a.json", "b.json"):
        (folder / name).write_text(json.dumps([{"messages": [user(name), said("ok")]}]))
    (tmp_path / "dataset_info.json").write_text(json.dumps({"mine": {"file_name": "parts", "formatting": "openai"}}))
    assert len(load(tmp_path, model, None)[0]) == 2


def test_malformed_json_is_told_with_its_place(tmp_path: Path, model: Path) -> None:
    write(tmp_path, []).write_text('[{"messages": [}]')
    with pytest.raises(DataError, match=r"mine\.json, line 1 column 16: malformed JSON"):
        load(tmp_path, model, None)


# Counts that add up

BROKEN: Records = [
    {"messages": [said("I begin."), user("a"), said("b")]},
    {"messages": [user("a"), said("b"), user("c")]},
    {"messages": [user("a"), user("b"), said("c")]},
]
WHOLE: Records = [{"messages": [user(f"Go {i}"), said(f"ok {i}")]} for i in range(5)]


@pytest.mark.parametrize("options", [{}, {"preprocessing_num_workers": 2}, {"packing": True}, {"neat_packing": True}])
@pytest.mark.parametrize("settings", [None, PLAIN], ids=["marks", "weights"])
def test_left_out_records_are_counted_by_reason(
    tmp_path: Path, model: Path, options: dict[str, Any], settings: Settings | None
) -> None:
    options = {"packing": True} | options if "neat_packing" in options else options
    records = [record for pair in zip(WHOLE, [*BROKEN, *WHOLE[3:]], strict=True) for record in pair][:8]
    write(tmp_path, records, mark="tool", task="tool")
    stored = {"tokenized_path": str(tmp_path / "tokenized")}
    for _ in range(2):  # the second time from the cache
        rows, found = load(tmp_path, model, settings, marks=True, preprocessing_batch_size=3, **options, **stored)
        counted = found.intake
        assert (counted.read, counted.trained, counted.left_out.counts.total()) == (8, 5, 3)
        assert len(counted.left_out.counts) == 3
        assert options.get("packing") or len(rows) == 5
        assert [cut.examples for cut in counted.cut.values()] == [5]
        assert list(counted.cut) == ["tool"]


def test_records_that_cannot_be_read_are_problems_with_their_place(tmp_path: Path, model: Path) -> None:
    bad = {"messages": [user("Go"), calling(("get", "{")), result("1"), said("ok")]}
    write(tmp_path, [WHOLE[0], bad])
    rows, found = load(tmp_path, model, PLAIN)
    assert (len(rows), found.unusable, found.intake.trained) == (1, 1, 1)
    (shown,) = found.shown["the record cannot be read"]
    assert shown.startswith("mine.json, index 1: turn 2: the arguments of 'get'")


def test_what_a_template_cannot_keep_is_counted_with_its_place(tmp_path: Path, model: Path) -> None:
    write(tmp_path, [{"messages": [user("Go"), calling(("get", {}), content="I look."), result("1"), said("ok")]}])
    name = next(name for name, one in TEMPLATES.items() if type(one).__name__ == "Llama2Template")
    _, found = load(tmp_path, model, None, template=name)
    assert found.intake.lost.places.popitem()[1] == ["mine.json, index 0, turn 2"]


# What cutoff_len cuts


def long_records() -> Records:
    talk: Sequence[dict[str, Any]] = (user("Go"), calling(("get", {"a": "x" * 300})), result("1"), said("ok " * 40))
    quick = {"messages": [user("Hi"), said("hello")], "mark": "general"}
    return [{"messages": list(talk), "mark": "tool", "tools": TOOLS}, quick]


@pytest.mark.parametrize(
    ("place", "expected"),
    [("whole", (0, 0, 0, 0)), ("answer", (1, 0, 1, 0)), ("call", (1, 1, 1, 0)), ("prompt", (1, 1, 1, 1))],
)
@pytest.mark.parametrize("settings", [None, PLAIN], ids=["sft", "tl_sft"])
def test_cuts_are_counted_by_category(
    tmp_path: Path, model: Path, place: str, expected: tuple[int, int, int, int], settings: Settings | None
) -> None:
    write(tmp_path, long_records(), columns={"messages": "messages", "tools": "tools", "mark": "mark"}, task="t")
    whole, _ = load(tmp_path, model, None)
    trained = [i for i, label in enumerate(whole[0]["labels"]) if label != IGNORE_INDEX]
    cutoff = {"whole": len(whole[0]["labels"]), "answer": trained[-1] - 9, "call": 60, "prompt": 1}[place]
    _, found = load(tmp_path, model, settings, cutoff_len=cutoff)
    cut = found.intake.cut["tool, t"]
    assert (cut.cut, cut.calls, cut.answers, cut.untrained) == expected
    assert cut.examples == found.intake.cut["general, t"].examples == 1
    told = found.intake.lines(cutoff)[1:]
    assert bool(told) == (place != "whole")
    if place == "answer":
        assert told == [
            f"cutoff_len: {cutoff} cuts tool, t: 1 of 1 examples, 0 calls and 1 answers cut, "
            "0 examples left without a trained token"
        ]


def test_cut_examples_can_be_left_out(tmp_path: Path, model: Path) -> None:
    write(tmp_path, long_records())
    rows, found = load(tmp_path, model, PLAIN, "drop", cutoff_len=200)
    assert (len(rows), found.intake.trained, found.intake.cut["mine"].cut) == (1, 1, 1)
    assert dict(found.intake.left_out.counts) == {"cutoff_len cuts it (cutoff_action: drop)": 1}
    options = {"cutoff_len": 200, "tokenized_path": str(tmp_path / "kept")}
    load(tmp_path, model, PLAIN, "drop", **options)
    with pytest.raises(DataError, match=r"made with cutoff_action: drop"):
        load(tmp_path, model, PLAIN, "keep", **options)


# A record's own marks


@pytest.mark.parametrize("template", ["qwen", "default"])
@pytest.mark.parametrize("settings", [None, PLAIN], ids=["citi", "tl_sft"])
def test_turns_with_marks_of_their_own_leave_the_loss(
    tmp_path: Path, model: Path, settings: Settings | None, template: str
) -> None:
    turns = [user("a"), said("one", loss=False), user("b"), said("two")]
    masked = [user("a"), said("one"), user("b"), said("two")]
    write(tmp_path, [{"messages": turns}, {"messages": masked, "loss_mask": [1, 0]}, {"messages": masked}])
    rows, found = load(tmp_path, model, settings, template=template)
    first, second, third = learned(rows)
    assert ("one" in first, "two" in first) == (False, True)
    assert ("one" in second, "two" in second) == (True, False)
    assert ("one" in third, "two" in third) == (True, True)
    assert found.intake.silenced == 2
    assert "2 turns out of the loss by their own marks" in found.intake.lines(10)[0]
    ends = [label for label in rows[0]["labels"] if label != IGNORE_INDEX]
    assert len(ends) < len([label for label in rows[2]["labels"] if label != IGNORE_INDEX])


def test_preview_shows_them(tmp_path: Path, model: Path) -> None:
    write(tmp_path, [{"messages": [user("a"), said("one", loss=False), user("b"), said("two")]}])
    (shown,) = preview(Request(("mine",), str(model), "qwen", dataset_dir=str(tmp_path)))
    silenced = "".join(piece.text for piece in shown.pieces if piece.kind == SILENCED)
    assert silenced.startswith("one")
    assert "two" not in silenced


# Templates


@pytest.mark.parametrize("template", ["qwen3_5", "gemma3", "mistral_small", "qwen2_vl", "llama4"])
def test_templates_for_media_work_on_texts(tmp_path: Path, model: Path, template: str) -> None:
    write(tmp_path, [generated(seed) for seed in range(3)])
    encoder = ExampleEncoder(str(model), template, 4096)
    assert audit(DataEntry.found("mine", tmp_path), encoder).lines() == []
    assert len(load(tmp_path, model, None, template=template)[0]) == 3


def test_a_record_without_a_turn_to_learn_is_a_remark(tmp_path: Path, model: Path) -> None:
    write(tmp_path, [{"messages": [user("a"), said("one")], "loss_mask": [0]}])
    found = audit(DataEntry.found("mine", tmp_path), ExampleEncoder(str(model), "qwen", 4096))
    assert (found.lines(), found.untrained, found.silenced) == ([], 1, 1)
    assert ALL_SILENT in found.remarks.lines()[-1]


def test_a_token_beyond_the_vocabulary_is_told_by_check(tmp_path: Path) -> None:
    small = tiny.save_tiny_model(tmp_path / "model")
    write(tmp_path, WHOLE)
    entry = DataEntry.found("mine", tmp_path)
    (line,) = audit(entry, ExampleEncoder(str(small), "qwen", 4096)).lines()
    assert "template qwen writes the token" in line
    assert "resize_vocab: true" in line
    assert audit(entry, ExampleEncoder(str(small), "llama3", 4096)).lines() == []
