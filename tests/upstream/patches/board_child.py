"""Builds LLaMA Board without a browser, presses "Start" for a citi run, and prints what the Board would show."""

import json
import sys
from typing import Any

import gradio as gr
from llamafactory.webui import interface

engines: list[Any] = []
engine_class = interface.Engine


def keep_engine(**settings: Any) -> Any:
    engines.append(engine_class(**settings))
    return engines[-1]


model_path, dataset_dir, extra_args = sys.argv[1:]
interface.Engine = keep_engine
interface.create_ui()
manager = engines[0].manager
values = {
    "top.lang": "en",
    "top.model_name": "Custom",
    "top.model_path": model_path,
    "top.finetuning_type": "citi",
    "top.template": "llama3",
    "top.checkpoint_path": [],
    "train.dataset": ["tiny"],
    "train.dataset_dir": dataset_dir,
    "train.output_dir": "board",
    "train.config_path": "board.yaml",
    "train.compute_type": "fp32",
    "train.extra_args": json.dumps(json.loads(extra_args) | {"preprocessing_num_workers": 1}),
}
data = {element: getattr(element, "value", None) for _, element in manager.get_elem_iter()}
data |= {manager.get_elem_by_id(name): value for name, value in values.items()}
print("choices:", [choice for choice, _ in manager.get_elem_by_id("top.finetuning_type").choices])
for update in engines[0].runner.run_train(data):
    shown = update.get(manager.get_elem_by_id("train.output_box"))
print("box:", shown.value if isinstance(shown, gr.Markdown) else shown)
