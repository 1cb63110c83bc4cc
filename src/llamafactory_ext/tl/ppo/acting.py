"""How the trainer of PPO gets its responses: drawn from the policy or by a server, alone or in episodes.

What it does: opens the policy for drawing, whatever engine wraps it, and runs episodes where there is an environment.
What it does not do: learn.
"""

from __future__ import annotations

from collections.abc import Callable, Iterator, Mapping, Sequence
from contextlib import contextmanager, nullcontext
from dataclasses import dataclass
from functools import partial
from typing import Any, cast

import torch
from transformers.integrations.deepspeed import is_deepspeed_zero3_enabled

from ...errors import OptionError
from ...training.processes import sum_of_all
from ...upstream.pipeline.continuing import Continuing
from ..environments.loading import environment_of
from .answers import Answers, Drawer
from .critic import ActorCritic
from .engines import ThroughRoot, whole_policy
from .rewards import Query, RewardFunction
from .rollout.episodes import Continue, Draw, Limits, run_episodes
from .rollout.local import Response, Sampling, draw_responses


@dataclass(frozen=True)
class Acting:
    """What episodes take.

    Attributes:
        factory: returns a new environment.
        limits: of each episode.
        between: writes observations as the template does.
    """

    factory: Callable[[], Any]
    limits: Limits
    between: Continue


def acting_of(args: Any, template: Any, tokenizer: Any) -> Acting | None:
    """Return what episodes take, from the options; None without an environment."""
    if args.tl_environment is None:
        return None
    limits = Limits(
        turns=args.tl_max_turns,
        tokens=args.tl_episode_tokens,
        observation=args.tl_observation_tokens,
        seconds=args.tl_environment_timeout,
        fault_reward=args.tl_fault_reward,
        skip_bad=args.tl_skip_bad,
    )
    return Acting(environment_of(args), limits, Continuing(template, tokenizer))


def check_measure(name: str | None, metrics: Mapping[str, float]) -> None:
    """Make sure that an evaluation has the measure by which checkpoints are chosen.

    Raises:
        OptionError: it has not; an environment need not state what it checks.
    """
    wanted = f"eval_{(name or 'reward').removeprefix('eval_')}"
    if wanted not in metrics and any(key.startswith("eval_") for key in metrics):
        shown = ", ".join(sorted(metrics))
        raise OptionError(f"metric_for_best_model={name} was not measured; take one of {shown}.")


class PpoActs:
    """Mixin, before the trainer of PPO."""

    accelerator: Any
    actor_critic: ActorCritic
    acting: Acting | None
    args: Any
    model_wrapped: Any
    processing_class: Any
    reward: RewardFunction
    server: Drawer | None
    state: Any
    _engine_saves: bool

    def answer(self, queries: Sequence[Query], sampling: Sampling, *, valued: bool = False) -> list[Response]:
        """Return responses of the policy as it is now, on request with the values of a shared critic."""
        with self._drawing(valued=valued) as draw:
            return draw([query.ids for query in queries], sampling)

    def answers(self, queries: Sequence[Query], sampling: Sampling, *, valued: bool = False) -> Answers:
        """Return responses with what they are worth, or whole episodes."""
        acting = self.acting
        if acting is None:
            responses = self.answer(queries, sampling, valued=valued)
            return Answers.of(queries, responses, self.reward, sampling, self.processing_class)
        decode = partial(self.processing_class.decode, skip_special_tokens=False)
        with self._drawing(valued=valued) as draw:
            return Answers.of_episodes(
                run_episodes(draw, queries, acting.factory, sampling, acting.limits, acting.between, decode)
            )

    @contextmanager
    def _drawing(self, *, valued: bool) -> Iterator[Draw]:
        """Yield what draws responses, as often as is wanted; weights that an engine gathers stay whole within."""
        if self.server is not None:
            server = self.server
            yield lambda prompts, sampling: server(prompts, sampling, self.state.global_step)
            return
        self.model_wrapped.eval()
        model, valuing = self.actor_critic, self.actor_critic.rollout_values() if valued else nullcontext()
        with self.accelerator.autocast(), whole_policy(model), valuing as values:
            yield lambda prompts, sampling: draw_responses(
                cast(Any, ThroughRoot(model)) if self._engine_saves else model.policy,
                prompts,
                sampling,
                self.processing_class.decode,
                device=self.args.device,
                all_closed=self._all_closed if is_deepspeed_zero3_enabled() else None,
                values=values,
            )

    def _all_closed(self, mine: bool) -> bool:
        """Tell whether all processes are done: under ZeRO-3 they gather weights together for each token."""
        return not sum_of_all(torch.tensor(float(not mine), device=self.args.device)).item()
