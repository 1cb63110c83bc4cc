"""What stands around the package: images, citation, changes, the pages of the documentation."""

from __future__ import annotations

import re
import subprocess
import sys
from importlib.metadata import version
from pathlib import Path

import pytest
import yaml

ROOT = Path(__file__).parents[2]
BIN = Path(sys.executable).parent
DOCKERFILES = sorted((ROOT / "docker").glob("*.Dockerfile"))


def test_there_is_an_image_for_each_purpose() -> None:
    assert {path.name.partition(".")[0] for path in DOCKERFILES} == {"train", "demo", "vllm"}


@pytest.mark.parametrize("path", DOCKERFILES, ids=lambda path: path.name)
def test_hadolint_finds_nothing(path: Path) -> None:
    result = subprocess.run([BIN / "hadolint", "--no-color", path], capture_output=True, text=True, check=False)
    assert (result.returncode, result.stdout) == (0, "")


@pytest.mark.parametrize("path", DOCKERFILES, ids=lambda path: path.name)
def test_an_image_copies_only_what_the_repository_has(path: Path) -> None:
    text = path.read_text("utf-8")
    ignored = (ROOT / ".dockerignore").read_text("utf-8").split()
    for name in re.findall(r"/src/([\w./-]+)", text):
        assert (ROOT / name).exists()
        assert name.partition("/")[0] not in ignored
    for tag in re.findall(r"^FROM (\S+)", text, re.MULTILINE):
        assert re.search(r":.*\d", tag), f"{path.name}: {tag} is no fixed version"


def test_the_citation_names_version_and_papers() -> None:
    citation = yaml.safe_load((ROOT / "CITATION.cff").read_text("utf-8"))
    assert {"cff-version", "message", "title", "authors"} <= citation.keys()
    assert citation["version"] == version("llamafactory_ext")
    readme = (ROOT / "README.md").read_text("utf-8")
    papers = set(re.findall(r"https://arxiv.org/abs/[\d.]+\d", readme))
    assert {reference["url"] for reference in citation["references"]} == papers


def test_the_changes_name_the_version() -> None:
    assert version("llamafactory_ext") in (ROOT / "CHANGELOG.md").read_text("utf-8")


def test_every_page_of_docs_is_in_the_site() -> None:
    config = (ROOT / "mkdocs.yml").read_text("utf-8")
    assert all(f": {path.name}" in config for path in (ROOT / "docs").glob("*.md"))
