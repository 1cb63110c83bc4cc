"""Tool servers: what executes the calls of a dialogue.

A server is anything with `call`. `HttpToolServer` speaks the smallest protocol there is:

    POST URL  {"name": "get_weather", "arguments": {"city": "Paris"}}
    200       {"result": ANY_JSON}   or   {"error": "text for the model"}

An empty error beside a result is none, as in JSON-RPC. A result of MCP (`{"content": [parts], "isError": false}`),
bare or under "result", becomes the text of its parts. A failing tool is no error of the run: the model reads in one
line what went wrong, as with a real tool, and the failures are counted by kind.
"""

from __future__ import annotations

import json
import re
import threading
from collections import Counter
from collections.abc import Mapping
from typing import Any, Protocol

import httpx

from ...errors import OptionError
from ...foreign import ForeignError, LateError, LongError, exchange, new_client, parsed, shown, shown_url
from ...toolcalls import ToolCall
from ...toolcalls.feedback.parts import content_text, parts_text

MOST_BYTES = 1 << 20  # of an answer
_MOST_SHOWN = 500  # characters of what a server says about a failure
_TAG = re.compile(r"<[^<>]*>")
_LONE_SURROGATE = re.compile(r"[\ud800-\udfff]")


class ToolServer(Protocol):
    """Executes calls."""

    def call(self, call: ToolCall) -> str:
        """Return the feedback for the model: a result as text, or what went wrong."""


class ToolFailureError(Exception):
    """A call without a result.

    Args:
        kind: under which it is counted.
        told: what the model reads; the kind if empty.
    """

    def __init__(self, kind: str, told: Any = "") -> None:
        super().__init__(kind)
        self.kind, self.told = kind, told or kind


class HttpToolServer:
    """Tools behind a URL.

    Args:
        url: takes the calls.
        timeout: seconds of one call, its whole answer included.

    Attributes:
        calls: how many were made.
        failures: how many of them had no result, by kind.
    """

    def __init__(self, url: str, timeout: float) -> None:
        self._url, self._timeout = url, timeout
        self._client = new_client(timeout)
        self._lock = threading.Lock()
        self.calls = 0
        self.failures: Counter[str] = Counter()

    def call(self, call: ToolCall) -> str:
        """Post the call.

        Raises:
            OptionError: there is no server at all.
        """
        kind, told = "", ""
        try:
            told = feedback(*self._post(call))
        except ToolFailureError as failure:
            kind, told = failure.kind, json.dumps({"error": failure.told}, ensure_ascii=False)
        with self._lock:
            self.calls += 1
            if kind:
                self.failures[kind] += 1
        return _LONE_SURROGATE.sub("\ufffd", told)

    def summary(self) -> str:
        """Return one line about the calls without a result; "" if there were none."""
        if not self.failures:
            return ""
        kinds = ", ".join(f"{kind} {count}" for kind, count in self.failures.most_common())
        return f"{self.failures.total()} of {self.calls} calls gave no result: {kinds}"

    def close(self) -> None:
        """Close all connections."""
        self._client.close()

    def _post(self, call: ToolCall) -> tuple[int, bytes]:
        """Return status and body, read up to the limits."""
        body = {"name": call.name, "arguments": dict(call.arguments)}
        try:
            answer = exchange(self._client, "POST", self._url, body=body, seconds=self._timeout, most_bytes=MOST_BYTES)
            return answer.status_code, answer.content
        except LateError:
            raise ToolFailureError("connection timed out") from None
        except LongError:
            raise ToolFailureError(f"the answer is longer than {MOST_BYTES} bytes") from None
        except ForeignError:
            raise ToolFailureError("the connection broke off") from None
        except httpx.TimeoutException:
            raise ToolFailureError("connection timed out") from None
        except (httpx.ReadError, httpx.WriteError, httpx.RemoteProtocolError, httpx.DecodingError):
            raise ToolFailureError("the connection broke off") from None
        except (httpx.HTTPError, httpx.InvalidURL, UnicodeError) as error:
            raise OptionError(
                f"the tool server {shown_url(self._url)} cannot be reached ({shown(str(error))}); start it or correct "
                "--tool_server"
            ) from None


def feedback(status: int, body: bytes) -> str:
    """Return the result that a server's answer holds, as text.

    Raises:
        ToolFailureError: it holds none.
    """
    try:
        data: Any = parsed(body)
    except ValueError:
        data = None
    if not 200 <= status < 300:
        detail = _detail(data, body)
        raise ToolFailureError(f"status {status}", f"status {status}: {detail}" if detail else "")
    if isinstance(data, dict):
        if data.get("error"):
            raise ToolFailureError("error", parts_text(data["error"]) or data["error"])
        if "result" in data:
            return _result_text(data["result"])
        if _is_mcp(data):
            return _result_text(data)
    kind = "no JSON" if data is None else "neither result nor error"
    raise ToolFailureError(f"status {status}, {kind}", f"status {status}")


def _is_mcp(result: Any) -> bool:
    """Tell whether a value is a result of MCP."""
    if not isinstance(result, Mapping):
        return False
    content = result.get("content")
    return parts_text(content) is not None or (
        content == [] and bool({"isError", "structuredContent"} & result.keys())
    )


def _result_text(result: Any) -> str:
    """Return the text of a result, or of its parts.

    Raises:
        ToolFailureError: a result of MCP that says it is an error.
    """
    if not _is_mcp(result):
        return content_text(result) if result is not None else "null"
    text = parts_text(result["content"]) or ""
    if result.get("isError"):
        raise ToolFailureError("error", text or "the tool failed")
    structured = result.get("structuredContent")
    return text if text or structured is None else json.dumps(structured, ensure_ascii=False)


def _detail(data: Any, body: bytes) -> str:
    """Return what a refusal says, in one line; a "result" beside it is none."""
    if isinstance(data, dict):
        rest = {key: value for key, value in data.items() if key != "result"}
        data = next(iter(rest.values())) if len(rest) == 1 else rest
    said = content_text(data) if data else ""
    text = _TAG.sub(" ", body.decode("utf-8", "replace")) if data is None else said
    return " ".join(text.split())[:_MOST_SHOWN]
