"""What may be wrong with the weights of a model: their file, the index of their shards, the tensors."""

from __future__ import annotations

import json
import os
import struct
from collections.abc import Callable
from pathlib import Path
from typing import Any

import torch
from safetensors.torch import load_file, save_file
from torch import Tensor

WEIGHTS, INDEX = "model.safetensors", "model.safetensors.index.json"
SHARDS = ("model-00001-of-00002.safetensors", "model-00002-of-00002.safetensors")


def placed(file: str, change: Callable[[Path], Any], folder: Path) -> None:
    (folder / file).unlink(missing_ok=True)
    change(folder / file)


def headers() -> dict[str, bytes]:
    """Contents of a file of weights."""
    wrong: dict[str, tuple[Any, int]] = {
        "a list": ([1], 0),
        "without tensors": ({}, 0),
        "with facts alone": ({"__metadata__": {"format": "pt"}}, 0),
        "with facts in a list": ({"__metadata__": [1], "a": _facts([0, 4], [1])}, 4),
        "with a tensor in a list": ({"a": [1]}, 0),
        "with places in a text": ({"a": _facts("ab", [1])}, 4),
        "with places the wrong way round": ({"a": _facts([4, 0], [1])}, 4),
        "with places below 0": ({"a": _facts([-4, 0], [1])}, 0),
        "with a gap": ({"lm_head.weight": _facts([4, 8], [1])}, 8),
        "of an unknown type": ({"lm_head.weight": {**_facts([0, 4], [384, 32]), "dtype": "Q3"}}, 4),
        "with a shape in a text": ({"lm_head.weight": _facts([0, 4], "ab")}, 4),
        "with a number as shape": ({"lm_head.weight": _facts([0, 4], 5)}, 4),
        "without a shape": ({"lm_head.weight": {"dtype": "F32", "data_offsets": [0, 4]}}, 4),
        "with another size than shape": ({"lm_head.weight": _facts([0, 4], [384, 32])}, 4),
        "with a shape below 0": ({"lm_head.weight": _facts([0, 16], [-1, -4])}, 16),
    }
    found = {name: _header(json.dumps(header).encode(), size) for name, (header, size) in wrong.items()}
    return found | {
        "with a header of no length": struct.pack("<Q", 0),
        "with a huge header": struct.pack("<Q", 1 << 60) + b"{}",
        "of five bytes": b"\x05" * 5,
        "a page": b"<html>" * 100,
        "an archive": b"PK\x03\x04" * 100,
        "not in UTF-8": _header(b"\xff\xfe{}", 0),
        "nested": _header(b"[" * 50_000, 0),
    }


def _facts(places: Any, shape: Any) -> dict[str, Any]:
    return {"dtype": "F32", "shape": shape, "data_offsets": places}


def _header(text: bytes, size: int) -> bytes:
    return struct.pack("<Q", len(text)) + text + bytes(size)


def _all(value: Any) -> Callable[[Path, dict[str, str]], Any]:
    return lambda folder, names: {"weight_map": dict.fromkeys(names, value)}


# What an index holds, or what becomes of the shards; None leaves the index as it is.
INDICES: dict[str, Callable[[Path, dict[str, str]], Any]] = {
    "right": lambda folder, names: None,
    "without a shard": lambda folder, names: (folder / SHARDS[1]).unlink(),
    "with a shard cut": lambda folder, names: _cut(folder / SHARDS[1]),
    "with a folder as shard": lambda folder, names: placed(SHARDS[1], Path.mkdir, folder),
    "with a pipe as shard": lambda folder, names: placed(SHARDS[1], os.mkfifo, folder),
    "with a link to itself as shard": lambda folder, names: placed(
        SHARDS[1], lambda path: path.symlink_to(path.name), folder
    ),
    "with a tensor that is nowhere": lambda folder, names: {"weight_map": names | {"foo.weight": SHARDS[1]}},
    "with places swapped": lambda folder, names: {
        "weight_map": {name: SHARDS[file == SHARDS[0]] for name, file in names.items()}
    },
    "of half the files": lambda folder, names: {
        "weight_map": {name: file for name, file in names.items() if file == SHARDS[0]}
    },
    "without a map": lambda folder, names: {"metadata": {}},
    "with a list as map": lambda folder, names: {"weight_map": [1]},
    "with null as map": lambda folder, names: {"weight_map": None},
    "with an empty map": lambda folder, names: {"weight_map": {}},
    "with facts in a list": lambda folder, names: {"metadata": [1], "weight_map": names},
    "with numbers as files": _all(1),
    "with lists as files": _all([SHARDS[0]]),
    "with null as files": _all(None),
    "with empty names": _all(""),
    "with the folder itself": _all("."),
    "with itself": _all(INDEX),
    "with the configuration": _all("config.json"),
    "with a NUL": _all("a\0b"),
    "with a long name": _all("a" * 5_000),
}
_UP = "model.layers.0.mlp.up_proj.weight"
TENSORS: dict[str, Callable[[dict[str, Tensor]], dict[str, Tensor]]] = {
    "without embeddings": lambda found: {name: one for name, one in found.items() if "embed" not in name},
    "without the last norm": lambda found: {name: one for name, one in found.items() if name != "model.norm.weight"},
    "without the head": lambda found: {name: one for name, one in found.items() if "lm_head" not in name},
    "without a layer": lambda found: {name: one for name, one in found.items() if ".1." not in name},
    "without layers": lambda found: {name: one for name, one in found.items() if ".layers." not in name},
    "without any q_proj": lambda found: {name: one for name, one in found.items() if "q_proj" not in name},
    "with a layer more": lambda found: found | {"model.layers.2.mlp.up_proj.weight": torch.zeros(48, 32)},
    "with a bias more": lambda found: found | {"model.layers.0.self_attn.q_proj.bias": torch.zeros(32)},
    "with norms of q": lambda found: (
        found | {f"model.layers.{i}.self_attn.q_norm.weight": torch.ones(8) for i in (0, 1)}
    ),
    "of another shape": lambda found: found | {_UP: found[_UP].T.contiguous()},
    "in bytes": lambda found: {name: one.to(torch.int8) for name, one in found.items()},
    "with linears in bytes": lambda found: {
        name: one.to(torch.int8) if "proj" in name else one for name, one in found.items()
    },
    "in truth values": lambda found: {name: one.bool() for name, one in found.items()},
    "complex": lambda found: {name: one.to(torch.complex64) for name, one in found.items()},
    "in float64": lambda found: {name: one.double() for name, one in found.items()},
    "in float8": lambda found: {name: one.to(torch.float8_e4m3fn) for name, one in found.items()},
    "with a number as norm": lambda found: found | {"model.norm.weight": torch.tensor(1.0)},
    "with an empty norm": lambda found: found | {"model.norm.weight": torch.zeros(0)},
    "prefixed": lambda found: {f"model.{name}": one for name, one in found.items()},
    "of another library": lambda found: {
        name.replace("model.layers", "transformer.h"): one for name, one in found.items()
    },
    "of an adapter": lambda found: {f"base_model.model.{name}": one for name, one in found.items()},
    "of GPTQ": lambda found: {name.replace("proj.weight", "proj.qweight"): one for name, one in found.items()},
}


def _cut(file: Path) -> None:
    file.write_bytes(file.read_bytes()[:-50])


def with_tensors(change: Callable[[dict[str, Tensor]], dict[str, Tensor]], folder: Path) -> None:
    save_file(change(load_file(folder / WEIGHTS)), folder / WEIGHTS, metadata={"format": "pt"})


def with_index(change: Callable[[Path, dict[str, str]], Any], folder: Path) -> None:
    """Cut the weights into two shards with an index, and change that."""
    found = load_file(folder / WEIGHTS)
    (folder / WEIGHTS).unlink()
    names = {name: SHARDS[place % 2] for place, name in enumerate(sorted(found))}
    for file in SHARDS:
        save_file({name: found[name] for name in found if names[name] == file}, folder / file, {"format": "pt"})
    (folder / INDEX).write_text(json.dumps({"metadata": {"total_size": 1}, "weight_map": names}))
    if (changed := change(folder, names)) is not None:
        (folder / INDEX).write_text(json.dumps(changed))
