"""A chat endpoint and a tool server on a free port, which remember what they were asked and answer as told."""

from __future__ import annotations

import json
import threading
from collections.abc import Callable, Iterator
from contextlib import contextmanager
from http.server import BaseHTTPRequestHandler, ThreadingHTTPServer
from typing import Any

Answer = tuple[int, Any]


class Stub:
    """A running server.

    Attributes:
        url: its address.
        requests: bodies, in the order of their arrival.
        headers: of the same requests.
    """

    def __init__(self, answer: Callable[[str, Any], Answer]) -> None:
        self.requests: list[Any] = []
        self.headers: list[dict[str, str]] = []
        lock = threading.Lock()
        stub = self

        class Handler(BaseHTTPRequestHandler):
            def do_GET(self) -> None:
                self._reply(None)

            def do_POST(self) -> None:
                body = json.loads(self.rfile.read(int(self.headers["Content-Length"])))
                with lock:
                    stub.requests.append(body)
                    stub.headers.append({name.lower(): value for name, value in self.headers.items()})
                self._reply(body)

            def _reply(self, body: Any) -> None:
                status, data = answer(self.path, body)
                text = data.encode() if isinstance(data, str) else json.dumps(data).encode()
                self.send_response(status)
                self.send_header("Content-Type", "text/plain" if isinstance(data, str) else "application/json")
                self.send_header("Content-Length", str(len(text)))
                self.end_headers()
                self.wfile.write(text)

            def log_message(self, *_: Any) -> None:
                pass

        self._server = ThreadingHTTPServer(("127.0.0.1", 0), Handler)
        self.url = f"http://127.0.0.1:{self._server.server_address[1]}"
        self._thread = threading.Thread(target=self._server.serve_forever, daemon=True)
        self._thread.start()

    def stop(self) -> None:
        self._server.shutdown()
        self._server.server_close()


@contextmanager
def serving(answer: Callable[[str, Any], Answer]) -> Iterator[Stub]:
    """A server that answers (path, body) with (status, JSON or text) while the block runs."""
    stub = Stub(answer)
    try:
        yield stub
    finally:
        stub.stop()


def completion(content: str = "", tool_calls: list[Any] | None = None, tokens: int = 3) -> Answer:
    """A chat completion."""
    message: dict[str, Any] = {"role": "assistant", "content": content}
    if tool_calls:
        message["tool_calls"] = tool_calls
    return 200, {"choices": [{"message": message}], "usage": {"completion_tokens": tokens}}


def call(name: str, arguments: Any, key: str = "call_a") -> dict[str, Any]:
    """A call as an endpoint writes it."""
    written = arguments if isinstance(arguments, str) else json.dumps(arguments)
    return {"id": key, "type": "function", "function": {"name": name, "arguments": written}}
