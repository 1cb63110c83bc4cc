"""The estimate of a run from the model's configuration alone, for GPUs that are not here (docs/scale.md)."""

from __future__ import annotations

import copy
import tempfile
from pathlib import Path
from typing import Any

import torch
from torch import nn

from ...citi.importance import linear_components
from ...citi.phases import phase_table
from ...citi.selection import selected_counts
from ...options.stages import PPO_STAGE, SFT_STAGE
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
from ..pipeline.skeleton import config_of, skeleton
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
    model_args, _, training_args, finetuning_args = groups[:4]
    micro = training_args.per_device_train_batch_size * longest
    recomputes = not model_args.disable_gradient_checkpointing
    epochs = float(training_args.num_train_epochs)
    stage = finetuning_args.tl_stage
    if finetuning_args.finetuning_type == "citi" and stage != PPO_STAGE:
        return _phases(model, finetuning_args, tokens, micro, recomputes)
    total = sum(weight.numel() for weight in model.parameters())
    full = finetuning_args.finetuning_type == "full"
    moved = total if full else _lora(model, finetuning_args)
    share = 1.0 if full else 0.0
    if stage != PPO_STAGE:
        return [Work(SFT_STAGE, moved, 0 if full else moved, tokens, epochs, micro, recomputes, share=share)]
    critic = total if finetuning_args.tl_critic == "own" and full else 0
    return [
        Work(
            PPO_STAGE,
            moved + critic,
            (0 if full else moved) + critic,
            tokens,
            epochs,
            micro,
            recomputes,
            share=share,
            copies=int(full) + int(finetuning_args.tl_critic == "own" and not full),
            drawn=finetuning_args.tl_max_new_tokens / max(1, longest),
            learned=finetuning_args.tl_ppo_epochs,
        )
    ]


def _phases(model: nn.Module, args: Any, tokens: float, micro: int, recomputes: bool) -> list[Work]:
    """The phases of citi; which components are chosen is not known yet, so each counts as the mean one."""
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


def _lora(model: nn.Module, args: Any) -> int:
    """Weights of a LoRA adapter."""
    names = args.lora_target
    chosen = [
        module
        for name, module in linear_components(model).items()
        if list(names) == ["all"] or name.rpartition(".")[2] in names
    ]
    return sum(args.lora_rank * (module.in_features + module.out_features) for module in chosen)


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
    lines.append(
        f"Peak {peak:.1f} GiB on each GPU; {hours:.2f} h of training at 40 % of an H100's FLOPs, without importance "
        f"and loading; disk {disk:.1f} GiB."
    )
    return "\n".join(lines)


def _lengths(groups: tuple[Any, ...]) -> list[int]:
    """Tokens of every example, as the run reads them; what is kept, cut and left out is said on the way."""
    model_args, data_args, training_args, finetuning_args = map(copy.copy, groups[:4])
    with tempfile.TemporaryDirectory(prefix="dry_run_") as folder:
        training_args.output_dir = folder
        training_args.overwrite_output_dir, training_args.resume_from_checkpoint = False, None
        parts = (model_args, data_args, training_args, finetuning_args)
        if finetuning_args.tl_stage == PPO_STAGE:
            from ...tl.ppo.workflow import prompts_of

            return [len(query.ids) + finetuning_args.tl_max_new_tokens for query in prompts_of(*parts)]
        if finetuning_args.finetuning_type == "citi":
            from ...citi.run.inputs import Preparation

            inputs = Preparation(*parts)
            inputs.check_data()
            inputs.report_data(Path(folder))
            rows = inputs.data["train_dataset"]
        else:
            from ...tl.sft.workflow import training_rows

            rows = training_rows(*parts)
        return [len(ids) for ids in rows["input_ids"]]
