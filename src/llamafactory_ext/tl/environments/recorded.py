"""The world of a recorded dialogue: its right calls give the outputs that they gave, all others an error.

`tl_environment: llamafactory_ext.tl.environments.recorded:recorded`, for records of several calls, of which later ones
need what earlier ones gave. Calls that were answered with an error are no right ones. `tl_environment_args` may say
what whole and partial success earn.
"""

from __future__ import annotations

import json
import re
from collections.abc import Iterator, Mapping, Sequence
from itertools import pairwise
from typing import Any

from ...errors import CallParseError, DataError
from ...templates.messages import results
from ...toolcalls import Tool, ToolCall, detect, read_tools
from ...toolcalls.feedback.errors import feedback_error
from .protocol import Action, Step
from .records import turns_of

_WORD = re.compile(r"[\w.:@/-]*\w")


class Recorded:
    """The world of one record.

    Args:
        partial: reward of all right calls without the right answer; a part of the calls earns a part of it.

    Checks: "calls", the share of the right calls that were made; "answer", the policy ended with an answer that has
    every value that the recorded answer takes from an output.
    """

    def __init__(self, partial: float = 0.5) -> None:
        self.partial = partial
        self.outputs: list[tuple[ToolCall, str]] = []
        self.made: set[int] = set()
        self.tools: dict[str, Tool] = {}
        self.values: set[str] = set()

    def reset(self, record: Mapping[str, Any]) -> None:
        """See `Environment`."""
        turns = turns_of(record)
        try:
            tools = record.get("tools")
            read = read_tools(tools if isinstance(tools, str) else json.dumps(tools)) if tools else ()
            self.outputs = list(_right(turns, read))
        except (DataError, CallParseError) as error:
            raise LookupError(f"its tools or calls cannot be read: {error.message[:100]}") from None
        if not self.outputs:
            raise LookupError("it has no call with an output")
        self.tools = {tool.name: tool for tool in read}
        self.made = set()
        said = {word for _, output in self.outputs for word in _words_of(output)}
        asked = {word for role, text in turns if role == "user" for word in _WORD.findall(text)}
        final = turns[-1][1] if turns[-1][0] == "assistant" else ""
        self.values = {word for word in _WORD.findall(final) if word in said and word not in asked}

    def step(self, action: Action) -> Step:
        """See `Environment`."""
        observed = [self._output(call) for call in action.calls]
        if not action.end:
            return Step(_error(f"the call cannot be read: {action.problem}") if action.problem else observed)
        share = len(self.made) / len(self.outputs)
        right = action.end == "answer" and self.values <= set(_WORD.findall(action.text))
        reward = 1.0 if right and share == 1 else self.partial * share
        return Step("", True, reward, {"calls": share, "answer": right})

    def _output(self, call: ToolCall) -> str:
        for place, (right, output) in enumerate(self.outputs):
            if call == right:
                self.made.add(place)
                return output
        tool = self.tools.get(call.name)
        known = {right.name for right, _ in self.outputs} | set(self.tools)
        if call.name not in known:
            return _error(f"There is no tool named {call.name[:60]}.")
        if tool is not None:
            for name in tool.required:
                if name not in call.arguments:
                    return f"{call.name}() missing 1 required positional argument: {name!r}"
            for name in call.arguments:
                if name not in tool.parameters:
                    return f"{call.name}() got an unexpected keyword argument {name[:60]!r}"
        return _error("Not found: no such value.")


def recorded(partial: float = 0.5) -> Recorded:
    """Return a new world; what `tl_environment` names."""
    return Recorded(float(partial))


def _right(turns: Sequence[tuple[str, str]], tools: Sequence[Tool]) -> Iterator[tuple[ToolCall, str]]:
    """Return the calls with their outputs, but those that were answered with an error.

    Raises:
        CallParseError: a turn before an output cannot be read.
    """
    for (role, text), (following, output) in pairwise(turns):
        if following != "observation" or role not in ("function", "assistant"):
            continue
        calls, outputs = detect(text, tools), results(output)
        if len(calls) > 1 and len(outputs) != len(calls):
            raise CallParseError(f"a turn has {len(calls)} calls and {len(outputs)} outputs")
        for found, told in zip(calls, outputs if len(calls) > 1 else [output], strict=False):
            if not feedback_error(told):
                yield found.call, told


def _words_of(output: str) -> list[str]:
    """Return the words of an output; of JSON those of its values."""
    try:
        value = json.loads(output)
    except (ValueError, RecursionError):
        return _WORD.findall(output)
    found, waiting = list[str](), [value]
    while waiting:
        one = waiting.pop()
        if isinstance(one, dict | list):
            waiting += one.values() if isinstance(one, dict) else one
        else:
            found += _WORD.findall(str(one))
    return found


def _error(text: str) -> str:
    return json.dumps({"error": text})
