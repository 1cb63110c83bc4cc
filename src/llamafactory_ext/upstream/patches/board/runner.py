"""What LLaMA Board makes of its fields: commands, configuration files, the run it starts, stops and watches."""

from __future__ import annotations

import functools
import json
import shlex
from collections.abc import Callable, Iterator
from pathlib import Path
from typing import TYPE_CHECKING, Any

from ....board.panels import PANELS, panel_values, problems_of
from ....board.texts import message
from ....errors import OptionError
from ....methods import row_of
from ....options.groups import option_names
from ..arguments import HEADING

if TYPE_CHECKING:
    Base = Any  # upstream's Runner
else:
    Base = object

Function = Callable[..., Any]
TRUST = "top.trust_remote_code"


class OurRunner(Base):
    """Stands before upstream's Runner: reads our panels, trusts no remote code unasked, and stops phases at once."""

    was_aborted = False

    def _initialize(self, data: dict[Any, Any], do_train: bool, from_preview: bool, *more: Any, **named: Any) -> str:
        error = str(super()._initialize(data, do_train, from_preview, *more, **named))
        problems = problems_of(self._panel_values(data)) if do_train and not error else []
        return OptionError.listing(HEADING, problems).message if problems else error

    def _parse_train_args(self, data: dict[Any, Any]) -> dict[str, Any]:
        args = super()._parse_train_args(data)
        extra = json.loads(self._get(data, "train.extra_args"))
        for name, value in self._panel_values(data).items():
            args[name] = extra.get(name, value)
        args["trust_remote_code"] = extra.get("trust_remote_code", bool(self._get(data, TRUST)))
        row = row_of(args["finetuning_type"], "finetuning_type")
        for name in row.replaces if row else ():
            args.pop(name)
        return args

    def _parse_eval_args(self, data: dict[Any, Any]) -> dict[str, Any]:
        return super()._parse_eval_args(data) | {"trust_remote_code": bool(self._get(data, TRUST))}

    def _build_config_dict(self, data: dict[Any, Any]) -> dict[str, Any]:
        """Build upstream's, which must stay loadable without us where a run has nothing of ours."""
        ours = {f"train.{option.name}" for panel in PANELS for option in panel.options}
        used = {f"train.{name}" for name in self._panel_values(data)}
        config = super()._build_config_dict(data)
        return {name: value for name, value in config.items() if name not in (ours - used) | {TRUST}}

    def set_abort(self) -> None:
        """End the run; one in phases has moments at which upstream's signal is not heard.

        Its files are whole at any moment.
        """
        if self.trainer is None or not self._is_phased(self.running_data):
            super().set_abort()
            return
        self.aborted = True
        terminate(self.trainer.pid)

    def monitor(self) -> Iterator[dict[Any, Any]]:
        """Tell that a run was aborted where upstream's last word says that it has finished."""
        data, self.was_aborted = self.running_data, False
        box = self.manager.get_elem_by_id("train.output_box")
        ours = self.do_train and self._is_phased(data)
        for update in super().monitor():
            ended = ours and self.was_aborted
            yield {**update, box: message("aborted", self._get(data, "top.lang"))} if ended else update

    def _finalize(self, lang: str, finish_info: str) -> None:
        self.was_aborted = self.aborted  # upstream forgets it here
        super()._finalize(lang, finish_info)

    def _panel_values(self, data: dict[Any, Any]) -> dict[str, Any]:
        from llamafactory.extras.constants import TRAINING_STAGES

        entered = {
            option.name: self._get(data, f"train.{option.name}") for panel in PANELS for option in panel.options
        }
        chosen = {
            "finetuning_type": self._get(data, "top.finetuning_type"),
            "stage": TRAINING_STAGES[self._get(data, "train.training_stage")],
        }
        return panel_values(chosen, entered)

    def _is_phased(self, data: dict[Any, Any]) -> bool:
        row = row_of(self._get(data, "top.finetuning_type"), "finetuning_type")
        return row is not None and row.phased

    def _get(self, data: dict[Any, Any], element: str) -> Any:
        return data[self.manager.get_elem_by_id(element)]


def extend_runner(base: type) -> type:
    """Return the class that replaces upstream's Runner."""
    return type(base.__name__, (OurRunner, base), {"__module__": base.__module__})


def terminate(process_id: int) -> None:
    """End a process and all it has started, the last started first."""
    from psutil import NoSuchProcess, Process

    try:
        process = Process(process_id)
        for one in [*reversed(process.children(recursive=True)), process]:
            one.terminate()
    except NoSuchProcess:
        pass


def wrap_clean_cmd(original: Function) -> Function:
    """Wrap `_clean_cmd`: it leaves out whatever is false; ours may be true by default."""

    @functools.wraps(original)
    def clean_cmd(args: dict[str, Any], *more: Any, **named: Any) -> dict[str, Any]:
        kept = original(args, *more, **named)
        ours = option_names()
        return {name: value for name, value in args.items() if name in kept or (name in ours and value is False)}

    return clean_cmd


def wrap_gen_cmd(original: Function) -> Function:
    """Wrap `gen_cmd`: a command that a shell reads as it was meant, whatever stands in the fields."""

    @functools.wraps(original)
    def gen_cmd(args: dict[str, Any], *more: Any, **named: Any) -> Any:
        return original({name: _quoted(value) for name, value in args.items()}, *more, **named)

    return gen_cmd


def wrap_trainer_info(original: Function) -> Function:
    """Wrap `get_trainer_info`: a run in phases logs in the folders of its phases, others log figures of their own."""

    @functools.wraps(original)
    def get_trainer_info(lang: str, output_path: str, do_train: bool, *more: Any, **named: Any) -> Any:
        import gradio as gr

        from ....board.progress import read_logged, read_progress
        from ....board.showing import as_markdown, bar_label, newest_figures, picture

        log, bar, shown = original(lang, output_path, do_train, *more, **named)
        progress = read_progress(Path(output_path)) if do_train else None
        logged = read_logged(Path(output_path)) if do_train and progress is None else None
        if logged is not None:
            return newest_figures(logged, lang) + log, bar, {**shown, "loss_viewer": gr.Plot(picture(logged))}
        if progress is None:
            return log, bar, shown
        bar = gr.Slider(label=bar_label(progress, lang), value=progress.percentage, visible=True)
        if any(phase.lines for phase in progress.phases):
            shown = {**shown, "loss_viewer": gr.Plot(picture(progress))}
        return as_markdown(progress, lang) + log, bar, shown

    return get_trainer_info


def _quoted(value: Any) -> Any:
    if isinstance(value, dict):
        return shlex.quote(json.dumps(value, ensure_ascii=False))
    if isinstance(value, list):
        return [shlex.quote(str(word)) for word in value]
    return shlex.quote(value) if isinstance(value, str) and value else value
