"""The files that the right and the wrong commands of `mistakes` name."""

from __future__ import annotations

import json
import shutil
from pathlib import Path
from typing import Any

import torch
from safetensors.torch import load_file, save_file

import mistakes
import option_runs
from llamafactory_ext.checkpoint.folders import seal_adapter

LINK = b"version https://git-lfs.github.com/spec/v1\noid sha256:0\nsize 1\n"


def make_world(folder: Path) -> dict[str, str]:
    """Write everything that the right and the wrong commands name."""
    world = option_runs.make_world(folder)
    (folder / "file").write_text("a file\n")
    (folder / "folder.yaml").mkdir()
    (folder / "zero2.json").write_text('{"zero_optimization": {"stage": 2}, "train_micro_batch_size_per_gpu": "auto"}')
    (folder / "importance.json").write_text("{}")
    _wrong_models(folder)
    _wrong_infos(folder)
    _wrong_data(folder)
    _wrong_adapters(folder)
    return {**world, "folder": str(folder)} | {
        name: str(folder / name) for name in ("models", "infos", "wrong_data", "adapters")
    }


def copied(source: Path, target: Path, without: str = "") -> Path:
    """Copy a folder without the files of a pattern, and return it."""
    shutil.copytree(source, target)
    for file in target.glob(without) if without else ():
        file.unlink()
    return target


def _wrong_models(folder: Path) -> None:
    model, models = folder / "model", folder / "models"
    models.mkdir()
    config = json.loads((model / "config.json").read_text())
    (models / "file").write_bytes(b"weights")
    copied(model, models / "no_config", "config.json")
    for name, text in {
        "bad_config": '{"model_type": "llama",',
        "list_config": "[1, 2]",
        "no_type": json.dumps(
            {key: value for key, value in config.items() if key not in ("model_type", "architectures")}
        ),
        "unknown_type": json.dumps(config | {"model_type": "no_such_type"}),
        "encoder": json.dumps({"model_type": "vit", "architectures": ["ViTModel"]}),
    }.items():
        (copied(model, models / name) / "config.json").write_text(text)
    copied(model, models / "no_weights", "*.safetensors")
    cut = copied(model, models / "cut_weights") / "model.safetensors"
    cut.write_bytes(cut.read_bytes()[:-1000])
    shard = copied(model, models / "no_shard")
    (shard / "model.safetensors").rename(shard / "model-00001-of-00002.safetensors")
    weights = {
        "lm_head.weight": "model-00001-of-00002.safetensors",
        "model.norm.weight": "model-00002-of-00002.safetensors",
    }
    (shard / "model.safetensors.index.json").write_text(json.dumps({"metadata": {}, "weight_map": weights}))
    _other_weights(model, models)
    _damaged_models(folder)
    (folder / "somebody").mkdir()
    (folder / "somebody" / "README.md").write_text("mine\n")
    copied(model, models / "no_tokenizer", "*token*")
    (copied(model, models / "bad_tokenizer") / "tokenizer.json").write_text("{")
    copied(folder / "adapter", models / "an_adapter")


def _other_weights(model: Path, models: Path) -> None:
    """Models whose weights and configuration do not belong together."""
    config = json.loads((model / "config.json").read_text())
    weights = load_file(model / "model.safetensors")
    less = {name: weight for name, weight in weights.items() if name != "model.layers.1.mlp.down_proj.weight"}
    save_file(less, copied(model, models / "lacks a tensor") / "model.safetensors")
    renamed = {f"foo.{name}": weight for name, weight in weights.items()}
    save_file(renamed, copied(model, models / "with other names") / "model.safetensors")
    for name, changes in {
        "of more layers": {"num_hidden_layers": config["num_hidden_layers"] + 1, "layer_types": None},
        "of another width": {"intermediate_size": config["intermediate_size"] * 2},
    }.items():
        changed = {key: value for key, value in (config | changes).items() if value is not None}
        (copied(model, models / name) / "config.json").write_text(json.dumps(changed))


def _damaged_models(folder: Path) -> None:
    """Those of `mistakes.DAMAGED`."""
    model, models = folder / "model", folder / "models"
    weights, whole = load_file(model / "model.safetensors"), models / "whole.bin"
    torch.save(weights, whole)
    contents = {"garbage.bin": b"garbage" * 100, "cut.bin": whole.read_bytes()[:-200], "link.bin": LINK}
    for name, content in contents.items():
        (copied(model, models / name, "*.safetensors") / "pytorch_model.bin").write_bytes(content)
    for name, value in {"list.bin": [1, 2], "other.bin": {"a": torch.zeros(2)}}.items():
        torch.save(value, copied(model, models / name, "*.safetensors") / "pytorch_model.bin")
    (copied(model, models / "link") / "model.safetensors").write_bytes(LINK)
    config = json.loads((model / "config.json").read_text())
    for name in (*mistakes.QUANTIZED, "quantized"):
        stated: dict[str, Any] = {"quant_method": name, "bits": 4} if name in mistakes.QUANTIZED else {}
        stated |= {"load_in_4bit": True} if name == "bitsandbytes" else {}
        (copied(model, models / name) / "config.json").write_text(json.dumps(config | {"quantization_config": stated}))
    for name, changes in {
        "rope": {"rope_scaling": {"rope_type": "foo", "factor": 2.0}, "rope_parameters": None},
        "activation": {"hidden_act": "foo"},
        "no_layers": {"num_hidden_layers": 0, "layer_types": None},
        "padding": {"pad_token_id": 10**9},
    }.items():
        changed = {key: value for key, value in (config | changes).items() if value is not None}
        (copied(model, models / name) / "config.json").write_text(json.dumps(changed))
    (copied(model, models / "list_generation") / "generation_config.json").write_text("[1]")
    (copied(model, models / "ends") / "generation_config.json").write_text('{"eos_token_id": "end"}')
    (copied(model, models / "special_tokens") / "special_tokens_map.json").write_text("{")
    (copied(model, models / "no_pieces") / "tokenizer.json").write_text('{"model": {}}')


def _wrong_infos(folder: Path) -> None:
    good = json.loads((folder / "data" / "dataset_info.json").read_text())
    tiny = good["tiny"]
    addresses = {name: {name: address, "columns": tiny["columns"]} for name, address in mistakes.UNREACHABLE.items()}
    for name, content in {
        "values": {name: tiny | {name: value} for name, value in mistakes.ENTRIES.items()},
        "unreachable": addresses,
        "malformed": b'{"tiny": {',
        "bytes": '{"caf\u00e9": 1}'.encode("latin-1"),
        "list": [tiny],
        "entry": {"tiny": "tiny.json"},
        "no_file": {"tiny": {"columns": tiny["columns"]}},
        "columns": {"tiny": tiny | {"columns": ["instruction"]}},
        "formatting": {"tiny": tiny | {"formatting": "chatml"}},
    }.items():
        target = copied(folder / "data", folder / "infos" / name) / "dataset_info.json"
        target.write_bytes(content if isinstance(content, bytes) else json.dumps(content).encode())


def _wrong_data(folder: Path) -> None:
    target = copied(folder / "data", folder / "wrong_data")
    info = json.loads((target / "dataset_info.json").read_text())
    records = json.loads((target / "tiny.json").read_text())
    contents: dict[str, Any] = {
        "good": records,
        "empty": b"",
        "none": [],
        "malformed": b'[{"instruction": "a", "output": ',
        "object": {"data": records},
        "texts": ["one", "two"],
        "wrong_column": records,
        "other_columns": [{"question": "a", "answer": "b"}],
        "bytes": bytes(range(256)) * 40,
        "tools_first": sorted(records, key=lambda record: record["mark"] != "tool"),
        "half_a_character": [records[0], records[1] | {"output": "a\ud800b"}, *records[2:]],
        "half_a_task": [records[0], records[1] | {"task": "a\ud800b"}, *records[2:]],
        "no_tools_json": [record | {"tools": "{not json"} for record in records],
    }
    for name, content in contents.items():
        file = target / f"{name}.json"
        file.write_bytes(content if isinstance(content, bytes) else json.dumps(content).encode())
    (target / "suffix.xml").write_text("<a/>")
    (target / "folder").mkdir()
    columns = info["tiny"]["columns"]
    for name in (*contents, "missing", "suffix", "folder"):
        file = {"suffix": "suffix.xml", "folder": "folder"}.get(name, f"{name}.json")
        own = columns | ({"response": "answer"} if name == "wrong_column" else {})
        info[name] = {"file_name": file, "columns": own}
    (target / "dataset_info.json").write_text(json.dumps(info))


def _wrong_adapters(folder: Path) -> None:
    adapter, adapters = folder / "adapter", folder / "adapters"
    config = json.loads((adapter / "adapter_config.json").read_text())
    adapters.mkdir()
    copied(adapter, adapters / "no_config", "adapter_config.json")
    (copied(adapter, adapters / "bad_config") / "adapter_config.json").write_text("{")
    copied(adapter, adapters / "no_weights", "*.safetensors")
    cut = copied(adapter, adapters / "cut") / "adapter_model.safetensors"
    cut.write_bytes(cut.read_bytes()[:-100])
    other = copied(adapter, adapters / "other") / "adapter_config.json"
    other.write_text(json.dumps(config | {"target_modules": ["c_attn"]}))
    file = "adapter_model.safetensors"
    tensors = load_file(adapter / file)
    last = max(tensors)
    half = {name: tensor for name, tensor in tensors.items() if name != last.replace("lora_A", "lora_B")}
    save_file(half, copied(adapter, adapters / "of one half") / file)
    fewer = {name: tensor for name, tensor in tensors.items() if ".layers.1." not in name}
    save_file(fewer, copied(adapter, adapters / "of fewer layers") / file)
    seal_adapter(changed := copied(adapter, adapters / "changed"))
    save_file({name: tensor + 1 for name, tensor in tensors.items()}, changed / file)
    kind = copied(adapter, adapters / "kind") / "adapter_config.json"
    kind.write_text(json.dumps(config | {"peft_type": "NO_SUCH"}))
