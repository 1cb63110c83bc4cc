"""The calls of a text whose call format is not known."""

from __future__ import annotations

from ..errors import CallParseError, NoCallError
from .calls import parse_calls
from .model import ToolCall

# Formats with marks of their own first: a text of theirs may look like one of the plainer formats too.
_FORMATS = ("qwen", "mistral", "react", "nexusraven", "json", "api_bank", "python", "glm4")


def find_any_calls(text: str) -> list[ToolCall]:
    """The calls of a text in whichever call format it is written; the first format that finds one counts.

    Raises:
        CallParseError: malformed in the format that came nearest; NoCallError if no format finds a call.
    """
    first_fault: CallParseError | None = None
    for name in _FORMATS:
        try:
            return parse_calls(text, name)
        except NoCallError:
            continue
        except CallParseError as error:
            first_fault = first_fault or error
    raise first_fault or NoCallError("there is no call in any known format")
