"""HumanEval (arXiv:2107.03374): pass@1 of one answer per problem, executed in the sandbox.

`official` continues the prompt with the answer as it is; `strict` takes the code out of a chat answer, without its
thoughts (see `chat_code`).
"""

from __future__ import annotations

from collections.abc import Sequence

from ...errors import OptionError
from ..answers import Answered, Scored
from ..report import Mode, Verdict
from ..sandbox import Limits, run_program
from .chat_code import complete

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
    """Return the program that passes or fails."""
    record, text = one.item.record, one.prediction.prediction
    name = record["entry_point"]
    solved = complete(text, record["prompt"], name) if mode == "strict" else f"{record['prompt']}{text}\n"
    return f"{solved}{record['test']}\ncheck({name})\n"
