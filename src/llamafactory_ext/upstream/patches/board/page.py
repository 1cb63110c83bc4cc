"""The page of LLaMA Board: our texts, accordions and tab among upstream's, and where it listens."""

from __future__ import annotations

import contextlib
import functools
import json
import os
from collections.abc import Callable, Iterator
from contextlib import contextmanager
from pathlib import Path
from typing import Any

from ....board.hosts import HostCheck, is_local
from ....board.panels import PANELS, Panel
from ....board.texts import FALLBACK, element_text, table
from ....methods import methods, names, row_of, worker

Function = Callable[..., Any]
MANIFEST, WEIGHTS = "manifest.json", "adapter_model.safetensors"
SERVER, IPV6, SHARE = "GRADIO_SERVER_NAME", "GRADIO_IPV6", "GRADIO_SHARE"
TRUST = "trust_remote_code"
UNREAD = tuple(dict.fromkeys(name for row in methods() for name in row.replaces))  # by some method of ours


def add_stages(stages: dict[str, str]) -> dict[str, str]:
    """Extend `TRAINING_STAGES` in place: the names under which the page offers our stages."""
    stages.update({stage.upper().replace("_", "-"): stage for stage in names("stage")})
    return stages


def extend_locales(locales: dict[str, Any]) -> dict[str, Any]:
    """Extend `LOCALES` in place: the texts of our elements."""
    locales.update(table())
    return locales


def extend_manager(base: type) -> type:
    """Return the class that replaces upstream's Manager: what every tab reads includes our switch in the top row."""

    class Manager(base):  # type: ignore[misc, valid-type]
        def get_base_elems(self) -> set[Any]:
            switch = self._id_to_elem.get(f"top.{TRUST}")
            return super().get_base_elems() | ({switch} if switch is not None else set())

    Manager.__module__, Manager.__qualname__ = base.__module__, base.__qualname__
    return Manager


def wrap_create_top(original: Function) -> Function:
    """Wrap `create_top`: remote code is trusted where it is asked for."""

    @functools.wraps(original)
    def create_top(*args: Any, **named: Any) -> dict[str, Any]:
        import gradio as gr

        elements = original(*args, **named)
        with elements["checkpoint_path"].parent:
            switch = gr.Checkbox(value=False, scale=3, **element_text(TRUST, FALLBACK))
        return {**elements, TRUST: switch}

    return create_top


def wrap_create_train_tab(original: Function) -> Function:
    """Wrap `create_train_tab`: our accordions after LoRA's, read, saved and loaded together with upstream's fields."""

    @functools.wraps(original)
    def create_train_tab(engine: Any, *args: Any, **named: Any) -> dict[str, Any]:
        from ....board.components import create_panel

        method = engine.manager.get_elem_by_id("top.finetuning_type")
        created = [(panel, *create_panel(panel)) for panel in PANELS if panel.options]
        ours = {name: field for _, _, fields in created for name, field in fields.items()}
        with _among_base_elements(engine.manager, set(ours.values())):
            elements = original(engine, *args, **named)
        stages = elements["training_stage"]
        for panel, accordion, _ in reversed(created):
            _move_after(accordion, elements["lora_tab"])
            for chosen in (method, stages):
                chosen.change(_opener(panel), [method, stages], [accordion], queue=False, show_api=False)
        unread = [elements[name] for name in UNREAD if name in elements]
        for chosen in (method, stages):
            chosen.change(
                _switch(tuple(name for name in UNREAD if name in elements)),
                [method, stages],
                unread,
                queue=False,
                show_api=False,
            )
        return {**elements, **{panel.name: accordion for panel, accordion, _ in created}, **ours}

    return create_train_tab


def wrap_list_output_dirs(original: Function) -> Function:
    """Wrap `list_output_dirs`: it offers the runs that can resume; those in phases keep their checkpoints there."""

    @functools.wraps(original)
    def list_output_dirs(model_name: str | None, finetuning_type: str, *more: Any, **named: Any) -> Any:
        from llamafactory.webui.common import get_save_dir

        offered = original(model_name, finetuning_type, *more, **named)
        row = row_of(finetuning_type, "finetuning_type")
        if model_name and row is not None and row.phased:
            begun = sorted(Path(get_save_dir(model_name, finetuning_type)).glob(f"*/{MANIFEST}"))
            names = [path.parent.name for path in begun if not (path.parent / WEIGHTS).is_file()]
            offered.choices += [(name, name) for name in names if (name, name) not in offered.choices]
        return offered

    return list_output_dirs


def wrap_create_export_tab(original: Function) -> Function:
    """Wrap `create_export_tab`: its button reads no switch of the top row, so that writes into the extra arguments."""

    @functools.wraps(original)
    def create_export_tab(engine: Any, *args: Any, **named: Any) -> dict[str, Any]:
        elements = original(engine, *args, **named)
        extra = elements["extra_args"]
        switch = engine.manager.get_elem_by_id(f"top.{TRUST}")
        switch.change(_note_trust, [switch, extra], [extra], queue=False)
        return elements

    return create_export_tab


def wrap_run(original: Function) -> Function:
    """Wrap `run_web_ui` and `run_web_demo`: reachable from this machine only, unless the user names an address.

    There it answers to this machine's own names only, unless the page is shared.
    """

    @functools.wraps(original)
    def run(*args: Any, **named: Any) -> Any:
        ipv6 = os.environ.get(IPV6, "").lower() in ("1", "true", "y")
        os.environ.setdefault(SERVER, "[::1]" if ipv6 else "127.0.0.1")
        shared = os.environ.get(SHARE, "").lower() in ("1", "true", "y")
        with contextlib.nullcontext() if shared or not is_local(os.environ[SERVER]) else _checking_hosts():
            return original(*args, **named)

    return run


@contextmanager
def _checking_hosts() -> Iterator[None]:
    """Refuse requests under a foreign name while the page is served."""
    import gradio as gr
    from starlette.middleware import Middleware

    launch = gr.Blocks.launch

    @functools.wraps(launch)
    def checked(self: Any, *args: Any, **named: Any) -> Any:
        given = named.get("app_kwargs") or {}
        named["app_kwargs"] = {**given, "middleware": [Middleware(HostCheck), *given.get("middleware", ())]}
        return launch(self, *args, **named)

    gr.Blocks.launch = checked
    try:
        yield
    finally:
        gr.Blocks.launch = launch


@contextmanager
def _among_base_elements(manager: Any, fields: set[Any]) -> Iterator[None]:
    """Let what a tab takes for the elements common to all tabs include `fields` while it is built."""
    base = manager.get_base_elems
    manager.get_base_elems = lambda: base() | fields
    try:
        yield
    finally:
        del manager.get_base_elems


def _move_after(element: Any, other: Any) -> None:
    siblings = other.parent.children
    siblings.remove(element)
    siblings.insert(siblings.index(other) + 1, element)


def _opener(panel: Panel) -> Function:
    from llamafactory.extras.constants import TRAINING_STAGES

    def open_if_chosen(method: str, stage: str) -> Any:
        import gradio as gr

        return gr.Accordion(
            open=panel.belongs_to({"finetuning_type": method, "stage": TRAINING_STAGES.get(stage, "")})
        )

    return open_if_chosen


def _switch(unread: tuple[str, ...]) -> Function:
    """Return what switches off the fields that a method does not read, as its phases have options of their own."""
    from llamafactory.extras.constants import TRAINING_STAGES

    def switch(method: str, stage: str) -> Any:
        import gradio as gr

        row = worker(method, TRAINING_STAGES.get(stage))
        replaced = row.replaces if row else ()
        states = [gr.update(interactive=name not in replaced) for name in unread]
        return states[0] if len(states) == 1 else states

    return switch


def _note_trust(trusted: bool, extra_args: str) -> str:
    try:
        extra = json.loads(extra_args)
    except ValueError:
        return extra_args
    if not isinstance(extra, dict):
        return extra_args
    extra.pop(TRUST, None)
    return json.dumps(extra | {TRUST: True} if trusted else extra)
