"""States as JSON and safetensors: what torch would pickle, readable and exact to the last bit.

What it does: splits a nested state (of an optimizer, a scheduler, random generators) into JSON and named tensors,
joins them again, and keeps both in two files. What it does not do: keep objects, functions or classes; it refuses
them.
"""

from __future__ import annotations

import json
import math
from collections.abc import Mapping
from pathlib import Path
from typing import Any

import numpy as np
from safetensors import SafetensorError
from safetensors.torch import load_file, save_file
from torch import Tensor, nn

from ..errors import CheckpointError
from .atomic import read_json

# What JSON cannot say is an object with one of these keys.
_TENSOR, _TUPLE, _FLOAT, _ITEMS = "$tensor", "$tuple", "$float", "$items"


def split(state: Any) -> tuple[Any, dict[str, Tensor]]:
    """Return JSON for everything but the tensors, and the tensors by their path within `state`.

    Raises:
        CheckpointError: something in it is neither a plain value nor a plain tensor.
    """
    tensors: dict[str, Tensor] = {}
    return _encode(state, (), tensors), tensors


def join(data: Any, tensors: Mapping[str, Tensor]) -> Any:
    """Return the state that `split` took apart.

    Raises:
        KeyError: a tensor is missing.
    """
    if isinstance(data, list):
        return [join(item, tensors) for item in data]
    if not isinstance(data, dict):
        return data
    if _TENSOR in data:
        return tensors[data[_TENSOR]]
    if _TUPLE in data:
        return tuple(join(item, tensors) for item in data[_TUPLE])
    if _FLOAT in data:
        return float(data[_FLOAT])
    if _ITEMS in data:
        return {join(key, tensors): join(item, tensors) for key, item in data[_ITEMS]}
    return {key: join(item, tensors) for key, item in data.items()}


def write_state(folder: Path, name: str, state: Any) -> None:
    """Write `<name>.json` and, if there are tensors, `<name>.safetensors`; not synced to disk yet.

    Raises:
        CheckpointError: `state` holds something that only pickle could save.
    """
    try:
        data, tensors = split(state)
    except CheckpointError as error:
        raise CheckpointError(f"{folder / name}: {error.message}") from None
    folder.mkdir(parents=True, exist_ok=True)
    if tensors:
        save_file(_independent(tensors), folder / f"{name}.safetensors")
    text = json.dumps(data, indent=1, ensure_ascii=False, allow_nan=False)
    (folder / f"{name}.json").write_text(f"{text}\n", encoding="utf-8")


def read_state(folder: Path, name: str, what: str) -> Any:
    """Return what `write_state` wrote; tensors come on the CPU.

    Raises:
        CheckpointError: it is missing or damaged; the message calls it `what`.
    """
    data, path = read_json(folder / f"{name}.json", what), folder / f"{name}.safetensors"
    try:
        return join(data, load_file(path) if path.is_file() else {})
    except (SafetensorError, OSError, KeyError, TypeError, ValueError):
        raise CheckpointError(f"{path}: the {what} is damaged; delete {folder} to go on from an older one.") from None


def _encode(value: Any, path: tuple[str, ...], tensors: dict[str, Tensor]) -> Any:
    if type(value) in (Tensor, nn.Parameter):
        name = "/".join(path)
        if name in tensors:
            name = f"{name}#{len(tensors)}"
        tensors[name] = value.detach()
        return {_TENSOR: name}
    if isinstance(value, np.generic):
        value = value.item()
    if value is None or isinstance(value, bool | int | str):
        return value
    if isinstance(value, float):
        return value if math.isfinite(value) else {_FLOAT: repr(value)}
    if isinstance(value, list | tuple):
        items = [_encode(item, (*path, str(i)), tensors) for i, item in enumerate(value)]
        return {_TUPLE: items} if isinstance(value, tuple) else items
    if isinstance(value, Mapping):
        pairs = [(key, _encode(item, (*path, str(key)), tensors)) for key, item in value.items()]
        if all(isinstance(key, str) and not key.startswith("$") for key, _ in pairs):
            return dict(pairs)
        return {_ITEMS: [[_encode(key, path, tensors), item] for key, item in pairs]}
    where = "/".join(path) or "the state"
    raise CheckpointError(
        f"{where} is a {type(value).__module__}.{type(value).__name__}, which cannot be saved without pickle; choose "
        "another optim or lr_scheduler_type."
    )


def _independent(tensors: Mapping[str, Tensor]) -> dict[str, Tensor]:
    """Return the tensors on the CPU, none of them sharing memory with another."""
    found, seen = {}, set()
    for name, tensor in tensors.items():
        local = tensor.cpu().contiguous()
        storage = local.untyped_storage()
        shared = storage.data_ptr() in seen or storage.nbytes() != local.numel() * local.element_size()
        found[name] = local.clone() if shared else local
        seen.add(storage.data_ptr())
    return found
