"""Tool calls in vLLM's OpenAI server, read by the reader that trained and scored them.

`--enable-auto-tool-choice --tool-call-parser llamafactory_ext` looks for every call format. The name with `_FORMAT`
behind it looks for that one of docs/call_formats.md, so that an answer in another format stays text. The declared
tools of the request choose between readings and type values that a format writes without types. vLLM imports this
module only where such a parser is asked for.
"""

from __future__ import annotations

import json
import re
from collections.abc import Sequence
from typing import Any, ClassVar

from vllm.entrypoints.generate.base.protocol import (
    DeltaFunctionCall,
    DeltaMessage,
    DeltaToolCall,
    ExtractedToolCallInformation,
    FunctionCall,
    ToolCall,
)
from vllm.logger import init_logger
from vllm.renderers.chat_utils import make_tool_call_id
from vllm.tool_parsers.abstract_tool_parser import ToolParser

from ...errors import CallParseError, DataError
from ...toolcalls import Tool, detect_turn, read_tool
from . import NAME

logger = init_logger(f"vllm.{__name__}")
# What a line must not hold to be passed on before the end: the beginning of any format's marks or objects.
_MARKS = r"<[^\s=\d]|[{`｜]|\[\s*[^\W\d]|\bto=|^[\W_]*(?:Action|Call|API-Request|functools)\b"


class CallParser(ToolParser):
    """Reads calls in any format, or in the one that a subclass names."""

    call_format: ClassVar[str | None] = None
    supports_required_and_named = False  # the model's own format, not vLLM's JSON
    engine_based_streaming = True  # `finish_streaming` is called at the end of a stream

    def __init__(self, tokenizer: Any, tools: Sequence[Any] | None = None) -> None:
        super().__init__(tokenizer, list(tools or ()))
        self._declared = _read(self.tools)
        self._held = ""  # streamed text that may yet be a call
        names = "|".join(re.escape(tool.name) for tool in self._declared)
        self._may_begin = re.compile(rf"{_MARKS}|\b(?:{names})\b" if names else _MARKS, re.MULTILINE)

    def adjust_request(self, request: Any) -> Any:
        """Keep special tokens in the text: in many vocabularies they mark a call."""
        request = super().adjust_request(request)
        if request.tools and request.tool_choice != "none":
            request.skip_special_tokens = False
        return request

    def extract_tool_calls(self, model_output: str, request: Any) -> ExtractedToolCallInformation:
        """Return the calls of a whole answer and the text around them; a malformed call stays text."""
        calls, content = ([], model_output) if request.tool_choice == "none" else self._calls(model_output)
        written = [ToolCall(type="function", function=FunctionCall(name=name, arguments=text)) for name, text in calls]
        return ExtractedToolCallInformation(tools_called=bool(calls), tool_calls=written, content=content or None)

    def extract_tool_calls_streaming(
        self,
        previous_text: str,
        current_text: str,
        delta_text: str,
        previous_token_ids: Sequence[int],
        current_token_ids: Sequence[int],
        delta_token_ids: Sequence[int],
        request: Any,
    ) -> DeltaMessage | None:
        """Pass on what cannot be part of a call, line by line; the rest waits for the end of the stream.

        Only the end tells which group of calls counts, and whether an open call is whole.
        """
        if request.tool_choice == "none":
            return DeltaMessage(content=delta_text) if delta_text else None
        self._held += delta_text
        if "\n" not in delta_text:
            return None
        lines = self._held.rstrip().splitlines(keepends=True)
        sure = "".join(lines[:-1])  # the last line may begin a call: its name alone, or a mark
        if not sure.strip() or self._may_begin.search(sure) or not self._is_text(self._held):
            return None
        self._held = self._held[len(sure) :]
        return DeltaMessage(content=sure)

    def finish_streaming(self) -> DeltaMessage | None:
        """Return the calls of a stream that has ended, and the text that was held back."""
        calls, content = self._calls(self._held)
        self._held = ""
        if not calls and not content:
            return None
        written = [
            DeltaToolCall(
                index=index,
                id=make_tool_call_id(),
                type="function",
                function=DeltaFunctionCall(name=name, arguments=text),
            )
            for index, (name, text) in enumerate(calls)
        ]
        return DeltaMessage(content=content or None, tool_calls=written)

    def _calls(self, text: str) -> tuple[list[tuple[str, str]], str]:
        """Return names and arguments (JSON) of the calls, and the text around them."""
        try:
            turn = detect_turn(text, self._declared, self.call_format)
        except (CallParseError, DataError) as error:
            logger.warning("The answer has a malformed tool call and stays text: %s", error.message)
            return [], text
        if not turn.calls:
            return [], text
        calls = [(found.call.name, json.dumps(dict(found.call.arguments), ensure_ascii=False)) for found in turn.calls]
        around = (text[: turn.start].strip(), text[turn.end :].strip())
        return calls, "\n".join(part for part in around if part)

    def _is_text(self, text: str) -> bool:
        try:
            return not detect_turn(text, self._declared, self.call_format).calls
        except (CallParseError, DataError):
            return False


def _read(tools: Sequence[Any]) -> list[Tool]:
    """Return the request's tools in our form; one that cannot be read is left out with a warning."""
    found = []
    for tool in tools:
        data = tool.model_dump(exclude_none=True)
        if "function" not in data:  # a tool of the Responses API
            data = {"type": "function", "function": {key: value for key, value in data.items() if key != "type"}}
        try:
            found.append(read_tool(data, "openai"))
        except DataError as error:
            logger.warning("A tool of the request cannot be read, so its calls are not typed: %s", error.message)
    return found


def __getattr__(name: str) -> type[CallParser]:
    """Return the parser of one format, as `register` names it."""
    prefix, _, form = name.partition("_")
    if prefix != CallParser.__name__ or not form:
        raise AttributeError(f"module {__name__!r} has no attribute {name!r}")
    return type(
        name, (CallParser,), {"call_format": form, "__doc__": f"Reads calls in the format {form}, {NAME}_{form}."}
    )
