"""A server: the plugin loads by itself in all processes of vLLM, and the export's chat template is used."""

from __future__ import annotations

import json
import os
import socket
import subprocess
import sys
import time
import urllib.request
from pathlib import Path
from typing import Any

import pytest
from transformers import AutoTokenizer

from serving_vllm.exports import export, prompts, reference

START = 600.0  # seconds; 20 on an idle machine


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


def serve(folder: Path, log: Path, *options: str) -> tuple[subprocess.Popen[str], str]:
    """Start a server of vLLM on a free port, its engine in a process of its own; what it prints goes to `log`."""
    with socket.socket() as free:
        free.bind(("127.0.0.1", 0))
        port = free.getsockname()[1]
    command = [sys.executable, "-m", "vllm.entrypoints.openai.api_server", "--model", str(folder)]
    command += ["--host", "127.0.0.1", "--port", str(port), "--served-model-name", "citi", "--dtype", "float32"]
    command += ["--enforce-eager", "--max-model-len", "128", *options]
    environment = os.environ | {"VLLM_ENABLE_V1_MULTIPROCESSING": "1"}
    with log.open("w") as output:
        process = subprocess.Popen(command, env=environment, stdout=output, stderr=subprocess.STDOUT, text=True)
    return process, f"http://127.0.0.1:{port}"


def test_a_served_model_answers_as_transformers_does(tmp_path: Path) -> None:
    folder = export(tmp_path / "out")
    process, url = serve(folder, tmp_path / "log")
    try:
        wait_until_ready(url, process, tmp_path / "log")
        body = {"model": "citi", "temperature": 0, "max_tokens": 8, "ignore_eos": True, "return_token_ids": True}
        choice = ask(f"{url}/v1/completions", body | {"prompt": prompts()[2]})["choices"][0]
        tokens, _ = reference(folder, prompts()[2], choice["token_ids"])
        assert tokens == choice["token_ids"]
        messages = [{"role": "user", "content": "What is 12 plus 30?"}]
        reply = ask(f"{url}/v1/chat/completions", body | {"messages": messages})
        tokenizer = AutoTokenizer.from_pretrained(folder)
        prompt = tokenizer.apply_chat_template(messages, add_generation_prompt=True, return_dict=False)
        assert reply["prompt_token_ids"] == list(prompt)
        assert reference(folder, list(prompt), reply["choices"][0]["token_ids"])[0] == reply["choices"][0]["token_ids"]
    finally:
        process.terminate()
        process.wait(120)


def test_a_refused_option_ends_in_one_message(tmp_path: Path) -> None:
    process, _ = serve(export(tmp_path / "out"), tmp_path / "log", "--quantization", "fp8")
    try:
        assert process.wait(START) != 0
    finally:
        process.kill()
    printed = (tmp_path / "log").read_text()
    assert "OptionError: vLLM cannot run this citi_llama model:" in printed
    assert "leave --quantization out" in printed
    assert "Traceback" not in printed
