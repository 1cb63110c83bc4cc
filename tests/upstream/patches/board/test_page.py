"""The Board's page and commands without a browser: elements, commands, configuration files, trust, address."""

from __future__ import annotations

import json
import re
import shlex
import signal
import subprocess
import sys
from collections.abc import Iterator
from pathlib import Path
from typing import Any

import gradio as gr
import psutil
import pytest
import yaml
from llamafactory.hparams import get_train_args
from llamafactory.webui import interface
from llamafactory.webui.components import export, train

from board_server import MODEL, ROOT
from llamafactory_ext.board.panels import PANELS
from llamafactory_ext.errors import CheckpointError
from llamafactory_ext.upstream.patches.board.models import told, with_trust
from llamafactory_ext.upstream.patches.board.runner import terminate

pytestmark = pytest.mark.fast

Values = dict[str, Any]
FILLED: Values = {
    "top.lang": "en",
    "top.model_name": "Custom",
    "top.model_path": "a model",
    "top.finetuning_type": "citi",
    "top.template": "llama3",
    "top.checkpoint_path": [],
    "train.dataset": ["tiny"],
    "train.output_dir": "run",
    "train.config_path": "kept.yaml",
    "train.compute_type": "fp32",
    "train.extra_args": '{"optim": "adamw_torch"}',
    "infer.extra_args": "{}",
}


class Board:
    """The page, and what stands in its fields."""

    def __init__(self, engine: Any, page: Any) -> None:
        self.engine, self.page, self.manager, self.runner = engine, page, engine.manager, engine.runner

    def element(self, name: str) -> Any:
        return self.manager.get_elem_by_id(name)

    def data(self, changes: Values) -> dict[Any, Any]:
        """All fields as they are at first, filled in for a citi run, and changed."""
        held = {element: getattr(element, "value", None) for _, element in self.manager.get_elem_iter()}
        return held | {self.element(name): value for name, value in (FILLED | changes).items()}

    def inputs(self, data: dict[Any, Any], button: str) -> dict[Any, Any]:
        """What the handler of a button is given: only the elements it reads."""
        element = self.element(button)
        (handler,) = (fn for fn in self.page.fns.values() if (element._id, "click") in fn.targets)
        return {one: data[one] for one in handler.inputs}

    def args(self, changes: Values) -> Values:
        return self.runner._parse_train_args(self.inputs(self.data(changes), "train.start_btn"))

    def preview(self, changes: Values) -> str:
        (update,) = self.runner.preview_train(self.inputs(self.data(changes), "train.cmd_preview_btn"))
        return str(update[self.element("train.output_box")])


def words_of(preview: str) -> list[str]:
    """The previewed command as a shell reads it."""
    return shlex.split(preview.strip("`").removeprefix("bash").replace("\\\n", " "))


@pytest.fixture(scope="module")
def board(tmp_path_factory: pytest.TempPathFactory) -> Iterator[Board]:
    engines: list[Any] = []
    original = interface.Engine

    def keep(**settings: Any) -> Any:
        engines.append(original(**settings))
        return engines[-1]

    with pytest.MonkeyPatch.context() as patch:
        patch.chdir(tmp_path_factory.mktemp("board"))
        patch.setattr(interface, "Engine", keep)
        page = interface.create_ui()
        yield Board(engines[0], page)


@pytest.fixture(autouse=True)
def quiet(monkeypatch: pytest.MonkeyPatch) -> list[str]:
    """Warnings of the page, which need a browser to be shown."""
    said: list[str] = []
    monkeypatch.setattr(gr, "Warning", said.append)
    return said


def test_methods_stages_and_accordions(board: Board) -> None:
    assert "citi" in [value for _, value in board.element("top.finetuning_type").choices]
    stages = [value for _, value in board.element("train.training_stage").choices]
    assert stages[0] == "Supervised Fine-Tuning"
    assert {"TL-SFT", "TL-PPO"} <= set(stages)
    siblings = board.element("train.lora_tab").parent.children
    after_lora = siblings[siblings.index(board.element("train.lora_tab")) + 1 :]
    shown = [panel for panel in PANELS if panel.options]
    assert after_lora[: len(shown)] == [board.element(f"train.{panel.name}") for panel in shown]


def test_the_language_changes_our_texts_too(board: Board) -> None:
    changed = board.engine.change_lang("zh")
    assert changed[board.element("train.citi_tab")].label == "CITI 参数设置"
    assert changed[board.element("train.citi_rank")].label == "秩"
    assert "轮" in changed[board.element("train.citi_mi_epochs")].label


def test_a_citi_command_can_be_pasted(board: Board) -> None:
    shown = board.preview(
        {
            "train.citi_router_neutral": False,
            "train.citi_phases": ["uco", "mi"],
            "train.citi_importance_load": "a folder/it's.json",
            "train.extra_args": '{"optim": "adamw_torch", "citi_alpha": 3, "lr_scheduler_kwargs": {"a b": 1}}',
        }
    )
    words = words_of(shown)
    assert words[:2] == ["llamafactory-cli", "train"]
    options: dict[str, list[str]] = {}
    for word in words[2:]:
        if word.startswith("--"):
            options[word.removeprefix("--")] = []
        else:
            options[list(options)[-1]].append(word)
    assert options["finetuning_type"] == ["citi"]
    assert options["model_name_or_path"] == ["a model"]
    assert options["citi_router_neutral"] == ["False"]
    assert options["citi_phases"] == ["mi", "uco"]
    assert options["citi_importance_load"] == ["a folder/it's.json"]
    assert options["citi_alpha"] == ["3"]
    assert json.loads(options["lr_scheduler_kwargs"][0]) == {"a b": 1}
    assert not {"trust_remote_code", "learning_rate", "num_train_epochs", "tl_w_max", "lora_rank"} & options.keys()


@pytest.mark.parametrize("method", ["citi", "tl_sft", "tl_ppo"])
def test_a_previewed_command_is_accepted(
    board: Board, method: str, tiny_llama_dir: Path, tiny_data_dir: Path, tmp_path: Path
) -> None:
    """By upstream's parser and all of our checks, with every field as it stands at first."""
    chosen = {
        "top.model_path": str(tiny_llama_dir),
        "train.output_dir": str(tmp_path / "out"),
        "train.dataset_dir": str(tiny_data_dir),
        "train.extra_args": '{"use_cpu": true}',
    }
    if method != "citi":
        chosen |= {"top.finetuning_type": "full", "train.training_stage": method.upper().replace("_", "-")}
    groups = get_train_args(words_of(board.preview(chosen))[2:])
    assert groups[3].finetuning_type == chosen.get("top.finetuning_type", "citi")
    assert groups[3].tl_stage == (None if method == "citi" else method)


def test_interrupted_runs_are_offered_again(board: Board) -> None:
    for name, files in {"begun": ["manifest.json"], "ended": ["manifest.json", "adapter_model.safetensors"]}.items():
        for file in files:
            path = Path("saves", "Custom", "citi", name, file)
            path.parent.mkdir(parents=True, exist_ok=True)
            path.touch()
    shown = board.element("train.output_dir")
    assert train.list_output_dirs in [fn.fn for fn in board.page.fns.values() if shown in fn.outputs]
    offered = [name for name, _ in train.list_output_dirs("Custom", "citi", "now").choices]
    assert offered == ["train_now", "begun"]
    assert [name for name, _ in train.list_output_dirs("Custom", "lora", "now").choices] == ["train_now"]


def test_other_runs_are_as_upstream_makes_them(board: Board) -> None:
    args = board.args({"top.finetuning_type": "lora"})
    assert args["learning_rate"] == 5e-5
    assert args["lora_rank"] == 8
    assert not any(name.startswith(("citi_", "tl_")) for name in args)


def test_a_tl_sft_run_reads_its_panel(board: Board) -> None:
    args = board.args({"top.finetuning_type": "full", "train.training_stage": "TL-SFT", "train.tl_w_max": 4})
    assert args["stage"] == "tl_sft"
    assert args["tl_w_max"] == 4
    assert args["tl_use_mae"] is True
    assert not any(name.startswith("citi_") for name in args)


def test_wrong_values_are_named_before_anything_starts(board: Board, quiet: list[str]) -> None:
    shown = board.preview({"train.citi_top_ratio": 7})
    assert "citi_top_ratio=7: give a number above 0 to 1" in shown
    assert quiet == [shown]


def test_values_are_saved_and_loaded(board: Board) -> None:
    data = board.data({"train.citi_rank": 5, "train.citi_phases": ["mi"], "top.trust_remote_code": True})
    board.runner.save_args(board.inputs(data, "train.arg_save_btn"))
    saved = yaml.safe_load(Path("llamaboard_config/kept.yaml").read_text("utf-8"))
    assert saved["train.citi_rank"] == 5
    assert not any(name.startswith("train.tl_") for name in saved)
    assert "top.trust_remote_code" not in saved
    loaded = board.runner.load_args("en", "kept.yaml")
    assert loaded[board.element("train.citi_rank")] == 5
    assert loaded[board.element("train.citi_phases")] == ["mi"]
    button = board.element("train.arg_load_btn")
    (handler,) = (fn for fn in board.page.fns.values() if (button._id, "click") in fn.targets)
    assert board.element("train.citi_rank") in handler.outputs


def test_configurations_of_other_runs_load_without_us(board: Board) -> None:
    data = board.data({"top.finetuning_type": "lora"})
    board.runner.save_args(board.inputs(data, "train.arg_save_btn"))
    saved = yaml.safe_load(Path("llamaboard_config/kept.yaml").read_text("utf-8"))
    assert not any(name.startswith(("train.citi_", "train.tl_")) for name in saved)


@pytest.mark.parametrize("trusted", [False, True])
def test_remote_code_is_trusted_only_where_asked(board: Board, trusted: bool, monkeypatch: pytest.MonkeyPatch) -> None:
    switch = {"top.trust_remote_code": trusted}
    assert bool(board.args(switch)["trust_remote_code"]) is trusted
    assert board.args({"train.extra_args": '{"trust_remote_code": true}'})["trust_remote_code"] is True
    data = board.data(switch | {"eval.dataset": ["tiny"], "eval.output_dir": "eval"})
    evaluation = board.runner._parse_eval_args(board.inputs(data, "eval.start_btn"))
    assert evaluation["trust_remote_code"] is trusted
    seen: list[Values] = []
    monkeypatch.setattr("llamafactory.chat.ChatModel.__init__", lambda self, args: seen.append(args))
    list(board.engine.chatter.load_model(board.inputs(data, "infer.load_btn")))
    monkeypatch.setattr(export, "export_model", seen.append)
    values = ["en", "Custom", "m", "citi", ["run"], "llama3", 5, "none", "", "cpu", False, "out", ""]
    list(export.save_model(*values, json.dumps({"trust_remote_code": True} if trusted else {})))
    assert [args["trust_remote_code"] for args in seen] == [trusted, trusted]
    assert seen[1]["adapter_name_or_path"] == str(Path("saves", "Custom", "citi", "run"))


def test_the_switch_writes_into_the_export_tabs_arguments(board: Board) -> None:
    switch = board.element("top.trust_remote_code")
    (handler,) = (fn for fn in board.page.fns.values() if (switch._id, "change") in fn.targets)
    assert handler.outputs == [board.element("export.extra_args")]
    assert json.loads(handler.fn(True, '{"a": 1}')) == {"a": 1, "trust_remote_code": True}
    assert json.loads(handler.fn(False, '{"a": 1, "trust_remote_code": true}')) == {"a": 1}
    assert handler.fn(True, "{not JSON") == "{not JSON"
    assert with_trust("{not JSON", True) == "{not JSON"


def test_our_errors_are_told_on_the_page(quiet: list[str]) -> None:
    def steps() -> Iterator[str]:
        yield "loading"
        raise CheckpointError("the adapter does not fit")

    assert list(told(steps())) == ["loading", "the adapter does not fit"]
    assert quiet == ["the adapter does not fit"]


@pytest.mark.parametrize(
    ("variables", "address"),
    [({}, "127.0.0.1"), ({"GRADIO_IPV6": "1"}, "[::1]"), ({"GRADIO_SERVER_NAME": "0.0.0.0"}, "0.0.0.0")],
)
@pytest.mark.parametrize("run", ["run_web_ui", "run_web_demo"])
def test_it_listens_on_this_machine_only(
    run: str, variables: dict[str, str], address: str, monkeypatch: pytest.MonkeyPatch
) -> None:
    seen: list[str] = []

    class Page:
        def queue(self) -> Page:
            return self

        def launch(self, *, server_name: str, **_: Any) -> None:
            seen.append(server_name)

    monkeypatch.setattr(interface, "create_ui", Page)
    monkeypatch.setattr(interface, "create_web_demo", Page)
    for name in ("GRADIO_SERVER_NAME", "GRADIO_IPV6", "no_proxy", "NO_PROXY"):
        monkeypatch.setenv(name, "")
        monkeypatch.delenv(name)
    for name, value in variables.items():
        monkeypatch.setenv(name, value)
    getattr(interface, run)()
    assert seen == [address]


def test_abort_ends_a_citi_run_and_all_it_has_started(board: Board, monkeypatch: pytest.MonkeyPatch) -> None:
    """The child ignores upstream's signal, as a process does that is busy outside Python."""
    sleep = "import time; time.sleep(600)"
    code = (
        "import signal, subprocess, sys; signal.signal(signal.SIGABRT, signal.SIG_IGN); "
        f"subprocess.Popen([sys.executable, '-c', '{sleep}']); print(1, flush=True); {sleep}"
    )
    with subprocess.Popen([sys.executable, "-c", code], stdout=subprocess.PIPE) as process:
        assert process.stdout is not None
        process.stdout.readline()
        children = psutil.Process(process.pid).children()
        monkeypatch.setattr(board.runner, "trainer", process)
        monkeypatch.setattr(board.runner, "running_data", board.data({}))
        monkeypatch.setattr(gr, "Info", print)
        updates = board.runner.monitor()
        next(updates)
        board.runner.set_abort()
        *_, last = updates
        assert process.wait(120) == -signal.SIGTERM
        gone, alive = psutil.wait_procs(children, timeout=120)
        assert len(gone) == 1
        assert alive == []
        terminate(process.pid)  # nothing left to end: no error
    assert last[board.element("train.output_box")].startswith("Aborted. Start again")
    assert not board.runner.running


def test_abort_of_other_runs_is_upstreams(board: Board, monkeypatch: pytest.MonkeyPatch) -> None:
    ended: list[int] = []
    monkeypatch.setattr("llamafactory.webui.runner.abort_process", ended.append)
    monkeypatch.setattr(board.runner, "trainer", type("Trainer", (), {"pid": 7})())
    monkeypatch.setattr(board.runner, "running_data", board.data({"top.finetuning_type": "lora"}))
    board.runner.set_abort()
    assert ended == [7]
    board.runner.aborted = False


def data_tab(board: Board, button: str, changes: Values) -> str:
    """What the tab shows after a press of its button."""
    element = board.element(f"data.{button}")
    (handler,) = (fn for fn in board.page.fns.values() if (element._id, "click") in fn.targets)
    assert handler.outputs == [board.element("data.data_shown")]
    return str(handler.fn({one: board.data(changes)[one] for one in handler.inputs}))


def test_the_data_tab_stands_among_the_others(board: Board) -> None:
    (tabs,) = (block for block in board.page.children if isinstance(block, gr.Tabs))
    assert [tab.label for tab in tabs.children] == ["Train", "Evaluate & Predict", "Chat", "Export", "Data"]


def test_findings_of_data_sets(board: Board, tiny_data_dir: Path, tiny_llama_dir: Path, tmp_path: Path) -> None:
    asked = {"data.dataset": ["tiny"], "data.dataset_dir": str(tiny_data_dir), "top.model_path": str(tiny_llama_dir)}
    shown = data_tab(board, "data_check_btn", asked)
    assert '<tr><td>records</td><td align="right">16</td></tr>' in shown
    assert "No errors." in shown
    assert "trained tokens" not in shown
    assert "trained tokens" in data_tab(board, "data_check_btn", asked | {"data.data_with_tokens": True})
    assert "没有错误" in data_tab(board, "data_check_btn", asked | {"top.lang": "zh"})
    records = [{"instruction": "<b>", "input": "", "output": "API-Request: [Call(", "mark": "tool", "task": "<i>"}]
    (tmp_path / "bad.json").write_text(json.dumps(records))
    (tmp_path / "dataset_info.json").write_text("{}")
    shown = data_tab(board, "data_check_btn", {"data.dataset": ["bad<b>"], "data.dataset_dir": str(tmp_path)})
    assert "bad&lt;b&gt;" in shown
    shown = data_tab(board, "data_check_btn", asked | {"data.dataset": [str(tmp_path / "bad.json")]})
    assert "<li>" in shown
    assert "does not parse" in shown
    assert data_tab(board, "data_check_btn", {}) == data_tab(board, "data_preview_tokens_btn", {})


def test_marks_are_asked_for_where_citi_needs_them(board: Board, tiny_data_dir: Path, tmp_path: Path) -> None:
    (tmp_path / "tool.json").write_text(json.dumps([json.loads((tiny_data_dir / "tiny.json").read_text())[0]]))
    entry = json.loads((tiny_data_dir / "dataset_info.json").read_text())["tiny"] | {"file_name": "tool.json"}
    (tmp_path / "dataset_info.json").write_text(json.dumps({"tool": entry}))
    asked = {"data.dataset": ["tool"], "data.dataset_dir": str(tmp_path)}
    assert "no example is marked &quot;general&quot;" in data_tab(board, "data_check_btn", asked)
    assert "no example is marked" not in data_tab(board, "data_check_btn", asked | {"top.finetuning_type": "lora"})


def test_token_weights_follow_the_train_tab(board: Board) -> None:
    asked = {
        "data.dataset": ["lab_trajectories"],
        "data.dataset_dir": str(ROOT / "data"),
        "top.model_path": str(MODEL),
        "top.template": "llama3_api_bank",
        "top.finetuning_type": "full",
    }
    plain = data_tab(board, "data_preview_tokens_btn", asked)
    assert "weight 1" in plain
    weighed = data_tab(
        board, "data_preview_tokens_btn", asked | {"train.training_stage": "TL-SFT", "train.tl_w_max": 6}
    )
    assert re.findall(r"weight ([2-9]\S*)\"", weighed)
    assert max(float(weight) for weight in re.findall(r"weight ([\d.]+)\"", weighed)) <= 6
    assert "records; --index 9000" in data_tab(board, "data_preview_tokens_btn", asked | {"data.data_record": 9000})
