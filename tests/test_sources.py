"""Preprocessed data is found again in LLaMA-Factory's cache, until any of our code changes."""

from __future__ import annotations

import copy
from pathlib import Path
from typing import Any

import pytest

pytest.importorskip("llamafactory", reason="LLaMA-Factory is not installed: it keeps the cache")

import datasets
from datasets.fingerprint import Hasher
from llamafactory.data import get_dataset
from llamafactory.data.template import TEMPLATES
from llamafactory.hparams import get_train_args

from llamafactory_ext import sources
from llamafactory_ext.sources import source_hash
from llamafactory_ext.templates import TEMPLATES as OURS
from llamafactory_ext.tl.sft.examples import Settings
from llamafactory_ext.upstream.pipeline import channels, requests, weights
from processes import train_options
from tiny import save_tiny_model, tiny_tokenizer, write_tiny_data

pytestmark = pytest.mark.fast


def package(folder: Path, **files: str) -> Path:
    for name, text in files.items():
        (folder / f"{name}.py").parent.mkdir(parents=True, exist_ok=True)
        (folder / f"{name}.py").write_text(text)
    return folder


def test_the_hash_knows_every_file_its_name_and_its_contents(tmp_path: Path, monkeypatch: pytest.MonkeyPatch) -> None:
    rooms: dict[str, dict[str, str]] = {
        "same": {"a": "1", "room/b": "2"},
        "again": {"a": "1", "room/b": "2"},
        "changed": {"a": "1", "room/b": "3"},
        "renamed": {"a": "1", "room/c": "2"},
        "moved": {"a": "12", "room/b": ""},
        "more": {"a": "1", "room/b": "2", "c": ""},
    }
    hashes = {}
    for name, files in rooms.items():
        monkeypatch.setattr(sources, "PACKAGE", package(tmp_path / name, **files))
        hashes[name] = source_hash()
    assert hashes["same"] == hashes["again"]
    assert len(set(hashes.values())) == len(rooms) - 1


def test_it_covers_the_whole_package() -> None:
    files = [file.relative_to(sources.PACKAGE).as_posix() for file in sources.PACKAGE.rglob("*.py")]
    for room in ("data/marks_spec.py", "templates/rendering.py", "toolcalls/formats/react.py", "tl/key_tokens.py"):
        assert room in files
    assert sources.PACKAGE.name == "llamafactory_ext"


def test_everything_that_preprocesses_carries_the_hash() -> None:
    kinds = [kind for module in (channels, weights) for kind in vars(module).values() if isinstance(kind, type)]
    processors = {kind for kind in kinds if hasattr(kind, "preprocess_dataset") and "Processor" in kind.__name__}
    ours = [kind for kind in processors if kind.__module__.startswith("llamafactory_ext")]
    assert len(ours) == 4
    parts = dict.fromkeys(("template", "tokenizer", "processor", "data_args"))
    carriers: list[Any] = [kind(**parts) for kind in ours]
    carriers += [TEMPLATES[name] for name in OURS]
    carriers.append(requests.MarkingConverter(str, requests.MarkSpec.from_entry("x", {"mark": "tool"})))
    for carrier in carriers:
        assert carrier.source == source_hash()
        changed = copy.copy(carrier)
        changed.source = "another"
        assert Hasher.hash(changed) != Hasher.hash(carrier)


@pytest.mark.parametrize("kind", ["template", "marks", "weights"])
def test_the_cache_is_used_until_the_code_changes(kind: str, tmp_path: Path, monkeypatch: pytest.MonkeyPatch) -> None:
    monkeypatch.setattr(datasets.config, "HF_DATASETS_CACHE", tmp_path / "cache")
    write_tiny_data(tmp_path / "data", 4)
    tokenizer = tiny_tokenizer()
    template = "llama3_api_bank" if kind == "template" else "llama3"
    model = save_tiny_model(tmp_path / "model")
    own = {"stage": "tl_sft"} if kind == "weights" else {}
    options = train_options(model, tmp_path / "data", tmp_path / "out", template=template, finetuning_type="lora")
    model_args, data_args, training_args, *_ = get_train_args({**options, **own})

    def made(run: str) -> int:
        """How many cache files another run adds."""
        before = set((tmp_path / "cache").rglob("cache-*.arrow"))
        request = data_args
        if kind == "marks":
            request = requests.request_marks(data_args)
        elif kind == "weights":
            request = requests.request_weights(data_args, Settings(use_mae=False))
        get_dataset(TEMPLATES[template], model_args, request, training_args, "sft", tokenizer)
        return len(set((tmp_path / "cache").rglob("cache-*.arrow")) - before)

    assert made("first") > 0
    assert made("again") == 0
    monkeypatch.setattr(sources, "PACKAGE", package(tmp_path / "package", anything="pass"))
    monkeypatch.setattr(TEMPLATES["llama3_api_bank"], "source", source_hash())  # as when it is registered
    assert made("after a change") > 0
