"""The trainer of one phase: upstream's supervised trainer with the router loss and safe checkpoints.

What it does: adds beta * L_r to the language-model loss so that gradient accumulation and several processes give what
one batch on one process gives; logs both losses and the gates. What it does not do: choose what moves (`phases.py`),
run the phases one after the other (`workflow.py`), or save (`checkpoint/saving.py`).
"""

from __future__ import annotations

import inspect
from collections.abc import Iterator
from typing import Any

import torch
from torch import Tensor, nn

from ...checkpoint.saving import SafeCheckpoints
from ...data.marks import MARKS_COLUMN, TokenMarks
from ...training.devices import widest
from ...training.engines import adapter_weights, gather_trained, prepare_for_deepspeed, spare_adapters
from ...training.parameters import parameter_group, trainable_names
from ...training.processes import sum_of_all
from ...training.recompute import recompute_from_lowest_trained
from ...training.token_loss import TokenLoss
from ...training.token_weights import WEIGHTS_COLUMN
from ...upstream.pipeline.api import CustomSeq2SeqTrainer
from ..phases import Phase, set_trainable
from ..router_backward import RouterLoss, Totals

NOT_FOR_MODEL = ("labels", WEIGHTS_COLUMN)  # in a forward pass without a loss


class CitiTrainer(SafeCheckpoints, TokenLoss, CustomSeq2SeqTrainer):
    """Trains one phase of CITI on a PEFT model with MOLoRA (arXiv:2409.13202, section 3.3).

    Args:
        phase: what moves; applied again after a checkpoint is loaded, which lets everything move.
        router: the router loss, with the model's routers in it; None trains without.
        exact_step: statistics of the router loss over the whole optimiser step (all micro-batches and processes) where
            its scope needs them; costs one more forward pass per micro-batch under gradient accumulation. False: over
            each micro-batch of all processes.
        recompute: under gradient checkpointing, choose the layers to recompute by what the phase trains.
        weighted: whether the data has weights of single tokens (stage tl_sft).
    """

    def __init__(
        self,
        *,
        phase: Phase,
        router: RouterLoss | None,
        exact_step: bool,
        recompute: bool = True,
        weighted: bool = False,
        **kwargs: Any,
    ) -> None:
        super().__init__(**kwargs)
        self.weighted = weighted
        self.phase, self.router, self.exact_step = phase, router, exact_step
        model = self.accelerator.unwrap_model(self.model)
        self._gates = 0 if router is None else 1 + model.peft_config["default"].num_experts
        forward = inspect.signature(model.get_base_model().forward).parameters
        if recompute:
            recompute_from_lowest_trained(model)
        whole = not self._engine_saves  # weights are all here, in plain tensors
        self._adapter = {} if whole or not self.args.should_save else adapter_weights(model)
        self._set_up_loss(model, whole=whole)
        spare_adapters(self.accelerator, model)
        if self.is_deepspeed_enabled:
            prepare_for_deepspeed(model, self._half)
        self._routers_alone = whole and router is not None and self._only_routers_learn(model)
        self._few_logits = {"logits_to_keep": 1} if "logits_to_keep" in forward else {}
        self._step_totals: Totals | None = None
        self._step_tokens: Tensor | None = None
        self._micro_batches, self._seen = 1, 0
        self._steps = 0
        self._running: dict[str, Tensor] = {}
        self._phase_name_reporters()

    # Loss

    def get_batch_samples(self, epoch_iterator: Iterator, num_batches: int, device: torch.device) -> tuple[list, Any]:
        batches, items = super().get_batch_samples(epoch_iterator, num_batches, device)
        self._micro_batches, self._seen, self._step_totals, self._step_tokens = len(batches), 0, None, None
        self._steps += 1
        if self.router is not None and len(batches) > 1 and not self._routers_alone:
            if self.router.scope == "token":
                tokens = sum((batch[MARKS_COLUMN] > 0).sum() for batch in batches)
                self._step_tokens = sum_of_all(torch.as_tensor(tokens, dtype=widest(device), device=device))
            elif self.exact_step:
                self._step_totals = self._all_processes(self._sum_over(batches))
        return batches, items

    def _sum_over(self, batches: list[dict[str, Any]]) -> Totals:
        """Return the router loss's sums over all micro-batches of the step, by forward passes that keep nothing."""
        assert self.router is not None
        totals = None
        self.model_wrapped.train()
        for batch in batches:
            inputs = self._prepare_inputs(dict(batch))
            self._begin(inputs.pop(MARKS_COLUMN))
            for name in NOT_FOR_MODEL:
                inputs.pop(name, None)
            with self.router.forward_only(stop=not self._engine_saves), self.compute_loss_context_manager():
                self.model_wrapped(**inputs, **self._few_logits)
            part = self.router.totals()
            totals = part if totals is None else totals + part
        self.router.end()
        assert totals is not None
        return totals

    def compute_loss(
        self, model: nn.Module, inputs: dict[str, Any], return_outputs: bool = False, **kwargs: Any
    ) -> Any:
        """Return the language-model loss, and in training beta times the router loss."""
        marks = inputs.pop(MARKS_COLUMN, None)
        train = model.training and marks is not None
        if train and self.router is not None:
            self._begin(marks)
        loss, outputs = super().compute_loss(model, inputs, True, **kwargs)
        if not train:
            return (loss, outputs) if return_outputs else loss
        self._track("loss_lm", loss.detach() / self.args.world_size, mean=False)
        if self.router is not None:
            loss = self._attach(loss)
        return (loss, outputs) if return_outputs else loss

    # Routers alone

    @staticmethod
    def _only_routers_learn(model: Any) -> bool:
        """Tell whether the phase trains routers whose experts are all still zero, as Router Pre-training does."""
        names = trainable_names(model)
        experts = [layer.weights("default")[2] for layer in model.base_model.molora_layers().values()]
        return all(parameter_group(name) == "router" for name in names) and not any(B.any() for B in experts)

    def training_step(self, model: nn.Module, inputs: dict[str, Any], *args: Any, **kwargs: Any) -> Tensor:
        """Learn from one micro-batch.

        While only routers learn, a forward pass up to the last one: their gradients are local.
        """
        if not self._routers_alone:
            return super().training_step(model, inputs, *args, **kwargs)
        assert self.router is not None
        model.train()
        inputs = self._prepare_inputs(dict(inputs))
        self._begin(inputs.pop(MARKS_COLUMN))
        for name in NOT_FOR_MODEL:
            inputs.pop(name, None)
        with self.router.forward_only(learn=True), self.compute_loss_context_manager():
            model(**inputs, **self._few_logits)
        self._seen += 1
        return self._learn_routers(model, self.router)

    def _learn_routers(self, model: nn.Module, router: RouterLoss) -> Tensor:
        """Put the routers' gradients in place once the window of the loss has been seen; beta * L_r then, else 0."""
        totals, share = router.totals(), 1.0
        if self.exact_step or router.scope == "token":
            self._step_totals = totals if self._step_totals is None else self._step_totals + totals
            totals = self._step_totals
        else:
            share = 1 / self._micro_batches
        complete = share < 1 or self._seen == self._micro_batches
        self._track_gates(router)
        if not complete:
            return torch.zeros((), device=totals.sums_L2.device)
        totals = self._all_processes(totals)
        value = router.value(totals, self._gates).sum() * share
        self._track("loss_router", value, mean=False)
        moves = sum_of_all(router.own_gradients(totals, gates=self._gates, weight=share))
        if self.accelerator.scaler is not None:
            moves = moves * self.accelerator.scaler.get_scale()
        layers = self.accelerator.unwrap_model(model).base_model.molora_layers()
        weights = [layer.weights("default")[0] for layer in layers.values()]
        for weight, move in zip(weights, moves.split([weight.numel() for weight in weights]), strict=True):
            own = move.view_as(weight).to(weight.dtype)
            weight.grad = own if weight.grad is None else weight.grad + own
        return (value * router.beta).float()

    def _begin(self, codes_BT: Tensor) -> None:
        assert self.router is not None
        marks = TokenMarks.from_codes(codes_BT)
        self.router.begin(marks.is_tool, marks.mask, marks.sample)

    def _attach(self, lm_loss: Tensor) -> Tensor:
        """Attach the router loss as this micro-batch's part of the step; gradients are averaged later."""
        assert self.router is not None
        share = weight = 1 / self._micro_batches
        if self._step_totals is not None:
            totals, weight = self._step_totals, 1.0
        else:
            totals = self._all_processes(self.router.totals())
            if self._step_tokens is not None:  # scope token: sums over tokens, divided by all tokens of the step
                totals, share, weight = Totals(totals.sums_L2, self._step_tokens), 1.0, 1.0
        self._track("loss_router", self.router.value(totals, self._gates).sum() * share, mean=False)
        self._track_gates(self.router)
        return self.router.attach(
            lm_loss, totals, gates=self._gates, share=share, weight=weight, replicas=self.args.world_size
        )

    def _all_processes(self, totals: Totals) -> Totals:
        flat = sum_of_all(torch.cat([totals.sums_L2.flatten(), totals.rows[None]]))
        return Totals(flat[:-1].view_as(totals.sums_L2), flat[-1])

    # Checkpoints

    def _load_from_checkpoint(self, resume_from_checkpoint: str, model: nn.Module | None = None) -> None:
        super()._load_from_checkpoint(resume_from_checkpoint, model)
        set_trainable(self.model, self.phase)

    def _load_best_model(self) -> None:
        super()._load_best_model()
        set_trainable(self.model, self.phase)

    def save_model(self, output_dir: str | None = None, _internal_call: bool = False) -> None:
        """Save the adapter, whole and in float32 whatever the engine makes of it while it trains."""
        if not self._engine_saves:
            super().save_model(output_dir, _internal_call)
            return
        trained = gather_trained(self.accelerator.unwrap_model(self.model), keep=self.args.should_save)
        if self.args.should_save:
            self._save(output_dir, state_dict=self._adapter | trained)

    # Reports

    def log(self, logs: dict[str, float], start_time: float | None = None) -> None:
        """Add both losses and the gates of each class to what upstream logs."""
        if "loss" in logs:
            logs = {**logs, **self._take_tracked()}
        super().log(logs, start_time)

    def _track_gates(self, router: RouterLoss) -> None:
        gates_L2E, tokens_2 = router.class_gates()
        wide = widest(gates_L2E.device)
        for i, name in enumerate(("general", "tool")):
            self._track(
                f"gate0_{name}", torch.stack([gates_L2E[:, i, 0].to(wide).mean(), tokens_2[i].to(wide)]), mean=True
            )

    def _track(self, name: str, value: Tensor, *, mean: bool) -> None:
        """Sum up `value`; a mean is tracked as (sum, count)."""
        value = value.detach().to(widest(value.device))
        value = value if mean else torch.stack([value, torch.zeros_like(value)])
        self._running[name] = self._running[name] + value if name in self._running else value

    def _take_tracked(self) -> dict[str, float]:
        names, steps = list(self._running), max(1, self._steps)
        if not names:
            return {}
        values = sum_of_all(torch.stack([self._running[name] for name in names]))
        self._running, self._steps = {}, 0
        found = {}
        for name, (total, count) in zip(names, values.tolist(), strict=True):
            if name.startswith("gate0_"):
                if count:
                    found[name] = total / count
            else:
                found[name] = total / steps / (self.args.world_size if name == "loss_router" else 1)
        return found

    def _phase_name_reporters(self) -> None:
        """Let reporters (TensorBoard, W&B, SwanLab, ...) see `mi/loss`: step numbers start anew in every phase."""
        report = self.callback_handler.on_log

        def on_log(args: Any, state: Any, control: Any, logs: dict[str, float]) -> Any:
            return report(args, state, control, {self._reported_name(name): value for name, value in logs.items()})

        self.callback_handler.on_log = on_log  # type: ignore[method-assign]

    def _reported_name(self, name: str) -> str:
        head, evaluation, rest = name.partition("eval_")
        return f"eval_{self.phase.name}/{rest}" if evaluation and not head else f"{self.phase.name}/{name}"
