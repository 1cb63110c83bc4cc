"""A judge on this machine that answers what a test tells it to."""

import json
import os
import threading
from collections.abc import Iterator
from contextlib import contextmanager
from dataclasses import dataclass, field
from http.server import BaseHTTPRequestHandler, ThreadingHTTPServer
from typing import Any
from unittest.mock import patch

YES = "## Analysis\nFine.\n## Results\nProcess Correctness: Yes\nFinal Response Correctness: Yes"


@dataclass
class Stub:
    """Statuses and texts to answer with, in turn (the last one for good), and what was asked.

    A text stands for a whole reply; a tuple for a status, a body and headers.
    """

    answers: list[str | tuple[int, str, dict[str, str]]] = field(default_factory=lambda: [YES])
    bodies: list[dict[str, Any]] = field(default_factory=list)
    keys: list[str | None] = field(default_factory=list)
    url: str = ""

    def next(self) -> str | tuple[int, str, dict[str, str]]:
        return self.answers.pop(0) if len(self.answers) > 1 else self.answers[0]


@contextmanager
def judge_stub() -> Iterator[Stub]:
    stub = Stub()

    class Handler(BaseHTTPRequestHandler):
        def do_POST(self) -> None:
            body = json.loads(self.rfile.read(int(self.headers["Content-Length"])))
            stub.bodies.append({"path": self.path, **body})
            stub.keys.append(self.headers.get("Authorization"))
            answer = stub.next()
            status, text, headers = answer if isinstance(answer, tuple) else (200, completion(answer), {})
            self.send_response(status)
            for name, value in headers.items():
                self.send_header(name, value)
            self.send_header("Content-Length", str(len(text.encode())))
            self.end_headers()
            self.wfile.write(text.encode())

        def log_message(self, *_: Any) -> None:
            pass

    server = ThreadingHTTPServer(("127.0.0.1", 0), Handler)
    thread = threading.Thread(target=server.serve_forever, args=(0.02,), daemon=True)
    thread.start()
    stub.url = f"http://127.0.0.1:{server.server_address[1]}/v1"
    try:
        with patch.dict(os.environ, NO_PROXY="127.0.0.1", no_proxy="127.0.0.1"):
            yield stub
    finally:
        server.shutdown()
        server.server_close()
        thread.join()


def completion(text: str) -> str:
    usage = {"prompt_tokens": 100, "completion_tokens": 10}
    return json.dumps({"choices": [{"message": {"role": "assistant", "content": text}}], "usage": usage})
