"""Compares, at the start of a run, what is trained with what a server will make of the tokenizer's chat template."""

from __future__ import annotations

import logging
import random
from collections.abc import Iterable, Iterator, Mapping, Sequence
from contextlib import contextmanager
from copy import copy
from dataclasses import dataclass
from itertools import islice
from typing import Any

import datasets
import numpy
from llamafactory.data.loader import _get_merged_dataset

from ...templates.openai import openai_messages, openai_tools
from ...templates.served import PromptFinding, compare_prompts
from .requests import request_records

_EXAMPLES = 3  # compared
_LOOKED_AT = 64  # rows of each data set
_ADVICE = "llamafactory-cli export writes a chat template that renders what was trained, where the template allows it"


@dataclass(frozen=True)
class Served:
    """What the comparison found.

    Attributes:
        compared: how many examples with tools.
        findings: one for each that is served otherwise.
        problem: why nothing was compared, if something went wrong.
    """

    compared: int = 0
    findings: tuple[PromptFinding, ...] = ()
    problem: str = ""

    def lines(self) -> list[str]:
        """Return what to say about it: nothing where all is well."""
        if self.problem:
            return [f"The prompts of training and serving were not compared: {self.problem}."]
        if not self.findings:
            return []
        first = self.findings[0]
        return [
            f"Served prompts: in {len(self.findings)} of {self.compared} examples with tools, {first.text}. {_ADVICE}."
        ]

    def to_dict(self) -> dict[str, Any]:
        """Return the entry of a run's report."""
        found = [finding.to_dict() for finding in self.findings]
        return {"compared": self.compared, "findings": found, **({"problem": self.problem} if self.problem else {})}


def served_as_trained(
    template: Any, tokenizer: Any, examples: Iterable[Mapping[str, Any]], *, drops_thoughts: bool, one_turn: bool
) -> Served:
    """Compare the first examples with tools.

    Args:
        template: of the run, with its day.
        tokenizer: as it will be saved.
        examples: as upstream aligns them: `_prompt`, `_response`, `_system`, `_tools`.
        drops_thoughts: whether training leaves out the thoughts of earlier replies (`mask_history`).
        one_turn: whether a prompt is encoded for its last reply alone, as PPO does.
    """
    compared, findings = 0, []
    for example in islice((example for example in examples if _has_tools(example)), _EXAMPLES):
        messages = [*example["_prompt"], *example["_response"][:1]]
        system, tools = example.get("_system") or "", example["_tools"]
        trained = _prompt(template, tokenizer, messages, system, tools, one_turn, drops_thoughts)
        if trained is None:
            continue
        compared += 1
        finding = compare_prompts(trained, openai_messages(messages[:-1], system), openai_tools(tools), tokenizer)
        findings += [finding] if finding is not None else []
    return Served(compared, tuple(findings))


def check_served(
    template: Any, tokenizer: Any, model_args: Any, data_args: Any, training_args: Any, *, one_turn: bool = False
) -> Served:
    """Compare what a run trains, from the first rows of its data sets; never raises.

    Args:
        template: of the run, with its day.
        tokenizer: as it will be saved.
        model_args: upstream's group of the options.
        data_args: likewise.
        training_args: likewise.
        one_turn: as `served_as_trained` takes it.
    """
    drops = bool(data_args.mask_history) and not template.preserve_thinking
    try:
        with _aside():
            examples = _first_rows(model_args, data_args, training_args)
            return served_as_trained(template, tokenizer, examples, drops_thoughts=drops, one_turn=one_turn)
    except Exception as error:  # nothing about serving may end a training
        return Served(problem=f"{type(error).__name__}: {error}".splitlines()[0][:160])


def _has_tools(example: Mapping[str, Any]) -> bool:
    messages = example["_prompt"]
    return bool(example.get("_tools")) and bool(messages) and bool(example["_response"])


def _prompt(
    template: Any,
    tokenizer: Any,
    messages: Sequence[Mapping[str, str]],
    system: str,
    tools: str,
    one_turn: bool,
    drops_thoughts: bool,
) -> list[int] | None:
    """Return the tokens before the last reply.

    None where the template cannot write them, which the run says itself.
    """
    copies = [dict(message) for message in messages]
    more = {"discarding_history_cot": True} if drops_thoughts else {}
    try:
        if one_turn:
            return list(template.encode_oneturn(tokenizer, copies, system, tools)[0])
        pairs = template.encode_multiturn(tokenizer, copies, system, tools, **more)
    except Exception:  # formatters raise whatever the data makes them stumble on
        return None
    parts = [part for pair in pairs for part in pair]
    return [token for part in parts[:-1] for token in part]


def _first_rows(model_args: Any, data_args: Any, training_args: Any) -> Iterator[Mapping[str, Any]]:
    few = request_records(data_args)  # a copy, whose records are read as the run reads them
    # A stream has no length, and upstream's max_samples asks for one.
    few.max_samples = None if data_args.streaming else min(data_args.max_samples or _LOOKED_AT, _LOOKED_AT)
    few.preprocessing_num_workers = None
    few.mix_strategy = "concat"
    if data_args.streaming:  # upstream cuts a stream into as many shards as there are workers, also into none
        training_args = copy(training_args)
        training_args.dataloader_num_workers = 1
    for name in data_args.dataset or []:
        yield from islice(_get_merged_dataset([name], model_args, few, training_args, "sft"), _LOOKED_AT)


@contextmanager
def _aside() -> Iterator[None]:
    """Read data a second time: nothing is said, and no random number of the run is drawn."""
    logger, shown = logging.getLogger("llamafactory"), datasets.is_progress_bar_enabled()
    level, states = logger.level, (random.getstate(), numpy.random.get_state())
    logger.setLevel(logging.ERROR)
    datasets.disable_progress_bars()
    try:
        yield
    finally:
        random.setstate(states[0])
        numpy.random.set_state(states[1])
        logger.setLevel(level)
        if shown:
            datasets.enable_progress_bars()
