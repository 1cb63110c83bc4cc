"""What a file of options may not ask for: every case is one line that names it."""

from __future__ import annotations

import json
from pathlib import Path
from typing import Any

import pytest
import yaml

from cl.comparisons import options_of, plan_of, records
from llamafactory_ext.cl.plan import read_plan
from llamafactory_ext.errors import OptionError

BAD = {
    "unknown": ({"colour": 1}, "colour is unknown"),
    "no model": ({"model": "nowhere"}, "model=nowhere is no folder"),
    "a model's name too long for a disk": ({"model": "n" * 5000}, "is no folder"),
    "method": ({"methods": {"magic": {}}}, "choose one of data, seq_lora"),
    "share": ({"methods": {"replay": {"share": 2}}}, "methods.replay.share=2"),
    "share without effect": ({"methods": {"per_task": {"share": 0.1}}}, "has no effect with kind: per_task"),
    "driver's": ({"train": {"output_dir": "x"}}, "train.output_dir is set by the driver"),
    "gap": ({"order": ["colours", "plants"]}, "order names plants, which tasks lacks: the sequence has a gap"),
    "order": ({"order": "long_9"}, "order='long_9': give a list of tasks, or one of standard_1"),
    "seeds": ({"seeds": "1"}, "seeds='1'"),
    "rows": ({"evaluate": {"rows": "first"}}, "evaluate.rows='first'"),
    "tasks": ({"tasks": []}, "tasks is empty"),
    "method for methods": ({"methods": None, "method": {"data": {}}}, r"method is unknown; did you mean methods\?"),
    "kind as list": ({"methods": {"data": {"kind": ["data"]}}}, r"methods.data.kind=\['data'\]: choose one of"),
    "methods as list": ({"methods": ["data"]}, "methods is no list of options"),
    "order of lists": ({"order": [["colours"], "numbers"]}, "order names .*colours.*, which tasks lacks"),
    "order twice": ({"order": ["colours", "numbers", "colours"]}, "order names colours twice; remove one"),
    "empty order": ({"order": []}, r"order=\[\]: give a list of tasks"),
    "evaluate by number": ({"evaluate": {3: "x", "y": 1}}, "evaluate.3 is unknown; remove it"),
    "base as text": ({"evaluate": {"base": "no"}}, "evaluate.base='no': write true or false"),
    "seed twice": ({"seeds": [1, 2, 1]}, "seeds: 1 stands there twice"),
    "seed below 0": ({"seeds": [-1]}, r"seeds=\[-1\]: give a list of whole numbers from 0"),
    "seed too large": ({"seeds": [2**32]}, "give a list of whole numbers from 0"),
    "two letters' cases": ({"methods": {"data": {}, "Data": {"kind": "data"}}}, "methods: data stands there twice"),
    "name as list": ({"name": ["x"]}, r"name=\['x'\]: write a text"),
    "half a character": ({"name": "a\ud800"}, r"a\\ud800 holds half a character"),
    "zero byte": ({"model": "a\0b"}, "holds half a character or a zero byte"),
    "share true": ({"methods": {"replay": {"share": True}}}, "methods.replay.share=True"),
    "unknown option": (
        {"train": {"lerning_rate": 1}},
        r"train.lerning_rate is no .*did you mean learning_rate",
    ),
    "impossible value": ({"train": {"learning_rate": "fast"}}, "train.learning_rate='fast': give a number"),
    "epochs": ({"train": {"num_train_epochs": [1]}}, r"train.num_train_epochs=\[1\]: give a number"),
    "a method's option": ({"methods": {"data": {"options": {"data_low_rnk": 1}}}}, "did you mean data_low_rank"),
    "a method's value": (
        {"methods": {"data": {"options": {"data_low_rank": 0}}}},
        "options.data_low_rank=0: give",
    ),
    "another's option": (
        {"methods": {"seq_lora": {"options": {"data_low_rank": 2}}}},
        "no effect with kind: seq_lora",
    ),
    "another's in train": ({"train": {"data_gate": "none"}}, "methods.replay: data_gate has no effect"),
    "the way it trains": ({"train": {"finetuning_type": "full"}}, "train.finetuning_type is set by the driver"),
    "no methods": ({"methods": {}}, "methods is missing"),
    "protection": ({"methods": {"data": {"data_protect": "magic"}}}, "data_protect='magic': choose one of project"),
    "protection as list": ({"methods": {"data": {"data_protect": ["project"]}}}, "choose one of project, experts"),
    "protected lora": ({"methods": {"seq_lora": {"data_protect": "project"}}}, "no effect with kind: seq_lora"),
    "a setting of a protection": ({"methods": {"data": {"settings": {"energy": 1}}}}, "kind: data takes none"),
    "citi": ({"methods": {"citi": {}}}, "methods.citi.kind=citi: CITI learns from one mixture"),
    "a setting of another": ({"methods": {"lwf": {"settings": {"items": 3}}}}, "takes strength, temperature"),
    "a setting of none": ({"methods": {"seq_lora": {"settings": {"items": 3}}}}, "kind: seq_lora takes none"),
    "a setting too large": ({"methods": {"osf": {"settings": {"kept": 1}}}}, "kept=1: give a number from 0 to 0.99"),
    "a setting by half": ({"methods": {"ewc": {"settings": {"items": 2.5}}}}, "items=2.5: give a whole number from 1"),
    "a setting as text": ({"methods": {"olora": {"settings": {"l2": "x"}}}}, "l2='x': give a number from 0"),
    "settings as list": ({"methods": {"olora": {"settings": [1]}}}, "methods.olora.settings is no list of options"),
    "no plain lora": (
        {"methods": {"slao": {"options": {"use_dora": True}}}},
        "use_dora does not work with kind: slao",
    ),
    "osf's rank": ({"methods": {"osf": {"options": {"lora_rank": 4}}}}, "lora_rank is set by kind: osf"),
    "quantised sum": (
        {"methods": {"inc_lora": {"options": {"quantization_bit": 4}}}},
        "quantization_bit keeps earlier adapters from being added",
    ),
    "search without rates": ({"search": {"share": 0.1}}, "search.learning_rates=None: give a list of numbers"),
    "search by text": ({"search": {"learning_rates": ["fast"]}}, "search.learning_rates=.*give a list of numbers"),
    "search twice": ({"search": {"learning_rates": ["1e-3", 0.001]}}, "0.001 stands there twice"),
    "search of all": ({"search": {"learning_rates": [0.1], "share": 1}}, "search.share=1: give a number between"),
    "search beside a rate": (
        {"search": {"learning_rates": [0.1]}},
        "methods.data: learning_rate has no effect beside search.learning_rates",
    ),
}


@pytest.mark.parametrize("case", BAD)
def test_what_does_not_work_is_said_at_once(case: str, tiny_llama_dir: Path, tmp_path: Path) -> None:
    changes, message = BAD[case]
    with pytest.raises(OptionError, match=message):
        plan_of(tmp_path, tiny_llama_dir, **changes)


@pytest.mark.parametrize("key", ["metric", "name", "train", "test", "max_new_tokens", "options"])
@pytest.mark.parametrize("value", [["exact"], {"a": 1}, 3.5])
def test_a_value_of_another_type_is_named(key: str, value: Any, tiny_llama_dir: Path, tmp_path: Path) -> None:
    if key == "options" and isinstance(value, dict):
        value = [1]
    tasks = options_of(tmp_path, tiny_llama_dir)["tasks"]
    tasks[0] = {**tasks[0], key: value}
    with pytest.raises(OptionError, match=key):
        plan_of(tmp_path, tiny_llama_dir, tasks=tasks)


@pytest.mark.parametrize(
    ("name", "content", "message"),
    [
        ("test", [{"instruction": "x\ud800", "output": "y"}], "record 1 holds half a character"),
        ("train", [{"instruction": "x", "output": "y", "input": [1]}], "record 1 has an input that is no text"),
        ("test", [], "has no test items"),
        ("test", records("colours", 0, 6), "6 of 6 items stand in"),
        ("train", [], "has no training items"),
        ("train", {"a": 1}, "is no list of records"),
        ("train", [{"instruction": "x"}], "record 1 lacks instruction or output"),
    ],
)
def test_bad_files_are_named(name: str, content: Any, message: str, tiny_llama_dir: Path, tmp_path: Path) -> None:
    path = tmp_path / "cl.yaml"
    path.write_text(yaml.safe_dump(options_of(tmp_path, tiny_llama_dir)), encoding="utf-8")
    (tmp_path / "colours" / f"{name}.json").write_text(json.dumps(content), encoding="utf-8")
    with pytest.raises(OptionError, match=message):
        read_plan(path)


NAMES = (
    "../../../victim",
    "a/b",
    "/abs",
    "..",
    ".",
    "",
    ".hidden",
    "base",
    "Base",
    "result.json",
    "a\\b",
    "a\nb",
    "x" * 101,
)


@pytest.mark.parametrize("name", NAMES)
def test_a_method_has_a_plain_name(name: str, tiny_llama_dir: Path, tmp_path: Path) -> None:
    with pytest.raises(OptionError, match="the name is"):
        plan_of(tmp_path, tiny_llama_dir, methods={name: {"kind": "data"}})


@pytest.mark.parametrize("name", [name for name in NAMES if name not in ("", "base", "Base", "result.json")])
def test_a_task_has_a_plain_name(name: str, tiny_llama_dir: Path, tmp_path: Path) -> None:
    tasks = options_of(tmp_path, tiny_llama_dir)["tasks"]
    with pytest.raises(OptionError, match="the name is"):
        plan_of(tmp_path, tiny_llama_dir, tasks=[{**tasks[0], "name": name}])


def test_all_that_does_not_work_is_said_together(tiny_llama_dir: Path, tmp_path: Path) -> None:
    with pytest.raises(OptionError) as error:
        plan_of(tmp_path, tiny_llama_dir, colour=1, model="nowhere", seeds=[], train={"lerning_rate": 1})
    assert len(error.value.message.splitlines()) == 1 + 4
