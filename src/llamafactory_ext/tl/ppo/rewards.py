"""What a response is worth, with its parts: TL-Training's reward, or a user's own function.

A user's function is `function(prediction, reference, tools)`: the response and the right answer as texts, the declared
tools as a list of `toolcalls.Tool`. It returns a number, or a number and a mapping of parts by name.
"""

from __future__ import annotations

from collections.abc import Mapping, Sequence
from dataclasses import dataclass
from typing import Any, Protocol

from ...errors import DataError, OptionError
from ...options.user_functions import load_function
from ...toolcalls import Tool
from ..environments.protocol import LARGEST
from ..reward import REWARDS, Reward, reward_parts


class RewardFunction(Protocol):
    """What a response is worth."""

    def __call__(
        self, prediction: str, reference: str, tools: Sequence[Tool], call_format: str | None = None
    ) -> Reward:
        """Score a response against the right answer; `call_format` is how the template writes calls, if known."""


@dataclass(frozen=True)
class Query:
    """One prompt of PPO with its right answer.

    Attributes:
        ids: the prompt's tokens.
        reference: the right answer, as the model should write it.
        tools: what the prompt declares.
        place: where it stands in the data, for messages.
        call_format: how its template writes calls; None where the data writes them itself.
    """

    ids: tuple[int, ...]
    reference: str
    tools: tuple[Tool, ...]
    place: str
    call_format: str | None = None


def tool_reward(variant: str, named: str | None) -> RewardFunction:
    """Return TL-Training's reward (arXiv:2412.15495, section 3.3).

    `named` is the call format that the user names, if any.
    """

    def of(prediction: str, reference: str, tools: Sequence[Tool], call_format: str | None = None) -> Reward:
        return reward_parts(prediction, reference, tools, variant, call_format=named or call_format)

    return of


def user_reward(name: str) -> RewardFunction:
    """Return the reward that `module:function` names; the module is also looked for in the working directory.

    Raises:
        OptionError: there is no such function.
    """
    found = load_function("tl_reward_function", name)

    def of(prediction: str, reference: str, tools: Sequence[Tool], call_format: str | None = None) -> Reward:
        try:
            value = found(prediction, reference, list(tools))
        except Exception as error:  # the user's own code
            raise OptionError(
                f"tl_reward_function={name} ended with {type(error).__name__}: {' '.join(str(error).split())[:200]}; "
                "it is called as f(prediction, reference, tools)."
            ) from error
        return _as_reward(value, name)

    return of


def _as_reward(value: Any, name: str) -> Reward:
    total, parts = value if isinstance(value, tuple) and len(value) == 2 else (value, {})
    try:
        total, parts = float(total), {str(key): float(part) for key, part in Mapping.items(parts)}
    except (TypeError, ValueError, OverflowError):
        raise OptionError(
            f"tl_reward_function={name} returned {str(value)[:60]!a}; return a number, or a number and a mapping of "
            "parts to numbers."
        ) from None
    if not abs(total) <= LARGEST:
        raise OptionError(
            f"tl_reward_function={name} returned {total:g}; return a finite number, of at most {LARGEST:g} either way."
        )
    return Reward(total, parts)


def fault_of(query: Query, reward: RewardFunction) -> str | None:
    """Say why this query cannot be used, in words that are the same for all of its kind; None if it can.

    The right answer is scored against itself: what is not worth the most then can never be learned.
    """
    if not query.ids:
        return "the prompt is empty"
    if not query.tools:
        return "no tool is declared, in the tools column or as JSON in the prompt"
    try:
        found = reward(query.reference, query.reference, query.tools, query.call_format)
    except DataError as error:
        return str(error.message).split(" cannot be read as")[0] + _detail(error.message)
    if "unparsable" in found.parts:
        return "the reference answer cannot be read by this reward"
    return None


def _detail(message: str) -> str:
    return " cannot be read as a call" if " cannot be read as" in message else ""


def shares(rewards: Sequence[Reward]) -> dict[str, float]:
    """Return share of responses per category, by name; all of TL-Training's, and what else occurs."""
    names = list(dict.fromkeys([*REWARDS, *(name for reward in rewards for name in reward.parts)]))
    return {name: sum(name in reward.parts for reward in rewards) / max(len(rewards), 1) for name in names}
