"""Dialogues for PPO as LLaMA-Factory reads and aligns them, and their encoding by its templates."""

from __future__ import annotations

from collections.abc import Mapping, Sequence
from pathlib import Path
from typing import Any

from llamafactory.data.data_utils import split_dataset
from llamafactory.data.loader import _get_merged_dataset
from llamafactory.hparams import get_train_args
from omegaconf import OmegaConf
from omegaconf.errors import OmegaConfBaseException
from yaml import YAMLError

from ...errors import OptionError
from .requests import request_records, request_whole_records


def load_dialogues(
    model_args: Any, data_args: Any, training_args: Any, *, whole_records: bool = False
) -> tuple[Any, Any]:
    """Load training and evaluation examples; None where there are none.

    They have `_prompt`, `_response`, `_system`, `_tools`, and what `records.RecordConverter` puts beside these; on
    request also the record as its file has it.
    """
    data_args = request_records(data_args)
    data_args = request_whole_records(data_args) if whole_records else data_args
    groups = (model_args, data_args, training_args)
    with training_args.main_process_first(desc="load dataset", local=not data_args.data_shared_file_system):
        dataset = _get_merged_dataset(data_args.dataset, *groups, "ppo")
        held_out = _get_merged_dataset(data_args.eval_dataset, *groups, "ppo")
        train, evaluation = split_dataset(dataset, held_out, data_args, seed=training_args.seed)
    return train.get("train"), evaluation.get("validation")


def encode_turn(
    template: Any, tokenizer: Any, messages: Sequence[Mapping[str, str]], system: str, tools: str
) -> tuple[list[int], str]:
    """Return the prompt's tokens, and the last message as the model should write it, without what ends it."""
    prompt, response = template.encode_oneturn(tokenizer, [dict(message) for message in messages], system, tools)
    ends = set(template.get_stop_token_ids(tokenizer))
    while response and response[-1] in ends:
        response = response[:-1]
    return prompt, str(tokenizer.decode(response, skip_special_tokens=False)).strip()


def chat_messages(
    template: Any, tokenizer: Any, messages: Sequence[Mapping[str, str]], system: str, tools: str
) -> list[dict[str, str]]:
    """Return the same prompt as plain chat messages, with tools and calls written out as the template writes them."""
    roles = {"observation": "tool", "function": "assistant"}
    system = system or template.default_system
    declared = template.format_tools.apply(content=tools)[0] if tools else ""
    found = [{"role": "system", "content": system + declared}] if system or declared else []
    for place, message in enumerate(messages):
        text = message["content"]
        if message["role"] == "function":
            text = encode_turn(template, tokenizer, messages[: place + 1], system, tools)[1]
        found.append({"role": roles.get(message["role"], message["role"]), "content": text})
    return found


def read_training_args(yaml: Path) -> tuple[Any, Any, Any, Any]:
    """Return the groups of options that a YAML file gives: model, data, training and fine-tuning.

    Raises:
        OptionError: there is no such file, or its options do not work.
    """
    if not yaml.is_file():
        raise OptionError(f"{yaml} does not exist; name a YAML file for `llamafactory-cli train`.")
    try:
        options: Any = OmegaConf.to_container(OmegaConf.load(yaml))
    except (OSError, ValueError, RecursionError, YAMLError, OmegaConfBaseException) as error:
        first = str(error).partition("\n")[0]
        raise OptionError(f"{yaml} is no YAML file for `llamafactory-cli train` ({first}); name one.") from None
    if not isinstance(options, dict) or not all(isinstance(name, str) for name in options):
        raise OptionError(f"{yaml} holds no options by name; name a YAML file for `llamafactory-cli train`.")
    try:
        model_args, data_args, training_args, finetuning_args, _ = get_train_args(options)
    except (TypeError, ValueError) as error:
        raise OptionError(f"{yaml}: its options do not work ({error}); mend them.") from None
    return model_args, data_args, training_args, finetuning_args
