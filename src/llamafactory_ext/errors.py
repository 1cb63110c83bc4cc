"""The one exception family: every error a user can cause, with a message that says what to do next."""

import re
from collections.abc import Sequence
from typing import Any

_LONG_WORD = re.compile(r"\S{301,}")
_LONGEST_LINE = 1200
# Half characters, which no stream can write, and what steers a terminal.
_UNWRITABLE = re.compile(r"[\ud800-\udfff\x00-\x08\x0b-\x1f\x7f-\x9f]")


def brief(text: str) -> str:
    """Return a message that can be printed, without endless words and lines, whatever data it quotes."""
    text = printable(text)
    if len(text) <= 300:
        return text
    text = _LONG_WORD.sub(lambda word: _without_middle(word[0], 150, 80), text)
    return "\n".join(
        line if len(line) <= _LONGEST_LINE else _without_middle(line, 800, 300) for line in text.split("\n")
    )


def printable(text: str) -> str:
    """Return a text that steers no terminal, whatever it quotes: such characters stand there by their codes."""
    return _UNWRITABLE.sub(lambda letter: ascii(letter[0])[1:-1], text)


def _without_middle(text: str, first: int, last: int) -> str:
    return f"{text[:first]} [... {len(text) - first - last} characters ...] {text[-last:]}"


class ExtError(Exception):
    """Base of all errors this package raises on purpose; its text is all the user sees.

    Endless words and lines lose their middle: what a message begins with, and its advice at the end, stay.
    """

    def __init__(self, *args: Any) -> None:
        super().__init__(*(brief(arg) if isinstance(arg, str) else arg for arg in args))

    @property
    def message(self) -> str:
        """The text for the user, without a traceback."""
        return str(self.args[0]) if self.args else type(self).__name__


class OptionError(ExtError):
    """Options that cannot work together or have impossible values."""

    @classmethod
    def listing(cls, heading: str, problems: Sequence[str]) -> "OptionError":
        """Make one error that names every problem at once, so that the user fixes all of them in one go."""
        return cls("\n".join([heading, *(f"  - {problem}" for problem in problems)]))


class DataError(ExtError):
    """A missing or malformed data file, or data that lacks what the method needs."""


class CheckpointError(ExtError):
    """A checkpoint that is missing, damaged, or belongs to another model or method."""


class ProcessError(ExtError):
    """Another process of a run on several processes has ended, or does not answer any more."""


class InterruptedRun(KeyboardInterrupt):
    """A run that Ctrl-C or SIGTERM has ended.

    Attributes:
        number: of the signal.
        message: what is kept and how to go on.
    """

    def __init__(self, number: int, message: str = "") -> None:
        super().__init__(message)
        self.number, self.message = number, message


class UpstreamError(ExtError):
    """LLaMA-Factory is absent, of an unsupported version, or changed where we plug in."""


class CallParseError(ExtError):
    """A text in which tool calls were looked for and a malformed one was found."""


class NoCallError(CallParseError):
    """A text that holds no tool call of the format at all, as final answers do."""
