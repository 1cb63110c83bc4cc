"""Conditions between options: each takes the command and returns a sentence per problem, with the next step.

What does not hold is found by what would fail later: the optimiser, the schedule and the trackers are looked up here
as transformers will look them up.
"""

from __future__ import annotations

import os
from collections.abc import Mapping
from itertools import chain
from pathlib import Path
from typing import Any

from ...paths import is_folder
from .row import Command, column_of

_TIMES = ("runtime", "samples_per_second", "steps_per_second", "model_preparation_time")
_OWN_STEPS = ("lomo", "adalomo")
_LOW_RANK = ("galore", "apollo")
_MANY_STEPS = 1000
_IN_CHECKPOINTS = ("trainer_state.json", "complete.json")


def is_set(variable: str) -> bool:
    """Return whether a variable of the environment is switched on, as upstream reads it."""
    return os.environ.get(variable, "").lower() in ("1", "true", "y", "yes", "on")


def _evaluates(command: Command) -> bool:
    return command.eval_dataset is not None or command.val_size > 1e-6


def _while_training(command: Command) -> bool:
    return str(getattr(command.eval_strategy, "value", command.eval_strategy)) != "no"


# Model


def oft_problems(command: Command) -> list[str]:
    """Find two sizes of OFT's blocks, or none."""
    if command.finetuning_type != "oft" or bool(command.oft_rank) != bool(command.oft_block_size):
        return []
    return [
        f"oft_rank={command.oft_rank} and oft_block_size={command.oft_block_size}: OFT takes one of them; set the "
        "other to 0"
    ]


def rope_problems(command: Command) -> list[str]:
    """Find positions beyond the model's own; transformers takes the length that upstream writes as whole alone."""
    from transformers import AutoConfig

    if command.rope_scaling is None:
        return []
    try:
        config = AutoConfig.from_pretrained(
            command.model_name_or_path, trust_remote_code=command.trust_remote_code, cache_dir=command.cache_dir
        )
    except (OSError, ValueError):
        return []  # said elsewhere
    longest = getattr(config, "max_position_embeddings", None)
    if not isinstance(longest, int) or command.cutoff_len <= longest:
        return []
    try:
        config.max_position_embeddings = float(longest)
    except Exception:  # of huggingface_hub's own kind, which is not always there
        return [
            f"rope_scaling cannot lengthen this model with these versions of LLaMA-Factory and transformers; set "
            f"cutoff_len to at most {longest}, or write the scaling into the model's config.json"
        ]
    return []


# Data


def mixing_problems(command: Command) -> list[str]:
    """Find shares of data sets that are no shares."""
    shares = command.interleave_probs or []
    if not shares or (min(shares) >= 0 and abs(sum(shares) - 1) < 1e-6):
        return []
    return [f"interleave_probs={','.join(f'{share:g}' for share in shares)}: give shares from 0 up that sum to 1"]


def streaming_problems(command: Command) -> list[str]:
    """Find a stream, which has no length, without a number of steps."""
    if not command.streaming or not command.allows("streaming") or not command.do_train or command.max_steps > 0:
        return []
    return ["streaming needs max_steps: the length of a stream is not known; set it"]


# Learning


def scheduler_problems(command: Command) -> list[str]:
    """Find a schedule that lacks a setting, or one that follows an evaluation which does not fit."""
    from torch import nn, optim
    from transformers import get_scheduler

    if not isinstance(command.lr_scheduler_kwargs or {}, Mapping):
        return [
            f'lr_scheduler_kwargs={command.lr_scheduler_kwargs!r}: give names with values, such as {{"num_cycles": 2}}'
        ]
    name = str(getattr(command.lr_scheduler_type, "value", command.lr_scheduler_type))
    if name in ("reduce_lr_on_plateau", "greedy"):
        if column_of(command.method).measures:
            return [f"lr_scheduler_type: {name} follows an evaluation loss, and {command.shown} has none; set another"]
        return _metric_problems(command, f"lr_scheduler_type: {name}")
    settings = command.lr_scheduler_kwargs or {}
    if name == "warmup_stable_decay":  # upstream fills these in
        settings = {"num_stable_steps": 1, "num_decay_steps": 1} | settings
    try:
        get_scheduler(
            name,
            optim.SGD([nn.Parameter()], lr=1.0),
            num_warmup_steps=0,
            num_training_steps=_MANY_STEPS,
            scheduler_specific_kwargs=dict(settings),
        )
    except (ValueError, TypeError, KeyError) as error:
        return [f"lr_scheduler_type: {name} does not work with these lr_scheduler_kwargs ({_line(error)}); mend them"]
    return []


def optimiser_problems(command: Command) -> list[str]:
    """Find an optimiser whose package is missing, or whose steps do not fit the method."""
    from torch import nn
    from transformers import Trainer

    name = str(getattr(command.optim, "value", command.optim))
    kind = name.partition("_")[0]
    if "layerwise" in name:
        return [f"optim: {name} keeps an optimiser per weight, which no checkpoint holds; set another optim"]
    if kind in (*_OWN_STEPS, *_LOW_RANK) and column_of(command.method).groups_weights:
        return [
            f"optim: {name} does not work with {command.shown}, which groups the weights itself; set another optim"
        ]
    try:
        Trainer.get_optimizer_cls_and_kwargs(command.group_of("optim"), nn.Sequential(nn.Linear(1, 1)))
    except ImportError as error:
        return [
            f"optim: {name} needs a package that is not installed ({_line(error)}); install it, or set another optim"
        ]
    except (ValueError, TypeError, KeyError, AttributeError) as error:
        if kind in _LOW_RANK and command.optim_target_modules:
            return []  # judged on the model's own layers
        return [f"optim: {name} does not work with these options ({_line(error)}); mend optim or optim_args"]
    return []


def recomputation_problems(command: Command) -> list[str]:
    """Find two options that say the opposite of each other."""
    if not command.gradient_checkpointing or not command.disable_gradient_checkpointing:
        return []
    return ["gradient_checkpointing and disable_gradient_checkpointing contradict each other; remove one"]


# Evaluation and checkpoints


def evaluation_problems(command: Command) -> list[str]:
    """Find an evaluation without data."""
    asked = [name for name in ("do_eval", "eval_on_start") if getattr(command, name, False)]
    asked = ["eval_strategy"] if _while_training(command) else asked
    if not asked or _evaluates(command):
        return []
    return [f"{asked[0]} needs data to evaluate on; set eval_dataset or val_size, or remove it"]


def early_stopping_problems(command: Command) -> list[str]:
    """Find a patience without an evaluation or a measure."""
    if command.early_stopping_steps is None:
        return []
    return _metric_problems(command, "early_stopping_steps")


def best_model_problems(command: Command) -> list[str]:
    """Find a best checkpoint without an evaluation, or by a measure that the evaluation does not give."""
    saving = str(getattr(command.save_strategy, "value", command.save_strategy))
    if saving == "best":
        return _metric_problems(command, "save_strategy: best")
    if command.load_best_model_at_end:
        return _metric_problems(command, "load_best_model_at_end")
    if given_metric(command) and command.do_train:
        return _metric_problems(command, "metric_for_best_model")
    return []


def measures(command: Command) -> list[str]:
    """Return the names that an evaluation of this command gives, without their `eval_`."""
    column = column_of(command.method)
    if column.measures:
        more = [names for option, names in column.measured_with.items() if getattr(command, option)]
        return [*column.measures, *chain.from_iterable(more)]
    own = ["loss", *(["accuracy"] if command.compute_accuracy else []), *_TIMES]
    if not command.eval_on_each_dataset or command.eval_dataset is None:
        return own
    return [f"{dataset}_{name}" for dataset in command.eval_dataset for name in own]


def _metric_problems(command: Command, option: str) -> list[str]:
    if not _while_training(command):
        return [f"{option} needs evaluations while it trains; set eval_strategy and eval_steps"]
    found, name = measures(command), command.metric_for_best_model
    column = column_of(command.method)
    if name is None and column.measures:
        return []  # the workflow takes its first
    if name is None:
        return [f"{option} needs a measure; set metric_for_best_model: eval_{found[0]}"]
    short = str(name).removeprefix("eval_")
    own = bool(column.measured_parts) and short.startswith(column.measured_parts)
    if own or (column.measures and name == "loss" and not given_metric(command)):
        return []
    if short in found:
        return []
    shown = ", ".join(f"eval_{measure}" for measure in found)
    return [f"metric_for_best_model={name} is no measure of this evaluation; take one of {shown}"]


def given_metric(command: Command) -> bool:
    """Return whether the command itself names a measure; transformers puts in "loss" where one is needed."""
    return command.given.get("metric_for_best_model") is not None


def resume_problems(command: Command) -> list[str]:
    """Find a checkpoint that does not exist, or an order not to go on beside a run that would."""
    given = command.given.get("resume_from_checkpoint")
    word = str(given).lower()
    folder = Path(command.output_dir)
    if word == "false":
        if command.overwrite_output_dir or not _begun(folder):
            return []
        return [
            f"resume_from_checkpoint: false, and output_dir={folder} holds a run that would go on; choose another "
            "folder, or set overwrite_output_dir: true"
        ]
    if word in ("true", "none", "null", ""):
        return []
    if column_of(command.method).resumes_alone:
        return [
            f"resume_from_checkpoint={given}: {command.method} resumes by itself; remove the option and repeat the "
            "command with the output_dir of the interrupted run"
        ]
    if not is_folder(Path(str(given))):
        return [f"resume_from_checkpoint={given} does not exist; correct the path, or remove it to take the newest"]
    if not any((Path(str(given)) / name).is_file() for name in _IN_CHECKPOINTS):
        return [
            f"resume_from_checkpoint={given} is no checkpoint; name a folder checkpoint-<step>, or remove it to take "
            "the newest"
        ]
    return []


def resume_remarks(given: Mapping[str, Any], output_dir: str) -> list[str]:
    """Return a line where a command asks to go on and there is nothing to go on from."""
    if str(given.get("resume_from_checkpoint")).lower() != "true" or _begun(Path(output_dir)):
        return []
    return [f"resume_from_checkpoint: true, and output_dir={output_dir} holds no checkpoint; the run starts anew."]


def _begun(folder: Path) -> bool:
    return any(folder.glob("checkpoint-*")) or any(folder.glob("phase-*"))


# Reports, hubs and engines


def tracker_problems(command: Command) -> list[str]:
    """Find trackers that do not exist, or whose package is missing."""
    from transformers.integrations import integration_utils

    asked = command.report_to or []
    names = [asked] if isinstance(asked, str) else [str(name) for name in asked]
    known = integration_utils.INTEGRATION_TO_CALLBACK
    present = integration_utils.get_available_reporting_integrations()
    problems = []
    for name in names:
        if name in ("none", "all"):
            continue
        if name not in known:
            problems.append(f"report_to: {name} does not exist; take one of {', '.join(known)}, or none")
        elif name not in present and not _always_there(integration_utils, name):
            extra = ", or pip install -e '.[trackers]' in the clone" if name in ("wandb", "swanlab") else ""
            problems.append(f"report_to: {name} needs its package; pip install {name}{extra}; or remove it")
    return problems


def _always_there(integrations: Any, name: str) -> bool:
    """Tell whether a tracker that is not among the available ones has what it needs, by its own check."""
    check = getattr(integrations, f"is_{name}_available", None)
    return bool(check()) if check is not None else True


def hub_problems(command: Command) -> list[str]:
    """Find an upload to a hub that cannot be reached."""
    from huggingface_hub import HfApi, constants

    if not command.push_to_hub or not command.allows("push_to_hub"):
        return []
    advice = "remove it, and upload output_dir later with `hf upload`"
    if constants.HF_HUB_OFFLINE:
        return [f"push_to_hub needs the hub, and HF_HUB_OFFLINE is set; unset it, or {advice}"]
    try:
        HfApi().whoami(token=command.hub_token)
    except Exception as error:  # whatever the hub's client meets on its way
        return [
            f"push_to_hub cannot reach the hub with this token ({_line(error)}); log in with `hf auth login`, or "
            f"{advice}"
        ]
    return []


def _line(error: BaseException) -> str:
    text = " ".join(str(error).split())
    return text[:200] or type(error).__name__
