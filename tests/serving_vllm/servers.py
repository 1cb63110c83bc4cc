"""Servers of vLLM in processes of their own, as a user starts them."""

from __future__ import annotations

import json
import os
import subprocess
import sys
import time
import urllib.request
from pathlib import Path
from typing import Any

import pytest

from processes import free_port

START = 1800.0  # seconds; 20 on an idle machine, and its end is noticed at once


def ask(url: str, body: dict[str, Any] | None = None) -> Any:
    data = None if body is None else json.dumps(body).encode()
    request = urllib.request.Request(url, data, {"Content-Type": "application/json"})
    with urllib.request.urlopen(request, timeout=120) as reply:
        return json.loads(reply.read() or "null")


def wait_until_ready(url: str, process: subprocess.Popen[str], log: Path) -> None:
    end = time.monotonic() + START
    while time.monotonic() < end:
        if process.poll() is not None:
            break
        try:
            ask(f"{url}/health")
        except OSError:
            time.sleep(0.5)
        else:
            return
    pytest.fail(f"the server did not start:\n{log.read_text()[-4000:]}")


def serve(
    folder: Path, log: Path, *options: str, python: str = sys.executable, **variables: str
) -> tuple[subprocess.Popen[str], str]:
    """Start a server of vLLM on a free port, its engine in a process of its own; what it prints goes to `log`.

    Args:
        folder: the model.
        log: file of the output.
        options: of the server.
        python: of the environment that has vLLM.
        variables: of the environment.
    """
    port = free_port()
    command = [python, "-m", "vllm.entrypoints.openai.api_server", "--model", str(folder)]
    command += ["--host", "127.0.0.1", "--port", str(port), "--served-model-name", "citi", "--dtype", "float32"]
    command += [
        "--enforce-eager",
        "--gpu-memory-utilization",
        "0.2",
        *options,
    ]  # of the host's memory, others use it too
    environment = os.environ | {"VLLM_ENABLE_V1_MULTIPROCESSING": "1", "VLLM_CPU_KVCACHE_SPACE": "1"} | variables
    with log.open("w") as output:
        process = subprocess.Popen(command, env=environment, stdout=output, stderr=subprocess.STDOUT, text=True)
    return process, f"http://127.0.0.1:{port}"
