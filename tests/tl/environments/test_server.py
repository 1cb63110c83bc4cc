"""Tools behind a URL: FastAPI's own document, MCP in both of its forms, plain calls; and servers that misbehave."""

from __future__ import annotations

import json
import socket
import threading
import time
from collections.abc import Callable, Iterator
from http.server import BaseHTTPRequestHandler, ThreadingHTTPServer
from typing import Any

import pytest

from llamafactory_ext.errors import OptionError
from llamafactory_ext.tl.environments import Action
from llamafactory_ext.tl.environments.asking import RAISED, SHAPE, Fault, begin, run_all, step_of
from llamafactory_ext.tl.environments.openapi import address_of, operations_of
from llamafactory_ext.tl.environments.server import server, tools_of
from llamafactory_ext.toolcalls import ToolCall

pytestmark = pytest.mark.fast

RECORD = {"id": "r-1", "turns": [{"role": "user", "content": "Who?"}, {"role": "assistant", "content": "Velado."}]}
Answer = Callable[[str, str, dict[str, Any] | None], tuple[int, Any, dict[str, str]]]


@pytest.fixture
def serve() -> Iterator[Callable[[Answer], str]]:
    """Start servers that answer (method, path, body) with status, body and headers; return their addresses."""
    started: list[ThreadingHTTPServer] = []

    def start(answer: Answer) -> str:
        class Handler(BaseHTTPRequestHandler):
            def reply(self) -> None:
                length = int(self.headers.get("Content-Length") or 0)
                body = json.loads(self.rfile.read(length)) if length else None
                status, content, headers = answer(self.command, self.path, body)
                raw = content if isinstance(content, bytes) else json.dumps(content).encode()
                self.send_response(status)
                for name, value in headers.items():
                    self.send_header(name, value)
                self.send_header("Content-Length", str(len(raw)))
                self.end_headers()
                self.wfile.write(raw)

            do_GET = do_POST = do_PUT = do_DELETE = reply

            def log_message(self, *_: Any) -> None:
                pass

        made = ThreadingHTTPServer(("127.0.0.1", 0), Handler)
        started.append(made)
        threading.Thread(target=made.serve_forever, daemon=True).start()
        return f"http://127.0.0.1:{made.server_port}"

    yield start
    for one in started:
        one.shutdown()
        one.server_close()


def told(world: Any, tool: str, /, **arguments: Any) -> str:
    (text,) = world.step(Action("...", (ToolCall(tool, arguments),))).observation
    return str(text)


def test_a_document_of_fastapi(serve: Any) -> None:
    """The document is FastAPI's own; calls are answered by its application, over HTTP."""
    fastapi = pytest.importorskip("fastapi", reason="fastapi writes the document")
    from fastapi.testclient import TestClient

    app = fastapi.FastAPI()

    several = fastapi.Query(default=[])

    @app.get("/owners/{code}", operation_id="find_owner", summary="Find an owner.")
    def find_owner(code: str, day: str = "today", tags: list[str] = several) -> dict[str, Any]:
        if code == "C9":
            raise fastapi.HTTPException(404, "no such code")
        return {"code": code, "day": day, "tags": tags}

    @app.post("/calls", operation_id="call_person")
    def call_person(name: str = fastapi.Body(), loud: bool = fastapi.Body(default=False)) -> dict[str, Any]:
        return {"called": name, "loud": loud}

    client = TestClient(app)

    def answer(method: str, path: str, body: Any) -> tuple[int, Any, dict[str, str]]:
        reply = client.request(method, path, json=body)
        return reply.status_code, reply.content, {}

    url = serve(answer) + "/openapi.json"
    world = server(url)
    world.reset(RECORD)
    assert json.loads(told(world, "find_owner", code="C 7 ä", tags=["a", "b"])) == {
        "code": "C 7 ä",
        "day": "today",
        "tags": ["a", "b"],
    }
    assert json.loads(told(world, "find_owner", code="C7", day="Monday")) == {
        "code": "C7",
        "day": "Monday",
        "tags": [],
    }
    assert json.loads(told(world, "call_person", name="Velado", loud=True)) == {"called": "Velado", "loud": True}
    assert "no such code" in told(world, "find_owner", code="C9")
    assert "needs the parameter 'name'" in told(world, "call_person")
    assert "no parameter 'where'" in told(world, "find_owner", code="C7", where="here")
    assert "no tool named find_owners" in told(world, "find_owners", code="C7")
    described = {tool["name"]: tool for tool in tools_of(url)}
    assert set(described) == {"find_owner", "call_person"}
    assert described["find_owner"]["parameters"]["required"] == ["code"]
    assert set(described["call_person"]["parameters"]["properties"]) == {"name", "loud"}


def mcp(streams: bool) -> Answer:
    """A server of MCP with the tools `owner` and `score`, which needs its session."""

    def answer(method: str, path: str, body: dict[str, Any] | None) -> tuple[int, Any, dict[str, str]]:
        assert body is not None
        if "id" not in body:
            return 202, b"", {}
        found: dict[str, Any] = {}
        if body["method"] == "initialize":
            found = {"protocolVersion": "2025-06-18", "capabilities": {}, "serverInfo": {"name": "x", "version": "1"}}
        elif body["method"] == "tools/list":
            found = {"tools": [{"name": "owner", "description": "Finds.", "inputSchema": {"type": "object"}}]}
        elif body["params"]["name"] == "owner":
            failed = body["params"]["arguments"].get("code") == "C9"
            text = "no such code" if failed else "Velado"
            found = {"content": [{"type": "text", "text": text}], "isError": failed}
        elif body["params"]["name"] == "score":
            asked = body["params"]["arguments"]
            result = {"reward": 0.75, "checks": {"answered": asked["end"] == "answer"}, "seen": asked}
            found = {"content": [{"type": "text", "text": json.dumps({k: result[k] for k in ("reward", "checks")})}]}
        reply = {"jsonrpc": "2.0", "id": body["id"], "result": found}
        headers = {"Mcp-Session-Id": "s-1"} if body["method"] == "initialize" else {}
        if not streams:
            return 200, reply, headers
        lines = [f"event: message\ndata: {json.dumps(one)}\n" for one in ({"jsonrpc": "2.0", "method": "ping"}, reply)]
        return 200, "\n".join(lines).encode(), {**headers, "Content-Type": "text/event-stream"}

    return answer


@pytest.mark.parametrize("streams", [False, True])
def test_mcp(streams: bool, serve: Any) -> None:
    url = serve(mcp(streams)) + "/mcp"
    world = server(url, judge="score")
    world.reset(RECORD)
    assert told(world, "owner", code="C7") == "Velado"
    assert "no such code" in told(world, "owner", code="C9")
    assert "no tool named score" in told(world, "score", id="r-1")  # the judge is not the policy's
    end = step_of(world.step(Action("It is Velado.", end="answer")))
    assert (end.reward, end.done, dict(end.checks)) == (0.75, True, {"answered": 1.0})
    assert tools_of(url)[0]["name"] == "owner"


def test_plain_calls_and_the_answer_of_the_record(serve: Any) -> None:
    url = serve(lambda method, path, body: (200, {"result": [body["name"], body["arguments"]]}, {}))
    for text, end, reward in (("It is VELADO!", "answer", 1.0), ("Nobody.", "answer", 0.0), ("Velado", "turns", 0.0)):
        world = server(url, kind="plain")
        world.reset(RECORD)
        assert json.loads(told(world, "owner", code="C7")) == ["owner", {"code": "C7"}]
        assert world.step(Action(text, end=end)).reward == reward


def fault(url: str, **options: Any) -> Fault:
    """What one call and an answer come to."""

    def play() -> Any:
        world = begin(lambda: server(url, **options), RECORD)
        if isinstance(world, Fault):
            return world
        step_of(world.step(Action("...", (ToolCall("owner", {"code": "C7"}),))))
        return step_of(world.step(Action("Velado", end="answer")))

    (found,) = run_all([play], 20)
    assert isinstance(found, Fault)
    return found


@pytest.mark.parametrize("kind", ["plain", "mcp", "openapi"])
def test_servers_that_are_gone_are_faults(kind: str) -> None:
    with socket.socket() as free:
        free.bind(("127.0.0.1", 0))
        port = free.getsockname()[1]
    found = fault(f"http://127.0.0.1:{port}/x", kind=kind)
    assert found.kind == RAISED
    assert f"127.0.0.1:{port}" in found.what
    assert "gave no answer" in found.what


def test_servers_that_are_slow_or_long_winded_are_faults(serve: Any) -> None:
    def slow(*_: Any) -> tuple[int, Any, dict[str, str]]:
        time.sleep(3)
        return 200, {"result": 1}, {}

    assert "gave no answer" in fault(serve(slow), kind="plain", seconds=0.3).what
    long = serve(lambda *_: (200, {"result": "x" * 5000}, {}))
    assert "longer than 1,000 bytes" in fault(long, kind="plain", most_bytes=1000).what


@pytest.mark.parametrize("reply", [{"reward": "high"}, {"reward": 1, "checks": {"a": 7}}, {"checks": {}}, [1], "x"])
def test_judges_that_give_no_reward_are_faults(reply: Any, serve: Any) -> None:
    found = fault(serve(lambda *_: (200, {"result": reply}, {})), kind="plain", judge="score")
    assert found.kind in (RAISED, SHAPE)


@pytest.mark.parametrize(
    ("options", "part"),
    [
        ({"url": "http://127.0.0.1:1/x", "kind": "soap"}, "no kind 'soap'"),
        ({"url": "here"}, "no address"),
        ({"url": "ftp://127.0.0.1/x"}, "no address"),
        ({"url": "http://example.com/mcp"}, "another machine"),
        ({"url": "http://192.168.0.7/mcp"}, "another machine"),
    ],
)
def test_wrong_arguments_say_what_to_change(options: dict[str, Any], part: str) -> None:
    with pytest.raises(OptionError) as error:
        server(**options)
    assert part in error.value.message
    assert "tl_environment_args" in error.value.message


def test_records_without_an_answer_are_unknown() -> None:
    with pytest.raises(LookupError):
        server("http://127.0.0.1:1/x", kind="plain").reset({"turns": [{"role": "assistant", "content": " . "}]})


def takes(schema: dict[str, Any]) -> dict[str, Any]:
    """What an operation says of a body in JSON."""
    return {"requestBody": {"content": {"application/json": {"schema": schema}}}}


DOCUMENT = {
    "openapi": "3.1.0",
    "servers": [{"url": "/v2"}],
    "paths": {
        "/people/{name}": {
            "parameters": [{"$ref": "#/components/parameters/Name"}],
            "delete": {"summary": "Forget.", "parameters": [{"name": "token", "in": "header", "required": True}]},
            "put": {"operationId": "rename", **takes({"$ref": "#/components/schemas/New"})},
        },
        "/list": {"post": {"operationId": "put_all", **takes({"type": "array"})}},
        "/broken": {"get": "x", "post": {"parameters": "x", "requestBody": 7}},
    },
    "components": {
        "parameters": {"Name": {"name": "name", "in": "path", "schema": {"type": "string"}}},
        "schemas": {
            "New": {"$ref": "#/components/schemas/Body"},
            "Body": {"type": "object", "properties": {"to": {"type": "string"}}, "required": ["to"]},
        },
    },
}


def test_operations_of_a_document() -> None:
    found, base = operations_of(DOCUMENT, "http://127.0.0.1:8000/docs/openapi.json")
    assert base == "http://127.0.0.1:8000/v2"
    assert set(found) == {"delete_people_name", "rename", "put_all", "post_broken"}
    assert address_of(found["rename"], {"name": "a/../b", "to": "c"}) == ("/people/a%2F..%2Fb", {"to": "c"})
    assert address_of(found["put_all"], {"body": [1]}) == ("/list", [1])
    assert address_of(found["delete_people_name"], {"name": "x"}) == ("/people/x", None)
    assert found["rename"].required == ("name", "to")
    for name in ("..", ""):
        with pytest.raises(Exception, match="arguments"):
            address_of(found["rename"], {"name": name, "to": "c"})


@pytest.mark.parametrize(
    "document", [None, [], {}, {"paths": []}, DOCUMENT | {"servers": [{"url": "http://example.com/"}]}]
)
def test_what_is_no_document_of_this_server_is_refused(document: Any) -> None:
    with pytest.raises(ValueError, match=r"no paths|another server"):
        operations_of(document, "http://127.0.0.1:8000/openapi.json")
