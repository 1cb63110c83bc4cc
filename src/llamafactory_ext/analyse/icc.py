"""Incremental change of capability: how training moves the hidden states of each ability (section 2.1, eq. 1 and 2).

ICC of an ability in a layer is the mean, over "final inputs" (a prompt and a random part of its answer), of the hidden
state of the last token after training minus that before. As a mean is linear, each model is run on its own.
"""

from __future__ import annotations

from collections.abc import Callable, Mapping
from pathlib import Path
from random import Random
from typing import Any

import torch
from rich.console import Console
from torch import Tensor, nn

from ..checkpoint.own import own_file, own_json
from ..errors import OptionError
from ..progress import Shown
from .inputs import Task, request_of, tasks_of
from .models import batches, check_folder, load_model, modules_by_layer
from .parts import Parts, digest_of, digest_of_task
from .pictures import similarity_lines

TOOL = "tool"


@torch.no_grad()
def mean_states(model: Any, task: Task, module: str, seed: int) -> list[list[float]]:
    """Return the mean input of a module at the last token of the final inputs, per layer (L, D), in float64.

    Args:
        model: a causal language model.
        task: whose final inputs are read.
        module: its name within a decoder layer, such as ``mlp``.
        seed: decides where answers are cut.
    """
    rng = Random(f"{seed}/{task.name}")
    rows = [item.cut(rng) for item in task.items]
    layers = modules_by_layer(model, module)
    sums: dict[int, Tensor] = {}
    lasts: Tensor

    def hook(layer: int) -> Any:
        def take(_: nn.Module, args: tuple[Any, ...], kwargs: dict[str, Any]) -> None:
            x_BTD = args[0] if args else kwargs["hidden_states"]
            picked = x_BTD[torch.arange(len(lasts)), lasts].double().sum(0).cpu()
            sums[layer] = sums.get(layer, torch.zeros_like(picked)) + picked

        return take

    handles = [found.register_forward_pre_hook(hook(layer), with_kwargs=True) for layer, found in layers.items()]
    try:
        for _, ids_BT, mask_BT in batches(rows):
            lasts = (mask_BT.sum(1) - 1).to(model.device)
            model(input_ids=ids_BT.to(model.device), attention_mask=mask_BT.to(model.device))
    finally:
        for handle in handles:
            handle.remove()
    return [(sums[layer] / len(rows)).tolist() for layer in layers]


def similarities(before: Mapping[str, Tensor], after: Mapping[str, Tensor], tool: str) -> dict[str, dict[str, Any]]:
    """Return, per ability, the cosine of its change with the tool's and the length of the change, per layer.

    Args:
        before: mean states (L, D) of each task in the base.
        after: the same after training.
        tool: the task that the others are compared with.
    """
    change = {name: after[name] - before[name] for name in before}
    return {
        name: {
            "cosine": [_cosine(*pair) for pair in zip(change[name], change[tool], strict=True)],
            "length": change[name].norm(dim=-1).tolist(),
        }
        for name in change
    }


def _cosine(one: Tensor, other: Tensor) -> float | None:
    lengths = float(one.norm() * other.norm())
    return float(one @ other) / lengths if lengths > 0 else None


def icc(
    yaml: Path, trained: Mapping[str, Path], out: Path, inputs: int, module: str, seed: int, device: str
) -> dict[str, Any]:
    """Compare the changes of every ability with that of tool use, for each trained model.

    Args:
        yaml: a training YAML: base model, template, data with tasks.
        trained: name to folder of a model or an adapter that was trained from the base.
        out: folder of the parts, icc.json and icc.png.
        inputs: final inputs of each task (the paper: 1,000).
        module: whose input is read, by its name within a decoder layer (the paper's Figure 2: mlp).
        seed: decides which examples and where they are cut.
        device: cpu or cuda.

    Raises:
        OptionError: options that do not work, or data without exactly one tool task.
        CheckpointError: a folder holds no model.
    """
    parts = Parts.claimed(out, "icc")
    request = request_of(yaml)
    base = Path(request.model)
    check_folder(base, "model_name_or_path")
    for name, one in trained.items():
        check_folder(one, f"--trained {name}=")
    tasks = tasks_of(request, inputs, seed)
    tools = [task.name for task in tasks if task.mark == TOOL]
    if len(tools) != 1 or len(tasks) < 2:
        raise OptionError(
            f"{yaml} gives {len(tools)} tasks marked tool and {len(tasks)} tasks in all; one of tools and at least "
            "one general task are needed (docs/citi.md says how records are marked)."
        )
    states: dict[str, dict[str, Tensor]] = {}
    with Shown(Console()) as shown:
        whole: dict[str, Path | None] = {"base": None, **trained}
        for name, folder in whole.items():
            loaded: list[Any] = []

            def model(folder: Path | None = folder, loaded: list[Any] = loaded) -> Any:
                if not loaded:
                    loaded.append(load_model(base, folder, device))
                return loaded[0]

            whose = [digest_of(one) for one in ([base] if folder is None else [base, folder])]
            states[name] = {}
            for task in tasks:
                made_from = {"model": whose, "task": digest_of_task(task), "module": module, "seed": seed}

                def measured(task: Task = task, model: Callable[[], Any] = model) -> list[list[float]]:
                    return mean_states(model(), task, module, seed)

                value = parts.part(f"{name}, {task.name}", made_from, measured, shown)
                states[name][task.name] = torch.tensor(value, dtype=torch.float64)
    result = {
        "module": module,
        "inputs": {task.name: len(task.items) for task in tasks},
        "tool": tools[0],
        "models": {name: similarities(states["base"], states[name], tools[0]) for name in trained},
    }
    own_json(parts.json, result)
    with own_file(parts.png) as staged, staged.open("wb") as picture:
        similarity_lines(result, picture)
    return result
