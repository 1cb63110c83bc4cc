"""The tool server: a world for each case and session, our client's protocol, bad requests in a line."""

from __future__ import annotations

import json
import threading
import urllib.error
import urllib.request
from collections.abc import Iterator
from typing import Any

import pytest

from llamafactory_ext.errors import OptionError
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
