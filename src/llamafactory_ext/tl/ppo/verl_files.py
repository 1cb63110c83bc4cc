"""What verl needs of an environment: the file that names its agent loop, and the record in each row."""

from __future__ import annotations

import json
from collections.abc import Mapping, Sequence
from typing import Any, Final

import yaml

from ...errors import OptionError
from ...upstream.pipeline.continuing import Continuing, harmless, marks_of
from ..environments.loading import arguments_of
from .tasks import Task
from .verl_loop import Between, EnvironmentLoop

LOOP_FILE, AGENT = "agent_loop.yaml", "tl_environment"
_PROBES: Final = ("42", "", '{"rows": [1, "ü"]}', " two\n\nlines ", "error: no such tool")
_PLACE: Final = "OBSERVATION"


def loop_text(args: Any, template: Any, tokenizer: Any) -> str:
    """Return the text of the file that `actor_rollout_ref.rollout.agent.agent_loop_config_path` names.

    Args:
        args: the options of `stage: tl_ppo`.
        template: of the YAML.
        tokenizer: of the model.

    Raises:
        OptionError: the template's tool outputs cannot be written by marks around them.
    """
    before, after, end_ids = _marks(template, tokenizer)
    loop = {
        "name": AGENT,
        "_target_": f"{EnvironmentLoop.__module__}.{EnvironmentLoop.__qualname__}",
        "environment": args.tl_environment,
        "environment_args": json.dumps(arguments_of(args.tl_environment_args)),
        "before": before,
        "after": after,
        "end_ids": end_ids,
        "turn_tokens": args.tl_max_new_tokens,
        "limits": {
            "turns": args.tl_max_turns,
            "tokens": args.tl_episode_tokens,
            "observation": args.tl_observation_tokens,
            "seconds": args.tl_environment_timeout,
            "fault_reward": args.tl_fault_reward,
            "skip_bad": args.tl_skip_bad,
        },
    }
    return yaml.safe_dump([loop], sort_keys=False, allow_unicode=True)


def about(task: Task) -> Mapping[str, Any]:
    """Return what a row holds of a task, besides its tools."""
    record = json.dumps(task.record, ensure_ascii=False, default=str)
    return {"record": record, "prompt_ids": list(task.ids), "place": task.place}


def _marks(template: Any, tokenizer: Any) -> tuple[str, str, Sequence[int]]:
    """Return the texts around an observation, and the tokens that end a turn."""
    between = Continuing(template, tokenizer)
    end_ids = sorted(between.end_ids)
    turn = end_ids[:1]
    text = tokenizer.decode(between.ids(turn, _PLACE), skip_special_tokens=False, clean_up_tokenization_spaces=False)
    before, found, after = text.partition(_PLACE)
    told, marks = Between(tokenizer, before, after, end_ids), marks_of(tokenizer)
    probes = (*_PROBES, *(f"a{mark}b" for mark in marks[:8]))
    if not found or any(told.ids(turn, probe) != between.ids(turn, probe) for probe in probes):
        raise OptionError(
            "The template's tool outputs cannot be told to verl: their tokens differ from those of the text around "
            f"them (as for {harmless(probes[0], marks)!a}). Train with llamafactory-cli, or choose another template."
        )
    return before, after, end_ids
