"""examples/yaml/data: one file for each pair of a training set and a template, each valid, some of them run."""

from __future__ import annotations

import re
from pathlib import Path
from typing import Any

import pytest
import yaml

pytest.importorskip("llamafactory", reason="LLaMA-Factory is not installed: it reads the options")

from llamafactory.hparams import get_train_args

import tiny
from data.samples import write_sample
from llamafactory_ext.data.entries import DataEntry
from llamafactory_ext.data.mix import Recipe, mix
from llamafactory_ext.data.preview.request import from_yaml
from llamafactory_ext.data.public.convert import FAMILIES, Request, convert
from llamafactory_ext.templates import TEMPLATES
from llamafactory_ext.upstream.pipeline.encoding import ExampleEncoder
from runs import train

YAMLS = Path(__file__).parents[2] / "examples" / "yaml"
NAMES = sorted(file.stem for file in (YAMLS / "data").glob("*.yaml"))
TRAINED = [name for name, family in FAMILIES.items() if family.split_of("") != "test" and name != "alpaca"]
# Pairs whose files are those of the papers' main experiments.
ELSEWHERE = {"api_bank_llama3", "api_bank_phi3", "api_bank_mistral_v02", "tl_training_codellama2"}


def read(name: str) -> dict[str, Any]:
    options: Any = yaml.safe_load((YAMLS / "data" / f"{name}.yaml").read_text(encoding="utf-8"))
    return options


def data_set(name: str) -> str:
    """The data set of a file's name."""
    return max((known for known in TRAINED if name.startswith(f"{known}_")), key=len)


@pytest.fixture(scope="module")
def converted(tmp_path_factory: pytest.TempPathFactory) -> Path:
    """A dataset_dir with a few records of every training set, and the mixture with ToolAlpaca."""
    folder = tmp_path_factory.mktemp("pairs")
    for name in TRAINED:
        convert(Request(name, write_sample(name, folder / "in" / name), folder))
    general = ("code_alpaca", "metamath", "triviaqa", "alpaca_gpt4")
    mix(Recipe(("toolalpaca",), general, 2, "citi_toolalpaca", folder))
    tiny.save_tiny_model(folder / "model", layers=2, vocab_size=420)
    return folder


def test_every_pair_has_a_file() -> None:
    styles = {"api_bank": "_api_bank", "toolalpaca": "_toolalpaca"}
    pairs = {
        f"{data}_{name.removesuffix(suffix)}"
        for data, suffix in styles.items()
        for name in TEMPLATES
        if suffix in name
    }
    tables = [name.removeprefix("tl_") for name in TEMPLATES if name.startswith("tl_")]
    pairs |= {f"{data}_{table}" for data in ("tl_training", "glaive") for table in tables}
    pairs |= {f"{data}_qwen25" for data in ("xlam", "toolace", "hermes", "apigen_mt", "etapp")}
    pairs |= {f"{name}_llama3" for name in TRAINED if FAMILIES[name].mark == "general"}
    assert set(NAMES) == pairs - ELSEWHERE
    assert {FAMILIES[data_set(name)].name for name in NAMES} == set(TRAINED)
    elsewhere = [yaml.safe_load((YAMLS / f"{name}.yaml").read_text(encoding="utf-8")) for name in ("citi_llama3",)]
    assert elsewhere[0]["template"] == "llama3_api_bank"


@pytest.mark.parametrize("name", NAMES)
def test_the_file_is_valid_and_its_template_writes_the_data(name: str, converted: Path, tmp_path: Path) -> None:
    options, text = read(name), (YAMLS / "data" / f"{name}.yaml").read_text(encoding="utf-8")
    assert f"llamafactory-cli train examples/yaml/data/{name}.yaml" in text
    assert options["output_dir"] == f"saves/{name}"
    assert options["per_device_train_batch_size"] * options["gradient_accumulation_steps"] in (64, 4)
    assert data_set(name) in options["dataset"]
    changes: dict[str, Any] = {"output_dir": str(tmp_path), "dataset_dir": str(converted), "use_cpu": True}
    changes["model_name_or_path"] = str(converted / "model")
    _, data_args, _, finetuning_args, _ = get_train_args(options | changes)
    assert finetuning_args.finetuning_type == options["finetuning_type"]
    encode = ExampleEncoder(str(converted / "model"), options["template"], data_args.cutoff_len)
    request = from_yaml(YAMLS / "data" / f"{name}.yaml")
    encoded = [
        encode(entry.dialogue(record))  # type: ignore[arg-type]
        for part in request.names
        for entry in [DataEntry.named(part, converted)]
        for _, record in entry.records()
    ]
    assert encoded
    assert all(0 < one.trained < one.whole for one in encoded)


@pytest.mark.parametrize("name", ["toolalpaca_mistral_v02", "tl_training_qwen2", "glaive_qwen25"])
def test_it_runs_on_a_tiny_model(name: str, converted: Path, tmp_path: Path) -> None:
    changes: dict[str, Any] = {
        "model_name_or_path": str(converted / "model"),
        "dataset_dir": str(converted),
        "output_dir": str(tmp_path),
        "per_device_train_batch_size": 2,
        "gradient_accumulation_steps": 1,
        "max_steps": 1,
        "logging_steps": 1,
        "overwrite_cache": True,
        "preprocessing_num_workers": 1,
        "plot_loss": False,
        "save_strategy": "no",
        "use_cpu": True,
    }
    options = read(name) | changes
    if options["finetuning_type"] == "citi":
        options |= {"citi_top_ratio": 0.3, "citi_bottom_ratio": 0.2}  # of 14 linears
        options |= {"citi_importance_samples": 2, "citi_report_samples": 0}
    train(options)
    written = {file.name for file in tmp_path.glob("*.safetensors")}
    assert written & {"model.safetensors", "adapter_model.safetensors"}


def test_the_readme_tells_the_pairs() -> None:
    readme = (YAMLS.parent / "README.md").read_text(encoding="utf-8")
    listed = {
        f"{data}_{template}"
        for data, templates in re.findall(r"^\| `(\w+)_\*\.yaml` \| (.*?) \|", readme, re.MULTILINE)
        for template in re.findall(r"`(\w+)`", templates)
    }
    assert listed == set(NAMES)
