"""The table of call formats; each has a file of its own."""

from . import api_bank, glm4, json_object, mistral, nexusraven, python, qwen, react
from .form import Format

FORMATS: dict[str, Format] = {
    form.name: form
    for form in (
        python.FORMAT,
        api_bank.FORMAT,
        nexusraven.FORMAT,
        json_object.FORMAT,
        json_object.LLAMA3,
        qwen.FORMAT,
        mistral.FORMAT,
        react.FORMAT,
        glm4.FORMAT,
    )
}

# The call format of each tool format of LLaMA-Factory (`llamafactory.data.tool_utils.TOOLS`).
UPSTREAM_FORMATS: dict[str, str] = {
    "default": "react",
    "glm4": "glm4",
    "llama3": "llama3",
    "mistral": "mistral",
    "qwen": "qwen",
}

__all__ = ["FORMATS", "UPSTREAM_FORMATS", "Format"]
