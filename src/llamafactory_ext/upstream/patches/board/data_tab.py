"""The data tab of LLaMA Board: what is wrong with data sets, and what the model learns from one example."""

from __future__ import annotations

import functools
from collections.abc import Callable
from contextvars import ContextVar
from typing import Any

from ....board.texts import FALLBACK, element_text
from ....methods import load, methods, row_of
from ....options.groups import option_names

Function = Callable[..., Any]
# Read from the train tab, so that the preview shows what its run would learn.
PROCESSING = ("train_on_prompt", "mask_history", "enable_thinking")
WEIGHING = tuple(row for row in methods("stage") if row.weigher)
OF_TRAIN_TAB = (
    "training_stage",
    "cutoff_len",
    *PROCESSING,
    *(name for row in WEIGHING for name in option_names(load(row.arguments))),
)
OF_TOP_ROWS = ("lang", "model_path", "template", "finetuning_type")
_engine: ContextVar[Any] = ContextVar("_engine", default=None)


def wrap_create_infer_tab(original: Function) -> Function:
    """Wrap `create_infer_tab`, which every page with tabs has: keep the engine for the tab behind the last."""

    @functools.wraps(original)
    def create_infer_tab(engine: Any, *args: Any, **named: Any) -> dict[str, Any]:
        _engine.set(engine)
        return original(engine, *args, **named)

    return create_infer_tab


def wrap_create_footer(original: Function) -> Function:
    """Wrap `create_footer`, which ends the page: put our tab beside upstream's, before it."""

    @functools.wraps(original)
    def create_footer(*args: Any, **named: Any) -> dict[str, Any]:
        import gradio as gr

        engine = _engine.get()
        _engine.set(None)
        # A demonstration shows no files of its machine.
        if engine is not None and not engine.demo_mode and _has_its_parts():
            with gr.Tab("Data"):
                engine.manager.add_elems("data", _create_data_tab(engine.manager))
        return original(*args, **named)

    return create_footer


def _has_its_parts() -> bool:
    """Tell whether upstream still has what the tab takes from it; without that the page is upstream's own."""
    try:
        from llamafactory.webui.common import DEFAULT_DATA_DIR  # noqa: F401
        from llamafactory.webui.control import list_datasets  # noqa: F401
    except ImportError:
        return False
    return True


def _create_data_tab(manager: Any) -> dict[str, Any]:
    import gradio as gr
    from llamafactory.webui.common import DEFAULT_DATA_DIR
    from llamafactory.webui.control import list_datasets

    def texts(name: str) -> dict[str, Any]:
        return element_text(name, FALLBACK)

    with gr.Row():
        folder = gr.Textbox(value=DEFAULT_DATA_DIR, scale=1)
        dataset = gr.Dropdown(multiselect=True, allow_custom_value=True, scale=3)
        record = gr.Number(value=0, precision=0, minimum=0, scale=1, **texts("data_record"))
        with_tokens = gr.Checkbox(value=False, scale=2, **texts("data_with_tokens"))
    with gr.Row():
        check_button = gr.Button(variant="primary", **texts("data_check_btn"))
        preview_button = gr.Button(variant="primary", **texts("data_preview_tokens_btn"))
    shown = gr.HTML()
    own = {"dataset_dir": folder, "dataset": dataset, "data_record": record, "data_with_tokens": with_tokens}
    elements = {
        **{name: manager.get_elem_by_id(f"top.{name}") for name in OF_TOP_ROWS},
        **{name: manager.get_elem_by_id(f"train.{name}") for name in OF_TRAIN_TAB},
        **own,
    }

    def reading(function: Callable[[dict[str, Any]], str]) -> Callable[[dict[Any, Any]], str]:
        return lambda data: function({name: data[element] for name, element in elements.items()})

    dataset.focus(list_datasets, [folder], [dataset], queue=False)
    check_button.click(reading(check), set(elements.values()), [shown])
    preview_button.click(reading(preview_tokens), set(elements.values()), [shown])
    return {**own, "data_check_btn": check_button, "data_preview_tokens_btn": preview_button, "data_shown": shown}


def check(fields: dict[str, Any]) -> str:
    """Return what `data check` finds, as HTML; for some methods also what their data sets lack together."""
    from ....board.findings import shown_findings, shown_remarks
    from ...pipeline.encoding import ExampleEncoder

    names, folder = fields["dataset"] or [], fields["dataset_dir"]
    encoder = functools.partial(ExampleEncoder, fields["model_path"], fields["template"], fields["cutoff_len"])
    found = shown_findings(names, folder, encoder if fields["data_with_tokens"] else None, fields["lang"])
    row = row_of(fields["finetuning_type"], "finetuning_type")
    return shown_remarks(load(row.check_data), names, folder) + found if names and row and row.check_data else found


def preview_tokens(fields: dict[str, Any]) -> str:
    """Return one record of each data set with the weight of every token, as HTML."""
    from llamafactory.extras.constants import TRAINING_STAGES

    from ....board.findings import shown_preview
    from ....data.preview.request import Request

    chosen = TRAINING_STAGES[fields["training_stage"]]
    weighing = next((row for row in WEIGHING if row.name == chosen), None)
    request = Request(
        names=tuple(fields["dataset"] or ()),
        model=fields["model_path"] or "",
        template=fields["template"] or "",
        dataset_dir=fields["dataset_dir"],
        cutoff_len=fields["cutoff_len"],
        index=fields["data_record"] or 0,
        count=1,
        stage=weighing.name if weighing else "sft",
        options={name: fields[name] for name in PROCESSING},
        tl_options={name: fields[name] for name in option_names(load(weighing.arguments))} if weighing else {},
    )
    return shown_preview(request, fields["lang"])
