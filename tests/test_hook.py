"""The import hook and its exception hook."""

import importlib
import os
import shutil
import subprocess
import sys
from importlib.util import find_spec
from pathlib import Path
from threading import Thread
from typing import Any

import pytest

from llamafactory_ext import _hook, _report
from llamafactory_ext.errors import DataError, OptionError
from llamafactory_ext.upstream.patches import table
from llamafactory_ext.upstream.patches.table import PATCHES
from processes import run

SOURCE = Path(_hook.__file__).parent


@pytest.fixture
def fresh_excepthook(monkeypatch: pytest.MonkeyPatch) -> list[BaseException]:
    """Our hook in front of one that collects what it is handed on."""
    handed_on: list[BaseException] = []
    monkeypatch.setattr(sys, "excepthook", lambda kind, error, trace: handed_on.append(error))
    monkeypatch.delenv(_report.ERROR_FOLDER, raising=False)
    monkeypatch.delenv(_report.DEBUG, raising=False)
    _report.install_excepthook()
    return handed_on


def test_hook_and_table_name_the_same_modules() -> None:
    assert {patch.module for patch in PATCHES} == _hook.PATCHED_MODULES


def test_start_up_imports_nothing(tmp_path: Path) -> None:
    """What every `python` of the environment pays: one small module, whatever else is there."""
    code = (
        "import sys; print(*sorted(sys.modules), *(type(f).__name__ for f in sys.meta_path if hasattr(f, 'packages')))"
    )
    words = {
        switch: set(run([sys.executable, "-c", code], tmp_path, LLAMAFACTORY_EXT=switch).stdout.split())
        for switch in "10"
    }
    assert words["1"] - words["0"] == {"_llamafactory_ext_start", "StartFinder"}
    assert not words["0"] - words["1"]


@pytest.mark.parametrize("package", ["llamafactory", "peft"])
def test_the_hook_comes_with_the_first_package_that_needs_it(package: str, tmp_path: Path) -> None:
    code = (
        f"import sys, json, {package}; print(*(type(f).__name__ for f in sys.meta_path), "
        "'llamafactory_ext._hook' in sys.modules, 'torch' in sys.modules)"
    )
    words = run([sys.executable, "-c", code], tmp_path).stdout.split()
    assert words[-2:] == ["True", str(package == "peft")]
    assert "PatchingFinder" in words
    assert "StartFinder" not in words


def test_peft_alone_knows_the_method(tmp_path: Path) -> None:
    code = "import peft; print(peft.PeftType('MOLORA'), 'MOLORA' in peft.PEFT_TYPE_TO_CONFIG_MAPPING)"
    assert run([sys.executable, "-c", code], tmp_path).stdout.split() == ["PeftType.MOLORA", "True"]


def test_nothing_is_loaded_from_the_working_directory(tmp_path: Path) -> None:
    """Not even where the working directory stands on the path, as with an empty entry of PYTHONPATH."""
    (tmp_path / "_llamafactory_ext_start.py").write_text("print('loaded from here')\n", encoding="utf-8")
    start = "import sys; print('_llamafactory_ext_start' in sys.modules)"
    for path in (":", ".", str(tmp_path)):
        result = run([sys.executable, "-c", start], tmp_path, PYTHONPATH=path)
        assert (result.stdout, result.stderr) == ("True\n", "")


class OtherFinder:
    """Another package's hook for the same modules, made as ours is: it asks all finders but itself."""

    def __init__(self) -> None:
        self.ran: list[str] = []

    def find_spec(self, fullname: str, path: Any, target: Any = None) -> Any:
        if fullname != "shared_module":
            return None
        for finder in list(sys.meta_path):
            if finder is not self and (spec := finder.find_spec(fullname, path, target)) is not None:
                run = spec.loader.exec_module
                spec.loader.exec_module = lambda module, run=run: (run(module), self.ran.append(fullname))
                return spec
        return None


@pytest.mark.parametrize("ours_first", [True, False])
def test_another_hook_for_the_same_modules(ours_first: bool, tmp_path: Path, monkeypatch: pytest.MonkeyPatch) -> None:
    (tmp_path / "shared_module.py").write_text("value = 1\n", encoding="utf-8")
    monkeypatch.syspath_prepend(tmp_path)
    monkeypatch.setattr(_hook, "PATCHED_MODULES", frozenset({"shared_module"}))
    monkeypatch.setattr(_hook, "install_excepthook", lambda: None)
    patched: list[str] = []
    monkeypatch.setattr(table, "apply_patches", lambda module: patched.append(module.__name__))
    others = [finder for finder in sys.meta_path if not isinstance(finder, _hook.PatchingFinder)]
    two = [_hook.PatchingFinder(), other := OtherFinder()]
    monkeypatch.setattr(sys, "meta_path", [*(two if ours_first else reversed(two)), *others])
    assert importlib.import_module("shared_module").value == 1
    del sys.modules["shared_module"]
    assert "shared_module" in patched
    assert "shared_module" in other.ran


def test_a_search_in_another_thread_finds_the_patched_module_too(
    tmp_path: Path, monkeypatch: pytest.MonkeyPatch
) -> None:
    (tmp_path / "shared_module.py").write_text("value = 1\n", encoding="utf-8")
    monkeypatch.syspath_prepend(tmp_path)
    monkeypatch.setattr(_hook, "PATCHED_MODULES", frozenset({"shared_module"}))
    ours, found = _hook.PatchingFinder(), []

    class Waits:
        """Lets another thread ask our finder while it is asked by it, once."""

        def find_spec(self, fullname: str, path: Any, target: Any = None) -> Any:
            if not found:
                found.append(None)
                thread = Thread(target=lambda: found.append(ours.find_spec(fullname, path)))
                thread.start()
                thread.join()

    monkeypatch.setattr(sys, "meta_path", [ours, Waits(), *sys.meta_path])
    found.append(ours.find_spec("shared_module", None))
    assert [isinstance(spec.loader, _hook.PatchingLoader) for spec in found[1:]] == [True, True]


def test_loader_keeps_source_access() -> None:
    spec = find_spec("llamafactory.launcher")
    assert spec is not None
    assert spec.loader is not None
    assert "torchrun" in spec.loader.get_source("llamafactory.launcher")  # type: ignore[attr-defined]


def test_our_errors_are_messages(fresh_excepthook: list[BaseException], capsys: pytest.CaptureFixture[str]) -> None:
    sys.excepthook(OptionError, OptionError("citi_rank is wrong"), None)
    wrapped = RuntimeError("pool")
    wrapped.__cause__ = DataError("no tool examples")
    sys.excepthook(RuntimeError, wrapped, None)
    remote = RuntimeError("ray")
    remote.cause = DataError("no general examples")  # type: ignore[attr-defined]
    sys.excepthook(RuntimeError, remote, None)
    other = ValueError("not ours")
    sys.excepthook(ValueError, other, None)
    assert capsys.readouterr().err.splitlines() == [
        "OptionError: citi_rank is wrong",
        "DataError: no tool examples",
        "DataError: no general examples",
    ]
    assert fresh_excepthook == [other]


def test_debug_shows_tracebacks(fresh_excepthook: list[BaseException], monkeypatch: pytest.MonkeyPatch) -> None:
    monkeypatch.setenv(_report.DEBUG, "1")
    error = OptionError("citi_rank is wrong")
    sys.excepthook(OptionError, error, None)
    assert fresh_excepthook == [error]


def test_parallel_processes_report_once(
    fresh_excepthook: list[BaseException], capsys: pytest.CaptureFixture[str], monkeypatch: pytest.MonkeyPatch
) -> None:
    with _report.error_folder():
        for _ in range(2):
            sys.excepthook(OptionError, OptionError("citi_rank is wrong"), None)
        sys.excepthook(ConnectionError, ConnectionError("peer went away"), None)
        assert fresh_excepthook == []
        monkeypatch.setenv(_report.ATTEMPT, "1")
        after_restart = ValueError("not ours, and not a consequence")
        sys.excepthook(ValueError, after_restart, None)
    assert capsys.readouterr().err == "OptionError: citi_rank is wrong\n"
    assert fresh_excepthook == [after_restart]
    assert _report.ERROR_FOLDER not in os.environ


def test_v1_is_refused_to_our_methods_only(tmp_path: Path) -> None:
    (tmp_path / "ours.yaml").write_text("finetuning_type: citi\n", "utf-8")
    result = run(["llamafactory-cli", "train", "ours.yaml"], tmp_path, USE_V1="1")
    assert result.returncode == 2
    assert "OptionError: finetuning_type: citi: USE_V1=1 selects" in result.stderr
    assert result.stderr.rstrip().endswith("Unset USE_V1.")
    assert "Traceback" not in result.stderr
    with_us, without = (run(["llamafactory-cli", "version"], tmp_path, USE_V1="1", LLAMAFACTORY_EXT=x) for x in "10")
    assert (with_us.returncode, with_us.stdout) == (without.returncode, without.stdout)


def test_kill_switch(tmp_path: Path) -> None:
    code = (
        "import sys; from llamafactory.hparams import FinetuningArguments; from llamafactory.train import tuner; "
        "print(hasattr(FinetuningArguments, 'citi_rank'), 'llamafactory_ext' in sys.modules, tuner.run_sft.__module__)"
    )
    result = run([sys.executable, "-c", code], tmp_path, LLAMAFACTORY_EXT="0")
    assert result.stdout.split() == ["False", "False", "llamafactory.train.sft.workflow"]


def test_what_cannot_be_imported_stops_runs_of_ours_only(tmp_path: Path) -> None:
    """A package of ours whose table cannot be imported, found before the working one."""
    shutil.copytree(SOURCE, tmp_path / "llamafactory_ext", ignore=shutil.ignore_patterns("__pycache__"))
    broken = tmp_path / "llamafactory_ext" / "options" / "groups.py"
    broken.write_text("raise ImportError('no such package')\n", "utf-8")
    call = "from llamafactory.train.tuner import run_exp; run_exp({})"
    plain = "from llamafactory.hparams import FinetuningArguments; print(FinetuningArguments().stage)"
    result = run([sys.executable, "-c", plain], tmp_path, PYTHONPATH=str(tmp_path))
    assert (result.returncode, result.stdout) == (0, "sft\n"), result.stderr
    for given in ({"finetuning_type": "citi"}, {"stage": "tl_sft"}, {"stage": "tl_ppo"}):
        result = run([sys.executable, "-c", call.format(given)], tmp_path, PYTHONPATH=str(tmp_path))
        (name, value), *_ = given.items()
        assert result.returncode == 1
        assert result.stderr.splitlines()[-1].startswith(f"InstallationError: {name}: {value} cannot run: ")
        assert "no such package" in result.stderr
        assert "Traceback" not in result.stderr


@pytest.mark.parametrize(
    ("words", "methods"),
    [
        (["--finetuning_type", "citi", "--stage=tl_sft"], ["finetuning_type: citi", "stage: tl_sft"]),
        (["train.yaml", "stage=tl_ppo"], ["stage: tl_ppo"]),
        (["ours.yaml"], ["finetuning_type: citi"]),
        (["ours.json"], ["stage: tl_sft"]),
        (["--finetuning_type", "lora", "--stage", "sft", "missing.yaml"], []),
        (["--output_dir", "citi", "--run_name=stage-tl_sft"], []),
    ],
    ids=str,
)
def test_methods_that_a_command_names(
    words: list[str], methods: list[str], tmp_path: Path, monkeypatch: pytest.MonkeyPatch
) -> None:
    monkeypatch.chdir(tmp_path)
    Path("ours.yaml").write_text("# stage: tl_ppo\nstage: sft\nfinetuning_type: citi  # ours\n", "utf-8")
    Path("ours.json").write_text('{"finetuning_type": "lora", "stage": "tl_sft"}', "utf-8")
    Path("train.yaml").write_text("finetuning_type: lora\n", "utf-8")
    assert _report.methods_in(words) == methods


def test_broken_installation_never_stops_python(tmp_path: Path) -> None:
    """A hook that cannot be loaded is told of where LLaMA-Factory is imported, and changes nothing else."""
    package = tmp_path / "llamafactory_ext"
    package.mkdir()
    (package / "__init__.py").touch()
    (package / "methods.py").touch()
    (package / "_report.py").touch()
    (package / "_hook.py").write_text("raise RuntimeError('broken')", encoding="utf-8")
    code = "import llamafactory; print(1)"
    result = subprocess.run(
        [sys.executable, "-c", code], cwd=tmp_path, capture_output=True, text=True, check=True, timeout=60
    )
    assert result.stdout == "1\n"
    assert "llamafactory_ext: hooks not active: RuntimeError('broken')" in result.stderr
