"""Tools behind a URL as an environment: an OpenAPI document, an MCP server, or the plain protocol of `infer`'s agent.

`tl_environment: llamafactory_ext.tl.environments.server:server`, with
`tl_environment_args: '{"url": "http://127.0.0.1:8000/openapi.json"}'`. What a tool refuses is an observation; a server
that is gone, too slow or too long-winded is a fault of the environment.
"""

from __future__ import annotations

import ipaddress
import json
from collections.abc import Mapping
from typing import Any, Final
from urllib.parse import urlsplit

from ...errors import OptionError
from ...foreign import ForeignError, exchange, new_client, parsed, shown, shown_url
from ...serving.agent.tools import ToolFailureError, feedback
from ...toolcalls import ToolCall
from .openapi import Operation, address_of, operations_of
from .protocol import ANSWER, Action, Step
from .records import final_text

KINDS: Final = ("openapi", "mcp", "plain")
_VERSION: Final = "2025-06-18"  # of MCP
_ACCEPT: Final = {"Accept": "application/json, text/event-stream"}
_KNOWN: dict[tuple[str, float], tuple[Mapping[str, Operation], str]] = {}


class GoneError(Exception):
    """A server that gives no answer within its limits."""


class ToolServer:
    """The tools of one episode.

    Args:
        url: of the OpenAPI document, of the MCP server, or of what takes plain calls.
        kind: one of KINDS.
        judge: a tool that is called at the end with `id`, `answer` and `end`, and gives `{"reward": NUMBER,
            "checks": {...}}`; without one the reward is 1 where the answer holds the record's last turn.
        seconds: of one request.
        most_bytes: of one answer.

    Checks: those of the judge, or "answer".
    """

    def __init__(self, url: str, kind: str, judge: str, seconds: float, most_bytes: int) -> None:
        self.url, self.kind, self.judge, self.seconds, self.most_bytes = url, kind, judge, seconds, most_bytes
        self._client = new_client(seconds)
        self._session: dict[str, str] = {}
        self._asked = 0
        self._record: Mapping[str, Any] = {}
        self._right = ""

    def reset(self, record: Mapping[str, Any]) -> None:
        """See `Environment`."""
        self._record = record
        if not self.judge:
            self._right = final_text(record).strip().rstrip(".").lower()
            if not self._right:
                raise LookupError("its last turn is empty, so that every answer would be right; name a judge")
        if self.kind == "mcp":
            self._begin_session()

    def step(self, action: Action) -> Step:
        """See `Environment`."""
        if not action.end:
            if action.problem:
                return Step(_error(f"the call cannot be read: {action.problem}"))
            return Step([self._told(call) for call in action.calls])
        for call in action.calls:  # the last ones that a limit of turns allows
            self._told(call)
        try:
            return self._judged(action)
        finally:
            self._client.close()

    def _judged(self, action: Action) -> Step:
        if not self.judge:
            right = action.end == ANSWER and self._right in action.text.lower()
            return Step("", True, float(right), {"answer": right})
        asked = {"id": self._record.get("id"), "answer": action.text, "end": action.end}
        found = parsed(self._called(ToolCall(self.judge, asked)))
        if not isinstance(found, dict) or "reward" not in found:
            raise ValueError(f"the judge {self.judge} gave no reward; return an object with reward and checks")
        return Step("", True, found["reward"], found.get("checks", {}))

    def _told(self, call: ToolCall) -> str:
        if call.name == self.judge:
            return _error(f"there is no tool named {call.name[:60]}")
        try:
            return self._called(call)
        except ToolFailureError as failure:
            return json.dumps({"error": failure.told}, ensure_ascii=False)

    def _called(self, call: ToolCall) -> str:
        """Return what a tool gives, as text.

        Raises:
            ToolFailureError: the tool refuses, or there is none.
            GoneError: the server gives no answer.
        """
        arguments = dict(call.arguments)
        if self.kind == "plain":
            return feedback(*self._exchange("POST", self.url, {"name": call.name, "arguments": arguments}))
        if self.kind == "mcp":
            status, body = self._rpc("tools/call", {"name": call.name, "arguments": arguments})
            return feedback(status, body)
        operations, base = self._operations()
        if (operation := operations.get(call.name)) is None:
            raise ToolFailureError("unknown", f"there is no tool named {call.name[:60]}")
        path, sent = address_of(operation, arguments)
        status, body = self._exchange(operation.method, base + path, sent)
        if not 200 <= status < 300:
            return feedback(status, body)  # raises, with what the server says
        return body.decode("utf-8", "replace")

    def _operations(self) -> tuple[Mapping[str, Operation], str]:
        """Return the tools of the document by name, and what their addresses begin with; read once in a process."""
        key = (self.url, self.seconds)
        if key not in _KNOWN:
            status, body = self._exchange("GET", self.url, None)
            if status != 200:
                raise GoneError(f"{shown_url(self.url)} gives no OpenAPI document (status {status})")
            try:
                _KNOWN[key] = operations_of(parsed(body), self.url)
            except (ValueError, TypeError, AttributeError) as error:
                raise GoneError(f"{shown_url(self.url)} gives no OpenAPI document ({shown(str(error))})") from None
        return _KNOWN[key]

    def _begin_session(self) -> None:
        about = {"name": "llamafactory_ext", "version": "1"}
        self._rpc("initialize", {"protocolVersion": _VERSION, "capabilities": {}, "clientInfo": about})
        self._session["MCP-Protocol-Version"] = _VERSION
        self._exchange("POST", self.url, {"jsonrpc": "2.0", "method": "notifications/initialized"})

    def _rpc(self, method: str, params: Mapping[str, Any]) -> tuple[int, bytes]:
        """Return status and JSON text of an answer of MCP, which may come as an event stream."""
        self._asked += 1
        body = {"jsonrpc": "2.0", "id": self._asked, "method": method, "params": dict(params)}
        status, content = self._exchange("POST", self.url, body)
        text = content.decode("utf-8", "replace")
        if text.lstrip().startswith("{"):
            return status, content
        events = [line[5:].strip() for line in text.splitlines() if line.startswith("data:")]
        answers = [event for event in events if f'"id":{self._asked}' in event.replace(" ", "")]
        return status, (answers or [""])[-1].encode()

    def _exchange(self, method: str, url: str, body: Any) -> tuple[int, bytes]:
        limits: dict[str, Any] = {"seconds": self.seconds, "most_bytes": self.most_bytes}
        try:
            answer = exchange(self._client, method, url, body=body, headers={**_ACCEPT, **self._session}, **limits)
        except Exception as error:  # httpx's, and what is beyond the limits
            if type(error).__module__.split(".")[0] not in ("httpx", "httpcore") and not isinstance(
                error, ForeignError | UnicodeError
            ):
                raise
            said = shown(str(error)) or type(error).__name__
            raise GoneError(f"the tool server {shown_url(self.url)} gave no answer ({said})") from None
        if session := answer.headers.get("mcp-session-id"):
            self._session["Mcp-Session-Id"] = session
        return answer.status_code, answer.content


def server(
    url: str,
    kind: str = "",
    judge: str = "",
    seconds: float = 10.0,
    most_bytes: int = 1 << 20,
    allow_remote: bool = False,
) -> ToolServer:
    """Return the tools behind a URL for one episode; what `tl_environment` names.

    Args:
        url: as `ToolServer` takes it.
        kind: openapi, mcp or plain; "" takes openapi for a URL that ends with .json, else mcp.
        judge: as `ToolServer` takes it.
        seconds: of one request.
        most_bytes: of one answer.
        allow_remote: take a server on another machine; episodes send it what the policy writes.

    Raises:
        OptionError: the URL or the kind is none, or the server is on another machine.
    """
    kind = kind or ("openapi" if urlsplit(url).path.endswith(".json") else "mcp")
    if kind not in KINDS:
        raise OptionError(f"tl_environment_args: there is no kind {kind!r}; choose one of {', '.join(KINDS)}.")
    host = urlsplit(url).hostname or ""
    if urlsplit(url).scheme not in ("http", "https") or not host:
        raise OptionError(
            f"tl_environment_args: url={shown_url(url)} is no address such as http://127.0.0.1:8000/mcp."
        )
    if not allow_remote and not _is_here(host):
        raise OptionError(
            f"tl_environment_args: {host} is another machine, to which episodes would send what the policy writes; "
            'set "allow_remote": true if this is meant.'
        )
    return ToolServer(url, kind, judge, float(seconds), int(most_bytes))


def tools_of(url: str, **options: Any) -> list[dict[str, Any]]:
    """Return the tools of a server as a record's tools column has them.

    Raises:
        OptionError: as `server`, or for a plain server, which describes none.
        GoneError: the server gives no answer.
    """
    made = server(url, **options)
    if made.kind == "plain":
        raise OptionError("A plain tool server describes no tools; write them into the records.")
    if made.kind == "openapi":
        return [operation.described() for name, operation in made._operations()[0].items() if name != made.judge]
    made._begin_session()
    _, body = made._rpc("tools/list", {})
    try:
        listed = parsed(body)["result"]["tools"]
        found = [(str(one["name"]), one.get("description"), one.get("inputSchema")) for one in listed]
    except (ValueError, TypeError, KeyError, AttributeError):
        raise GoneError(f"the tool server {shown_url(url)} lists no tools as MCP has them") from None
    return [
        {
            "name": name,
            "description": about if isinstance(about, str) else "",
            "parameters": schema if isinstance(schema, dict) and schema else {"type": "object", "properties": {}},
        }
        for name, about, schema in found
        if name != made.judge
    ]


def _is_here(host: str) -> bool:
    if host == "localhost":
        return True
    try:
        return ipaddress.ip_address(host).is_loopback
    except ValueError:
        return False


def _error(text: str) -> str:
    return json.dumps({"error": text}, ensure_ascii=False)
