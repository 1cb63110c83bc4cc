"""Environments of `verifiers`: a stand-in with its classes' names and its own loop; and refusals without it."""

from __future__ import annotations

import json
import sys
from types import ModuleType, SimpleNamespace
from typing import Any

import pytest

from llamafactory_ext.tl.environments import Action
from llamafactory_ext.tl.environments.asking import RAISED, Fault, begin, run_all, step_of
from llamafactory_ext.tl.environments.verifiers import records_of, verifiers
from llamafactory_ext.toolcalls import ToolCall

pytestmark = pytest.mark.fast

RECORD = {"id": "v-1", "answer": "Velado", "turns": [{"role": "user", "content": "Who?"}]}


class Client:
    """As the package has it: what an environment asks for its turns."""

    def __init__(self, client: Any) -> None:
        self.made_of = client


class OverlongPromptError(Exception):
    pass


class Asks:
    """An environment whose rollout goes as the package's: ask, answer calls, until there are none."""

    tool_defs = (SimpleNamespace(name="owner", description="Finds.", parameters={"type": "object"}),)

    def __init__(self, breaks: bool = False) -> None:
        self.breaks = breaks
        self.rubric = self

    async def rollout(self, asked: dict[str, Any], client: Any, model: str, sampling: Any) -> dict[str, Any]:
        if not isinstance(asked.get("task", {}), dict):
            raise ValueError("Serialized task payloads must be JSON objects.")  # as from 0.1.14 on
        messages: list[Any] = list(asked["prompt"])
        state: dict[str, Any] = {"asked": asked, "turns": [], "error": None}
        while True:
            try:
                response = await client.get_response(messages, model, sampling, tools=None, state=state)
            except OverlongPromptError:
                break
            state["turns"].append(response.message)
            messages = [*messages, response.message]
            if not response.message.tool_calls:
                break
            if self.breaks:
                state["error"] = RuntimeError("the sandbox is gone")
                break
            for call in response.message.tool_calls:
                arguments = json.loads(call.arguments)
                messages.append({"role": "tool", "tool_call_id": call.id, "content": f"{call.name} {arguments}"})
        return state

    async def score_rollout(self, state: dict[str, Any]) -> None:
        right = bool(state["turns"]) and state["asked"]["answer"] in state["turns"][-1].content
        state["reward"], state["metrics"] = float(right), {"right": float(right), "num_turns": len(state["turns"]) - 1}

    def _get_reward_func_names(self) -> list[str]:
        return ["right", "num_turns"]

    def _get_reward_weights(self) -> list[float]:
        return [1.0, 0.0]  # as the package's own counters, which are 0 or 1 now and then

    def get_dataset(self) -> list[dict[str, Any]]:
        prompt = [{"role": "system", "content": "Be brief."}, {"role": "user", "content": "Who?"}]
        return [{"example_id": 7, "prompt": prompt, "answer": "Velado", "info": {"a": 1}}]


@pytest.fixture
def package(monkeypatch: pytest.MonkeyPatch) -> ModuleType:
    made: Any = ModuleType("verifiers")
    made.Client, made.OverlongPromptError = Client, OverlongPromptError
    made.load_environment = lambda name, **arguments: Asks(**arguments)
    made.types = SimpleNamespace(**dict.fromkeys(("ToolCall", "ResponseMessage", "Response"), SimpleNamespace))
    monkeypatch.setitem(sys.modules, "verifiers", made)
    return made


def play(*actions: Action, **arguments: Any) -> list[Any]:
    """The steps of one episode, or the fault that ends them."""
    found: list[Any] = []
    (world,) = run_all([lambda: begin(lambda: verifiers("one", arguments), RECORD)], 20)
    assert not isinstance(world, Fault), world
    for action in actions:
        found += run_all([lambda action=action: step_of(world.step(action))], 20)
    return found


CALL = Action("...", (ToolCall("owner", {"code": "C7"}),))


def test_an_episode(package: ModuleType) -> None:
    first, end = play(CALL, Action("It is Velado.", end="answer"))
    assert (first.observation, first.done) == ("owner {'code': 'C7'}", False)
    assert (end.done, end.reward, dict(end.checks)) == (True, 1.0, {"right": 1.0})


def test_two_calls_give_two_outputs_and_a_wrong_answer_earns_nothing(package: ModuleType) -> None:
    both, end = play(Action("...", CALL.calls * 2), Action("Nobody.", end="answer"))
    assert both.observation.count("owner {") == 2
    assert (end.done, end.reward) == (True, 0.0)


def test_a_limit_ends_the_rollout(package: ModuleType) -> None:
    (end,) = play(Action("Velado", CALL.calls, end="turns"))
    assert (end.done, end.reward) == (True, 1.0)


def test_a_rollout_that_breaks_is_a_fault(package: ModuleType) -> None:
    (found,) = play(CALL, breaks=True)
    assert (found.kind, "sandbox is gone" in found.what) == (RAISED, True)


def test_its_data_become_records(package: ModuleType) -> None:
    (record,) = records_of("one")
    assert (record["id"], record["answer"], record["system"]) == (7, "Velado", "Be brief.")
    assert [turn["value"] for turn in record["conversations"]] == ["Who?", "Velado"]
    assert json.loads(record["tools"])[0]["name"] == "owner"


def lacking() -> ModuleType:
    """One whose own parts cannot be imported, which its attributes say as the package's do."""
    made: Any = ModuleType("verifiers")

    def attribute(name: str) -> Any:
        raise AttributeError(f"To use verifiers.{name}, install all.") from ModuleNotFoundError("No module named 'z'")

    made.__getattr__ = attribute
    return made


@pytest.mark.parametrize(
    ("made", "said"),
    [
        (None, "cannot be imported"),
        (ModuleType("verifiers"), "has no load_environment"),
        (lacking(), "No module named 'z'"),
    ],
    ids=["none", "newer", "lacking"],
)
def test_without_the_package_or_with_another_one_it_says_what_to_install(
    made: Any, said: str, monkeypatch: pytest.MonkeyPatch
) -> None:
    monkeypatch.setitem(sys.modules, "verifiers", made)
    (found,) = run_all([lambda: begin(lambda: verifiers("one"), RECORD)], 20)
    assert (found.kind, "pip install 'verifiers<0.4'" in found.what, said in found.what) == (RAISED, True, True)


def test_the_part_of_0_3_that_has_environments_is_taken(package: Any, monkeypatch: pytest.MonkeyPatch) -> None:
    newer: Any = ModuleType("verifiers")
    newer.__path__ = []
    monkeypatch.setitem(sys.modules, "verifiers", newer)
    monkeypatch.setitem(sys.modules, "verifiers.legacy", package)
    (end,) = play(Action("It is Velado.", end="answer"))
    assert (end.done, end.reward) == (True, 1.0)
