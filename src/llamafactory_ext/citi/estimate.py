"""What a CITI run takes: a trial's options, what each phase trains, the tokens of its examples."""

from __future__ import annotations

from pathlib import Path
from typing import Any

from torch import nn

from ..training.scale import GPU_ROOM, Work
from ..training.stopwatch import laps
from .importance import linear_components
from .phases import phase_table
from .scoring import group_by_task, sample_rows
from .selection import selected_counts

_SCORED = "importance_tokens"  # noted as the data is read
_SHARE_OF_ROOM = 0.8  # that weights of float32 may take
SAMPLES, REPORTED = 8, 4  # of a trial: examples per task for importance, and for the report


def trial(small: Any, asked: Any) -> None:
    """Make the options of a trial small, and note what the whole run looks at.

    Args:
        small: a copy of the fine-tuning options, changed in place.
        asked: those of the run.
    """
    small.citi_importance_samples = min(SAMPLES, small.citi_importance_samples)
    small.citi_report_samples = min(REPORTED, small.citi_report_samples)
    small.citi_importance_save = None
    laps.asked |= {"importance": asked.citi_importance_samples, "report": asked.citi_report_samples}


def works(model: nn.Module, groups: tuple[Any, ...], tokens: float, micro: int) -> list[Work]:
    """Return the phases; which components are chosen is not known yet, so each counts as the mean one.

    Args:
        model: the base.
        groups: upstream's groups of the options.
        tokens: of one pass over the data.
        micro: tokens of a micro-batch on one GPU.
    """
    args, recomputes = groups[3], not groups[0].disable_gradient_checkpointing
    linears = linear_components(model)
    uco = any(phase.name == "uco" for phase in phase_table(args))
    top, bottom = selected_counts(len(linears), args.citi_top_ratio, args.citi_bottom_ratio if uco else 0.0)
    weights = sum(module.weight.numel() for module in linears.values()) / len(linears)
    ends = [(module.in_features, module.out_features) for module in linears.values()]
    routers = top * (args.citi_num_experts + 1) * sum(into for into, _ in ends) / len(ends)
    rank = args.citi_rank * (args.citi_num_experts if args.citi_adapter == "molora" else 1)
    experts = top * rank * sum(into + out for into, out in ends) / len(ends)
    routers = routers if args.citi_adapter == "molora" else 0.0
    tuned, replaced = bottom * weights, top * weights
    added = round(routers + experts + tuned)
    whole = sum(module.weight.numel() for module in linears.values())
    found = []
    if scored := laps.planned.pop(_SCORED, 0):
        everything = sum(weight.numel() for weight in model.parameters())
        fits = 4 * everything <= _SHARE_OF_ROOM * GPU_ROOM
        wide = args.citi_importance_dtype == "float32" or (args.citi_importance_dtype == "auto" and fits)
        found.append(Work("importance", 0, 0, scored, 1.0, micro, recomputes, "scores", wide=wide))
    for phase in phase_table(args):
        parts = {"router": routers, "experts": experts, "lora": experts}
        parts["backbone"] = tuned if phase.name == "uco" else replaced
        moved = sum(parts[group] for group in phase.trains)
        found.append(
            Work(
                phase.name,
                round(moved),
                added,
                tokens,
                phase.epochs,
                micro,
                recomputes,
                "routers" if phase.name == "rp" else "train",
                share=moved / whole if "backbone" in phase.trains else 0.0,
            )
        )
    return found


def lengths(model_args: Any, data_args: Any, training_args: Any, finetuning_args: Any) -> list[int]:
    """Return the tokens of every training example, and say what becomes of the records."""
    from .run.inputs import Preparation

    inputs = Preparation(model_args, data_args, training_args, finetuning_args)
    inputs.check_data()
    inputs.report_data(Path(training_args.output_dir))
    if not finetuning_args.citi_importance_load:
        examples, samples = inputs.examples["train_dataset"], finetuning_args.citi_importance_samples
        groups = group_by_task(examples).values()
        rows = [row for _, rows in groups for row in sample_rows(rows, samples, training_args.seed)]
        laps.planned[_SCORED] = sum(map(len, examples.select(rows)["input_ids"]))
    return [len(ids) for ids in inputs.data["train_dataset"]["input_ids"]]
