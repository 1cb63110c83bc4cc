"""ToolEyes by TL-Training's measures (arXiv:2412.15495, section 5.1): DE, CE and VA over at most nine turns.

The released code computes none of them; this is our reading. DE and CE are shares of the calls: DE of those that the
declared tools forbid (unknown tool, unknown parameter, missing required parameter), CE of those that failed in any
other way by the tool's feedback, or could not be read. VA is the share of cases that end in an answer within nine
turns that is neither empty nor the refusal the prompt provides. `strict` wants that answer by the tool `finish` with
its declared parameters, as the prompt demands. `finish` itself is no call.
"""

from __future__ import annotations

import json
from collections.abc import Iterator, Mapping, Sequence
from typing import Any

from ...errors import CallParseError, DataError, NoCallError
from ...toolcalls import Tool, ToolCall, read_tool
from ...toolcalls.feedback.errors import feedback_error
from ...toolcalls.feedback.parts import content_text
from ..answers import Answered, Context, Scored, message_calls
from ..references import Item
from ..report import Mode, Verdict

MAX_TURNS = 9
_FINISH = "finish"
_REFUSAL = "i cannot handle the task"
_FEEDBACK = ("tool", "function", "observation")
_NOTES = (
    "DE and CE are per call and VA per case: our reading, the benchmark's code has none of the three. Standard errors "
    "of DE and CE take calls as independent.",
)


def score(answered: Sequence[Answered], mode: Mode) -> Scored:
    """Score dialogues; a prediction without messages is a dialogue of one turn."""
    return Scored(tuple(verdict for one in answered for verdict in _verdicts(one, mode)), _NOTES)


def _verdicts(one: Answered, mode: Mode) -> Iterator[Verdict]:
    """Return one verdict for each call, then one for the case."""
    tools = _declared(one.item)
    answer: str | None = None
    number = 0
    for message, feedback in _turns(one)[:MAX_TURNS]:
        try:
            calls: Sequence[ToolCall | str] = message_calls(message)
        except NoCallError:
            answer = None if mode == "strict" else content_text(message.get("content"))
            break
        except CallParseError as error:
            calls = [error.message]
        for place, call in enumerate(calls):
            if isinstance(call, ToolCall) and call.name == _FINISH:
                answer = _finished(call, tools, mode)
                break
            number += 1
            given = feedback[place] if place < len(feedback) else ""
            yield _call_verdict(f"{one.item.id}#{number}", one.item.group, call, given, tools)
        else:
            continue
        break
    valid = answer is not None and answer.strip() != "" and _REFUSAL not in answer.lower().replace("can't", "cannot")
    category = "valid answer" if valid else "no answer" if answer is None else "empty or refused"
    yield Verdict(one.item.id, {"VA": float(valid)}, category, group=one.item.group)


def _declared(item: Item) -> dict[str, Tool]:
    try:
        system = item.record["conversations"][0]["value"]
        tools, _ = json.JSONDecoder().raw_decode(system, system.index("["))
        return {tool["name"]: read_tool(tool, "rotbench") for tool in tools}
    except (TypeError, KeyError, IndexError, ValueError, DataError) as error:
        raise DataError(f"{item.id}: not in ToolEyes' form ({error!r}); get its files again.") from None


def _turns(one: Answered) -> list[tuple[Mapping[str, Any], list[str]]]:
    """Return the model's turns, each with the texts of the feedback that follows it."""
    messages = one.prediction.messages or ({"role": "assistant", "content": one.prediction.prediction},)
    turns: list[tuple[Mapping[str, Any], list[str]]] = []
    for message in messages:
        if message.get("role") == "assistant":
            turns.append((message, []))
        elif message.get("role") in _FEEDBACK and turns:
            turns[-1][1].append(content_text(message.get("content")))
    return turns


def _finished(call: ToolCall, tools: Mapping[str, Tool], mode: Mode) -> str | None:
    """Return the answer a call of `finish` carries; in strict mode only if its parameters are the declared ones."""
    if mode == "strict" and (_FINISH not in tools or call.arguments.keys() != tools[_FINISH].parameters.keys()):
        return None
    return " ".join(str(value) for value in call.arguments.values())


def _call_verdict(id_: str, group: str, call: ToolCall | str, feedback: str, tools: Mapping[str, Tool]) -> Verdict:
    if isinstance(call, str):
        return Verdict(id_, {"DE": 0.0, "CE": 1.0}, "malformed call", False, call, group)
    fault = _documentation_fault(call, tools)
    if fault is not None:
        return Verdict(id_, {"DE": 1.0, "CE": 0.0}, fault, detail=call.name, group=group)
    error = feedback_error(feedback)
    return Verdict(id_, {"DE": 0.0, "CE": float(error is not None)}, error or "right", detail=call.name, group=group)


def _documentation_fault(call: ToolCall, tools: Mapping[str, Tool]) -> str | None:
    if call.name not in tools:
        return "Tool Hallucination"
    tool = tools[call.name]
    if call.arguments.keys() - tool.parameters.keys():
        return "Parameter Hallucination"
    return "Parameter Missing" if set(tool.required) - call.arguments.keys() else None


def run(answered: Sequence[Answered], context: Context) -> Scored:
    """Score as the benchmark's row asks."""
    return score(answered, context.mode)
