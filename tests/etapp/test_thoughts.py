"""Thoughts are no words to the user and no calls; replies that were cut, and calls that nobody read, are told."""

from __future__ import annotations

import json
from collections.abc import Callable
from dataclasses import replace
from pathlib import Path
from typing import Any

import pytest

from etapp.acting import outcome
from llamafactory_ext.errors import DataError
from llamafactory_ext.etapp.agents import MakeAsk, agent
from llamafactory_ext.etapp.checking import Acted, read_acted, report_of
from llamafactory_ext.etapp.export import Wanted, export
from llamafactory_ext.etapp.judge_prompt import CRITERIA
from llamafactory_ext.etapp.judge_reading import read_verdict
from llamafactory_ext.etapp.mini import load, load_gold
from llamafactory_ext.etapp.run import RunOptions, run
from llamafactory_ext.etapp.strategies import Said
from llamafactory_ext.metrics.predictions import PredictionFile

pytestmark = pytest.mark.fast
SOURCE, GOLD = load(), load_gold()
CASES = SOURCE.cases[:12]
THOUGHTS = {
    "a draft of an answer": "<think>Perhaps Final Answer: nothing at all.</think>\n",
    "a draft of a call": '<think>\nAction: send_email\nAction Input: {"receiver": "a"}\n</think>\n\n',
    "a draft of a result": "<think>\nObservation: it is late\n</think>\n",
    "a call in tags": '<think><tool_call>{"name": "send_email", "arguments": {}}</tool_call></think>',
    "no opening mark": "Hm. Final Answer: no?\n</think>\n\n",
    "another mark": "<reasoning>Action: bake</reasoning>\n",
}
CHANGES: dict[str, Callable[[str], str]] = {name: lambda text, t=t: t + text for name, t in THOUGHTS.items()}  # type: ignore[misc]


def changed(change: Callable[[str], str], finish: str = "stop") -> MakeAsk:
    """Return gold with other words in each of its replies."""

    def make(case: Any, setting: Any, strategy: Any) -> Any:
        ask = agent("gold", GOLD)(case, setting, strategy)

        def asked(messages: Any, tools: Any, tokens: int) -> Said:
            said = ask(messages, tools, tokens)
            return replace(said, message={**said.message, "content": change(said.message["content"])}, finish=finish)

        return asked

    return make


def go(path: Path, make: MakeAsk, strategy: Any = "fc", sandbox: str = "strict") -> tuple[PredictionFile, list[Acted]]:
    return read_acted(
        SOURCE, run(SOURCE, CASES, make, {}, RunOptions(quiet=True, strategy=strategy, sandbox=sandbox), path)
    )


def notes(found: tuple[PredictionFile, list[Acted]]) -> str:
    return "\n".join(report_of(SOURCE, *found, len(SOURCE.cases)).notes)


@pytest.mark.parametrize("strategy", ["fc", "react", "e-react"])
@pytest.mark.parametrize("name", THOUGHTS)
def test_a_thought_before_each_reply_changes_nothing(name: str, strategy: Any, tmp_path: Path) -> None:
    plain = go(tmp_path / "plain.jsonl", agent("gold", GOLD), strategy)[1]
    thinking = go(tmp_path / "thinking.jsonl", changed(CHANGES[name]), strategy)[1]
    for one, other in zip(plain, thinking, strict=True):
        assert one.outcome is not None
        assert one.outcome.success
        assert (one.outcome, one.episode["calls"]) == (other.outcome, other.episode["calls"])
        assert other.prediction.messages is not None
        assert other.prediction.messages[-1]["content"].startswith(THOUGHTS[name])  # the dialogue keeps it


@pytest.mark.parametrize("text", ["<think>{}</think>", "<think>{}", "{}</think>", "<think>{}</think>\n \n"])
def test_what_a_model_only_thinks_is_no_answer(text: str, tmp_path: Path) -> None:
    """Neither do checks find it, nor is it training data."""
    case = next(case for case in CASES if "has" in (case.checks or {}).get("answer", {}))
    calls, answer = [(c["name"], c["arguments"]) for c in GOLD[case.id]["calls"]], GOLD[case.id]["answer"]
    assert outcome(case, calls, answer).success
    said = [one for one in outcome(case, calls, text.format(answer)).conditions if "the answer" in one.about]
    assert said
    assert not any(one.holds for one in said)
    path = tmp_path / "a.jsonl"
    acted = go(path, changed(lambda words: text.format(words) if words else words))[1]
    with pytest.raises(DataError, match=f"without an answer {len(CASES)}"):
        export(SOURCE, acted, {}, Wanted(checks="any"), tmp_path / "d" / "sft.json", path)


def test_thoughts_are_left_out_of_training_data_where_that_is_asked(tmp_path: Path) -> None:
    path = tmp_path / "a.jsonl"
    acted = go(path, changed(lambda text: f"<think>so</think>\n{text}"))[1]
    for bare in (False, True):
        out = tmp_path / str(bare) / "sft.json"
        export(SOURCE, acted, {}, Wanted(no_thought=bare), out, path)
        turns = [turn["value"] for row in json.loads(out.read_text("utf-8")) for turn in row["conversations"]]
        assert any("<think>" in turn for turn in turns) != bare


def test_replies_that_were_cut_are_told(tmp_path: Path) -> None:
    assert "cut off" not in notes(go(tmp_path / "a.jsonl", changed(str)))
    for sandbox in ("strict", "reference"):
        found = go(tmp_path / f"{sandbox}.jsonl", changed(str, "length"), sandbox=sandbox)
        replies = sum(one.episode["turns"] for one in found[1])
        assert f"{replies} replies, of {len(CASES)} episodes, were cut off" in notes(found)


CALLS = {
    "tags": '<tool_call>\n{"name": "view_today_alarms", "arguments": {}}\n</tool_call>',
    "mistral": '[TOOL_CALLS] [{"name": "view_today_alarms", "arguments": {}}]',
    "react": "Action: view_today_alarms\nAction Input: {}",
    "behind a thought": '<think>so</think>\n<tool_call>{"name": "view_today_alarms", "arguments": {}}</tool_call>',
}


@pytest.mark.parametrize("name", CALLS)
def test_calls_that_the_server_did_not_read_are_told(name: str, tmp_path: Path) -> None:
    answers = iter([CALLS[name], *["Done."] * 99])
    make: MakeAsk = lambda *_: lambda *_: Said({"role": "assistant", "content": next(answers)})  # noqa: E731
    found = run(SOURCE, CASES, make, {}, RunOptions(quiet=True, concurrency=1), tmp_path / "a.jsonl")
    assert f"1 answers hold a call as text, which nobody executed, such as {CASES[0].id}" in notes(
        read_acted(SOURCE, found)
    )
    assert "as text" not in notes(go(tmp_path / "b.jsonl", agent("gold", GOLD)))
    thought = "<think>I could <tool_call>{}</tool_call></think>Done."
    assert "as text" not in notes(go(tmp_path / "c.jsonl", changed(lambda text: text or thought)))


@pytest.mark.parametrize(
    ("reply", "score"),
    [
        ("<think>{1}</think>{4}", 4),
        ("<think>\n```json\n{1}\n```\n</think>\n```json\n{4}\n```", 4),
        ("{1} and so on</think>{4}", 4),
        ("<think>{1}", None),  # cut in its thought
        ("<think>{1}</think>I will not fill it.", None),
        (" \n<reasoning>{1}</reasoning> {4}", 4),
        ("{4} <think> is a word", 4),
    ],
)
def test_a_form_in_a_judges_thought_is_a_draft(reply: str, score: int | None) -> None:
    def form(given: int) -> str:
        told = {"analysis": "so", "score": given}
        return json.dumps({name: {"Final Assessment": told} for name in CRITERIA})

    for number in (1, 4):
        reply = reply.replace(f"{{{number}}}", form(number))
    found = read_verdict(reply, CASES[0])
    assert (found and found.finals["Procedure"]) == score


def test_a_form_may_quote_the_marks_of_thoughts() -> None:
    told = {"analysis": "it thinks: <think>so</think>", "score": 4}
    form = json.dumps({name: {"Final Assessment": told} for name in CRITERIA})
    for reply in (form, f"```json\n{form}\n```", f"<think>hm</think>{form}"):
        assert read_verdict(reply, CASES[0]) is not None
