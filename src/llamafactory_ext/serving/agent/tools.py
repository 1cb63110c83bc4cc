"""Tool servers: what executes the calls of a dialogue.

A server is anything with `call`. `HttpToolServer` speaks the smallest protocol there is:

    POST URL  {"name": "get_weather", "arguments": {"city": "Paris"}}
    200       {"result": ANY_JSON}   or   {"error": "text for the model"}

A failing tool is no error of the run: the model reads what went wrong, as with a real tool.
"""

from __future__ import annotations

import json
from typing import Any, Protocol

import httpx

from ...errors import OptionError
from ...toolcalls import ToolCall


class ToolServer(Protocol):
    """Executes calls."""

    def call(self, call: ToolCall) -> str:
        """The feedback for the model: a result as text, or what went wrong."""


class HttpToolServer:
    """Tools behind a URL.

    Args:
        url: takes the calls.
        timeout: seconds of one call.
    """

    def __init__(self, url: str, timeout: float) -> None:
        self._url = url
        self._client = httpx.Client(timeout=timeout)

    def call(self, call: ToolCall) -> str:
        """Post the call.

        Raises:
            OptionError: there is no server at all.
        """
        try:
            response = self._client.post(self._url, json={"name": call.name, "arguments": dict(call.arguments)})
        except httpx.TimeoutException:
            return json.dumps({"error": "connection timed out"})
        except (httpx.HTTPError, httpx.InvalidURL) as error:
            raise OptionError(
                f"the tool server {self._url} cannot be reached ({error}); start it or correct --tool_server"
            ) from None
        return _feedback(response)

    def close(self) -> None:
        """Close all connections."""
        self._client.close()


def _feedback(response: httpx.Response) -> str:
    try:
        data: Any = response.json()
    except ValueError:
        data = None
    if response.status_code == 200 and isinstance(data, dict):
        if "error" in data:
            return json.dumps({"error": data["error"]}, ensure_ascii=False)
        if "result" in data:
            result = data["result"]
            return result if isinstance(result, str) else json.dumps(result, ensure_ascii=False)
    return json.dumps({"error": f"status {response.status_code}"})
