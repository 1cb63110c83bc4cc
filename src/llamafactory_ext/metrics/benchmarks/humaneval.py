"""HumanEval (arXiv:2107.03374): pass@1 of one answer per problem, executed in the sandbox.

`official` continues the prompt with the answer as it is; `strict` takes the code out of a chat answer, without its
thoughts (see `chat_code`). The published evaluator runs answer and tests in one process, where an answer can make any
test pass. Here the tests run in another, and the function's values come over as plain ones.
"""

from __future__ import annotations

from collections.abc import Sequence
from pathlib import Path

from ...errors import OptionError
from ..answers import Answered, Context, Scored
from ..kept import KeptVerdicts
from ..report import Mode, Verdict
from ..sandbox import Limits, run_tests
from .chat_code import complete

_LIMITS = Limits(seconds=15)


def score(answered: Sequence[Answered], mode: Mode, execute: bool, kept: KeptVerdicts | None = None) -> Scored:
    """Run every answer against the problem's tests.

    Args:
        answered: items with predictions.
        mode: "official" or "strict".
        execute: the user's leave to run them.
        kept: takes each verdict as it falls, and knows those of an interrupted run.

    Raises:
        OptionError: without `execute`, or where nothing can be isolated.
    """
    if not execute:
        raise OptionError(
            "humaneval executes what the model wrote: in a sandbox (no network, no files, limits), and only if you "
            "say so. Add --execute."
        )
    verdicts = []
    for one in answered:
        verdict = kept.get(one.item.id) if kept else None
        if verdict is None:
            verdict = _verdict(one, mode)
            if kept:
                kept.add(verdict)
        verdicts.append(verdict)
    return Scored(tuple(verdicts), (f"pass@1 of one answer per problem; at most {_LIMITS.seconds} s each.",))


def _verdict(one: Answered, mode: Mode) -> Verdict:
    record = one.item.record
    name = record["entry_point"]
    tests = f"{record['test']}\ncheck({name})\n"
    outcome = run_tests(solution(one, mode), tests, entry=name, context=record["prompt"], limits=_LIMITS)
    passed = outcome.status == "finished"
    detail = "" if passed else outcome.error.strip()[-300:]
    return Verdict(one.item.id, {"HE": float(passed)}, "passed" if passed else outcome.status, True, detail)


def solution(one: Answered, mode: Mode) -> str:
    """Return the program that defines the function."""
    record, text = one.item.record, one.prediction.prediction
    if mode == "strict":
        return complete(text, record["prompt"], record["entry_point"])
    return f"{record['prompt']}{text}\n"


def run(answered: Sequence[Answered], context: Context) -> Scored:
    """Score as the benchmark's row asks; with a file for them, verdicts are kept while it runs."""
    execute, kept = bool(context.options.get("execute")), context.options.get("kept")
    if kept is None or not execute:
        return score(answered, context.mode, execute)
    verdicts = KeptVerdicts(Path(kept), context.identity)
    scored = score(answered, context.mode, execute, verdicts)
    verdicts.discard()
    return scored
