"""Wheel and editable installation into an empty environment: hooks active after it, nothing left after removal."""

import json
import shutil
import subprocess
import sys
import tarfile
import venv
from email.parser import Parser
from pathlib import Path
from zipfile import ZipFile

import pytest
from packaging.requirements import Requirement

from llamafactory_ext.commands.examples import contents

ROOT = Path(__file__).parents[1]
START_FILES = ("llamafactory_ext.pth", "llamafactory_ext.start")
ACTIVE = "import sys; print(any(type(f).__name__ == 'StartFinder' for f in sys.meta_path))"
# What the releases say that matter here: as on PyPI, with everything else left out.
TORCHES = {"2.8.0": ("0.23.0", "2.8.0"), "2.11.0": ("0.26.0", "2.11.0"), "2.14.1": ("0.29.1", "2.11.1")}
RELEASES: dict[str, dict[str, list[str]]] = {
    "torch": {torch: [] for torch in TORCHES},
    "torchvision": {vision: [f"torch=={torch}"] for torch, (vision, _) in TORCHES.items()},
    "torchaudio": {"2.8.0": ["torch==2.8.0"], "2.11.0": [], "2.11.1": ["torch>=2.11"]},
    "transformers": {version: [] for version in ("4.57.0", "5.0.0", "5.5.4", "5.6.0", "5.8.0", "5.24.0")},
    "peft": {version: [] for version in ("0.18.0", "0.18.1", "0.21.2")},
    "llamafactory": {
        "0.9.4": ["transformers<=4.57.1"],
        "0.9.5": ["torchvision", "torchaudio", "transformers<=5.6.0", "peft<=0.18.1"],
        "0.9.6.dev0": ["torchvision", "torchaudio", "transformers<=5.8.0,!=5.6.0", "peft<=0.18.1"],
    },
}
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
    for name in ("examples", "data"):
        shutil.copytree(ROOT / name, folder / name)
    (folder / "data" / "mine.json").write_text("[]", encoding="utf-8")  # as converters leave their files there
    return folder


def build(source: Path, kind: str) -> Path:
    """Build with setuptools' own interface, as pip does, in a process of its own."""
    output = source.parent / kind
    output.mkdir()
    code = f"from setuptools import build_meta; print(build_meta.build_{kind}({str(output)!r}))"
    return output / call(sys.executable, "-c", code, cwd=source).splitlines()[-1]


@pytest.mark.parametrize("kind", ["wheel", "editable"])
def test_install_and_uninstall(source: Path, tmp_path: Path, kind: str) -> None:
    wheel = built_wheel(source) if kind == "wheel" else build(source, kind)
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
        first_training(python, tmp_path / "empty")
        (site / "borrowed.pth").unlink()

    call(*pip, "uninstall", "--yes", "--quiet", "llamafactory_ext", cwd=tmp_path)
    assert call(python, "-c", ACTIVE, cwd=tmp_path) == "False\n"
    assert not list(site.rglob("*llamafactory*"))


def first_training(python: Path, folder: Path) -> None:
    """What README says for an empty folder, cut short."""
    folder.mkdir()
    call(python, "-m", "llamafactory_ext.cli", "examples", "--out", ".", cwd=folder)
    found = {path.relative_to(folder).as_posix(): path.read_bytes() for path in folder.rglob("*") if path.is_file()}
    assert found == contents()
    short = ("max_samples=24", "citi_importance_samples=4", "citi_phases=mi", "citi_mi_epochs=1")
    train = "from llamafactory.cli import main; main()"
    call(python, "-c", train, "train", "examples/yaml/citi_tiny.yaml", *short, cwd=folder)
    assert (folder / "saves/citi_tiny/adapter_model.safetensors").is_file()


def write_release(folder: Path, name: str, version: str, requires: list[str]) -> None:
    """An empty wheel of this name, version and list of requirements."""
    info = f"{name}-{version}.dist-info"
    needed = "".join(f"Requires-Dist: {requirement}\n" for requirement in requires)
    with ZipFile(folder / f"{name}-{version}-py3-none-any.whl", "w") as wheel:
        wheel.writestr(f"{info}/METADATA", f"Metadata-Version: 2.1\nName: {name}\nVersion: {version}\n{needed}")
        wheel.writestr(f"{info}/WHEEL", "Wheel-Version: 1.0\nRoot-Is-Purelib: true\nTag: py3-none-any\n")
        wheel.writestr(f"{info}/RECORD", "")


@pytest.fixture(scope="module")
def index(source: Path) -> Path:
    """A folder of empty wheels that stands in for PyPI, and this package's wheel."""
    folder = source.parent / "index"
    folder.mkdir()
    for name, releases in RELEASES.items():
        for version, requires in releases.items():
            write_release(folder, name, version, requires)
    wheel = shutil.copy(built_wheel(source), folder)
    with ZipFile(wheel) as archive:
        (member,) = [name for name in archive.namelist() if name.endswith(".dist-info/METADATA")]
        metadata = Parser().parsestr(archive.read(member).decode())
    for line in metadata.get_all("Requires-Dist", []):
        name = Requirement(line).name
        if name not in RELEASES:
            write_release(folder, name, "99.0", [])
    return folder


@pytest.mark.parametrize(
    ("there", "expected"),
    [
        ({}, {"torch": "2.14.1", "transformers": "5.5.4", "peft": "0.18.1", "llamafactory": "0.9.5"}),
        ({"torch": "2.8.0", "torchvision": "0.23.0", "torchaudio": "2.8.0"}, {"llamafactory": "0.9.5"}),
        ({"torch": "2.11.0", "torchvision": "0.26.0", "torchaudio": "2.11.0"}, {"llamafactory": "0.9.5"}),
        ({"llamafactory": "0.9.6.dev0", "transformers": "5.8.0"}, {"torch": "2.14.1"}),
        ({"llamafactory": "0.9.4", "transformers": "4.57.0"}, {"llamafactory": "0.9.5", "transformers": "5.5.4"}),
    ],
    ids=["nothing", "torch 2.8", "torch 2.11", "a clone", "a release before ours"],
)
def test_pip_leaves_what_works(index: Path, tmp_path: Path, there: dict[str, str], expected: dict[str, str]) -> None:
    """`pip install '.[train]'` keeps torch, what belongs to it, and a clone; it picks no version left out."""
    venv.create(tmp_path / "env", with_pip=False, symlinks=True)
    command = (sys.executable, "-m", "pip", "--python", tmp_path / "env" / "bin" / "python", "install", "--quiet")
    offline = ("--no-index", "--find-links", index)
    if there:
        words = [f"{name}=={version}" for name, version in there.items()]
        call(*command, *offline, "--no-deps", *words, cwd=tmp_path)
    report = tmp_path / "report.json"
    (wheel,) = index.glob("llamafactory_ext-*.whl")
    call(*command, *offline, "--dry-run", "--report", report, f"{wheel}[train]", cwd=tmp_path)
    packages = [entry["metadata"] for entry in json.loads(report.read_text("utf-8"))["install"]]
    found = {package["name"]: package["version"] for package in packages if package["name"] in RELEASES}
    assert found.items() >= expected.items()
    assert found.keys() & there.keys() == expected.keys() & there.keys()


def built_wheel(source: Path) -> Path:
    """The wheel, built once."""
    folder = source.parent / "wheel"
    return next(folder.glob("*.whl")) if folder.exists() else build(source, "wheel")


def test_wheel_and_sdist_contents(source: Path) -> None:
    names = ZipFile(built_wheel(source)).namelist()
    assert {*START_FILES, "_llamafactory_ext_start.py", "llamafactory_ext/py.typed"} <= set(names)
    bundled = {name.removeprefix("llamafactory_ext/_bundle/") for name in names if "/_bundle/" in name}
    assert bundled == {name for name in contents() if not name.startswith("lab_model/")}
    with tarfile.open(build(source, "sdist")) as archive:
        members = {name.partition("/")[2] for name in archive.getnames()}
    assert {f"src/{name}" for name in START_FILES} | {"setup.py", "pyproject.toml", "LICENSE"} <= members
