"""Commands of the environment without the seconds that their imports take: a server imports once and forks for each.

`commands()` is a folder for the front of PATH. Its `llamafactory-cli` and `llamafactory-ext` hand their words, folder,
variables and open files to the server, and end as it ends. One whose variables steer what is imported, or how, is
started as ever. For tests of what a command does; those of how it starts take `processes.run`.
"""

from __future__ import annotations

import atexit
import functools
import importlib
import json
import logging
import os
import runpy
import select
import shutil
import signal
import socket
import subprocess
import sys
import tempfile
import threading
from concurrent.futures import ThreadPoolExecutor
from pathlib import Path
from typing import Any

import processes

PROGRAMS = {"llamafactory-cli": "llamafactory.cli", "llamafactory-ext": "llamafactory_ext.cli"}
SCRIPT = "forked-script"  # runs the script that its first word names
# Read while modules are imported, or before.
STEERING = ("CUDA_", "HF_", "LLAMAFACTORY_EXT=", "OMP_", "PYTHON", "TRANSFORMERS_", "USE_")
MOST_BYTES = 1 << 17  # of a message

CLIENT = """#!{python} -IS
import json, os, socket, sys

name = os.path.basename(sys.argv[0])
steering = sorted(f"{{n}}={{v}}" for n, v in os.environ.items() if f"{{n}}=".startswith({steering!r}))
if steering != {found!r}:
    words = [{python!r}] if name == {script!r} else [os.path.join({real!r}, name)]
    os.execv(words[0], [*words, *sys.argv[1:]])
server = socket.socket(socket.AF_UNIX, socket.SOCK_SEQPACKET)
server.connect({address!r})
asked = {{"words": [name, *sys.argv[1:]], "folder": os.getcwd(), "variables": dict(os.environ)}}
socket.send_fds(server, [json.dumps(asked).encode()], [0, 1, 2])
code = int(server.recv(64) or 70)
if code < 0:  # ended by a signal, and so do we
    os.kill(os.getpid(), -code)
sys.exit(code)
"""


def run(
    command: list[str], cwd: Path, stdin: str = "", *, limit: int = 900, **variables: str
) -> subprocess.CompletedProcess[str]:
    """Run a command as `processes.run` does; it, and what a script starts, need not import anything."""
    path = f"{commands()}{os.pathsep}{variables.pop('PATH', processes.environment()['PATH'])}"
    found = commands() / command[0] if command[0] in (*PROGRAMS, SCRIPT) else command[0]
    return processes.run([str(found), *command[1:]], cwd, stdin, limit=limit, **variables, PATH=path)


def spread(
    script: Path, words: list[str], cwd: Path, *, limit: int = 900, **variables: str
) -> subprocess.CompletedProcess[str]:
    """Run a script in two processes of one machine, with the variables that torchrun gives them."""
    commands()
    shared = {"MASTER_ADDR": "127.0.0.1", "MASTER_PORT": str(processes.free_port())}
    shared |= {"WORLD_SIZE": "2", "LOCAL_WORLD_SIZE": "2", **variables}
    command = [SCRIPT, str(script), *words]
    with ThreadPoolExecutor(2) as pool:
        runs = [pool.submit(run, command, cwd, limit=limit, RANK=n, LOCAL_RANK=n, **shared) for n in "01"]
    done = [one.result() for one in runs]
    printed, errors = ("\n".join(getattr(one, name) for one in done) for name in ("stdout", "stderr"))
    return subprocess.CompletedProcess(command, max(one.returncode for one in done), printed, errors)


@functools.cache
def commands() -> Path:
    """Start the server, once in a process; return the folder of the commands."""
    folder = Path(tempfile.mkdtemp(prefix="forked"))
    address = str(folder / "socket")
    variables = processes.environment()
    found = sorted(f"{n}={v}" for n, v in variables.items() if f"{n}=".startswith(STEERING))
    real = str(processes.BIN)
    for name in (*PROGRAMS, SCRIPT):
        text = CLIENT.format(
            python=sys.executable, script=SCRIPT, steering=STEERING, found=found, real=real, address=address
        )
        (folder / name).write_text(text)
        (folder / name).chmod(0o755)
    server = subprocess.Popen(
        [sys.executable, __file__, address],
        env=variables,
        stdin=subprocess.PIPE,  # at its end the server ends
        stdout=subprocess.PIPE,
        stderr=subprocess.DEVNULL,
        start_new_session=True,
    )
    assert server.stdout is not None
    assert server.stdout.readline() == b"ready\n"
    atexit.register(shutil.rmtree, folder)
    atexit.register(server.kill)
    return folder


def serve(address: str) -> None:
    """Fork for every command, until standard input ends."""
    import gc

    for module in (
        *("matplotlib.pyplot", "llamafactory.launcher", "llamafactory.train.tuner"),
        *("llamafactory.chat", "transformers.models.llama.modeling_llama"),
        *(f"llamafactory_ext.{room}.workflow" for room in ("citi.run", "tl.ppo", "tl.sft", "skintern")),
    ):
        importlib.import_module(module)
    gc.collect()
    gc.freeze()
    signal.signal(signal.SIGCHLD, signal.SIG_IGN)
    listener = socket.socket(socket.AF_UNIX, socket.SOCK_SEQPACKET)
    listener.bind(address)
    listener.listen(16)
    print("ready", flush=True)
    while True:
        if sys.stdin.fileno() in select.select([listener, sys.stdin], [], [])[0]:
            os._exit(0)
        asking, _ = listener.accept()
        if os.fork() == 0:
            listener.close()
            signal.signal(signal.SIGCHLD, signal.SIG_DFL)
            _watch(asking)
        asking.close()


def _watch(asking: socket.socket) -> None:
    """Run what is asked for in a child; end it, and all it started, when nobody waits for it any longer."""
    message, files, _, _ = socket.recv_fds(asking, MOST_BYTES, 3)
    child = os.fork()
    if child == 0:
        asking.close()
        _become(json.loads(message), files)
    ended = os.pidfd_open(child)
    if ended not in select.select([ended, asking], [], [])[0]:
        os.killpg(child, signal.SIGKILL)
        os._exit(1)
    code = os.waitstatus_to_exitcode(os.waitpid(child, 0)[1])
    asking.send(str(code).encode())
    os._exit(0)


def _become(asked: dict[str, Any], files: list[int]) -> None:
    """Turn this process into the command, as the interpreter would start and end it."""
    os.setsid()
    for number, file in enumerate(files):
        os.dup2(file, number)
        os.close(file)
    os.chdir(asked["folder"])
    os.environ.clear()
    os.environ.update(asked["variables"])
    logging.getLogger("llamafactory").setLevel(asked["variables"].get("LLAMAFACTORY_VERBOSITY", "INFO"))
    program, *words = asked["words"]
    sys.argv = words if program == SCRIPT else [str(processes.BIN / program), *words]
    sys.path[0] = str(Path(sys.argv[0]).parent)
    code = 1
    try:
        if program == SCRIPT:
            runpy.run_path(words[0], run_name="__main__")
        else:
            importlib.import_module(PROGRAMS[program]).main()
        code = 0
    except SystemExit as error:
        code = _code(error)
    except BaseException:
        try:
            sys.excepthook(*sys.exc_info())
        except SystemExit as error:
            code = _code(error)
    threading._shutdown()  # type: ignore[attr-defined]
    atexit._run_exitfuncs()
    for stream in (sys.stdout, sys.stderr):
        stream.flush()
    os._exit(code)


def _code(error: SystemExit) -> int:
    if isinstance(error.code, str):
        print(error.code, file=sys.stderr)
        return 1
    return int(error.code or 0)


if __name__ == "__main__":
    serve(sys.argv[1])
