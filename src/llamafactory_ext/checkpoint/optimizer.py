"""An optimizer's state under the names of its parameters instead of their numbers."""

from __future__ import annotations

from collections.abc import Iterable, Mapping, Sequence
from typing import Any

from torch import Tensor

from ..errors import CheckpointError

Groups = Sequence[Sequence[str]]


def group_names(groups: Iterable[Mapping[str, Any]], parameters: Iterable[tuple[str, Tensor]]) -> list[list[str]]:
    """Return the names of the parameters in each of an optimizer's `param_groups`, in its order.

    Args:
        groups: `optimizer.param_groups`.
        parameters: `model.named_parameters()`.
    """
    names = {id(parameter): name for name, parameter in parameters}
    found: list[list[str]] = []
    count = 0
    for group in groups:
        found.append([names.get(id(weight), f"parameter {count + i}") for i, weight in enumerate(group["params"])])
        count += len(found[-1])
    return found


def by_name(state: Mapping[str, Any], groups: Groups) -> dict[str, Any]:
    """Return `optimizer.state_dict()` with names for numbers."""
    names = [name for group in groups for name in group]
    return {
        **state,
        "state": {names[key] if isinstance(key, int) else key: entry for key, entry in state["state"].items()},
        "param_groups": [
            {**group, "params": list(own)} for group, own in zip(state["param_groups"], groups, strict=True)
        ],
    }


def by_number(state: Mapping[str, Any], groups: Groups) -> dict[str, Any]:
    """Return what `optimizer.load_state_dict` takes, from what `by_name` gave.

    Args:
        state: as saved.
        groups: the parameters of the optimizer that will load it.

    Raises:
        CheckpointError: it is the state of an optimizer of other parameters.
    """
    saved = [group["params"] for group in state["param_groups"]]
    if [sorted(names) for names in saved] != [sorted(names) for names in groups]:
        ours, theirs = ({name for names in side for name in names} for side in (groups, saved))
        differing = sorted(ours ^ theirs)[:3] or ["their groups"]
        raise CheckpointError(
            f"the optimizer state of the checkpoint is for other parameters (differing: {', '.join(differing)}); "
            "delete the checkpoint to go on from an older one."
        )
    numbers = {name: number for number, name in enumerate(name for names in groups for name in names)}
    return {
        **state,
        "state": {numbers.get(key, key): entry for key, entry in state["state"].items()},
        "param_groups": [
            {**group, "params": [numbers[name] for name in names]}
            for group, names in zip(state["param_groups"], groups, strict=True)
        ],
    }
