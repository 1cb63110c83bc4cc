"""What cannot go together with `finetuning_type: citi`; each problem is one sentence with the next step."""

import os
from collections.abc import Iterable
from dataclasses import MISSING, Field, fields
from difflib import get_close_matches
from pathlib import Path
from typing import Any

from ..options.stages import PPO_STAGE, STAGES
from ..training.engine_conflicts import engine_conflicts

# Options of other methods: with citi they would silently do nothing.
FOREIGN_GROUPS = ("LoraArguments", "OFTArguments", "FreezeArguments")
INSTEAD = {
    "lora_rank": "set citi_rank",
    "lora_alpha": "set citi_alpha",
    "lora_target": "citi chooses the modules by importance, set citi_top_ratio",
}
LORA_PLUS = "loraplus_lr_ratio"  # the one of them that phase mi knows
OPTIMIZERS = ("use_galore", "use_apollo", "use_badam", "use_adam_mini", "use_muon")
LOSSES = ("use_dft_loss", "use_asft_loss", "use_eaft_loss")
BACKENDS = ("use_llama_pro", "use_mca", "use_hyper_parallel")
MODEL_SWITCHES = ("use_unsloth", "use_kt", "mixture_of_depths")
OTHER_HUBS = ("USE_MODELSCOPE_HUB", "USE_OPENMIND_HUB")
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


def finetuning_conflicts(args: Any, base: type) -> list[str]:
    """Conflicts within the fine-tuning options.

    Args:
        args: the fine-tuning options, before upstream has looked at them.
        base: upstream's class, whose parents group the options of the other methods.
    """
    problems = []
    if args.stage not in ("sft", *STAGES):
        problems.append(f"stage: {args.stage} does not work with finetuning_type: citi; set stage: sft")
    for name in _changed(args, [option for option in _foreign_fields(base) if option.name != LORA_PLUS]):
        problems.append(f"{name} has no effect with finetuning_type: citi; {INSTEAD.get(name, 'remove it')}")
    for name in OPTIMIZERS:
        if getattr(args, name, False):
            problems.append(f"{name} replaces the optimiser that the phases of citi need; remove it")
    for name in LOSSES:
        if getattr(args, name, False):
            problems.append(f"{name} replaces the loss that citi computes; remove it")
    for name in BACKENDS:
        if getattr(args, name, False):
            problems.append(f"{name} does not work with finetuning_type: citi; remove it")
    if args.pure_bf16:
        problems.append("pure_bf16 would train the router in bfloat16; set bf16: true in its place")
    ratios = (args.citi_top_ratio, args.citi_bottom_ratio)
    if all(isinstance(ratio, float) for ratio in ratios) and sum(ratios) > 1:
        problems.append(
            f"citi_top_ratio={ratios[0]:g} and citi_bottom_ratio={ratios[1]:g} overlap; lower them to 1 in sum"
        )
    load = args.citi_importance_load
    if isinstance(load, str) and not Path(load).is_file():
        problems.append(
            f"citi_importance_load={load}: there is no such file; correct the path, or leave the option out to "
            "compute the importance in this run"
        )
    return problems


def training_conflicts(model_args: Any, data_args: Any, training_args: Any, finetuning_args: Any) -> list[str]:
    """Conflicts between the option groups of a training command."""
    problems = _unknown_sources(model_args, data_args)
    for name in MODEL_SWITCHES:
        if getattr(model_args, name, None):
            problems.append(f"{name} does not work with finetuning_type: citi; remove it")
    problems += _new_token_problems(model_args)
    if os.environ.get("USE_MCA", "").lower() in ("1", "true", "y"):
        problems.append("USE_MCA does not work with finetuning_type: citi; unset the variable")
    if data_args.streaming:
        problems.append(
            "streaming does not work with finetuning_type: citi, which passes over the data several times; remove it"
        )
    if not training_args.do_train:
        return problems
    problems += _adapter_problems(finetuning_args) + _kernel_problems(training_args, finetuning_args)
    if finetuning_args.citi_bottom_ratio == 0 and finetuning_args.citi_phases == ["uco"]:
        problems.append("citi_bottom_ratio=0 leaves phase uco nothing to tune; raise it, or add phases to citi_phases")
    if training_args.label_smoothing_factor:
        problems.append("label_smoothing_factor is not part of the loss that citi computes; remove it")
    if training_args.predict_with_generate:
        problems.append(
            "predict_with_generate does not work during citi training; remove it, and evaluate the finished adapter "
            "with do_predict"
        )
    continues = finetuning_args.tl_stage == PPO_STAGE  # goes on from a trained adapter, and keeps its own folder
    if model_args.adapter_name_or_path and not continues:
        problems.append(
            "adapter_name_or_path is not used in citi training, which starts from the base model; remove it "
            "(an interrupted run goes on when the same command is repeated)"
        )
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
    problems += _lora_plus_problems(finetuning_args)
    problems += engine_conflicts(model_args, training_args, finetuning_args)
    return problems if continues else problems + _output_problems(training_args)


def inference_conflicts(model_args: Any, data_args: Any) -> list[str]:
    """Conflicts between the option groups of `chat`, `api`, `export` and evaluation commands."""
    problems = _unknown_sources(model_args, data_args)
    engine = getattr(model_args.infer_backend, "value", model_args.infer_backend)
    if engine != "huggingface":
        problems.append(
            f"infer_backend: {engine} cannot load citi adapters; use infer_backend: huggingface, or export the model "
            "first"
        )
    return problems


def ineffective_options(given: Iterable[str]) -> list[str]:
    """Options of the command that the phase table of citi overrules."""
    return [name for name in ("learning_rate", "num_train_epochs") if name in given]


def _new_token_problems(model_args: Any) -> list[str]:
    """What keeps tokens from being added to the frozen base."""
    problems = []
    if getattr(model_args, "init_special_tokens", "noise_init") != "noise_init":
        problems.append(
            f"init_special_tokens: {model_args.init_special_tokens} does not work with finetuning_type: citi, whose "
            "frozen base must have the same rows at every load; remove it"
        )
    if model_args.resize_vocab and model_args.quantization_bit is not None:
        problems.append("resize_vocab cannot add rows to a quantized base; remove it, or load the model unquantized")
    return problems


def _lora_plus_problems(args: Any) -> list[str]:
    """LoRA+ (arXiv:2402.12354) as an option of phase mi: a higher learning rate for B."""
    if args.loraplus_lr_ratio is None:
        return []
    problems = []
    if "mi" not in args.citi_phases or args.citi_adapter == "full":
        problems.append("loraplus_lr_ratio has no effect without B matrices that phase mi trains; remove it")
    if not (isinstance(args.loraplus_lr_ratio, int | float) and args.loraplus_lr_ratio > 0):
        problems.append(f"loraplus_lr_ratio={args.loraplus_lr_ratio} must be a number greater than 0")
    return problems


def _adapter_problems(args: Any) -> list[str]:
    """Phases and options that do not fit what the chosen components carry."""
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


def _unknown_sources(model_args: Any, data_args: Any) -> list[str]:
    """A base model that cannot be found, and a template that upstream does not have."""
    from llamafactory.data.template import TEMPLATES

    problems = [problem] if (problem := _model_problem(model_args)) else []
    name = data_args.template
    if name is not None and name not in TEMPLATES:
        similar = get_close_matches(name, TEMPLATES, n=3)
        advice = f"did you mean {' or '.join(similar)}?" if similar else "see LLaMA-Factory's list of models"
        problems.append(f"template={name} does not exist; {advice}")
    return problems


def _model_problem(model_args: Any) -> str | None:
    from transformers.utils import cached_file

    name = model_args.model_name_or_path
    advice = "correct the path, or name a model of the Hugging Face hub that can be reached from here"
    if Path(name).expanduser().is_dir():
        found = (Path(name).expanduser() / "config.json").is_file()
        return None if found else f"model_name_or_path={name} has no config.json; {advice}"
    if any(os.environ.get(hub, "").lower() in ("1", "true", "y") for hub in OTHER_HUBS):
        return None
    try:
        where = {"cache_dir": model_args.cache_dir, "revision": model_args.model_revision}
        cached_file(name, "config.json", token=model_args.hf_hub_token, **where)
    except (OSError, ValueError) as error:
        return f"model_name_or_path={name} cannot be found ({str(error).splitlines()[0]}); {advice}"
    return None


def _output_problems(training_args: Any) -> list[str]:
    folder = Path(training_args.output_dir)
    resume = training_args.resume_from_checkpoint
    problems = []
    if resume not in (None, True):
        problems.append(
            f"resume_from_checkpoint={resume}: citi resumes by itself; remove the option and repeat the command with "
            "the output_dir of the interrupted run"
        )
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


def _foreign_fields(base: type) -> list[Field]:
    groups = [group for group in base.__mro__ if group.__name__ in FOREIGN_GROUPS]
    return list({option.name: option for group in groups for option in fields(group)}.values())


def _changed(args: Any, options: Iterable[Field]) -> list[str]:
    return [
        option.name
        for option in options
        if getattr(args, option.name) != (None if option.default is MISSING else option.default)
    ]
