"""What upstream's training, model loading, export and launcher do for `finetuning_type: citi` and our stages."""

import functools
from collections.abc import Callable
from pathlib import Path
from typing import Any

from ...errors import ExtError, OptionError
from ...options.stages import PPO_STAGE, SFT_STAGE
from ..pipeline.adapter import load_adapter, own_vocabulary
from ..pipeline.requests import request_reading
from .command import RawArgs, requests_citi
from .features import Feature, require
from .patch import Arguments

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


def is_citi(call: Arguments) -> bool:
    """Whether a call's options are those of citi."""
    return call["finetuning_args"].finetuning_type == METHOD


def is_of_a_method(call: Arguments) -> bool:
    """Whether a call's options are those of citi or of one of our stages."""
    return bool(_features(call["finetuning_args"]))


def _features(finetuning_args: Any) -> tuple[Feature, ...]:
    stages = {SFT_STAGE: Feature.TL_SFT, PPO_STAGE: Feature.TL_PPO}
    stage = stages.get(getattr(finetuning_args, "tl_stage", None) or "")
    citi = Feature.CITI if finetuning_args.finetuning_type == METHOD else None
    return tuple(feature for feature in (citi, stage) if feature is not None)


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
        *more: Any,
        **named: Any,
    ) -> Any:
        require(*_features(finetuning_args))
        groups = (model_args, data_args, training_args, finetuning_args, generating_args)
        stage, is_citi = finetuning_args.tl_stage, finetuning_args.finetuning_type == METHOD
        if stage == PPO_STAGE and (training_args.do_train or not training_args.do_predict):
            from ...tl.ppo.workflow import run_tl_ppo

            return start(run_tl_ppo, groups, callbacks)
        if stage == SFT_STAGE and not is_citi and not training_args.predict_with_generate:
            from ...tl.sft.workflow import run_tl_sft

            return start(run_tl_sft, groups, callbacks)
        if not is_citi or not training_args.do_train:
            read = request_reading(data_args)
            return original(
                model_args, read, training_args, finetuning_args, generating_args, callbacks, *more, **named
            )
        from ...citi.run.workflow import run_citi

        return start(run_citi, groups, callbacks)

    return run_sft


def start(workflow: Function, groups: tuple[Any, ...], callbacks: list[Any] | None) -> Any:
    """Run a workflow, or say what it would take."""
    if groups[3].dry_run and groups[2].do_train:
        from .dry_run import run_dry

        return run_dry(workflow, groups, callbacks or [])
    return workflow(*groups, callbacks)


def wrap_init_adapter(original: Function) -> Function:
    """`init_adapter`: a frozen base model for training, a loaded adapter of citi for everything else."""

    @functools.wraps(original)
    def init_adapter(
        config: Any, model: Any, model_args: Any, finetuning_args: Any, is_trainable: bool, **_: Any
    ) -> Any:
        require(Feature.CITI if is_trainable else Feature.MODELS)
        paths = model_args.adapter_name_or_path or []
        if model_args.resize_vocab:
            from ..pipeline.new_rows import settle_new_rows

            settle_new_rows(model, own_vocabulary(model_args))
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


def wrap_export_model(original: Function) -> Function:
    """`export_model`: a citi checkpoint becomes a self-contained model directory of its own type.

    What our other stages trained, upstream exports; the chat template of the tokenizer is ours.
    """

    @functools.wraps(original)
    def export_model(args: dict[str, Any] | None = None, *more: Any, **named: Any) -> Any:
        raw = _raw(args)
        if raw is not None and requests_citi(raw):
            require(Feature.EXPORT)
            export_checkpoint(raw)
            return None
        result = original(args, *more, **named)
        if isinstance(raw, dict):
            _renew_chat_template(raw)
        return result

    return export_model


def _raw(args: Any) -> RawArgs:
    try:
        from llamafactory.hparams import read_args

        return read_args(args)
    except Exception:  # upstream's own function says what is wrong
        return None


def _renew_chat_template(raw: dict[str, Any]) -> None:
    """Finish the export of a run of tl_sft or tl_ppo; the model itself is written, so nothing ends here."""
    try:
        from ..pipeline.exporting import renew_chat_template

        line = renew_chat_template(raw)
    except ExtError as error:
        line = f"The tokenizer keeps its own chat template: {error.message}"
    except Exception as error:
        if not _is_export_of_ours(raw):
            return
        line = f"The tokenizer keeps its own chat template, as it cannot be renewed ({type(error).__name__}: {error})."
    if line is not None:
        print(line)


def _is_export_of_ours(raw: dict[str, Any]) -> bool:
    sources = [*str(raw.get("adapter_name_or_path") or "").split(","), str(raw.get("model_name_or_path"))]
    return any((Path(source) / "tl_report.json").is_file() for source in sources if source)


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
    template = get_template_and_fix_tokenizer(modules["tokenizer"], data_args)
    model = load_model(modules["tokenizer"], model_args, finetuning_args)
    if model_args.infer_dtype != "auto":
        model = model.to(getattr(torch, model_args.infer_dtype))

    from ...serving.export import export_citi
    from ..pipeline.exporting import Trained, give_chat_template

    adapter = Path(model_args.adapter_name_or_path[0]) / (model_args.adapter_folder or "")
    trained = Trained.of(adapter) or Trained()
    line = give_chat_template(template, modules["tokenizer"], data_args, trained, modules["processor"])
    export_citi(
        model,
        modules["tokenizer"],
        modules["processor"],
        Path(model_args.export_dir),
        f"{model_args.export_size}GB",
        adapter=adapter,
    )
    print(f"Exported to {model_args.export_dir}. {line}")
