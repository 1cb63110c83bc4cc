"""`llamafactory-ext doctor`: versions, hooks in a fresh process, patches, what is missing and the next step."""

import json
import os
import platform
import subprocess
import sys
from dataclasses import dataclass
from importlib import import_module
from importlib.metadata import PackageNotFoundError, version
from typing import Any, Literal

from rich.console import Console
from rich.table import Table

from llamafactory_ext._hook import KILL_SWITCH, PATCHED_MODULES

from .patches.compat import SUPPORTED_VERSION, upstream_version

PACKAGES = ("torch", "transformers", "peft", "accelerate", "safetensors", "datasets", "trl", "vllm")
TORCH_FAMILY = ("torchvision", "torchaudio")
MARK = "llamafactory_ext probe: "
COLOURS = {"ok": "green", "absent": "dim", "off": "yellow", "untested": "yellow", "broken": "bold red"}
# What a fresh interpreter has before anything of ours is imported on purpose, then what the probe finds.
PROBE = (
    "import sys; active = any(type(f).__name__ == 'PatchingFinder' for f in sys.meta_path); "
    "from llamafactory_ext.upstream.doctor import probe; probe(active)"
)


@dataclass(frozen=True)
class Check:
    """One line of the report."""

    what: str
    state: Literal["ok", "absent", "off", "untested", "broken"]
    found: str
    next_step: str = ""


def doctor() -> None:
    """Report the state of this installation; exit code 1 when something is broken."""
    with Console(stderr=True).status("Looking at a fresh process (about 10 seconds) ..."):
        checks = [*version_checks(), *probe_checks(run_probe())]
    table = Table("check", "state", "found", "next step", title="llamafactory_ext doctor")
    for check in checks:
        table.add_row(check.what, f"[{COLOURS[check.state]}]{check.state}[/]", check.found, check.next_step)
    Console(width=None if sys.stdout.isatty() else 160).print(table)
    if any(check.state == "broken" for check in checks):
        sys.exit(1)


def version_checks() -> list[Check]:
    """Versions from the packages' metadata, without importing any of them."""
    checks = [
        Check("python", "ok", platform.python_version()),
        Check("llamafactory_ext", "ok", installed("llamafactory_ext") or "from source"),
    ]
    for name in PACKAGES:
        found = installed(name)
        checks.append(Check(name, "ok" if found else "absent", found or ""))
    found = upstream_version()
    if found is None:
        step = "only needed for training: pip install 'llamafactory_ext[train]'"
        checks.append(Check("llamafactory", "absent", "", step))
    elif found != SUPPORTED_VERSION:
        step = f"tested with {SUPPORTED_VERSION}; the patches below decide"
        checks.append(Check("llamafactory", "untested", found, step))
    else:
        checks.append(Check("llamafactory", "ok", found))
    return checks


def run_probe() -> dict[str, Any]:
    """Run `probe` in a fresh interpreter with this environment; its findings, or {"error": ...}."""
    run = subprocess.run([sys.executable, "-c", PROBE], capture_output=True, text=True, check=False)
    for line in run.stdout.splitlines():
        if line.startswith(MARK):
            findings: dict[str, Any] = json.loads(line.removeprefix(MARK))
            return findings
    return {"error": (run.stderr.strip().splitlines() or ["no output"])[-1]}


def probe(active: bool) -> None:
    """In the fresh process: import what we patch and print what happened, as JSON behind a mark."""
    findings: dict[str, Any] = {"active": active, "imports": {}, "applied": []}
    with_upstream = upstream_version() is not None
    for name in (*TORCH_FAMILY, *sorted(PATCHED_MODULES)) if with_upstream else ():
        try:
            import_module(name)
            findings["imports"][name] = ""
        except Exception as error:
            findings["imports"][name] = str(error) or type(error).__name__
    from peft.utils import PeftType

    from .patches import table

    findings["applied"] = table.applied
    findings["table"] = [patch.name for patch in table.PATCHES]
    findings["peft_method"] = "MOLORA" in PeftType.__members__
    print(MARK + json.dumps(findings))


def probe_checks(findings: dict[str, Any]) -> list[Check]:
    """The findings of the probe as lines of the report."""
    if "error" in findings:
        step = "reinstall: pip install --force-reinstall llamafactory_ext"
        return [Check("import llamafactory_ext", "broken", findings["error"], step)]
    off = os.environ.get(KILL_SWITCH) == "0"
    switch = f"{KILL_SWITCH}={os.environ[KILL_SWITCH]}" if KILL_SWITCH in os.environ else "not set"
    checks = [Check("kill switch", "off" if off else "ok", switch, f"unset {KILL_SWITCH} to use citi" if off else "")]
    if findings["peft_method"]:
        checks.append(Check("PEFT method MOLORA", "ok", "registered"))
    else:
        checks.append(Check("PEFT method MOLORA", "broken", "unknown to PEFT", "pip install 'peft>=0.18'"))
    if findings["active"]:
        checks.append(Check("hooks in a fresh process", "ok", "active"))
    elif off:
        checks.append(Check("hooks in a fresh process", "off", "switched off"))
    else:
        step = "pip install llamafactory_ext into site-packages (not --target), and run python without -S"
        checks.append(Check("hooks in a fresh process", "broken", "llamafactory_ext.pth was not read", step))
    for name, problem in findings["imports"].items():
        if problem and name in TORCH_FAMILY:
            step = "pip install torch==2.11.0 torchvision==0.26.0 torchaudio==2.11.0"
            checks.append(Check(f"{name} with torch", "broken", _first_line(problem), step))
        elif problem:
            checks.append(Check(f"import {name}", "broken", _first_line(problem), "see the lines above"))
        elif name in TORCH_FAMILY:
            checks.append(Check(f"{name} with torch", "ok", installed(name) or ""))
    if findings["active"] and findings["imports"]:
        checks += [_patch_check(name, findings) for name in findings["table"]]
    return checks


def installed(name: str) -> str | None:
    """The version of an installed package, None without it."""
    try:
        return version(name)
    except PackageNotFoundError:
        return None


def _patch_check(name: str, findings: dict[str, Any]) -> Check:
    if name in findings["applied"]:
        return Check(f"patch {name}", "ok", "applied, source known")
    problem = findings["imports"].get(name.rpartition(".")[0], "")
    step = f"pip install llamafactory=={SUPPORTED_VERSION}"
    return Check(f"patch {name}", "broken", _first_line(problem) or "not applied", step)


def _first_line(text: str) -> str:
    return text.strip().splitlines()[0][:200] if text.strip() else ""
