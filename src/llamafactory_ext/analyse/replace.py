"""What abilities lose when components take the weights that tool training gave them (section 2.2, Table 1)."""

from __future__ import annotations

import math
from collections.abc import Iterator, Mapping, Sequence
from contextlib import contextmanager
from pathlib import Path
from typing import Any

import torch
from rich.console import Console
from torch import Tensor, nn
from transformers import PreTrainedModel

from ..checkpoint.own import own_file, own_json, sha256
from ..citi.importance_file import Importance
from ..errors import CheckpointError, OptionError
from ..progress import Shown
from .inputs import request_of, tasks_of
from .models import check_folder, is_adapter, load_model, nll
from .parts import Parts, digest_of, digest_of_task
from .pictures import replacement_bars


def chosen_components(scores: Mapping[str, float], share: float, top: bool) -> list[str]:
    """Return a share of the components by importance, rounded down: the highest, or the lowest.

    Raises:
        OptionError: the share takes none of them.
    """
    count = math.floor(share * len(scores) + 1e-9)
    if count == 0:
        raise OptionError(
            f"--shares {100 * share:g}: that is none of {len(scores)} components; "
            f"give at least {math.ceil(100 / len(scores))}."
        )
    return sorted(scores, key=lambda name: (-1 if top else 1) * scores[name])[:count]


@contextmanager
def replaced(model: nn.Module, weights: Mapping[str, Tensor], components: Sequence[str]) -> Iterator[None]:
    """Give components other weights (and biases) for a while.

    Args:
        model: that is changed and restored.
        weights: the other model's parameters by name.
        components: names of linears.
    """
    own = {name: parameter for name, parameter in model.named_parameters() if name.rpartition(".")[0] in {*components}}
    kept = {name: parameter.detach().clone() for name, parameter in own.items()}
    with torch.no_grad():
        try:
            for name, parameter in own.items():
                parameter.copy_(weights[name])
            yield
        finally:
            for name, parameter in own.items():
                parameter.copy_(kept[name])


def trained_weights(base: Path, trained: Path, device: str) -> dict[str, Tensor]:
    """Return the parameters of a trained model; of an adapter those of the base with it merged in.

    Raises:
        CheckpointError: the adapter cannot be merged.
    """
    model: Any = load_model(base, trained, device)
    if is_adapter(trained):
        model = model.merge_and_unload()
    return {name: parameter.detach() for name, parameter in model.named_parameters()}


def _check_alike(model: PreTrainedModel, weights: Mapping[str, Tensor], trained: Path) -> None:
    for name, parameter in model.named_parameters():
        if name not in weights or weights[name].shape != parameter.shape:
            raise CheckpointError(f"--trained {trained} is no training of the base: {name} differs; name one that is.")


def replace(
    yaml: Path,
    trained: Path,
    importance: Path,
    out: Path,
    shares: Sequence[float],
    examples: int,
    seed: int,
    device: str,
) -> dict[str, Any]:
    """Measure every ability after the top or bottom share of its components was replaced.

    Components are ranked for each ability by its own importance, as in the paper's experiment 1.

    Args:
        yaml: a training YAML: base model, template, and held-out data with tasks.
        trained: folder of the model or LoRA adapter that was trained on tools.
        importance: an importance file of the base, with a score for each task of the data.
        out: folder of the parts, replace.json and replace.png.
        shares: of the components, in (0, 1].
        examples: of each task.
        seed: decides which ones.
        device: cpu or cuda.

    Raises:
        OptionError: a task has no importance, or a share takes no component.
        CheckpointError: a folder holds no model, or another one.
    """
    parts = Parts.claimed(out, "replace")
    request = request_of(yaml)
    base = Path(request.model)
    check_folder(base, "model_name_or_path")
    check_folder(trained, "--trained")
    read = Importance.load(importance)
    tasks = tasks_of(request, examples, seed)
    if missing := [task.name for task in tasks if task.name not in read.tasks]:
        raise OptionError(
            f"{importance} has no importance for {', '.join(missing)}, only for {', '.join(read.tasks)}; "
            "name data of these tasks, or compute the file on this data."
        )
    wanted = [("vanilla", 0.0, True)]
    wanted += [(f"{'T' if top else 'D'}-{100 * share:g}", share, top) for top in (True, False) for share in shares]
    for task in tasks:
        for _, share, top in wanted[1:]:
            chosen_components(read.tasks[task.name].scores, share, top)
    loaded: list[tuple[PreTrainedModel, dict[str, Tensor]]] = []

    def models() -> tuple[PreTrainedModel, dict[str, Tensor]]:
        if not loaded:
            pair = load_model(base, None, device), trained_weights(base, trained, device)
            _check_alike(*pair, trained)
            if (problem := read.other_base(importance, pair[0])) is not None:
                raise CheckpointError(
                    f"--importance {importance} belongs to another model ({read.base}) than {base}: {problem}; name "
                    "the file of this base."
                )
            read.check(importance, {name: list(pair[0].get_submodule(name).weight.shape) for name in read.shapes})
            loaded.append(pair)
        return loaded[0]

    whose = [digest_of(base), digest_of(trained), sha256(importance)]
    table: dict[str, dict[str, float]] = {}
    with Shown(Console()) as shown:
        for task in tasks:
            for name, share, top in wanted:

                def measured(task: Any = task, share: float = share, top: bool = top) -> float:
                    model, weights = models()
                    components = chosen_components(read.tasks[task.name].scores, share, top) if share else []
                    with replaced(model, weights, components):
                        return nll(model, task)

                made_from = {"models": whose, "task": digest_of_task(task), "variant": name}
                table.setdefault(task.name, {})[name] = parts.part(f"{task.name}, {name}", made_from, measured, shown)
    result = {
        "unit": "mean negative log-likelihood of an answer's token, in nats",
        "examples": {task.name: len(task.items) for task in tasks},
        "table": table,
    }
    own_json(parts.json, result)
    with own_file(parts.png) as staged, staged.open("wb") as picture:
        replacement_bars(result, picture)
    return result
