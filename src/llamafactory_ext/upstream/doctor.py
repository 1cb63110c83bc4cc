"""`llamafactory-ext doctor`: versions, hooks in a fresh process, what works or what a model allows, the next step."""

import json
import os
import platform
import re
import subprocess
import sys
from dataclasses import dataclass
from importlib.metadata import PackageNotFoundError, version
from pathlib import Path
from typing import Any, Literal

from rich.console import Console
from rich.table import Table

from llamafactory_ext._hook import KILL_SWITCH

from ..methods import load, methods, names
from ..options.attention import known_bad
from ..options.rows import row_faults
from .patches.compat import OLDEST

PACKAGES = ("torch", "transformers", "peft", "accelerate", "safetensors", "datasets", "trl", "vllm")
TORCH_FAMILY = ("torchvision", "torchaudio")
# The packages that bring a module of another name.
DISTRIBUTIONS = {
    "PIL": "pillow",
    "audioop": "audioop-lts",
    "google": "protobuf",
    "pyaudioop": "audioop-lts",
    "sklearn": "scikit-learn",
    "sse_starlette": "sse-starlette",
    "yaml": "pyyaml",
}
_MISSING = re.compile(r"No module named '([^']+)'")
MARK = "llamafactory_ext probe: "
COLOURS = {"ok": "green", "absent": "dim", "off": "yellow", "warning": "yellow", "broken": "bold red"}
# What a fresh interpreter has before anything of ours is imported on purpose, then what the probe finds.
PROBE = (
    "import sys; active = any(type(f).__name__ == 'StartFinder' for f in sys.meta_path); "
    "from llamafactory_ext.upstream.patches.probe import probe; probe(active)"
)


@dataclass(frozen=True)
class Check:
    """One line of the report."""

    what: str
    state: Literal["ok", "absent", "off", "warning", "broken"]
    found: str
    next_step: str = ""


def doctor(model: str = "") -> None:
    """Report the state of this installation, or what a model allows; exit code 1 when something is broken.

    Args:
        model: a folder with a config.json: whether its architecture trains with our methods, exports and serves, what
            stands in the way, and the row to try where there is none.
    """
    row = ""
    if model:
        checks, row = model_checks(Path(str(model)).expanduser())
    else:
        with Console(stderr=True).status("Looking at a fresh process (about 10 seconds) ..."):
            checks = [*version_checks(), *row_checks(), *probe_checks(run_probe())]
    table = Table("check", "state", "found", "next step", title=f"llamafactory_ext doctor {model}".strip())
    for check in checks:
        table.add_row(check.what, f"[{COLOURS[check.state]}]{check.state}[/]", check.found, check.next_step)
    Console(width=None if sys.stdout.isatty() else 160).print(table)
    if row:
        print(f"A row to try, in families.py of llamafactory_ext (vllm: its class there, if it has one):\n\n{row}")
    if any(check.state == "broken" for check in checks):
        sys.exit(1)


def model_checks(folder: Path) -> tuple[list[Check], str]:
    """Return what a model's config.json allows each method that says so, and the rows to try.

    Raises:
        CheckpointError: the folder has no usable config.json.
    """
    checks: list[Check] = []
    tried = []
    for method in methods():
        if method.of_model:
            lines, row = load(method.of_model)(folder)
            checks += [Check(*line) for line in lines]
            tried += [row] if row else []
    return checks, "\n\n".join(tried)


def version_checks() -> list[Check]:
    """Return versions from the packages' metadata, without importing any of them."""
    checks = [
        Check("python", "ok", platform.python_version()),
        Check("llamafactory_ext", "ok", installed("llamafactory_ext") or "from source"),
    ]
    for name in PACKAGES:
        found = installed(name)
        checks.append(Check(name, "ok" if found else "absent", found or ""))
    for row in known_bad():
        found = f"{row.what} under {row.package} {row.version}"
        checks.append(Check(f"{row.option}: {row.value}", "broken", found, row.next_step))
    return checks


def row_checks() -> list[Check]:
    """Return the faults of the rows of methods and benchmarks, which a change of this package may bring."""
    step = "mend the row, or install an unchanged llamafactory_ext"
    return [Check("rows of methods and benchmarks", "broken", fault, step) for fault in row_faults()]


def run_probe() -> dict[str, Any]:
    """Run `probe` in a fresh interpreter with this environment; its findings, or {"error": ...}."""
    run = subprocess.run([sys.executable, "-c", PROBE], capture_output=True, text=True, check=False)
    for line in run.stdout.splitlines():
        if line.startswith(MARK):
            findings: dict[str, Any] = json.loads(line.removeprefix(MARK))
            return findings
    return {"error": (run.stderr.strip().splitlines() or ["no output"])[-1]}


def probe_checks(findings: dict[str, Any]) -> list[Check]:
    """Return the findings of the probe as lines of the report."""
    if "error" in findings:
        step = "install again, in the clone: pip install -e '.[train]'"
        return [Check("import llamafactory_ext", "broken", findings["error"], step)]
    off = os.environ.get(KILL_SWITCH) == "0"
    switch = f"{KILL_SWITCH}={os.environ[KILL_SWITCH]}" if KILL_SWITCH in os.environ else "not set"
    checks = [
        Check("kill switch", "off" if off else "ok", switch, f"unset {KILL_SWITCH} to use {names()[0]}" if off else "")
    ]
    if findings["peft_method"]:
        checks.append(Check("PEFT method MOLORA", "ok", "registered"))
    else:
        checks.append(Check("PEFT method MOLORA", "broken", "unknown to PEFT", "pip install 'peft>=0.18'"))
    if findings["active"]:
        checks.append(Check("hooks in a fresh process", "ok", "active"))
    elif off:
        checks.append(Check("hooks in a fresh process", "off", "switched off"))
    else:
        step = "install into site-packages (pip install without --target), and run python without -S"
        checks.append(Check("hooks in a fresh process", "broken", "llamafactory_ext.pth was not read", step))
    for name in (name for name in TORCH_FAMILY if name in findings["imports"]):
        problem = findings["imports"][name]
        step = matching_family(installed("torch") or "") if problem else ""
        state: Literal["ok", "broken"] = "broken" if problem else "ok"
        checks.append(Check(f"{name} with torch", state, problem or installed(name) or "", step))
    checks += _upstream_checks(findings)
    if findings["active"]:
        checks += _feature_checks(findings)
    return checks


def matching_family(torch: str) -> str:
    """Return the command that brings what belongs to this torch and leaves torch itself alone.

    torchaudio has torch's number up to 2.11; a later torch takes the newest. A build for a device, as in
    "2.8.0+cu126", needs the others from the same index.
    """
    release, _, build = torch.partition("+")
    numbers = release.split(".")[:2]
    if not all(number.isdigit() for number in numbers) or len(numbers) < 2:
        return "install the versions of torch, torchvision and torchaudio that belong together"
    audio = f"torchaudio=={release}" if tuple(map(int, numbers)) <= (2, 11) else "torchaudio"
    index = f"with the package index that torch+{build} came from: " if build else ""
    return f"{index}pip install torch=={torch} torchvision {audio}"


def installed(name: str) -> str | None:
    """Return the version of an installed package, None without it."""
    try:
        return version(name)
    except PackageNotFoundError:
        return None


def _upstream_checks(findings: dict[str, Any]) -> list[Check]:
    """Return which LLaMA-Factory is loaded, and each of its faults once."""
    name = findings["upstream"]
    if not name:
        return [
            Check("LLaMA-Factory", "absent", "", "only needed for training: pip install -e '.[train]' in the clone")
        ]
    newer = f"pip install 'llamafactory>={OLDEST}', or update the clone"
    if findings["too_old"]:
        checks = [Check("LLaMA-Factory", "broken", f"{name} is older than {OLDEST}", newer)]
    else:
        checks = [Check("LLaMA-Factory", "ok", name)]
    if len(findings["installations"]) > 1:
        used, *others = findings["installations"]
        found = f"{used} is used; {', '.join(others)} is passed over"
        step = "nothing, if that is meant; else mend PYTHONPATH, or pip uninstall llamafactory"
        checks.append(Check("installations of LLaMA-Factory", "warning", found, step))
    if findings["mixed"]:
        step = "git status and git pull in the clone, or install it again: its files come from several versions"
        checks.append(Check("files of LLaMA-Factory", "warning", findings["mixed"], step))
    elif findings["unseen"]:
        found = f"{len(findings['unseen'])} not seen before: {', '.join(findings['unseen'])}"
        step = "nothing, while the lines below say ok: what we rely on was looked at"
        checks.append(Check("code of LLaMA-Factory", "warning", found, step))
    if findings["others"]:
        step = "nothing, while runs go well; else uninstall one of the two packages"
        checks.append(Check("replaced by another package too", "warning", ", ".join(findings["others"]), step))
    for problem, modules in _failed_imports(findings).items():
        found = f"{problem} (in {', '.join(modules[:3])}{' and others' if len(modules) > 3 else ''})"
        step = f"the same happens without llamafactory_ext: {_step_for(problem)}"
        checks.append(Check("import LLaMA-Factory", "broken", found, step))
    for name, (problem, needed_by) in findings["broken"].items():
        step = f"switches off: {', '.join(needed_by)}; install LLaMA-Factory {OLDEST}, or a newer llamafactory_ext"
        checks.append(Check(name, "broken", problem, step))
    return checks


def _feature_checks(findings: dict[str, Any]) -> list[Check]:
    """Return what of ours works, and what does not for which of the reasons above."""
    checks = []
    lost = {module for modules in _failed_imports(findings).values() for module in modules}
    for feature in findings["features"]:
        reasons = [name for name, (_, needed_by) in findings["broken"].items() if feature in needed_by]
        reasons += [module for module in sorted(lost) if feature in findings["needed"].get(module, ())]
        if findings["too_old"]:
            reasons = ["the version"]
        if reasons:
            more = f" and {len(reasons) - 2} more" if len(reasons) > 2 else ""
            found = f"off, because of {', '.join(reasons[:2])}{more}"
            checks.append(Check(feature, "broken", found, "see above; runs without our methods are untouched"))
        else:
            checks.append(Check(feature, "ok", "works"))
    return checks


def _step_for(problem: str) -> str:
    """Return the command that brings a missing module of somebody else, or what mends LLaMA-Factory's own files."""
    missing = _MISSING.match(problem)
    module = missing[1].partition(".")[0] if missing else "llamafactory"
    if module == "llamafactory":
        return "install LLaMA-Factory again, or update the whole clone"
    return f"pip install {DISTRIBUTIONS.get(module, module)}"


def _failed_imports(findings: dict[str, Any]) -> dict[str, list[str]]:
    """Say why modules of LLaMA-Factory cannot be imported: each reason once, with its modules."""
    causes: dict[str, list[str]] = {}
    for name, problem in findings["imports"].items():
        if problem and name not in TORCH_FAMILY and not problem.startswith(f"No module named '{name}'"):
            causes.setdefault(problem, []).append(name)
    return causes
