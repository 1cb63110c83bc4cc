"""What `tl export-verl` writes, loaded as verl documents: parquet by datasets, the reward by its path."""

from __future__ import annotations

import importlib.util
from pathlib import Path
from types import ModuleType
from typing import Any

import pytest
from datasets import load_dataset

import tiny
from llamafactory_ext.errors import DataError, OptionError
from llamafactory_ext.tl.ppo.verl_export import Exported, export_verl
from ppo_runs import ppo_options, ppo_records, write_ppo_data
from processes import write_yaml

pytestmark = pytest.mark.fast


@pytest.fixture(scope="module")
def options(tmp_path_factory: pytest.TempPathFactory, tiny_llama_dir: Path) -> dict[str, Any]:
    folder = tmp_path_factory.mktemp("verl")
    bad = ppo_records(3)
    bad[0]["output"] = "API-Request: [GetWeather(city="
    data = write_ppo_data(folder / "data", 6, bad=bad)
    return ppo_options(tiny_llama_dir, data, folder / "out", tl_reward_function=None)


@pytest.fixture(scope="module")
def exported(tmp_path_factory: pytest.TempPathFactory, options: dict[str, Any]) -> Exported:
    folder = tmp_path_factory.mktemp("exported")
    yaml = write_yaml(folder / "ppo.yaml", options | {"eval_dataset": "held"})
    return export_verl(yaml, folder / "out")


def load(path: Path) -> ModuleType:
    spec = importlib.util.spec_from_file_location("custom_module", path)
    assert spec is not None
    assert spec.loader is not None
    module = importlib.util.module_from_spec(spec)
    spec.loader.exec_module(module)
    return module


def test_the_data_has_verls_columns(exported: Exported, tmp_path: Path) -> None:
    train, test, _ = exported.files
    assert exported.rows == {"train.parquet": 6, "test.parquet": 4}
    rows: Any = load_dataset("parquet", data_files=str(train), cache_dir=str(tmp_path))["train"]
    assert set(rows.column_names) == {"data_source", "prompt", "ability", "reward_model", "extra_info"}
    first = rows[0]
    assert first["data_source"] == "ppo"
    assert first["reward_model"] == {"style": "rule", "ground_truth": "API-Request: [GetWeather(city='Paris 0')]"}
    assert [message["role"] for message in first["prompt"]] == ["user"]
    assert "Generate API Request" in first["prompt"][0]["content"]
    assert first["extra_info"]["split"] == "train"
    assert [row["extra_info"]["index"] for row in rows] == list(range(6))
    assert test.name == "test.parquet"


def test_the_chat_template_renders_the_prompts_of_the_training(exported: Exported) -> None:
    assert exported.other_prompts == 0


def test_the_reward_file_scores(exported: Exported, tmp_path: Path) -> None:
    score = load(exported.files[-1]).compute_score
    rows: Any = load_dataset("parquet", data_files=str(exported.files[0]), cache_dir=str(tmp_path))["train"]
    given = {"data_source": "ppo", "extra_info": rows[0]["extra_info"]}
    right = rows[0]["reward_model"]["ground_truth"]
    found = score(solution_str=right, ground_truth=right, **given)
    assert found["score"] == found["correct"] == 1
    assert score(solution_str="nothing", ground_truth=right, **given)["score"] == -2
    wrong = score(solution_str="API-Request: [AddReminder(content='x')]", ground_truth=right, **given)
    assert (wrong["score"], wrong["wrong_tool"], wrong["correct"]) == (-1.5, 1, 0)
    assert score(solution_str=right.replace("Paris", "Rome"), ground_truth=right, **given)["score"] == -0.25
    assert found.keys() == wrong.keys()


def test_tools_of_a_column_stand_in_the_system_message(
    options: dict[str, Any], tmp_path: Path, tiny_tokenizer: Any
) -> None:
    from llamafactory.data import get_template_and_fix_tokenizer
    from llamafactory.hparams import DataArguments

    from llamafactory_ext.upstream.pipeline.dialogues import chat_messages, encode_turn

    template = get_template_and_fix_tokenizer(tiny.tiny_tokenizer(), DataArguments(template="llama3"))
    tools = '[{"name": "Add", "description": "Adds.", "parameters": {"type": "object", "properties": {}}}]'
    turns = [
        {"role": "user", "content": "Add."},
        {"role": "function", "content": '{"name": "Add", "arguments": {}}'},
        {"role": "observation", "content": "3"},
        {"role": "function", "content": '{"name": "Add", "arguments": {"a": 1}}'},
    ]
    messages = chat_messages(template, tiny_tokenizer, turns[:3], "", tools)
    assert [message["role"] for message in messages] == ["system", "user", "assistant", "tool"]
    assert '"name": "Add"' in messages[0]["content"]
    prompt = tiny_tokenizer.decode(encode_turn(template, tiny_tokenizer, turns, "", tools)[0])
    assert all(message["content"] in prompt for message in messages)


def test_what_cannot_be_exported_is_said(options: dict[str, Any], tmp_path: Path) -> None:
    with pytest.raises(OptionError, match="does not exist"):
        export_verl(tmp_path / "none.yaml", tmp_path)
    plain = {name: value for name, value in options.items() if not name.startswith("tl_")}
    yaml = write_yaml(tmp_path / "sft.yaml", plain | {"stage": "sft"})
    with pytest.raises(OptionError, match="stage: tl_ppo"):
        export_verl(yaml, tmp_path)
    yaml = write_yaml(tmp_path / "own.yaml", options | {"tl_reward_function": "ppo_rewards:length"})
    with pytest.raises(OptionError, match="tl_reward_function"):
        export_verl(yaml, tmp_path)
    yaml = write_yaml(tmp_path / "bad.yaml", options | {"dataset": "bad"})
    with pytest.raises(DataError, match="1 of 3"):
        export_verl(yaml, tmp_path)
