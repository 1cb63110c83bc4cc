"""What both BFCL scorers read alike: calls of other formats than the published one, under their declared names."""

from __future__ import annotations

from collections.abc import Mapping, Sequence
from contextlib import suppress
from dataclasses import replace
from typing import Any

from ...errors import DataError
from ...toolcalls import Tool, ToolCall, described_tool
from ..answers import Answered, message_calls, predicted_calls
from ..report import Verdict
from .python_calls import Version

OTHER_FORMAT = "calls read in another format than the published one"
UNREAD_FORMAT = "no list of python calls; calls of another format are not read"
TOOL_CALLS = "calls given as tool_calls"
_RELEASES: Mapping[Version, str] = {"v3": "published up to June 2025", "v4": "published since BFCL v4"}


def version_note(version: Version) -> str:
    """Say for the report which decoder read the predictions."""
    return f"Predictions are read by the decoder of BFCL {version} ({_RELEASES[version]})."


def count_note(verdicts: Sequence[Verdict], detail: str, words: str) -> tuple[str, ...]:
    """Say for the report how many verdicts have this detail, if any has."""
    count = sum(verdict.detail == detail for verdict in verdicts)
    return (f"{count} of {len(verdicts)} predictions {words}.",) if count else ()


def stated_calls(one: Answered) -> list[ToolCall] | None:
    """Return the calls that an endpoint gave as `tool_calls` in the last message; None if it gave none.

    Raises:
        CallParseError: malformed ones.
    """
    last = one.prediction.messages[-1] if one.prediction.messages else {}
    if last.get("role") != "assistant" or not last.get("tool_calls"):
        return None
    return renamed(message_calls(last), one.item.record["function"])


def other_calls(one: Answered) -> list[ToolCall]:
    """Return the calls of a prediction in whichever format it states them.

    Raises:
        CallParseError: malformed calls; NoCallError if there are none.
    """
    functions = one.item.record["function"]
    return renamed(predicted_calls(one.prediction, _tools(functions)), functions)


def _tools(functions: Sequence[Any]) -> list[Tool]:
    """Return the declared tools, also under the names that endpoints are sent; what cannot be read is left out."""
    found: dict[str, Tool] = {}
    for function in functions:
        with suppress(DataError):
            tool = described_tool(function)
            for name in (tool.name, tool.name.replace(".", "_")):
                found.setdefault(name, replace(tool, name=name))
    return list(found.values())


def renamed(calls: Sequence[ToolCall], functions: Sequence[Any]) -> list[ToolCall]:
    """Return the calls with "_" turned back into "." where one declared name was sent like that.

    Endpoints such as OpenAI's take no dots in names; BFCL sends `_` for them.
    """
    declared = [
        str(function["name"]) for function in functions if isinstance(function, Mapping) and "name" in function
    ]
    sent: dict[str, set[str]] = {}
    for name in declared:
        sent.setdefault(name.replace(".", "_"), set()).add(name)
    found = []
    for call in calls:
        origin = sent.get(call.name, set())
        known = call.name in declared or len(origin) != 1
        found.append(call if known else ToolCall(next(iter(origin)), call.arguments))
    return found
