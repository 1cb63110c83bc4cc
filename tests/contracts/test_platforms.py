"""Every module can be imported where the platform lacks what Linux has; what needs it says so in one line."""

from __future__ import annotations

import json
import sys
from pathlib import Path

import pytest

import llamafactory_ext
from processes import run

PACKAGE = Path(llamafactory_ext.__file__).parent
# What Windows or macOS lack: modules, and functions of modules that are there.
LACKING = ["fcntl", "resource", "triton", "pwd", "grp", "termios", "tty", "pty", "syslog"]
FUNCTIONS = ["fork", "forkpty", "setsid", "killpg", "getuid", "geteuid", "getgid", "sched_getaffinity", "O_DIRECTORY"]
# Started in a folder of their own, by a module that refuses to do so elsewhere than on Linux.
SCRIPTS = {"metrics.sandbox.jail", "metrics.sandbox.syscall_filter"}
# vLLM is another environment's.
OTHERS = ("serving.vllm_plugin.", "citi.vllm.", "data_method.vllm.", "serving.infer.vllm")
CODE = """
import importlib, importlib.abc, json, os, sys, warnings
warnings.simplefilter("ignore")
names, lacking, functions = json.loads(sys.argv[1])
class Lacking(importlib.abc.MetaPathFinder):
    def find_spec(self, name, path=None, target=None):
        if name.partition(".")[0] in blocked:
            raise ModuleNotFoundError(f"No module named {name!r}", name=name)
blocked = set()
# Other packages may use what this platform has; they are not the question.
import torch, transformers, peft, datasets, accelerate, trl, matplotlib, gradio, rich
import multiprocess, subprocess, asyncio
import torch.utils.data, torch.distributed, transformers.models.auto, transformers.trainer
import llamafactory.train.tuner, llamafactory.webui.interface, llamafactory.launcher
for name in [name for name in sys.modules if name.partition(".")[0] == "llamafactory_ext"]:
    del sys.modules[name]
blocked = set(lacking)
sys.meta_path.insert(0, Lacking())
for name in [name for name in sys.modules if name.partition(".")[0] in blocked]:
    del sys.modules[name]
for name in functions:
    if hasattr(os, name):
        delattr(os, name)
found = {}
for name in names:
    try:
        importlib.import_module(name)
    except BaseException as error:
        found[name] = [[kind.__name__ for kind in type(error).__mro__], str(error)]
print(json.dumps(found))
"""


@pytest.fixture(scope="module")
def problems(tmp_path_factory: pytest.TempPathFactory) -> dict[str, list]:
    names = []
    for file in sorted(PACKAGE.rglob("*.py")):
        name = ".".join(file.relative_to(PACKAGE).with_suffix("").parts).removesuffix(".__init__")
        if name not in SCRIPTS and not name.startswith(OTHERS) and name not in ("__init__", "__main__"):
            names.append(f"llamafactory_ext.{name}")
    assert len(names) > 200
    job = json.dumps([names, LACKING, FUNCTIONS])
    result = run([sys.executable, "-c", CODE, job], tmp_path_factory.mktemp("platform"))
    assert result.returncode == 0, result.stderr[-3000:]
    return json.loads(result.stdout.splitlines()[-1])


def test_every_module_can_be_imported_without_them(problems: dict[str, list]) -> None:
    problems = dict(problems)
    kinds, text = problems.pop("llamafactory_ext.molora.gating_triton")
    assert "OptionError" in kinds
    assert text == "Kernel triton cannot be used, as Triton is not installed; set citi_kernel: torch."
    assert problems == {}


@pytest.mark.parametrize("platform", ["win32", "darwin"])
def test_the_sandbox_runs_nothing_elsewhere(platform: str, monkeypatch: pytest.MonkeyPatch) -> None:
    from llamafactory_ext.errors import OptionError
    from llamafactory_ext.metrics.sandbox import run_program

    monkeypatch.setattr(sys, "platform", platform)
    with pytest.raises(OptionError, match=f"this is {platform}, and only Linux has what it takes"):
        run_program("print(1)")
