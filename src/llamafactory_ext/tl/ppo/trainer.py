"""The trainer of `stage: tl_ppo`: rollouts, rewards and PPO's updates inside transformers' training loop.

What it does: before the first of its updates, a batch of queries is answered, scored and turned into advantages; the
loop's steps are the updates that learn from it. Logging, schedules and wrapping are transformers', saving is
`checkpoints.py`'s, passes over responses without learning are `logprobs.py`'s. What it does not do: read data or
choose rewards.
"""

from __future__ import annotations

import math
import time
from collections.abc import Callable, Mapping, Sequence
from dataclasses import replace
from pathlib import Path
from typing import Any

import torch
from torch import Tensor, nn
from transformers import Trainer, set_seed

from ...errors import DataError, OptionError
from ...training.processes import sum_named, sum_of_all
from ..advantages import equal_groups
from ..environments.asking import KINDS
from .acting import Acting, PpoActs, check_measure
from .answers import Answers, Drawer, own_share
from .batches import QueryLoader, batches_of_epoch, micro_batches
from .checkpoints import PpoCheckpoints
from .critic import ActorCritic
from .engines import prepare_for_engine
from .episode_log import FILE, EpisodeLog, fault_lines
from .experience import Experience
from .logprobs import PpoLooks
from .math import adapted_coefficient, engine_ratio, kl_estimate, loss_weights, policy_loss, value_loss
from .reference import Reference
from .rewards import Query, RewardFunction
from .rollout.episodes import Episode
from .rollout.local import Sampling
from .settings import PpoSettings, check_batch
from .watch import AFTER_NAN, Watch
from .worth import advantages_of

OF_UPDATES = ("policy_loss", "value_loss", "clipped", "value_clipped", "kl_update", "kl_loss")
WATCHED = ("reward", "reward_spread", "kl", "value", "response_tokens", "empty")


class PpoTrainer(PpoActs, PpoLooks, PpoCheckpoints, Trainer):
    """Trains an `ActorCritic` by PPO on queries (TL-Training, arXiv:2412.15495, section 3.3).

    Args:
        model: policy and critic.
        queries: the training prompts with their answers.
        held_out: prompts for evaluation, answered greedily.
        reward: scores a response.
        reference: what the KL is measured from; None where it is not measured.
        settings: PPO's numbers.
        sampling: how responses are drawn.
        server: another source of responses than the model in training.
        acting: the environment that answers the policy, turn by turn; None where one response is all.
        say: tells the user.
        shuffles: whether each epoch has an order of its own; False keeps that of the data.
    """

    optimizer: Any
    control: Any

    def __init__(
        self,
        *,
        model: ActorCritic,
        queries: Sequence[Query],
        held_out: Sequence[Query] | None,
        reward: RewardFunction,
        reference: Reference | None,
        settings: PpoSettings,
        sampling: Sampling,
        server: Drawer | None,
        acting: Acting | None = None,
        say: Callable[[str], None],
        shuffles: bool = True,
        **kwargs: Any,
    ) -> None:
        super().__init__(model=model, train_dataset=queries, eval_dataset=held_out, **kwargs)
        self.actor_critic, self.queries, self.reward, self.reference = model, queries, reward, reference
        self.settings, self.sampling, self.server, self.say = settings, sampling, server, say
        self.acting, self.episode_log = acting, EpisodeLog(Path(self.args.output_dir) / FILE)
        self.shuffles = shuffles
        if self._engine_saves:
            prepare_for_engine(model, self.accelerator.state, self.args)
        self.model_accepts_loss_kwargs = True  # no division by transformers: the loss is a mean over the whole step
        self.compute_loss_func = self.compute_loss
        self.args.logging_nan_inf_filter = False  # it would log an average in the place of what is no number
        self.coefficient, self.watch = settings.kl_coef, Watch(settings.kl_limit)
        self.experience: Experience | None = None
        self.tracked: dict[str, list[float]] = {}
        self._parts: list[Tensor] = []
        self._micro, self._tokens, self._responses = 0, torch.zeros(()), torch.zeros(())
        self._rows = check_batch(len(queries), self.args, settings) if queries else 0  # evaluation alone has none
        self.updates = settings.epochs * settings.minibatches
        set_seed(self.args.seed + self.args.process_index)  # processes draw different responses

    # Data and optimizer

    def get_train_dataloader(self) -> QueryLoader:
        """Return a loader of queries' indices: each batch once per micro-batch that learns from it."""
        args, count, group = self.args, len(self.queries), self.settings.group
        first = args.seed if args.data_seed is None else args.data_seed

        def batches(epoch: int) -> list[list[int]]:
            seed = first + epoch if self.shuffles else None
            asked = batches_of_epoch(count, self._rows // group, args.process_index, args.world_size, seed)
            return [[place for place in batch for _ in range(group)] for batch in asked]

        return QueryLoader(count, batches, self.updates * args.gradient_accumulation_steps)

    def create_optimizer(self, model: nn.Module | None = None) -> torch.optim.Optimizer:
        """Return the one that `optim` names, with a learning rate of its own for the critic."""
        if self.optimizer is None:
            decayed = set(self.get_decay_parameter_names(self.actor_critic))
            parts = (
                (self.actor_critic.actor_parameters(), self.args.learning_rate),
                (self.actor_critic.critic_parameters(), self.settings.critic_lr or self.args.learning_rate),
            )
            groups: list[dict[str, Any]] = [
                {
                    "params": [weight for name, weight in named if (name in decayed) == decays],
                    "lr": lr,
                    "weight_decay": self.args.weight_decay if decays else 0.0,
                }
                for named, lr in parts
                for decays in (True, False)
            ]
            kind, options = self.get_optimizer_cls_and_kwargs(self.args, self.actor_critic)
            self.optimizer = kind([group for group in groups if group["params"]], **options)
        return self.optimizer

    # Responses and what they are worth

    def _gather_experience(self, places: Sequence[int]) -> Experience:
        """Answer queries, score the answers, and work out advantages; all of this process's part."""
        settings, device, began = self.settings, self.args.device, time.monotonic()
        queries = [self.queries[place] for place in places]
        answers = self.answers(queries, self.sampling, valued=self._draws_exactly())
        seconds, responses = time.monotonic() - began, answers.responses
        batch = Experience.of(
            [query.ids for query in queries],
            [response.ids for response in responses],
            self.sampling.pad_id,
            [response.drawn for response in responses],
        ).to(device)
        mask_NR = batch.mask_NR
        logp_NR, values_NR = self._policy_and_critic(batch, responses)
        reference_NR = self._reference_logp(batch, logp_NR)
        kl_NR = kl_estimate(logp_NR, reference_NR, settings.kl_estimator) * mask_NR
        scores_N = torch.tensor([reward.total for reward in answers.rewards], dtype=torch.float32, device=device)
        if settings.reward_clip is not None:
            scores_N = scores_N.clamp(-settings.reward_clip, settings.reward_clip)
        coefficient = self._report(answers, scores_N, kl_NR, values_NR, mask_NR, seconds)
        ended_N = torch.tensor([float(response.ended) for response in responses], device=device)
        advantages_NR, returns_NR = advantages_of(
            scores_N, kl_NR, values_NR, mask_NR, ended_N, coefficient, settings, sum_of_all
        )
        if (engine_NR := self._engine_logp(batch, responses)) is not None:
            advantages_NR = advantages_NR * self._engine_weights(logp_NR, engine_NR, mask_NR)
        return replace(
            batch,
            logp_NR=logp_NR,
            values_NR=values_NR,
            advantages_NR=advantages_NR,
            returns_NR=returns_NR,
            reference_NR=reference_NR if settings.kl_in == "loss" else batch.reference_NR,
            orders_KN=torch.stack([torch.randperm(len(batch)) for _ in range(settings.epochs)]).to(device),
        )

    def _reference_logp(self, batch: Experience, logp_NR: Tensor) -> Tensor:
        """Return log-probabilities under the reference (N, R); the policy's own where none is measured."""
        if self.reference is None:
            return logp_NR
        with self.reference.in_place():
            (reference_NR,) = self._look_at(batch, values=False)
        return reference_NR

    def _engine_weights(self, logp_NR: Tensor, engine_NR: Tensor, mask_NR: Tensor) -> Tensor:
        """Weigh tokens that another engine drew, and log how far its log-probabilities are from the policy's."""
        assert self.settings.correction is not None
        gap_NR = (logp_NR - engine_NR).abs() * mask_NR
        weights_NR = engine_ratio(logp_NR, engine_NR, self.settings.correction)
        at_most_NR = (weights_NR >= self.settings.correction) * mask_NR
        gap, capped, tokens = sum_of_all(torch.stack([gap_NR.sum(), at_most_NR.sum(), mask_NR.sum()])).tolist()
        for name, value in {"engine_gap": gap / tokens, "engine_capped": capped / tokens}.items():
            self.tracked.setdefault(name, []).append(value)
        return weights_NR

    # Updates

    def get_batch_samples(self, epoch_iterator: Any, num_batches: int, device: torch.device) -> tuple[list, Any]:
        self._micro = 0
        return super().get_batch_samples(epoch_iterator, num_batches, device)

    def training_step(self, model: nn.Module, inputs: Any, num_items_in_batch: Any = None) -> Tensor:
        """Learn from one micro-batch of one update; the first update of a batch of responses draws them."""
        if self._micro == 0:
            update = self.state.global_step % self.updates
            if update == 0:
                self.experience = None  # frees its memory before the next one
                self.experience = self._gather_experience(inputs)
            self._begin_update(update)
        return super().training_step(model, {"places": torch.tensor(inputs)}, num_items_in_batch)

    def _begin_update(self, update: int) -> None:
        """Sort the update's responses into micro-batches, and count their tokens over all processes."""
        assert self.experience is not None
        epoch, part = divmod(update, self.settings.minibatches)
        parts = self.args.gradient_accumulation_steps
        order_N, lengths_N = self.experience.orders_KN[epoch], self.experience.lengths()
        self._parts = micro_batches(order_N, lengths_N, self.settings.minibatches, parts)[part]
        mask_UR = self.experience.mask_NR[torch.cat(self._parts)]
        self._tokens, self._responses = sum_of_all(torch.stack([mask_UR.sum(), mask_UR[:, 0].sum()])).unbind()

    def compute_loss(self, model: nn.Module, inputs: Any, **_: Any) -> Any:
        """Return PPO's loss of one micro-batch: its part of the mean over all tokens of the update."""
        assert self.experience is not None
        settings, batch = self.settings, self.experience.rows(self._parts[self._micro])
        self._micro += 1
        logp_BR, *values = model(*batch.inputs(), values=settings.has_critic)
        mask_BR = batch.mask_NR
        weight_BR = loss_weights(mask_BR, settings.mean, settings.longest)
        # The policy's mean may be over responses, all else is over tokens.
        share = 1.0 if settings.mean == "token" else self._tokens / self._responses
        policy, clipped = policy_loss(
            *(logp_BR, batch.logp_NR, batch.advantages_NR, mask_BR, settings.clip),
            high=settings.clip_high,
            sequence=settings.ratio == "sequence",
            weight_BR=weight_BR,
        )
        found = {"policy_loss": policy * share, "clipped": clipped}
        found["kl_update"] = ((batch.logp_NR - logp_BR.detach()) * mask_BR).sum()
        summed = found["policy_loss"]
        if settings.kl_in == "loss" and self.reference is not None:
            kl_BR = kl_estimate(logp_BR, batch.reference_NR, settings.kl_estimator)
            found["kl_loss"] = self.coefficient * (kl_BR * weight_BR).sum() * share
            summed = summed + found["kl_loss"]
        if settings.has_critic:
            found["value_loss"], found["value_clipped"] = value_loss(
                values[0], batch.values_NR, batch.returns_NR, mask_BR, settings.value_clip
            )
            summed = summed + settings.value_coef * found["value_loss"]
        sums = torch.stack([part.detach() for part in found.values()]) / self._tokens
        for name, part in zip(found, sums.tolist(), strict=True):
            seen = self.tracked.setdefault(name, [])
            if self._micro == 1:
                seen.append(0.0)
            seen[-1] += part
        # Gradients are averaged over processes; the mean is over the tokens of all of them.
        loss = summed * (self.args.world_size / self._tokens)
        if not bool(torch.isfinite(loss)):
            raise OptionError(f"Step {self.state.global_step + 1}: the loss is {loss.item()}. {AFTER_NAN}")
        return loss

    # Evaluation and reports

    def evaluate(
        self, eval_dataset: Any = None, ignore_keys: Any = None, metric_key_prefix: str = "eval"
    ) -> dict[str, float]:
        """Answer the held-out queries greedily; return mean reward, its standard error, category shares."""
        queries = self.eval_dataset if eval_dataset is None else eval_dataset
        asked, counting = own_share(queries, self.args.process_index, self.args.world_size)
        sampling = replace(self.sampling, temperature=0.0)
        means = self.answers(asked, sampling).first(counting).means()
        count = means.pop("count")
        means["reward_se"] = means.pop("reward_spread") / math.sqrt(max(count - 1, 1))
        metrics = {f"{metric_key_prefix}_{name}": value for name, value in means.items()}
        if self.acting is not None and self.args.metric_for_best_model not in (None, "loss"):
            check_measure(self.args.metric_for_best_model, metrics)
        self.log(metrics)
        self.control = self.callback_handler.on_evaluate(self.args, self.state, self.control, metrics)
        return metrics

    def _report(
        self,
        answers: Answers,
        scores_N: Tensor,
        kl_NR: Tensor,
        values_NR: Tensor,
        mask_NR: Tensor,
        seconds: float,
    ) -> float:
        """Tell the log and the watch about a batch; the KL coefficient for it, which then adapts."""
        means, step = answers.means(), self.state.global_step + 1
        count = means.pop("count")
        sums = {"kl": kl_NR.sum().item(), "value": (values_NR.sum(1) / mask_NR.sum(1)).sum().item()}
        if not self.settings.has_critic:
            sums["equal_groups"] = equal_groups(scores_N, self.settings.group).item() * len(scores_N)
        means |= {name: value / count for name, value in sum_named(sums).items()}
        for line in self.watch.see(step, {name: means[name] for name in WATCHED}, round(count)):
            self.say(line)
        if not all(math.isfinite(means[name]) for name in WATCHED):
            raise OptionError(f"Step {step}: rewards, KL or values are no numbers any more. {AFTER_NAN}")
        unknown = {"value": self.settings.has_critic, "kl": self.reference is not None}
        for name, value in {**means, "kl_coef": self.coefficient, "rollout_seconds": seconds}.items():
            if unknown.get(name, True):
                self.tracked.setdefault(name, []).append(value)
        for line in answers.shown(self.settings.show):
            self.say(line)
        if answers.episodes:
            self._report_episodes(answers.episodes, means, step)
        used, target = self.coefficient, self.settings.kl_target
        if target is not None:
            self.coefficient = adapted_coefficient(used, means["kl"], target, round(count), self.settings.kl_horizon)
        return used

    def _report_episodes(self, episodes: Sequence[Episode], means: Mapping[str, float], step: int) -> None:
        """Tell what went wrong in environments, and keep the best and the worst transcript.

        Raises:
            DataError: the environment failed in every episode, and this is not to be passed over.
        """
        assert self.acting is not None
        failed = sum(means[f"fault_{kind}"] for kind in KINDS)
        for line in fault_lines(episodes, step):
            self.say(line)
        if failed >= 1 and not self.acting.limits.skip_bad:
            raise DataError(
                f"Step {step}: the environment failed in every episode, so there is nothing to learn from. Correct "
                "tl_environment or start its server, or set tl_skip_bad: true to go on whatever happens."
            )
        if self.args.process_index == 0:
            self.episode_log.keep(step, episodes)

    def log(self, logs: dict[str, float], start_time: float | None = None) -> None:
        """Add the means over the batches and updates since the last time."""
        if "loss" in logs:
            means = {name: sum(seen) / len(seen) for name, seen in sorted(self.tracked.items())}
            # Those of updates are sums over this process's tokens; the others are already of all processes.
            means |= sum_named({name: means[name] for name in OF_UPDATES if name in means})
            logs, self.tracked = {**logs, **means}, {}
        super().log(logs, start_time)
