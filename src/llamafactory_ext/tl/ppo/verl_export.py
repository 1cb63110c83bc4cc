"""The queries of a `stage: tl_ppo` YAML in verl's format: parquet files, and one of the reward or the environment.

A row holds `data_source`, `prompt` (chat messages), `ability`, `reward_model` with the right answer, and `extra_info`
with the declared tools; verl is given the files as `data.train_files`, `data.val_files` and
`custom_reward_function.path`. With an environment a row has `agent_name`, too, and `extra_info` the record; the file
is `agent_loop.yaml` (`verl_files.py`). Both need this package without extras in verl's environment.
"""

from __future__ import annotations

import json
from collections.abc import Mapping, Sequence
from dataclasses import dataclass
from functools import partial
from pathlib import Path
from typing import Any

from ...checkpoint.own import claim, claim_plain, own_file, own_text
from ...errors import OptionError
from ...toolcalls import write_tool
from ...upstream.pipeline.api import load_tokenizer
from ...upstream.pipeline.dialogues import chat_messages, encode_turn, load_dialogues, read_training_args
from ...upstream.pipeline.fitting import fit_template
from ...upstream.pipeline.templates import call_format_of
from ..environments.loading import environment_of
from .queries import Faults, make_queries
from .rewards import Query
from .tasks import Task, make_tasks
from .verl_files import AGENT, LOOP_FILE, about, loop_text
from .workflow import reward_of

REWARD_FILE = "tool_call_reward.py"
_REWARD = '''"""TL-Training's reward for tool calls (arXiv:2412.15495, 3.3) as verl's custom_reward_function."""

import json

from llamafactory_ext.errors import DataError
from llamafactory_ext.tl.reward import REWARDS, reward_parts
from llamafactory_ext.toolcalls import read_tool

VARIANT = {variant!r}
CALL_FORMAT = {call_format!r}


def compute_score(data_source, solution_str, ground_truth, extra_info=None, **kwargs):
    """The reward as "score", and which of its categories apply."""
    about = extra_info or {{}}
    tools = [read_tool(one, "rotbench") for one in json.loads(about.get("tools") or "[]")]
    call_format = CALL_FORMAT or about.get("call_format")
    try:
        found = reward_parts(solution_str, ground_truth, tools, VARIANT, call_format=call_format)
    except DataError as error:
        raise ValueError(f"{{data_source}}: {{error.message}}") from None
    return {{"score": found.total, **{{name: float(name in found.parts) for name in REWARDS}}}}
'''


@dataclass(frozen=True)
class Exported:
    """What was written.

    Attributes:
        files: the parquet files, then the reward file or that of the environment.
        rows: by file name.
        left_out: what cannot be used, in words.
        other_prompts: rows that the tokenizer's chat template renders in another way than the YAML's template.
    """

    files: Sequence[Path]
    rows: Mapping[str, int]
    left_out: Sequence[str]
    other_prompts: int


def export_verl(yaml: Path, out: Path) -> Exported:
    """Write `train.parquet`, `test.parquet` if the YAML names evaluation data, and the reward's or environment's file.

    Raises:
        OptionError: the YAML is none of `stage: tl_ppo`, or has a reward of its own.
        DataError: data cannot be used, and the YAML does not say `tl_skip_bad: true`.
    """
    claim_plain(out)
    model_args, data_args, training_args, finetuning_args = read_training_args(yaml)
    if finetuning_args.tl_stage != "tl_ppo":
        raise OptionError(f"{yaml} is not for stage: tl_ppo; name a YAML that is.")
    acts = finetuning_args.tl_environment is not None
    if acts and finetuning_args.tl_mask_cut:
        raise OptionError(f"{yaml} sets tl_mask_cut, which verl has nothing for; remove it.")
    if finetuning_args.tl_reward_function:
        raise OptionError(f"{yaml} names tl_reward_function; give that function to verl, and remove it here.")
    last = LOOP_FILE if acts else REWARD_FILE
    claim([out / name for name in ("train.parquet", "test.parquet", last)], inputs=[yaml])
    tokenizers = load_tokenizer(model_args)
    tokenizer, template = tokenizers["tokenizer"], fit_template(tokenizers, data_args)
    # Before anything is written: not every template can be told to verl.
    loop = loop_text(finetuning_args, template, tokenizer) if acts else ""
    files: list[Path] = []
    rows: dict[str, int] = {}
    left_out: list[str] = []
    others = 0
    dialogues = load_dialogues(model_args, data_args, training_args, whole_records=acts)
    for name, examples in zip(("train", "test"), dialogues, strict=True):
        if examples is None:
            continue
        queries, faults, messages = _queries(examples, template, tokenizer, data_args, finetuning_args)
        path = out / f"{name}.parquet"
        source = ",".join(data_args.dataset if name == "train" else data_args.eval_dataset or data_args.dataset)
        _write(path, [row(query, messages[query.ids], source, name, i) for i, query in enumerate(queries)])
        others += sum(not _same_prompt(tokenizer, messages[query.ids], query) for query in queries)
        rows[path.name] = len(queries)
        files.append(path)
        left_out += [*faults.lines(), *faults.intake.lines(data_args.cutoff_len)]
    if acts:
        own_text(out / LOOP_FILE, loop)
        return Exported([*files, out / LOOP_FILE], rows, left_out, others)
    reward_file = out / REWARD_FILE
    call_format = None if finetuning_args.tl_call_format == "auto" else finetuning_args.tl_call_format
    text = _REWARD.format(variant=finetuning_args.tl_reward_variant, call_format=call_format)
    own_text(reward_file, text)
    return Exported([*files, reward_file], rows, left_out, others)


def row(query: Query, messages: Sequence[Mapping[str, str]], source: str, split: str, index: int) -> dict[str, Any]:
    """Return one row of verl's data."""
    return {
        "data_source": source,
        **({"agent_name": AGENT} if isinstance(query, Task) else {}),
        "prompt": [dict(message) for message in messages],
        "ability": "tool_use",
        "reward_model": {"style": "rule", "ground_truth": query.reference},
        "extra_info": {
            "split": split,
            "index": index,
            "tools": json.dumps([write_tool(tool, "rotbench") for tool in query.tools], ensure_ascii=False),
            "call_format": query.call_format,
            **(about(query) if isinstance(query, Task) else {}),
        },
    }


def _queries(
    examples: Any, template: Any, tokenizer: Any, data_args: Any, finetuning_args: Any
) -> tuple[Sequence[Query], Faults, dict[tuple[int, ...], list[dict[str, str]]]]:
    messages: dict[tuple[int, ...], list[dict[str, str]]] = {}
    encode_plain = partial(encode_turn, template, tokenizer)

    def encode(turns: Sequence[Mapping[str, str]], system: str, tools: str) -> tuple[Sequence[int], str]:
        ids, reference = encode_plain(turns, system, tools)
        messages[tuple(ids)] = chat_messages(template, tokenizer, turns[:-1], system, tools)
        return ids, reference

    shared = {
        "longest": data_args.cutoff_len,
        "skip_bad": finetuning_args.tl_skip_bad,
        "call_format": call_format_of(template),
        "action": finetuning_args.cutoff_action,
    }
    if finetuning_args.tl_environment is not None:
        factory, seconds = environment_of(finetuning_args), finetuning_args.tl_environment_timeout
        return *make_tasks(examples, encode, factory, seconds=seconds, **shared), messages
    last_only = finetuning_args.tl_turns == "last"
    return *make_queries(examples, encode, reward_of(finetuning_args), last_only=last_only, **shared), messages


def _same_prompt(tokenizer: Any, messages: list[dict[str, str]], query: Query) -> bool:
    if not tokenizer.chat_template:
        return False
    text = tokenizer.apply_chat_template(messages, add_generation_prompt=True, tokenize=False)
    return tuple(tokenizer.encode(text, add_special_tokens=False)) == query.ids


def _write(path: Path, rows: list[dict[str, Any]]) -> None:
    import pyarrow  # type: ignore[import-untyped]
    from pyarrow import parquet

    with own_file(path) as staged:
        parquet.write_table(pyarrow.Table.from_pylist(rows), staged)
