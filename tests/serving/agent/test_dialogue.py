"""Dialogues with tools: both ways of calling, every limit, and failures that the model gets to read."""

from __future__ import annotations

import contextlib
import json
import socket
import threading
import time
from collections.abc import Mapping, Sequence
from http.server import BaseHTTPRequestHandler, ThreadingHTTPServer
from pathlib import Path
from typing import Any

import pytest

from llamafactory_ext.errors import OptionError
from llamafactory_ext.serving.agent.dialogue import Episode, Limits, PromptTooLongError, TextChat, ToolChat, dialogue
from llamafactory_ext.serving.agent.tools import HttpToolServer
from llamafactory_ext.templates.styles import API_BANK, QWEN25, TOOLALPACA
from llamafactory_ext.toolcalls import ToolCall
from serving.asking import ask, lines
from serving.stub_server import call, completion, serving

pytestmark = pytest.mark.fast

OPENING = [{"role": "user", "content": "How is Bonn?"}]


class Weather:
    """A tool server inside the test."""

    def __init__(self) -> None:
        self.calls: list[ToolCall] = []

    def call(self, call: ToolCall) -> str:
        self.calls.append(call)
        return json.dumps({"weather": "sun"})


class Script:
    """A model that says given messages, then repeats the last one."""

    def __init__(self, *messages: Mapping[str, Any] | str, tokens: int = 5) -> None:
        self._messages = [{"content": said} if isinstance(said, str) else said for said in messages]
        self._tokens = tokens
        self.seen: list[Sequence[Mapping[str, Any]]] = []
        self.room: list[int] = []

    def __call__(self, messages: Sequence[Mapping[str, Any]], tokens: int) -> tuple[Mapping[str, Any], int]:
        self.seen.append(list(messages))
        self.room.append(tokens)
        return self._messages[min(len(self.seen), len(self._messages)) - 1], self._tokens


def calling(name: str = "weather", arguments: Any = None) -> dict[str, Any]:
    return {"content": "", "tool_calls": [call(name, {"city": "Bonn"} if arguments is None else arguments)]}


def play(script: Script, tools: Weather | None = None, **limits: Any) -> Episode:
    return dialogue(ToolChat(script), tools or Weather(), OPENING, Limits(**limits))


def test_calls_are_executed_until_the_model_answers() -> None:
    tools = Weather()
    two = {"content": "Both.", "tool_calls": [call("weather", {"city": "Bonn"}, "a"), call("time", {}, "b")]}
    script = Script(two, calling(), "Sunny.")
    episode = play(script, tools)
    assert (episode.answer, episode.end, episode.turns, episode.tokens) == ("Sunny.", "answer", 3, 15)
    assert [made.name for made in tools.calls] == ["weather", "time", "weather"]
    roles = [message["role"] for message in episode.messages]
    assert roles == ["user", "assistant", "tool", "tool", "assistant", "tool", "assistant"]
    assert [message.get("tool_call_id") for message in episode.messages[2:4]] == ["a", "b"]
    assert script.seen[-1] == list(episode.messages[:-1])


def test_nine_turns_are_the_most() -> None:
    script = Script(calling())
    episode = play(script)
    assert (episode.end, episode.answer, episode.turns) == ("turns", "", 9)
    assert len(script.seen) == 9


def test_tokens_are_counted_down() -> None:
    script = Script(calling(), tokens=40)
    assert play(script, tokens=100).end == "tokens"
    assert script.room == [100, 60, 20]


def test_time_ends_a_dialogue() -> None:
    seconds = iter(range(0, 1000, 10))
    episode = dialogue(
        ToolChat(Script(calling())), Weather(), OPENING, Limits(seconds=25), clock=lambda: next(seconds)
    )
    assert (episode.end, episode.turns) == ("seconds", 3)


@pytest.mark.parametrize(
    ("arguments", "answer"),
    [
        ({"answer": "Sunny."}, "Sunny."),
        ({"text": "Sunny.", "answer": "Yes"}, "Yes"),
        ({"a": 1, "b": 2}, '{"a": 1, "b": 2}'),
    ],
)
def test_the_tool_finish_ends_a_dialogue(arguments: dict[str, Any], answer: str) -> None:
    tools = Weather()
    episode = play(Script(calling("finish", arguments)), tools)
    assert (episode.end, episode.answer) == ("finish", answer)
    assert tools.calls == []


@pytest.mark.parametrize("arguments", ["{broken", "[1]", '"text"'])
def test_a_call_that_cannot_be_read_is_told_the_model(arguments: str) -> None:
    tools = Weather()
    episode = play(Script(calling(arguments=arguments), "Sorry."), tools)
    assert episode.answer == "Sorry."
    assert "The call cannot be read" in episode.messages[2]["content"]
    assert tools.calls == []


def test_a_full_context_ends_a_dialogue() -> None:
    class Full(Script):
        def __call__(self, messages: Sequence[Mapping[str, Any]], tokens: int) -> tuple[Mapping[str, Any], int]:
            if len(messages) > 2 or not messages:
                raise PromptTooLongError("full")
            return super().__call__(messages, tokens)

    assert play(Full(calling())).end == "context"
    with pytest.raises(PromptTooLongError):
        dialogue(ToolChat(Full(calling())), Weather(), [], Limits())


def test_calls_in_a_template_s_text() -> None:
    tools = Weather()
    said = 'Thought: I look.\nAction: weather\nAction Input: {"city": "Bonn"}'
    script = Script(said, "Thought: done\nResponse: Sunny.")
    episode = dialogue(TextChat(script, TOOLALPACA), tools, OPENING, Limits())
    assert (episode.answer, episode.end) == ("Sunny.", "answer")
    assert tools.calls == [ToolCall("weather", {"city": "Bonn"})]
    assert script.seen[1][1:] == [
        {"role": "assistant", "content": said},
        {"role": "tool", "content": '{"weather": "sun"}'},
    ]
    (made,) = episode.messages[1]["tool_calls"]
    assert made["function"] == {"name": "weather", "arguments": '{"city": "Bonn"}'}


@pytest.mark.parametrize(
    ("style", "said", "count"),
    [
        (API_BANK, "API-Request: [weather(city='Bonn')]", 1),
        (QWEN25, '<tool_call>\n{"name": "weather", "arguments": {"city": "Bonn"}}\n</tool_call>', 1),
        (QWEN25, "<tool_call>\n{broken\n</tool_call>", 0),
        (TOOLALPACA, "Action: weather\nAction Input: {broken", 0),
    ],
)
def test_text_formats(style: Any, said: str, count: int) -> None:
    tools = Weather()
    episode = dialogue(TextChat(Script(said, "Sunny."), style), tools, OPENING, Limits())
    assert episode.answer == "Sunny."
    assert len(tools.calls) == count
    assert ("cannot be read" in episode.messages[2]["content"]) == (count == 0)


@pytest.mark.parametrize(
    ("answer", "feedback"),
    [
        ((200, {"result": "sun"}), "sun"),
        ((200, {"result": {"t": [1, "ü"]}}), '{"t": [1, "ü"]}'),
        ((200, {"error": "no such city"}), '{"error": "no such city"}'),
        ((200, "hello"), '{"error": "status 200"}'),
        ((500, {"result": "sun"}), '{"error": "status 500"}'),
        ((200, {"result": "sun", "error": None}), "sun"),
        ((200, {"jsonrpc": "2.0", "id": 1, "result": "sun", "error": ""}), "sun"),
        ((200, {"result": "sun", "error": {}}), "sun"),
        ((200, {"result": "sun", "error": "no such city"}), '{"error": "no such city"}'),
        ((200, {"result": None, "error": None}), "null"),
        ((201, {"result": "sun"}), "sun"),
        ((200, {"error": None}), '{"error": "status 200"}'),
        ((422, {"detail": "city is required"}), '{"error": "status 422: city is required"}'),
        (
            (422, {"detail": [{"loc": ["body", "city"], "msg": "Field required"}]}),
            '{"error": "status 422: [{\\"loc\\": [\\"body\\", \\"city\\"], \\"msg\\": \\"Field required\\"}]"}',
        ),
        ((400, {"city": ["This field is required."]}), '{"error": "status 400: [\\"This field is required.\\"]"}'),
        ((404, "no such\n tool"), '{"error": "status 404: no such tool"}'),
        ((503, "<html><h1>Try later</h1></html>"), '{"error": "status 503: Try later"}'),
        ((500, ""), '{"error": "status 500"}'),
        ((200, {"result": {"content": [{"type": "text", "text": "sun"}]}}), "sun"),
        ((200, {"content": [{"type": "text", "text": "sun"}, {"type": "text", "text": "ü"}]}), "sun\nü"),
        ((200, {"result": [{"type": "text", "text": "sun"}]}), "sun"),
        (
            (200, {"result": {"content": [{"type": "text", "text": "no\ncity"}], "isError": True}}),
            '{"error": "no\\ncity"}',
        ),
        ((200, {"result": {"content": [], "structuredContent": {"t": 1}}}), '{"t": 1}'),
        (
            (200, {"result": {"content": [{"type": "image", "data": "AA", "mimeType": "image/png"}]}}),
            "[image image/png]",
        ),
        ((200, {"result": ["a", "b"]}), '["a", "b"]'),
        ((200, {"result": [{"type": "cat"}]}), '[{"type": "cat"}]'),
        ((200, '{"result": "\\ud800"}'), "\ufffd"),
        ((200, "[" * 100_000), '{"error": "status 200"}'),
        ((200, {"result": "x" * (1 << 20)}), '{"error": "the answer is longer than 1048576 bytes"}'),
    ],
)
def test_a_tool_server_over_http(answer: Any, feedback: str) -> None:
    with serving(lambda path, body: answer) as stub:
        server = HttpToolServer(f"{stub.url}/call", 60)
        assert server.call(ToolCall("weather", {"city": "Bonn"})) == feedback
        server.close()
    assert stub.requests == [{"name": "weather", "arguments": {"city": "Bonn"}}]


def test_failures_of_a_tool_server_are_counted() -> None:
    answers = iter([(200, "no JSON"), (200, [1]), (404, "x"), (404, "y"), (200, {"error": "e"}), (200, {"result": 1})])
    with serving(lambda path, body: next(answers)) as stub:
        server = HttpToolServer(stub.url, 60)
        assert server.summary() == ""
        told = [server.call(ToolCall("weather")) for _ in range(6)]
        assert server.summary() == (
            "5 of 6 calls gave no result: status 404 2, status 200, no JSON 1, "
            "status 200, neither result nor error 1, error 1"
        )
        server.close()
    assert all("\n" not in line for line in told)


@pytest.mark.parametrize("sends", [b"", b"HTTP/1.1 200 OK\r\nContent-Length: 9\r\n\r\n{", b"\0\xff\r\n\r\n"])
@pytest.mark.parametrize("stays", [False, True])
def test_a_tool_server_that_stops_or_hangs(sends: bytes, stays: bool) -> None:
    """A dropped connection or one that never ends costs the call, not the run."""
    with socket.create_server(("127.0.0.1", 0)) as listener:

        def answer() -> None:
            connection, _ = listener.accept()
            with connection:
                connection.recv(1 << 16)
                connection.sendall(sends)
                if stays:
                    ended.wait(30)

        ended = threading.Event()
        thread = threading.Thread(target=answer, daemon=True)
        thread.start()
        server = HttpToolServer(f"http://127.0.0.1:{listener.getsockname()[1]}", 0.3)
        told = json.loads(server.call(ToolCall("weather", {"city": "Bonn"})))
        ended.set()
        thread.join()
        server.close()
    assert told["error"] in ("connection timed out", "the connection broke off")
    assert server.failures.total() == 1


def test_a_tool_server_that_trickles() -> None:
    """Each piece comes in time, the whole does not."""

    class Slow(BaseHTTPRequestHandler):
        def do_POST(self) -> None:
            self.send_response(200)
            self.end_headers()
            with contextlib.suppress(OSError):
                for _ in range(100):
                    self.wfile.write(b" ")
                    time.sleep(0.05)

        def log_message(self, *_: Any) -> None:
            pass

    with ThreadingHTTPServer(("127.0.0.1", 0), Slow) as slow:
        threading.Thread(target=slow.serve_forever, daemon=True).start()
        server = HttpToolServer(f"http://127.0.0.1:{slow.server_address[1]}", 0.5)
        assert server.call(ToolCall("weather")) == '{"error": "connection timed out"}'
        server.close()
        slow.shutdown()


@pytest.mark.parametrize("arguments", ["", " ", None, {}])
def test_no_arguments_are_empty_ones(arguments: Any) -> None:
    tools = Weather()
    made = {"id": "a", "type": "function", "function": {"name": "weather", "arguments": arguments}}
    assert play(Script({"content": None, "tool_calls": [made]}, "Sunny."), tools).answer == "Sunny."
    assert tools.calls == [ToolCall("weather")]


@pytest.mark.parametrize("style", [None, QWEN25])
def test_content_parts_are_text(style: Any) -> None:
    said = {"content": [{"type": "text", "text": "Sun"}, {"type": "text", "text": "ny."}]}
    chat = TextChat(Script(said), style) if style else ToolChat(Script(said))
    assert dialogue(chat, Weather(), OPENING, Limits()).answer == "Sun\nny."


@pytest.mark.parametrize("calls", [{"a": 1}, "f", [None, 3], [{}], [{"function": "f"}], [{"function": {"name": 3}}]])
def test_calls_of_a_wrong_type_end_no_run(calls: Any) -> None:
    assert play(Script({"content": "x", "tool_calls": calls}, "x")).answer == "x"


def test_no_tool_server() -> None:
    with serving(lambda path, body: (200, "")) as stub:
        url = stub.url
    with pytest.raises(OptionError, match=r"tool server .* cannot be reached"):
        HttpToolServer(url, 60).call(ToolCall("weather"))


@pytest.mark.parametrize("template", ["", "tl_qwen25"])
def test_infer_with_a_tool_server(tmp_path: Path, template: str, capsys: pytest.CaptureFixture[str]) -> None:
    """Both ways from the command's side: three questions, each with one call and an answer."""

    def model(path: str, body: Any) -> Any:
        if not body:
            return 404, ""
        assert ("tools" in body) == (not template)
        if body["messages"][-1]["role"] == "tool":
            return completion(f"It is {body['messages'][-1]['content']}.")
        made = {"name": "weather", "arguments": {"city": "Bonn"}}
        if template:
            return completion(f"<tool_call>\n{json.dumps(made)}\n</tool_call>")
        return completion("", [call(**made)])

    with serving(model) as stub, serving(lambda path, body: (200, {"result": "sun"})) as tools:
        options = {"model": "stub", "backend": "openai", "url": f"{stub.url}/v1", "template": template}
        found = ask(tmp_path, 3, **options, tool_server=tools.url, retries=0)
    assert {record["prediction"] for record in found} == {"It is sun."}
    assert "The dialogues ended by: answer 3" in capsys.readouterr().err
    assert len(tools.requests) == 3
    for record in lines(tmp_path / "out.jsonl"):
        roles = [message["role"] for message in record["messages"]]
        assert roles[-4:] == ["user", "assistant", "tool", "assistant"]
        assert record["messages"][-3]["tool_calls"][0]["function"]["name"] == "weather"
    settings = json.loads((tmp_path / "out.jsonl.settings.json").read_text("utf-8"))
    assert (settings["turns"], settings["tool_server"]) == (9, tools.url)
