"""What cannot go together with `finetuning_type: data`; each problem is one sentence with the next step.

Single options have their rows in `options/fates/`; here stands what depends on several, or on DATA's own.
"""

from __future__ import annotations

from pathlib import Path
from typing import Any

from ..checkpoint.folders import SEAL
from ..errors import ExtError
from .adapter import CONFIG, check_sequence


def finetuning_conflicts(args: Any) -> list[str]:
    """Return conflicts within the fine-tuning options, before upstream has looked at them."""
    problems = []
    if args.stage not in ("sft", "tl_sft"):
        problems.append(f"stage: {args.stage} does not work with finetuning_type: data; set stage: sft")
    if args.data_rows == "task" and not args.data_task:
        problems.append("data_rows: task needs the task whose rows are used; set data_task")
    return problems


def training_conflicts(model_args: Any, training_args: Any, finetuning_args: Any) -> list[str]:
    """Return conflicts between the option groups of a training command."""
    if not training_args.do_train:
        return []
    problems = []
    if not finetuning_args.data_task:
        problems.append("data_task is missing; name the task that this run learns")
    if finetuning_args.data_rows == "task":
        problems.append("data_rows: task is for answering; remove it, training uses all rows")
    if finetuning_args.data_restore_ratio == 0 and finetuning_args.data_restore_probability != 1e-5:
        problems.append("data_restore_probability has no effect with data_restore_ratio=0; remove it, or raise that")
    paths = model_args.adapter_name_or_path or []
    if len(paths) > 1:
        problems.append(f"adapter_name_or_path names {len(paths)} adapters; give the one of the task before")
    elif paths and finetuning_args.data_task:
        problems += _sequence_problems(Path(paths[0]), finetuning_args)
    return problems + _output_problems(training_args)


def inference_conflicts(model_args: Any) -> list[str]:
    """Return conflicts between the option groups of `chat`, `api`, `export` and evaluation commands."""
    engine = getattr(model_args.infer_backend, "value", model_args.infer_backend)
    if engine == "huggingface":
        return []
    return [f"infer_backend: {engine} cannot load DATA adapters; use infer_backend: huggingface"]


def _sequence_problems(path: Path, finetuning_args: Any) -> list[str]:
    try:
        check_sequence(path, finetuning_args)
    except ExtError as error:
        return [error.message.rstrip(".")]
    return []


def _output_problems(training_args: Any) -> list[str]:
    folder = Path(training_args.output_dir)
    if training_args.overwrite_output_dir or not folder.is_dir():
        return []
    if (folder / SEAL).is_file() or ((folder / CONFIG).is_file() and not any(folder.glob("checkpoint-*"))):
        return [f"output_dir={folder} holds a finished run; choose another folder, or set overwrite_output_dir: true"]
    return []
