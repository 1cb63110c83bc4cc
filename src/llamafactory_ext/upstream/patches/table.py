"""The table of everything we change in LLaMA-Factory, in order of dependency, and the function that applies it.

Each row names what is replaced, why, what needs it, and what it relies on. A wrapper calls the original for everything
that is not ours. To support another version: read what `llamafactory-ext doctor` says, and adapt wrapper and row.
"""

import functools
from collections.abc import Callable
from importlib import import_module
from types import ModuleType
from typing import Any

from ...options.command_file import checks_asked
from ..pipeline import requests
from . import launch, parsing, reading, train
from .arguments import extend_finetuning_arguments
from .board import log
from .board.table import BOARD_PATCHES
from .features import METHODS, OF_ADAPTERS, PAGE, TRAINING, Feature, tell_what_is_off
from .patch import Arguments, Patch, originals, replacements, stranger
from .relies import Code, Fields, Has, Holds, Inherits, Takes
from .uses import USES

__all__ = ["PATCHES", "USES", "apply_patches", "patched_by_others"]

PAGE_MODULE = "llamafactory.webui.interface"  # the last one to be imported for LLaMA Board
GROUPS = ("model_args", "data_args", "training_args", "finetuning_args")


def late(module: str, function: str) -> Callable[[Any], Any]:
    """Return a wrapper of a pipeline module that itself imports upstream; it is imported at the first call."""

    def wrap(original: Any) -> Any:
        @functools.wraps(original)
        def called(*args: Any, **kwargs: Any) -> Any:
            return getattr(import_module(f"..pipeline.{module}", __package__), function)(original)(*args, **kwargs)

        return called

    return wrap


def _register_templates(template_class: type) -> type:
    """Return upstream's class as it is: it is complete when our templates, its subclasses, are registered."""
    import_module("..pipeline.templates", __package__).register()
    return template_class


def _reads_records(call: Arguments) -> bool:
    return requests.reads_records(call["data_args"])


def _is_checked(_: Arguments) -> bool:
    return checks_asked()


PATCHES: tuple[Patch, ...] = (
    *(
        Patch(
            "llamafactory.extras.constants",
            symbol,
            (Feature.CHOICES,),
            (Holds("lora"),),
            reason,
            train.add_method,
        )
        for symbol, reason in (
            ("METHODS", "LLaMA Board offers the fine-tuning types of this list"),
            ("PEFT_METHODS", "LLaMA Board passes checkpoints of these types as adapters, not as models"),
        )
    ),
    Patch(
        "llamafactory.hparams.finetuning_args",
        "FinetuningArguments",
        (*METHODS, Feature.OPTIONS),
        (
            Fields(stage="sft", finetuning_type="lora", pure_bf16=..., use_galore=..., loraplus_lr_ratio=...),
            Inherits("LoraArguments", "OFTArguments", "FreezeArguments"),
            Has("__post_init__", Takes("self")),
        ),
        "the option groups are a closed set of five classes; ours must be fields of one of them",
        extend_finetuning_arguments,
    ),
    Patch(
        "llamafactory.hparams.parser",
        "read_args",
        (*METHODS, Feature.OPTIONS),
        (Takes("args"),),
        "a file that cannot be read ends in a traceback, and a method named after it leaves the options of another",
        reading.wrap_read_args,
    ),
    Patch(
        "llamafactory.hparams.parser",
        "_parse_args",
        (*METHODS, Feature.OPTIONS),
        (Takes("parser", "args", "allow_extra_keys"),),
        "upstream neither converts nor checks values from YAML, and stops at the first problem",
        parsing.wrap_parse_args,
        parsing.is_ours,
    ),
    *(
        Patch(
            "llamafactory.hparams.parser",
            symbol,
            needed_by,
            (Takes("args"),),
            "the checks that follow know only lora as a type with adapters",
            parsing.wrap_parse_group,
        )
        for symbol, needed_by in (
            ("_parse_train_args", TRAINING),
            ("_parse_infer_args", (Feature.MODELS, Feature.EXPORT)),
            ("_parse_eval_args", (Feature.EVAL,)),
        )
    ),
    *(
        Patch(
            "llamafactory.hparams.parser",
            symbol,
            needed_by,
            (Takes("args"), Code(f"{parse}(args)")),
            "hands out our type again after the checks made for its nearest, and leaves resuming to the phases",
            parsing.wrap_get_args,
            parsing.names_a_method,
        )
        for symbol, needed_by, parse in (
            ("get_train_args", TRAINING, "_parse_train_args"),
            ("get_infer_args", (Feature.MODELS, Feature.EXPORT), "_parse_infer_args"),
            ("get_eval_args", (Feature.EVAL,), "_parse_eval_args"),
        )
    ),
    Patch(
        "llamafactory.data.template",
        "Template",
        (Feature.TEMPLATES,),
        (
            Has("_encode", Takes("self", "tokenizer", "messages", "system", "tools")),
            Has("encode_oneturn", Takes("self", "tokenizer", "messages", "system", "tools")),
            Has(
                "encode_multiturn", Takes("self", "tokenizer", "messages", "system", "tools", "discarding_history_cot")
            ),
            Has("extract_tool", Takes("self", "content")),
            Has("_get_jinja_template", Takes("self", "tokenizer")),
            Fields(format_tools=..., default_system=..., stop_words=..., thought_words=..., tool_call_words=...),
        ),
        "our templates are registered beside upstream's and answer to its interface",
        _register_templates,
    ),
    Patch(
        "llamafactory.data.converter",
        "get_dataset_converter",
        TRAINING,
        (Takes("name", "dataset_attr", "data_args"),),
        "upstream drops every column it does not know, the tool/general marks among them",
        requests.mark_converted,
        _reads_records,
    ),
    Patch(
        "llamafactory.data.loader",
        "get_dataset_list",
        TRAINING,
        (Takes("dataset_names", "dataset_dir"),),
        "the description of a data set forgets what its entry says about marks",
        requests.attach_entries,
    ),
    Patch(
        "llamafactory.data.loader",
        "_load_single_dataset",
        TRAINING,
        (
            Takes("dataset_attr", "model_args", "data_args", "training_args"),
            Code("os.path.join(data_args.dataset_dir, dataset_attr.dataset_name)", 'dataset_attr.load_from == "file"'),
        ),
        "typed columns give records the members of one another as nulls, and end at two types in one column",
        late("records", "wrap_load_single_dataset"),
        lambda call: _reads_records(call) or checks_asked(),
    ),
    Patch(
        "llamafactory.data.loader",
        "_get_dataset_processor",
        TRAINING,
        (
            Takes("data_args", "stage", "template", "tokenizer", "processor", "do_generate"),
            Code("PackedSupervisedDatasetProcessor", "SupervisedDatasetProcessor"),
        ),
        "tokens must keep their example's mark and their weight through cutting and packing",
        lambda original: late("weights", "weighed_processor")(late("channels", "carrying_processor")(original)),
        _reads_records,
    ),
    Patch(
        "llamafactory.data.loader",
        "get_dataset",
        (Feature.ERRORS,),
        (Takes("template", "model_args", "data_args", "training_args", "stage", "tokenizer", "processor"),),
        "what libraries say of data that cannot be loaded is a traceback",
        late("api", "wrap_get_dataset"),
        _is_checked,
    ),
    Patch(
        "llamafactory.model.adapter",
        "init_adapter",
        (*OF_ADAPTERS, Feature.MODELS, Feature.EXPORT),
        (Takes("config", "model", "model_args", "finetuning_args", "is_trainable"),),
        "refuses unknown types, and would merge an adapter whose gates depend on the input",
        train.wrap_init_adapter,
        train.is_of_a_type,
    ),
    Patch(
        "llamafactory.train.tuner",
        "run_sft",
        TRAINING,
        (Takes(*GROUPS, "generating_args", "callbacks"),),
        "training runs the method's workflow; evaluation stays upstream's",
        train.wrap_run_sft,
        train.is_of_a_method,
    ),
    Patch(
        "llamafactory.train.tuner",
        "export_model",
        (Feature.EXPORT, Feature.CHAT_TEMPLATE),
        (Takes("args"),),
        "demands a merged model; an export of ours may keep its gates",
        train.wrap_export_model,
    ),
    Patch(
        "llamafactory.train.tuner",
        "LogCallback",
        (Feature.FIGURES,),
        (
            Has("on_log", Takes("self", "args", "state", "control")),
            Has("_write_log", Takes("self", "output_dir", "logs")),
            Code("self.thread_pool.submit(self._write_log, args.output_dir, logs)"),
        ),
        "the log that LLaMA Board reads holds no router loss and no gates",
        log.extend_log_callback,
    ),
    Patch(
        "llamafactory.launcher",
        "launch",
        (Feature.ERRORS,),
        (Takes(),),
        "the parent of torchrun would end an error already explained with a traceback",
        launch.wrap_launch,
    ),
    *BOARD_PATCHES,
)

applied: list[str] = []
"""Names of the patches in force in this process."""


def apply_patches(module: ModuleType) -> None:
    """Apply every patch of a module that has just executed; what cannot be applied is left as it is."""
    for patch in PATCHES:
        if patch.module == module.__name__:
            patch.apply(module)
            if patch.name in originals:
                applied.append(patch.name)
    if module.__name__ == PAGE_MODULE:
        tell_what_is_off(*PAGE)


def patched_by_others() -> list[str]:
    """Return what another package has replaced too, before us or after us, with the file that it comes from."""
    import sys

    found = []
    for patch in PATCHES:
        module = sys.modules.get(patch.module)
        if module is None or patch.name not in originals:
            continue
        now = getattr(module, patch.symbol, None)
        other = stranger(originals[patch.name]) or ("" if now is replacements[patch.name] else stranger(now))
        if other:
            found.append(f"{patch.name} ({other})")
    return found
