"""The Gradio components of the panels."""

from __future__ import annotations

from typing import Any

import gradio as gr

from ..methods import load, row_of
from .options import Option
from .panels import Panel
from .texts import FALLBACK, element_text

PER_ROW = 5


def create_panel(panel: Panel) -> tuple[Any, dict[str, Any]]:
    """Return a closed accordion and its fields by option name; created where the caller's layout stands."""
    with gr.Accordion(open=False, **element_text(panel.name, FALLBACK)) as accordion:
        fields = {}
        for start in range(0, len(panel.options), PER_ROW):
            with gr.Row():
                for option in panel.options[start : start + PER_ROW]:
                    fields[option.name] = create_field(option)
        row = row_of(panel.group.values[0])
        if row is not None and row.examples:
            gr.Markdown(load(row.examples)())
    return accordion, fields


def create_field(option: Option) -> Any:
    """Return the component in which an option is entered, with its default in it."""
    texts = element_text(option.name, FALLBACK)
    if option.kind == "switch":
        return gr.Checkbox(value=option.default, **texts)
    if option.kind == "choice":
        return gr.Dropdown(choices=list(option.choices), value=option.default, **texts)
    if option.kind == "choices":
        return gr.CheckboxGroup(choices=list(option.choices), value=option.default, **texts)
    if option.kind == "whole":
        return gr.Number(value=option.default, precision=0, **texts)
    if option.kind == "number":
        return gr.Number(value=option.default, step=None, **texts)
    return gr.Textbox(value=option.default or "", **texts)
