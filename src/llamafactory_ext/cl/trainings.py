"""One training of a comparison: its data and options, and what it left; done once for the same options and data."""

from __future__ import annotations

import json
import os
import sys
from collections.abc import Mapping, Sequence
from dataclasses import dataclass, field
from pathlib import Path
from typing import Any, Final

import yaml

from ..checkpoint.atomic import write_json, write_text
from ..checkpoint.own import sha256
from ..checkpoint.weight_files import stored_weights
from ..errors import UpstreamError
from .kinds import WHOLE
from .measured import Run, Tell, digest, fact
from .parts import Method, Plan, Task
from .place import files_of, remove_adapter

TRAINED: Final = "trained.json"
ADAPTER: Final = "adapter_model.safetensors"


@dataclass(frozen=True)
class Training:
    """One training.

    Attributes:
        plan: the comparison.
        method: of it.
        seed: of the run.
        task: that is learnt.
        number: of the task in the sequence, from 1.
        place: the folder of this training.
        records: that it learns.
        before: the adapter's folder of the task before, where the method continues from it.
        options: of LLaMA-Factory that replace those of the plan.
    """

    plan: Plan
    method: Method
    seed: int
    task: Task
    number: int
    place: Path
    records: Sequence[Any]
    before: Path | None = None
    options: Mapping[str, Any] = field(default_factory=dict)

    @property
    def adapter(self) -> Path:
        """The folder that the training writes to."""
        return self.place / "adapter"

    @property
    def answers(self) -> Path:
        """The adapter that answers."""
        return self.adapter / WHOLE if self.method.row.has_whole else self.adapter

    def stored_bytes(self) -> int:
        """Return how many bytes of weights have to be kept to answer and to learn the next task."""
        row = self.method.row
        kept = [self.answers / ADAPTER]
        if row.has_whole and row.starts == "own":
            kept.append(self.adapter / ADAPTER)
        if row.state:
            kept.append(self.adapter / row.state)
        return sum(path.stat().st_size for path in kept)

    def done(self, run: Run, tell: Tell) -> int | None:
        """Train unless it has been done; return the number of optimiser steps.

        Args:
            run: runs a command.
            tell: says what is being done.

        Raises:
            ExtError: it failed.
        """
        adapter, place, options = self.adapter, self.place, self._options()
        made_from = self._made_from(options)
        kept = fact(place / TRAINED)
        same = kept.get("made_from") in (made_from, self._made_from(options, weights=False))
        if same and (adapter / ADAPTER).is_file():
            if kept.get("adapter") == fingerprint(adapter):
                return _steps(kept)
            tell(f"{adapter / ADAPTER} is not what was trained; it is trained anew")
        begun = fact(place / "begun.json").get("made_from") == made_from
        resumes = begun and self.method.kind == "data" and not self.method.row.is_rival and not kept
        if os.path.lexists(adapter) and not resumes:
            remove_adapter(adapter, self.plan.out, kept.get("files"))
        (place / TRAINED).unlink(missing_ok=True)
        place.mkdir(parents=True, exist_ok=True)
        write_json(place / "begun.json", {"made_from": made_from})
        write_data(place / "data", self.records)
        tell(f"{self.method.name}, seed {self.seed}: training on {self.task.name} ({len(self.records)} items)")
        run(self._command(options), place / "train.log")
        if not (self.answers / ADAPTER).is_file():
            raise UpstreamError(f"The training wrote no {self.answers / ADAPTER}; read {place / 'train.log'}.")
        kept = {"steps": fact(adapter / "trainer_state.json").get("global_step")}
        made = {"adapter": fingerprint(adapter), **kept, "files": files_of(adapter)}
        write_json(place / TRAINED, {"made_from": made_from, **made})
        return _steps(kept)

    def _made_from(self, options: Mapping[str, Any], *, weights: bool = True) -> str:
        """Return a hash of all that the weights depend on.

        Args:
            options: of the command.
            weights: whether the base's are among it, as they were not in earlier versions.
        """
        start = None if self.before is None else fingerprint(self.before)
        places = ("output_dir", "dataset_dir", "adapter_name_or_path")
        relevant = {name: value for name, value in options.items() if name not in places}
        rivals = [self.method.row.rival, dict(self.method.settings)] if self.method.row.is_rival else []
        base: list[Any] = [sha256(Path(self.plan.model) / "config.json")]
        base += [stored_weights([self.plan.model])] if weights else []
        return digest(relevant, self.records, start, *base, *rivals)

    def _command(self, options: Mapping[str, Any]) -> list[str]:
        """Write the training's files and return what runs it."""
        write_text(self.place / "train.yaml", yaml.safe_dump(dict(options), sort_keys=False, allow_unicode=True))
        if not self.method.row.is_rival:
            program = str(Path(sys.executable).with_name("llamafactory-cli"))
            return [program, "train", str(self.place / "train.yaml")]
        job = {
            "kind": self.method.row.rival,
            "settings": dict(self.method.settings),
            "before": None if self.before is None else str(self.before),
            "task": self.number,
            "out": str(self.adapter),
            "seed": self.seed,
            "options": dict(options),
        }
        write_json(self.place / "job.json", job)
        return [sys.executable, "-m", "llamafactory_ext.cl.rivals.training", str(self.place / "job.json")]

    def _options(self) -> dict[str, Any]:
        plan, method = self.plan, self.method
        options: dict[str, Any] = {
            "stage": "sft",
            "do_train": True,
            "finetuning_type": "data" if method.kind == "data" else "lora",
            "logging_steps": 10,
            "save_strategy": "no",
            "report_to": "none",
            "overwrite_cache": True,
            **plan.train,
            **(self.task.options if method.kind != "multi_task" else {}),
            **method.options,
            **self.options,
            "model_name_or_path": plan.model,
            "template": plan.template,
            "dataset": "task",
            "dataset_dir": str(self.place / "data"),
            "output_dir": str(self.adapter),
            "seed": self.seed,
        }
        if method.kind == "data":
            options["data_task"] = self.task.name
        if self.before is not None:
            is_sum = method.row.starts == "sum"
            options["adapter_name_or_path"] = str(self.before / WHOLE if is_sum else self.before)
            if is_sum:
                options["create_new_adapter"] = True
        return options


def fingerprint(adapter: Path) -> str:
    """Return a hash of all weights in an adapter's folder; of a single file its own."""
    files = sorted(path for path in adapter.rglob("*.safetensors") if path.parent.name in (adapter.name, WHOLE))
    if [path.name for path in files] == [ADAPTER]:
        return sha256(files[0])
    return digest([(path.relative_to(adapter).as_posix(), sha256(path)) for path in files])


def write_data(folder: Path, records: Sequence[Any]) -> None:
    """Write records as the data set `task` of LLaMA-Factory."""
    folder.mkdir(parents=True, exist_ok=True)
    write_text(folder / "task.json", json.dumps(records, ensure_ascii=False))
    columns = {"prompt": "instruction", "query": "input", "response": "output"}
    write_json(folder / "dataset_info.json", {"task": {"file_name": "task.json", "columns": columns}})


def _steps(kept: Mapping[str, Any]) -> int | None:
    steps = kept.get("steps")
    return steps if isinstance(steps, int) else None
