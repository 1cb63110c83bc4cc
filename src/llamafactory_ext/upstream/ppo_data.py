"""Dialogues for PPO as LLaMA-Factory reads and aligns them, and their encoding by its templates."""

from __future__ import annotations

from collections.abc import Mapping, Sequence
from typing import Any

from llamafactory.data.data_utils import split_dataset
from llamafactory.data.loader import _get_merged_dataset


def load_dialogues(model_args: Any, data_args: Any, training_args: Any) -> tuple[Any, Any]:
    """Training and evaluation examples with `_prompt`, `_response`, `_system`, `_tools`; None where there are none."""
    groups = (model_args, data_args, training_args)
    with training_args.main_process_first(desc="load dataset", local=not data_args.data_shared_file_system):
        dataset = _get_merged_dataset(data_args.dataset, *groups, "ppo")
        held_out = _get_merged_dataset(data_args.eval_dataset, *groups, "ppo")
        train, evaluation = split_dataset(dataset, held_out, data_args, seed=training_args.seed)
    return train.get("train"), evaluation.get("validation")


def encode_turn(
    template: Any, tokenizer: Any, messages: Sequence[Mapping[str, str]], system: str, tools: str
) -> tuple[list[int], str]:
    """The prompt's tokens, and the last message as the model should write it, without what ends it."""
    prompt, response = template.encode_oneturn(tokenizer, [dict(message) for message in messages], system, tools)
    ends = set(template.get_stop_token_ids(tokenizer))
    while response and response[-1] in ends:
        response = response[:-1]
    return prompt, str(tokenizer.decode(response, skip_special_tokens=False)).strip()
