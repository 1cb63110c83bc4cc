"""TL-Training's YAMLs: the paper's settings, each runs on a tiny model; and the script that trains the whole table."""

from __future__ import annotations

import json
import shutil
import subprocess
from pathlib import Path
from typing import Any

import pytest
from llamafactory.data.template import TEMPLATES
from llamafactory.train.tuner import run_exp
from omegaconf import OmegaConf

import tiny
from llamafactory_ext.options.groups import RULES
from llamafactory_ext.options.values import check_values
from processes import run
from tl.trajectories import records, write_data

EXAMPLES = Path(__file__).parents[3] / "examples"
TABLE = EXAMPLES / "yaml" / "tl" / "ablations"
SCRIPT = EXAMPLES / "scripts" / "run_tl_table.sh"
SFT = {"none": (False, False), "mae": (True, False), "pkt": (False, True), "mae_pkt": (True, True)}
IRM = {"irm": "none", "mae_irm": "mae", "pkt_irm": "pkt", "all": "mae_pkt"}


def read(path: Path) -> dict[str, Any]:
    options: Any = OmegaConf.to_container(OmegaConf.load(path))
    return options


def test_the_table_is_complete() -> None:
    assert {file.stem for file in TABLE.glob("*")} == {*SFT, *IRM}
    readme = (EXAMPLES / "README.md").read_text("utf-8")
    for name in (*SFT, *IRM):
        assert f"`{name}`" in readme
        text = (TABLE / f"{name}.yaml").read_text("utf-8")
        assert f"llamafactory-cli train examples/yaml/tl/ablations/{name}.yaml" in text


@pytest.mark.parametrize("name", [*SFT, "tl_sft_codellama"])
def test_the_first_stages_settings_are_the_papers(name: str) -> None:
    options = read(TABLE / f"{name}.yaml" if name in SFT else EXAMPLES / "yaml" / f"{name}.yaml")
    assert (options["stage"], options["finetuning_type"]) == ("tl_sft", "full")
    assert (options["tl_use_mae"], options["tl_use_pkt"]) == SFT.get(name, (True, True))
    assert options.get("tl_w_max") == (9 if options["tl_use_pkt"] else None)
    assert (options["learning_rate"], options["num_train_epochs"], options["warmup_steps"]) == (1e-6, 1, 0.01)
    assert (options["lr_scheduler_type"], options["optim"]) == ("cosine", "adamw_torch")
    assert options["per_device_train_batch_size"] * options["gradient_accumulation_steps"] == 4
    check_common(options, f"saves/tl/{name}" if name in SFT else "saves/tl_sft_codellama")


@pytest.mark.parametrize("name", IRM)
def test_the_second_stages_settings_are_the_papers(name: str) -> None:
    options = read(TABLE / f"{name}.yaml")
    assert (options["stage"], options["model_name_or_path"]) == ("tl_ppo", f"saves/tl/{IRM[name]}")
    assert (options["learning_rate"], options["tl_critic_lr"], options["num_train_epochs"]) == (2e-6, 1e-6, 3)
    assert options["per_device_train_batch_size"] * options["gradient_accumulation_steps"] == 8
    check_common(options, f"saves/tl/{name}")


def check_common(options: dict[str, Any], output: str) -> None:
    assert (options["template"], options["dataset"], options["output_dir"]) == ("tl_codellama2", "tl_training", output)
    assert options["template"] in TEMPLATES
    assert check_values({key: value for key, value in options.items() if key.startswith("tl_")}, RULES)[1] == []


@pytest.fixture(scope="module")
def small(tmp_path_factory: pytest.TempPathFactory) -> dict[str, Any]:
    """Overrides that make a run small, the same for every row."""
    folder = tmp_path_factory.mktemp("table")
    return {
        "dataset": "trajectories",
        "dataset_dir": str(write_data(folder / "data", records(6))),
        "model_name_or_path": str(tiny.save_tiny_model(folder / "model", vocab_size=400)),
        "cutoff_len": 2048,
        "preprocessing_num_workers": 1,
        "gradient_accumulation_steps": 1,
        "max_steps": 1,
        "logging_steps": 1,
        "overwrite_cache": True,
        "plot_loss": False,
        "bf16": False,
        "use_cpu": True,
    }


@pytest.fixture(scope="module")
def trained(small: dict[str, Any], tmp_path_factory: pytest.TempPathFactory) -> dict[str, Path]:
    folder = tmp_path_factory.mktemp("rows")
    for name in SFT:
        run_exp(read(TABLE / f"{name}.yaml") | small | {"output_dir": str(folder / name)})
    return {name: folder / name for name in SFT}


def test_the_first_stages_rows_run(trained: dict[str, Path]) -> None:
    for name, (mae, pkt) in SFT.items():
        report = json.loads((trained[name] / "tl_report.json").read_text("utf-8"))["train"]
        assert (bool(report["errors"]), report["key_tokens"] > 0) == (mae, pkt)
        assert (trained[name] / "model.safetensors").is_file()


@pytest.mark.parametrize("name", ["irm", "all"])
def test_a_second_stages_row_goes_on_from_the_first(
    name: str, small: dict[str, Any], trained: dict[str, Path], tmp_path: Path
) -> None:
    changes = {"model_name_or_path": str(trained[IRM[name]]), "output_dir": str(tmp_path), "tl_max_new_tokens": 8}
    run_exp(read(TABLE / f"{name}.yaml") | small | changes | {"per_device_train_batch_size": 4})
    history = json.loads((tmp_path / "trainer_state.json").read_text("utf-8"))["log_history"]
    assert any("reward" in entry for entry in history)


def test_the_papers_file_runs(small: dict[str, Any], tmp_path: Path) -> None:
    run_exp(read(EXAMPLES / "yaml" / "tl_sft_codellama.yaml") | small | {"output_dir": str(tmp_path)})
    assert json.loads((tmp_path / "tl_report.json").read_text("utf-8"))["train"]["calls"] == 6


def test_the_tiny_file_runs(tmp_path: Path, monkeypatch: pytest.MonkeyPatch) -> None:
    monkeypatch.chdir(EXAMPLES.parent)
    options = read(EXAMPLES / "yaml" / "tl_sft_tiny.yaml")
    run_exp(options | {"max_samples": 60, "max_steps": 2, "logging_steps": 1, "output_dir": str(tmp_path)})
    report = json.loads((tmp_path / "tl_report.json").read_text("utf-8"))["train"]
    assert set(report["errors"]) == {
        "Tool Instability",
        "Tool Call Failure",
        "Tool Hallucination",
        "Parameter Hallucination",
        "Parameter Missing",
    }
    assert (report["problems"], report["examples"]) == ({}, 60)


# The script, with a stand-in for `llamafactory-cli`

STAND_IN = """#!/usr/bin/env bash
set -eu
for word in "$@"; do case $word in output_dir=*) out=${word#*=} ;; esac; done
echo "$*" >>"$CALLS"
mkdir -p "$out"
if [[ ${out##*/} == "${FAIL:-}" ]]; then echo "OptionError: the reason" >&2; exit 3; fi
echo '{"train_loss": 1.23456}' >"$out/train_results.json"
echo '{"log_history": [{"reward": -0.5}, {"reward": 0.25}]}' >"$out/trainer_state.json"
"""
needs_bash = pytest.mark.skipif(shutil.which("bash") is None, reason="bash is not installed")


class Table:
    """The script in a folder of its own, with the stand-in in front of PATH."""

    def __init__(self, folder: Path) -> None:
        self.folder, self.calls_file = folder, folder / "calls"
        (folder / "bin").mkdir()
        (folder / "bin" / "llamafactory-cli").write_text(STAND_IN)
        (folder / "bin" / "llamafactory-cli").chmod(0o755)
        write_data(folder / "data", records(1))

    def __call__(self, *words: str, **variables: str) -> subprocess.CompletedProcess[str]:
        self.calls_file.write_text("")
        path = f"{self.folder / 'bin'}:/usr/bin:/bin"
        command = ["bash", str(SCRIPT), "--dataset-dir", "data", "--data", "trajectories", "--out", "out", *words]
        return run(command, self.folder, PATH=path, CALLS=str(self.calls_file), **variables)

    @property
    def calls(self) -> dict[str, list[str]]:
        lines = [line.split() for line in self.calls_file.read_text().splitlines()]
        return {next(word for word in line if "output_dir=" in word).rpartition("/")[2]: line for line in lines}


@pytest.fixture
def table(tmp_path: Path) -> Table:
    return Table(tmp_path)


@needs_bash
def test_every_row_has_its_file_and_goes_on_from_its_base(table: Table) -> None:
    result = table("--model", "some/model", "--sft", "learning_rate=1e-3", "--ppo", "tl_clip=0.1", "--", "bf16=false")
    assert result.returncode == 0, result.stderr
    assert list(table.calls) == [*SFT, *IRM]
    for row, words in table.calls.items():
        assert words[:2] == ["train", str(TABLE / f"{row}.yaml")]
        assert f"model_name_or_path={'some/model' if row in SFT else f'out/{IRM[row]}'}" in words
        assert ("learning_rate=1e-3" in words, "tl_clip=0.1" in words) == (row in SFT, row in IRM)
        assert "bf16=false" in words
    summary = (table.folder / "out" / "summary.txt").read_text()
    assert result.stdout.endswith(summary)
    rows = [line.split() for line in summary.splitlines()[1:]]
    assert [row[0] for row in rows] == [*SFT, *IRM]
    assert all(row[1] == "done" and row[-3:] == ["1.2346", "-", "0.2500"] for row in rows)


@needs_bash
def test_a_row_brings_its_base_and_waits_for_it(table: Table) -> None:
    result = table("--rows", "all,none", FAIL="mae_pkt")
    assert result.returncode == 1
    assert list(table.calls) == ["mae_pkt", "none"]
    assert "mae_pkt: failed with status 3" in result.stderr
    assert "    OptionError: the reason" in result.stderr
    assert "all: left out: it goes on from row mae_pkt, which is not done" in result.stderr
    result = table("--rows", "all,none")
    assert result.returncode == 0
    assert list(table.calls) == ["mae_pkt", "all"]
    assert "none: done before" in result.stdout
    result = table("--rows", "none", "--model", "other")
    assert result.returncode == 1
    assert "begun with other settings" in result.stderr


@needs_bash
def test_help_and_wrong_options(table: Table) -> None:
    printed = table("--help").stdout
    for row in (*SFT, *IRM):
        assert f" {row}" in printed
    assert not (table.folder / "out").exists()
    result = table("--rows", "some", "--wrong", "--data", "other", "--", "output_dir=x", "y")
    assert result.returncode == 2
    for problem in (
        'no row "some"',
        "--wrong is not an option",
        '"other" is not in',
        "output_dir is set",
        '"y" after -- is not of the form key=value',
    ):
        assert problem in result.stderr
    assert not table.calls
