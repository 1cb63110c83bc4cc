"""What a method that weighs tokens says of an example, and what the pipeline asks it."""

from __future__ import annotations

from collections.abc import Collection, Mapping, Sequence
from dataclasses import dataclass, field
from typing import Any, Final, Protocol

from ..toolcalls import Tool, ToolCall
from ..toolcalls.readings import Reader

NOT_RENDERED: Final = "the template cannot write it"
UNREADABLE: Final = "the record cannot be read"


@dataclass(frozen=True)
class Judged:
    """An example's calls.

    Attributes:
        calls: the calls of each turn that has any, by the turn's index.
        errors: the category of each of those turns that its feedback reports as an error, by index.
        names: every tool of the example.
        tools: those that are declared.
        problem: why the example cannot be used; None if it can.
    """

    calls: Mapping[int, tuple[ToolCall, ...]] = field(default_factory=dict)
    errors: Mapping[int, str] = field(default_factory=dict)
    names: frozenset[str] = frozenset()
    tools: tuple[Tool, ...] = ()
    problem: str | None = None


class Weigher(Protocol):
    """The settings by which a method leaves turns out of the loss and weighs tokens; they can be pickled."""

    @property
    def weighs_tokens(self) -> bool:
        """Whether tokens have weights other than 0 and 1."""

    def judge(
        self, turns: Sequence[Mapping[str, str]], declared: Collection[Tool] | None, system: str, read: Reader
    ) -> Judged:
        """Find the calls of an example, and which of them leave the loss.

        Args:
            turns: with "role" and "content".
            declared: the tools in the example's own column; None if they cannot be read.
            system: the system prompt.
            read: reads the turns.
        """

    def weights(
        self,
        text: str,
        offsets: Sequence[tuple[int, int]],
        calls: Sequence[ToolCall],
        judged: Judged,
        call_format: str | None,
        read: Reader,
    ) -> list[float]:
        """Return the weight of each token of a target.

        Args:
            text: the target as the template wrote it.
            offsets: each token's characters in it.
            calls: those of the record.
            judged: the example.
            call_format: how the template writes calls, where that is known.
            read: reads the text.
        """

    def given(self) -> dict[str, Any]:
        """Return what the outcome depends on, by the names of the options."""

    def refusal(self, problem: str) -> str:
        """Say that an example cannot be used, and what to do about it."""
