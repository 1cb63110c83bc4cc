"""Tool servers over HTTP: results, refusals and whatever else comes reach the model as one text, and are counted."""

import contextlib
import json
import socket
import threading
import time
from http.server import BaseHTTPRequestHandler, ThreadingHTTPServer
from typing import Any

import pytest

from llamafactory_ext.errors import OptionError
from llamafactory_ext.serving.agent.tools import HttpToolServer
from llamafactory_ext.toolcalls import ToolCall
from serving.stub_server import serving

pytestmark = pytest.mark.fast


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


def test_no_tool_server() -> None:
    with serving(lambda path, body: (200, "")) as stub:
        url = stub.url
    with pytest.raises(OptionError, match=r"tool server .* cannot be reached"):
        HttpToolServer(url, 60).call(ToolCall("weather"))
