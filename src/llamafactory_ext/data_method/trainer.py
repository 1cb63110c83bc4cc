"""The trainer of one task: upstream's supervised trainer with the rows' loss, restoration and safe checkpoints."""

from __future__ import annotations

from collections.abc import Iterator
from typing import Any

import torch
from torch import Tensor, nn
from transformers import TrainerCallback

from ..checkpoint.saving import SafeCheckpoints
from ..duo.restoration import is_due, restore
from ..tl.start import REPORT
from ..training.devices import widest
from ..training.processes import sum_of_all
from ..training.recompute import recompute_from_lowest_trained
from ..training.token_loss import TokenLoss
from ..upstream.pipeline.api import CustomSeq2SeqTrainer

DEAF = 0.02  # deviation of a gate below which it tells nothing apart


class DataTrainer(SafeCheckpoints, TokenLoss, CustomSeq2SeqTrainer):
    """Trains one task of a sequence (DATA, arXiv:2502.11482): next-token loss and the loss of the gates' rows.

    Args:
        ortho_weight: of the rows' loss, once per optimiser step.
        recompute: under gradient checkpointing, recompute without reentry.
        weighted: whether the data has weights of single tokens (stage tl_sft).
    """

    carried = (REPORT,)

    def __init__(self, *, ortho_weight: float, recompute: bool = True, weighted: bool = False, **kwargs: Any) -> None:
        super().__init__(**kwargs)
        self.weighted, self.ortho_weight = weighted, ortho_weight
        self.adapted: Any = self.accelerator.unwrap_model(self.model)
        if recompute:
            recompute_from_lowest_trained(self.adapted)
        self._set_up_loss(self.adapted, whole=True)
        self._micro_batches, self._steps = 1, 0
        self._sums: dict[str, Tensor] = {}
        self._gates: dict[int, Tensor] = {}
        self.last_gates: dict[int, dict[str, list[float]]] = {}

    def get_batch_samples(self, epoch_iterator: Iterator, num_batches: int, device: torch.device) -> tuple[list, Any]:
        """Return the micro-batches of a step, which share the rows' loss."""
        batches, items = super().get_batch_samples(epoch_iterator, num_batches, device)
        self._micro_batches = max(1, len(batches))
        self._steps += 1
        return batches, items

    def compute_loss(
        self, model: nn.Module, inputs: dict[str, Any], return_outputs: bool = False, **kwargs: Any
    ) -> Any:
        """Return the language-model loss, and in training the rows' share of a step beside it."""
        mask = inputs.get("attention_mask")
        loss, outputs = super().compute_loss(model, inputs, True, **kwargs)
        if model.training:
            ortho = self.adapted.base_model.ortho_loss().to(loss.device) / self._micro_batches
            self._count("loss_lm", loss.detach() / self.args.world_size)
            self._count("loss_ortho", ortho.detach() / self.args.world_size)
            self._watch(mask)
            if self.ortho_weight:
                loss = loss + self.ortho_weight * ortho
        return (loss, outputs) if return_outputs else loss

    def _count(self, name: str, value: Tensor) -> None:
        value = value.to(widest(value.device))
        self._sums[name] = self._sums[name] + value if name in self._sums else value

    def _watch(self, mask: Tensor | None) -> None:
        """Add up each group's gates over the tokens that are not padding: number, sums, squares."""
        for number, gate_2BL in self.adapted.base_model.open_gates().items():
            gate_2T = gate_2BL.to(widest(gate_2BL.device)).flatten(1)
            if mask is not None and mask.dim() == 2 and mask.numel() == gate_2T.shape[1]:
                gate_2T = gate_2T[:, mask.flatten() != 0]
            count = gate_2T.new_full((2,), gate_2T.shape[1])
            part = torch.stack([count, gate_2T.sum(1), gate_2T.square().sum(1)])
            self._gates[number] = self._gates[number] + part if number in self._gates else part

    def log(self, logs: dict[str, float], start_time: float | None = None) -> None:
        """Log both losses and the gates beside what upstream logs."""
        if "loss" in logs and self._sums:
            names = list(self._sums)
            values = sum_of_all(torch.stack([self._sums[name] for name in names])).tolist()
            logs = {**logs, **{n: value / max(1, self._steps) for n, value in zip(names, values, strict=True)}}
            logs |= self._take_gates()
            self._sums, self._steps = {}, 0
        super().log(logs, start_time)

    def _take_gates(self) -> dict[str, float]:
        if not self._gates:
            return {}
        numbers = sorted(self._gates)
        parts = sum_of_all(torch.stack([self._gates[number] for number in numbers]))
        self._gates = {}
        count, total, squares = parts.unbind(1)
        mean = total / count.clamp_min(1)
        deviation = (squares / count.clamp_min(1) - mean.square()).clamp_min(0).sqrt()
        self.last_gates = {
            number: {"mean": mean[i].tolist(), "sd": deviation[i].tolist()} for i, number in enumerate(numbers)
        }
        low, high = mean.mean(0).tolist()
        return {"gate_low": low, "gate_high": high, "gate_sd": float(deviation.mean())}


class Restoration(TrainerCallback):
    """Return weights to what they were when the task began, at the end of each window.

    Attributes:
        restored: how many weights were.
    """

    def __init__(self, model: Any, *, ratio: float, probability: float, seed: int, task: int) -> None:
        self.model, self.ratio, self.probability, self.seed, self.task = model, ratio, probability, seed, task
        self.start = {name: weight.detach().cpu().clone() for name, weight in self._weights().items()}
        self.restored = 0

    def _weights(self) -> dict[str, Tensor]:
        return {
            f"{name}.{part}": weight
            for name, linear in self.model.base_model.linears().items()
            for part, weight in zip("AB", linear.weights("default"), strict=True)
        }

    def on_step_end(self, args: Any, state: Any, control: Any, **kwargs: Any) -> None:
        """Restore after the optimiser's step, the same weights on every process."""
        if is_due(state.global_step, state.max_steps, self.ratio):
            seed = self.seed, self.task, state.global_step
            self.restored += restore(self._weights(), self.start, self.probability, seed)
