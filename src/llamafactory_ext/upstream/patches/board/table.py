"""The rows of the table that concern LLaMA Board's process only."""

from __future__ import annotations

from collections.abc import Callable

from ..features import Feature, works
from ..patch import Arguments, Patch
from ..relies import Code, EndsWith, Has, Holds, Sets, Takes
from . import data_tab, models, page, runner

_FIELDS = (Feature.BOARD, Feature.DATA_TAB)
_DATA = Takes("self", "data")


def _while_works(feature: Feature) -> Callable[[Arguments], bool]:
    """Return whether a part of the page works, which stands in as a whole or not at all."""
    return lambda call: works(feature)


BOARD_PATCHES: tuple[Patch, ...] = (
    Patch(
        "llamafactory.extras.constants",
        "TRAINING_STAGES",
        (Feature.CHOICES, *_FIELDS),
        (Holds("sft"),),
        "LLaMA Board offers the training stages of this table",
        page.add_stages,
    ),
    Patch(
        "llamafactory.webui.locales",
        "LOCALES",
        _FIELDS,
        (Holds(),),
        "elements without an entry have no label",
        page.extend_locales,
    ),
    Patch(
        "llamafactory.webui.manager",
        "Manager",
        _FIELDS,
        (
            Takes(),
            Sets("_id_to_elem"),
            Has("get_base_elems", Takes("self")),
            Has("get_elem_by_id", Takes("self", "elem_id")),
        ),
        "every tab must read whether remote code is trusted",
        page.extend_manager,
        _while_works(Feature.BOARD),
    ),
    Patch(
        "llamafactory.webui.common",
        "_clean_cmd",
        _FIELDS,
        (Takes("args"),),
        "drops every false value, so that an option which is true by default could not be switched off",
        runner.wrap_clean_cmd,
        _while_works(Feature.BOARD),
    ),
    Patch(
        "llamafactory.webui.runner",
        "gen_cmd",
        (Feature.PREVIEW,),
        (Takes("args"),),
        "previews JSON, lists and paths with spaces without quotes",
        runner.wrap_gen_cmd,
        _while_works(Feature.PREVIEW),
    ),
    Patch(
        "llamafactory.webui.runner",
        "get_trainer_info",
        (Feature.PROGRESS,),
        (Takes("lang", "output_path", "do_train"),),
        "looks for one log in output_dir; phases have one each",
        runner.wrap_trainer_info,
        _while_works(Feature.PROGRESS),
    ),
    Patch(
        "llamafactory.webui.runner",
        "Runner",
        _FIELDS,
        (
            Has("_initialize", Takes("self", "data", "do_train", "from_preview")),
            Has("_parse_train_args", _DATA),
            Has("_parse_eval_args", _DATA),
            Has("_build_config_dict", _DATA),
            Has("_finalize", Takes("self", "lang", "finish_info")),
            Has("set_abort", Takes("self")),
            Has("monitor", Takes("self")),
            Sets("trainer", "aborted", "running_data", "do_train", "manager"),
            Code('json.loads(get("train.extra_args"))'),
        ),
        "knows upstream's fields only, forces trust_remote_code, and stops a run by a signal that phases may not hear",
        runner.extend_runner,
        _while_works(Feature.BOARD),
    ),
    Patch(
        "llamafactory.webui.chatter",
        "WebChatModel",
        _FIELDS,
        (Has("load_model", _DATA), Sets("manager"), Code('json.loads(get("infer.extra_args"))')),
        "forces trust_remote_code, and leaves errors of loading without words",
        models.extend_chatter,
        _while_works(Feature.BOARD),
    ),
    Patch(
        "llamafactory.webui.components.top",
        "create_top",
        _FIELDS,
        (Takes(), Code("checkpoint_path")),
        "nothing on the page says whether remote code is trusted",
        page.wrap_create_top,
        _while_works(Feature.BOARD),
    ),
    Patch(
        "llamafactory.webui.components.train",
        "create_train_tab",
        _FIELDS,
        (Takes("engine"), Code("training_stage", "lora_tab", "engine.manager.get_base_elems()")),
        "the fields of the train tab are a fixed list",
        page.wrap_create_train_tab,
        _while_works(Feature.BOARD),
    ),
    Patch(
        "llamafactory.webui.components.train",
        "list_output_dirs",
        (Feature.PROGRESS,),
        (Takes("model_name", "finetuning_type", "current_time"),),
        "looks for checkpoints in output_dir; an interrupted run in phases has them there",
        page.wrap_list_output_dirs,
        _while_works(Feature.PROGRESS),
    ),
    Patch(
        "llamafactory.webui.components.export",
        "save_model",
        _FIELDS,
        (EndsWith("extra_args"),),
        "forces trust_remote_code, and leaves errors of exporting without words",
        models.wrap_save_model,
        _while_works(Feature.BOARD),
    ),
    Patch(
        "llamafactory.webui.components.export",
        "create_export_tab",
        _FIELDS,
        (Takes("engine"), Code("extra_args")),
        "its button does not read whether remote code is trusted",
        page.wrap_create_export_tab,
        _while_works(Feature.BOARD),
    ),
    Patch(
        "llamafactory.webui.interface",
        "create_infer_tab",
        (Feature.DATA_TAB,),
        (Takes("engine"),),
        "the page's tabs are a fixed list: the one before our own hands on the engine",
        data_tab.wrap_create_infer_tab,
        _while_works(Feature.DATA_TAB),
    ),
    Patch(
        "llamafactory.webui.interface",
        "create_footer",
        (Feature.DATA_TAB,),
        (Takes(),),
        "the page's tabs are a fixed list: our own must come before the page ends",
        data_tab.wrap_create_footer,
        _while_works(Feature.DATA_TAB),
    ),
    *(
        Patch(
            "llamafactory.webui.interface",
            symbol,
            (Feature.ADDRESS,),
            (Takes(), Code('"GRADIO_SERVER_NAME"', '"GRADIO_IPV6"')),
            "listens on every network address by default",
            page.wrap_run,
        )
        for symbol in ("run_web_ui", "run_web_demo")
    ),
)
