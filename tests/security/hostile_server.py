"""A server that answers as none should: packed bombs, drips, endless and deep answers, wrong types, echoed keys."""

from __future__ import annotations

import gzip
import json
import socket
import threading
import time
from collections.abc import Callable, Iterator
from contextlib import contextmanager

Send = Callable[[bytes], None]
KEY = "sk-very-secret-0123456789"
DEEP = b'{"choices": ' + b"[" * 50_000 + b"]" * 50_000 + b"}"


def _head(length: int | None, *more: str, status: str = "200 OK") -> bytes:
    lines = [f"HTTP/1.1 {status}", "Content-Type: application/json", "Connection: close", *more]
    lines += [f"Content-Length: {length}"] if length is not None else []
    return ("\r\n".join(lines) + "\r\n\r\n").encode()


def _json(value: object, status: str = "200 OK") -> Callable[[Send, bytes], None]:
    return _bytes(json.dumps(value).encode(), status=status)


def _bytes(content: bytes, *more: str, status: str = "200 OK") -> Callable[[Send, bytes], None]:
    return lambda send, asked: send(_head(len(content), *more, status=status) + content)


def _bomb(send: Send, asked: bytes) -> None:
    content = gzip.compress(bytes(400 << 20), 1)
    send(_head(len(content), "Content-Encoding: gzip") + content)


def _endless(send: Send, asked: bytes) -> None:
    send(_head(None) + b'{"choices": [{"message": {"content": "')
    while True:
        send(b"x" * 65_536)


def _drip(send: Send, asked: bytes) -> None:
    send(_head(100_000))
    while True:
        send(b" ")
        time.sleep(0.05)


def _drip_head(send: Send, asked: bytes) -> None:
    send(b"HTTP/1.1 200 OK\r\nX-Slow: ")
    while True:
        send(b"x")
        time.sleep(0.05)


def _endless_head(send: Send, asked: bytes) -> None:
    send(b"HTTP/1.1 200 OK\r\n")
    while True:
        send(b"X-More: " + b"x" * 1000 + b"\r\n")


def _echo(status: str) -> Callable[[Send, bytes], None]:
    return lambda send, asked: _bytes(b"you sent " + asked, status=status)(send, asked)


def message(content: object) -> dict[str, object]:
    return {"choices": [{"index": 0, "message": content, "text": content, "finish_reason": "stop"}]}


ANSWERS: dict[str, Callable[[Send, bytes], None]] = {
    "gzip bomb": _bomb,
    "cut gzip": _bytes(gzip.compress(b'{"choices": []}')[:-9], "Content-Encoding: gzip"),
    "no gzip": _bytes(b'{"choices": []}', "Content-Encoding: gzip"),
    "unknown packing": _bytes(b'{"choices": []}', "Content-Encoding: br"),
    "endless": _endless,
    "drip": _drip,
    "drip in the head": _drip_head,
    "endless head": _endless_head,
    "silence": lambda send, asked: time.sleep(3600),
    "no HTTP": lambda send, asked: send(b"\xff\xfe hello \x1b[31m\r\n\r\n"),
    "closed": lambda send, asked: None,
    "length too long": lambda send, asked: send(_head(1000) + b'{"choices": []}'),
    "length too short": lambda send, asked: send(_head(5) + b'{"choices": []}'),
    "length negative": lambda send, asked: send(_head(-5) + b'{"choices": []}'),
    "deep": _bytes(DEEP),
    "deep enough to parse": _bytes(json.dumps(message("x")).replace('"x"', "[" * 300 + "]" * 300).encode()),
    "long number": _bytes(b'{"choices": ' + b"9" * 100_000 + b"}"),
    "no JSON": _bytes(b"<html>hello</html>"),
    "empty": _bytes(b""),
    "null": _json(None),
    "a number": _json(7),
    "a list": _json([1, 2]),
    "choices null": _json({"choices": None}),
    "choices a text": _json({"choices": "hello"}),
    "choice a number": _json({"choices": [7]}),
    "message a list": _json(message([1])),
    "message a number": _json(message(7)),
    "content a number": _json(message({"content": 7})),
    "content an object": _json(message({"content": {"a": 1}})),
    "calls a number": _json(message({"content": None, "tool_calls": 7})),
    "calls of numbers": _json(message({"content": None, "tool_calls": [7, None, "x"]})),
    "usage a text": _json({**message({"content": "hi"}), "usage": "many"}),
    "usage endless": _bytes(
        b'{"choices": [{"message": {"content": "hi"}}], "usage": {"completion_tokens": 1e999, "prompt_tokens": NaN}}'
    ),
    "ids of texts": _json({"choices": [{"index": 0, "token_ids": ["a", None], "finish_reason": "stop", "text": "x"}]}),
    "ids negative": _json({"choices": [{"index": 0, "token_ids": [-1, 1e300], "finish_reason": "stop", "text": "x"}]}),
    "index a text": _json({"choices": [{"index": "a", "text": "x"}, {"index": 0, "text": "y"}]}),
    "half surrogates": _bytes(
        b'{"result": "\\ud800", "choices": [{"index": 0, "text": "\\ud800", "finish_reason": "stop", '
        b'"message": {"content": "\\udfff\\ud800"}}]}'
    ),
    "no UTF-8": _bytes(b'{"choices": [{"message": {"content": "\xff\xfe"}}]}'),
    "result deep": _bytes(b'{"result": ' + b"[" * 5000 + b"]" * 5000 + b"}"),
    "error deep": _bytes(b'{"error": ' + b'{"a":' * 5000 + b"1" + b"}" * 5000 + b"}"),
    "MCP of numbers": _json({"result": {"content": [7, None], "isError": "maybe"}}),
    "echo 200": _echo("200 OK"),
    "echo 400": _echo("400 Bad Request"),
    "echo 401": _echo("401 Unauthorized"),
    "echo 500": _echo("500 Oops"),
    "terminal": _bytes(b"\x1b[2J\x1b]0;owned\x07" * 10, status="400 Bad Request"),
    "redirect": lambda send, asked: send(_head(0, "Location: http://127.0.0.1:1/elsewhere", status="302 Found")),
    "odd status": _bytes(b"{}", status="299 Whatever"),
    "wait for ever": _bytes(b"{}", "Retry-After: 1e308", status="503 Busy"),
    "wait for nothing": _bytes(b"{}", "Retry-After: nan", status="503 Busy"),
}


@contextmanager
def hostile(answer: Callable[[Send, bytes], None]) -> Iterator[str]:
    """Serve an answer to everything that is asked; gives the address."""
    server = socket.create_server(("127.0.0.1", 0))
    server.settimeout(0.1)
    ending = threading.Event()

    def serve(connection: socket.socket) -> None:
        with connection:
            connection.settimeout(30)
            try:
                asked = connection.recv(65_536)

                def send(content: bytes) -> None:
                    if ending.is_set():
                        raise OSError
                    connection.sendall(content)

                answer(send, asked)
            except OSError:
                pass

    def accept() -> None:
        while not ending.is_set():
            try:
                connection, _ = server.accept()
            except TimeoutError:
                continue
            except OSError:
                return
            threading.Thread(target=serve, args=(connection,), daemon=True).start()

    thread = threading.Thread(target=accept, daemon=True)
    thread.start()
    try:
        yield f"http://127.0.0.1:{server.getsockname()[1]}"
    finally:
        ending.set()
        thread.join()
        server.close()
