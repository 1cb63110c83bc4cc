"""What is split into JSON and tensors comes back the same, to the last bit and the last type."""

from __future__ import annotations

import functools
import json
import math
from pathlib import Path
from typing import Any

import numpy as np
import pytest
import torch
from hypothesis import given
from hypothesis import strategies as st
from torch import Tensor

from llamafactory_ext.checkpoint.plain import join, read_state, split, write_state
from llamafactory_ext.errors import CheckpointError

pytestmark = pytest.mark.fast

KEYS = st.one_of(st.text(max_size=5), st.integers(), st.sampled_from(["$tensor", "$tuple", "a/b"]))
LEAVES = st.one_of(
    st.none(),
    st.booleans(),
    st.integers(),
    st.floats(),
    st.text(max_size=5),
    st.floats(width=32).map(torch.tensor),
    st.lists(st.integers(0, 255), max_size=4).map(lambda values: torch.tensor(values, dtype=torch.uint8)),
)
STATES = st.recursive(
    LEAVES,
    lambda inner: st.one_of(
        st.lists(inner, max_size=3),
        st.lists(inner, max_size=3).map(tuple),
        st.dictionaries(KEYS, inner, max_size=3),
    ),
    max_leaves=12,
)


def same(left: Any, right: Any) -> bool:
    if type(left) is not type(right):
        return False
    if isinstance(left, Tensor):
        return left.dtype == right.dtype and left.numpy().tobytes() == right.numpy().tobytes()
    if isinstance(left, dict):
        return list(left) == list(right) and all(same(left[key], right[key]) for key in left)
    if isinstance(left, list | tuple):
        return len(left) == len(right) and all(map(same, left, right))
    return left == right or (isinstance(left, float) and math.isnan(left) and math.isnan(right))


@given(state=STATES)
def test_every_state_comes_back(state: Any) -> None:
    data, tensors = split(state)
    assert same(join(json.loads(json.dumps(data, allow_nan=False)), tensors), state)


def test_files_are_readable_and_exact(tmp_path: Path) -> None:
    values = torch.arange(6.0).reshape(2, 3)
    state = {
        "betas": (0.9, 0.999),
        "best": math.inf,
        7: None,
        "count": np.int64(3),
        "first row": values[0],
        "again": values[0],
        "turned": values.t(),
        "half": torch.tensor(0.1, dtype=torch.bfloat16),
    }
    write_state(tmp_path / "new", "optimizer", state)
    assert sorted(path.name for path in (tmp_path / "new").iterdir()) == ["optimizer.json", "optimizer.safetensors"]
    found = read_state(tmp_path / "new", "optimizer", "optimizer state")
    assert list(found) == list(state)
    for name in ("first row", "again", "turned", "half"):
        assert torch.equal(found.pop(name), state.pop(name))
    assert found == state
    write_state(tmp_path, "scheduler", {"last_epoch": 3})
    assert not (tmp_path / "scheduler.safetensors").exists()
    assert read_state(tmp_path, "scheduler", "scheduler state") == {"last_epoch": 3}


class Subclass(Tensor):
    pass


@pytest.mark.parametrize(
    "thing",
    [object(), functools.partial(print), Subclass(), {1, 2}, b"bytes", 1j],
    ids=lambda thing: type(thing).__name__,
)
def test_what_only_pickle_could_save_is_refused(tmp_path: Path, thing: Any) -> None:
    with pytest.raises(CheckpointError, match=r"optimizer: state/q_proj/buffer is a .* choose another optim"):
        write_state(tmp_path, "optimizer", {"state": {"q_proj": {"buffer": thing}}})
    assert list(tmp_path.iterdir()) == []


@pytest.mark.parametrize("damage", ["no json", "half of the json", "half of the tensors", "no tensors", "a nan"])
def test_what_cannot_be_read_is_named(tmp_path: Path, damage: str) -> None:
    write_state(tmp_path, "optimizer", {"a": torch.zeros(100)})
    path = tmp_path / ("optimizer.safetensors" if "tensors" in damage else "optimizer.json")
    content = path.read_bytes()
    if damage.startswith("no"):
        path.unlink()
    elif damage == "a nan":
        path.write_text('{"$float": {}}')
    else:
        path.write_bytes(content[: len(content) // 2])
    with pytest.raises(CheckpointError, match=r"no optimizer state here|the optimizer state is damaged"):
        read_state(tmp_path, "optimizer", "optimizer state")
