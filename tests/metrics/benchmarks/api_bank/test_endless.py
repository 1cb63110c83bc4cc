"""Calls of API-Bank that do not end, or end their worker, and any text in place of a call: one item each, no more."""

import re
import tempfile
from pathlib import Path

import pytest
from hypothesis import HealthCheck, given, settings
from hypothesis import strategies as st

from llamafactory_ext.metrics.benchmarks.api_bank import execution
from metrics.benchmarks.api_bank.test_execution import run, score_level_3
from metrics.isolation import isolation_problem

pytestmark = pytest.mark.fast


@pytest.fixture(scope="module", autouse=True)
def _isolated() -> None:
    problem = isolation_problem()
    if problem is not None:
        pytest.skip(problem)


def test_a_call_that_never_ends_costs_itself_only(tmp_path: Path, monkeypatch: pytest.MonkeyPatch) -> None:
    """Whatever it does meanwhile; the rest goes on in a fresh worker."""
    monkeypatch.setattr(execution, "CALL_SECONDS", 1)
    said = dict.fromkeys(("loop", "locked", "caught"), "TIMEOUT") | {"memory": "ABORTED", "exit": "ABORTED"}
    calls = {f"[Calculator(formula='{word}')]": category for word, category in said.items()}
    good = "[Calculator(formula='1')]"
    answers = [good, *(answer for call in calls for answer in (call, good))]
    report = run(tmp_path, {6: answers})
    found = [verdict.category for verdict in report.verdicts]
    assert found == ["CORRECT", *(word for call in calls for word in (calls[call], "CORRECT"))]
    assert report.verdicts[1].detail == "the call did not end within 1 seconds"
    assert "the call ended its process" in report.verdicts[7].detail
    assert "3 calls did not end within 1 seconds and count as wrong." in report.notes
    assert report.figure("C").value == pytest.approx(6 / 11)


def test_a_call_that_floods_its_output(tmp_path: Path) -> None:
    report = run(tmp_path, {6: ["[Calculator(formula='flood')]", "[Calculator(formula='1')]"]})
    assert [verdict.category for verdict in report.verdicts] == ["ABORTED", "CORRECT"]


def test_level_3_keeps_its_world_when_a_call_never_ends(tmp_path: Path, monkeypatch: pytest.MonkeyPatch) -> None:
    monkeypatch.setattr(execution, "CALL_SECONDS", 1)
    alarm, endless = "[AddAlarm(token='t', time='5')]", "[Calculator(formula='loop')]"
    report = score_level_3(tmp_path, [(1, alarm), (1, endless), (1, alarm), (1, endless), (1, "[Lookup(word='w')]")])
    found = [verdict.category for verdict in report.verdicts]
    assert found == ["CORRECT", "TIMEOUT", "HAS_EXCEPTION", "TIMEOUT", "HAS_EXCEPTION"]


PIECES = (
    *(
        "[AddAlarm(",
        "[Calculator(",
        "[ToolSearcher(",
        "token='t'",
        "time='7'",
        "time=",
        "'",
        ", ",
        ")]",
        "[",
        "]",
        "(",
        "\n",
    ),
    *("formula='1'", "keywords='a'", "API-Request: ", '{"name": "AddAlarm", "arguments": {"token": "t", "time": 7}}'),
    *("self='1'", "name='x'", "__class__='1'", "9" * 5000, "\0", "[" * 2000, "=[1, 2]"),
)


@settings(max_examples=4, suppress_health_check=[HealthCheck.too_slow])
@given(
    st.lists(
        st.one_of(st.text(), st.lists(st.sampled_from(PIECES), max_size=7).map("".join)), min_size=40, max_size=60
    )
)
def test_no_prediction_ends_the_run(answers: list[str]) -> None:
    """One run of the sandbox for many predictions at once."""
    said = [answer for answer in answers if not re.search(r"[\ud800-\udfff]", answer)]
    with tempfile.TemporaryDirectory() as folder:
        found = run(Path(folder), {0: said}).verdicts
    assert len(found) == len(said)
    assert {verdict.scores["C"] for verdict in found} <= {0.0, 1.0}
