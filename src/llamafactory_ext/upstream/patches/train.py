"""What upstream's training, model loading, export and launcher do for `finetuning_type: citi` and our stages."""

import functools
import subprocess
import sys
from collections.abc import Callable
from pathlib import Path
from typing import Any

from ..._hook import error_folder, error_was_reported
from ...errors import CheckpointError, OptionError
from ...methods import PPO_STAGE, SFT_STAGE
from .parsing import RawArgs, requests_citi

Function = Callable[..., Any]
METHOD = "citi"


def add_method(methods: Any) -> Any:
    """`METHODS` and `PEFT_METHODS`, changed in place because others have imported them by name."""
    if isinstance(methods, list):
        if METHOD not in methods:
            methods.append(METHOD)
    else:
        methods.add(METHOD)
    return methods


def wrap_run_sft(original: Function) -> Function:
    """`run_sft` as the training function knows it: training goes through our stages, or the phases of citi."""

    @functools.wraps(original)
    def run_sft(
        model_args: Any,
        data_args: Any,
        training_args: Any,
        finetuning_args: Any,
        generating_args: Any,
        callbacks: list[Any] | None = None,
    ) -> Any:
        groups = (model_args, data_args, training_args, finetuning_args, generating_args)
        stage, is_citi = finetuning_args.tl_stage, finetuning_args.finetuning_type == METHOD
        if stage == PPO_STAGE and (training_args.do_train or not training_args.do_predict):
            from ...tl.ppo.workflow import run_tl_ppo

            return run_tl_ppo(*groups, callbacks)
        if stage == SFT_STAGE and not is_citi and not training_args.predict_with_generate:
            from ...tl.sft.workflow import run_tl_sft

            return run_tl_sft(*groups, callbacks)
        if not is_citi or not training_args.do_train:
            return original(*groups, callbacks)
        from ...citi.run.workflow import run_citi

        return run_citi(*groups, callbacks)

    return run_sft


def wrap_init_adapter(original: Function) -> Function:
    """`init_adapter`: a frozen base model for training, a loaded adapter of citi for everything else."""

    @functools.wraps(original)
    def init_adapter(config: Any, model: Any, model_args: Any, finetuning_args: Any, is_trainable: bool) -> Any:
        if finetuning_args.finetuning_type != METHOD:
            return original(config, model, model_args, finetuning_args, is_trainable)
        paths = model_args.adapter_name_or_path or []
        if is_trainable:
            if paths:
                raise OptionError(
                    f"adapter_name_or_path={','.join(paths)} is not used in citi training, which starts from the base "
                    "model; remove it (an interrupted run goes on when the same command is repeated)."
                )
            model.requires_grad_(False)
            return model
        return load_adapter(model, model_args, finetuning_args, paths) if paths else model

    return init_adapter


def load_adapter(model: Any, model_args: Any, finetuning_args: Any, paths: list[str]) -> Any:
    """Put the one adapter of `adapter_name_or_path` on the model, unmerged: gates depend on the input."""
    from peft import PeftModel, get_peft_model_state_dict

    from ...checkpoint.base import check_base
    from ...molora import MoLoraModel

    if len(paths) != 1:
        raise OptionError(
            f"adapter_name_or_path names {len(paths)} adapters; citi adapters cannot be stacked, give exactly one."
        )
    where = {
        "subfolder": model_args.adapter_folder or "",
        "cache_dir": model_args.cache_dir,
        "revision": model_args.model_revision,
        "token": model_args.hf_hub_token,
    }
    path = Path(paths[0]) / (model_args.adapter_folder or "")
    if path.is_dir():
        check_base(model, path)
    else:
        _check_method(paths[0], where)
    try:
        loaded = PeftModel.from_pretrained(model, paths[0], offload_folder=model_args.offload_folder, **where)
    except (RuntimeError, ValueError) as error:
        raise _misfit(paths[0], model_args, str(error).splitlines()[0]) from error
    # PEFT passes over tensors for modules that this base does not have.
    unused = _tensor_names(paths[0], where) - get_peft_model_state_dict(loaded).keys()
    if unused:
        raise _misfit(paths[0], model_args, f"there is no place for {min(unused)}")
    if isinstance(loaded.base_model, MoLoraModel):
        loaded.base_model.set_kernel(finetuning_args.citi_kernel)
    return loaded


def wrap_export_model(original: Function) -> Function:
    """`export_model`: a citi checkpoint becomes a self-contained model directory of its own type."""

    @functools.wraps(original)
    def export_model(args: dict[str, Any] | None = None) -> None:
        from llamafactory.hparams import read_args

        raw: RawArgs = read_args(args)
        if requests_citi(raw):
            export_checkpoint(raw)
        else:
            original(args)

    return export_model


def export_checkpoint(args: RawArgs) -> None:
    """Load base model and adapter as upstream does, and write the export."""
    import torch
    from llamafactory.data import get_template_and_fix_tokenizer
    from llamafactory.hparams import get_infer_args
    from llamafactory.model import load_model, load_tokenizer

    model_args, data_args, finetuning_args, _ = get_infer_args(args)
    problems = []
    if model_args.export_dir is None:
        problems.append("export_dir is missing; name the folder to write the model to")
    if not model_args.adapter_name_or_path:
        problems.append("adapter_name_or_path is missing; name the output_dir of a citi run")
    if model_args.export_quantization_bit is not None or model_args.quantization_bit is not None:
        problems.append("a citi model cannot be quantized on export; remove the quantization options")
    if model_args.export_hub_model_id is not None:
        problems.append("export_hub_model_id is not supported for citi; export to a folder and upload that")
    if problems:
        raise OptionError.listing("This citi export does not work:", problems)

    modules = load_tokenizer(model_args)
    get_template_and_fix_tokenizer(modules["tokenizer"], data_args)
    model = load_model(modules["tokenizer"], model_args, finetuning_args)
    if model_args.infer_dtype != "auto":
        model = model.to(getattr(torch, model_args.infer_dtype))

    from ...serving.export import export_citi

    adapter = Path(model_args.adapter_name_or_path[0]) / (model_args.adapter_folder or "")
    export_citi(
        model,
        modules["tokenizer"],
        modules["processor"],
        Path(model_args.export_dir),
        f"{model_args.export_size}GB",
        adapter=adapter,
    )
    print(f"Exported to {model_args.export_dir}.")


def wrap_launch(original: Function) -> Function:
    """`launch`: when a torchrun child has reported an error of ours, the parents end without a traceback."""

    @functools.wraps(original)
    def launch() -> None:
        with error_folder():
            try:
                original()
            except subprocess.CalledProcessError as error:
                if error_was_reported():
                    sys.exit(error.returncode)
                raise

    return launch


def _check_method(name: str, where: dict[str, Any]) -> None:
    """An adapter of a hub: it exists and is one of citi."""
    from peft import PeftConfig

    try:
        kind = PeftConfig.from_pretrained(name, **where).peft_type
    except (OSError, ValueError, TypeError) as error:
        raise CheckpointError(
            f"adapter_name_or_path={name} cannot be loaded ({str(error).splitlines()[0]}); name the output_dir of a "
            "citi run, or an adapter of the Hugging Face hub that can be reached from here."
        ) from error
    if str(getattr(kind, "value", kind)) != "MOLORA":
        raise CheckpointError(
            f"{name} holds a {kind} adapter, not one of citi; set finetuning_type to the method it was trained with."
        )


def _tensor_names(adapter: str, where: dict[str, Any]) -> set[str]:
    """The names in an adapter's weights file, of a folder or, already in the cache, of the hub."""
    from safetensors import safe_open
    from transformers.utils import cached_file

    with safe_open(cached_file(adapter, "adapter_model.safetensors", **where), "pt") as weights:
        return set(weights.keys())


def _misfit(adapter: str, model_args: Any, difference: str) -> CheckpointError:
    return CheckpointError(
        f"the adapter in {adapter} does not fit {model_args.model_name_or_path} ({difference}); set "
        "model_name_or_path to the base model it was trained on."
    )
