"""The one exception family: every error a user can cause, with a message that says what to do next."""

from collections.abc import Sequence


class ExtError(Exception):
    """Base of all errors this package raises on purpose; its text is all the user sees."""

    @property
    def message(self) -> str:
        """The text for the user, without a traceback."""
        return str(self.args[0]) if self.args else type(self).__name__


class OptionError(ExtError):
    """Options that cannot work together or have impossible values."""

    @classmethod
    def listing(cls, heading: str, problems: Sequence[str]) -> "OptionError":
        """One error that names every problem at once, so that the user fixes all of them in one go."""
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
