"""The paper's YAML files: every key is an option, every value is the paper's and has its type."""

from __future__ import annotations

import json
from collections.abc import Mapping
from dataclasses import fields
from functools import cache
from pathlib import Path
from typing import Any

import pytest
import yaml

from llamafactory_ext.data.family import ALPACA
from llamafactory_ext.data.public.convert import FAMILIES

pytestmark = pytest.mark.fast

ROOT = Path(__file__).resolve().parents[2]
NAMES = ("citi_llama3", "citi_phi3", "citi_mistral")
MODELS = {
    "citi_llama3": ("meta-llama/Meta-Llama-3-8B-Instruct", "llama3_api_bank"),
    "citi_phi3": ("microsoft/Phi-3-mini-128k-instruct", "phi3_api_bank"),
    "citi_mistral": ("mistralai/Mistral-7B-Instruct-v0.2", "mistral_v02_api_bank"),
}
PAPER = {
    "citi_top_ratio": 0.2,
    "citi_bottom_ratio": 0.1,
    "citi_num_experts": 4,
    "citi_rank": 8,
    "citi_alpha": 2,
    "citi_router_delta": 0.95,
    "citi_router_beta": 0.01,
    "citi_importance_samples": 3000,
    "citi_rp_epochs": 1,
    "citi_rp_lr": 2e-4,
    "citi_mi_epochs": 2,
    "citi_mi_lr": 2e-4,
    "citi_uco_epochs": 1,
    "citi_uco_lr": 2e-5,
}


def load(name: str) -> dict[str, Any]:
    values = yaml.safe_load((ROOT / "examples" / "yaml" / f"{name}.yaml").read_text(encoding="utf-8"))
    assert isinstance(values, dict)
    return values


@cache
def option_defaults() -> Mapping[str, Any]:
    """Every option that upstream's parser and we declare."""
    hparams = pytest.importorskip("llamafactory.hparams", reason="LLaMA-Factory is not installed")
    classes = [
        hparams.ModelArguments,
        hparams.DataArguments,
        hparams.TrainingArguments,
        hparams.FinetuningArguments,
        hparams.GeneratingArguments,
    ]
    return {option.name: option.default for kind in classes for option in fields(kind)}


@pytest.mark.parametrize("name", NAMES)
def test_every_key_is_an_option_and_every_number_a_number(name: str) -> None:
    defaults = option_defaults()
    values = load(name)
    assert set(values) <= set(defaults)
    for key, value in values.items():  # YAML reads 2e-4 as a text
        if isinstance(defaults[key], int | float):
            assert isinstance(value, int | float), key


@pytest.mark.parametrize("name", NAMES)
def test_the_values_are_the_papers(name: str) -> None:
    values = load(name)
    assert {key: values[key] for key in PAPER} == PAPER
    assert (values["model_name_or_path"], values["template"]) == MODELS[name]
    assert (values["stage"], values["finetuning_type"], values["citi_router_scope"]) == ("sft", "citi", "batch")
    assert values["per_device_train_batch_size"] * values["gradient_accumulation_steps"] == 64
    assert values["output_dir"] == f"saves/{name}"


@pytest.mark.parametrize("name", NAMES)
def test_our_options_pass_their_own_check(name: str) -> None:
    groups = pytest.importorskip("llamafactory_ext.options.groups", reason="our options cannot be imported")
    given = {key: value for key, value in load(name).items() if key.startswith("citi_")}
    checked, problems = groups.check_values(given, groups.RULES)
    assert problems == []
    assert checked == given


@pytest.mark.parametrize("name", NAMES)
def test_upstream_knows_the_template(name: str) -> None:
    template = pytest.importorskip("llamafactory.data.template", reason="LLaMA-Factory is not installed")
    assert load(name)["template"] in template.TEMPLATES


def test_the_data_sets_have_entries_that_the_converters_fill() -> None:
    info = json.loads((ROOT / "data" / "dataset_info.json").read_text(encoding="utf-8"))
    names = load("citi_llama3")["dataset"].split(",")
    assert names == ["api_bank", "code_alpaca", "metamath", "triviaqa", "alpaca_gpt4"]
    for name in [*names, "gsm8k"]:
        assert info[name] == ALPACA.entry(f"{name}.json")
    assert [(FAMILIES[name].mark, FAMILIES[name].task) for name in names] == [
        ("tool", "tool"),
        ("general", "code"),
        ("general", "math"),
        ("general", "facts"),
        ("general", "instructions"),
    ]


def test_the_three_files_differ_only_in_model_template_and_output() -> None:
    own = ("model_name_or_path", "template", "output_dir")
    common = [{key: value for key, value in load(name).items() if key not in own} for name in NAMES]
    assert common[0] == common[1] == common[2]


def test_the_readme_lists_every_file() -> None:
    readme = (ROOT / "examples" / "README.md").read_text(encoding="utf-8")
    files = sorted(path.name for path in (ROOT / "examples" / "yaml").glob("*.yaml"))
    assert [name for name in files if f"`yaml/{name}`" not in readme] == []
