"""What other servers send: read with caps on bytes, time, depth and types, and shown without secrets.

Every client of ours asks through `exchange`. No redirect is followed, so that a key goes to no other server.
"""

from __future__ import annotations

import contextlib
import functools
import json
import queue
import re
import threading
import time
import zlib
from collections.abc import Callable, Iterable, Iterator, Mapping
from concurrent.futures import Future
from dataclasses import dataclass
from typing import TYPE_CHECKING, Any, TypeVar
from urllib.parse import quote, urlsplit

if TYPE_CHECKING:
    import httpx

_T = TypeVar("_T")
MOST_BYTES = 64 << 20
MOST_DEPTH = 64
_SHOWN = 300
_LONE_SURROGATE = re.compile(r"[\ud800-\udfff]")
# Control characters of terminals, and those that turn the direction of writing.
_CONTROL = re.compile(r"[\x00-\x1f\x7f-\x9f\u200e\u200f\u2028-\u202e\u2066-\u2069]+")
_USER = re.compile(r"(\b\w{1,20}://)[^/\s@]{0,500}@")
_SECRET_WORD = re.compile(
    r"(?i)\b(api[_-]?key|key|token|access[_-]?token|secret|password|passwd|pwd|sig|signature)=[^&\s\"']+"
)
_BEARER = re.compile(r"(?i)\b(bearer|basic)\s+[\w\-.~+/]{6,}=*")
_SECRETS: set[str] = set()  # keys that were read in this process


class ForeignError(ValueError):
    """An answer beyond the caps."""


class LongError(ForeignError):
    """An answer of too many bytes."""


class LateError(ForeignError):
    """An answer that was not whole in time."""


@dataclass(frozen=True)
class Answer:
    """A whole answer within the caps.

    Attributes:
        status_code: of HTTP.
        headers: by lower-case name.
        content: the body, unpacked.
    """

    status_code: int
    headers: Mapping[str, str]
    content: bytes

    @property
    def text(self) -> str:
        """The body as text, whatever it holds."""
        return self.content.decode("utf-8", "replace")

    def json(self) -> Any:
        """Return the body's value.

        Raises:
            ValueError: it is no JSON, or nested too deeply.
        """
        return parsed(self.content)


def parsed(content: bytes | str) -> Any:
    """Return the value of a JSON text; half surrogates become question marks.

    Raises:
        ForeignError: it is no JSON, nested too deeply, or has numbers too long.
    """
    try:
        return _clean(json.loads(content), MOST_DEPTH)
    except RecursionError:
        raise ForeignError(f"it is nested more than {MOST_DEPTH} deep") from None
    except ForeignError:
        raise
    except ValueError as error:
        raise ForeignError(f"it is no JSON ({shown(str(error))})") from None


def _clean(value: Any, left: int) -> Any:
    if isinstance(value, str):
        return _LONE_SURROGATE.sub("\ufffd", value)
    if isinstance(value, list | dict) and not left:
        raise ForeignError(f"it is nested more than {MOST_DEPTH} deep")
    if isinstance(value, list):
        return [_clean(item, left - 1) for item in value]
    if isinstance(value, dict):
        return {_LONE_SURROGATE.sub("\ufffd", key): _clean(item, left - 1) for key, item in value.items()}
    return value


def count_of(value: Any) -> int | None:
    """Return a number of tokens that a server states; None where it states none."""
    if isinstance(value, bool) or not isinstance(value, int | float) or not 0 <= value <= 1e12:
        return None
    return int(value)


def clean_key(key: str, name: str) -> str:
    """Return a key without blanks around it, which is never shown from now on.

    Raises:
        ValueError: it holds characters that cannot be sent; the message does not show it.
    """
    key = key.strip()
    hide(key)
    if not all(" " < letter < "\x7f" for letter in key):
        raise ValueError(f"{name} holds characters that cannot be sent in a header; set it anew, as one word")
    return key


def hide(secret: str) -> None:
    """Show a secret in no message from now on."""
    if secret.strip():
        _SECRETS.add(secret.strip())


def shown(text: str, longest: int = _SHOWN) -> str:
    """Return foreign text for a message: one line, without secrets, without what steers a terminal."""
    text = text[: 10 * longest]  # patterns shall not search for long
    for secret in sorted(_SECRETS, key=len, reverse=True):
        for form in {secret, quote(secret, safe=""), json.dumps(secret)[1:-1]}:
            text = text.replace(form, "***")
    text = _USER.sub(r"\1***@", text)
    text = _SECRET_WORD.sub(r"\1=***", text)
    text = _BEARER.sub(r"\1 ***", text)
    text = _LONE_SURROGATE.sub("\ufffd", _CONTROL.sub(" ", text))
    return " ".join(text.split())[:longest]


def shown_url(url: str) -> str:
    """Return an address without its user, password and secret parameters."""
    try:
        password = urlsplit(url).password
    except ValueError:
        password = None
    hide(password or "")
    return shown(url, 500)


class Asking:
    """Threads that ask others; a command that Ctrl-C ends does not wait for the answers under way.

    Args:
        most: threads.
    """

    def __init__(self, most: int) -> None:
        self._most = most
        self._jobs: queue.SimpleQueue[tuple[Future[Any], Callable[[], Any]] | None] = queue.SimpleQueue()
        self._threads: list[threading.Thread] = []

    def __enter__(self) -> Asking:
        return self

    def submit(self, ask: Callable[..., _T], *given: Any) -> Future[_T]:
        """Ask as soon as a thread is free."""
        future: Future[_T] = Future()
        self._jobs.put((future, functools.partial(ask, *given)))
        if len(self._threads) < self._most:
            self._threads.append(threading.Thread(target=self._work, daemon=True))
            self._threads[-1].start()
        return future

    def _work(self) -> None:
        while (job := self._jobs.get()) is not None:
            future, ask = job
            if future.set_running_or_notify_cancel():
                try:
                    future.set_result(ask())
                except BaseException as error:
                    future.set_exception(error)

    def __exit__(self, kind: type[BaseException] | None, *_: object) -> None:
        if kind is not None:
            with contextlib.suppress(queue.Empty):
                while (job := self._jobs.get_nowait()) is not None:
                    job[0].cancel()
        for _thread in self._threads:
            self._jobs.put(None)
        if kind is None or issubclass(kind, Exception):
            for thread in self._threads:
                thread.join()


def new_client(timeout: float, connect: float = 30, headers: Mapping[str, str] | None = None) -> httpx.Client:
    """Return a client whose reads end with `exchange`'s deadline, also within an answer's head."""
    import httpx

    client = httpx.Client(timeout=httpx.Timeout(timeout, connect=min(timeout, connect)), headers=dict(headers or {}))
    for transport in [client._transport, *client._mounts.values()]:
        pool = getattr(transport, "_pool", None)
        backend = getattr(pool, "_network_backend", None)
        if pool is not None and backend is not None:
            pool._network_backend = _Backend(backend)
    return client


def exchange(
    client: httpx.Client,
    method: str,
    url: str,
    *,
    body: Any = None,
    headers: Mapping[str, str] | None = None,
    seconds: float,
    most_bytes: int = MOST_BYTES,
) -> Answer:
    """Ask a server and read its whole answer.

    Args:
        client: of `new_client`.
        method: of HTTP.
        url: whole.
        body: sent as JSON; None for none.
        headers: beside the client's own.
        seconds: for all of it.
        most_bytes: of the answer, unpacked.

    Raises:
        ForeignError: the answer is longer, comes later, or is packed in a way that was not asked for.
        httpx.HTTPError: there is no answer.
    """
    sent = {"Accept-Encoding": "gzip, identity", **(headers or {})}
    content = None
    if body is not None:
        content = json.dumps(body).encode("ascii")
        sent["Content-Type"] = "application/json"
    ends = time.monotonic() + seconds
    with _until(ends), client.stream(method, url, content=content, headers=sent, follow_redirects=False) as response:
        whole = bytearray()
        for part in _unpacked(response.iter_raw(1 << 16), response.headers.get("content-encoding", ""), most_bytes):
            whole += part
            if len(whole) > most_bytes:
                raise LongError(f"its answer is longer than {most_bytes:,} bytes")
            if time.monotonic() > ends:
                raise LateError(f"its answer was not whole after {seconds:.0f} s")
        return Answer(response.status_code, {k.lower(): v for k, v in response.headers.items()}, bytes(whole))


def _unpacked(parts: Iterable[bytes], coding: str, most: int) -> Iterator[bytes]:
    """Return the body's parts, unpacked little by little: a small part may hold gigabytes."""
    coding = coding.strip().lower()
    if coding in ("", "identity"):
        yield from parts
        return
    if coding not in ("gzip", "x-gzip", "deflate"):
        raise ForeignError("its answer is packed in a way that was not asked for")
    unpacker = zlib.decompressobj(zlib.MAX_WBITS | 32)
    for part in parts:
        rest = part
        while rest and not unpacker.eof:
            try:
                yield unpacker.decompress(rest, min(most + 1, 1 << 20))
            except zlib.error:
                raise ForeignError("its answer is no whole gzip stream") from None
            rest = unpacker.unconsumed_tail
    if not unpacker.eof:
        raise ForeignError("its answer is no whole gzip stream")


_LOCAL = threading.local()


@contextlib.contextmanager
def _until(ends: float) -> Iterator[None]:
    _LOCAL.ends = ends
    try:
        yield
    finally:
        _LOCAL.ends = None


class _Backend:
    """httpcore's network, whose streams keep to the deadline."""

    def __init__(self, backend: Any) -> None:
        self._backend = backend

    def connect_tcp(self, *args: Any, **named: Any) -> Any:
        return _Stream(self._backend.connect_tcp(*args, **named))

    def connect_unix_socket(self, *args: Any, **named: Any) -> Any:
        return _Stream(self._backend.connect_unix_socket(*args, **named))

    def sleep(self, seconds: float) -> None:
        self._backend.sleep(seconds)


class _Stream:
    def __init__(self, stream: Any) -> None:
        self._stream = stream

    def read(self, max_bytes: int, timeout: float | None = None) -> Any:
        return self._stream.read(max_bytes, timeout=_left(timeout))

    def write(self, buffer: bytes, timeout: float | None = None) -> None:
        self._stream.write(buffer, timeout=_left(timeout))

    def close(self) -> None:
        self._stream.close()

    def start_tls(self, *args: Any, **named: Any) -> Any:
        return _Stream(self._stream.start_tls(*args, **named))

    def get_extra_info(self, info: str) -> Any:
        return self._stream.get_extra_info(info)


def _left(timeout: float | None) -> float | None:
    """Return the time of one read: what is left of the whole, if less."""
    ends = getattr(_LOCAL, "ends", None)
    if ends is None:
        return timeout
    left = max(ends - time.monotonic(), 0.001)
    return left if timeout is None else min(timeout, left)
