"""The estimate of a run from the model's configuration alone, for GPUs that are not here (docs/scale.md)."""

from __future__ import annotations

import copy
import tempfile
from typing import Any

import torch
from torch import nn

from ...methods import load, worker
from ...training.estimates import supervised
from ...training.scale import (
    GIB,
    Engine,
    Sizes,
    Work,
    disk_bytes,
    kept_checkpoints,
    memory,
    seconds,
)
from ...training.skeleton import skeleton
from ..pipeline.skeleton import config_of
from .other_gpus import ENGINE


def sizes_of(model: nn.Module, small: bool) -> Sizes:
    """Return a model's numbers, read off its modules on the meta device.

    Args:
        model: on any device.
        small: whether frozen weights have 16 bits.
    """
    config: Any = model.config
    config = config.get_text_config() if hasattr(config, "get_text_config") else config
    heads = config.num_attention_heads
    width = getattr(config, "head_dim", None) or config.hidden_size // heads
    linears = sum(module.weight.numel() for module in model.modules() if isinstance(module, nn.Linear))
    return Sizes(
        weights=sum(weight.numel() for weight in model.parameters()),
        linear=linears,
        layers=config.num_hidden_layers,
        hidden=config.hidden_size,
        inner=getattr(config, "intermediate_size", 4 * config.hidden_size),
        key_value=(getattr(config, "num_key_value_heads", None) or heads) * width,
        vocabulary=config.vocab_size,
        bytes=2 if small else 4,
    )


def works_of(model: nn.Module, groups: tuple[Any, ...], tokens: float, longest: int) -> list[Work]:
    """Return what a run trains, one after the other.

    Args:
        model: the base.
        groups: upstream's groups of the options.
        tokens: of one pass over the data.
        longest: tokens of the longest example.
    """
    _, _, training_args, finetuning_args = groups[:4]
    micro = training_args.per_device_train_batch_size * longest
    row = worker(finetuning_args.finetuning_type, finetuning_args.tl_stage)
    if row is None or not row.works:
        return supervised(row.name if row else "sft", model, groups, tokens, micro)
    found: list[Work] = load(row.works)(model, groups, tokens, micro)
    return found


def computed(groups: tuple[Any, ...], gpus: int) -> str:
    """Return the estimate in words; nothing but the configuration, the tokenizer and the data is read."""
    model_args, data_args, training_args, finetuning_args = groups[:4]
    small = model_args.compute_dtype in (torch.float16, torch.bfloat16)
    model = skeleton(config_of(model_args))
    asked: Engine = getattr(finetuning_args, ENGINE, "ddp")
    sizes, engine = sizes_of(model, small), asked if gpus > 1 else "one"
    lengths = _lengths(groups)
    tokens, longest = float(sum(lengths)), max(lengths, default=data_args.cutoff_len)
    works = works_of(model, groups, tokens, longest)
    batch = training_args.per_device_train_batch_size * training_args.gradient_accumulation_steps * gpus
    lines = [
        f"Dry run on {gpus} GPUs with {engine}: computed from the model's configuration, not measured "
        f"({sizes.weights:,} weights; docs/scale.md says how).",
        f"Data: {len(lengths):,} examples, {tokens:,.0f} tokens, the longest {longest:,}; a batch has {batch}.",
        f"{'phase':<10}{'trains':>16}{'steps':>10}{'GiB per GPU':>14}{'hours':>10}{'disk, GiB':>12}",
    ]
    peak = hours = disk = 0.0
    for work in works:
        if work.passes == "scores":
            needed, took = memory(sizes, work, engine, gpus).total / GIB, seconds(sizes, work, gpus) / 3600
            peak, hours = max(peak, needed), hours + took
            lines.append(f"{work.name:<10}{'-':>16}{'-':>10}{needed:>14.1f}{took:>10.2f}{'-':>12}")
            continue
        per_epoch = max(1, -(-len(lengths) // batch))
        steps = training_args.max_steps if training_args.max_steps > 0 else round(work.epochs * per_epoch + 0.499)
        part = min(1.0, steps / max(1, work.epochs * per_epoch))
        needed, took = memory(sizes, work, engine, gpus).total / GIB, seconds(sizes, work, gpus) * part / 3600
        count = kept_checkpoints(
            steps,
            training_args.save_steps,
            training_args.save_total_limit,
            str(getattr(training_args.save_strategy, "value", training_args.save_strategy)),
            work.epochs,
        )
        left = disk_bytes(work.trained, count) / GIB
        peak, hours, disk = max(peak, needed), hours + took, disk + left
        lines.append(f"{work.name:<10}{work.trained:>16,}{steps:>10,}{needed:>14.1f}{took:>10.2f}{left:>12.1f}")
    scored = "importance and " if any(work.passes == "scores" for work in works) else ""
    lines.append(
        f"Peak {peak:.1f} GiB on each GPU; {hours:.2f} h of {scored}training at 40 % of an H100's FLOPs, without "
        f"loading; disk {disk:.1f} GiB."
    )
    if gpus == 1 and asked != "ddp":
        lines.append(f"One process spreads nothing: dry_run_gpus: N says what {asked} takes on N GPUs.")
    return "\n".join(lines)


def _lengths(groups: tuple[Any, ...]) -> list[int]:
    """Return tokens of every example, as the run reads them; what is kept, cut and left out is said on the way."""
    model_args, data_args, training_args, finetuning_args = map(copy.copy, groups[:4])
    with tempfile.TemporaryDirectory(prefix="dry_run_") as folder:
        training_args.output_dir = folder
        training_args.overwrite_output_dir, training_args.resume_from_checkpoint = False, None
        parts = (model_args, data_args, training_args, finetuning_args)
        row = worker(finetuning_args.finetuning_type, finetuning_args.tl_stage)
        assert row is not None
        found: list[int] = load(row.lengths)(*parts) if row.lengths else []
        return found
