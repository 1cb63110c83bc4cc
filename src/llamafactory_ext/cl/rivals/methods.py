"""The rivals' trainings: what each changes of a task's options, what it adds to the loss, what it keeps."""

from __future__ import annotations

from collections.abc import Mapping
from dataclasses import dataclass
from pathlib import Path
from typing import Any, Final

import torch
from safetensors.torch import load_file, save_file
from torch import Tensor

from ..kinds import KINDS, PROTECTED, WHOLE
from .base_weights import largest_rank
from .formulas import merged, orthonormal_rows
from .lora_files import WEIGHTS, Lora, Pairs, added, parameter_name, read_lora, whole_rank, write_lora, write_start
from .projection import Projection
from .subspaces import Subspaces
from .terms import AddedTerm, Fisher, ewc_term, lwf_term, olora_term


@dataclass
class Rival:
    """One task's training by a rival; this one adds nothing.

    Attributes:
        settings: of the method.
        before: the adapter's folder of the task before; None for the first.
        task: its number, from 1.
        out: the adapter's folder.
        seed: of the run.
    """

    settings: Mapping[str, float]
    before: Path | None
    task: int
    out: Path
    seed: int

    def __post_init__(self) -> None:
        """Prepare what is needed from the start to the end."""

    def options(self, options: dict[str, Any]) -> dict[str, Any]:
        """Return the options of the training."""
        return options

    def callbacks(self) -> list[Any]:
        """Return the trainer's callbacks."""
        return []

    def finish(self) -> None:
        """Write what the next task and the answers need."""

    def _earlier(self) -> Pairs:
        """Return the adapter that answers after the task before."""
        return {} if self.before is None else read_lora(self.before / WHOLE).pairs


class IncLora(Rival):
    """A new LoRA per task; the earlier ones are frozen and added up (the baseline IncLoRA of arXiv:2310.14152)."""

    def finish(self) -> None:
        """Add the new LoRA to the earlier ones."""
        new = read_lora(self.out)
        write_lora(self.out / WHOLE, added([*filter(None, [self._earlier()]), new.pairs]), new.config)


class Olora(IncLora):
    """The same, with a loss that keeps the new A orthogonal to the earlier ones."""

    def callbacks(self) -> list[Any]:
        """Return the loss."""
        old = {parameter_name(linear, "A"): a for linear, (a, _) in self._earlier().items()}
        term = olora_term(old, weight=self.settings["orthogonality"], l2=self.settings["l2"])
        return [AddedTerm(term)] if old or self.settings["l2"] else []


class Slao(Rival):
    """One LoRA from an orthonormalised start, merged after every task."""

    def options(self, options: dict[str, Any]) -> dict[str, Any]:
        """Start from the trained B of the task before and an orthonormal basis of its A."""
        if self.before is None:
            return options
        tuned, start = read_lora(self.before), self.out.parent / "start"
        pairs = {name: (orthonormal_rows(a), b) for name, (a, b) in tuned.pairs.items()}
        write_start(start, Lora(pairs, tuned.config))
        return {**options, "adapter_name_or_path": str(start)}

    def finish(self) -> None:
        """Keep the trained A, and B moved by 1/sqrt(t) towards the trained one."""
        tuned, earlier = read_lora(self.out), self._earlier()
        pairs = {
            name: (a, merged(earlier[name][1], b, self.task) if name in earlier else b)
            for name, (a, b) in tuned.pairs.items()
        }
        write_lora(self.out / WHOLE, pairs, tuned.config)


class Ewc(Rival):
    """The same LoRA, its weights held by what they meant to earlier tasks."""

    def __post_init__(self) -> None:
        """Prepare the estimate that is made at the end."""
        self._fisher = Fisher(items=int(self.settings["items"]), seed=self.seed)

    def callbacks(self) -> list[Any]:
        """Return the penalty and the estimate."""
        importance, drawn = self._kept()
        term = AddedTerm(ewc_term(importance, drawn, strength=self.settings["strength"]))
        return [term, self._fisher] if importance else [self._fisher]

    def finish(self) -> None:
        """Add this task's information to the earlier tasks'."""
        importance, drawn = self._kept()
        tensors = {}
        for name, f in self._fisher.importance.items():
            g = f * self._fisher.weights[name]
            tensors[f"importance {name}"] = f + importance[name] if name in importance else f
            tensors[f"drawn {name}"] = g + drawn[name] if name in drawn else g
        save_file(tensors, self.out / KINDS["ewc"].state)

    def _kept(self) -> tuple[dict[str, Tensor], dict[str, Tensor]]:
        if self.before is None:
            return {}, {}
        tensors = load_file(self.before / KINDS["ewc"].state)
        importance, drawn = (
            {name.partition(" ")[2]: tensor for name, tensor in tensors.items() if name.startswith(f"{part} ")}
            for part in ("importance", "drawn")
        )
        return importance, drawn


class Lwf(Rival):
    """The same LoRA, and on the new task's items the distributions of the task before."""

    def callbacks(self) -> list[Any]:
        """Return the distillation."""
        if self.before is None:
            return []
        weights = {
            name.replace(".lora_A.", ".lora_A.default.").replace(".lora_B.", ".lora_B.default."): tensor.float()
            for name, tensor in load_file(self.before / WEIGHTS).items()
        }
        term = lwf_term(weights, strength=self.settings["strength"], temperature=self.settings["temperature"])
        return [AddedTerm(term)]


class Osf(Rival):
    """All adapted weights, in the span of their small singular values."""

    def __post_init__(self) -> None:
        """Prepare the split."""
        self._subspaces = Subspaces(kept=self.settings["kept"])

    def options(self, options: dict[str, Any]) -> dict[str, Any]:
        """Give the pair room for all directions that learn."""
        rank = largest_rank(Path(options["model_name_or_path"]), self.settings["kept"])
        return {**options, "lora_rank": rank, "lora_alpha": rank, "lora_dropout": 0.0}

    def callbacks(self) -> list[Any]:
        """Return the split."""
        return [self._subspaces]

    def finish(self) -> None:
        """Add this task's changes to the earlier ones."""
        new, earlier = read_lora(self.out), self._earlier()
        pairs: Pairs = {}
        for name, change in self._subspaces.changes(new.pairs).items():
            a, b = earlier.get(name, (torch.zeros(0, change.shape[1]), torch.zeros(change.shape[0], 0)))
            pairs[name] = whole_rank(change + b @ a)
        write_lora(self.out / WHOLE, pairs, new.config)


class DataProject(Rival):
    """DATA, its shared pairs held where earlier tasks use them; see projection.py."""

    def __post_init__(self) -> None:
        """Read the spans of the tasks before."""
        spans = {} if self.before is None else load_file(self.before / PROTECTED["project"].state)
        energy, items = self.settings["energy"], int(self.settings["items"])
        self._projection = Projection(spans, energy=energy, items=items, seed=self.seed)

    def callbacks(self) -> list[Any]:
        """Return the projection."""
        return [self._projection]

    def finish(self) -> None:
        """Keep the spans."""
        save_file(self._projection.spans, self.out / PROTECTED["project"].state)


RIVALS: Final[Mapping[str, type[Rival]]] = {
    "inc_lora": IncLora,
    "olora": Olora,
    "slao": Slao,
    "ewc": Ewc,
    "lwf": Lwf,
    "osf": Osf,
    "data_project": DataProject,
}


def rival(job: Mapping[str, Any]) -> Rival:
    """Return the rival that a job names.

    Args:
        job: kind, settings, before, task, out, seed.
    """
    torch.manual_seed(job["seed"])
    before = None if job["before"] is None else Path(job["before"])
    return RIVALS[job["kind"]](job["settings"], before, job["task"], Path(job["out"]), job["seed"])
