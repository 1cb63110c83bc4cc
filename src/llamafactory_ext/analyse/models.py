"""The models of an analysis: a base, and what was trained from it, as a whole model or as an adapter on it."""

from __future__ import annotations

import re
from collections.abc import Iterator, Sequence
from pathlib import Path

import torch
from torch import Tensor, nn
from transformers import AutoModelForCausalLM, PreTrainedModel

from ..checkpoint.base import check_loaded
from ..checkpoint.model_folder import ADAPTER_CONFIG, adapter_problems, model_problems
from ..errors import CheckpointError, OptionError
from .inputs import Item, Task

_TOKENS = 8192  # of a batch, padding included


def is_adapter(folder: Path) -> bool:
    """Tell whether a folder holds a PEFT adapter."""
    return (folder / ADAPTER_CONFIG).is_file()


def check_folder(folder: Path, option: str) -> None:
    """Make sure that a folder holds a model or an adapter.

    Raises:
        CheckpointError: it does not; says what is missing.
    """
    problems = adapter_problems(folder) if is_adapter(folder) else model_problems(folder, tokenizer=False)
    if problems:
        raise CheckpointError(f"{option} {problems[0]}.")


def load_model(base: Path, trained: Path | None = None, device: str = "cpu") -> PreTrainedModel:
    """Load the base, or what was trained from it, in the type of its weights (on a CPU in float32)."""
    whole = base if trained is None or is_adapter(trained) else trained
    dtype = torch.float32 if device == "cpu" else "auto"
    model = AutoModelForCausalLM.from_pretrained(whole, dtype=dtype, trust_remote_code=False)
    if trained is not None and is_adapter(trained):
        from peft import PeftModel

        check_loaded(model, trained)
        model = PeftModel.from_pretrained(model, str(trained))
    loaded: PreTrainedModel = model.to(device).eval()
    return loaded


def modules_by_layer(model: nn.Module, suffix: str) -> dict[int, nn.Module]:
    """Return the modules of the decoder layers whose name within the layer is `suffix`, by layer.

    Raises:
        OptionError: no layer has one.
    """
    named = [
        (found, module) for name, module in model.named_modules() if (found := re.search(r"\.(\d+)\.(.+)$", name))
    ]
    layers = {int(found[1]): module for found, module in named if found[2] == suffix}
    if not layers:
        known = sorted({found[2] for found, module in named if found[2].count(".") < 2})
        raise OptionError(f"--module {suffix}: no decoder layer has it; there are {', '.join(known)}.")
    return dict(sorted(layers.items()))


def batches(rows: Sequence[tuple[int, ...]]) -> Iterator[tuple[list[int], Tensor, Tensor]]:
    """Group rows of similar length; yield their numbers, ids (B, T) padded on the right, and the mask (B, T)."""
    order = sorted(range(len(rows)), key=lambda row: len(rows[row]))
    start = 0
    while start < len(order):
        end = start + 1
        while end < len(order) and len(rows[order[end]]) * (end + 1 - start) <= _TOKENS:
            end += 1
        chosen = order[start:end]
        longest = max(len(rows[row]) for row in chosen)
        ids_BT = torch.zeros(len(chosen), longest, dtype=torch.long)
        mask_BT = torch.zeros(len(chosen), longest, dtype=torch.long)
        for line, row in enumerate(chosen):
            ids_BT[line, : len(rows[row])] = torch.tensor(rows[row])
            mask_BT[line, : len(rows[row])] = 1
        yield chosen, ids_BT, mask_BT
        start = end


@torch.no_grad()
def nll(model: PreTrainedModel, task: Task) -> float:
    """Return the mean negative log-likelihood of the learned tokens of a task, in nats."""
    total, tokens = 0.0, 0
    for chosen, ids_BT, mask_BT in batches([item.ids for item in task.items]):
        logits_BTV = model(input_ids=ids_BT.to(model.device), attention_mask=mask_BT.to(model.device)).logits
        for line, row in enumerate(chosen):
            targets_T, learned_T = _targets(task.items[row])
            logits_TV = logits_BTV[line, : len(targets_T)].float()[learned_T.to(model.device)]
            wanted = targets_T[learned_T].to(model.device)
            total += float(nn.functional.cross_entropy(logits_TV, wanted, reduction="sum"))
            tokens += len(wanted)
    return total / tokens


def _targets(item: Item) -> tuple[Tensor, Tensor]:
    """Return what each position must predict, and whether it counts."""
    return torch.tensor(item.labels[1:]), torch.tensor(item.learned[1:])
