"""All tools of ETAPP: 33 that do something, and two that find and explain them."""

from __future__ import annotations

import difflib
from collections.abc import Mapping
from datetime import datetime
from typing import Any

from . import tools_calendar, tools_health, tools_home, tools_mail, tools_shop, tools_town, tools_web
from .calls import Param, ToolSpec
from .world import World


def _elsewhere(world: World, now: datetime, given: Mapping[str, Any]) -> tuple[Any, World]:
    raise AssertionError("the sandbox answers this tool itself")


SPECS: Mapping[str, ToolSpec] = {
    spec.name: spec
    for module in (tools_calendar, tools_mail, tools_health, tools_shop, tools_town, tools_home, tools_web)
    for spec in module.SPECS
}
"""The tools that do something, by name."""

SEARCH, DOCUMENT = "search_tools", "get_tool_doc"
FINDERS: Mapping[str, ToolSpec] = {
    SEARCH: ToolSpec(
        SEARCH,
        "",
        "Find tools by what they should do; three names for each query.",
        (Param("keywords", "texts", "What the tool should do, or a list of such descriptions."),),
        _elsewhere,
    ),
    DOCUMENT: ToolSpec(
        DOCUMENT,
        "",
        "Show what tools take and do, and the user's preferences about them. Read it before you call a tool.",
        (Param("tools_name", "texts", "The tool's name, or a list of names."),),
        _elsewhere,
    ),
}
"""The tools of the setting in which a model has to look for tools."""

ALL: Mapping[str, ToolSpec] = {**SPECS, **FINDERS}


def nearest(name: str) -> str:
    """Return the names that are most like one, for a message."""
    return ", ".join(difflib.get_close_matches(name[:100], ALL, n=3, cutoff=0.3) or sorted(ALL)[:3])
