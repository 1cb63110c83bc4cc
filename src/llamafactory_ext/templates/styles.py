"""Tool styles: how tools are presented, calls are written and feedback is marked, whatever the chat format."""

from __future__ import annotations

import json
from collections.abc import Callable, Sequence
from dataclasses import dataclass, replace
from typing import Any

from ..errors import CallParseError
from ..toolcalls import Tool, ToolCall, detect, render_calls, write_tool
from . import prompts
from .api_bank import Prompt, read_prompt
from .messages import CallTurn


@dataclass(frozen=True)
class ToolStyle:
    """How one data set or model family speaks of tools.

    Attributes:
        about: whose prompts these are, and where they are published.
        call_format: the format of calls, as `toolcalls` names it.
        call_label: stands before the calls.
        tool_prompt: the text that presents the tools.
        tools_in_user: whether that text opens the first user turn, and not the system text.
        thought: label of the thought before the calls, empty without one.
        observation_label: marks feedback where the chat format has no turn for it.
        default_system: the system text where tools are given and no system text is.
        read_prompt: finds the dialogue that a prompt of the data set quotes; None where prompts are no such quotes.
    """

    about: str
    call_format: str
    tool_prompt: Callable[[Sequence[Tool]], str]
    tools_in_user: bool = False
    call_label: str = ""
    thought: str = ""
    observation_label: str = "Observation: "
    default_system: str = ""
    read_prompt: Callable[[str], Prompt | None] | None = None

    def write_calls(self, turn: CallTurn) -> str:
        """Return the text of a reply with calls: the thought, if any, on lines of its own, then the calls."""
        calls = self.call_label + render_calls(turn.calls, self.call_format)
        if not turn.thought:
            return calls
        label = "" if self.thought and turn.thought.startswith(self.thought.strip()) else self.thought
        return f"{label}{turn.thought}\n{calls}"

    def read_calls(self, text: str) -> list[ToolCall]:
        """Return the calls of a reply in this style; none for a reply without proper ones."""
        try:
            return [found.call for found in detect(text, call_format=self.call_format)]
        except CallParseError:
            return []


def _json(value: object) -> str:
    return json.dumps(value, ensure_ascii=False)


def _names(tools: Sequence[Tool]) -> str:
    return ", ".join(tool.name for tool in tools)


def _write(tool: Tool, format_name: str, *kept: str) -> Any:
    """Return the tool in a format, of what its source says beyond the common parts only `kept`."""
    return write_tool(replace(tool, extra={key: tool.extra[key] for key in kept if key in tool.extra}), format_name)


def _api_bank(tools: Sequence[Tool]) -> str:
    return prompts.API_BANK + "\n".join(
        _json(_write(tool, "api_bank", "output_parameters", "response")) for tool in tools
    )


def _toolalpaca(tools: Sequence[Tool]) -> str:
    lines = "\n".join(_write(tool, "toolalpaca", "Output") for tool in tools)
    return f"{prompts.TOOLALPACA_HEAD}\n\n{lines}\n\n" + prompts.TOOLALPACA_FORMAT.format(names=_names(tools))


def _toolllama(tools: Sequence[Tool]) -> str:
    return prompts.TOOLLLAMA + _json([write_tool(tool, "openai") for tool in tools])


def _python(tools: Sequence[Tool]) -> str:
    return "\n\n".join(_write(tool, "python") for tool in tools)


def _nexusraven(tools: Sequence[Tool]) -> str:
    return "\n\n".join(_write(tool, "nexusraven") for tool in tools)


def _chatglm4(tools: Sequence[Tool]) -> str:
    shown = (
        prompts.CHATGLM4_TOOL.format(name=tool.name, tool=_json(write_tool(tool, "openai")["function"]))
        for tool in tools
    )
    return prompts.CHATGLM4_HEAD + "".join(shown)


def _qwen2(tools: Sequence[Tool]) -> str:
    shown = []
    for tool in tools:
        parameters = _json(_qwen2_parameters(tool))
        shown.append(prompts.QWEN2_TOOL.format(name=tool.name, description=tool.description, parameters=parameters))
    return prompts.QWEN2_HEAD + "\n\n".join(shown) + prompts.QWEN2_FORMAT.format(names=_names(tools))


def _qwen2_parameters(tool: Tool) -> list[dict[str, object]]:
    """Return parameters as the list that Qwen's ReAct prompt takes."""
    return [
        {
            "name": name,
            "description": schema.get("description", ""),
            "required": name in tool.required,
            "schema": {key: value for key, value in schema.items() if key != "description"},
        }
        for name, schema in tool.parameters.items()
    ]


def _llama31(tools: Sequence[Tool]) -> str:
    shown = (json.dumps(write_tool(tool, "openai"), ensure_ascii=False, indent=4) + "\n\n" for tool in tools)
    return prompts.LLAMA31 + "".join(shown)


def _qwen25(tools: Sequence[Tool]) -> str:
    shown = "".join("\n" + _json(write_tool(tool, "openai")) for tool in tools)
    return prompts.QWEN25_HEAD + shown + prompts.QWEN25_FORMAT


API_BANK = ToolStyle(
    about="API-Bank (Li et al., arXiv:2304.08244): API-Request: [Name(key='value')]",
    call_format="api_bank",
    call_label="API-Request: ",
    tool_prompt=_api_bank,
    read_prompt=read_prompt,
)
TOOLALPACA = ToolStyle(
    about="ToolAlpaca (Tang et al., arXiv:2306.05301): Thought, Action, Action Input, Response",
    call_format="react",
    tool_prompt=_toolalpaca,
    thought="Thought: ",
)
TOOLLLAMA = ToolStyle(
    about="ToolLLaMA-2-7B (TL-Training, Table 6)", call_format="react", tool_prompt=_toolllama, thought="Thought: "
)
NEXUSRAVEN = ToolStyle(
    about="NexusRaven-2-13B (TL-Training, Table 7)", call_format="nexusraven", tool_prompt=_nexusraven
)
CHATGLM4 = ToolStyle(
    about="ChatGLM-4-chat-9B (TL-Training, Table 8)",
    call_format="glm4",
    tool_prompt=_chatglm4,
    default_system=prompts.CHATGLM4_SYSTEM,
)
QWEN2 = ToolStyle(
    about="Qwen-2-Instruct-7B (TL-Training, Table 9)",
    call_format="react",
    tool_prompt=_qwen2,
    tools_in_user=True,
    thought="Thought: ",
)
LLAMA31 = ToolStyle(
    about="LLaMA-3.1-Instruct-8B (TL-Training, Table 10)",
    call_format="llama3",
    tool_prompt=_llama31,
    tools_in_user=True,
)
QWEN25 = ToolStyle(about="Qwen-2.5-Instruct-7B (TL-Training, Table 11)", call_format="qwen", tool_prompt=_qwen25)
TL_CODELLAMA2 = ToolStyle(about="TL-CodeLLaMA-2 (TL-Training, Table 13)", call_format="python", tool_prompt=_python)
