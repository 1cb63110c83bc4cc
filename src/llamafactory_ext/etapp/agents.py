"""Agents without a model: gold, null and random. They show that the checks can be passed, and not by chance."""

from __future__ import annotations

import json
import random
from collections.abc import Callable, Mapping, Sequence
from typing import Any

from ..toolcalls.feedback.parts import content_text
from .cases import Case
from .prompts import Strategy
from .registry import ALL, DOCUMENT
from .sandbox import Setting
from .strategies import Ask, Messages, Said

MakeAsk = Callable[[Case, Setting, Strategy], Ask]
NAMES = ("gold", "null", "random")


def agent(name: str, gold: Mapping[str, Any], seed: int = 0) -> MakeAsk:
    """Return an agent by its name.

    Args:
        name: gold, null or random.
        gold: the gold trajectories, by case.
        seed: of the random agent.
    """

    def make(case: Case, setting: Setting, strategy: Strategy) -> Ask:
        if name == "gold":
            wanted = gold[case.id]
            calls = [(call["name"], call["arguments"]) for call in wanted["calls"]]
            return scripted(_with_documents(calls, setting), wanted["answer"], strategy)
        if name == "null":
            return scripted([], "", strategy)
        return _random(case, seed, strategy)

    return make


def _with_documents(calls: list[tuple[str, Any]], setting: Setting) -> list[tuple[str, Any]]:
    """Return the calls, behind one that reads the documents of their tools where these are not given."""
    if setting == "given":
        return calls
    return [(DOCUMENT, {"tools_name": list(dict.fromkeys(name for name, _ in calls))}), *calls]


def scripted(calls: Sequence[tuple[str, Any]], answer: str, strategy: Strategy) -> Ask:
    """Return a model that makes the calls one by one, then answers."""

    def ask(messages: Messages, tools: Sequence[Mapping[str, Any]], tokens: int) -> Said:
        if _is_plan(messages, strategy):
            return Said({"role": "assistant", "content": '{"personal": [], "proactive": []}'})
        place = _made(messages, strategy)
        return _said(calls[place] if place < len(calls) else None, answer, place, strategy)

    return ask


def _is_plan(messages: Messages, strategy: Strategy) -> bool:
    return strategy == "e-react" and not any(message["role"] == "assistant" for message in messages)


def _made(messages: Messages, strategy: Strategy) -> int:
    """Return how many replies came before, the plan aside."""
    return sum(message["role"] == "assistant" for message in messages) - (strategy == "e-react")


def _said(call: tuple[str, Any] | None, answer: str, place: int, strategy: Strategy) -> Said:
    if strategy != "fc":
        if call is None:
            return Said({"role": "assistant", "content": f"Thought: It is done.\nFinal Answer: {answer}"})
        text = (
            f"Thought: I need {call[0]}.\nAction: {call[0]}\nAction Input: {json.dumps(call[1], ensure_ascii=False)}"
        )
        return Said({"role": "assistant", "content": text})
    if call is None:
        return Said({"role": "assistant", "content": answer})
    function = {"name": call[0], "arguments": json.dumps(call[1], ensure_ascii=False)}
    made = [{"id": f"call_{place}", "type": "function", "function": function}]
    return Said({"role": "assistant", "content": "", "tool_calls": made})


def _random(case: Case, seed: int, strategy: Strategy) -> Ask:
    """Return an agent that calls offered tools with arguments that fit them, then repeats what it has read."""
    dice = random.Random(f"{seed}/{case.id}")
    calls = []
    for _ in range(dice.randint(1, 5)):
        spec = ALL[dice.choice(case.given)]
        chosen = [param for param in spec.params if param.needed or dice.random() < 0.7]
        calls.append((spec.name, {param.name: _value(param.name, param.kind, param, case, dice) for param in chosen}))

    def ask(messages: Messages, tools: Sequence[Mapping[str, Any]], tokens: int) -> Said:
        if _is_plan(messages, strategy):
            return Said({"role": "assistant", "content": "{}"})
        place = _made(messages, strategy)
        read = content_text(messages[-1].get("content")) if place else ""
        return _said(calls[place] if place < len(calls) else None, read[:2000], place, strategy)

    return ask


def _value(name: str, kind: str, param: Any, case: Case, dice: random.Random) -> Any:
    day = case.now.strftime("%Y-%m-%d")
    if kind in ("integer", "number"):
        low, high = (bound if abs(bound) < 1e6 else edge for bound, edge in ((param.low, 1), (param.high, 9)))
        return dice.randint(int(low), int(high))
    values: Mapping[str, Callable[[], Any]] = {
        "choice": lambda: dice.choice(param.choices),
        "flag": lambda: dice.choice(("True", "False")),
        "date": lambda: day,
        "day_time": lambda: day,
        "time": lambda: f"{day} {dice.randint(0, 23):02d}:{dice.choice((0, 15, 30, 45)):02d}:00",
        "addresses": lambda: "somebody@mini.example",
    }
    return values.get(kind, lambda: dice.choice(("Sundale", "soup", "jazz", "Signal Path", "MW1003")))()
