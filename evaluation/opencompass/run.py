"""OpenCompass over a served model in one command, with reports that `llamafactory-ext report` reads.

    python evaluation/opencompass/run.py --url http://127.0.0.1:8000/v1 --model NAME --data DIR --out DIR

Runs one OpenCompass process for each data set, so that one that fails takes no other along, reads its verdicts, and
writes OUT/<benchmark>.official.json. Ends with exit code 1 if a data set has no result: OpenCompass itself does not.
"""

from __future__ import annotations

import os
import subprocess
import sys
from dataclasses import dataclass
from pathlib import Path
from typing import Final
from urllib.parse import urlsplit

import fire
from llamafactory_ext_opencompass.results import PARTS, read_reports

from llamafactory_ext.errors import DataError, ExtError, OptionError
from llamafactory_ext.metrics.judge import JudgeOptions
from llamafactory_ext.metrics.report import Report, write_report
from llamafactory_ext.metrics.sandbox import run_program
from llamafactory_ext.serving.infer.options import KEY_VARIABLE
from llamafactory_ext.serving.infer.server import ChatServer

HERE: Final = Path(__file__).resolve().parent
# Our benchmarks, and what of --tool_data each needs.
TOOL_BENCHMARKS: Final = {
    "rotbench": "rotbench",
    "bfcl": "bfcl_v3",
    "bfcl_ast": "bfcl_v3/possible_answer",
    "toolalpaca": "toolalpaca",
    "tooleyes": "tooleyes",
    "api_bank": "api_bank",
}


@dataclass(frozen=True)
class Job:
    """One configuration over one server.

    Attributes:
        name: of the configuration.
        folder: its working directory: OpenCompass writes caches into it.
        variables: for the process.
    """

    name: str
    folder: Path
    variables: dict[str, str]

    def run(self) -> Path:
        """Run OpenCompass to its end.

        Raises:
            DataError: it failed, or left no results; the message names its log.
        """
        self.folder.mkdir(parents=True, exist_ok=True)
        log = self.folder / "log.txt"
        config = HERE / "configs" / f"{self.name}.py"
        command = [_opencompass(), str(config), "-w", "out", "--debug", "--dump-eval-details"]
        with log.open("w", encoding="utf-8") as file:
            code = subprocess.run(
                command, cwd=self.folder, env=self.variables, stdout=file, stderr=subprocess.STDOUT, check=False
            ).returncode
        runs = sorted(self.folder.glob("out/*/results/*"))
        if code != 0 or not runs:
            raise DataError(f"{self.name}: OpenCompass ended without results (exit code {code}); {log} says why.")
        return runs[-1].parents[1]


def _opencompass() -> str:
    command = Path(sys.executable).with_name("opencompass")
    if not command.is_file():
        raise OptionError("OpenCompass is not installed in this environment; run `make eval-env`, use .venv-eval.")
    return str(command)


def run(
    *extra: object,
    url: str = "http://127.0.0.1:8000/v1",
    model: str = "",
    data: str = "",
    tool_data: str = "",
    out: str = "runs/opencompass",
    only: object = "gsm8k,triviaqa,mmlu",
    limit: int = 0,
    template: str = "llama3_toolalpaca",
    workers: int = 16,
    execute: bool = False,
    checkout: str = "",
    embedder: str = "",
) -> None:
    """Evaluate a served model.

    Args:
        extra: nothing; more words are an error.
        url: the server, up to and with /v1; a key is taken from OPENAI_API_KEY.
        model: as the server calls it.
        data: folder that holds OpenCompass's `data/` (see README.md beside this file).
        tool_data: folder with rotbench, bfcl_v3, toolalpaca, tooleyes and api_bank as published, for `tools`.
        out: where everything goes; `llamafactory-ext report OUT` reads it.
        only: which of gsm8k, triviaqa, mmlu, humaneval, mt_bench, tools; commas separate.
        limit: only the first so many items of each data set (0: all); the figures are then marked partial.
        template: whose words present the tools.
        workers: requests at a time.
        execute: run the code that the model writes for HumanEval, in a sandbox.
        checkout: your checkout of API-Bank: its official verdicts execute it; without one they are strict.
        embedder: with `checkout`, for API-Bank's ToolSearcher: a local copy of paraphrase-MiniLM-L3-v2.
    """
    names = [str(name) for name in only] if isinstance(only, list | tuple) else str(only).split(",")
    problems = [f'"{word}" is one word too many' for word in extra]
    problems += _problems(names, model, Path(str(data or ".")), str(tool_data), execute)
    if problems:
        raise OptionError.listing("opencompass:", problems)
    server = ChatServer(str(url), str(model), retries=1, timeout=60)
    server.check()
    server.close()
    variables = _variables(url, model, data, tool_data) | {
        "EVAL_WORKERS": str(workers),
        "EVAL_LIMIT": str(limit),
        "EVAL_TEMPLATE": str(template),
        "EVAL_CHECKOUT": str(Path(str(checkout)).resolve()) if checkout else "",
        "EVAL_EMBEDDER": str(Path(str(embedder)).resolve()) if embedder else "",
    }
    folder = Path(str(out)).resolve()
    failures = []
    for name in names:
        print(f"{name}: running, log in {folder / name / 'log.txt'}", flush=True)
        try:
            own = {"EVAL_JUDGE_LOG": str(folder / name / "judge.jsonl")}
            results = Job(name, folder / name, variables | own).run()
            for report in read_reports(name, results, Path(str(data or ".")), str(model)):
                write_report(report, folder / f"{report.benchmark}.{report.mode}.json")
                print(_line(report), flush=True)
        except DataError as error:
            failures.append(error.message)
    if failures:
        raise DataError("\n".join([f"{len(failures)} of {len(names)} failed; the others are kept:", *failures]))


def _problems(names: list[str], model: str, data: Path, tool_data: str, execute: bool) -> list[str]:
    """Everything that is wrong, each with the next step."""
    found = [] if model else ["--model is missing: the name under which the server knows the model"]
    for name in names:
        if name not in PARTS:
            found.append(f'"{name}" is no configuration; choose of {", ".join(PARTS)}')
            continue
        missing = [file for file in PARTS[name].files if not (data / file).exists()]
        if missing:
            found.append(f"{name} needs {', '.join(str(data / file) for file in missing)}; README.md says where from")
    if "tools" in names and not _tool_benchmarks(tool_data):
        folders = ", ".join(name for name in TOOL_BENCHMARKS.values() if "/" not in name)
        found.append(f"tools needs --tool_data: a folder with {folders} as published, or some of them")
    if "mt_bench" in names:
        found += _judge_problem()
    if "humaneval" in names:
        if not execute:
            found.append("humaneval runs what the model writes: in a sandbox, and only with --execute")
        else:
            found += _isolation_problem()
    return found


def _judge_problem() -> list[str]:
    try:
        JudgeOptions.from_environment()
    except OptionError as error:
        return [f"mt_bench: {error.message}"]
    return []


def _isolation_problem() -> list[str]:
    """Why no generated code can run here, before a model is asked for any."""
    try:
        run_program("pass")
    except OptionError as error:
        return [f"humaneval: {error.message}"]
    return []


def _tool_benchmarks(tool_data: str) -> list[str]:
    return [name for name, needed in TOOL_BENCHMARKS.items() if tool_data and (Path(tool_data) / needed).is_dir()]


def _variables(url: str, model: str, data: str, tool_data: str) -> dict[str, str]:
    """The environment of OpenCompass: settings, no proxy for the server, and no network for anything else."""
    kept = {name: value for name, value in os.environ.items() if name != "DATASET_SOURCE"}
    path = os.pathsep.join(filter(None, [str(HERE), os.environ.get("PYTHONPATH", "")]))
    return kept | {
        "EVAL_URL": str(url),
        "EVAL_MODEL": str(model),
        "EVAL_TOOL_DATA": str(Path(tool_data).resolve()) if tool_data else "",
        "EVAL_TOOL_BENCHMARKS": ",".join(_tool_benchmarks(tool_data)),
        "COMPASS_DATA_CACHE": str(Path(str(data or ".")).resolve()),
        "HF_HUB_OFFLINE": "1",
        "NO_PROXY": urlsplit(str(url)).hostname or "",
        "PYTHONPATH": path,
        KEY_VARIABLE: os.environ.get(KEY_VARIABLE, "none"),  # OpenCompass refuses to start without one
    }


def _line(report: Report) -> str:
    partial = f" PARTIAL: {report.n_predictions} of {report.n_references}" if report.partial else ""
    figures = ", ".join(f"{figure.name} {100 * figure.value:.2f} (n {figure.n})" for figure in report.figures[:3])
    return f"{report.benchmark}: {figures}{partial}"


if __name__ == "__main__":
    try:
        fire.Fire(run, name="run.py")
    except ExtError as error:
        print(f"{type(error).__name__}: {error.message}", file=sys.stderr)
        sys.exit(1)
