"""What a checkpoint of PPO holds beside the policy: critic, the batch being learned, and whatever the run adapts."""

from __future__ import annotations

from pathlib import Path
from typing import Any

import torch
from safetensors.torch import load_file, save_file
from torch import nn

from ..checkpoint.plain import read_state, write_state
from ..checkpoint.saving import SafeCheckpoints
from ..errors import CheckpointError
from .critic import ActorCritic
from .ppo_experience import Experience
from .ppo_watch import Watch

CRITIC = "critic.safetensors"
STATE = "ppo_state"


class PpoCheckpoints(SafeCheckpoints):
    """Mixin, before the trainer of PPO; the policy is saved as upstream saves one, and `save_model` saves it alone."""

    actor_critic: ActorCritic
    coefficient: float
    watch: Watch
    experience: Experience | None
    tracked: dict[str, list[float]]
    updates: int

    def _save(self, output_dir: str | None = None, state_dict: dict[str, Any] | None = None) -> None:
        folder, own = Path(output_dir or self.args.output_dir), None
        if state_dict is not None:
            policy = (name for name in state_dict if name.startswith("policy."))
            own = {name.removeprefix("policy."): state_dict[name] for name in policy}
        self.actor_critic.policy.save_pretrained(str(folder), state_dict=own)
        self.processing_class.save_pretrained(str(folder))
        if self._saving and not self._engine_saves:
            critic = self.actor_critic.critic_parameters()
            save_file({name: weight.detach().cpu().contiguous() for name, weight in critic}, folder / CRITIC)

    def _save_rng_state(self, output_dir: str) -> None:
        """Also the state of PPO, which is written and read at the same moments."""
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
