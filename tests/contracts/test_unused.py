"""Unused, the extension changes nothing: a LoRA run with and without it is the same to the last bit."""

import json
from pathlib import Path

from safetensors.torch import load_file

from processes import run, train_options, write_yaml


def test_lora_run_is_identical(tiny_llama_dir: Path, tiny_data_dir: Path, tmp_path: Path) -> None:
    losses, weights = [], []
    for switch in ("1", "0"):
        folder = tmp_path / f"extension_{switch}"
        options = train_options(
            tiny_llama_dir,
            tiny_data_dir,
            folder,
            finetuning_type="lora",
            lora_rank=4,
            lora_dropout=0.1,
            max_steps=6,
            learning_rate=1e-2,
            overwrite_cache=True,
        )
        config = write_yaml(tmp_path / "lora.yaml", options)
        result = run(["llamafactory-cli", "train", config.name], tmp_path, LLAMAFACTORY_EXT=switch)
        assert result.returncode == 0, result.stderr
        state = json.loads((folder / "trainer_state.json").read_text("utf-8"))
        losses.append([entry["loss"] for entry in state["log_history"] if "loss" in entry])
        weights.append(load_file(folder / "adapter_model.safetensors"))
    assert len(losses[0]) == 6
    assert losses[0] == losses[1]
    assert weights[0].keys() == weights[1].keys()
    assert all(weights[0][name].equal(weights[1][name]) for name in weights[0])
