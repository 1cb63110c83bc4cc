"""Rollouts from a server: a stub that speaks the OpenAI protocol, alone and within a whole run."""

from __future__ import annotations

import json
import threading
from collections.abc import Iterator
from dataclasses import replace
from http.server import BaseHTTPRequestHandler, ThreadingHTTPServer
from pathlib import Path
from types import SimpleNamespace
from typing import Any

import pytest

import environments_made_here
from llamafactory_ext.errors import DataError, OptionError
from llamafactory_ext.tl.conflicts import source_conflicts
from llamafactory_ext.tl.ppo.rollout import server
from llamafactory_ext.tl.ppo.rollout.local import Response, Sampling
from llamafactory_ext.tl.ppo.rollout.server import ServerRollout
from ppo_runs import ppo_options, steps, train, write_ppo_data
from processes import train_on_two, write_yaml

SAMPLING = Sampling(max_tokens=5, end_ids=frozenset({4}), pad_id=1, rows=2)


class Stub(ThreadingHTTPServer):
    """Answers every prompt with its own last tokens; remembers what it was sent."""

    def __init__(self) -> None:
        super().__init__(("127.0.0.1", 0), Handler)
        self.seen: list[tuple[str, dict[str, Any]]] = []
        self.with_ids, self.status, self.adapters = True, 200, {}  # type: ignore[var-annotated]
        self.drop = 0
        self.logp: float | None = None
        self.always_ends = False

    @property
    def url(self) -> str:
        return f"http://127.0.0.1:{self.server_address[1]}/v1"


class Handler(BaseHTTPRequestHandler):
    server: Stub

    def do_POST(self) -> None:
        body = json.loads(self.rfile.read(int(self.headers["Content-Length"])))
        name = self.path.rpartition("/")[2]
        self.server.seen.append((name, body))
        answer: Any = {}
        status = self.server.status
        if name == "load_lora_adapter":
            self.server.adapters[body["lora_name"]] = sorted(file.name for file in Path(body["lora_path"]).iterdir())
        elif name == "unload_lora_adapter":
            status = 404 if self.server.adapters.pop(body["lora_name"], None) is None else status
        else:
            assert body["model"] in self.server.adapters
            answer = {"choices": [self._choice(i, ids) for i, ids in enumerate(body["prompt"])][self.server.drop :]}
            answer["choices"].reverse()
        text = json.dumps(answer).encode()
        self.send_response(status)
        self.send_header("Content-Length", str(len(text)))
        self.end_headers()
        self.wfile.write(text)

    def _choice(self, index: int, ids: list[int]) -> dict[str, Any]:
        ends = self.server.always_ends or ids[-1] % 2
        found = {"index": index, "text": f"text {ids[-1]}", "finish_reason": "stop" if ends else "length"}
        if self.server.logp is not None:
            found |= {"logprobs": {"token_logprobs": [self.server.logp] * 3}}
        return found | ({"token_ids": [ids[-1], 70, 4]} if self.server.with_ids else {})

    def log_message(self, *_: Any) -> None:
        pass


@pytest.fixture
def stub() -> Iterator[Stub]:
    server = Stub()
    thread = threading.Thread(target=server.serve_forever, daemon=True)
    thread.start()
    yield server
    server.shutdown()
    server.server_close()
    thread.join()


class Policy:
    def save_pretrained(self, folder: str) -> None:
        Path(folder).mkdir(parents=True, exist_ok=True)
        (Path(folder) / "adapter_model.safetensors").write_bytes(b"")


def rollout(url: str, folder: Path) -> ServerRollout:
    return ServerRollout(url, 60.0, folder, Policy(), publishes=True)


def test_the_server_gets_the_adapter_of_each_step_once(stub: Stub, tmp_path: Path) -> None:
    draw = rollout(stub.url, tmp_path)
    prompts = [[0, 51], [0, 52], [0, 53]]
    expected = [Response((51, 70, 4), True), Response((52, 70, 4), False), Response((53, 70, 4), True)]
    assert draw(prompts, SAMPLING, 0) == expected
    assert draw(prompts[:1], SAMPLING, 0) == expected[:1]
    (first,) = stub.adapters
    assert first.startswith("tl_ppo_0_")
    draw(prompts, SAMPLING, 4)
    assert [name[:9] for name in stub.adapters] == ["tl_ppo_4_"]
    assert list(stub.adapters.values()) == [["adapter_model.safetensors"]]
    names = [name for name, _ in stub.seen]
    loads = ["load_lora_adapter"]
    assert names == [*loads, *["completions"] * 3, *loads, "unload_lora_adapter", *["completions"] * 2]
    asked = stub.seen[1][1]
    assert asked["prompt"] == [[0, 51], [0, 52]]
    assert (asked["max_tokens"], asked["temperature"], asked["stop_token_ids"]) == (5, 1.0, [4])


def test_a_server_started_anew_gets_the_next_adapter(stub: Stub, tmp_path: Path) -> None:
    draw = rollout(stub.url, tmp_path)
    draw([[51]], SAMPLING, 0)
    stub.adapters.clear()
    assert draw([[51]], SAMPLING, 1) == [Response((51, 70, 4), True)]
    assert list(stub.adapters) == [draw.name]


def test_texts_without_ids_are_refused(stub: Stub, tmp_path: Path) -> None:
    """Encoded anew, a text may be other tokens than those that were drawn."""
    stub.with_ids = False
    with pytest.raises(OptionError, match=r"without token ids.*tl_rollout: hf"):
        rollout(stub.url, tmp_path)([[51], [52]], SAMPLING, 0)


def test_a_server_that_takes_fewer_stop_texts_is_named_its_setting(stub: Stub, tmp_path: Path) -> None:
    for count, told in ((4, False), (5, True)):
        draw, stub.status = rollout(stub.url, tmp_path), 200
        draw([[51]], SAMPLING, 0)
        stub.status = 400
        with pytest.raises(OptionError, match="status 400") as caught:
            draw([[51]], replace(SAMPLING, stop=tuple("abcde"[:count])), 0)
        assert ("VLLM_MAX_STOP_STRINGS=5" in str(caught.value)) == told


def test_a_server_that_fails_is_an_error_with_the_next_step(stub: Stub, tmp_path: Path) -> None:
    stub.drop = 1
    with pytest.raises(DataError, match="1 answers to 2 prompts"):
        rollout(stub.url, tmp_path)([[51], [52]], SAMPLING, 0)
    stub.status = 400
    with pytest.raises(OptionError, match=r"status 400.*--enable-lora"):
        rollout(stub.url, tmp_path)([[51]], SAMPLING, 0)
    with pytest.raises(OptionError, match="cannot be reached"):
        rollout("http://127.0.0.1:9/v1", tmp_path)([[51]], SAMPLING, 0)


def test_a_run_trains_on_the_servers_responses(stub: Stub, tiny_llama_dir: Path, tmp_path: Path) -> None:
    data = write_ppo_data(tmp_path / "data", 8)
    options = ppo_options(
        tiny_llama_dir,
        data,
        tmp_path / "out",
        finetuning_type="lora",
        lora_target="all",
        tl_rollout="vllm",
        tl_rollout_url=stub.url,
    )
    logged = steps(train(options))
    assert [entry["response_tokens"] for entry in logged] == [3, 3]
    assert not any("engine_gap" in entry for entry in logged)  # this server tells no log-probabilities
    ((name, files),) = stub.adapters.items()
    assert name.startswith("tl_ppo_1_")
    assert "adapter_model.safetensors" in files


def test_episodes_are_drawn_by_the_server_turn_by_turn(
    stub: Stub, tiny_llama_dir: Path, tmp_path: Path, monkeypatch: pytest.MonkeyPatch
) -> None:
    """Each turn is asked for with all tokens before it, as they were drawn, by the same adapter."""
    environments_made_here.calls_by_length(monkeypatch, even=lambda _: True)
    stub.always_ends, stub.logp = True, -7.0
    monkeypatch.setattr(server, "FAR", 20.0)  # the stub runs no model
    data = write_ppo_data(tmp_path / "data", 8)
    options = ppo_options(
        *(tiny_llama_dir, data, tmp_path / "out"),
        finetuning_type="lora",
        lora_target="all",
        tl_rollout="vllm",
        tl_rollout_url=stub.url,
        tl_environment="environments_made_here:counting",
        tl_reward_function=None,
        tl_max_turns=3,
        max_steps=1,
    )
    (logged,) = steps(train(options))
    assert (logged["turns"], logged["response_tokens"], logged["turn_limit"]) == (3, 9, 1)
    assert logged["engine_gap"] > 0
    first, second, third = (body for name, body in stub.seen if name == "completions")
    assert {body["model"] for body in (first, second, third)} == {first["model"]}
    for before, after in ((first, second), (second, third)):
        for asked, later in zip(before["prompt"], after["prompt"], strict=True):
            turn = [asked[-1], 70, 4]
            assert later[: len(asked) + 3] == [*asked, *turn]
            assert len(later) > len(asked) + 3


def test_the_correction_weighs_what_the_server_drew(
    stub: Stub, tiny_llama_dir: Path, tmp_path: Path, monkeypatch: pytest.MonkeyPatch
) -> None:
    """The smallest limit lets nothing of the loss through; without a limit nothing is weighed or logged."""
    data, found = write_ppo_data(tmp_path / "data", 8), []
    stub.logp = -7.0
    monkeypatch.setattr(server, "FAR", 20.0)  # the stub runs no model
    for most in (0.0, 1e6, 1e-6):
        options = ppo_options(
            *(tiny_llama_dir, data, tmp_path / str(most)),
            finetuning_type="lora",
            lora_target="all",
            tl_rollout="vllm",
            tl_rollout_url=stub.url,
            tl_rollout_correction=most,
            max_steps=1,
        )
        found += steps(train(options))
    off, on, capped = found
    assert "engine_gap" not in off
    assert on["engine_gap"] == capped["engine_gap"] > 0
    assert (on["engine_capped"], capped["engine_capped"]) == (0, 1)
    assert abs(on["policy_loss"]) > 100 * abs(capped["policy_loss"])


def test_two_processes_draw_from_the_adapter_that_one_of_them_sent(
    stub: Stub, tiny_llama_dir: Path, tmp_path: Path
) -> None:
    data = write_ppo_data(tmp_path / "data", 8)
    changes = {
        "lora_target": "all",
        "per_device_train_batch_size": 2,
        "tl_rollout": "vllm",
        "tl_rollout_url": stub.url,
    }
    options = ppo_options(tiny_llama_dir, data, tmp_path / "out", finetuning_type="lora", **changes)
    result = train_on_two(write_yaml(tmp_path / "ppo.yaml", options))
    assert result.returncode == 0, result.stderr[-3000:]
    sent = [body["lora_name"] for name, body in stub.seen if name == "load_lora_adapter"]
    asked = [body["model"] for name, body in stub.seen if name == "completions"]
    assert len(sent) == 2
    assert asked == [sent[0], sent[0], sent[1], sent[1]]


def test_weights_spread_over_processes_are_not_sent() -> None:
    options = SimpleNamespace(tl_rollout="vllm", tl_rollout_url="http://127.0.0.1:9/v1", finetuning_type="lora")
    for given, refused in ((["full_shard"], True), ([], False)):
        training = SimpleNamespace(deepspeed=None, fsdp=given, do_train=False)
        found = source_conflicts(training, options)
        assert any("FSDP and ZeRO-3 spread over all; set tl_rollout: hf" in line for line in found) == refused
