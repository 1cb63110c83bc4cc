"""Multi-turn tool use in the world: calls, their feedback, and errors that a later call corrects.

Sharegpt records as TL-Training's data have them (arXiv:2412.15495, section 3.1): a third of the calls fails, in the
ways of the paper's Table 14.
"""

import json
from collections.abc import Callable, Sequence
from random import Random
from typing import Any

from . import words
from .tools import TOOLS, Tool

_ERROR_SHARE = 0.5
_REPORTS = ('{"error": "HTTP 503: service unavailable"}', '{"error": "Response error."}')
_Call = tuple[str, dict[str, str]]
_Error = Callable[[_Call, Random], tuple[_Call, str]]  # the erroneous call, and what its output says


def trajectories(
    count: int, seed: int, error_share: float = _ERROR_SHARE, *, mistakes_only: bool = False
) -> list[dict[str, Any]]:
    """Draw different trajectories; the same arguments give the same ones.

    Args:
        count: how many.
        seed: of the draw.
        error_share: share of the records that begin with an erroneous call.
        mistakes_only: leave out errors of a right call, which a server or a network makes.
    """
    rng = Random(f"trajectories/{seed}")
    found: dict[str, dict[str, Any]] = {}
    while len(found) < count:
        record = _record(rng, error_share, _MISTAKES if mistakes_only else _ERRORS)
        found.setdefault(record["conversations"][0]["value"], record)
    return list(found.values())


def mistaken(name: str, arguments: dict[str, str], rng: Random) -> tuple[str, dict[str, str]]:
    """Return the call with one mistake: of a tool that there is not, with a parameter too many, or one too few."""
    wrong, _ = rng.choice(_MISTAKES)((name, arguments), rng)
    return wrong


def _record(rng: Random, error_share: float, errors: Sequence[_Error]) -> dict[str, Any]:
    tools = _toolbox(rng)
    tool = tools[0]
    values = {slot.key: slot.draw(rng) for slot in tool.slots}
    told = " ".join(rng.choice(slot.phrases).format(values[slot.key]) for slot in tool.slots)
    turns = [turn("human", f"Please {tool.verb} {words.a(tool.noun)} {told}.")]
    if rng.random() < error_share:
        call, report = rng.choice(errors)((tool.name, values), rng)
        turns += [turn("function_call", call_text(call)), turn("observation", report)]
    turns += [
        turn("function_call", call_text((tool.name, values))),
        turn("observation", json.dumps({"status": "done", "number": f"{rng.choice('ABCD')}{rng.randint(10, 99)}"})),
    ]
    number = json.loads(turns[-1]["value"])["number"]
    turns.append(turn("gpt", f"Done. The number is {number}."))
    shuffled = rng.sample(tools, len(tools))
    described = json.dumps([describe(other) for other in shuffled])
    return {"conversations": turns, "system": "", "tools": described, "mark": "tool", "task": "tool"}


def _toolbox(rng: Random) -> list[Tool]:
    """Return the tool that is needed and one or two others, mostly of the same verb, so that the names begin alike."""
    tool = rng.choice(TOOLS["seen"])
    same = [other for other in TOOLS["seen"] if other.verb == tool.verb and other.name != tool.name]
    others = [rng.choice(same if same and rng.random() < 0.7 else TOOLS["seen"]) for _ in range(rng.choice((1, 2)))]
    return list({other.name: other for other in [tool, *others]}.values())


def _unknown_tool(call: _Call, rng: Random) -> tuple[_Call, str]:
    name = f"{call[0]}Now"
    return (name, call[1]), json.dumps({"error": f"There is no tool named {name}."})


def _unknown_parameter(call: _Call, rng: Random) -> tuple[_Call, str]:
    key = rng.choice(("user", "time", "where"))
    return (call[0], {**call[1], key: "now"}), f"{call[0]}() got an unexpected keyword argument '{key}'"


def _missing_parameter(call: _Call, rng: Random) -> tuple[_Call, str]:
    key = rng.choice(list(call[1]))
    left = {name: value for name, value in call[1].items() if name != key}
    return (call[0], left), f"{call[0]}() missing 1 required positional argument: '{key}'"


def _broken(call: _Call, rng: Random) -> tuple[_Call, str]:
    return call, rng.choice(_REPORTS)


_MISTAKES: tuple[_Error, ...] = (
    _unknown_tool,
    _unknown_parameter,
    _missing_parameter,
)
_ERRORS = (*_MISTAKES, _broken)


def describe(tool: Tool) -> dict[str, Any]:
    """Return a tool as the tools column has it."""
    properties = {slot.key: {"type": "string", "description": f"{slot.meaning}."} for slot in tool.slots}
    return {
        "name": tool.name,
        "description": f"{words.cap(words.third(tool.verb))} {words.a(tool.noun)}.",
        "parameters": {"type": "object", "properties": properties, "required": list(properties)},
    }


def call_text(call: _Call) -> str:
    """Return a call as the turn of a record."""
    return json.dumps({"name": call[0], "arguments": call[1]})


def turn(role: str, text: str) -> dict[str, str]:
    """Return a turn of a record."""
    return {"from": role, "value": text}
