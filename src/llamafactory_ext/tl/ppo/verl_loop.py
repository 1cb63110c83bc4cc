"""An environment in verl: the agent loop that `agent_loop.yaml` of `tl export-verl` names.

verl makes one loop for each episode and awaits its `run`; the answer is an `AgentLoopOutput`, whose mask leaves
observations out of the loss and whose `reward_score` is the environment's. What it does: plays the episode as
`stage: tl_ppo` does, with verl's server in the place of the rollout. What it does not do: read LLaMA-Factory's
templates, whose marks around tool outputs stand in the YAML.
"""

from __future__ import annotations

import asyncio
import json
from collections.abc import Mapping, Sequence
from concurrent.futures import ThreadPoolExecutor
from dataclasses import replace
from functools import partial
from typing import Any, Final
from uuid import uuid4

from ...errors import DataError, OptionError
from ...options.user_functions import load_function
from ...toolcalls import read_tool
from ...upstream.pipeline.continuing import harmless, marks_of
from ..environments.loading import OPTION, arguments_of
from .rollout.episodes import Episode, Limits, run_episodes
from .rollout.local import Response, Sampling
from .tasks import Task

_AT_ONCE: Final = 512  # episodes of one worker of verl
_THREADS: Final = ThreadPoolExecutor(_AT_ONCE, thread_name_prefix="episode")


class Between:
    """Writes observations between the marks that a template has around them.

    Args:
        tokenizer: of the model.
        before: the text between what ends a turn and an observation.
        after: the text between an observation and the next turn.
        end_ids: tokens that end a turn.
    """

    def __init__(self, tokenizer: Any, before: str, after: str, end_ids: Sequence[int]) -> None:
        self._tokenizer, self._before, self._after = tokenizer, before, after
        self.end_ids, self._marks = frozenset(end_ids), marks_of(tokenizer)

    def ids(self, turn: Sequence[int], observation: str) -> list[int]:
        """Return the tokens between a turn, its end included, and the next one."""
        text = f"{self._before}{harmless(observation, self._marks)}{self._after}"
        return list(self._tokenizer.encode(text, add_special_tokens=False))


class EnvironmentLoop:
    """One episode in verl.

    Args:
        trainer_config: verl's configuration, as `.config`.
        server_manager: verl's server; `generate` draws a turn.
        tokenizer: of the model.
        environment: as `tl_environment`.
        environment_args: as `tl_environment_args`.
        before: see `Between`.
        after: see `Between`.
        end_ids: tokens that end a turn.
        turn_tokens: as `tl_max_new_tokens`.
        limits: of an episode, as `Limits` has them.
    """

    def __init__(
        self,
        *,
        trainer_config: Any,
        server_manager: Any,
        tokenizer: Any,
        environment: str,
        environment_args: str,
        before: str,
        after: str,
        end_ids: Sequence[int],
        turn_tokens: int,
        limits: Mapping[str, Any],
        **_: Any,
    ) -> None:
        rollout = trainer_config.config.actor_rollout_ref.rollout
        self._prompt, self._response = int(rollout.prompt_length), int(rollout.response_length)
        self._server, self._tokenizer = server_manager, tokenizer
        self._factory = partial(load_function(OPTION, environment), **arguments_of(environment_args))
        self._between = Between(tokenizer, before, after, end_ids)
        asked = Limits(**limits)
        self._limits = replace(asked, tokens=min(asked.tokens, self._response))
        self._turn = Sampling(max_tokens=turn_tokens, end_ids=self._between.end_ids, pad_id=0)

    async def run(self, sampling_params: Mapping[str, Any], **kwargs: Any) -> Any:
        """Play the episode of one row, and return verl's `AgentLoopOutput`."""
        from verl.experimental.agent_loop.agent_loop import (  # type: ignore[import-not-found]
            AgentLoopMetrics,
            AgentLoopOutput,
        )

        task = _task_of(kwargs["extra_info"])
        if len(task.ids) > self._prompt:
            raise OptionError(
                f"{task.place}: its prompt has {len(task.ids)} tokens, data.max_prompt_length is {self._prompt}; "
                "raise it."
            )
        loop, request = asyncio.get_running_loop(), uuid4().hex
        seconds = 0.0

        async def drawn(prompt: Sequence[int], most: int) -> Any:
            nonlocal seconds
            began = loop.time()
            # verl's servers take entries out of the mapping.
            params = {**sampling_params, "max_tokens": most}
            given = await self._server.generate(request_id=request, prompt_ids=list(prompt), sampling_params=params)
            seconds += loop.time() - began
            return given

        def draw(prompts: Sequence[Sequence[int]], sampling: Sampling) -> list[Response]:
            turns = [
                asyncio.run_coroutine_threadsafe(drawn(prompt, sampling.max_tokens), loop).result()
                for prompt in prompts
            ]
            return [self._response_of(turn, task.place) for turn in turns]

        play = partial(run_episodes, draw, [task], self._factory, self._turn, self._limits, self._between, self._text)
        (episode,) = await loop.run_in_executor(_THREADS, play)
        response = episode.response
        return AgentLoopOutput(
            prompt_ids=list(task.ids),
            response_ids=list(response.ids)[: self._response],
            response_mask=[int(own) for own in response.drawn or (True,) * len(response.ids)][: self._response],
            response_logprobs=list(response.engine_logp)[: self._response] or None,
            reward_score=episode.reward,
            num_turns=1 + len(episode.transcript),
            metrics=AgentLoopMetrics(generate_sequences=seconds),
            extra_fields={"turn_scores": [], "tool_rewards": [], "reward_extra_info": _facts(episode)},
        )

    def _response_of(self, turn: Any, place: str) -> Response:
        ids = tuple(int(token) for token in turn.token_ids)
        if not ids:
            raise DataError(f"{place}: verl's server drew no token.")
        return Response(ids, ids[-1] in self._between.end_ids, engine_logp=tuple(turn.log_probs or ()))

    def _text(self, ids: Sequence[int]) -> str:
        return str(self._tokenizer.decode(ids, skip_special_tokens=False))


def _task_of(about: Mapping[str, Any]) -> Task:
    """Return the task of one row of the exported data."""
    tools = tuple(read_tool(one, "rotbench") for one in json.loads(about["tools"]))
    ids = tuple(int(token) for token in about["prompt_ids"])
    return Task(ids, "", tools, about["place"], about["call_format"] or None, json.loads(about["record"]))


def _facts(episode: Episode) -> dict[str, float]:
    """Return what verl logs beside the reward; the same names for each episode, as it asks."""
    success = episode.success
    return {
        "success": float("nan") if success is None else float(success),
        "turns": float(episode.turns),
        "failed": float(episode.fault is not None),
    }
