"""What an environment is: reset with a record, then asked once per turn of the policy. docs/rl.md is its page."""

from __future__ import annotations

from collections.abc import Mapping, Sequence
from dataclasses import dataclass, field
from typing import Any, Final, Protocol

from ...toolcalls import ToolCall

ANSWER, TURNS, TOKENS = "answer", "turns", "tokens"
ENDS: Final = (ANSWER, TURNS, TOKENS)
LARGEST: Final = 1e9  # a reward: sums and squares of it stay numbers in float32


@dataclass(frozen=True)
class Action:
    """One turn of the policy.

    Attributes:
        text: all of it, without what ends it.
        calls: those that stand in the text, in its order; none in an answer and in a text that a limit cut.
        problem: why calls in the text cannot be read; "" where they can.
        end: "" where the episode may go on; "answer" where the turn calls nothing; "turns" and "tokens" where a limit
            ends the episode. After any of the last three this is the last step.
    """

    text: str
    calls: tuple[ToolCall, ...] = ()
    problem: str = ""
    end: str = ""


@dataclass(frozen=True)
class Step:
    """What an environment gives back; a mapping with these names will do, too.

    Attributes:
        observation: what the policy reads next, one text, or one for each call; unused in the last step.
        done: whether the episode is over.
        reward: of this step, from -`LARGEST` to `LARGEST`; those of an episode are added up.
        checks: what was achieved, by name, from 0 (or False) to 1 (or True); the last ones stated count.
    """

    observation: str | Sequence[str] = ""
    done: bool = False
    reward: float = 0.0
    checks: Mapping[str, float] = field(default_factory=dict)


class Environment(Protocol):
    """The world of one episode. `tl_environment` names a function that returns a new one."""

    def reset(self, record: Mapping[str, Any]) -> None:
        """Begin an episode.

        Args:
            record: of the data set, as its file has it: its `id` and all other columns.

        Raises:
            LookupError: the environment knows no such record.
        """

    def step(self, action: Action) -> Step | Mapping[str, Any]:
        """Answer one turn of the policy."""
