"""Environments for tests, named as `environments_made_here:factory`; and what makes a random model's texts calls."""

from __future__ import annotations

import time
from collections.abc import Callable, Mapping
from typing import Any

import pytest

from llamafactory_ext.tl.environments import Action, Step
from llamafactory_ext.toolcalls import ParsedCall, ToolCall

SEEN: list[dict[str, Any]] = []  # records that environments were reset with


class Counting:
    """Rewards vowels of the first text; calls are answered with their number until the third."""

    def reset(self, record: Mapping[str, Any]) -> None:
        SEEN.append(dict(record))
        self.calls = 0

    def step(self, action: Action) -> Step:
        self.calls += len(action.calls)
        reward = sum(letter in "aeiou" for letter in action.text) / 4 - len(action.text) / 40
        checks = {"called": self.calls > 0, "answered": action.end == "answer"}
        return Step(f"output {self.calls}" * self.calls, self.calls > 2, reward, checks)


class Once:
    """The reward of `ppo_rewards:vowels`, for one turn."""

    def reset(self, record: Mapping[str, Any]) -> None:
        pass

    def step(self, action: Action) -> Mapping[str, Any]:
        text = action.text
        return {"reward": sum(letter in "aeiou" for letter in text) / 4 - len(text) / 40, "done": True}


class Faulty(Counting):
    """Does in its first step what `deed` does."""

    def __init__(self, deed: Callable[[], Any]) -> None:
        self.deed = deed

    def step(self, action: Action) -> Any:
        return self.deed()


def counting() -> Counting:
    return Counting()


def once() -> Once:
    return Once()


def hang() -> Faulty:
    return Faulty(lambda: time.sleep(60))


def crash() -> Faulty:
    return Faulty(lambda: 1 // 0)


def leave() -> Faulty:
    return Faulty(lambda: exit(3))


def no_number() -> Faulty:
    return Faulty(lambda: Step(reward=float("nan"), done=True))


def no_step() -> Faulty:
    return Faulty(lambda: ("text", True, 1.0))


def long_text() -> Faulty:
    return Faulty(lambda: Step("x" * 10_000_000))


class Picky(Counting):
    """Knows the records whose place in the file is even."""

    def reset(self, record: Mapping[str, Any]) -> None:
        super().reset(record)
        if int(str(record["id"]).rpartition("-")[2]) % 2:
            raise LookupError(record["id"])


def picky() -> Picky:
    return Picky()


def calls_by_length(
    monkeypatch: pytest.MonkeyPatch, even: Callable[[str], bool] = lambda text: len(text) % 2 == 0
) -> None:
    """Take texts of an even length for a call each, so that a random model makes some."""
    from llamafactory_ext.tl.ppo.rollout import episodes

    def detect(text: str, *_: Any) -> list[ParsedCall]:
        return called(text) if even(text) else []

    monkeypatch.setattr(episodes, "detect", detect)


def called(text: str) -> list[ParsedCall]:
    """One call in all of a text."""
    return [ParsedCall(ToolCall("f", {"text": text}), 0, len(text), 0, len(text))]


def counting_by_length() -> Counting:
    """As `counting`, in a process of its own, in which texts of an even length are calls from now on."""
    from llamafactory_ext.tl.ppo.rollout import episodes

    episodes.detect = lambda text, *_: called(text) if len(text) % 2 == 0 else []  # type: ignore[assignment]
    return Counting()


class NowAndThen(Counting):
    """Fails where a text is of an odd length."""

    def step(self, action: Action) -> Step:
        if len(action.text) % 2:
            raise RuntimeError("the tool is down")
        return Step(done=True)


def now_and_then() -> NowAndThen:
    return NowAndThen()
