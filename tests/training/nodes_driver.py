"""What the tests of several machines start: imports upstream once and forks the processes of every run.

Each process stands for a machine: its own folder to work in and LOCAL_RANK 0. `jobs.json` in the folder it is given
lists the runs; for each it writes the exit codes into `<name>.json` and what a process said into `<name>-<rank>.log`.
"""

from __future__ import annotations

import gc
import json
import os
import signal
import sys
import time
import traceback
from collections.abc import Callable
from pathlib import Path
from typing import Any

sys.path.insert(0, str(Path(__file__).parents[1]))

import pytest
import torch
from llamafactory.train.tuner import run_exp
from transformers import TrainerCallback

from llamafactory_ext.checkpoint import folders, saving
from llamafactory_ext.citi import scoring
from processes import free_port

torch.set_num_threads(1)
LIMIT = 300  # seconds for a run


class At(TrainerCallback):
    """End or stop this process by a signal, at one moment.

    Args:
        moment: `phase:step` for a step of a phase of citi, `step` of another method, `importance` for its second
            task, `mark` for the moment before the second checkpoint takes its place, or `states` for the one before a
            process writes its random state into it.
        number: the signal.
    """

    def __init__(self, moment: str, number: int) -> None:
        self.phase, _, self.step = moment.rpartition(":")
        self.number, self.calls = number, 0
        if moment == "importance":
            self._before(scoring, "part_scores", lambda *_, **__: True, calls=3)
        elif moment == "mark":
            self._before(folders, "publish_folder", lambda _, path: path.name.startswith("checkpoint"), calls=2)
        elif moment == "states":
            self._before(saving, "write_state", lambda _, name, __: name.startswith("random_state"), calls=2)

    def _before(self, module: Any, name: str, counts: Callable[..., bool], calls: int) -> None:
        original = getattr(module, name)

        def act(*args: Any, **kwargs: Any) -> Any:
            self.calls += counts(*args, **kwargs)
            if self.calls == calls:
                self._act()
            return original(*args, **kwargs)

        setattr(module, name, act)

    def _act(self) -> None:
        sys.stdout.flush()
        os.kill(os.getpid(), self.number)

    def on_step_end(self, args: Any, state: Any, control: Any, **_: Any) -> None:
        folder = Path(args.output_dir).name
        phase = folder.rpartition("-")[2] if folder.startswith("phase-") else ""
        if phase == self.phase and str(state.global_step) == self.step:
            self._act()


def process(job: dict[str, Any], rank: int, port: int, log: Path) -> None:
    """One process of a run, which ends like a command."""
    status = 1
    try:
        output = os.open(log, os.O_WRONLY | os.O_CREAT | os.O_APPEND)
        os.dup2(output, 1)
        os.dup2(output, 2)
        os.chdir(job["folders"][rank])
        variables = {"RANK": rank, "LOCAL_RANK": 0, "WORLD_SIZE": len(job["folders"]), "MASTER_PORT": port}
        os.environ.update({name: str(value) for name, value in variables.items()}, MASTER_ADDR="127.0.0.1")
        os.environ.update(job.get("variables", {}))
        ends = job.get("at", {}).get(str(rank))
        with pytest.MonkeyPatch.context() as patch:
            patch.setattr("llamafactory_ext.citi.run.workflow.write_outputs", lambda *_: None)
            run_exp(job["options"] | job.get("own", {}).get(str(rank), {}), [At(*ends)] if ends else [])
        status = 0
    except BaseException:
        sys.excepthook(*sys.exc_info())  # type: ignore[arg-type]
    finally:
        sys.stdout.flush()
        sys.stderr.flush()
        os._exit(status)


def run(folder: Path, job: dict[str, Any]) -> list[int | None]:
    """The exit codes of a run's processes; None for one that had to be ended when all others were gone."""
    threads = len(list(Path("/proc/self/task").iterdir()))
    assert threads == 1, f"a process with {threads} threads must not be forked"
    port, children = free_port(), {}
    for rank in range(len(job["folders"])):
        child = os.fork()
        if not child:
            process(job, rank, port, folder / f"{job['name']}-{rank}.log")
        children[child] = rank
    codes: list[int | None] = [None] * len(children)
    stopped = sum(number == signal.SIGSTOP for _, number in job.get("at", {}).values())
    deadline = time.monotonic() + LIMIT
    while len(children) > stopped and time.monotonic() < deadline:
        child, status = os.waitpid(-1, os.WNOHANG)
        if child:
            codes[children.pop(child)] = os.waitstatus_to_exitcode(status)
        else:
            time.sleep(0.1)
    for child in children:
        os.kill(child, signal.SIGKILL)
        os.waitpid(child, 0)
    return codes


def main() -> None:
    folder = Path(sys.argv[1])
    jobs = json.loads((folder / "jobs.json").read_text("utf-8"))
    gc.collect()
    gc.freeze()
    for job in jobs:
        try:
            codes = run(folder, job)
        except Exception:
            traceback.print_exc()
            sys.exit(1)
        (folder / f"{job['name']}.json").write_text(json.dumps(codes), encoding="utf-8")


if __name__ == "__main__":
    main()
