"""Rewards of a user, named as `ppo_rewards:function` by the tests."""

from __future__ import annotations

from collections.abc import Sequence

from llamafactory_ext.toolcalls import Tool


def length(prediction: str, reference: str, tools: Sequence[Tool]) -> tuple[float, dict[str, float]]:
    """Different for almost all texts, so that a random model has something to learn."""
    assert reference.startswith("API-Request: [")
    assert [tool.name for tool in tools] == ["AddReminder", "GetWeather"]
    vowels = sum(letter in "aeiou" for letter in prediction)
    return vowels / 4 - len(prediction) / 40, {"vowels": vowels / 4}


def words(prediction: str, reference: str, tools: Sequence[Tool]) -> str:
    """No number."""
    return prediction


def vowels(prediction: str, reference: str, tools: Sequence[Tool]) -> float:
    """As `length`, for any tools."""
    return sum(letter in "aeiou" for letter in prediction) / 4 - len(prediction) / 40


def same(prediction: str, reference: str, tools: Sequence[Tool]) -> float:
    """The same for all texts."""
    return 1.0
