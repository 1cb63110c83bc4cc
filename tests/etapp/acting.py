"""Agents in the mini world, for several tests."""

from __future__ import annotations

from collections.abc import Sequence
from typing import Any

from llamafactory_ext.etapp.agents import scripted
from llamafactory_ext.etapp.cases import Case
from llamafactory_ext.etapp.checks import Deeds, Outcome, check
from llamafactory_ext.etapp.mini import load
from llamafactory_ext.etapp.sandbox import Sandbox
from llamafactory_ext.etapp.strategies import Ask, Episode, Limits, run_case
from llamafactory_ext.etapp.world import diff
from llamafactory_ext.toolcalls import ToolCall

Calls = Sequence[tuple[str, dict[str, Any]]]


def sandbox_of(case: Case, **options: Any) -> Sandbox:
    return Sandbox(load().worlds[case.user].fork(), case.now, case.given, **options)


def act(case: Case, ask: Ask, setting: Any = "given", strategy: Any = "fc", **limits: Any) -> tuple[Episode, Sandbox]:
    sandbox = sandbox_of(case, setting=setting)
    slots = load().slots[case.user]
    return run_case(case, sandbox, ask, slots, setting, strategy, Limits(**limits)), sandbox


def outcome(case: Case, calls: Calls, answer: str) -> Outcome:
    """What the checks say of a trajectory, its calls made one after the other."""
    sandbox = sandbox_of(case)
    for name, arguments in calls:
        sandbox.call(ToolCall(name, arguments))
    world = load().worlds[case.user]
    changes = diff(sandbox.start, sandbox.world)
    assert case.checks is not None
    deeds = Deeds([one.record() for one in sandbox.log], answer, changes, world)
    return check(case.checks, load().slots[case.user], deeds)


def saying(calls: Calls, answer: str, strategy: Any = "fc") -> Ask:
    return scripted(calls, answer, strategy)
