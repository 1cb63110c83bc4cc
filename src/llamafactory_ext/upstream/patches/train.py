"""What upstream's training, model loading and export do for our types and stages."""

import copy
import functools
from collections.abc import Callable
from pathlib import Path
from typing import Any

from ...errors import ExtError, OptionError
from ...methods import Method, chosen, load, names, row_of, worker
from ..pipeline.requests import request_reading
from .command import RawArgs, requested_type
from .features import Feature, require
from .patch import Arguments

Function = Callable[..., Any]


def add_method(methods: Any) -> Any:
    """Extend `METHODS` and `PEFT_METHODS` in place, because others have imported them by name."""
    for name in names("finetuning_type"):
        if isinstance(methods, list) and name not in methods:
            methods.append(name)
        elif not isinstance(methods, list):
            methods.add(name)
    return methods


def is_of_a_type(call: Arguments) -> bool:
    """Tell whether a call's options are those of a fine-tuning type of ours."""
    return _type_of(call["finetuning_args"]) is not None


def is_of_a_method(call: Arguments) -> bool:
    """Tell whether a call's options are those of a type or of a stage of ours."""
    return bool(_features(call["finetuning_args"]))


def _type_of(finetuning_args: Any) -> Method | None:
    return row_of(finetuning_args.finetuning_type, "finetuning_type")


def _features(finetuning_args: Any) -> tuple[Feature, ...]:
    rows = chosen(finetuning_args.finetuning_type, getattr(finetuning_args, "tl_stage", None))
    return tuple(Feature(row.shown) for row in rows)


def wrap_run_sft(original: Function) -> Function:
    """Wrap `run_sft` as the training function knows it: training goes through the workflow of its method."""

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
        row = worker(finetuning_args.finetuning_type, finetuning_args.tl_stage)
        if row is not None and row.runs_with(training_args):
            return start(load(row.run), groups, callbacks)
        read = request_reading(data_args)
        return original(model_args, read, training_args, finetuning_args, generating_args, callbacks, *more, **named)

    return run_sft


def start(workflow: Function, groups: tuple[Any, ...], callbacks: list[Any] | None) -> Any:
    """Run a workflow, or say what it would take."""
    if groups[3].dry_run and groups[2].do_train:
        from .dry_run import run_dry

        return run_dry(workflow, groups, callbacks or [])
    return workflow(*groups, callbacks)


def wrap_init_adapter(original: Function) -> Function:
    """Wrap `init_adapter`: a frozen base model for training, a loaded adapter of the method for everything else.

    A type without an adapter of its own kind is what upstream makes of the nearest one.
    """

    @functools.wraps(original)
    def init_adapter(
        config: Any, model: Any, model_args: Any, finetuning_args: Any, is_trainable: bool, **named: Any
    ) -> Any:
        row = _type_of(finetuning_args)
        assert row is not None
        require(Feature(row.shown) if is_trainable else Feature.MODELS)
        if row.adapter is None:
            nearest = copy.copy(finetuning_args)
            nearest.finetuning_type = row.nearest
            return original(config, model, model_args, nearest, is_trainable, **named)
        paths = model_args.adapter_name_or_path or []
        if model_args.resize_vocab:
            from ..pipeline.new_rows import own_vocabulary, settle_new_rows

            settle_new_rows(model, own_vocabulary(model_args))
        if is_trainable:
            if paths:
                raise OptionError(
                    f"adapter_name_or_path={','.join(paths)} is not used in {row.name} training, which starts from "
                    "the base model; remove it (an interrupted run goes on when the same command is repeated)."
                )
            model.requires_grad_(False)
            return model
        return load(row.adapter.load)(model, model_args, finetuning_args, paths) if paths else model

    return init_adapter


def wrap_export_model(original: Function) -> Function:
    """Wrap `export_model`: a checkpoint of our own kind becomes a self-contained model directory.

    What our other methods trained, upstream exports; the chat template of the tokenizer is ours.
    """

    @functools.wraps(original)
    def export_model(args: dict[str, Any] | None = None, *more: Any, **named: Any) -> Any:
        raw = _raw(args)
        row = None if raw is None else requested_type(raw)
        if row is not None and row.adapter is not None:
            require(Feature.EXPORT)
            export_checkpoint(raw, row)
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
    """Finish the export of a run of our stages; the model itself is written, so nothing ends here."""
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


def _target_problems(model_args: Any, data_args: Any, block: str) -> list[str]:
    """Say why nothing can be written to the folder of an export, before a model is loaded."""
    from ...serving.targets import target_problem
    from .checking import output_is_input

    problem = output_is_input(str(model_args.export_dir), model_args, data_args)
    if problem is not None:
        return [problem.replace("output_dir=", "export_dir=", 1)]
    found = target_problem(Path(model_args.export_dir), block)
    return [found] if found else []


def export_checkpoint(args: RawArgs, row: Method) -> None:
    """Load base model and adapter as upstream does, and write the export.

    Args:
        args: the command.
        row: of the fine-tuning type, which has an adapter of its own.
    """
    import torch
    from llamafactory.data import get_template_and_fix_tokenizer
    from llamafactory.hparams import get_infer_args
    from llamafactory.model import load_model, load_tokenizer

    model_args, data_args, finetuning_args, _ = get_infer_args(args)
    problems = []
    if model_args.export_dir is None:
        problems.append("export_dir is missing; name the folder to write the model to")
    if not model_args.adapter_name_or_path:
        problems.append(f"adapter_name_or_path is missing; name the output_dir of a {row.name} run")
    if model_args.export_quantization_bit is not None or model_args.quantization_bit is not None:
        problems.append(f"a {row.name} model cannot be quantized on export; remove the quantization options")
    if model_args.export_hub_model_id is not None:
        problems.append(f"export_hub_model_id is not supported for {row.name}; export to a folder and upload that")
    if not problems:
        problems = _target_problems(model_args, data_args, row.name)
    if problems:
        raise OptionError.listing(f"This {row.name} export does not work:", problems)

    modules = load_tokenizer(model_args)
    template = get_template_and_fix_tokenizer(modules["tokenizer"], data_args)
    model = load_model(modules["tokenizer"], model_args, finetuning_args)
    if model_args.infer_dtype != "auto":
        model = model.to(getattr(torch, model_args.infer_dtype))

    from ..pipeline.exporting import Trained, give_chat_template

    adapter = Path(model_args.adapter_name_or_path[0]) / (model_args.adapter_folder or "")
    trained = Trained.of(adapter) or Trained()
    line = give_chat_template(template, modules["tokenizer"], data_args, trained, modules["processor"])
    assert row.adapter is not None
    load(row.adapter.export)(
        model,
        modules["tokenizer"],
        modules["processor"],
        Path(model_args.export_dir),
        f"{model_args.export_size}GB",
        adapter=adapter,
    )
    print(f"Exported to {model_args.export_dir}. {line}")
