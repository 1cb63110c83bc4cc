"""ToolAlpaca (arXiv:2306.05301, section 4): procedure (P), response (R) and both (O), as a judge sees them.

The judge gets the published prompt, which has to lie beside the test file, with documentation, instruction, gold calls
and the solution. A solution without any call is wrong and the judge is not asked. `official` reads verdicts by the
published patterns; `strict` also reads "[Yes]" and "**Yes**". Without a judge, and beside it, TL-Training's TS, PI and
CF compare the first call with the gold calls.
"""

from __future__ import annotations

import json
import re
from collections.abc import Mapping, Sequence
from pathlib import Path
from string import Template
from typing import Any

from ...errors import CallParseError, DataError
from ...toolcalls import ToolCall
from ...toolcalls.feedback.parts import content_text
from ..answers import Answered, Context, Scored, message_calls, predicted_calls
from ..judge import Judge
from ..report import Mode, Verdict
from .rotbench import FIGURES
from .written import written_calls

_PROMPT_FILES = ("Evaluation.txt", "prompt_Evaluation.txt", "../prompts/Evaluation.txt")
_PLACES = ("documentation", "instruction", "standard", "solution")
_WORDS = ("Yes", "No", "Uncertain")
_GAP = {"official": ": ", "strict": r"\W*"}
_FEEDBACK = ("tool", "function", "observation")


def score(answered: Sequence[Answered], mode: Mode, judge: Judge | None, folder: Path) -> Scored:
    """Score solutions.

    Args:
        answered: items with predictions.
        mode: how the judge's words are read.
        judge: None leaves P, R and O out.
        folder: where the test file lies.

    Raises:
        DataError: the published prompt is not there.
        OptionError: the judge cannot be reached.
    """
    notes = ["TS/PI/CF compare the first call with any gold call; gold arguments that are no JSON count for TS only."]
    if judge is None:
        notes.append("P, R and O need a judge: add --judge (its endpoint comes from the environment).")
        return Scored(tuple(_verdict(one, _level(one), {}, "", True, "") for one in answered), tuple(notes))
    template = _template(folder)
    verdicts = tuple(_judged(one, mode, judge, template) for one in answered)
    unparsed = sum(not verdict.parsed for verdict in verdicts)
    notes.append(f"Judged by {judge.options.model}; {unparsed} of its verdicts could not be read and count as wrong.")
    return Scored(verdicts, tuple(notes), judge.summary())


def _template(folder: Path) -> Template:
    for name in _PROMPT_FILES:
        path = folder / name
        if path.is_file():
            template = Template(path.read_text(encoding="utf-8"))
            if set(template.get_identifiers()) != set(_PLACES):
                raise DataError(f"{path} is not ToolAlpaca's prompt: it must name {', '.join(_PLACES)}; get it again.")
            return template
    raise DataError(f"{folder} lacks the judge's published prompt; put ToolAlpaca's prompts/Evaluation.txt there.")


def _judged(one: Answered, mode: Mode, judge: Judge, template: Template) -> Verdict:
    level = _level(one)
    steps = _steps(one)
    if not steps:
        return _verdict(one, level, {"P": False, "R": False}, "no step", True, "")
    record = one.item.record
    gold = "".join(
        f"{number}. Function: {step['Action']}\nParameters: {step['Action_Input']}\n"
        for number, step in enumerate(record["golden_answer"], start=1)
    )
    solution = "".join(
        f"{number}. Function: {name}\nParameters: {arguments}\nRetruns: {feedback}\n"  # sic
        for number, (name, arguments, feedback) in enumerate(steps, start=1)
    )
    solution += f"{len(steps) + 1}. Final Response: {one.prediction.prediction}"
    reply = judge.ask(
        template.substitute(
            documentation=record["api"]["NLDocumentation"],
            instruction=record["instruction"],
            standard=gold,
            solution=solution,
        )
    )
    found = read_verdict(reply, mode)
    if found is None:
        return _verdict(one, level, {"P": False, "R": False}, "unread verdict", False, reply[-200:])
    process, response = found
    return _verdict(one, level, {"P": process == "Yes", "R": response == "Yes"}, f"{process}, {response}", True, "")


def read_verdict(reply: str, mode: Mode) -> tuple[str, str] | None:
    """Return the judge's words on process and final response; None where one of them cannot be read."""
    results = reply.split("## Results", 1)[-1]
    words = []
    for name in ("Process Correctness", "Final Response Correctness"):
        found = re.search(rf"{name}{_GAP[mode]}(\w+)", results)
        word = found[1] if found else ""
        words.append(word.capitalize() if mode == "strict" else word)
    return (words[0], words[1]) if all(word in _WORDS for word in words) else None


def _verdict(
    one: Answered, level: int, judged: Mapping[str, bool], category: str, parsed: bool, detail: str
) -> Verdict:
    scores = {name: float(right) for name, right in judged.items()}
    if judged:
        scores["O"] = float(all(judged.values()))
    scores |= {name: float(level > place) for place, name in enumerate(FIGURES)}
    return Verdict(one.item.id, scores, category, parsed, detail)


def _steps(one: Answered) -> list[tuple[str, str, str]]:
    """Return name, arguments and feedback of every call that was executed, as the model wrote them."""
    turns: list[tuple[Mapping[str, Any], list[str]]] = []
    for message in one.prediction.messages or ():
        if message.get("role") == "assistant":
            turns.append((message, []))
        elif message.get("role") in _FEEDBACK and turns:
            turns[-1][1].append(content_text(message.get("content")))
    return [
        (name, arguments, told)
        for message, feedback in turns
        if feedback
        for (name, arguments), told in zip(written_calls(message, len(feedback)), feedback, strict=False)
    ]


def _level(one: Answered) -> int:
    """Return how far the first call agrees with a gold call: 1 the name, 2 the parameters, 3 the values too."""
    try:
        made = _first_call(one)
    except CallParseError:
        return 0
    return max((_agreement(step, made) for step in one.item.record["golden_answer"]), default=0)


def _first_call(one: Answered) -> ToolCall:
    """Return the first call of the model's first turn in a dialogue, else of the prediction."""
    for message in one.prediction.messages or ():
        if message.get("role") == "assistant":
            return message_calls(message)[0]
    return predicted_calls(one.prediction)[0]


def _agreement(step: Mapping[str, Any], made: ToolCall) -> int:
    if step["Action"] != made.name:
        return 0
    try:
        gold = ToolCall(made.name, json.loads(step["Action_Input"]))
    except (TypeError, ValueError, DataError):
        return 1
    if gold.arguments.keys() != made.arguments.keys():
        return 1
    return 3 if gold == made else 2


def run(answered: Sequence[Answered], context: Context) -> Scored:
    """Score as the benchmark's row asks."""
    return score(answered, context.mode, context.options.get("judge"), context.folder)
