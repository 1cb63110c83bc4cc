"""The part of a trainer that saves and resumes: whole checkpoints, exact states, no pickle.

What it does: redirects transformers' own saving into a staging folder and publishes that (`folders.py`); writes
optimizer, scheduler, gradient scaler and random states as safetensors and JSON (`plain.py`). What it does not do:
replace the formats of engines. DeepSpeed writes optimizer, scheduler and its shards of the model in torch files of its
own and reads them itself; FSDP writes model, optimizer and scheduler in torch files that accelerate and transformers
load with `weights_only=True`. Staging, the barrier, hashes and the mark hold for these files as well. Processes on
several machines need a shared disk, or `save_on_each_node: true`.
"""

from __future__ import annotations

import secrets
from collections.abc import Callable, Mapping
from pathlib import Path
from shutil import copyfile
from types import MappingProxyType
from typing import Any

import torch
from safetensors import SafetensorError
from torch import Tensor, distributed, nn
from transformers import PrinterCallback, Trainer
from transformers.trainer import TRAINER_STATE_NAME
from transformers.trainer_utils import PREFIX_CHECKPOINT_DIR

from ..errors import CheckpointError
from .atomic import read_object
from .folders import (
    COMPLETE,
    RUN,
    STAGING,
    discard_checkpoints,
    newest_checkpoint,
    publish_checkpoint,
    remove_leftovers,
    remove_old,
    run_of,
)
from .optimizer import by_name, by_number, group_names
from .plain import read_state, write_state
from .plans import PLAN, check_plan
from .random_states import collect_states, restore_states

SHARES = "shares"  # in the mark of a checkpoint


class SafeCheckpoints(Trainer):
    """Mixin, before the trainer it makes safe.

    Attributes:
        carried: files of output_dir that every checkpoint holds too, so that it can be moved alone.
        plan: what shapes the outcome; a checkpoint keeps it, and only a run with the same goes on from it.
    """

    carried: tuple[str, ...] = ()
    plan: Mapping[str, Any] = MappingProxyType({})
    _saving = False

    def __init__(self, *args: Any, **kwargs: Any) -> None:
        self._own_run: str | None = secrets.token_hex(8)  # whose checkpoints save_total_limit may remove
        super().__init__(*args, **kwargs)
        if not self.is_world_process_zero():
            self.remove_callback(PrinterCallback)  # prints the log once for each machine

    def newest_checkpoint(self) -> tuple[Path | None, list[str]]:
        """Return the newest checkpoint that all processes can resume from, and why newer ones were skipped."""
        return newest_checkpoint(
            Path(self.args.output_dir), check=self.args.should_save, lowest=self._lowest_of_all_processes
        )

    def checkpoint_to_resume(self, say: Callable[[str], None]) -> str | None:
        """Return the checkpoint that the command names, or else the newest whole one; None where it starts anew.

        Args:
            say: writes a line of the run's log.
        """
        if self.args.resume_from_checkpoint:
            return str(self.args.resume_from_checkpoint)
        folder = Path(self.args.output_dir)
        if self.args.overwrite_output_dir:
            if self.args.should_save:
                discard_checkpoints(folder)
            return None
        if self.args.should_save:
            remove_leftovers(folder)
        newest, skipped = self.newest_checkpoint()
        for line in skipped:
            say(line)
        if newest is not None:
            say(f"Resuming from {newest}.")
        return None if newest is None else str(newest)

    def _run_epoch(self, **parts: Any) -> None:
        """Run an epoch as transformers does.

        Nothing when the checkpoint to go on from was the last: it would take one step more.
        """
        if self.state.global_step < self.state.max_steps:
            super()._run_epoch(**parts)
        else:
            self.control.should_training_stop = True

    def _lowest_of_all_processes(self, number: int) -> int:
        value: Tensor = torch.tensor(number, device=self.args.device)
        if distributed.is_initialized():
            distributed.all_reduce(value, op=distributed.ReduceOp.MIN)
        return int(value)

    def train(self, resume_from_checkpoint: Any = None, **kwargs: Any) -> Any:
        """Train as transformers does; from a checkpoint only with the processes and batches that it was saved with.

        Raises:
            CheckpointError: the checkpoint belongs to another division of the data, or to a run with another plan.
        """
        if isinstance(resume_from_checkpoint, str):
            self._check_shares(Path(resume_from_checkpoint))
            check_plan(Path(resume_from_checkpoint), self.plan, named=bool(self.args.resume_from_checkpoint))
            if Path(resume_from_checkpoint).parent == Path(self.args.output_dir):
                self._own_run = run_of(Path(resume_from_checkpoint))
        return super().train(resume_from_checkpoint=resume_from_checkpoint, **kwargs)

    def _shares(self) -> dict[str, int]:
        """Return how each step's examples are divided; a run resumes exactly with the same division only."""
        return {
            "processes": self.args.world_size,
            "per_device_train_batch_size": self.args.per_device_train_batch_size,
            "gradient_accumulation_steps": self.args.gradient_accumulation_steps,
        }

    def _check_shares(self, checkpoint: Path) -> None:
        if not checkpoint.is_dir():
            raise CheckpointError(f"resume_from_checkpoint: {checkpoint} does not exist; check the path.")
        mark = read_object(checkpoint / COMPLETE, "mark") if (checkpoint / COMPLETE).is_file() else {}
        kept, now = mark.get(SHARES), self._shares()
        saved = kept if isinstance(kept, dict) else {}
        if changed := [name for name in now if saved.get(name, now[name]) != now[name]]:
            then, here = (", ".join(f"{name}: {shares[name]}" for name in changed) for shares in (saved, now))
            raise CheckpointError(
                f"{checkpoint} was saved with {then}, and this run has {here}. Start as many processes with the same "
                "batches to go on exactly, or choose another output_dir, or set overwrite_output_dir: true to start "
                "anew."
            )
        if not (checkpoint / f"{self._random_name}.json").is_file():
            raise CheckpointError(
                f"{checkpoint} holds no state of process {self.args.process_index}: it was saved by another number of "
                f"processes than {self.args.world_size}, or on another machine. Start as many processes as in the "
                "interrupted run, in the same order of machines, or delete the checkpoint."
            )

    # Whole checkpoints

    def _get_output_dir(self, trial: Any) -> str:
        folder = super()._get_output_dir(trial)
        return str(Path(folder) / STAGING) if self._saving else folder

    def _save_checkpoint(self, model: nn.Module, trial: Any) -> None:
        """Save transformers' checkpoint staged, put it in place, mark it, and only then remove older ones.

        Raises:
            CheckpointError: the disk is full or cannot be written.
        """
        folder = Path(self._get_output_dir(trial))
        name, limit = f"{PREFIX_CHECKPOINT_DIR}-{self.state.global_step}", self.args.save_total_limit
        staged, path = folder / STAGING / name, folder / name
        try:
            self._saving, self.args.save_total_limit = True, None
            try:
                super()._save_checkpoint(model, trial)
            finally:
                self._saving, self.args.save_total_limit = False, limit
            if self.state.best_model_checkpoint == str(staged):
                self.state.best_model_checkpoint = str(path)
                if self.args.should_save:
                    self.state.save_to_json(str(staged / TRAINER_STATE_NAME))
            self.accelerator.wait_for_everyone()
            if self.args.should_save:
                facts = {"step": self.state.global_step, "resumable": not self.args.save_only_model}
                facts |= {SHARES: self._shares(), **({PLAN: dict(self.plan)} if self.plan else {})}
                facts |= {RUN: self._own_run} if self._own_run else {}
                publish_checkpoint(staged, path, facts)
                remove_old(folder, limit, self.state.best_model_checkpoint, self._own_run)
        except (OSError, SafetensorError) as error:
            raise CheckpointError(
                f"{path}: the checkpoint cannot be written ({error}). Make room, then repeat the command: it goes on "
                "from the newest complete checkpoint."
            ) from None
        self.accelerator.wait_for_everyone()

    def _save(self, output_dir: str | None = None, state_dict: dict[str, Any] | None = None) -> None:
        """Save model and tokenizer; neither the pickled training arguments nor PEFT's empty model card.

        The card, a template compiled anew each time, would take longer than all else in saving a small adapter.
        """
        folder = str(output_dir or self.args.output_dir)
        model = self.accelerator.unwrap_model(self.model, keep_torch_compile=False)
        model.create_or_update_model_card = lambda *_: None
        try:
            model.save_pretrained(folder, state_dict=state_dict)
        finally:
            del model.create_or_update_model_card
        self.processing_class.save_pretrained(folder)
        self._carry(Path(folder))

    def _carry(self, folder: Path) -> None:
        """Copy what every checkpoint holds of output_dir."""
        for file in (Path(self.args.output_dir) / name for name in self.carried):
            if file.is_file() and file.parent != folder:
                copyfile(file, folder / file.name)

    # Loading

    @property
    def _saved_model(self) -> nn.Module:
        """The model whose weights a checkpoint holds."""
        model: nn.Module = self.accelerator.unwrap_model(self.model)
        return model

    def _issue_warnings_after_load(self, load_result: Any) -> None:
        """Refuse a checkpoint without all weights; of weights that are tied to one another it holds the first alone.

        Raises:
            CheckpointError: weights are missing, or there are weights of another model.
        """
        weights = dict(self._saved_model.named_parameters(remove_duplicate=False))
        missing = set(load_result.missing_keys)
        loaded = {id(weight) for name, weight in weights.items() if name not in missing}
        lost = sorted(name for name in missing if name not in weights or id(weights[name]) not in loaded)
        if odd := lost or sorted(load_result.unexpected_keys):
            raise CheckpointError(
                f"The checkpoint to go on from {'lacks' if lost else 'has'} {odd[0]}, unlike the model; set "
                "model_name_or_path and finetuning_type as in the interrupted run, or delete the checkpoint."
            )

    # States

    @property
    def _engine_saves(self) -> bool:
        return bool(self.is_deepspeed_enabled or self.is_fsdp_enabled)

    def _groups(self) -> list[list[str]]:
        return group_names(self.optimizer.param_groups, self.model.named_parameters())

    def _save_optimizer_and_scheduler(self, output_dir: str) -> None:
        if self._engine_saves:
            super()._save_optimizer_and_scheduler(output_dir)
        elif self.args.should_save:
            write_state(Path(output_dir), "optimizer", by_name(self.optimizer.state_dict(), self._groups()))
            write_state(Path(output_dir), "scheduler", self.lr_scheduler.state_dict())

    def _load_optimizer_and_scheduler(self, checkpoint: str | None) -> None:
        if self._engine_saves or checkpoint is None:
            super()._load_optimizer_and_scheduler(checkpoint)
            return
        state = read_state(Path(checkpoint), "optimizer", "optimizer state")
        self.optimizer.load_state_dict(by_number(state, self._groups()))
        self.lr_scheduler.load_state_dict(read_state(Path(checkpoint), "scheduler", "scheduler state"))

    def _save_scaler(self, output_dir: str) -> None:
        if self.args.should_save and (scaler := getattr(self.accelerator, "scaler", None)) is not None:
            write_state(Path(output_dir), "scaler", scaler.state_dict())

    def _load_scaler(self, checkpoint: str | None) -> None:
        if checkpoint is not None and (scaler := getattr(self.accelerator, "scaler", None)) is not None:
            scaler.load_state_dict(read_state(Path(checkpoint), "scaler", "gradient scaler's state"))

    def _save_rng_state(self, output_dir: str) -> None:
        write_state(Path(output_dir), self._random_name, collect_states(self.args.device))

    def _load_rng_state(self, checkpoint: str | None) -> None:
        if checkpoint is not None:
            restore_states(read_state(Path(checkpoint), self._random_name, "random state"), self.args.device)

    @property
    def _random_name(self) -> str:
        return f"random_state_{self.args.process_index}"
