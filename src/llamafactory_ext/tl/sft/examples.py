"""What `tl_sft` makes of one example before it is tokenised: its calls, which of them are errors, what is wrong.

Turns have LLaMA-Factory's roles: user, assistant, observation, function (a call).
"""

from __future__ import annotations

from collections.abc import Collection, Mapping, Sequence
from dataclasses import asdict, dataclass, field
from typing import Any

from ...errors import CallParseError
from ...templates.messages import results
from ...toolcalls import Tool, ToolCall, described_tools, detect_turn
from ...toolcalls.readings import Reader
from ...training.weighing import NOT_RENDERED, UNREADABLE, Judged
from ..feedback import judge_calls
from ..stages import SFT_STAGE
from ..user_feedback import judge_hash

AUTO = "auto"
NO_FEEDBACK = "no call has feedback"
NOT_PARSED = "a call does not parse"
NO_TOOLS = "calls without declared tools"
ADVICE = {
    NO_FEEDBACK: "without feedback no call can be judged; set tl_use_mae: false to train on all of them",
    NOT_PARSED: "write JSON with name and arguments into function_call turns, or set tl_call_format",
    NO_TOOLS: "fill the column that the data set's entry names as tools, or describe them as JSON in the prompt",
    NOT_RENDERED: "mend them, or use another template",
    UNREADABLE: "mend them; `llamafactory-ext data check` tells all faults of a file",
}


@dataclass(frozen=True)
class Settings:
    """The options that decide what an example trains; the names are those of the YAML without `tl_`.

    Attributes:
        feedback_code: a hash of the module that holds `feedback_function`; data that was judged by other code is made
            anew. It is no option.
    """

    use_mae: bool = True
    feedback_rules: str = "structured"
    feedback_function: str | None = None
    use_pkt: bool = True
    w_max: float = 9.0
    key_variant: str = "paper"
    call_format: str = AUTO
    feedback_code: str | None = field(default=None, init=False)

    def __post_init__(self) -> None:
        """Find the user's function.

        Raises:
            OptionError: there is none of this name.
        """
        if self.use_mae and self.feedback_function is not None:
            object.__setattr__(self, "feedback_code", judge_hash(self.feedback_function))

    @property
    def weighs_tokens(self) -> bool:
        """Whether key tokens are weighed."""
        return self.use_pkt

    def judge(
        self, turns: Sequence[Mapping[str, str]], declared: Collection[Tool] | None, system: str, read: Reader
    ) -> Judged:
        """Find the calls of an example and judge them by their feedback."""
        return judge_example(turns, declared, self, system, read)

    def weights(
        self,
        text: str,
        offsets: Sequence[tuple[int, int]],
        calls: Sequence[ToolCall],
        judged: Judged,
        call_format: str | None,
        read: Reader,
    ) -> list[float]:
        """Return the weight of each token of a target (TL-Training, arXiv:2412.15495, section 3.2)."""
        from .tokens import target_weights

        return target_weights(
            text, offsets, calls, judged.names, self, tools=judged.tools, call_format=call_format, read=read
        )

    def given(self) -> dict[str, Any]:
        """Return the settings by the names of the options."""
        return {f"tl_{name}": value for name, value in asdict(self).items()}

    def refusal(self, problem: str) -> str:
        """Say that an example cannot be used, and what to do about it."""
        return f"{SFT_STAGE} cannot use it: {problem}; {ADVICE[problem]}"

    @property
    def known_format(self) -> str | None:
        """The call format that the user names; None for any."""
        return None if self.call_format == AUTO else self.call_format


def judge_example(
    turns: Sequence[Mapping[str, str]],
    declared: Collection[Tool] | None,
    settings: Settings,
    system: str = "",
    read: Reader = detect_turn,
) -> Judged:
    """Find the calls of an example and judge them by their feedback (TL-Training, arXiv:2412.15495, section 3.1).

    Args:
        turns: with "role" and "content".
        declared: the tools in the example's own column; None if they cannot be read. Where there are none, those count
            that stand as JSON in the user's turns or the system prompt.
        settings: which rules hold.
        system: the system prompt.
        read: reads the turns.
    """
    if declared is not None and not declared:
        said = (turn["content"] for turn in turns if turn["role"] == "user")
        declared = described_tools((system, *said))
    tools = tuple(declared or ())
    calls: dict[int, tuple[ToolCall, ...]] = {}
    for place, turn in enumerate(turns):
        answered = place + 1 < len(turns) and turns[place + 1]["role"] == "observation"
        try:
            found = _calls_of(turn, answered, tools, settings, read)
        except CallParseError:
            return Judged(problem=NOT_PARSED)
        if found:
            calls[place] = found
    if not calls:
        return Judged()
    if not tools:
        return Judged(calls, problem=NO_TOOLS)
    known = frozenset(tool.name for tool in tools)
    names = known.union(call.name for found in calls.values() for call in found)
    if not settings.use_mae:
        return Judged(calls, names=names, tools=tools)
    if not any(place + 1 < len(turns) and turns[place + 1]["role"] == "observation" for place in calls):
        return Judged(calls, names=names, tools=tools, problem=NO_FEEDBACK)
    return Judged(calls, _errors(turns, calls, known, settings), names, tools)


def _calls_of(
    turn: Mapping[str, str], answered: bool, tools: Sequence[Tool], settings: Settings, read: Reader
) -> tuple[ToolCall, ...]:
    """Return the calls of one turn; none for an answer.

    Raises:
        CallParseError: a turn that should hold calls holds none that parse.
    """
    role, text = turn["role"], turn["content"]
    if role not in ("assistant", "function"):
        return ()
    must = role == "function" or answered
    try:
        found = read(text, tools, settings.known_format)
    except CallParseError:
        if must:
            raise
        return ()  # an answer that speaks of calls; `data check` tells of those that do not parse
    if not found.calls and role == "function":  # upstream's own way to state calls is read whatever the format
        found = read(text, tools, None)
    if not found.calls and must:
        raise CallParseError("There is no call of any known format in the text.")
    # What merely looks like a call, such as code in an answer, names no tool of the example.
    if not must and not (found.knows({tool.name for tool in tools}) and found.stands_alone(text)):
        return ()
    return tuple(one.call for one in found.calls)


def _errors(
    turns: Sequence[Mapping[str, str]],
    calls: Mapping[int, Sequence[ToolCall]],
    declared: Collection[str],
    settings: Settings,
) -> dict[int, str]:
    """Return the category of each erroneous turn, by its index in `turns`."""
    messages: list[dict[str, str]] = []
    place_of: dict[int, int] = {}
    for place, turn in enumerate(turns):
        if place in calls:
            place_of[len(messages)] = place
            messages.append({"role": "function_call", "content": turn["content"]})
        elif turn["role"] == "observation":
            messages += [{"role": "observation", "content": text} for text in results(turn["content"])]
        else:
            messages.append({"role": turn["role"], "content": turn["content"]})
    judged = judge_calls(
        messages,
        settings.feedback_rules,
        declared=declared,
        function=settings.feedback_function,
        found={index: calls[place] for index, place in place_of.items()},
    )
    return {place_of[index]: category for index, category in judged if category is not None and index in place_of}
