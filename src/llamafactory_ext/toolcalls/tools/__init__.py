"""The table of tool formats: how public data and prompts describe a tool, read and written without loss."""

from typing import Any

from llamafactory_ext.errors import DataError, OptionError
from llamafactory_ext.toolcalls.model import Tool

from . import api_bank, function_object, python, toolalpaca
from .form import ToolFormat

TOOL_FORMATS: dict[str, ToolFormat] = {
    form.name: form
    for form in (
        function_object.OPENAI,
        function_object.ROTBENCH,
        function_object.BFCL,
        api_bank.FORMAT,
        toolalpaca.FORMAT,
        python.FORMAT,
        python.NEXUSRAVEN,
    )
}


def read_tool(data: Any, format_name: str) -> Tool:
    """Return the tool that a piece of data (a JSON object or a text, as the format has it) describes.

    Raises:
        DataError: the data does not describe a tool in this format.
        OptionError: no such format.
    """
    return _format(format_name).read(data)


def write_tool(tool: Tool, format_name: str) -> Any:
    """Return the data that describes the tool in a format; `read_tool` gives the tool back.

    Raises:
        DataError: the format cannot write this tool without loss.
        OptionError: no such format.
    """
    form = _format(format_name)
    data = form.write(tool)
    if _reads(form, data) != tool:
        raise DataError(f"The format {format_name!r} cannot write the tool {tool.name!a} without loss; use another.")
    return data


def _reads(form: ToolFormat, data: Any) -> Tool | None:
    try:
        return form.read(data)
    except DataError:
        return None


def _format(name: str) -> ToolFormat:
    if name not in TOOL_FORMATS:
        raise OptionError(f"There is no tool format {name!r}; choose one of {', '.join(TOOL_FORMATS)}.")
    return TOOL_FORMATS[name]
