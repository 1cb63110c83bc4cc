"""Starting upstream's commands in processes of their own, with the environment of a user."""

import os
import signal
import socket
import subprocess
import sys
from collections.abc import Mapping, Sequence
from pathlib import Path
from typing import Any

import yaml

BIN = Path(sys.executable).parent
NOT_INHERITED = ("LLAMAFACTORY_EXT", "USE_", "FORCE_TORCHRUN", "NPROC_PER_NODE", "RANK", "WORLD_SIZE", "LOCAL_RANK")


def environment(**changes: str) -> dict[str, str]:
    """The variables for a child: this process's without what steers upstream or us, commands from this environment."""
    kept = {name: value for name, value in os.environ.items() if not name.startswith(NOT_INHERITED)}
    return kept | {"PATH": f"{BIN}{os.pathsep}{os.environ['PATH']}", "LLAMAFACTORY_VERBOSITY": "WARN"} | changes


def run(
    command: Sequence[str], cwd: Path, stdin: str = "", *, limit: int = 900, **variables: str
) -> subprocess.CompletedProcess[str]:
    """Run a command to its end and keep what it printed; after `limit` seconds end all it has started and fail."""
    with subprocess.Popen(
        command,
        cwd=cwd,
        env=environment(**variables),
        stdin=subprocess.PIPE,
        stdout=subprocess.PIPE,
        stderr=subprocess.PIPE,
        text=True,
        start_new_session=True,
    ) as process:
        try:
            printed, errors = process.communicate(stdin, timeout=limit)
        except BaseException:
            os.killpg(process.pid, signal.SIGKILL)
            raise
    return subprocess.CompletedProcess(command, process.returncode, printed, errors)


def free_port() -> int:
    """A port that nobody listens on."""
    with socket.socket() as probe:
        probe.bind(("127.0.0.1", 0))
        return int(probe.getsockname()[1])


def train_on_two(configuration: Path) -> subprocess.CompletedProcess[str]:
    """Train as a file says, in the file's folder, in two processes that upstream's own command starts."""
    tests = Path(__file__).parent
    return run(
        ["llamafactory-cli", "train", configuration.name],
        configuration.parent,
        FORCE_TORCHRUN="1",
        NPROC_PER_NODE="2",
        MASTER_ADDR="127.0.0.1",
        MASTER_PORT=str(free_port()),
        PYTHONPATH=os.pathsep.join([str(tests), str(tests.parent / "src"), os.environ.get("PYTHONPATH", "")]),
    )


def write_yaml(path: Path, options: Mapping[str, Any]) -> Path:
    """Write a LLaMA-Factory configuration file."""
    path.write_text(yaml.safe_dump(dict(options)), encoding="utf-8")
    return path


def train_options(model: Path, data: Path, output: Path, **changes: Any) -> dict[str, Any]:
    """A training configuration of a few steps on the tiny model; None removes an option."""
    options = {
        "model_name_or_path": str(model),
        "stage": "sft",
        "do_train": True,
        "finetuning_type": "citi",
        "dataset": "tiny",
        "dataset_dir": str(data),
        "template": "llama3",
        "cutoff_len": 256,
        "output_dir": str(output),
        "per_device_train_batch_size": 2,
        "logging_steps": 1,
        "report_to": "none",
        "use_cpu": True,
    }
    return {name: value for name, value in (options | changes).items() if value is not None}
