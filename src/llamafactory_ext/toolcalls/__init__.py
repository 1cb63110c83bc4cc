"""Tools and tool calls: one model of both, and every format in which the papers write them.

Pure standard library: templates, losses, rewards and metrics all stand on this room.
"""

from .calls import find_calls, parse_calls, render_calls
from .described import described_tool, described_tools, read_tools
from .formats import FORMATS
from .model import ParsedCall, Tool, ToolCall
from .reader import Detected, detect, detect_turn
from .tools import TOOL_FORMATS, read_tool, write_tool

__all__ = [
    "FORMATS",
    "TOOL_FORMATS",
    "Detected",
    "ParsedCall",
    "Tool",
    "ToolCall",
    "described_tool",
    "described_tools",
    "detect",
    "detect_turn",
    "find_calls",
    "parse_calls",
    "read_tool",
    "read_tools",
    "render_calls",
    "write_tool",
]
