"""A folder without tokenizer files must not train, nor answer, on a tokenizer that knows nothing."""

from __future__ import annotations

import json
import shutil
from pathlib import Path
from types import SimpleNamespace

import pytest
from transformers import AutoTokenizer

from llamafactory_ext.errors import OptionError
from llamafactory_ext.lab.methods import SHIPPED_MODEL
from llamafactory_ext.templates.tokens import tokenizer_problem
from llamafactory_ext.upstream.pipeline.fitting import fit_template

pytestmark = pytest.mark.fast
MODEL_TYPES = ("llama", "mistral", "qwen2", "qwen3", "qwen3_moe", "gemma2", "gemma3_text", "gpt2", "gpt_neox", "phi3")


@pytest.fixture
def bare(tmp_path: Path) -> Path:
    """The embedded model without its tokenizer."""
    return shutil.copytree(SHIPPED_MODEL, tmp_path / "bare", ignore=shutil.ignore_patterns("tokenizer*", "*.jinja"))


@pytest.mark.parametrize("model_type", MODEL_TYPES)
def test_a_folder_without_tokenizer_files(model_type: str, bare: Path) -> None:
    config = json.loads((bare / "config.json").read_text())
    (bare / "config.json").write_text(json.dumps(config | {"model_type": model_type}))
    try:
        made = AutoTokenizer.from_pretrained(bare)
    except ValueError:  # transformers says it by itself
        return
    problem = tokenizer_problem(made)
    assert problem is not None
    assert str(bare) in problem


def test_a_tokenizer_with_a_vocabulary_is_no_problem() -> None:
    assert tokenizer_problem(AutoTokenizer.from_pretrained(SHIPPED_MODEL)) is None


def test_training_is_refused(bare: Path) -> None:
    parts = {"tokenizer": AutoTokenizer.from_pretrained(bare), "processor": None}
    with pytest.raises(OptionError, match="has no tokenizer files"):
        fit_template(parts, SimpleNamespace())
