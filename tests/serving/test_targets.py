"""An export takes the place of an earlier one alone: what somebody else put into the folder is never removed."""

from __future__ import annotations

import json
from collections.abc import Callable
from pathlib import Path

import pytest

from llamafactory_ext.errors import OptionError
from llamafactory_ext.serving.targets import LIST, list_files, target_problem
from llamafactory_ext.serving.writing import published
from tiny import tiny_tokenizer

pytestmark = pytest.mark.fast
EARLIER = (
    "config.json",
    "generation_config.json",
    "model-00001-of-00002.safetensors",
    "model-00002-of-00002.safetensors",
    "model.safetensors",
    "model.safetensors.index.json",
    "tokenizer.json",
    "tokenizer.model",
    "tokenizer_config.json",
    "special_tokens_map.json",
    "chat_template.jinja",
    "preprocessor_config.json",
    "README.md",
)


def export(out: Path, files: tuple[str, ...] = EARLIER, block: str = "citi") -> Path:
    """What an export leaves, without its list."""
    out.mkdir(parents=True, exist_ok=True)
    for name in files:
        (out / name).write_text(json.dumps({block: {}}) if name == "config.json" else name, encoding="utf-8")
    return out


def write(name: str, text: str = "mine") -> Callable[[Path], object]:
    def change(folder: Path) -> None:
        (folder / name).parent.mkdir(parents=True, exist_ok=True)
        (folder / name).write_text(text, encoding="utf-8")

    return change


def link(folder: Path) -> None:
    (folder / "link").symlink_to(folder.parent)


# What somebody does to a folder, what is named of it, and whether an export without a list shows it.
CHANGES: dict[str, tuple[Callable[[Path], object], str, bool]] = {
    "notes": (write("notes.txt"), "notes.txt", True),
    "hidden": (write(".notes"), ".notes", True),
    "results": (write("results/eval.json"), "results/eval.json", True),
    "an adapter within": (write("adapter/adapter_model.safetensors"), "adapter/adapter_model.safetensors", True),
    "another format": (write("model.gguf"), "model.gguf", True),
    "an empty folder": (lambda folder: (folder / "empty").mkdir(), "empty/", True),
    "a link": (link, "link", True),
    "a card of one's own": (write("README.md"), "README.md (changed since)", False),
    "other defaults": (write("generation_config.json", "{}"), "generation_config.json (changed since)", False),
}


@pytest.mark.parametrize("listed", [True, False])
@pytest.mark.parametrize("what", CHANGES)
def test_what_an_export_did_not_write_keeps_the_folder(what: str, listed: bool, tmp_path: Path) -> None:
    change, named, seen = CHANGES[what]
    out = export(tmp_path / "out")
    if listed:
        list_files(out)
    assert target_problem(out, "citi") is None
    change(out)
    problem = target_problem(out, "citi")
    assert (problem is not None) == (listed or seen)
    if problem is not None:
        assert named in problem
        assert "move it away, or name another folder" in problem


def test_many_files_are_counted(tmp_path: Path) -> None:
    out = export(tmp_path / "out")
    for number in range(5):
        write(f"{number}.txt")(out)
    assert "0.txt, 1.txt, 2.txt and 2 more" in str(target_problem(out, "citi"))


@pytest.mark.parametrize("content", ["", "{", "[]", '{"files": 3}'])
def test_a_damaged_list_counts_as_none(content: str, tmp_path: Path) -> None:
    out = export(tmp_path / "out")
    (out / LIST).write_text(content, encoding="utf-8")
    assert LIST in str(target_problem(out, "citi"))


def test_a_free_folder_is_taken_and_another_methods_is_not(tmp_path: Path) -> None:
    assert target_problem(tmp_path / "none", "citi") is None
    (tmp_path / "empty").mkdir()
    assert target_problem(tmp_path / "empty", "citi") is None
    (tmp_path / "file").write_text("mine", encoding="utf-8")
    for path in (tmp_path / "file", export(tmp_path / "data", block="data"), write_model(tmp_path / "model")):
        assert "holds something else than an earlier export" in str(target_problem(path, "citi"))


def write_model(folder: Path) -> Path:
    write("config.json", "{}")(folder)
    return folder


def test_a_new_export_takes_the_place_of_the_old_one_behind_a_link_too(tmp_path: Path) -> None:
    (tmp_path / "disk").mkdir()
    (tmp_path / "out").symlink_to(tmp_path / "disk")
    for text in ("first", "second"):
        with published(tmp_path / "out", tiny_tokenizer(), None, text) as staged:
            write("config.json", '{"citi": {}}')(staged)
    assert (tmp_path / "out").is_symlink()
    assert (tmp_path / "disk" / "README.md").read_text("utf-8") == "second"
    assert target_problem(tmp_path / "out", "citi") is None
    assert {path.name for path in tmp_path.iterdir()} == {"disk", "out"}


def test_what_comes_into_the_folder_while_the_export_is_written_stays(tmp_path: Path) -> None:
    out = export(tmp_path / "out")
    message = r"has got files of somebody else meanwhile, late\.txt for example; nothing"
    with pytest.raises(OptionError, match=message), published(out, tiny_tokenizer(), None, "card"):
        write("late.txt")(out)
    assert (out / "late.txt").is_file()
    assert (out / "README.md").read_text("utf-8") == "README.md"
