"""The table of everything we change in LLaMA-Factory, in order of dependency, and the function that applies it.

Each row names what is replaced, why, and the hash of the source it was written against. A wrapper calls the original
for everything that is not ours. When upstream has changed, applying a row raises UpstreamError and never falls back.
To support another version: read the change, adapt the wrapper, and put the hash of the message into the row.
"""

import functools
from collections.abc import Callable
from dataclasses import dataclass
from importlib import import_module
from types import ModuleType
from typing import Any

from ...errors import UpstreamError
from ..pipeline import requests
from . import launch, parsing, train
from .arguments import extend_finetuning_arguments
from .board import data_tab, log, models, page, runner
from .compat import SUPPORTED_VERSION, fingerprint, upstream_version


@dataclass(frozen=True)
class Patch:
    """One replacement.

    Attributes:
        module: the upstream module in whose namespace the symbol is replaced.
        symbol: the name there.
        reason: what would go wrong without it.
        source_hash: `compat.fingerprint` of the original.
        wrap: takes the original, returns what stands in for it (a constant changed in place returns itself).
    """

    module: str
    symbol: str
    reason: str
    source_hash: str
    wrap: Callable[[Any], Any]

    @property
    def name(self) -> str:
        """Module and symbol, as messages show them."""
        return f"{self.module}.{self.symbol}"

    def apply(self, module: ModuleType) -> None:
        """Check the original and put the replacement in its place."""
        original = getattr(module, self.symbol, None)
        if original is None:
            raise self._error("is missing")
        found = fingerprint(original)
        if found != self.source_hash:
            raise self._error(f"has changed (source hash {found}, known {self.source_hash})")
        setattr(module, self.symbol, self.wrap(original))

    def _error(self, what: str) -> UpstreamError:
        return UpstreamError(
            f"{self.name} {what} in LLaMA-Factory {upstream_version()}; llamafactory_ext supports "
            f"{SUPPORTED_VERSION}. Run `pip install llamafactory=={SUPPORTED_VERSION}`, install a llamafactory_ext "
            "made for your version, or set LLAMAFACTORY_EXT=0 to run without it."
        )


def late(module: str, function: str) -> Callable[[Any], Any]:
    """A wrapper from a module of the pipeline that itself imports upstream, and so is imported at the first call."""

    def wrap(original: Any) -> Any:
        @functools.wraps(original)
        def called(*args: Any, **kwargs: Any) -> Any:
            return getattr(import_module(f"..pipeline.{module}", __package__), function)(original)(*args, **kwargs)

        return called

    return wrap


def _register_templates(template_class: type) -> type:
    """Upstream's class as it is: it is complete when our templates, its subclasses, are registered."""
    import_module("..pipeline.templates", __package__).register()
    return template_class


# Kept apart: they concern LLaMA Board's process only.
BOARD_PATCHES: tuple[Patch, ...] = (
    Patch(
        "llamafactory.extras.constants",
        "TRAINING_STAGES",
        "LLaMA Board offers the training stages of this table",
        "46d508e94cdc9b05",
        page.add_stages,
    ),
    Patch(
        "llamafactory.webui.locales",
        "LOCALES",
        "elements without an entry have no label",
        "34c2b25ecbdfc5c5",
        page.extend_locales,
    ),
    Patch(
        "llamafactory.webui.manager",
        "Manager",
        "every tab must read whether remote code is trusted",
        "87b94210fb7157dc",
        page.extend_manager,
    ),
    Patch(
        "llamafactory.webui.common",
        "_clean_cmd",
        "drops every false value, so that an option which is true by default could not be switched off",
        "c52abb76f348f1d2",
        runner.wrap_clean_cmd,
    ),
    Patch(
        "llamafactory.webui.runner",
        "gen_cmd",
        "previews JSON, lists and paths with spaces without quotes",
        "5edafbd0cab44278",
        runner.wrap_gen_cmd,
    ),
    Patch(
        "llamafactory.webui.runner",
        "get_trainer_info",
        "looks for one log in output_dir; the phases of citi have one each",
        "2421c00a60b0d121",
        runner.wrap_trainer_info,
    ),
    Patch(
        "llamafactory.webui.runner",
        "Runner",
        "knows upstream's fields only, forces trust_remote_code, and stops a run by a signal that citi may not hear",
        "e84e07cc352b18de",
        runner.extend_runner,
    ),
    Patch(
        "llamafactory.webui.chatter",
        "WebChatModel",
        "forces trust_remote_code, and leaves errors of loading without words",
        "2a3b4f8ca48288ac",
        models.extend_chatter,
    ),
    Patch(
        "llamafactory.webui.components.top",
        "create_top",
        "nothing on the page says whether remote code is trusted",
        "9d8ecca120ef6d56",
        page.wrap_create_top,
    ),
    Patch(
        "llamafactory.webui.components.train",
        "create_train_tab",
        "the fields of the train tab are a fixed list",
        "d4febcde63bf84ba",
        page.wrap_create_train_tab,
    ),
    Patch(
        "llamafactory.webui.components.train",
        "list_output_dirs",
        "looks for checkpoints in output_dir; an interrupted citi run has them in its phases",
        "12f0a31ae9ddd7af",
        page.wrap_list_output_dirs,
    ),
    Patch(
        "llamafactory.webui.components.export",
        "save_model",
        "forces trust_remote_code, and leaves errors of exporting without words",
        "8b9e7c59895743a0",
        models.wrap_save_model,
    ),
    Patch(
        "llamafactory.webui.components.export",
        "create_export_tab",
        "its button does not read whether remote code is trusted",
        "8f66e6459018927f",
        page.wrap_create_export_tab,
    ),
    Patch(
        "llamafactory.webui.interface",
        "create_infer_tab",
        "the page's tabs are a fixed list: the one before our own hands on the engine",
        "f40b00ed80f21783",
        data_tab.wrap_create_infer_tab,
    ),
    Patch(
        "llamafactory.webui.interface",
        "create_footer",
        "the page's tabs are a fixed list: our own must come before the page ends",
        "2cd1edc16bedc07a",
        data_tab.wrap_create_footer,
    ),
    *(
        Patch(
            "llamafactory.webui.interface",
            symbol,
            "listens on every network address by default",
            source_hash,
            page.wrap_run,
        )
        for symbol, source_hash in (("run_web_ui", "54705f4bd7fa5a00"), ("run_web_demo", "a4da480539fbe0d2"))
    ),
)

PATCHES: tuple[Patch, ...] = (
    Patch(
        "llamafactory.extras.constants",
        "METHODS",
        "LLaMA Board offers the fine-tuning types of this list",
        "aeb4e015d2150779",
        train.add_method,
    ),
    Patch(
        "llamafactory.extras.constants",
        "PEFT_METHODS",
        "LLaMA Board passes checkpoints of these types as adapters, not as models",
        "7f354871cf1481e9",
        train.add_method,
    ),
    Patch(
        "llamafactory.hparams.finetuning_args",
        "FinetuningArguments",
        "the option groups are a closed set of five classes; ours must be fields of one of them",
        "330c66cd283cf836",
        extend_finetuning_arguments,
    ),
    Patch(
        "llamafactory.hparams.parser",
        "_parse_args",
        "upstream neither converts nor checks values from YAML, and stops at the first problem",
        "9be0738ee0227b8e",
        parsing.wrap_parse_args,
    ),
    *(
        Patch(
            "llamafactory.hparams.parser",
            symbol,
            "the checks that follow know only lora as a type with adapters",
            source_hash,
            parsing.wrap_parse_group,
        )
        for symbol, source_hash in (
            ("_parse_train_args", "2487a44fad12d90d"),
            ("_parse_infer_args", "250d12c194ab94e9"),
            ("_parse_eval_args", "94e6b7f341440801"),
        )
    ),
    *(
        Patch(
            "llamafactory.hparams.parser",
            symbol,
            "hands out citi again after the checks made for lora, and leaves resuming to the phases",
            source_hash,
            parsing.wrap_get_args,
        )
        for symbol, source_hash in (
            ("get_train_args", "2d64e1b1e3825fcc"),
            ("get_infer_args", "34b5d1c8dcfd0e68"),
            ("get_eval_args", "f3d280b2410b4006"),
        )
    ),
    Patch(
        "llamafactory.data.template",
        "Template",
        "our templates are registered beside upstream's and answer to its interface",
        "761442429f06167d",
        _register_templates,
    ),
    Patch(
        "llamafactory.data.converter",
        "get_dataset_converter",
        "upstream drops every column it does not know, the tool/general marks among them",
        "b3e9eba2f8862884",
        requests.mark_converted,
    ),
    Patch(
        "llamafactory.data.loader",
        "get_dataset_list",
        "the description of a data set forgets what its entry says about marks",
        "bcba272caa1d2c47",
        requests.attach_entries,
    ),
    Patch(
        "llamafactory.data.loader",
        "_load_single_dataset",
        "typed columns give records the members of one another as nulls, and end at two types in one column",
        "832a51bcf55bc509",
        late("records", "wrap_load_single_dataset"),
    ),
    Patch(
        "llamafactory.data.loader",
        "_get_dataset_processor",
        "tokens must keep their example's mark and their weight through cutting and packing",
        "e20204cab0d0bf03",
        lambda original: late("weights", "weighed_processor")(late("marks", "marked_processor")(original)),
    ),
    Patch(
        "llamafactory.model.adapter",
        "init_adapter",
        "refuses unknown types, and would merge an adapter whose gates depend on the input",
        "85e26a8933a29d2f",
        train.wrap_init_adapter,
    ),
    Patch(
        "llamafactory.train.tuner",
        "run_sft",
        "training runs the phases of citi; evaluation stays upstream's",
        "6b178bd3accf3754",
        train.wrap_run_sft,
    ),
    Patch(
        "llamafactory.train.tuner",
        "export_model",
        "demands a merged model; a citi export keeps its gates",
        "ab38d0bfaa2d6455",
        train.wrap_export_model,
    ),
    Patch(
        "llamafactory.train.tuner",
        "LogCallback",
        "the log that LLaMA Board reads holds no router loss and no gates",
        "d02d6528efe039ee",
        log.extend_log_callback,
    ),
    Patch(
        "llamafactory.launcher",
        "launch",
        "the parent of torchrun would end an error already explained with a traceback",
        "c696e92393350e79",
        launch.wrap_launch,
    ),
    *BOARD_PATCHES,
)

applied: list[str] = []
"""Names of the patches in force in this process."""


def apply_patches(module: ModuleType) -> None:
    """Apply every patch of a module that has just executed."""
    for patch in PATCHES:
        if patch.module == module.__name__:
            patch.apply(module)
            applied.append(patch.name)
