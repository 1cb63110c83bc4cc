"""HumanEval (arXiv:2107.03374): pass@1 of one answer per problem, executed in the sandbox.

`official` continues the prompt with the answer as it is; `strict` takes the code out of a chat answer: the first
fenced block, which may hold the whole function.
"""

from __future__ import annotations

import re
from collections.abc import Sequence

from ...errors import OptionError
from ..answers import Answered, Scored
from ..report import Mode, Verdict
from ..sandbox import Limits, run_program

_BLOCK = re.compile(r"```[a-zA-Z]*\n(.*?)(?:```|\Z)", re.DOTALL)
_LIMITS = Limits(seconds=15)


def score(answered: Sequence[Answered], mode: Mode, execute: bool) -> Scored:
    """Runs every answer against the problem's tests.

    Raises:
        OptionError: without `execute`, or where nothing can be isolated.
    """
    if not execute:
        raise OptionError(
            "humaneval executes what the model wrote: in a sandbox (no network, no files, limits), and only if you "
            "say so. Add --execute."
        )
    verdicts = tuple(_verdict(one, mode) for one in answered)
    return Scored(verdicts, (f"pass@1 of one answer per problem; at most {_LIMITS.seconds} s each.",))


def _verdict(one: Answered, mode: Mode) -> Verdict:
    outcome = run_program(program(one, mode), limits=_LIMITS)
    passed = outcome.status == "finished"
    detail = "" if passed else outcome.error.strip()[-300:]
    return Verdict(one.item.id, {"HE": float(passed)}, "passed" if passed else outcome.status, True, detail)


def program(one: Answered, mode: Mode) -> str:
    """The program that passes or fails."""
    record, text = one.item.record, one.prediction.prediction
    start = record["prompt"]
    block = _BLOCK.search(text) if mode == "strict" else None
    if block is not None:
        text = block[1]
        if re.search(rf"^def\s+{re.escape(record['entry_point'])}\b", text, re.MULTILINE):
            # The prompt's imports and helpers stay; its unfinished function is replaced.
            start = record["prompt"][: record["prompt"].rindex(f"def {record['entry_point']}")]
    return f"{start}{text}\n{record['test']}\ncheck({record['entry_point']})\n"
