"""Which names LLaMA Board answers to while it listens on this machine only.

A page of another site can point its own name at 127.0.0.1 and would then reach the Board through the user's browser
(DNS rebinding). Its requests still carry the other name in the `Host` header.
"""

from __future__ import annotations

import os
from collections.abc import Awaitable, Callable, MutableMapping
from typing import Any

ALLOWED = "LLAMAFACTORY_EXT_BOARD_HOSTS"
_LOCAL = ("localhost", "127.0.0.1", "::1")

Scope = MutableMapping[str, Any]
Send = Callable[[MutableMapping[str, Any]], Awaitable[None]]


class HostCheck:
    """Answer requests for this machine's own names, and for those that the user allows.

    Args:
        app: what answers them.
    """

    def __init__(self, app: Any) -> None:
        named = (name.strip().lower() for name in os.environ.get(ALLOWED, "").split(","))
        self._app, self._allowed = app, {*_LOCAL, *filter(None, named)}

    async def __call__(self, scope: Scope, receive: Any, send: Send) -> None:
        """Pass a request on, or refuse it with the next step."""
        host = host_of(scope)
        if scope["type"] != "http" or "*" in self._allowed or host in self._allowed:
            await self._app(scope, receive, send)
            return
        text = f"LLaMA Board does not answer to this name. To allow it, start the Board with {ALLOWED}=NAME.\n"
        headers = [(b"content-type", b"text/plain; charset=utf-8")]
        await send({"type": "http.response.start", "status": 403, "headers": headers})
        await send({"type": "http.response.body", "body": text.encode()})


def host_of(scope: Scope) -> str:
    """Return the name in a request's `Host` header, without its port; empty without one."""
    value = next((value for name, value in scope.get("headers", ()) if name == b"host"), b"")
    name = value.decode("latin-1").strip().lower()
    if name.startswith("["):  # an IPv6 address
        return name[1:].partition("]")[0]
    return name.partition(":")[0]


def is_local(address: str) -> bool:
    """Tell whether a server at this address is reached from this machine only."""
    return address.strip("[]") in _LOCAL
