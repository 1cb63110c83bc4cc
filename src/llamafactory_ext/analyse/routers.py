"""Where routers send the tokens of tools and of general data (appendix B, Figures 6 and 7)."""

from __future__ import annotations

from pathlib import Path
from typing import Any

import torch
from rich.console import Console
from torch import Tensor, nn

from ..checkpoint.own import own_file, own_json
from ..errors import CheckpointError, OptionError
from ..figures.run import router_gates
from ..molora.layer import MoLoraLinear
from ..progress import Shown
from .inputs import Task, request_of, tasks_of
from .models import batches, check_folder, load_model
from .parts import Parts, digest_of, digest_of_task

MARKS = ("tool", "general")


@torch.no_grad()
def mean_gates(model: Any, task: Task) -> dict[str, list[float]]:
    """Return the mean gates of every router over all tokens of a task's examples, E numbers each.

    Raises:
        CheckpointError: the model has no routers.
    """
    routers = {name: module for name, module in model.named_modules() if isinstance(module, MoLoraLinear)}
    if not routers:
        raise CheckpointError("--adapter holds no MOLoRA, so there are no routers; name what citi trained.")
    sums: dict[str, Tensor] = {}
    counts = 0
    mask: Tensor

    def hook(name: str) -> Any:
        def take(module: nn.Module, args: tuple[Tensor, ...]) -> None:
            assert isinstance(module, MoLoraLinear)
            gates_E = module.gates(args[0])[mask].double().sum(0).cpu()
            sums[name] = sums.get(name, torch.zeros_like(gates_E)) + gates_E

        return take

    handles = [module.register_forward_pre_hook(hook(name)) for name, module in routers.items()]
    try:
        for _, ids_BT, mask_BT in batches([item.ids for item in task.items]):
            mask = mask_BT.bool().to(model.device)
            counts += int(mask.sum())
            model(input_ids=ids_BT.to(model.device), attention_mask=mask_BT.to(model.device))
    finally:
        for handle in handles:
            handle.remove()
    prefix = "base_model.model."
    return {name.removeprefix(prefix): (total / counts).tolist() for name, total in sums.items()}


def routers(yaml: Path, adapter: Path, out: Path, inputs: int, seed: int, device: str) -> dict[str, Any]:
    """Measure every router on inputs of both kinds.

    Args:
        yaml: a training YAML: base model, template, held-out data with marks.
        adapter: what citi trained.
        out: folder of the parts, routers.json and routers.png.
        inputs: examples of each mark (the paper: 100), as evenly from its tasks as they come.
        seed: decides which ones.
        device: cpu or cuda.

    Raises:
        OptionError: the data lack a mark.
        CheckpointError: a folder holds no model, or no routers.
    """
    parts = Parts.claimed(out, "routers")
    request = request_of(yaml)
    base = Path(request.model)
    check_folder(base, "model_name_or_path")
    check_folder(adapter, "--adapter")
    tasks = tasks_of(request, inputs, seed)
    merged = {mark: _evenly([task for task in tasks if task.mark == mark], inputs, mark) for mark in MARKS}
    if missing := [mark for mark, task in merged.items() if not task.items]:
        raise OptionError(f"{yaml} names no data marked {' or '.join(missing)}; routers are shown on both kinds.")
    loaded: list[Any] = []

    def model() -> Any:
        if not loaded:
            loaded.append(load_model(base, adapter, device))
        return loaded[0]

    by_mark = {}
    with Shown(Console()) as shown:
        for mark, task in merged.items():
            made_from = {"models": [digest_of(base), digest_of(adapter)], "task": digest_of_task(task)}

            def measured(task: Task = task) -> dict[str, list[float]]:
                return mean_gates(model(), task)

            by_mark[mark] = parts.part(mark, made_from, measured, shown)
    gates = {name: {mark: by_mark[mark][name] for mark in MARKS} for name in by_mark["tool"]}
    first = {mark: sum(row[mark][0] for row in gates.values()) / len(gates) for mark in MARKS}
    result = {"inputs": {mark: len(task.items) for mark, task in merged.items()}, "gate_0": first, "gates": gates}
    own_json(parts.json, result)
    with own_file(parts.png) as staged, staged.open("wb") as picture:
        router_gates(gates, picture)
    return result


def _evenly(tasks: list[Task], count: int, mark: str) -> Task:
    """Return one task of examples from all, in turns."""
    rows = [list(task.items) for task in tasks]
    items = [row[place] for place in range(max(map(len, rows), default=0)) for row in rows if place < len(row)]
    return Task(mark, mark, tuple(items[:count]))
