"""The worlds behind HTTP, for agents of other programs and for rollouts of PPO.

    POST /       {"name", "arguments"} -> {"result"} or {"error"}, as `serving.agent.tools.HttpToolServer` reads
    GET  /case   -> the case's messages and tools
    GET  /tools  -> the tools on offer now
    POST /end    {"answer"} -> what was done and what the checks say; the world is forgotten

The header `X-Case` names the case; `X-Session` tells several episodes of one case apart.
"""

from __future__ import annotations

import json
import sys
import threading
from collections import OrderedDict
from collections.abc import Iterator
from http.server import BaseHTTPRequestHandler, ThreadingHTTPServer
from io import BufferedIOBase
from typing import Any

from ..errors import ExtError, OptionError
from ..foreign import ForeignError, parsed
from .arguments import UnreadableError, read_call
from .cases import Case, Source
from .checks import Deeds, check
from .prompts import opening
from .sandbox import SETTINGS, Sandbox, Setting, finite
from .world import diff

MOST_BYTES = 1 << 20
_MOST_LINE, _MOST_TRAILERS = 256, 16  # of the size of a chunk, or of a trailer
MOST_SESSIONS = 10_000


class RequestError(Exception):
    """A request that cannot be answered.

    Args:
        status: of HTTP.
        text: what the client reads.
    """

    def __init__(self, status: int, text: str) -> None:
        super().__init__(text)
        self.status, self.text = status, text


def read_body(file: BufferedIOBase, length: str | None, coding: str | None) -> bytes:
    """Return the body of a request, stated by its length or sent in chunks.

    Args:
        file: what the client sends.
        length: the header Content-Length.
        coding: the header Transfer-Encoding.

    Raises:
        RequestError: it is too long, cut, or sent in another way.
    """
    if coding is not None:
        if coding.strip().lower() != "chunked" or length is not None:
            raise RequestError(501, "send the body with Content-Length, or in chunks alone")
        return b"".join(_chunks(file))
    text = (length or "0").strip()
    if not text.isascii() or not text.isdecimal():
        raise RequestError(400, "Content-Length is no number")
    if len(text) > 12 or int(text) > MOST_BYTES:
        raise RequestError(413, f"the body must have at most {MOST_BYTES} bytes")
    return _exactly(file, int(text))


def _chunks(file: BufferedIOBase) -> Iterator[bytes]:
    left = MOST_BYTES
    while True:
        head = file.readline(_MOST_LINE).partition(b";")[0].strip()
        if not 0 < len(head) <= 12 or head.strip(b"0123456789abcdefABCDEF"):
            raise RequestError(400, "the size of a chunk is no number")
        size = int(head, 16)
        left -= size
        if left < 0:
            raise RequestError(413, f"the body must have at most {MOST_BYTES} bytes")
        if not size:
            break
        yield _exactly(file, size)
        if file.readline(_MOST_LINE).strip():
            raise RequestError(400, "a chunk is longer than it says")
    for _ in range(_MOST_TRAILERS):
        if not file.readline(_MOST_LINE).strip():
            return
    raise RequestError(400, "there are too many trailers")


def _exactly(file: BufferedIOBase, size: int) -> bytes:
    found = file.read(size)
    if len(found) < size:
        raise RequestError(400, "the body is shorter than it says")
    return found


class Worlds:
    """One sandbox for each case and session; the oldest is forgotten where there are too many.

    Args:
        source: has the cases.
        setting: whether tools are given.
    """

    def __init__(self, source: Source, setting: Setting) -> None:
        self._source, self._setting = source, setting
        self._boxes: OrderedDict[tuple[str, str], tuple[Sandbox, threading.Lock]] = OrderedDict()
        self._lock = threading.Lock()

    def case(self, key: str) -> Case:
        """Return the case that a header names.

        Raises:
            RequestError: there is none.
        """
        try:
            return self._source.case(key)
        except ExtError as error:
            raise RequestError(404, f"the header X-Case must name a case: {error.message}") from None

    def box(self, key: str, session: str) -> tuple[Sandbox, threading.Lock]:
        """Return the sandbox of a case and session, made at the first call."""
        case = self.case(key)
        with self._lock:
            name = (key, session)  # a trial of a case has a world of its own
            if name not in self._boxes:
                world = self._source.worlds[case.user].fork()
                self._boxes[name] = (Sandbox(world, case.now, case.given, self._setting), threading.Lock())
            self._boxes.move_to_end(name)
            while len(self._boxes) > MOST_SESSIONS:
                self._boxes.popitem(last=False)
            return self._boxes[name]

    def answer(self, method: str, path: str, key: str, session: str, body: bytes) -> Any:
        """Answer a request.

        Raises:
            RequestError: it cannot be answered.
        """
        case = self.case(key)
        box, lock = self.box(key, session)
        with lock:
            if (method, path) == ("GET", "/tools"):
                return {"tools": box.tools()}
            if (method, path) == ("GET", "/case"):
                messages = opening(box.start, case, self._setting, "fc", box.tools())
                return {"id": key, "messages": messages, "tools": box.tools()}
            if method == "POST" and path in ("/", "/end"):
                given = _object(body)
                return self._end(case, box, (key, session), given) if path == "/end" else _call(box, given)
        raise RequestError(404, "there is only POST /, POST /end, GET /case and GET /tools")

    def _end(self, case: Case, box: Sandbox, name: tuple[str, str], given: dict[str, Any]) -> Any:
        answer = given.get("answer")
        if not isinstance(answer, str | None):
            raise RequestError(400, "the answer must be a text; the world is still there")
        with self._lock:
            self._boxes.pop(name, None)
        calls, changes = [one.record() for one in box.log], diff(box.start, box.world)
        told: dict[str, Any] = {"calls": calls, "diff": [list(change) for change in changes]}
        if case.checks is None:
            return told
        deeds = Deeds(calls, answer or "", changes, box.start)
        outcome = check(case.checks, self._source.slots.get(case.user, {}), deeds)
        return told | {"success": outcome.success, "partial": outcome.partial, "collateral": len(outcome.collateral)}


def _object(body: bytes) -> dict[str, Any]:
    try:
        given = parsed(body or b"{}")
    except ForeignError as error:
        raise RequestError(400, f"the body cannot be read: {error}") from None
    if not isinstance(given, dict):
        raise RequestError(400, "the body must be an object")
    return given


def _call(box: Sandbox, given: dict[str, Any]) -> Any:
    try:
        told = json.loads(box.call(read_call(given.get("name"), given.get("arguments", {}))))
    except UnreadableError as error:
        told = json.loads(box.unreadable(str(error)))
    return told if told.keys() == {"error"} else {"result": told}


def make_server(source: Source, setting: str, host: str, port: int) -> ThreadingHTTPServer:
    """Return a server that waits for `serve_forever`.

    Raises:
        OptionError: no such setting, or the port is taken.
    """
    if setting not in SETTINGS:
        raise OptionError(f"--setting {setting}: choose one of {', '.join(SETTINGS)}.")
    if not host.strip() or not (host.isascii() and host.isprintable()):
        raise OptionError("--host: give an address, such as 127.0.0.1; an empty one would listen on all of them.")
    worlds = Worlds(source, setting)  # type: ignore[arg-type]

    class Handler(BaseHTTPRequestHandler):
        timeout = 60

        def _respond(self, method: str) -> None:
            try:
                body = read_body(self.rfile, self.headers.get("Content-Length"), self.headers.get("Transfer-Encoding"))
                key, session = self.headers.get("X-Case", ""), self.headers.get("X-Session", "")
                status, told = 200, worlds.answer(method, self.path, key, session, body)
            except RequestError as error:
                status, told = error.status, {"error": error.text}
            except ValueError:
                status, told = 400, {"error": "the request cannot be read"}
            content = json.dumps(finite(told), ensure_ascii=False, allow_nan=False).encode("utf-8", "replace")
            self.send_response(status)
            self.send_header("Content-Type", "application/json")
            self.send_header("Content-Length", str(len(content)))
            self.end_headers()
            self.wfile.write(content)

        def do_GET(self) -> None:
            self._respond("GET")

        def do_POST(self) -> None:
            self._respond("POST")

        def log_message(self, *_: Any) -> None:
            """Stay quiet."""

    class Server(ThreadingHTTPServer):
        daemon_threads = True

        def handle_error(self, request: Any, client_address: Any) -> None:
            """Say nothing of a client that goes away; of anything else one line."""
            error = sys.exc_info()[1]
            if not isinstance(error, OSError):
                print(f"a request ended with {error!r}", file=sys.stderr)

    try:
        return Server((host, port), Handler)
    except (OSError, OverflowError, ValueError) as error:
        raise OptionError(f"--host {host} --port {port} cannot be served ({error}); name another.") from None
