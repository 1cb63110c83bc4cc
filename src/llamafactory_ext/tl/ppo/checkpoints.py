"""What a checkpoint of PPO holds beside the policy: critic, the batch being learned, and whatever the run adapts.

Under FSDP every process writes its parts of what trains and of the optimizer's state as safetensors and JSON, and
reads them again: a run goes on with as many processes. DeepSpeed writes and reads its own files; weights that do not
train are not in them.
"""

from __future__ import annotations

from functools import partial
from pathlib import Path
from typing import Any

import torch
from safetensors.torch import load_file, save_file
from torch import nn
from transformers.integrations.deepspeed import deepspeed_load_checkpoint

from ...checkpoint.optimizer import by_name, by_number
from ...checkpoint.plain import read_state, write_state
from ...checkpoint.saving import SafeCheckpoints
from ...errors import CheckpointError
from ..start import REPORT
from .critic import ActorCritic
from .engines import gathered, held, let_go, parts_of, whole_of
from .experience import Experience
from .reference import Reference
from .watch import Watch

CRITIC = "critic.safetensors"
STATE = "ppo_state"
PARTS = "parts"
GLOBAL_STEP = "global_step"  # DeepSpeed's folder


class PpoCheckpoints(SafeCheckpoints):
    """Mixin, before the trainer of PPO; the policy is saved as upstream saves one, and `save_model` saves it alone."""

    actor_critic: ActorCritic
    reference: Reference | None
    carried = (REPORT,)
    coefficient: float
    watch: Watch
    experience: Experience | None
    tracked: dict[str, list[float]]
    updates: int

    def save_model(self, output_dir: str | None = None, _internal_call: bool = False) -> None:
        """Save the policy, whole, and what trains of it in float32, whatever an engine makes of it."""
        if not self._engine_saves:
            super().save_model(output_dir, _internal_call)
            return
        let_go(self.model_wrapped)
        whole = gathered(self.actor_critic.policy, keep=self.args.should_save)
        if self.args.should_save:
            self._save(output_dir, whole)

    def _save(self, output_dir: str | None = None, state_dict: dict[str, Any] | None = None) -> None:
        folder = Path(output_dir or self.args.output_dir)
        self.actor_critic.policy.save_pretrained(str(folder), state_dict=state_dict)
        self.processing_class.save_pretrained(str(folder))
        self._carry(folder)
        if self._saving and not self._engine_saves:
            critic = self.actor_critic.critic_parameters()
            save_file({name: weight.detach().cpu().contiguous() for name, weight in critic}, folder / CRITIC)

    def _save_rng_state(self, output_dir: str) -> None:
        """Save also the state of PPO, which is written and read at the same moments."""
        super()._save_rng_state(output_dir)
        half_way = self.experience is not None and self.state.global_step % self.updates
        state = {
            "coefficient": self.coefficient,
            "watch": self.watch.state(),
            "tracked": self.tracked,
            "experience": self.experience.state() if half_way and self.experience else None,
        }
        write_state(Path(output_dir), f"{STATE}_{self.args.process_index}", state)

    def _load_rng_state(self, checkpoint: str | None) -> None:
        super()._load_rng_state(checkpoint)
        if checkpoint is None:
            return
        state = read_state(Path(checkpoint), f"{STATE}_{self.args.process_index}", "state of PPO")
        self.coefficient, self.tracked = state["coefficient"], state["tracked"]
        self.watch.restore(state["watch"])
        if state["experience"] is not None:
            self.experience = Experience.restore(state["experience"]).to(self.args.device)

    # Engines

    def _prepare_for_training(self, max_steps: int, train_dataloader: Any, resume_from_checkpoint: Any) -> Any:
        """Take the reference between an engine's wrapping and the loading of a checkpoint."""
        if not self._engine_saves:
            return super()._prepare_for_training(max_steps, train_dataloader, resume_from_checkpoint)
        prepared = super()._prepare_for_training(max_steps, train_dataloader, None)
        if self.reference is not None:
            self.reference.keep(partial(let_go, self.model_wrapped))
        if resume_from_checkpoint is not None:
            self._resume_engine(Path(resume_from_checkpoint))
        return prepared

    def _resume_engine(self, checkpoint: Path) -> None:
        if not any(checkpoint.glob(f"{GLOBAL_STEP}*" if self.is_deepspeed_enabled else f"{self._parts_name}.json")):
            raise CheckpointError(
                f"{checkpoint} was saved under another engine or by another number of processes; set fsdp, deepspeed "
                "and the number of processes as in the interrupted run."
            )
        if self.is_deepspeed_enabled:
            deepspeed_load_checkpoint(self.model_wrapped, str(checkpoint), load_module_strict=False)
        else:
            state = read_state(checkpoint, self._parts_name, "process's part of the model")
            own = dict(self.actor_critic.actor_parameters() + self.actor_critic.critic_parameters())
            if {name: list(held(weight).shape) for name, weight in own.items()} != {
                name: list(part.shape) for name, part in state["weights"].items()
            }:
                raise CheckpointError(
                    f"{checkpoint / self._parts_name}: the parts in it are of another critic or of other trained "
                    "weights; set tl_critic and finetuning_type as they were in the interrupted run."
                )
            with torch.no_grad():
                for name, weight in own.items():
                    held(weight).copy_(state["weights"][name])
            self.optimizer.load_state_dict(whole_of(by_number(state["optimizer"], self._groups()), self.optimizer))
        self.lr_scheduler.load_state_dict(read_state(checkpoint, "scheduler", "scheduler state"))
        self._load_scaler(str(checkpoint))

    def _save_optimizer_and_scheduler(self, output_dir: str) -> None:
        if not self._engine_saves:
            super()._save_optimizer_and_scheduler(output_dir)
            return
        if self.is_deepspeed_enabled:
            self.model_wrapped.save_checkpoint(output_dir, exclude_frozen_parameters=True)
        else:
            own = self.actor_critic.actor_parameters() + self.actor_critic.critic_parameters()
            state = {
                "weights": {name: held(weight) for name, weight in own},
                "optimizer": parts_of(by_name(self.optimizer.state_dict(), self._groups())),
            }
            write_state(Path(output_dir), self._parts_name, state)
        if self.args.should_save:
            write_state(Path(output_dir), "scheduler", self.lr_scheduler.state_dict())

    @property
    def _parts_name(self) -> str:
        return f"{PARTS}_{self.args.process_index}_of_{self.args.world_size}"

    # One process, or DDP

    def _check_shares(self, checkpoint: Path) -> None:
        spread = any(any(checkpoint.glob(f"{kind}*")) for kind in (PARTS, GLOBAL_STEP))
        if spread and not self._engine_saves and not (checkpoint / CRITIC).is_file():
            raise CheckpointError(
                f"{checkpoint} was saved under FSDP or DeepSpeed; set fsdp or deepspeed as in the interrupted run."
            )
        super()._check_shares(checkpoint)

    @property
    def _saved_model(self) -> nn.Module:
        model: nn.Module = self.actor_critic.policy
        return model

    def _load_best_model(self) -> None:
        """Load policy and critic of the best checkpoint.

        Engines, which have formats of their own, are refused before.
        """
        self._load_from_checkpoint(str(self.state.best_model_checkpoint))

    def _load_from_checkpoint(self, resume_from_checkpoint: str, model: nn.Module | None = None) -> None:
        path = Path(resume_from_checkpoint) / CRITIC
        if not path.is_file():
            raise CheckpointError(f"{path} is missing; the checkpoint is not one of stage: tl_ppo, use another.")
        saved, own = load_file(path), dict(self.actor_critic.critic_parameters())
        if saved.keys() != own.keys():
            raise CheckpointError(f"{path} holds another critic; set tl_critic as it was in the interrupted run.")
        with torch.no_grad():
            for name, weight in own.items():
                weight.copy_(saved[name])
        trained = {name for name, _ in self.actor_critic.actor_parameters()}
        super()._load_from_checkpoint(resume_from_checkpoint, self.actor_critic.policy)
        for name, weight in self.actor_critic.policy.named_parameters():  # loading an adapter lets all of it move
            weight.requires_grad_(f"policy.{name}" in trained)
