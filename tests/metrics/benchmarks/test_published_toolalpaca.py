"""What ToolAlpaca's judge is shown, and how its verdicts are read, is as by its own agent and evaluation script.

LLAMAFACTORY_EXT_TOOLALPACA names a checkout of github.com/tangqiaoyu/ToolAlpaca.
"""

from __future__ import annotations

import json
import random
import sys
from pathlib import Path
from types import SimpleNamespace
from typing import Any

import pytest

from llamafactory_ext.metrics import Prediction
from llamafactory_ext.metrics.answers import Answered
from llamafactory_ext.metrics.benchmarks import toolalpaca
from llamafactory_ext.metrics.references import Item, read_references
from metrics.benchmarks.changes import REACT, kinds_of, mixed
from metrics.benchmarks.published_checkouts import checkout, undocumented
from processes import run

ROUNDS = 9
RESULTS = "## Results\nProcess Correctness: {}\nFinal Response Correctness: {}"
REPLIES = (
    *(RESULTS.format(first, second) for first in ("Yes", "No", "Uncertain") for second in ("Yes", "No", "Uncertain")),
    *(
        RESULTS.format(word, word)
        for word in ("[Yes]", "**Yes**", "yes", "YES", "Yes.", "Yes, as it says", "Maybe", "")
    ),
    "## Analysis\nProcess Correctness: No\n" + RESULTS.format("Yes", "Yes"),
    RESULTS.format("Yes", "No") + "\n" + RESULTS.format("No", "Yes"),
    RESULTS.format("Yes", "Yes").replace(": ", ":"),
    RESULTS.format("Yes", "Yes").replace(": ", ":  "),
    RESULTS.format("Yes", "Yes").replace(": ", "\uff1a"),
    RESULTS.format("Yes", "Yes").removeprefix("## Results\n"),
    RESULTS.format("Yes", "Yes").replace("\n", " "),
    RESULTS.format("Yes", "Yes").upper(),
    "## Results\nFinal Response Correctness: Yes\nProcess Correctness: Yes",
    "## Results\nProcess Correctness: Yes",
    "Yes",
    "",
)
# Nothing: the judge is shown what the script shows, and the script's exceptions are verdicts that cannot be read.
DOCUMENTED: dict[str, str] = {}


@pytest.fixture
def published() -> Path:
    return checkout("LLAMAFACTORY_EXT_TOOLALPACA", "evaluation.py")


class AJudge:
    """Gives the replies one after another and keeps what it was asked."""

    options = SimpleNamespace(model="none")

    def __init__(self, reply: str) -> None:
        self.reply, self.asked = reply, None

    def ask(self, prompt: str) -> str:
        self.asked = prompt
        return self.reply

    def summary(self) -> dict[str, Any]:
        return {}


def gold_turns(item: Item) -> str:
    step = item.record["golden_answer"][0]
    return f"Thought: I look.\nAction: {step['Action']}\nAction Input: {step['Action_Input']}"


def ask_published(published: Path, what: str, given: Any, folder: Path) -> Any:
    (folder / "given.json").write_text(json.dumps(given), encoding="utf-8")
    script = Path(__file__).with_name("published_toolalpaca.py")
    result = run([sys.executable, str(script), str(published), what, str(folder / "given.json")], folder)
    assert result.returncode == 0, result.stderr
    return json.loads(result.stdout)


def test_prompts_and_verdicts_are_those_of_the_published_script(published: Path, tmp_path: Path) -> None:
    items = {item.id: item for item in read_references("toolalpaca", published / "data" / "eval_real.json").items}
    rng, rounds = (
        random.Random(3),
        list(mixed({id_: gold_turns(item) for id_, item in items.items()}, REACT, ROUNDS, 5)),
    )
    cases = []
    for number, (answers, kinds) in enumerate(rounds):
        others = list(answers.values())
        for id_, text in answers.items():
            turns = [text, *rng.sample(others, rng.choice((0, 0, 1, 2)))]
            reply = REPLIES[len(cases) % len(REPLIES)]
            cases.append((f"round {number}, {id_}: {kinds[id_]}", items[id_], turns, rng.choice(others), reply))
    read = iter(ask_published(published, "parse", [text for case in cases for text in case[2]], tmp_path))
    given, ours = [], []
    for _, item, turns, final, reply in cases:
        messages, steps = [], []
        for text in turns:
            messages.append({"role": "assistant", "content": text})
            step = next(read)
            if step is not None:  # only what the agent reads as an action is executed and has a result
                told = f"Status Code: 200. Response: {len(messages)}"
                messages.append({"role": "tool", "content": told})
                steps.append([step, told])
        record = item.record
        instance = {"intermediate_steps": steps, "output": final}
        api = {"Name": record["api"]["Name"], "NLDocumentation": record["api"]["NLDocumentation"], "reply": reply}
        one = {"Instructions": [record["instruction"]], "Golden_Answers": [record["golden_answer"]]}
        given.append({**api, **one, "Instances": [instance]})
        prediction = Prediction(item.id, "toolalpaca", "p", "m", final, tuple(messages))
        judge: Any = AJudge(reply)
        (verdict,) = toolalpaca.score([Answered(item, prediction)], "official", judge, published / "data").verdicts
        ours.append((judge.asked, verdict))
    theirs = ask_published(published, "judge", given, tmp_path)
    differences: dict[str, list[str]] = {}
    for case, (prompt, verdict), (their_prompt, words) in zip(cases, ours, theirs, strict=True):
        if prompt != their_prompt:
            differences.setdefault("another prompt", []).append(case[0])
        procedure, response = (word == "Yes" for word in words or ("", ""))
        expected = [procedure, response, procedure and response]
        if [verdict.scores[name] for name in ("P", "R", "O")] != expected or verdict.parsed != (words is not None):
            differences.setdefault("another verdict", []).append(case[0])
    shown = sum(prompt is not None for prompt, _ in ours)
    changed = kinds_of([kinds for _, kinds in rounds])
    print(f"{len(cases)} predictions, {len(changed)} kinds of change, {len(REPLIES)} of replies, {shown} shown")
    assert undocumented(differences, DOCUMENTED) == {}
    assert shown >= 800
    assert len(cases) >= 1000
    assert len(changed) >= 40
    assert all("(unreadable)" not in prompt for prompt, _ in ours if prompt)
