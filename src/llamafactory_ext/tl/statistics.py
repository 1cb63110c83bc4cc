"""`data stats`: how many calls of a trajectory file are errors, and of which kind (TL-Training's Figure 1).

TL-Training (arXiv:2412.15495), section 2, counts the errors in RoTLLaMA's training data by the feedback of the tools:
17 % of its 12,247 trajectories hold some. Calls are found and judged here as `stage: tl_sft` finds and judges them.
"""

from __future__ import annotations

from collections import Counter
from dataclasses import dataclass, field
from pathlib import Path
from typing import Any

from llamafactory_ext.errors import DataError, OptionError
from llamafactory_ext.tl.sft.examples import NO_FEEDBACK, Settings, judge_example
from llamafactory_ext.tl.sft.findings import categories_of
from llamafactory_ext.toolcalls import Tool, read_tools
from llamafactory_ext.toolcalls.feedback.errors import RULES

from ..data.dialogues import CALL, GPT, HUMAN, OBSERVATION
from ..data.entries import DataEntry, Dialogue
from ..data.family import SHAREGPT, Example
from ..data.public import tl_training

ALL_RIGHT = "All Right"
_ROLES = {HUMAN: "user", GPT: "assistant", OBSERVATION: "observation", CALL: "function"}
_RAW = DataEntry.of("raw", SHAREGPT.entry("raw"), Path("raw"))


@dataclass
class Statistics:
    """Counts over one data set.

    Attributes:
        records: all of them.
        trajectories: those with at least one call that has feedback; `faulty` of them hold an error.
        function: the user's own, which judges in place of the rules.
        calls: turns with calls that have feedback, by category; several calls of one turn count once.
        holding: trajectories that hold a call of the category.
        unanswered: turns with calls that no feedback follows; they are in no category.
        left_out: records that could not be read as trajectories, by reason.
        lost: what of the records is not kept, and how often.
    """

    name: str
    rules: str
    function: str | None = None
    records: int = 0
    trajectories: int = 0
    faulty: int = 0
    unanswered: int = 0
    calls: Counter[str] = field(default_factory=Counter)
    holding: Counter[str] = field(default_factory=Counter)
    left_out: Counter[str] = field(default_factory=Counter)
    lost: Counter[str] = field(default_factory=Counter)

    def categories(self) -> list[str]:
        """Return them in the paper's order; `UNCATEGORISED` takes the place of the kinds under the released rules.

        A user's function has those that it gave.
        """
        return [ALL_RIGHT, *categories_of(self.rules, self.function, self.calls.keys() - {ALL_RIGHT})]

    def share(self, category: str) -> float | None:
        """Return the share of all judged calls; None without any."""
        return self.calls[category] / self.calls.total() if self.calls else None

    def summary(self) -> dict[str, Any]:
        """Return it as JSON."""
        kinds = {
            category: {
                "calls": self.calls[category],
                "share_of_calls": self.share(category),
                "trajectories": self.holding[category],
            }
            for category in self.categories()
        }
        counts = {name: value for name, value in vars(self).items() if not isinstance(value, Counter)}
        total = {
            "calls": self.calls.total(),
            "faulty_share": self.faulty / self.trajectories if self.trajectories else None,
        }
        return {**counts, **total, "categories": kinds, "left_out": dict(self.left_out), "lost": dict(self.lost)}


def error_statistics(entry: DataEntry, rules: str = "structured", function: str | None = None) -> Statistics:
    """Count the calls of a file by the category of their feedback, one record at a time.

    Args:
        entry: a data set with calls and feedback, or TL-Training's raw_data.json itself.
        rules: as in `tl.feedback.feedback_error`.
        function: a user's own as `module:function`, which judges in place of the rules.

    Raises:
        OptionError: no such rules, or no such function.
        DataError: a missing or malformed file.
    """
    if rules not in RULES:
        raise OptionError(f'--rules is "{rules}"; give {" or ".join(RULES)}')
    result = Statistics(entry.name, rules, function)
    settings = Settings(feedback_rules=rules, feedback_function=function)
    for _, record in entry.records():
        result.records += 1
        dialogue = _trajectory(entry, record)
        if not isinstance(dialogue, str):
            result.lost.update(what for _, what in dialogue.lost)
        problem = dialogue if isinstance(dialogue, str) else _count(dialogue, settings, result)
        if problem is not None:
            result.left_out[problem] += 1
    return result


def _trajectory(entry: DataEntry, record: Any) -> Dialogue | str:
    raw = tl_training.FAMILY.read(record)
    return _RAW.dialogue(raw.columns) if isinstance(raw, Example) else entry.dialogue(record)


def _declared(column: str) -> tuple[Tool, ...] | None:
    try:
        return read_tools(column)
    except DataError:
        return None


def _count(dialogue: Dialogue, settings: Settings, result: Statistics) -> str | None:
    """Add one trajectory; why it cannot be judged, in words, if it cannot."""
    turns = [{"role": _ROLES.get(role, role), "content": text} for role, text in dialogue.turns]
    judged = judge_example(turns, _declared(dialogue.tools), settings, dialogue.system)
    if judged.problem not in (None, NO_FEEDBACK):
        return judged.problem
    answered = [
        place for place in judged.calls if place + 1 < len(turns) and turns[place + 1]["role"] == "observation"
    ]
    result.unanswered += len(judged.calls) - len(answered)
    if not answered:
        return "no calls" if not judged.calls else NO_FEEDBACK
    kinds = [judged.errors.get(place, ALL_RIGHT) for place in answered]
    result.trajectories += 1
    result.faulty += bool(set(kinds) - {ALL_RIGHT})
    result.calls.update(kinds)
    result.holding.update(set(kinds))
    return None
