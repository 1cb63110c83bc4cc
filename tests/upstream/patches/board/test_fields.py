"""The Board's fields that a method does not read, and its chat with a model of another template."""

from __future__ import annotations

import json
from collections.abc import Iterator
from pathlib import Path
from typing import Any

import gradio as gr
import pytest
from llamafactory.extras.constants import TRAINING_STAGES
from llamafactory.webui import interface
from llamafactory.webui.common import get_save_dir

from llamafactory_ext.upstream.patches.board.models import extend_chatter
from llamafactory_ext.upstream.patches.board.page import UNREAD, _switch

STAGES = {value: name for name, value in TRAINING_STAGES.items()}


@pytest.mark.parametrize("method", ["citi", "lora", "full", "freeze"])
@pytest.mark.parametrize("stage", ["sft", "tl_sft", "tl_ppo", "dpo"])
def test_fields_that_a_method_does_not_read_are_off(method: str, stage: str) -> None:
    """The phases of citi have rates and epochs of their own; PPO on a citi adapter is no phase."""
    found = _switch(UNREAD)(method, STAGES[stage])
    is_off = method == "citi" and stage != "tl_ppo"
    assert [change["interactive"] for change in found] == [not is_off] * len(UNREAD)


def test_the_page_switches_them_when_method_or_stage_is_chosen() -> None:
    page = interface.create_ui()
    changes = [function for function in page.fns.values() if getattr(function.fn, "__name__", "") == "switch"]
    assert len(changes) == 2
    for change in changes:
        assert [type(output).__name__ for output in change.outputs] == ["Textbox"] * len(UNREAD)
        assert len(change.inputs) == 2
    chosen = [target for change in changes for target in change.targets]
    assert {event for _, event in chosen} == {"change"}
    assert {id(page.blocks[number]) for number, _ in chosen} == {id(one) for one in changes[0].inputs}


class _Manager:
    def get_elem_by_id(self, name: str) -> str:
        return name


class _Base:
    manager = _Manager()

    def load_model(self, data: dict[str, Any]) -> Iterator[str]:
        yield f"loaded with {data['infer.extra_args']}"


FACTS = {
    "citi": ("manifest.json", {"plan": {"template": "llama3"}}),
    "tl_sft": ("tl_report.json", {"template": "llama3"}),
    "somebody's": ("manifest.json", {"template": 7}),
    "nothing": ("README.md", {}),
}


@pytest.mark.parametrize("place", ["adapter", "adapters", "model"])
@pytest.mark.parametrize(("kind", "asked"), [(kind, asked) for kind in FACTS for asked in ("llama3", "qwen")])
def test_chat_warns_of_another_template(
    kind: str, asked: str, place: str, tmp_path: Path, monkeypatch: pytest.MonkeyPatch
) -> None:
    warnings: list[str] = []
    monkeypatch.setattr(gr, "Warning", warnings.append)
    monkeypatch.chdir(tmp_path)
    folder = tmp_path / "whole" if place == "model" else tmp_path / get_save_dir("M", "lora", "run")
    folder.mkdir(parents=True)
    name, facts = FACTS[kind]
    (folder / name).write_text(json.dumps(facts))
    data = {
        "top.trust_remote_code": False,
        "infer.extra_args": "{}",
        "top.template": asked,
        "top.checkpoint_path": {"adapter": "run", "adapters": ["run"], "model": []}[place],
        "top.model_path": str(folder) if place == "model" else "elsewhere",
        "top.model_name": "M",
        "top.finetuning_type": "lora",
    }
    steps = list(extend_chatter(_Base)().load_model(data))
    assert len(steps) == 1
    assert bool(warnings) == (kind in ("citi", "tl_sft") and asked == "qwen")
    assert all("was trained with template llama3" in line and "Set template: llama3" in line for line in warnings)
