"""A comparison's folder is one comparison's and one command's; what ends the command ends its trainings."""

from __future__ import annotations

import signal
import subprocess
import sys
import time
from collections.abc import Callable, Sequence
from pathlib import Path
from types import SimpleNamespace
from typing import Any

import pytest
import torch
from safetensors.torch import save_file

from cl.comparisons import Here, plan_of, silent
from llamafactory_ext.cl.driver import run_plan
from llamafactory_ext.cl.place import remove_adapter
from llamafactory_ext.cl.trainings import Training
from llamafactory_ext.errors import OptionError


@pytest.mark.parametrize("text", ['{"name": "words"}', '{"name": "other"}', "[]", "null", "{", '{"format": 1}'])
def test_a_folder_with_a_mark_of_somebody_else_stays(text: str, tiny_llama_dir: Path, tmp_path: Path) -> None:
    plan = plan_of(tmp_path, tiny_llama_dir)
    plan.out.mkdir()
    for name, content in {"comparison.json": text, "result.json": "mine"}.items():
        (plan.out / name).write_text(content, encoding="utf-8")
    here = Here()
    with pytest.raises(OptionError, match=r"nothing was changed; name another out"):
        run_plan(plan, here, silent)
    assert {path.name: path.read_text("utf-8") for path in plan.out.iterdir()} == {
        "comparison.json": text,
        "result.json": "mine",
    }
    assert here.done == []


def test_a_folder_belongs_to_one_comparison_and_to_one_command(tiny_llama_dir: Path, tmp_path: Path) -> None:
    def busy(command: Sequence[str], log: Path) -> None:
        with pytest.raises(OptionError, match="another `cl run` works in this folder"):
            run_plan(plan, Here(), silent)
        raise KeyboardInterrupt

    plan = plan_of(tmp_path, tiny_llama_dir)
    with pytest.raises(KeyboardInterrupt):
        run_plan(plan, busy, silent)
    other = plan_of(tmp_path, tiny_llama_dir, name="other")
    with pytest.raises(OptionError, match="belongs to the comparison 'words', not 'other'"):
        run_plan(other, Here(), silent)


def test_an_adapter_goes_only_if_all_of_it_is_ours(tmp_path: Path) -> None:
    adapter = tmp_path / "out" / "lora" / "adapter"
    adapter.mkdir(parents=True)
    (adapter / "weights").write_text("x", encoding="utf-8")
    with pytest.raises(OptionError, match="was not made by this comparison"):
        remove_adapter(adapter, tmp_path / "out", ["weights"])
    (adapter.parent / "begun.json").write_text("{}", encoding="utf-8")
    (adapter / "notes.txt").write_text("mine", encoding="utf-8")
    with pytest.raises(OptionError, match=r"notes.txt is no file of the training"):
        remove_adapter(adapter, tmp_path / "out", ["weights"])
    with pytest.raises(OptionError, match="is a link or no folder within"):
        remove_adapter(adapter, tmp_path / "elsewhere", ["weights"])
    assert len(list(adapter.iterdir())) == 2
    (adapter / "notes.txt").unlink()
    remove_adapter(adapter, tmp_path / "out", ["weights"])
    assert not adapter.exists()


@pytest.mark.parametrize("number", [signal.SIGINT, signal.SIGTERM])
def test_a_signal_ends_the_training_too(number: signal.Signals, tmp_path: Path) -> None:
    child = "import os,subprocess,sys;p=subprocess.Popen(['sleep','600']);print(os.getpid(),p.pid,flush=True);p.wait()"
    program = (
        "import sys\nfrom pathlib import Path\nfrom llamafactory_ext.cl.running import run_command\n"
        "from llamafactory_ext.errors import InterruptedRun\n"
        f"try:\n    run_command([sys.executable, '-c', {child!r}], Path({str(tmp_path / 'log')!r}))\n"
        "except InterruptedRun as error:\n    print(error.number, error.message)\n    sys.exit(128 + error.number)\n"
    )
    with subprocess.Popen([sys.executable, "-c", program], stdout=subprocess.PIPE, text=True) as process:
        pids = wait_for(lambda: (tmp_path / "log").is_file() and (tmp_path / "log").read_text("utf-8").split())
        process.send_signal(number)
        said = process.communicate(timeout=120)[0]
    assert process.returncode == 128 + number
    assert said == f"{int(number)} Finished steps are kept; the same command goes on.\n"
    assert wait_for(lambda: not any(is_alive(int(pid)) for pid in pids))


def wait_for(found: Callable[[], Any]) -> Any:
    for _ in range(1200):
        if value := found():
            return value
        time.sleep(0.1)
    raise AssertionError("it did not come")


def is_alive(pid: int) -> bool:
    try:
        return "\nState:\tZ" not in Path(f"/proc/{pid}/status").read_text("utf-8")
    except FileNotFoundError:
        return False


@pytest.mark.fast
def test_a_training_is_of_its_base_models_weights(tmp_path: Path) -> None:
    """Another model in the same folder, with the same configuration, is trained anew."""
    model = tmp_path / "model"
    model.mkdir()
    (model / "config.json").write_text("{}", encoding="utf-8")
    plan: Any = SimpleNamespace(model=str(model))
    method: Any = SimpleNamespace(row=SimpleNamespace(is_rival=False))
    task: Any = SimpleNamespace(name="a")
    training = Training(plan, method, 0, task, 1, tmp_path / "place", [])
    made = {}
    for name, values in (("one", [1.0, 2.0]), ("other", [1.0, 3.0])):
        save_file({"w": torch.tensor(values)}, model / "model.safetensors")
        made[name] = training._made_from({})
        assert training._made_from({}) == made[name]
    assert made["one"] != made["other"]
