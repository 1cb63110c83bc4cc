"""Tasks of the world that take two or three calls, of which each later one needs what the one before it gave.

Sharegpt records with the right calls and their outputs, which the environment of recorded dialogues plays
(`tl_environment: llamafactory_ext.tl.environments.recorded:recorded`).
"""

import json
from random import Random
from typing import Any

from . import words
from .tools import TOOLS, Tool
from .trajectories import call_text, describe, turn

_CALLS = (2, 2, 3)


def chains(count: int, seed: int) -> list[dict[str, Any]]:
    """Draw different tasks; the same arguments give the same ones."""
    rng = Random(f"chains/{seed}")
    found: dict[str, dict[str, Any]] = {}
    while len(found) < count:
        record = _record(rng)
        found.setdefault(record["conversations"][0]["value"], record)
    return [{"id": f"chain-{place:04}", **record} for place, record in enumerate(found.values())]


def _record(rng: Random) -> dict[str, Any]:
    tools = rng.sample(TOOLS["seen"], rng.choice(_CALLS))
    values = [{slot.key: slot.draw(rng) for slot in tool.slots} for tool in tools]
    links = [rng.choice(tool.slots) for tool in tools[1:]]
    number = f"{rng.choice('ABCD')}{rng.randint(10, 99)}"
    outputs = [{link.key: values[place + 1][link.key]} for place, link in enumerate(links)]
    parts = [_told(tools[0], values[0], None, rng)]
    parts += [_told(tool, each, link, rng) for tool, each, link in zip(tools[1:], values[1:], links, strict=True)]
    turns = [turn("human", f"Please {', then '.join(parts)}.")]
    for tool, each, output in zip(tools, values, [*outputs, {"status": "done", "number": number}], strict=True):
        turns += [turn("function_call", call_text((tool.name, each))), turn("observation", json.dumps(output))]
    turns.append(turn("gpt", f"Done. The number is {number}."))
    other = rng.choice(TOOLS["seen"])
    shown = rng.sample(tools, len(tools)) if other in tools else rng.sample([*tools, other], len(tools) + 1)
    described = json.dumps([describe(tool) for tool in shown])
    return {"conversations": turns, "system": "", "tools": described, "mark": "tool", "task": "tool"}


def _told(tool: Tool, values: dict[str, str], link: words.Slot | None, rng: Random) -> str:
    """Ask for a tool; the value of its link, if there is one, is left to the output before it."""
    said = [rng.choice(slot.phrases).format(values[slot.key]) for slot in tool.slots if slot is not link]
    wish = " ".join([f"{tool.verb} {words.a(tool.noun)}", *said])
    return wish if link is None else f"{wish} with the {link.key} you get"
