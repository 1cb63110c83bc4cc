"""The table of model families: its rows hold together, and a configuration alone says what is possible."""

from __future__ import annotations

import ast
import sys
from importlib.util import find_spec
from pathlib import Path
from typing import Any

import pytest
import transformers

from llamafactory_ext import families
from llamafactory_ext.families import FAMILIES, Family, family_of, standing

pytestmark = pytest.mark.fast


def test_rows_are_unique_and_say_why_vllm_does_not_serve_them() -> None:
    assert len({row.model_type for row in FAMILIES}) == len(FAMILIES) > 9
    for row in FAMILIES:
        assert bool(row.vllm) != bool(row.unserved), row.model_type
        assert row.linears
        assert family_of(row.model_type) is row


@pytest.mark.parametrize("row", FAMILIES, ids=lambda row: row.model_type)
def test_a_row_names_classes_of_transformers(row: Family) -> None:
    config = getattr(transformers, row.config)
    assert config.model_type == row.model_type
    assert getattr(transformers, row.model).config_class is config


def test_the_table_needs_the_standard_library_alone() -> None:
    tree = ast.parse(Path(str(families.__file__)).read_text("utf-8"))
    names = {node.module for node in ast.walk(tree) if isinstance(node, ast.ImportFrom)}
    assert {str(name).partition(".")[0] for name in names} <= sys.stdlib_module_names
    assert not any(isinstance(node, ast.Import) for node in ast.walk(tree))
    assert find_spec("llamafactory_ext.families")


CASES: tuple[tuple[str, dict[str, Any], str, str], ...] = (
    ("exported and served", {"model_type": "qwen3"}, "", ""),
    ("exported alone", {"model_type": "smollm3"}, "", "vLLM has no class of its own for SmolLM3"),
    (
        "windows in some layers",
        {"model_type": "qwen3", "layer_types": ["full_attention", "sliding_attention"]},
        "",
        "vLLM's Qwen3ForCausalLM takes no layers with a window beside others",
    ),
    ("one kind of layers", {"model_type": "qwen2", "layer_types": ["full_attention"] * 2}, "", ""),
    ("of its own kind", {"model_type": "gemma3_text", "layer_types": ["full_attention", "sliding_attention"]}, "", ""),
    ("odd kinds", {"model_type": "qwen2", "layer_types": 3}, "", ""),
    ("unknown", {"model_type": "falcon"}, "no exported type for the architecture falcon", "architecture falcon"),
    ("none", {}, "no exported type for the architecture None", "architecture None"),
    ("seeing", {"model_type": "gemma3", "vision_config": {}}, "gemma3 has a vision tower", "gemma3 has a vision"),
    (
        "both",
        {"model_type": "qwen3", "vision_config": {}, "audio_config": {}},
        "a vision and an audio tower",
        "tower",
    ),
)


@pytest.mark.parametrize(("name", "config", "export", "serving"), CASES, ids=[case[0] for case in CASES])
def test_a_configuration_says_what_is_possible(name: str, config: dict[str, Any], export: str, serving: str) -> None:
    found = standing(config)
    for told, expected in ((found.export, export), (found.serving, serving)):
        assert (told is None) == (not expected), name
        assert expected in (told or ""), name
        assert not (told or "").endswith("."), name
    assert (found.family is None) == bool(export)
