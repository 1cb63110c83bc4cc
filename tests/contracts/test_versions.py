"""The versions that we name in setup.py and constraints/: nothing pinned, nothing that upstream excludes."""

from __future__ import annotations

import os
import re
import runpy
import tomllib
from importlib.metadata import distribution
from pathlib import Path
from typing import Any

import pytest
from packaging.requirements import Requirement
from packaging.utils import canonicalize_name
from packaging.version import Version

ROOT = Path(__file__).parents[2]
SETUP = runpy.run_path(str(ROOT / "setup.py"))


def constraints(name: str = "train") -> dict[str, Version]:
    """The versions of a file in constraints/."""
    lines = (ROOT / "constraints" / f"{name}.txt").read_text("utf-8").splitlines()
    found = [line.split("==") for line in lines if line.strip() and not line.startswith("#")]
    return {canonicalize_name(package): Version(version) for package, version in found}


def run_time_checks(package: Path) -> list[Requirement]:
    """What LLaMA-Factory checks at every start, beyond its metadata."""
    text = (package / "extras" / "misc.py").read_text("utf-8")
    body = text.partition("def check_dependencies")[2].partition("\ndef ")[0]
    found = [Requirement(word) for word in re.findall(r"check_version\(\"([^\"]+)\"\)", body)]
    assert {requirement.name for requirement in found} >= {"transformers", "peft"}
    return found


def upstream_installed() -> list[Requirement]:
    package = distribution("llamafactory")
    checks = run_time_checks(Path(str(package.locate_file("llamafactory"))))
    return [Requirement(line) for line in package.requires or ()] + checks


def upstream_checkout() -> list[Requirement]:
    folder = os.environ.get("LLAMAFACTORY_SOURCE")
    if not folder:
        pytest.skip("LLAMAFACTORY_SOURCE names no checkout of LLaMA-Factory")
    project = tomllib.loads((Path(folder) / "pyproject.toml").read_text("utf-8"))["project"]
    checks = run_time_checks(Path(folder) / "src" / "llamafactory")
    return [Requirement(line) for line in project["dependencies"]] + checks


def ours() -> list[Requirement]:
    return [Requirement(line) for line in (*SETUP["REQUIRES"], *SETUP["EXTRAS"]["train"])]


def excluded(versions: dict[str, Version], requirements: list[Requirement]) -> list[str]:
    """Versions that a requirement does not take."""
    applying = [r for r in requirements if r.marker is None or r.marker.evaluate({"extra": ""})]
    named = [(r, versions.get(canonicalize_name(r.name))) for r in applying]
    return [f"{r} excludes {v}" for r, v in named if v is not None and not r.specifier.contains(v, prereleases=True)]


@pytest.mark.parametrize("requirements", [upstream_installed, upstream_checkout, ours])
def test_constraints_name_no_version_that_is_excluded(requirements: Any) -> None:
    wanted = requirements()
    assert excluded(constraints(), wanted) == []
    assert {canonicalize_name(r.name) for r in wanted} & constraints().keys() >= {"transformers", "peft", "torch"}


@pytest.mark.parametrize("version", ["5.6.0", "4.57.0"])
def test_the_versions_that_upstream_excludes_are_found(version: str) -> None:
    assert excluded({"transformers": Version(version)}, ours())


def test_train_pins_nothing() -> None:
    """An exact version would replace what a user has, a CUDA build of torch among it."""
    for requirement in ours():
        assert not [s for s in requirement.specifier if s.operator in ("==", "===", "~=")], requirement


def test_a_clone_between_two_releases_is_taken() -> None:
    (upstream,) = [r for r in ours() if r.name == "llamafactory"]
    taken = [v for v in ("0.9.4", "0.9.5", "0.9.6.dev0", "0.9.6") if upstream.specifier.contains(v, prereleases=True)]
    assert taken == ["0.9.5", "0.9.6.dev0", "0.9.6"]
