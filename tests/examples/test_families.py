"""examples/yaml/families: one current model per family, each run on a tiny model of its architecture."""

from __future__ import annotations

import re
from pathlib import Path
from typing import Any

import pytest
from omegaconf import OmegaConf
from transformers import CONFIG_MAPPING, AutoModelForCausalLM, set_seed

import tiny
from llamafactory_ext.citi.examples import EXAMPLES, listed
from llamafactory_ext.families import FAMILIES
from runs import train

ROOT = Path(__file__).parents[2]
YAMLS = ROOT / "examples" / "yaml" / "families"
OWN: dict[str, dict[str, Any]] = {
    "phi3": {"original_max_position_embeddings": 4096},
    "qwen3_moe": {"num_experts": 4, "num_experts_per_tok": 2, "moe_intermediate_size": 32},
    "gemma2": {"head_dim": 8, "query_pre_attn_scalar": 8},
    "gemma3_text": {"head_dim": 8, "query_pre_attn_scalar": 8},
    "qwen3": {"head_dim": 8},
    "qwen3_5_text": {
        "head_dim": 8,
        "layer_types": ["linear_attention", "linear_attention", "full_attention"],
        "linear_num_key_heads": 2,
        "linear_num_value_heads": 2,
        "linear_key_head_dim": 8,
        "linear_value_head_dim": 8,
    },
}


def tiny_of(model_type: str, folder: Path) -> Path:
    """Three layers, with room for the special tokens that a template adds to the tiny tokenizer."""
    set_seed(0)
    config = CONFIG_MAPPING[model_type](
        vocab_size=400,
        hidden_size=tiny.HIDDEN,
        intermediate_size=tiny.INTERMEDIATE,
        num_hidden_layers=3,
        num_attention_heads=tiny.HEADS,
        num_key_value_heads=tiny.KV_HEADS,
        max_position_embeddings=4096,
        initializer_range=0.2,
        bos_token_id=0,
        eos_token_id=4,
        pad_token_id=1,
        **OWN.get(model_type, {}),
    )
    AutoModelForCausalLM.from_config(config).save_pretrained(folder)
    tiny.tiny_tokenizer().save_pretrained(folder)
    return folder


def test_every_family_has_a_file_and_every_file_a_family() -> None:
    assert {example.file for example in EXAMPLES} == {file.stem for file in YAMLS.glob("*.yaml")}
    assert {example.model_type for example in EXAMPLES} == {row.model_type for row in FAMILIES}
    readme = (ROOT / "examples" / "README.md").read_text("utf-8")
    for example in EXAMPLES:
        text = (YAMLS / f"{example.file}.yaml").read_text("utf-8")
        assert f"model_name_or_path: {example.model}\n" in text
        assert f"llamafactory-cli train examples/yaml/families/{example.file}.yaml" in text
        assert re.search(rf"^\| `{example.file}` \| {re.escape(example.model)} \|", readme, re.MULTILINE)


def test_the_board_lists_them_in_the_panel_of_citi() -> None:
    gradio = pytest.importorskip("gradio", reason="gradio is not installed: the Board's page is made of it")
    from llamafactory_ext.board.components import create_panel
    from llamafactory_ext.board.panels import PANELS

    said = {}
    for panel in PANELS:
        with gradio.Blocks() as page:
            create_panel(panel)
        said[panel.name] = "".join(
            block.value for block in page.blocks.values() if isinstance(block, gradio.Markdown) and block.value
        )
    (name,) = [name for name, text in said.items() if text]
    assert name == "citi_tab"
    assert said[name] == listed()
    assert all(f"examples/yaml/families/{example.file}.yaml" in said[name] for example in EXAMPLES)


@pytest.mark.parametrize("example", EXAMPLES, ids=lambda example: example.file)
def test_it_runs_on_a_tiny_model_of_the_architecture(example: Any, tmp_path: Path, tiny_data_dir: Path) -> None:
    options: Any = OmegaConf.to_container(OmegaConf.load(YAMLS / f"{example.file}.yaml"))
    options |= {
        "model_name_or_path": str(tiny_of(example.model_type, tmp_path / "model")),
        "dataset": "tiny",
        "dataset_dir": str(tiny_data_dir),
        "output_dir": str(tmp_path / "out"),
        "logging_steps": 1,
        "per_device_train_batch_size": 4,
        "gradient_accumulation_steps": 2,
        "overwrite_cache": True,
        "preprocessing_num_workers": 1,
        "dataloader_num_workers": 0,
        "use_cpu": True,
        "citi_report_samples": 0,
    }
    run = train(options)
    assert run.weights()
    assert [phase for phase in ("rp", "mi", "uco") if run.steps(phase)] == ["rp", "mi", "uco"]
    score = run.json("importance.json")["settings"]["score"]
    assert score == ("snip" if example.model_type.startswith(("qwen3", "gemma")) else "eq4")
