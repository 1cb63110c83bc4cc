"""ToolEyes: errors of documentation, other errors of calls, and valid answers within nine turns."""

import json
from pathlib import Path
from typing import Any

import pytest

from llamafactory_ext.metrics import Prediction, Report, score
from llamafactory_ext.metrics.report import Mode
from metrics.published_data import published

pytestmark = pytest.mark.fast

TOOLS = [
    {
        "name": "weather",
        "description": "",
        "parameters": {
            "type": "object",
            "properties": {"city": {"type": "string"}, "unit": {"type": "string"}},
            "required": ["city"],
        },
    },
    {"name": "ask_to_user", "description": "", "parameters": {"type": "object", "properties": {}, "required": []}},
    {
        "name": "finish",
        "description": "",
        "parameters": {"type": "object", "properties": {"answer": {"type": "string"}}, "required": ["answer"]},
    },
]
RECORD = {
    "conversations": [{"from": "system", "value": f"Tools: {json.dumps(TOOLS)}"}, {"from": "user", "value": "?"}],
    "path": "",
    "scenario": "TG",
}


def said(*calls: tuple[str, dict[str, Any]]) -> dict[str, Any]:
    functions = [{"function": {"name": name, "arguments": json.dumps(arguments)}} for name, arguments in calls]
    return {"role": "assistant", "content": "", "tool_calls": functions}


def told(text: str) -> dict[str, Any]:
    return {"role": "tool", "content": text}


FINE = (said(("weather", {"city": "Rome"})), told('{"temperature": 21}'))
FINISH = said(("finish", {"answer": "21 degrees"}))


def report(tmp_path: Path, turns: tuple[dict[str, Any], ...], mode: Mode = "official", text: str = "") -> Report:
    (tmp_path / "scenario_data_zero_processed.json").write_text(json.dumps([RECORD]), encoding="utf-8")
    opening = ({"role": "user", "content": "?"},)
    line = Prediction("tooleyes:0", "tooleyes", "p", "m", text, (*opening, *turns) if turns else None).to_line()
    (tmp_path / "p.jsonl").write_text(line, encoding="utf-8")
    return score("tooleyes", tmp_path / "p.jsonl", tmp_path, mode)


@pytest.mark.parametrize(
    ("turns", "categories"),
    [
        ((*FINE, FINISH), ["right", "valid answer"]),
        ((said(("wether", {})), told("no such tool"), FINISH), ["Tool Hallucination", "valid answer"]),
        (
            (said(("weather", {"city": "x", "day": 1})), told("{}"), FINISH),
            ["Parameter Hallucination", "valid answer"],
        ),
        ((said(("weather", {"unit": "C"})), told("{}"), FINISH), ["Parameter Missing", "valid answer"]),
        (
            (said(("weather", {"city": "x"})), told('{"error": "HTTP 500 Internal Server Error"}'), FINISH),
            ["Tool Instability", "valid answer"],
        ),
        (
            (said(("weather", {"city": "x"}), ("nothing", {})), told("{}"), told("{}"), FINISH),
            ["right", "Tool Hallucination", "valid answer"],
        ),
        ((*FINE, said(("finish", {"answer": "I cannot handle the task."}))), ["right", "empty or refused"]),
        ((*FINE, said(("finish", {"answer": " "}))), ["right", "empty or refused"]),
        ((*FINE, {"role": "assistant", "content": "It has 21 degrees."}), ["right", "valid answer"]),
        (FINE, ["right", "no answer"]),
        (({"role": "assistant", "tool_calls": [{"id": "1"}]}, FINISH), ["malformed call", "valid answer"]),
    ],
)
def test_categories(tmp_path: Path, turns: tuple[dict[str, Any], ...], categories: list[str]) -> None:
    assert [verdict.category for verdict in report(tmp_path, turns).verdicts] == categories


def test_shares_are_of_calls_and_of_cases(tmp_path: Path) -> None:
    found = report(tmp_path, (*FINE, said(("wether", {})), told("?"), *FINE, FINISH))
    assert (found.figure("DE").value, found.figure("DE").n) == (pytest.approx(1 / 3), 3)
    assert (found.figure("CE").value, found.figure("VA").value, found.figure("VA").n) == (0.0, 1.0, 1)


def test_nine_turns(tmp_path: Path) -> None:
    assert report(tmp_path, (*FINE * 8, FINISH)).figure("VA").value == 1.0
    late = report(tmp_path, (*FINE * 9, FINISH))
    assert (late.figure("VA").value, late.figure("DE").n) == (0.0, 9)


def test_strict_wants_finish_as_declared(tmp_path: Path) -> None:
    words = {"role": "assistant", "content": "21 degrees"}
    other = said(("finish", {"result": "21 degrees"}))
    for last, value in ((FINISH, 1.0), (words, 0.0), (other, 0.0)):
        assert report(tmp_path, (*FINE, last), "strict").figure("VA").value == value


def test_a_text_without_messages(tmp_path: Path) -> None:
    text = 'Thought: t\nAction: finish\nAction Input: {"answer": "21"}'
    assert report(tmp_path, (), "strict", text).figure("VA").value == 1.0


def test_every_published_case_declares_its_tools(tmp_path: Path) -> None:
    folder = published("tooleyes")
    lines = [Prediction(f"tooleyes:{number}", "tooleyes", "p", "m", "").to_line() for number in range(382)]
    (tmp_path / "p.jsonl").write_text("".join(lines), encoding="utf-8")
    found = score("tooleyes", tmp_path / "p.jsonl", folder)
    assert (found.figure("VA").value, found.figure("VA").n, found.partial) == (0.0, 382, False)
