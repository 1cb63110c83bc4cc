"""`llamafactory-ext examples`: what a first training needs, in a folder that need not be empty."""

from __future__ import annotations

import os
import stat
from pathlib import Path

import pytest
import yaml

from llamafactory_ext.commands.examples import MODEL, contents, examples
from llamafactory_ext.errors import DataError, OptionError

pytestmark = pytest.mark.fast
TINY = ("citi_tiny", "full_tiny", "lora_tiny", "tl_sft_tiny")


def files_in(folder: Path) -> dict[str, bytes]:
    return {path.relative_to(folder).as_posix(): path.read_bytes() for path in folder.rglob("*") if path.is_file()}


def test_all_is_there_and_stays(tmp_path: Path, capsys: pytest.CaptureFixture[str]) -> None:
    examples(str(tmp_path))
    assert "llamafactory-cli train examples/yaml/citi_tiny.yaml" in capsys.readouterr().out
    assert files_in(tmp_path) == contents()
    examples(str(tmp_path))
    assert files_in(tmp_path) == contents()
    scripts = list(tmp_path.rglob("*.sh"))
    assert scripts
    assert all(path.stat().st_mode & stat.S_IXUSR for path in scripts)


@pytest.mark.parametrize("name", TINY)
def test_what_a_file_names_is_there(name: str, tmp_path: Path) -> None:
    examples(str(tmp_path))
    options = yaml.safe_load((tmp_path / f"examples/yaml/{name}.yaml").read_text("utf-8"))
    assert options["model_name_or_path"] == MODEL
    assert (tmp_path / MODEL / "model.safetensors").is_file()
    for data in options["dataset"].split(","):
        assert (tmp_path / options["dataset_dir"] / f"{data}.json").is_file()


def test_a_file_that_differs_is_named_and_nothing_is_written(tmp_path: Path) -> None:
    mine = tmp_path / "data" / "dataset_info.json"
    mine.parent.mkdir()
    mine.write_text('{"mine": {}}', "utf-8")
    (tmp_path / "examples/yaml/citi_tiny.yaml").mkdir(parents=True)
    with pytest.raises(OptionError) as error:
        examples(str(tmp_path))
    assert "data/dataset_info.json" in error.value.message
    assert "examples/yaml/citi_tiny.yaml" in error.value.message
    assert files_in(tmp_path) == {"data/dataset_info.json": b'{"mine": {}}'}


def test_where_nothing_can_be_written(tmp_path: Path) -> None:
    (tmp_path / "file").write_text("mine", "utf-8")
    for out in (tmp_path / "file", tmp_path / "file" / "below", Path(f"{os.sep}proc") / "nowhere"):
        with pytest.raises(DataError, match="cannot be written"):
            examples(str(out))
    assert files_in(tmp_path) == {"file": b"mine"}
