"""ToolAlpaca: what the judge is asked and how it is read, and TL-Training's figures without a judge."""

import json
import sys
from collections.abc import Iterator
from pathlib import Path
from typing import Any

import pytest

from llamafactory_ext import cli
from llamafactory_ext.errors import DataError
from llamafactory_ext.metrics import Prediction, Report, read_report, score
from llamafactory_ext.metrics.benchmarks.toolalpaca import read_verdict
from llamafactory_ext.metrics.judge import Judge, JudgeOptions
from llamafactory_ext.metrics.report import Mode
from metrics.judge_stub import YES, Stub, judge_stub
from metrics.published_data import published

pytestmark = pytest.mark.fast

API = {
    "Name": "Days",
    "NLDocumentation": "isHoliday: whether a day is one.",
    "Instructions": ["Is today a holiday in China?", "And in Peru?"],
    "Golden_Answers": [
        [{"Action": "isHoliday", "Action_Input": '{"country": "CN"}'}],
        [{"Action": "isHoliday", "Action_Input": '{"country": PE}'}],
    ],
}
PROMPT = "Judge.\n${documentation}\n--\n${instruction}\n--\n${standard}--\n${solution}\n"
CALL = {"role": "assistant", "tool_calls": [{"function": {"name": "isHoliday", "arguments": '{"country": "CN"}'}}]}
FEEDBACK = {"role": "tool", "content": '{"holiday": false}'}


@pytest.fixture
def stub() -> Iterator[Stub]:
    with judge_stub() as stub:
        yield stub


@pytest.fixture
def folder(tmp_path: Path) -> Path:
    (tmp_path / "eval_real.json").write_text(json.dumps([API]), encoding="utf-8")
    (tmp_path / "Evaluation.txt").write_text(PROMPT, encoding="utf-8")
    return tmp_path


def predicted(folder: Path, *dialogues: tuple[dict[str, Any], ...]) -> Path:
    lines = [
        Prediction(f"Days:{number}", "toolalpaca", "p", "m", "It is not.", turns or None).to_line()
        for number, turns in enumerate(dialogues)
    ]
    path = folder / "p.jsonl"
    path.write_text("".join(lines), encoding="utf-8")
    return path


def judged(folder: Path, stub: Stub, *dialogues: tuple[dict[str, Any], ...], mode: Mode = "official") -> Report:
    judge = Judge(JudgeOptions(stub.url, "judge-1", attempts=1), folder / "log.jsonl")
    return score("toolalpaca", predicted(folder, *dialogues), folder, mode, judge=judge)


def test_what_the_judge_reads(folder: Path, stub: Stub) -> None:
    report = judged(folder, stub, (CALL, FEEDBACK, CALL, FEEDBACK))
    step = 'Function: isHoliday\nParameters: {"country": "CN"}\n'
    returned = 'Retruns: {"holiday": false}\n'
    assert stub.bodies[0]["messages"][0]["content"] == (
        f"Judge.\nisHoliday: whether a day is one.\n--\nIs today a holiday in China?\n--\n1. {step}--\n"
        f"1. {step}{returned}2. {step}{returned}3. Final Response: It is not.\n"
    )
    assert {report.figure(name).value for name in ("P", "R", "O", "TS", "PI", "CF")} == {1.0}
    assert report.judge is not None
    assert (report.judge["model"], report.judge["replies"], report.judge["cost_usd"]) == ("judge-1", 1, None)


BAD = '{"country": CN}'
UNREAD = {
    "tool_calls": ({"tool_calls": [{"function": {"name": "isHoliday", "arguments": BAD}}]}, "isHoliday", BAD),
    "react": ({"content": f"Thought: x\nAction: isHoliday\nAction Input: {BAD}"}, "isHoliday", BAD),
    "react with words": ({"content": "Action: isHoliday\nAction Input: for China"}, "isHoliday", "for China"),
    "tags": (
        {"content": f'<tool_call>\n{{"name": "isHoliday", "arguments": {BAD}}}\n</tool_call>'},
        "isHoliday",
        BAD,
    ),
    "cut off": (
        {"content": '<tool_call>{"name": "isHoliday", "arguments": {"country": "'},
        "isHoliday",
        '{"country": "',
    ),
    "brackets": ({"content": "API-Request: [isHoliday(country=]"}, "isHoliday", "country=]"),
    "two lines": ({"content": f"isHoliday\n{BAD}"}, "isHoliday", BAD),
    "a list": ({"tool_calls": [{"function": {"name": "isHoliday", "arguments": "[1]"}}]}, "isHoliday", "[1]"),
    "no function": ({"tool_calls": [{"id": "a"}]}, "", '{"id": "a"}'),
    "words": ({"content": "I look it up."}, "", "I look it up."),
    "parts": ({"content": [{"type": "text", "text": f"Action: isHoliday\nAction Input: {BAD}"}]}, "isHoliday", BAD),
}


@pytest.mark.parametrize("case", UNREAD)
def test_the_judge_reads_name_and_raw_text_of_arguments_that_are_no_json(folder: Path, stub: Stub, case: str) -> None:
    message, name, raw = UNREAD[case]
    judged(folder, stub, ({"role": "assistant", **message}, FEEDBACK))
    (body,) = stub.bodies
    shown = body["messages"][0]["content"]
    assert f'1. Function: {name}\nParameters: {raw}\nRetruns: {{"holiday": false}}\n2. Final' in shown
    assert "unreadable" not in shown


def test_arguments_are_shown_as_they_were_written(folder: Path, stub: Stub) -> None:
    written = '{"country":"\\u00c4", "n": 1e2}'
    made = {"role": "assistant", "tool_calls": [{"function": {"name": "isHoliday", "arguments": written}}]}
    judged(folder, stub, (made, FEEDBACK))
    assert f"Parameters: {written}\nRetruns" in stub.bodies[0]["messages"][0]["content"]


def test_no_step_is_wrong_without_asking(folder: Path, stub: Stub) -> None:
    report = judged(folder, stub, ({"role": "assistant", "content": "It is not."},), (CALL, FEEDBACK))
    assert len(stub.bodies) == 1
    assert [verdict.category for verdict in report.verdicts] == ["no step", "Yes, Yes"]
    assert report.figure("O").value == 0.5


def test_unread_verdicts_are_counted(folder: Path, stub: Stub) -> None:
    stub.answers = [YES.replace("Yes", "[Yes]"), YES.replace("Correctness: Yes\nFinal", "Correctness: No\nFinal")]
    report = judged(folder, stub, (CALL, FEEDBACK), (CALL, FEEDBACK))
    assert [verdict.category for verdict in report.verdicts] == ["unread verdict", "No, Yes"]
    assert [report.figure(name).value for name in ("P", "R", "O")] == [0.0, 0.5, 0.0]
    assert report.figure("P").parse_failures == 1
    strict = judged(folder, stub, (CALL, FEEDBACK), (CALL, FEEDBACK), mode="strict")
    assert [verdict.category for verdict in strict.verdicts] == ["Yes, Yes", "No, Yes"]
    assert len(stub.bodies) == 2  # the replies were kept


@pytest.mark.parametrize(
    ("said", "official", "strict"),
    [
        ("Yes", ("Yes", "Yes"), ("Yes", "Yes")),
        ("Uncertain", ("Uncertain", "Uncertain"), ("Uncertain", "Uncertain")),
        ("[Yes]", None, ("Yes", "Yes")),
        ("**yes**", None, ("Yes", "Yes")),
        ("Maybe", None, None),
    ],
)
def test_words_of_the_judge(said: str, official: tuple[str, str] | None, strict: tuple[str, str] | None) -> None:
    reply = f"Process Correctness: No\n## Results\nProcess Correctness: {said}\nFinal Response Correctness: {said}"
    assert read_verdict(reply, "official") == official
    assert read_verdict(reply, "strict") == strict


def test_without_a_judge(folder: Path) -> None:
    report = score("toolalpaca", predicted(folder, (CALL,), (CALL,)), folder)
    assert [figure.name for figure in report.figures] == ["TS", "PI", "CF"]
    assert [figure.value for figure in report.figures] == [1.0, 0.5, 0.5]  # the second gold is no JSON
    assert any("--judge" in note for note in report.notes)


def test_the_published_prompt_is_needed(folder: Path, stub: Stub) -> None:
    (folder / "Evaluation.txt").write_text("Judge ${solution}", encoding="utf-8")
    with pytest.raises(DataError, match="not ToolAlpaca's prompt"):
        judged(folder, stub, (CALL, FEEDBACK))
    (folder / "Evaluation.txt").unlink()
    with pytest.raises(DataError, match="lacks the judge's published prompt"):
        judged(folder, stub, (CALL, FEEDBACK))


def test_from_the_command_line(
    folder: Path, stub: Stub, monkeypatch: pytest.MonkeyPatch, capsys: pytest.CaptureFixture[str]
) -> None:
    monkeypatch.setenv("LLAMAFACTORY_EXT_JUDGE_URL", stub.url)
    monkeypatch.setenv("LLAMAFACTORY_EXT_JUDGE_MODEL", "judge-1")
    monkeypatch.setenv("LLAMAFACTORY_EXT_JUDGE_KEY", "sk-secret")
    monkeypatch.delenv("LLAMAFACTORY_EXT_JUDGE_PRICES", raising=False)
    file = predicted(folder, (CALL, FEEDBACK), (CALL, FEEDBACK))
    words = ["score", "toolalpaca", "--predictions", str(file), "--references", str(folder), "--judge"]
    for _ in range(2):
        monkeypatch.setattr(sys, "argv", ["llamafactory-ext", *words, "--out", str(folder / "r.json")])
        cli.main()
    printed = capsys.readouterr().out
    assert "2 replies (2 now), 200 + 20 tokens" in printed
    assert "2 replies (0 now), 200 + 20 tokens" in printed
    assert len(stub.bodies) == 2
    assert read_report(folder / "r.json").figure("O").value == 1.0
    assert all("sk-secret" not in path.read_text("utf-8") for path in folder.iterdir() if path.is_file())


def test_the_published_files(tmp_path: Path, stub: Stub) -> None:
    """All 114 instructions with their gold calls as steps reach the judge by the published prompt."""
    source = published("toolalpaca")
    lines = []
    for api in json.loads((source / "eval_real.json").read_text("utf-8")):
        for number, gold in enumerate(api["Golden_Answers"]):
            turns = []
            for step in gold:
                text = f"Action: {step['Action']}\nAction Input: {step['Action_Input']}"
                turns += [{"role": "assistant", "content": text}, FEEDBACK]
            id_ = f"{api['Name']}:{number}"
            lines.append(Prediction(id_, "toolalpaca", "p", "m", "Done.", tuple(turns)).to_line())
    (tmp_path / "p.jsonl").write_text("".join(lines), encoding="utf-8")
    judge = Judge(JudgeOptions(stub.url, "judge-1", attempts=1), tmp_path / "log.jsonl")
    report = score("toolalpaca", tmp_path / "p.jsonl", source, judge=judge)
    assert (report.figure("O").value, report.figure("O").n, len(stub.bodies)) == (1.0, 114, 114)
    assert report.figure("TS").value >= 110 / 114
