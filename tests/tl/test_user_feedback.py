"""`tl_feedback_function`: what a user's own judge is asked, what it may answer, and where its answer goes."""

from __future__ import annotations

import json
import sys
from collections.abc import Mapping
from pathlib import Path
from types import SimpleNamespace
from typing import Any

import pytest
from datasets.fingerprint import Hasher

from commands.test_data import run as run_command
from llamafactory_ext.errors import DataError, OptionError
from llamafactory_ext.tl.feedback import judge_calls
from llamafactory_ext.tl.sft.examples import Settings, judge_example
from llamafactory_ext.tl.sft.findings import Findings, as_dict, as_table
from llamafactory_ext.tl.sft.options import RULES, TlArguments
from llamafactory_ext.tl.sft.workflow import settings_of
from llamafactory_ext.toolcalls import Tool
from llamafactory_ext.toolcalls.feedback.errors import UNCATEGORISED
from llamafactory_ext.upstream.pipeline.requests import request_weights
from tl.test_statistics import trajectory

pytestmark = pytest.mark.fast

_CALLS = json.dumps([{"name": "book", "arguments": {}}, {"name": "pay", "arguments": {}}])


def _judged(function: str, *texts: str, calls: str = _CALLS) -> str | None:
    turns = [{"role": "function_call", "content": calls}]
    turns += [{"role": "observation", "content": text} for text in texts]
    [(_, category)] = judge_calls(turns, function=f"feedback_judges:{function}", declared=["other"])
    return category


def test_its_answers() -> None:
    assert _judged("sold_out", "sold out") == "Sold Out"
    assert _judged("sold_out", "404 Not Found") == "Tool Instability"  # its category stands, whatever is declared
    assert _judged("sold_out", "fine") is None
    assert (_judged("flag", "sold out"), _judged("flag", "fine")) == (UNCATEGORISED, None)
    assert (_judged("anything", "empty"), _judged("anything", "no")) == (UNCATEGORISED, None)


def test_it_is_asked_with_the_call_that_an_output_answers() -> None:
    assert _judged("of_call", "x", "fine") == "refused by book"
    assert _judged("of_call", "fine", "x") == "refused by pay"
    assert _judged("of_call", "x") == "refused by ?"  # two calls and one output
    assert _judged("of_call", "x", calls="no call") == "refused by ?"


@pytest.mark.parametrize("text", ["number", "list", "lines", "long"])
def test_wrong_answers_are_one_line_that_names_it(text: str) -> None:
    with pytest.raises(OptionError) as error:
        _judged("anything", text)
    assert error.value.message.startswith("tl_feedback_function=feedback_judges:anything returned ")
    assert "\n" not in error.value.message


def test_exceptions_are_one_line_that_names_it() -> None:
    with pytest.raises(OptionError) as error:
        _judged("broken", "a\nb")
    assert error.value.message == (
        "tl_feedback_function=feedback_judges:broken raised KeyError: 'a\\nb' for the output 'a\\nb'; "
        "mend the function."
    )


@pytest.mark.parametrize(
    "name", ["nowhere:f", "feedback_judges", "feedback_judges:none", "feedback_judges:NUMBER", ":f"]
)
def test_names_of_no_function_are_refused_before_anything_is_read(name: str) -> None:
    for make in (lambda: Settings(feedback_function=name), lambda: settings_of(_options(tl_feedback_function=name))):
        with pytest.raises(OptionError, match=f"tl_feedback_function={name}: write module:function"):
            make()


def test_a_module_that_fails_is_one_line(tmp_path: Path, monkeypatch: pytest.MonkeyPatch) -> None:
    (tmp_path / "judge_with_a_fault.py").write_text("1 / 0\n")
    monkeypatch.chdir(tmp_path)
    with pytest.raises(OptionError, match=r"judge_with_a_fault:f: .*ZeroDivisionError: division by zero"):
        Settings(feedback_function="judge_with_a_fault:f")


def _options(**changes: Any) -> Any:
    return SimpleNamespace(**(vars(TlArguments()) | changes))


def _example(text: str) -> list[Mapping[str, str]]:
    roles = {"user": "Book it.", "function": _CALLS, "observation": text, "assistant": "Done."}
    return [{"role": role, "content": content} for role, content in roles.items()]


def test_it_decides_what_an_example_trains_and_is_in_the_report() -> None:
    settings = settings_of(_options(tl_feedback_function="feedback_judges:sold_out"))
    tools = [Tool("book"), Tool("pay")]
    assert judge_example(_example("sold out"), tools, settings).errors == {1: "Sold Out"}
    assert judge_example(_example("sold out"), tools, Settings()).errors == {}
    findings = Findings(examples=2, with_calls=2, calls=4)
    findings.errors.update(["Sold Out", "Tool Instability"])
    table = as_table(findings, settings)
    assert "Sold Out" in table
    assert "Tool Instability" in table
    assert "Parameter Missing" not in table
    told = as_dict({"train": findings}, settings)["settings"]
    assert told["feedback_function"] == "feedback_judges:sold_out"
    assert len(told["feedback_code"]) == 16


def test_preprocessed_data_knows_its_name_and_its_code(tmp_path: Path, monkeypatch: pytest.MonkeyPatch) -> None:
    monkeypatch.chdir(tmp_path)
    keys, kept = set(), []
    for code in ("return None", "return True"):
        (tmp_path / "judge_that_changes.py").write_text(f"def f(text):\n    {code}\n")
        sys.modules.pop("judge_that_changes", None)
        kept.append(Settings(feedback_function="judge_that_changes:f"))
        keys.add(Hasher.hash(request_weights(SimpleNamespace(dataset="x"), kept[-1])))
    keys.add(Hasher.hash(request_weights(SimpleNamespace(dataset="x"), Settings())))
    assert len(keys) == 3  # upstream's cache of the data is keyed by these arguments
    note = Findings().to_text(kept[0])
    assert Findings.from_texts([note], kept[0]) == Findings()
    with pytest.raises(DataError, match="made with other code of tl_feedback_function; delete that folder"):
        Findings.from_texts([note], kept[1])
    with pytest.raises(DataError, match="tl_feedback_function: judge_that_changes:f, other code"):
        Findings.from_texts([note], Settings())
    before = Findings().to_dict()
    del before["intake"]  # as earlier versions wrote it
    with pytest.raises(DataError, match="of an earlier version of llamafactory_ext; delete that folder"):
        Findings.from_texts([json.dumps({"settings": {"use_mae": True}, **before})], Settings())


def test_the_option_is_declared_and_read() -> None:
    assert RULES["tl_feedback_function"].read("a:b") == "a:b"
    assert Settings(use_mae=False, feedback_function="nowhere:f").feedback_code is None  # nothing is judged


def test_data_stats_counts_by_it(
    tmp_path: Path, monkeypatch: pytest.MonkeyPatch, capsys: pytest.CaptureFixture[str]
) -> None:
    for name, texts in {"one": ("sold out", "fine"), "two": ("404 Not Found", "fine")}.items():
        (tmp_path / f"{name}.json").write_text(json.dumps([trajectory(text) for text in texts]))
    files = f"{tmp_path / 'one.json'},{tmp_path / 'two.json'}"
    words = ("data", "stats", files, "--function", "feedback_judges:sold_out", "--out", tmp_path / "out")
    run_command(monkeypatch, *words)
    shown = capsys.readouterr().out
    assert "Sold Out" in shown
    assert "Tool Instability" in shown
    assert "Parameter Missing" not in shown
    written = json.loads((tmp_path / "out" / "error_statistics.json").read_text(encoding="utf-8"))
    assert [one["function"] for one in written] == ["feedback_judges:sold_out"] * 2
    assert written[0]["categories"]["Sold Out"]["calls"] == 1
    with pytest.raises(SystemExit):
        run_command(monkeypatch, "data", "stats", files, "--function", "nowhere:f")
    assert "tl_feedback_function=nowhere:f: write module:function" in capsys.readouterr().err
