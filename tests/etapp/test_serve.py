"""The tool server: a world for each case and session, our client's protocol, bad requests in a line."""

from __future__ import annotations

import json
import socket
import threading
import urllib.error
import urllib.request
from collections.abc import Iterator
from http.server import ThreadingHTTPServer
from pathlib import Path
from typing import Any

import pytest

from etapp.small_checkout import make
from llamafactory_ext.commands.etapp import Etapp
from llamafactory_ext.errors import OptionError
from llamafactory_ext.etapp.cases import open_source
from llamafactory_ext.etapp.mini import load, load_gold
from llamafactory_ext.etapp.serve import make_server

pytestmark = pytest.mark.fast
CASE = "mara_lindqvist:00"


@pytest.fixture(scope="module")
def url() -> Iterator[str]:
    server = make_server(load(), "given", "127.0.0.1", 0)
    thread = threading.Thread(target=server.serve_forever, args=(0.02,), daemon=True)
    thread.start()
    yield f"http://127.0.0.1:{server.server_address[1]}"
    server.shutdown()
    server.server_close()
    thread.join()


def ask(url: str, path: str, body: Any = None, case: str = CASE, session: str = "") -> tuple[int, Any]:
    data = None if body is None else body if isinstance(body, bytes) else json.dumps(body).encode()
    headers = {"X-Case": case, "X-Session": session}
    request = urllib.request.Request(url + path, data, headers)
    opener = urllib.request.build_opener(urllib.request.ProxyHandler({}))
    try:
        with opener.open(request) as answer:
            return answer.status, json.loads(answer.read())
    except urllib.error.HTTPError as error:
        return error.code, json.loads(error.read())


def test_gold_over_http(url: str) -> None:
    for key, gold in load_gold().items():
        for call in gold["calls"]:
            status, told = ask(url, "/", call, key, "gold")
            assert status == 200
            assert told["result"]["status"] == "success"
        status, told = ask(url, "/end", {"answer": gold["answer"]}, key, "gold")
        assert (status, told["success"]) == (200, True), key


def test_sessions_are_worlds_of_their_own(url: str) -> None:
    light = {"name": "control_light_in_home", "arguments": {"action": "on", "location": "kitchen"}}
    assert "result" in ask(url, "/", light, session="a")[1]
    assert ask(url, "/end", {}, session="b")[1]["diff"] == []
    assert len(ask(url, "/end", {}, session="a")[1]["diff"]) == 3
    assert ask(url, "/end", {}, session="a")[1]["diff"] == []


def test_trials_of_a_case_are_worlds_of_their_own(url: str) -> None:
    light = {"name": "control_light_in_home", "arguments": {"action": "on", "location": "kitchen"}}
    for case in (CASE, f"{CASE}@1"):
        assert "result" in ask(url, "/", light, case)[1]
    assert len(ask(url, "/end", {}, CASE)[1]["diff"]) == 3
    assert len(ask(url, "/end", {}, f"{CASE}@1")[1]["diff"]) == 3


def test_a_case_tells_its_messages_and_tools(url: str) -> None:
    told = ask(url, "/case")[1]
    assert told["messages"][1]["content"] == load().case(CASE).query
    assert told["tools"] == ask(url, "/tools")[1]["tools"]


@pytest.mark.parametrize(
    ("path", "body", "case", "status"),
    [
        ("/", b"{", CASE, 400),
        ("/", b"[1]", CASE, 400),
        ("/", b"[" * 100_000, CASE, 400),
        ("/", {"name": "x"}, "nobody:99", 404),
        ("/nothing", {}, CASE, 404),
        ("/", b"x" * (2 << 20), CASE, 413),
    ],
)
def test_bad_requests(url: str, path: str, body: Any, case: str, status: int) -> None:
    try:
        code, told = ask(url, path, body, case)
    except (urllib.error.URLError, ConnectionError):
        assert status == 413  # it closes the connection on a body that it does not read
        return
    assert code == status
    assert set(told) == {"error"}


def test_calls_that_fail(url: str) -> None:
    assert "invalid tool name" in ask(url, "/", {"name": "bake"})[1]["error"]
    assert "cannot be read" in ask(url, "/", {"name": "", "arguments": 3})[1]["error"]
    with pytest.raises(OptionError, match="--setting"):
        make_server(load(), "x", "127.0.0.1", 0)


CALL = json.dumps({"name": "view_today_alarms", "arguments": {}}).encode()


def raw(url: str, head: str, body: bytes, *, ends: bool = True) -> tuple[int, Any]:
    """Send bytes as they are; returns the status and what was said."""
    port = int(url.rpartition(":")[2])
    with socket.create_connection(("127.0.0.1", port), timeout=30) as wire:
        wire.sendall(
            f"POST / HTTP/1.1\r\nHost: x\r\nX-Case: {CASE}\r\nX-Session: raw\r\n{head}\r\n\r\n".encode() + body
        )
        if ends:
            wire.shutdown(socket.SHUT_WR)
        said = b""
        while part := wire.recv(1 << 16):
            said += part
    status, _, rest = said.partition(b"\r\n\r\n")
    return int(status.split()[1]), json.loads(rest)


def chunks(body: bytes, size: int, extension: bytes = b"") -> bytes:
    parts = [body[place : place + size] for place in range(0, len(body), size)]
    return b"".join(b"%X%s\r\n%s\r\n" % (len(part), extension, part) for part in parts)


@pytest.mark.parametrize("size", [1, 7, 1000])
@pytest.mark.parametrize("extension", [b"", b";name=value"])
@pytest.mark.parametrize("trailer", [b"", b"X-Sum: 1\r\n"])
def test_a_body_in_chunks(size: int, extension: bytes, trailer: bytes, url: str) -> None:
    body = chunks(CALL, size, extension) + b"0\r\n" + trailer + b"\r\n"
    assert raw(url, "Transfer-Encoding: chunked", body, ends=False) == raw(url, f"Content-Length: {len(CALL)}", CALL)


@pytest.mark.parametrize(
    ("head", "body", "status"),
    [
        ("Transfer-Encoding: chunked", b"zz\r\n", 400),
        ("Transfer-Encoding: chunked", b"", 400),
        ("Transfer-Encoding: chunked", b"-1\r\n", 400),
        ("Transfer-Encoding: chunked", b"5\r\nab", 400),
        ("Transfer-Encoding: chunked", b"1\r\nabc\r\n0\r\n\r\n", 400),
        ("Transfer-Encoding: chunked", b"FFFFFFFFFFFF\r\n", 413),
        ("Transfer-Encoding: chunked", b"F" * 400, 400),
        ("Transfer-Encoding: chunked", b"0\r\n" + b"X: 1\r\n" * 40, 400),
        ("Transfer-Encoding: gzip", CALL, 501),
        ("Transfer-Encoding: chunked\r\nContent-Length: 3", b"0\r\n\r\n", 501),
        ("Content-Length: x", CALL, 400),
        ("Content-Length: -1", CALL, 400),
        ("Content-Length: 9999999999999999999999", CALL, 413),
        ("Content-Length: 999", CALL, 400),
    ],
)
def test_a_body_that_cannot_be_read(head: str, body: bytes, status: int, url: str) -> None:
    code, said = raw(url, head, body)
    assert (code, set(said)) == (status, {"error"})


@pytest.mark.parametrize(
    ("host", "port"),
    [("", 0), ("a\0b", 0), (" ", 0), ("x" * 70, 0), ("\udcff", 0), ("127.0.0.1", 70_000), ("127.0.0.1", -1)],
)
def test_a_place_where_nothing_can_be_served(host: str, port: int) -> None:
    with pytest.raises(OptionError, match="--host"):
        make_server(load(), "given", host, port)


@pytest.mark.parametrize("suffix", ["@0", "@x", "@1@1"])
def test_a_case_has_no_odd_trial(suffix: str, url: str) -> None:
    assert ask(url, "/case", case=CASE + suffix)[0] == 404
    assert ask(url, "/case", case=f"{CASE}@3")[0] == 200


@pytest.mark.parametrize("answer", [7, True, 0.5, [], ["done"], {}, {"text": "done"}])
def test_an_answer_that_is_no_text_ends_nothing(answer: Any, url: str) -> None:
    light = {"name": "control_light_in_home", "arguments": {"action": "on", "location": "kitchen"}}
    assert "result" in ask(url, "/", light, session="odd")[1]
    status, told = ask(url, "/end", {"answer": answer}, session="odd")
    assert (status, told) == (400, {"error": "the answer must be a text; the world is still there"})
    assert len(ask(url, "/end", {"answer": ""}, session="odd")[1]["diff"]) == 3


def test_no_answer_says_nothing(url: str) -> None:
    """An agent that a limit ended has none; it is not the word None."""
    case = next(case for case in load().cases if case.checks is not None and "answer" in case.checks)
    ends = [ask(url, "/end", body, case.id, "none") for body in ({"answer": None}, {}, {"answer": ""})]
    assert ends == [ends[0]] * 3
    assert ends[0][0] == 200


@pytest.mark.parametrize("trial", ["", "@1", "@7"])
def test_a_case_tells_the_id_that_leads_to_its_world(trial: str, url: str) -> None:
    assert ask(url, "/case", case=CASE + trial)[1]["id"] == CASE + trial


def test_gaps_of_a_table_are_null(tmp_path: Path) -> None:
    """What a client reads is JSON, whatever rows of a checkout lack."""
    source = open_source(str(make(tmp_path / "clone")))
    server = make_server(source, "retrieval", "127.0.0.1", 0)
    thread = threading.Thread(target=server.serve_forever, args=(0.02,), daemon=True)
    thread.start()
    url, case = f"http://127.0.0.1:{server.server_address[1]}", source.cases[0].id
    ask(url, "/", {"name": "get_tool_doc", "arguments": {"tools_name": "delete_event_in_calendar"}}, case)
    ask(url, "/", {"name": "delete_event_in_calendar", "arguments": {"event_id": 1}}, case)
    told = ask(url, "/end", {}, case)[1]
    server.shutdown()
    server.server_close()
    ((path, before, after),) = told["diff"]
    assert (path, before["reminder"], after) == ("events/1", None, None)


def test_a_free_port_is_told(monkeypatch: pytest.MonkeyPatch, capsys: pytest.CaptureFixture[str]) -> None:
    def stop(*_: Any) -> None:
        raise KeyboardInterrupt

    monkeypatch.setattr(ThreadingHTTPServer, "serve_forever", stop)
    Etapp().serve(port=0)
    assert int(capsys.readouterr().out.partition("http://127.0.0.1:")[2].partition(":")[0]) > 0
