"""Wheel and editable installation into an empty environment: hooks active after it, nothing left after removal."""

import shutil
import subprocess
import sys
import tarfile
import venv
from pathlib import Path
from zipfile import ZipFile

import pytest

ROOT = Path(__file__).parents[1]
START_FILES = ("llamafactory_ext.pth", "llamafactory_ext.start")
ACTIVE = "import sys; print(any(type(f).__name__ == 'PatchingFinder' for f in sys.meta_path))"
OPTIONS = "from llamafactory.hparams import FinetuningArguments as F; print(F(finetuning_type='citi').citi_rank)"


def call(*command: str | Path, cwd: Path) -> str:
    words = [str(word) for word in command]
    result = subprocess.run(words, check=False, cwd=cwd, capture_output=True, text=True, timeout=900)
    assert result.returncode == 0, result.stdout + result.stderr
    return result.stdout


@pytest.fixture(scope="module")
def source(tmp_path_factory: pytest.TempPathFactory) -> Path:
    """A copy of what a release is made from, so that building leaves nothing in the repository."""
    folder = tmp_path_factory.mktemp("source") / "llamafactory_ext"
    shutil.copytree(ROOT / "src", folder / "src", ignore=shutil.ignore_patterns("__pycache__", "*.egg-info"))
    for name in ("setup.py", "pyproject.toml", "MANIFEST.in", "LICENSE"):
        shutil.copy(ROOT / name, folder / name)
    return folder


def build(source: Path, kind: str) -> Path:
    """Build with setuptools' own interface, as pip does, in a process of its own."""
    output = source.parent / kind
    output.mkdir()
    code = f"from setuptools import build_meta; print(build_meta.build_{kind}({str(output)!r}))"
    return output / call(sys.executable, "-c", code, cwd=source).splitlines()[-1]


@pytest.mark.parametrize("kind", ["wheel", "editable"])
def test_install_and_uninstall(source: Path, tmp_path: Path, kind: str) -> None:
    wheel = build(source, kind)
    venv.create(tmp_path / "env", with_pip=False, symlinks=True)
    python = tmp_path / "env" / "bin" / "python"
    pip = (sys.executable, "-m", "pip", "--python", python)
    site = next((tmp_path / "env" / "lib").glob("python*/site-packages"))

    call(*pip, "install", "--no-deps", "--no-index", "--quiet", wheel, cwd=tmp_path)
    assert call(python, "-c", ACTIVE, cwd=tmp_path) == "True\n"
    assert all((site / name).is_file() for name in START_FILES)
    assert sorted(path.name for path in site.glob("*.pth"))[-1] == START_FILES[0]
    if kind == "wheel":  # the packages of this environment, behind those of the new one
        packages = Path(next(path for path in sys.path if path.endswith("site-packages")))
        (site / "borrowed.pth").write_text(f"{packages}\n", encoding="utf-8")
        assert call(python, "-c", OPTIONS, cwd=tmp_path).splitlines()[-1] == "8"
        (site / "borrowed.pth").unlink()

    call(*pip, "uninstall", "--yes", "--quiet", "llamafactory_ext", cwd=tmp_path)
    assert call(python, "-c", ACTIVE, cwd=tmp_path) == "False\n"
    assert not list(site.rglob("*llamafactory*"))


def test_wheel_and_sdist_contents(source: Path) -> None:
    wheel = (
        next((source.parent / "wheel").glob("*.whl")) if (source.parent / "wheel").exists() else build(source, "wheel")
    )
    names = ZipFile(wheel).namelist()
    assert {*START_FILES, "_llamafactory_ext_start.py", "llamafactory_ext/py.typed"} <= set(names)
    with tarfile.open(build(source, "sdist")) as archive:
        members = {name.partition("/")[2] for name in archive.getnames()}
    assert {f"src/{name}" for name in START_FILES} | {"setup.py", "pyproject.toml", "LICENSE"} <= members
