"""The script that trains a whole table: skips, resumes, goes on after a failure, and says what came out.

Most of it runs with a stand-in for `llamafactory-cli`; one test gives real commands on the tiny model.
"""

from __future__ import annotations

import json
import shutil
import subprocess
from pathlib import Path

import pytest

import tiny
from forked import run as run_forked
from processes import run

SCRIPT = Path(__file__).parents[2] / "examples" / "scripts" / "run_citi_table.sh"
# Writes what a run leaves behind; fails for the row named in FAIL.
STAND_IN = """#!/usr/bin/env bash
set -eu
for word in "$@"; do case $word in output_dir=*) out=${word#*=} ;; esac; done
echo "$*" >>"$CALLS"
mkdir -p "$out/phase-1-mi"
echo '{}' >"$out/importance.json"
if [[ ${out##*/} == "${FAIL:-}" ]]; then echo "OptionError: the reason" >&2; exit 3; fi
echo '{"train_loss": 1.23456}' >"$out/phase-1-mi/train_results.json"
echo '{"eval_loss": 2.5}' >"$out/eval_results.json"
"""
pytestmark = pytest.mark.skipif(shutil.which("bash") is None, reason="bash is not installed")


class Table:
    """The script in a folder of its own, with the stand-in in front of PATH."""

    def __init__(self, folder: Path) -> None:
        self.folder, self.calls_file = folder, folder / "calls"
        (folder / "bin").mkdir()
        (folder / "bin" / "llamafactory-cli").write_text(STAND_IN)
        (folder / "bin" / "llamafactory-cli").chmod(0o755)
        tiny.write_tiny_data(folder / "data", 4)

    def __call__(self, *words: str, **variables: str) -> subprocess.CompletedProcess[str]:
        self.calls_file.write_text("")
        path = f"{self.folder / 'bin'}:/usr/bin:/bin"
        data = ["--dataset-dir", "data", "--tool-data", "tiny", "--general-data", "tiny", "--out", "out"]
        command = ["bash", str(SCRIPT), *data, *words]
        return run(command, self.folder, PATH=path, CALLS=str(self.calls_file), **variables)

    @property
    def calls(self) -> dict[str, list[str]]:
        """The words of each call, by row."""
        lines = [line.split() for line in self.calls_file.read_text().splitlines()]
        return {
            next(word for word in line if word.startswith("output_dir=")).rpartition("/")[2]: line for line in lines
        }


@pytest.fixture
def table(tmp_path: Path) -> Table:
    return Table(tmp_path)


def test_help_names_every_row_and_writes_nothing(table: Table) -> None:
    result = table("--help")
    assert result.returncode == 0
    for file in (SCRIPT.parents[1] / "yaml" / "ablations" / "llama3").glob("*.yaml"):
        assert f" {file.stem}" in result.stdout
    assert not (table.folder / "out").exists()


def test_every_row_has_its_file_and_data(table: Table) -> None:
    (table.folder / "data" / "dataset_info.json").write_text(json.dumps({"tiny": {}, "other": {}}))
    result = table("--rows", "all", "--general-data", "other", "--model", "some/model", "--template", "phi")
    assert result.returncode == 0, result.stderr
    assert len(table.calls) == 16
    for row, words in table.calls.items():
        assert words[0] == "train"
        assert Path(words[1]).is_file()
        assert Path(words[1]).stem == ("citi_llama3" if row == "citi" else row)
        assert ("dataset=tiny" in words) == (row in ("ft", "lora"))
        assert ("dataset=tiny,other" in words) == (row not in ("ft", "lora"))
        assert {"model_name_or_path=some/model", "template=phi", "dataset_dir=data"} <= set(words)
        loads = row not in ("citi", "ft", "lora", "ft_dm", "lora_dm")
        assert ("citi_importance_load=out/citi/importance.json" in words) == loads


def test_the_default_rows_settings_from_the_environment_and_the_summary(table: Table) -> None:
    result = table("--", "max_steps=3", CITI_MODEL="some/model", CITI_EVAL_DATA="tiny")
    assert result.returncode == 0, result.stderr
    assert list(table.calls)[:4] == ["citi", "ft", "lora", "ft_dm"]
    assert len(table.calls) == 10
    for words in table.calls.values():
        assert words[-1] == "max_steps=3"
        assert {"model_name_or_path=some/model", "eval_dataset=tiny", "do_eval=true"} <= set(words)
    summary = (table.folder / "out" / "summary.txt").read_text()
    assert result.stdout.endswith(summary)
    assert len(summary.splitlines()) == 11
    assert summary.splitlines()[1].split() == [
        "citi",
        "done",
        summary.splitlines()[1].split()[2],
        "mi",
        "1.2346",
        "2.5000",
    ]


def test_a_failed_row_stops_no_other_and_is_repeated_alone(table: Table) -> None:
    rows = ("--rows", "citi,uco,lora_top")
    result = table(*rows, FAIL="uco")
    assert result.returncode == 1
    assert list(table.calls) == ["citi", "uco", "lora_top"]
    assert "uco: failed with status 3" in result.stderr
    assert "    OptionError: the reason" in result.stderr
    assert "failed with status 3" in (table.folder / "out" / "summary.txt").read_text()
    first = table.calls["uco"]
    result = table(*rows)
    assert result.returncode == 0
    assert list(table.calls) == ["uco"]
    assert table.calls["uco"] == first
    summary = (table.folder / "out" / "summary.txt").read_text()
    assert [line.split()[1] for line in summary.splitlines()[1:]] == ["done", "done", "done"]
    assert summary.count("done before") == 2


def test_a_row_goes_on_with_the_importance_it_began_with(table: Table) -> None:
    """Rows begun before row citi compute their own; a resumed run accepts no other."""
    table("--rows", "uco", FAIL="uco")
    table("--rows", "citi")
    table("--rows", "uco,rp_mi")
    assert not any(word.startswith("citi_importance_load=") for word in table.calls["uco"])
    assert "citi_importance_load=out/citi/importance.json" in table.calls["rp_mi"]
    (table.folder / "scores.json").write_text("{}")
    table("--rows", "without_rp", "--importance", "scores.json")
    assert "citi_importance_load=scores.json" in table.calls["without_rp"]


def test_other_settings_for_a_row_are_refused(table: Table) -> None:
    table("--rows", "lora")
    result = table("--rows", "lora,ft", "--", "seed=7")
    assert result.returncode == 1
    assert list(table.calls) == ["ft"]
    assert "lora: begun with other settings; choose another --out, or delete out/lora" in result.stderr
    assert "> seed=7" in result.stderr
    assert "refused: begun with other settings" in (table.folder / "out" / "summary.txt").read_text()


def test_all_wrong_options_at_once(table: Table) -> None:
    words = ("--rows", "citi,nothing", "--tool-data", "absent", "--importance", "none.json", "--fast")
    result = table(*words, "--", "seed", "output_dir=x")
    assert result.returncode == 2
    assert table.calls == {}
    for problem in (
        '--rows: there is no row "nothing"; the rows are citi ft lora',
        'data set "absent" is not in data/dataset_info.json; see examples/README.md',
        "--importance: none.json does not exist",
        "--fast is not an option; see --help",
        '"seed" after -- is not of the form key=value',
        "output_dir is set by this script; use --out",
    ):
        assert problem in result.stderr
    assert not (table.folder / "out").exists()
    (table.folder / "bin" / "llamafactory-cli").unlink()
    assert "llamafactory-cli is not found; activate the environment" in table().stderr


def test_real_commands_on_the_tiny_model(tmp_path: Path, tiny_data_dir: Path) -> None:
    """Three rows, one of which cannot work with the options given to all: the others finish, and are not repeated."""
    model = tiny.save_tiny_model(tmp_path / "model", layers=3, vocab_size=400)
    data = ["--dataset-dir", str(tiny_data_dir), "--tool-data", "tiny", "--general-data", "tiny"]
    small = ["use_cpu=true", "max_steps=2", "preprocessing_num_workers=1", "gradient_accumulation_steps=1"]
    small += ["plot_loss=false", "logging_steps=1", "overwrite_cache=true"]
    command = [
        "bash",
        str(SCRIPT),
        *data,
        "--model",
        str(model),
        "--rows",
        "without_molora,ft,full_random",
        "--out",
        "out",
    ]
    command += ["--eval-data", "tiny", "--", *small, "citi_bottom_ratio=0.2"]
    result = run_forked(command, tmp_path)
    assert result.returncode == 1, result.stdout + result.stderr
    assert "ft: failed with status" in result.stderr
    lines = {line.split()[0]: line for line in (tmp_path / "out" / "summary.txt").read_text().splitlines()}
    assert " mi " in lines["without_molora"]
    assert " uco " in lines["without_molora"]
    assert "failed" in lines["ft"]
    for row in ("without_molora", "full_random"):
        assert (tmp_path / "out" / row / "adapter_model.safetensors").is_file()
        assert float(lines[row].split()[-1]) > 0
        assert (tmp_path / "out" / "logs" / f"{row}.log").stat().st_size > 1_000
    assert "citi_bottom_ratio has no effect" in (tmp_path / "out" / "logs" / "ft.log").read_text()
