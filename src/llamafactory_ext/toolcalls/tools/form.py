"""What a tool format is."""

from __future__ import annotations

from collections.abc import Callable
from dataclasses import dataclass
from typing import Any

from llamafactory_ext.toolcalls.model import Tool


@dataclass(frozen=True)
class ToolFormat:
    """A way to describe tools.

    Attributes:
        name: as users choose it.
        read: data to tool; raises DataError for data that describes none.
        write: tool to data; where `read(write(tool)) != tool`, the format cannot hold the tool.
    """

    name: str
    read: Callable[[Any], Tool]
    write: Callable[[Tool], Any]
