"""The import hook and its exception hook, and the patch table's answer to a changed upstream."""

import os
import shutil
import subprocess
import sys
from importlib.util import find_spec
from pathlib import Path
from types import ModuleType

import llamafactory
import pytest

from llamafactory_ext import _hook, _report
from llamafactory_ext.errors import DataError, OptionError, UpstreamError
from llamafactory_ext.upstream.patches.compat import fingerprint
from llamafactory_ext.upstream.patches.table import PATCHES, Patch
from processes import run


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


def test_start_up_imports_nothing_heavy(tmp_path: Path) -> None:
    code = (
        "import sys; names = {name.partition('.')[0] for name in sys.modules}; "
        "print(any(type(f).__name__ == 'PatchingFinder' for f in sys.meta_path), "
        "'llamafactory_ext' in sys.modules, bool(names & {'torch', 'peft', 'transformers'}))"
    )
    assert run([sys.executable, "-c", code], tmp_path).stdout.split() == ["True", "False", "False"]
    assert run([sys.executable, "-c", code], tmp_path, LLAMAFACTORY_EXT="0").stdout.split() == ["False"] * 3


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


def test_v1_is_refused(tmp_path: Path) -> None:
    result = run(["llamafactory-cli", "train"], tmp_path, USE_V1="1")
    assert result.returncode == 1
    assert "Unset USE_V1, or set LLAMAFACTORY_EXT=0" in result.stderr
    assert "Traceback" not in result.stderr


def test_kill_switch(tmp_path: Path) -> None:
    code = (
        "import sys; from llamafactory.hparams import FinetuningArguments; from llamafactory.train import tuner; "
        "print(hasattr(FinetuningArguments, 'citi_rank'), 'llamafactory_ext' in sys.modules, tuner.run_sft.__module__)"
    )
    result = run([sys.executable, "-c", code], tmp_path, LLAMAFACTORY_EXT="0")
    assert result.stdout.split() == ["False", "False", "llamafactory.train.sft.workflow"]


def test_patch_refuses_missing_and_changed_symbols() -> None:
    module = ModuleType("upstream_module")
    patch = Patch(module.__name__, "METHODS", "a test", fingerprint(["full"]), lambda methods: [*methods, "citi"])
    with pytest.raises(UpstreamError, match=r"upstream_module\.METHODS is missing in LLaMA-Factory 0\.9\.5"):
        patch.apply(module)
    module.METHODS = ["other"]  # type: ignore[attr-defined]
    with pytest.raises(UpstreamError, match=r"METHODS has changed .*pip install llamafactory==0\.9\.5") as caught:
        patch.apply(module)
    assert "LLAMAFACTORY_EXT=0" in caught.value.message
    module.METHODS = ["full"]  # type: ignore[attr-defined]
    patch.apply(module)
    assert module.METHODS == ["full", "citi"]


def test_changed_upstream_stops_every_command(tmp_path: Path) -> None:
    """A copy of upstream with one changed function, found before the installed one."""
    source = Path(llamafactory.__file__).parent
    copy = tmp_path / "llamafactory"
    shutil.copytree(source, copy, ignore=shutil.ignore_patterns("__pycache__"))
    launcher = copy / "launcher.py"
    launcher.write_text(launcher.read_text("utf-8").replace("def launch():", "def launch():\n    pass"), "utf-8")
    result = run([sys.executable, "-m", "llamafactory.cli", "version"], tmp_path)
    assert result.returncode == 1
    assert result.stderr.startswith("UpstreamError: llamafactory.launcher.launch has changed (source hash ")
    assert "pip install llamafactory==0.9.5" in result.stderr
    assert "Traceback" not in result.stderr


def test_broken_installation_never_stops_python(tmp_path: Path) -> None:
    """A start module whose hook cannot be loaded says so and lets the interpreter start."""
    package = tmp_path / "llamafactory_ext"
    package.mkdir()
    (package / "__init__.py").touch()
    (package / "_report.py").touch()
    (package / "_hook.py").write_text("raise RuntimeError('broken')", encoding="utf-8")
    code = (
        "import _llamafactory_ext_start as s, sys; sys.modules.pop('llamafactory_ext._hook', None); "
        "s.start(); print(1)"
    )
    result = subprocess.run(
        [sys.executable, "-c", code], cwd=tmp_path, capture_output=True, text=True, check=True, timeout=60
    )
    assert result.stdout == "1\n"
    assert "llamafactory_ext: hooks not active: RuntimeError('broken')" in result.stderr
