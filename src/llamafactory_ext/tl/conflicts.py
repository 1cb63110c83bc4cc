"""What cannot go together with `stage: tl_sft` and `stage: tl_ppo`; each is one sentence with the next step.

Single options have their rows in `options/fates/`; here stands what depends on several, or on the stages' own.
"""

import socket
from typing import Any
from urllib.parse import urlsplit

from ..errors import ExtError
from ..options.user_functions import load_function
from ..training.engine_conflicts import is_set
from .environments.loading import OPTION, arguments_of
from .ppo.engine_conflicts import ppo_engine_conflicts
from .ppo.settings import GAE

OF_MAE = ("tl_feedback_rules", "tl_feedback_function")
OF_PKT = ("tl_w_max", "tl_key_variant")
OF_EPISODES = (
    *("tl_environment_args", "tl_environment_timeout", "tl_fault_reward"),
    *("tl_max_turns", "tl_episode_tokens", "tl_observation_tokens"),
)
OF_ONE_TURN = ("tl_reward_variant", "tl_reward_function", "tl_turns")
OF_CRITIC = (*("tl_critic", "tl_critic_lr", "tl_value_clip", "tl_value_coef", "tl_gamma", "tl_lambda", "tl_whiten"),)


def stage_conflicts(args: Any) -> list[str]:
    """Return conflicts within the fine-tuning options, before upstream has looked at them."""
    problems = _without_effect(args, "tl_use_mae", OF_MAE) + _without_effect(args, "tl_use_pkt", OF_PKT)
    if args.tl_feedback_function and args.tl_feedback_rules != type(args).tl_feedback_rules:
        problems.append("tl_feedback_rules has no effect with tl_feedback_function, which judges alone; remove either")
    return problems


def ppo_conflicts(model_args: Any, training_args: Any, finetuning_args: Any) -> list[str]:
    """Return the conflicts between the option groups of a training command of the second stage."""
    problems = function_conflicts(model_args, training_args, finetuning_args) + group_conflicts(finetuning_args)
    problems += ppo_engine_conflicts(model_args, training_args) + episode_conflicts(training_args, finetuning_args)
    return problems + source_conflicts(training_args, finetuning_args)


def group_conflicts(args: Any) -> list[str]:
    """Return the conflicts of `tl_advantage`, and of where the KL counts."""
    problems = []
    if args.tl_kl_in == "loss" and args.tl_kl_estimator == "k1":
        problems.append(
            "tl_kl_in: loss with tl_kl_estimator: k1 has a gradient of zero on average; set tl_kl_estimator: k3 or k2"
        )
    if args.tl_kl_target > 0 and args.tl_kl_coef == 0:
        problems.append("tl_kl_target adapts tl_kl_coef by factors, which leave 0 as it is; set tl_kl_coef above 0")
    if args.tl_advantage == GAE:
        return problems + _idle(args, "tl_advantage: gae", ("tl_group_scale",))
    if args.tl_group_size < 2:
        problems.append(
            f"tl_advantage: {args.tl_advantage} compares responses to the same prompt and needs tl_group_size of at "
            "least 2; set it, for example to 8"
        )
    if args.tl_advantage == "group" and args.tl_kl_in == "reward" and args.tl_kl_coef > 0:
        problems.append(
            "tl_advantage: group compares rewards, and a KL in them would be scaled up where they are equal; set "
            "tl_kl_in: loss with tl_kl_estimator: k3, or tl_kl_coef: 0"
        )
    if args.tl_temperature == 0:
        problems.append(
            f"tl_advantage: {args.tl_advantage} with tl_temperature: 0 compares equal responses; raise tl_temperature"
        )
    unused = OF_CRITIC if args.tl_advantage == "group" else (*OF_CRITIC, "tl_group_scale")
    return problems + _idle(args, f"tl_advantage: {args.tl_advantage}", unused)


def episode_conflicts(training_args: Any, args: Any) -> list[str]:
    """Return the conflicts of `tl_environment`, and of what belongs to it."""
    if not args.tl_environment:
        return _idle(args, "tl_environment unset", OF_EPISODES)
    problems = _idle(args, "tl_environment, which gives the rewards", OF_ONE_TURN)
    try:
        arguments_of(args.tl_environment_args)
    except ExtError as error:
        problems.append(error.message.rstrip("."))
    if training_args.deepspeed and training_args.hf_deepspeed_config.is_zero3():
        problems.append(
            "tl_environment does not work with DeepSpeed ZeRO-3, whose processes must draw equally many turns; use "
            "ZeRO-2, FSDP or DDP"
        )
    return problems


def source_conflicts(training_args: Any, finetuning_args: Any) -> list[str]:
    """Return conflicts of `tl_rollout`, the source of responses."""
    if finetuning_args.tl_rollout == "hf":
        return []
    problems = []
    if not finetuning_args.tl_rollout_url:
        problems.append("tl_rollout: vllm needs tl_rollout_url, the server's address, as http://host:8000/v1")
    elif training_args.do_train and (fault := server_fault(finetuning_args.tl_rollout_url)):
        problems.append(
            f"tl_rollout_url={finetuning_args.tl_rollout_url}: {fault}; start the server, or correct the address"
        )
    if finetuning_args.finetuning_type != "lora":
        problems.append(
            "tl_rollout: vllm needs finetuning_type: lora, since a running server takes new weights only as a LoRA "
            "adapter; set that, or tl_rollout: hf"
        )
    zero3 = training_args.deepspeed and training_args.hf_deepspeed_config.is_zero3()
    fsdp = not training_args.deepspeed and (training_args.fsdp or is_set("ACCELERATE_USE_FSDP"))
    if zero3 or fsdp:
        problems.append(
            "tl_rollout: vllm needs the whole adapter on the process that sends it, which FSDP and ZeRO-3 spread over "
            "all; set tl_rollout: hf, or train with DDP or ZeRO-2"
        )
    return problems


def server_fault(url: str) -> str | None:
    """Say why nobody listens at an address, in words; None if somebody does."""
    try:
        parts = urlsplit(url)
        port = parts.port or {"http": 80, "https": 443}.get(parts.scheme)
        if not parts.hostname or port is None:
            return "it is no address such as http://host:8000/v1"
        socket.create_connection((parts.hostname, port), timeout=10).close()
    except ValueError as error:
        return f"it is no address such as http://host:8000/v1 ({error})"
    except OSError as error:
        return f"nobody answers there ({error.strerror or error})"
    return None


def function_conflicts(model_args: Any, training_args: Any, finetuning_args: Any) -> list[str]:
    """Return a sentence for each option that names a function which cannot be had."""
    problems = []
    for name in ("tl_reward_function", "tl_feedback_function", OPTION):
        if getattr(finetuning_args, name, None):
            try:
                load_function(name, getattr(finetuning_args, name))
            except ExtError as error:
                problems.append(error.message.rstrip("."))
    return problems


def _without_effect(args: Any, switch: str, names: tuple[str, ...]) -> list[str]:
    return [] if getattr(args, switch) else _idle(args, f"{switch}: false", names)


def _idle(args: Any, beside: str, names: tuple[str, ...]) -> list[str]:
    defaults = type(args)
    return [
        f"{name} has no effect with {beside}; remove it"
        for name in names
        if getattr(args, name) != getattr(defaults, name)
    ]
