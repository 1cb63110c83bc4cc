"""Ask a teacher for rationales and knowledge (SKIntern, arXiv:2409.13183, section 3.1).

The prompts are ours. A rationale is kept only if it ends in the answer. Knowledge has two parts, the summary of the
steps and what they rest on; a reply without them is asked for once more.
"""

from __future__ import annotations

import re
from collections import defaultdict
from collections.abc import Callable, Mapping, Sequence
from dataclasses import dataclass, field
from itertools import pairwise
from typing import Any, Final

from ..data.entries import DataEntry
from ..data.public.reasoning import CUE
from ..data.shape import columns_of
from ..errors import DataError, OptionError
from ..foreign import Asking
from ..metrics.benchmarks.cued_answers import behind_cue
from ..metrics.benchmarks.reasoning import gold_of
from .records import KNOWLEDGE, RATIONALE, Record
from .similarity import cosine, vectors

RATIONALES_A_RECORD: Final = 2  # the paper's
_PLACES: Final = 3
_HEADING: Final = re.compile(r"^[ \t#*_]*(summary|supplement)[ \t#*_]*(?::[ \t#*_]*|$)", re.IGNORECASE | re.MULTILINE)

_RATIONALE_PROMPT: Final = """Explain how to reach the answer of this task, step by step, in a few short sentences.
Use what the task says, and do not mention that you were told the answer.
End with one line: {cue} {answer}

Task:
{question}

Its answer: {answer}"""

_KNOWLEDGE_PROMPT: Final = """Write down what a student must know to solve tasks like the one below. Two sections:

Summary
Numbered general steps that solve any task of this kind, without the names and numbers of this one.

Supplement
Facts and notions that the steps rest on, one to a line.

An example, for a task that asks which of two dates is later:

Summary
1. Write both dates as year, month, day.
2. Compare the years; if they are equal the months, then the days.
3. Say the date whose first different part is larger.

Supplement
- A year has twelve months.
- Dates may be written with the month or with the day in front.

Task:
{question}

A solution:
{rationale}

Its answer: {answer}"""


@dataclass
class Tally:
    """What became of the questions of one task.

    Attributes:
        asked: rationales that were asked for.
        kept: those that end in the answer.
        no_cue: those that do not say which part is the answer.
        unread: replies about knowledge that have not both parts, even asked again.
    """

    asked: int = 0
    kept: int = 0
    no_cue: int = 0
    unread: int = 0


@dataclass
class Collected:
    """Records with rationales and knowledge, and what was dropped.

    Attributes:
        records: in the layout of the entry, one for each rationale that was kept.
        tallies: by task.
        without_rationale: places of the records that have none, which are left out.
        without_knowledge: places of the records whose knowledge could not be read; they stay, without it.
    """

    records: list[dict[str, Any]] = field(default_factory=list)
    tallies: dict[str, Tally] = field(default_factory=lambda: defaultdict(Tally))
    without_rationale: list[str] = field(default_factory=list)
    without_knowledge: list[str] = field(default_factory=list)

    def lines(self) -> list[str]:
        """Return what became of the questions, in words."""
        lines = [
            f"{task or 'all'}: {tally.kept:,} of {tally.asked:,} rationales end in the answer"
            + (f", {tally.no_cue:,} do not say which part is the answer" if tally.no_cue else "")
            + (f", {tally.unread:,} replies about knowledge lack a part" if tally.unread else "")
            for task, tally in sorted(self.tallies.items())
        ]
        for places, what in (
            (self.without_rationale, "have no rationale and are left out"),
            (self.without_knowledge, "have no knowledge"),
        ):
            if places:
                lines.append(f"{len(places):,} records {what}, such as {', '.join(places[:_PLACES])}.")
        return lines

    def to_json(self) -> dict[str, Any]:
        """Return counts and places."""
        return {
            "records": len(self.records),
            "tasks": {task: vars(tally) for task, tally in sorted(self.tallies.items())},
            "without_rationale": self.without_rationale,
            "without_knowledge": self.without_knowledge,
        }


def check_asking(rationales: int, candidates: int, concurrency: int, temperature: float, max_tokens: int) -> None:
    """Check how the teacher is to be asked.

    Raises:
        OptionError: numbers that cannot be, all of them at once.
    """
    counts = {"rationales": rationales, "candidates": candidates, "concurrency": concurrency, "max_tokens": max_tokens}
    problems = [
        f"--{name}={count!r}: give a whole number from 1"
        for name, count in counts.items()
        if isinstance(count, bool) or not isinstance(count, int) or count < 1
    ]
    if isinstance(temperature, bool) or not isinstance(temperature, int | float) or not 0 <= temperature <= 2:
        problems.append(f"--temperature={temperature!r}: give a number from 0 to 2")
    if problems:
        raise OptionError.listing("The teacher cannot be asked:", problems)


Ask = Callable[[str, int], str]
"""Returns the teacher's reply to a prompt; the number tells repeated questions apart."""


def collect(
    entry: DataEntry,
    records: Sequence[Record],
    ask: Ask,
    *,
    rationales: int = RATIONALES_A_RECORD,
    candidates: int = 1,
    concurrency: int = 8,
) -> Collected:
    """Ask for everything, several records at a time; the result does not depend on how many.

    Args:
        entry: of the records.
        records: each with question and answer.
        ask: the teacher.
        rationales: l, of each record.
        candidates: m, knowledge of which the most similar to the question stays.
        concurrency: records at a time.

    Raises:
        OptionError: the teacher cannot be asked.
        DataError: no rationale ends in the answer.
    """
    found = Collected()
    with Asking(concurrency) as pool:
        running = [pool.submit(_taught, record, ask, rationales, candidates) for record in records]
        for record, future in zip(records, running, strict=True):
            _add(found, entry, record, future.result())
    if not found.records:
        raise DataError(
            f"{entry.path}: no rationale of the teacher ends in its record's answer ({'; '.join(found.lines())}). "
            "Nothing was written beside the log of replies; try another model, or correct the answers."
        )
    return found


@dataclass(frozen=True)
class _Taught:
    asked: int
    kept: tuple[tuple[str, dict[str, str]], ...]
    no_cue: int
    unread: int


def _taught(record: Record, ask: Ask, rationales: int, candidates: int) -> _Taught:
    prompt = _RATIONALE_PROMPT.format(cue=CUE, question=record.question, answer=record.answer.strip())
    replies = [ask(prompt, attempt).strip() for attempt in range(rationales)]
    kept, unread = [], 0
    for rationale in dict.fromkeys(reply for reply in replies if ends_in(reply, record)):
        knowledge, failed = _knowledge(record, rationale, ask, candidates)
        unread += failed
        kept.append((rationale, knowledge))
    return _Taught(len(replies), tuple(kept), sum(behind_cue(reply) is None for reply in replies), unread)


def ends_in(rationale: str, record: Record) -> bool:
    """Tell whether a rationale names the record's answer behind its last cue."""
    said, gold = behind_cue(rationale), gold_of(record.answer, record.question)
    return said is not None and gold.answer is not None and gold.read(said) == gold.answer


def read_knowledge(reply: str) -> dict[str, str] | None:
    """Return both parts of a reply by name; None where one is missing or empty."""
    parts: dict[str, str] = {}
    for mark, after in pairwise([*_HEADING.finditer(reply), None]):
        assert mark is not None
        parts[mark[1].lower()] = reply[mark.end() : after.start() if after else len(reply)].strip()
    whole = all(parts.get(name) for name in ("summary", "supplement"))
    return {name: parts[name] for name in ("summary", "supplement")} if whole else None


def _knowledge(record: Record, rationale: str, ask: Ask, candidates: int) -> tuple[dict[str, str], int]:
    """Return the candidate that is most similar to the question, and how many could not be read."""
    prompt = _KNOWLEDGE_PROMPT.format(question=record.question, rationale=rationale, answer=record.answer.strip())
    read = []
    for candidate in range(candidates):
        for again in range(2):
            if (knowledge := read_knowledge(ask(prompt, 2 * candidate + again))) is not None:
                read.append(knowledge)
                break
    if not read:
        return {}, candidates
    question, *others = vectors([record.question, *("\n".join(one.values()) for one in read)])
    nearest = max(range(len(read)), key=lambda index: (cosine(question, others[index]), -index))
    return read[nearest], candidates - len(read)


def _add(found: Collected, entry: DataEntry, record: Record, taught: _Taught) -> None:
    tally = found.tallies[record.task]
    tally.asked += taught.asked
    tally.kept += len(taught.kept)
    tally.no_cue += taught.no_cue
    tally.unread += taught.unread
    if not taught.kept:
        found.without_rationale.append(record.place)
    columns = collected_columns(entry)
    for number, (rationale, knowledge) in enumerate(taught.kept, 1):
        if not knowledge:
            found.without_knowledge.append(record.place)
        own = {columns["id"]: f"{record.id}.{number}", columns[RATIONALE]: rationale, columns[KNOWLEDGE]: knowledge}
        found.records.append({**record.raw, **own})


def collected_columns(entry: DataEntry) -> dict[str, str]:
    """Return the columns of what was collected: the entry's own, and those that a teacher fills."""
    return {**{name: name for name in ("id", RATIONALE, KNOWLEDGE)}, **columns_of(entry.entry)}


def collected_info(entry: DataEntry, name: str, file_name: str) -> dict[str, Mapping[str, Any]]:
    """Return a dataset_info.json of what was collected."""
    kept = {key: value for key, value in entry.entry.items() if key not in ("file_name", "file_sha1")}
    return {name: {**kept, "file_name": file_name, "columns": collected_columns(entry)}}
