"""What cannot go together with `finetuning_type: citi`; each problem is one sentence with the next step.

Single options have their rows in `options/fates/`; here stands what depends on several, or on citi's own.
"""

from collections.abc import Iterable
from dataclasses import MISSING, Field, fields
from pathlib import Path
from typing import Any

from ..methods import names, row_of
from .engine_conflicts import engine_conflicts

# What needs MOLoRA's routers and experts, and what needs a low-rank adapter of any kind.
GATED = (
    "citi_num_experts",
    "citi_router_delta",
    "citi_router_beta",
    "citi_router_neutral",
    "citi_router_scope",
    "citi_router_window",
    "citi_kernel",
)
LOW_RANK = ("citi_rank", "citi_alpha")
FINISHED_RUN = ("adapter_model.safetensors", "model.safetensors", "model.safetensors.index.json")


def finetuning_conflicts(args: Any) -> list[str]:
    """Return conflicts within the fine-tuning options, before upstream has looked at them."""
    problems = []
    if args.stage not in ("sft", *names("stage")):
        problems.append(f"stage: {args.stage} does not work with finetuning_type: citi; set stage: sft")
    ratios = (args.citi_top_ratio, args.citi_bottom_ratio)
    if all(isinstance(ratio, float) for ratio in ratios) and sum(ratios) > 1:
        problems.append(
            f"citi_top_ratio={ratios[0]:g} and citi_bottom_ratio={ratios[1]:g} overlap; lower them to 1 in sum"
        )
    if args.citi_importance_score not in ("auto", "eq4") and args.citi_importance_reduction != "dataset":
        problems.append(
            f"citi_importance_reduction: {args.citi_importance_reduction} has no effect with citi_importance_score: "
            f"{args.citi_importance_score}, a sum over examples; remove it"
        )
    load = args.citi_importance_load
    if isinstance(load, str) and not Path(load).is_file():
        problems.append(
            f"citi_importance_load={load}: there is no such file; correct the path, or leave the option out to "
            "compute the importance in this run"
        )
    return problems


def training_conflicts(model_args: Any, training_args: Any, finetuning_args: Any) -> list[str]:
    """Return conflicts between the option groups of a training command."""
    if not training_args.do_train:
        return []
    problems = _adapter_problems(finetuning_args) + _kernel_problems(training_args, finetuning_args)
    if finetuning_args.citi_bottom_ratio == 0 and finetuning_args.citi_phases == ["uco"]:
        problems.append("citi_bottom_ratio=0 leaves phase uco nothing to tune; raise it, or add phases to citi_phases")
    stage = row_of(finetuning_args.tl_stage)
    continues = stage is not None and stage.alone  # goes on from a trained adapter, and keeps its own folder
    if model_args.quantization_bit is not None and finetuning_args.citi_adapter == "full":
        problems.append(
            "quantization_bit: citi_adapter: full cannot tune quantized components; set citi_adapter: lora or load "
            "the model unquantized"
        )
    elif model_args.quantization_bit is not None and "uco" in finetuning_args.citi_phases:
        problems.append(
            "quantization_bit: phase uco cannot tune quantized components; set citi_phases: rp,mi or load the model "
            "unquantized"
        )
    if model_args.quantization_bit is not None:
        problems += quantized_score_problems(finetuning_args)
    problems += _lora_plus_problems(finetuning_args)
    problems += engine_conflicts(model_args, training_args, finetuning_args)
    return problems if continues else problems + _output_problems(training_args)


def quantized_score_problems(args: Any) -> list[str]:
    """Say which score a quantized base cannot have, where the run computes one.

    Args:
        args: the fine-tuning options.
    """
    score = args.citi_importance_score
    if args.citi_importance_load or score not in ("snip", "wanda"):
        return []
    return [
        f"citi_importance_score: {score} reads the weights, which a quantized base has packed; set "
        "citi_importance_score: fisher, which does not, or load the model unquantized"
    ]


def inference_conflicts(model_args: Any) -> list[str]:
    """Return conflicts between the option groups of `chat`, `api`, `export` and evaluation commands."""
    engine = getattr(model_args.infer_backend, "value", model_args.infer_backend)
    if engine == "huggingface":
        return []
    return [
        f"infer_backend: {engine} cannot load citi adapters; use infer_backend: huggingface, or export the model first"
    ]


def _lora_plus_problems(args: Any) -> list[str]:
    """Return conflicts of LoRA+ (arXiv:2402.12354), in phase mi a higher learning rate for B."""
    if args.loraplus_lr_ratio is None:
        return []
    problems = []
    if "mi" not in args.citi_phases or args.citi_adapter == "full":
        problems.append("loraplus_lr_ratio has no effect without B matrices that phase mi trains; remove it")
    if not (isinstance(args.loraplus_lr_ratio, int | float) and args.loraplus_lr_ratio > 0):
        problems.append(f"loraplus_lr_ratio={args.loraplus_lr_ratio} must be a number greater than 0")
    return problems


def _adapter_problems(args: Any) -> list[str]:
    """Return phases and options that do not fit what the chosen components carry."""
    kind, phases, problems = args.citi_adapter, args.citi_phases, []
    without_effect = {"molora": (), "lora": GATED, "full": (*GATED, *LOW_RANK)}[kind]
    for name in _changed(args, [option for option in fields(args) if option.name in without_effect]):
        problems.append(f"{name} has no effect with citi_adapter: {kind}; remove it, or set citi_adapter: molora")
    if kind == "lora" and "rp" in phases:
        problems.append("citi_phases: citi_adapter: lora has no router for phase rp to train; set citi_phases: mi,uco")
    if kind == "full" and phases != ["mi"]:
        problems.append(
            f"citi_phases={','.join(phases)}: with citi_adapter: full the chosen components are tuned in phase mi, "
            "and nothing else is; set citi_phases: mi"
        )
    if kind == "molora" and not args.citi_router_neutral:
        if args.citi_router_beta > 0:
            problems.append(
                f"citi_router_beta={args.citi_router_beta:g}: with citi_router_neutral: false there is no gate that "
                "the router loss could raise on general data; set citi_router_beta: 0"
            )
        if "rp" in phases:
            problems.append(
                "citi_phases: with citi_router_neutral: false there is no router loss, and nothing else moves the "
                "router in phase rp; set citi_phases: mi,uco"
            )
    return problems


def _kernel_problems(training_args: Any, finetuning_args: Any) -> list[str]:
    from ..molora.kernel import triton_problem

    if finetuning_args.citi_kernel == "triton" and (problem := triton_problem(gpu=not training_args.use_cpu)):
        return [f"citi_kernel: triton cannot be used, as {problem}; set citi_kernel: torch"]
    return []


def _output_problems(training_args: Any) -> list[str]:
    folder = Path(training_args.output_dir)
    problems: list[str] = []
    if training_args.overwrite_output_dir or not folder.is_dir():
        return problems
    if any((folder / name).is_file() for name in FINISHED_RUN):
        problems.append(
            f"output_dir={folder} holds a finished run; choose another folder, or set overwrite_output_dir: true"
        )
    elif any(folder.glob("checkpoint-*")):
        problems.append(
            f"output_dir={folder} holds checkpoints of another kind of run; choose another folder, or set "
            "overwrite_output_dir: true"
        )
    return problems


def _changed(args: Any, options: Iterable[Field]) -> list[str]:
    return [
        option.name
        for option in options
        if getattr(args, option.name) != (None if option.default is MISSING else option.default)
    ]
