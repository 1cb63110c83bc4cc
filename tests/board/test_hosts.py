"""The page answers to this machine's names only; another site's name that points here is refused."""

from __future__ import annotations

import asyncio
import threading
from collections.abc import Iterator

import httpx
import pytest

from llamafactory_ext.board.hosts import ALLOWED, HostCheck, host_of, is_local
from llamafactory_ext.upstream.patches.board.page import wrap_run
from processes import free_port

pytestmark = pytest.mark.fast


@pytest.mark.parametrize(
    ("header", "host"),
    [
        (b"localhost:7860", "localhost"),
        (b"LOCALHOST", "localhost"),
        (b"[::1]:7860", "::1"),
        (b"[::1]", "::1"),
        (b"evil.example:7860", "evil.example"),
        (b"127.0.0.1.evil.example", "127.0.0.1.evil.example"),
        (b"", ""),
        (b"\xff\xfe", "\xff\xfe"),
    ],
)
def test_names_of_headers(header: bytes, host: str) -> None:
    assert host_of({"headers": [(b"accept", b"*/*"), (b"host", header)]}) == host


def test_this_machines_addresses() -> None:
    assert all(is_local(address) for address in ("127.0.0.1", "localhost", "[::1]", "::1"))
    assert not any(is_local(address) for address in ("0.0.0.0", "[::]", "192.168.0.7", "board.example"))


async def _page(scope: dict, receive: object, send: object) -> None:
    await send({"type": "http.response.start", "status": 200, "headers": []})  # type: ignore[operator]
    await send({"type": "http.response.body", "body": b"page"})  # type: ignore[operator]


@pytest.mark.parametrize(
    ("host", "allowed", "status"),
    [
        ("127.0.0.1:7860", "", 200),
        ("localhost", "", 200),
        ("evil.example", "", 403),
        ("localhost.evil.example:7860", "", 403),
        ("board.example", "other.example, Board.example", 200),
        ("anything.example", "*", 200),
    ],
)
def test_who_is_answered(host: str, allowed: str, status: int, monkeypatch: pytest.MonkeyPatch) -> None:
    monkeypatch.setenv(ALLOWED, allowed)
    transport = httpx.ASGITransport(HostCheck(_page))

    async def ask() -> httpx.Response:
        async with httpx.AsyncClient(transport=transport, base_url="http://127.0.0.1") as client:
            return await client.get("/", headers={"host": host})

    reply = asyncio.run(ask())
    assert reply.status_code == status
    assert (ALLOWED in reply.text) == (status == 403)


@pytest.fixture
def served(monkeypatch: pytest.MonkeyPatch) -> Iterator[str]:
    """A page of gradio's, served as upstream serves the Board, by our wrapper."""
    import gradio as gr

    for name in ("GRADIO_SERVER_NAME", "GRADIO_IPV6", "GRADIO_SHARE", ALLOWED, "no_proxy", "NO_PROXY"):
        monkeypatch.setenv(name, "")
        monkeypatch.delenv(name)
    monkeypatch.setenv("GRADIO_ANALYTICS_ENABLED", "False")
    port = free_port()
    with gr.Blocks() as page:
        gr.Markdown("page")
    started = threading.Event()

    def run_web_ui() -> None:
        page.launch(server_name="127.0.0.1", server_port=port, prevent_thread_lock=True, quiet=True)
        started.set()

    wrap_run(run_web_ui)()
    assert started.is_set()
    yield f"http://127.0.0.1:{port}/"
    page.close()


def test_the_page_itself(served: str) -> None:
    assert httpx.get(served).status_code == 200
    reply = httpx.get(served, headers={"host": "evil.example"})
    assert reply.status_code == 403
    assert ALLOWED in reply.text
