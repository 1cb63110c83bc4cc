"""Asking a server: every answer kept once, runs that are killed gone on with, and what stands in the way told."""

from __future__ import annotations

import json
import os
import signal
import subprocess
import sys
import threading
import time
from pathlib import Path
from typing import Any

import pytest

from llamafactory_ext.errors import DataError, ExtError, OptionError
from llamafactory_ext.metrics.predictions import read_predictions
from llamafactory_ext.serving.infer.options import InferOptions, help_text
from llamafactory_ext.serving.infer.run import infer
from processes import environment
from serving.asking import TOOLS, ask, data_file, lines
from serving.stub_server import call, completion, serving


def echo(path: str, body: Any) -> Any:
    """Answers with the question."""
    if path == "/v1/models":
        return 200, {"data": [{"id": "stub"}]}
    return completion(f"to: {body['messages'][-1]['content']}")


def server_options(url: str, **changes: Any) -> dict[str, Any]:
    return {"model": "stub", "backend": "openai", "url": f"{url}/v1", "retries": 0} | changes


def test_every_question_is_answered_once(tmp_path: Path, monkeypatch: pytest.MonkeyPatch) -> None:
    monkeypatch.setenv("OPENAI_API_KEY", "secret-key-17")
    with serving(echo) as stub:
        found = ask(tmp_path, 20, **server_options(stub.url, concurrency=4))
    assert sorted(record["id"] for record in found) == sorted(f"item:{i}" for i in range(20))
    assert all(record["prediction"].startswith(f"to: How is city {record['id'][5:]}?") for record in found)
    assert {record["benchmark"] for record in found} == {"mine"}
    assert len({record["prompt_hash"] for record in found}) == 20
    assert len({record["model_hash"] for record in found}) == 1
    body = stub.requests[0]
    assert body["temperature"] == 0
    assert [tool["function"]["name"] for tool in body["tools"]] == [tool["name"] for tool in TOOLS]
    assert {headers["authorization"] for headers in stub.headers} == {"Bearer secret-key-17"}
    written = "".join(path.read_text("utf-8") for path in tmp_path.iterdir())
    assert "secret-key-17" not in written


def test_a_second_run_asks_only_what_is_left(tmp_path: Path) -> None:
    with serving(echo) as stub:
        ask(tmp_path, 8, **server_options(stub.url, limit=5))
        first = (tmp_path / "out.jsonl").read_bytes()
        ask(tmp_path, 8, **server_options(stub.url, concurrency=1))
        assert len(stub.requests) == 8
        ask(tmp_path, 8, **server_options(stub.url))
        assert len(stub.requests) == 8
    assert (tmp_path / "out.jsonl").read_bytes().startswith(first)
    assert len(read_predictions(tmp_path / "out.jsonl", "mine").predictions) == 8


def test_a_killed_run_loses_and_doubles_nothing(tmp_path: Path, capsys: pytest.CaptureFixture[str]) -> None:
    going_on, stalled = threading.Event(), threading.Event()

    def stalling(path: str, body: Any) -> Any:
        if len(stub.requests) > 4 and not going_on.is_set():
            stalled.set()
            going_on.wait(300)
        return echo(path, body)

    with serving(stalling) as stub:
        options = server_options(stub.url, concurrency=1)
        command = {"dataset": data_file(tmp_path, 9), "out": tmp_path / "out.jsonl", "benchmark": "mine", **options}
        words = [word for name, value in command.items() for word in (f"--{name}", str(value))]
        process = subprocess.Popen(
            [sys.executable, "-m", "llamafactory_ext.cli", "infer", *words],
            env=environment(PYTHONPATH=os.pathsep.join(sys.path)),
            stdout=subprocess.DEVNULL,
            stderr=subprocess.DEVNULL,
        )
        try:
            assert stalled.wait(300)
            while (tmp_path / "out.jsonl").read_bytes().count(b"\n") < 4:
                assert process.poll() is None
                time.sleep(0.05)
        finally:
            process.send_signal(signal.SIGKILL)
            process.wait()
            going_on.set()
        kept = (tmp_path / "out.jsonl").read_bytes()
        assert len(kept.splitlines()) == 4
        with (tmp_path / "out.jsonl").open("ab") as file:
            file.write(b'{"id": "item:8", "benchm')  # as a kill in mid-write leaves it
        found = ask(tmp_path, 9, **options)
    assert (tmp_path / "out.jsonl").read_bytes().startswith(kept)
    assert sorted(record["id"] for record in found) == [f"item:{i}" for i in range(9)]
    assert "out.jsonl, line 5: cut off; removed" in capsys.readouterr().err


@pytest.mark.parametrize(
    ("changes", "told"),
    [
        ({"max_new_tokens": 7}, "max_new_tokens was 1024, is now 7"),
        ({"temperature": 0.5}, "temperature was 0.0, is now 0.5"),
        ({"template": "llama3_toolalpaca"}, 'template was "", is now "llama3_toolalpaca"'),
        ({"tools": False}, "the prompts differ"),
    ],
)
def test_another_run_is_refused(tmp_path: Path, changes: dict[str, Any], told: str) -> None:
    with serving(echo) as stub:
        ask(tmp_path, 2, **server_options(stub.url))
        before = (tmp_path / "out.jsonl").read_bytes()
        with pytest.raises(OptionError, match="holds 2 answers of another run") as refusal:
            ask(tmp_path, 2, **server_options(stub.url, **changes))
    assert told in refusal.value.message
    assert (tmp_path / "out.jsonl").read_bytes() == before


def test_damaged_files_are_refused_with_the_line(tmp_path: Path) -> None:
    out = tmp_path / "out.jsonl"
    with serving(echo) as stub:
        ask(tmp_path, 3, **server_options(stub.url))
        good = out.read_bytes()
        first, second, third = good.splitlines(keepends=True)
        for content, told in (
            (first + b"{]\n" + third, "line 2: malformed JSON"),
            (first + b'{"id": "\xff"}\n' + third, "line 2: not UTF-8"),
            (first + first.replace(b"to:", b"no:") + second, "line 2: the id"),
            (first.replace(b'"mine"', b'"gsm8k"') + second, "line 1: a prediction of 'gsm8k', not of 'mine'"),
            (first.replace(b'"item:', b'"other:') + second, "questions that this run does not ask, such as other:"),
        ):
            out.write_bytes(content)
            with pytest.raises(DataError, match=told):
                ask(tmp_path, 3, **server_options(stub.url))
            assert out.read_bytes() == content
        out.write_bytes(good + first)
        assert len(ask(tmp_path, 3, **server_options(stub.url))) == 4  # told, kept and counted once
        assert len(stub.requests) == 3


@pytest.mark.parametrize(
    "content",
    [b"mine\n", b"mine", b"[]\n", b'{"id": "x"}\n', b'{"id": "item:0", "predic', b"\xff\n", b"[" * 99_999 + b"\n"],
)
def test_a_foreign_file_is_told_before_a_model_is_loaded(
    tmp_path: Path, monkeypatch: pytest.MonkeyPatch, content: bytes
) -> None:
    out = tmp_path / "out.jsonl"
    out.write_bytes(content)
    monkeypatch.setattr("llamafactory_ext.serving.infer.run.backend_of", lambda _: pytest.fail("a model was loaded"))
    with pytest.raises(OptionError, match="that no run of `infer` wrote"):
        ask(tmp_path, 2, model="stub", backend="openai", url="http://127.0.0.1:9/v1")
    assert out.read_bytes() == content


@pytest.mark.parametrize("place", ["", "data.json/out.jsonl", "/proc/nowhere/out.jsonl"])
def test_a_place_for_no_file_is_told_before_a_model_is_loaded(
    tmp_path: Path, monkeypatch: pytest.MonkeyPatch, place: str
) -> None:
    monkeypatch.setattr("llamafactory_ext.serving.infer.run.backend_of", lambda _: pytest.fail("a model was loaded"))
    (tmp_path / "data.json").write_text("[]")
    with pytest.raises(ExtError, match="--out"):
        ask(tmp_path, 2, model="stub", backend="openai", url="http://127.0.0.1:9/v1", out=str(tmp_path / place))


def test_two_runs_cannot_write_one_file(tmp_path: Path) -> None:
    import fcntl

    with serving(echo) as stub, (tmp_path / "out.jsonl").open("ab") as other:
        fcntl.flock(other, fcntl.LOCK_EX)
        with pytest.raises(OptionError, match="another run writes"):
            ask(tmp_path, 2, **server_options(stub.url))


def test_unreachable_server(tmp_path: Path) -> None:
    with serving(echo) as stub:
        url = stub.url
    with pytest.raises(
        OptionError, match=r"cannot be reached .*start the server \(`vllm serve DIR`\) or correct --url"
    ):
        ask(tmp_path, 2, **server_options(url))
    assert not (tmp_path / "out.jsonl").exists()


def test_a_server_that_goes_down_leaves_what_it_answered(tmp_path: Path) -> None:
    down = threading.Event()

    def failing(path: str, body: Any) -> Any:
        if len(stub.requests) > 3 and down.is_set():
            return 503, "overloaded"
        return echo(path, body)

    with serving(failing) as stub:
        down.set()
        with pytest.raises(OptionError, match="status 503") as failure:
            ask(tmp_path, 9, **server_options(stub.url, concurrency=1))
        assert "3 of 9 answers are kept in" in failure.value.message
        assert "run the same command to go on" in failure.value.message
        down.clear()
        assert len(ask(tmp_path, 9, **server_options(stub.url))) == 9
    assert len({record["id"] for record in lines(tmp_path / "out.jsonl")}) == 9


def test_answers_under_way_are_kept_when_another_fails(tmp_path: Path) -> None:
    under_way, failed = threading.Semaphore(0), threading.Event()

    def mixed(path: str, body: Any) -> Any:
        if body and "city 0" in body["messages"][-1]["content"]:
            assert all(under_way.acquire(timeout=300) for _ in range(3))
            failed.set()
            return 400, "refused"
        if body:
            under_way.release()
            assert failed.wait(300)
        return echo(path, body)

    with serving(mixed) as stub, pytest.raises(DataError, match=r"item:0: .* refused"):
        ask(tmp_path, 4, **server_options(stub.url, concurrency=4))
    assert {record["id"] for record in lines(tmp_path / "out.jsonl")} == {"item:1", "item:2", "item:3"}


def test_stopping_by_hand_tells_what_is_kept(
    tmp_path: Path, capsys: pytest.CaptureFixture[str], monkeypatch: pytest.MonkeyPatch
) -> None:
    def stopping(self: Any, prompts: Any) -> Any:
        yield prompts[0], "one"
        raise KeyboardInterrupt

    with serving(echo) as stub:
        monkeypatch.setattr("llamafactory_ext.serving.infer.server.ServerBackend.answers", stopping)
        with pytest.raises(SystemExit, match="130"):
            ask(tmp_path, 3, **server_options(stub.url))
    assert "1 of 3 answers are kept in" in capsys.readouterr().err


def test_passing_failures_are_tried_again(tmp_path: Path) -> None:
    def moody(path: str, body: Any) -> Any:
        return (429, "slow down") if len(stub.requests) in (1, 2) else echo(path, body)

    with serving(moody) as stub:
        assert len(ask(tmp_path, 1, **server_options(stub.url, retries=2))) == 1
        assert len(stub.requests) == 3


@pytest.mark.parametrize(
    ("answer", "told"),
    [
        ((401, "no"), "refuses the key"),
        ((400, "this model has no tools"), "item:0: .* refuses a request .* this model has no tools"),
        ((200, "hello"), "item:0: .* gives no chat completion but: hello"),
        ((200, {"choices": []}), "gives no chat completion"),
    ],
)
def test_what_a_server_may_say(tmp_path: Path, answer: Any, told: str) -> None:
    with (
        serving(lambda path, body: answer if body else (404, "")) as stub,
        pytest.raises((OptionError, DataError), match=told),
    ):
        ask(tmp_path, 1, **server_options(stub.url))


def test_a_prompt_that_is_too_long_is_an_empty_answer(tmp_path: Path, capsys: pytest.CaptureFixture[str]) -> None:
    def small(path: str, body: Any) -> Any:
        if body and "city 1" in body["messages"][-1]["content"]:
            return 400, {"error": "maximum context length is 8 tokens"}
        return echo(path, body)

    with serving(small) as stub:
        found = ask(tmp_path, 3, **server_options(stub.url))
    assert [record["prediction"] for record in found if record["id"] == "item:1"] == [""]
    assert "1 prompts leave no room for an answer (item:1)" in capsys.readouterr().err


def test_another_model_than_the_served_one(tmp_path: Path) -> None:
    with serving(echo) as stub, pytest.raises(OptionError, match='no model "mine"; give --model one of stub'):
        ask(tmp_path, 1, **server_options(stub.url, model="mine"))


def test_calls_of_a_reply_are_kept(tmp_path: Path) -> None:
    made = [call("weather", {"city": "Bonn"}), call("time", "{no json")]
    with serving(lambda path, body: completion("Let me see.", made) if body else (404, "")) as stub:
        (record,) = ask(tmp_path, 1, **server_options(stub.url))
    said, _, calls = record["prediction"].partition("\n")
    assert said == "Let me see."
    assert json.loads(calls) == [
        {"name": "weather", "arguments": {"city": "Bonn"}},
        {"name": "time", "arguments": "{no json"},
    ]


def test_dots_in_names_are_sent_as_underscores_where_the_server_refuses_them(tmp_path: Path) -> None:
    function = {
        "name": "geo.area",
        "description": "",
        "parameters": {"type": "dict", "properties": {}, "required": []},
    }
    record = {"id": "irrelevance_0", "question": [[{"role": "user", "content": "?"}]], "function": [function]}
    (tmp_path / "BFCL_v3_irrelevance.json").write_text(json.dumps(record) + "\n", encoding="utf-8")

    def strict(path: str, body: Any) -> Any:
        if body is None:
            return 404, ""
        name = body["tools"][0]["function"]["name"]
        return (400, "bad name of a tool") if "." in name else completion("", [call(name, {})])

    with serving(strict) as stub:
        infer(benchmark="bfcl_ast", source=tmp_path, out=tmp_path / "out.jsonl", **server_options(stub.url))
    (found,) = lines(tmp_path / "out.jsonl")
    assert json.loads(found["prediction"])["name"] == "geo.area"
    assert found["messages"][-1]["tool_calls"][0]["function"]["name"] == "geo.area"
    assert len(stub.requests) == 2


def test_options_are_checked_together(capsys: pytest.CaptureFixture[str]) -> None:
    with pytest.raises(OptionError) as refusal:
        infer(modle="x", backend="tgi", limit=-1, batch_size="many", top_p=2, tool_server="http://x")
    for told in (
        "--modle is unknown; did you mean --model?",
        '--backend is "tgi"; choose one of vllm, hf, openai',
        "--limit is -1; give at least 0",
        "--batch_size is 'many'; give a whole number",
        "--top_p is 2.0",
        "--model is missing",
        "--out is missing",
        "give either --benchmark NAME with --source FOLDER, or --dataset FILE",
        "--tool_server works with --backend openai",
    ):
        assert told in refusal.value.message
    infer(help=True)
    assert capsys.readouterr().out == help_text() + "\n"


def test_unknown_benchmark_and_missing_files(tmp_path: Path) -> None:
    with serving(echo) as stub:
        options = server_options(stub.url) | {"out": str(tmp_path / "out.jsonl")}
        for changes, told in (
            ({"benchmark": "apibank", "source": str(tmp_path)}, "There is no benchmark 'apibank'"),
            ({"benchmark": "api_bank", "source": str(tmp_path)}, "holds no file of api_bank"),
            ({"dataset": str(tmp_path / "none.json")}, "does not exist"),
        ):
            with pytest.raises((OptionError, DataError), match=told):
                infer(**(options | changes))


def test_help_names_every_option() -> None:
    assert all(f"--{name} " in help_text() for name in InferOptions.__dataclass_fields__)
