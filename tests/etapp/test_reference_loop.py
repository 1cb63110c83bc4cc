"""The published reply loop: on random replies it keeps what the published code kept, whose digests were recorded."""

from __future__ import annotations

import json
from pathlib import Path
from typing import Any

import pytest

from etapp.loop_scripts import COUNT, KINDS, TURNS, digest, named, scripts
from llamafactory_ext.etapp.mini import load
from llamafactory_ext.etapp.prompts import GO_ON, SENTENCES
from llamafactory_ext.etapp.reference import ReferenceSandbox
from llamafactory_ext.etapp.reference_loop import run_published
from llamafactory_ext.etapp.reference_reading import RefusedError, literal, read_reply
from llamafactory_ext.etapp.reference_tools import Instances
from llamafactory_ext.etapp.strategies import Ask, Episode, Limits, Said

pytestmark = pytest.mark.fast
DIGESTS = json.loads((Path(__file__).parent / "loop_parity.json").read_text())
SOURCE = load()
CASE = SOURCE.cases[0]


def box(setting: Any = "given", strategy: Any = "fc") -> ReferenceSandbox:
    own = Instances(SOURCE.worlds[CASE.user])
    return ReferenceSandbox(own, CASE.now, CASE.given, setting, first=1 if strategy == "e-react" else 0)


def said(reply: dict[str, Any]) -> Said:
    calls = [{"id": key, "function": {"name": name, "arguments": given}} for key, name, given in reply["calls"]]
    message = {"role": "assistant", "content": reply["content"], "tool_calls": calls or None}
    return Said(message, prompt_tokens=reply["tokens"], finish=reply["finish"])


def acted(setting: Any, strategy: Any, replies: list[dict[str, Any]], **limits: Any) -> Episode:
    plan = [Said({"role": "assistant", "content": '{"p": []}'})] if strategy == "e-react" else []
    waiting = iter([*plan, *map(said, replies)])
    ask: Ask = lambda *_: next(waiting)  # noqa: E731
    return run_published(CASE, box(setting, strategy), ask, setting, strategy, Limits(**{"turns": TURNS, **limits}))


@pytest.mark.parametrize(("setting", "strategy"), KINDS)
def test_it_keeps_what_the_published_loop_kept(setting: Any, strategy: Any) -> None:
    done = [acted(setting, strategy, replies) for replies in scripts(setting, strategy)]
    assert len(done) == COUNT
    histories = [named(one.history or [], SENTENCES, GO_ON) for one in done]
    assert digest(histories) == DIGESTS[f"{setting} {strategy}"]
    ends = {one.end for one in done}
    assert ends == ({"answer", "turns", "calls", "tokens"} if strategy == "fc" else {"answer", "turns"})


def text(content: str) -> dict[str, Any]:
    return {"content": content, "calls": [], "finish": "stop", "tokens": 1}


def test_the_last_reply_is_never_executed_and_an_answer_as_last_is_disowned() -> None:
    call = text("Action: view_today_alarms\nAction Input: {}")
    done = acted("given", "react", [call] * 99, turns=20)
    assert (done.turns, done.end, done.answer) == (20, "turns", "")
    assert sum(message["role"] == "tool" for message in done.history or []) == 19
    done = acted("given", "react", [call, text("Final Answer: late")], turns=2)
    assert (done.end, done.answer) == ("turns", "late")
    kept = done.history or []
    assert [kept[-2]["tool_calls"][0]["arguments"], kept[-1]["content"]] == ["late", SENTENCES["turns"]]


def test_a_full_context_ends_the_case_with_a_sentence() -> None:
    from llamafactory_ext.serving.agent.dialogue import PromptTooLongError

    def full(*_: Any) -> Said:
        raise PromptTooLongError("too long")

    for strategy in ("fc", "react", "e-react"):
        done = run_published(CASE, box(), full, "given", strategy)  # type: ignore[arg-type]
        assert done.end == "context"
        assert (done.history or [])[-1]["content"] == SENTENCES["context"]


@pytest.mark.parametrize(
    ("written", "would_run"),
    [
        ("__import__('os').system('true')", True),
        ("[x for x in (1,) * 10**9]", True),
        ("{'a': tool_manager}", True),
        ("{**{}}", True),
        ("1 + 1", True),
        ('{"a": true}', False),
        ('{"a": NaN}', False),
        ("{oh no", False),
        ("1" * 5000, False),
        ("(" * 5000, False),
        ("{" + " " * (1 << 20) + "}", False),
        ("\x00", False),
        ("\ud800", False),
    ],
)
def test_nothing_is_evaluated(written: str, would_run: bool) -> None:
    with pytest.raises(RefusedError) as error:
        literal(written, null_is_text=False)
    assert error.value.would_run == would_run
    done = acted(
        "given", "react", [text(f"Action: view_today_alarms\nAction Input: {written}"), text("Final Answer: x")]
    )
    assert done.end == "answer"
    assert done.refused_expressions == would_run


@pytest.mark.parametrize("piece", ["Action:", "Action Input:", "Thought:", "Final Answer:", "{", "Action: x\n", "("])
def test_a_long_reply_is_read(piece: str) -> None:
    assert read_reply(piece * ((1 << 20) // len(piece))) is not None
    assert acted("given", "react", [text("Action: a\nAction Input: " + piece * 100_000)], turns=1).end


def test_values_that_no_file_can_keep_are_no_arguments() -> None:
    for written in ("{'a': 1e400}", "{'a': {1, 2}}", "{'a': b'x'}", "{'a': '\\ud800'}", "{'a': 1j}"):
        reply = text(f"Action: view_today_alarms\nAction Input: {written}")
        done = acted("given", "react", [reply, text("Final Answer: x")])
        assert done.refused_expressions == 1, written
        json.dumps(done.history)
