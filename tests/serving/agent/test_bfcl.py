"""`infer` acts BFCL's multi_turn tasks: a scripted model by a server and a tiny one by transformers, to the report."""

from __future__ import annotations

import json
import re
import sys
from collections.abc import Callable, Mapping
from pathlib import Path
from typing import Any

import pytest

import processes
from llamafactory_ext.errors import OptionError
from llamafactory_ext.metrics import read_report
from llamafactory_ext.serving.agent import bfcl
from llamafactory_ext.serving.infer.options import InferOptions
from llamafactory_ext.serving.infer.run import run
from metrics.benchmarks.bfcl.small_checkout import SENTENCE, TASKS, write_checkout
from metrics.isolation import isolation_problem
from serving.asking import lines
from serving.stub_server import Answer, completion, serving

pytestmark = pytest.mark.fast


@pytest.fixture(scope="module", autouse=True)
def _isolated() -> None:
    problem = isolation_problem()
    if problem is not None:
        pytest.skip(problem)


@pytest.fixture(scope="module")
def checkout(tmp_path_factory: pytest.TempPathFactory) -> Path:
    return write_checkout(tmp_path_factory.mktemp("gorilla"))


SCRIPT: Mapping[str, list[list[tuple[str, Any]]]] = {
    "Make a.": [[("mkdir", {"name": "a"})]],
    "What is there, and what is 1 + 2?": [[("ls", {})], [("add", {"a": 1, "b": 2})]],
    "Write b.": [[("write", {"name": "b", "content": "ls is nice"})]],
    "Show it.": [[("cat", {"name": "b"})]],
    SENTENCE: [[("mkdir", {"name": "a"})]],
    "Show a.": [[("cat", {"name": "a"})]],
    "What is there?": [[("ls", {})]],
}


def scripted(path: str, body: Any) -> Answer:
    """A model that knows all, but for what it may not call yet."""
    if body is None:
        return 200, {"data": [{"id": "m"}]}
    messages = body["messages"]
    place = max(number for number, one in enumerate(messages) if one["role"] == "user")
    steps = SCRIPT.get(messages[place]["content"], [])
    made = sum(one["role"] == "assistant" for one in messages[place:])
    offered = {tool["function"]["name"] for tool in body["tools"]}
    if made == len(steps) or not {name for name, _ in steps[made]} <= offered:
        return completion("Done.")
    calls = [
        {"id": f"c{number}", "type": "function", "function": {"name": name, "arguments": json.dumps(given)}}
        for number, (name, given) in enumerate(steps[made])
    ]
    return completion("", calls)


def asked(checkout: Path, out: Path, answer: Callable[[str, Any], Answer], **more: Any) -> list[dict[str, Any]]:
    with serving(answer) as stub:
        given = {"model": "m", "url": f"{stub.url}/v1", "backend": "openai", "retries": 0}
        given |= {"benchmark": "bfcl_multi_turn", "source": str(checkout), "out": str(out)}
        return lines(run(InferOptions.of(given | more)))


def command(*words: str) -> None:
    result = processes.run([sys.executable, "-m", "llamafactory_ext.cli", *words], Path.cwd())
    assert result.returncode == 0, result.stderr[-2000:]


def test_infer_score_and_report(checkout: Path, tmp_path: Path) -> None:
    records = asked(checkout, tmp_path / "answers.jsonl", scripted)
    by_id = {record["id"]: record for record in records}
    assert len(by_id) == sum(map(len, TASKS.values()))
    first = by_id["multi_turn_base_0"]
    steps = [[[{"mkdir": '{"name": "a"}'}], "Done."], [[{"ls": "{}"}], [{"add": '{"a": 1, "b": 2}'}], "Done."]]
    assert json.loads(first["prediction"]) == steps
    told = [message["content"] for message in first["messages"] if message["role"] == "tool"]
    assert told == ["None", '{"names": ["a"]}', '{"result": 3}']
    names = [
        "score",
        "bfcl_multi_turn",
        "--predictions",
        str(tmp_path / "answers.jsonl"),
        "--references",
        str(checkout),
    ]
    for mode in ("official", "strict"):
        command(*names, "--mode", mode)
        report = read_report(tmp_path / f"answers.{mode}.json")
        assert (report.figure("accuracy").value, report.figure("accuracy").n, report.partial) == (1.0, 5, False)
    command("report", f"m={tmp_path / 'answers.official.json'}", "--out", str(tmp_path / "page"))
    page = (tmp_path / "page" / "report.md").read_text("utf-8")
    assert "| m | bfcl_multi_turn/accuracy | 100.00 | 0.00 | 5 | 0 | official | 5 of 5 |" in page


def test_functions_that_are_held_back_come_with_a_turn_of_their_own(checkout: Path, tmp_path: Path) -> None:
    seen: list[Any] = []

    def remembered(path: str, body: Any) -> Answer:
        seen.append(body)
        return scripted(path, body)

    source = checkout / "berkeley-function-call-leaderboard/bfcl_eval/data/BFCL_v4_multi_turn_miss_func.json"
    (record,) = asked(source, tmp_path / "answers.jsonl", remembered)
    offered = [{tool["function"]["name"] for tool in body["tools"]} for body in seen if body]
    assert [("mkdir" in names, len(names)) for names in offered] == [(False, 5), (True, 6), (True, 6)]
    assert [one["content"] for one in record["messages"] if one["role"] == "user"] == ["Make a.", SENTENCE]


def test_a_model_that_never_stops_calling_is_stopped(checkout: Path, tmp_path: Path) -> None:
    """By the published limit: 21 replies with calls; the turns behind it are missing, which the scorer counts."""

    def endless(path: str, body: Any) -> Answer:
        if body is None:
            return 404, {}
        function = {"name": "ls", "arguments": "{}"}
        return completion("", [{"id": "c", "type": "function", "function": function}])

    (record,) = asked(checkout, tmp_path / "answers.jsonl", endless, limit=1)
    (turn,) = json.loads(record["prediction"])
    assert turn == [[{"ls": "{}"}]] * 21


HOSTILE: Mapping[str, tuple[Any, str]] = {
    "a call that hangs": ("hang", r"the tools have ended: no answer within 4 seconds"),
    "a call that ends the sandbox": ("leave", r"the tools have ended: left with exit code 3"),
    "an unknown function": ("nope", r"Error during execution: name 'nope' is not defined"),
}


@pytest.mark.parametrize("case", HOSTILE)
def test_calls_that_break_the_tools_are_told_to_the_model(
    checkout: Path, tmp_path: Path, case: str, monkeypatch: pytest.MonkeyPatch
) -> None:
    name, told = HOSTILE[case]
    monkeypatch.setattr(bfcl, "CALL_SECONDS", 4)

    def breaking(path: str, body: Any) -> Answer:
        if body is None:
            return 404, {}
        if body["messages"][-1]["role"] == "tool":
            return completion("I see.")
        function = {"name": name, "arguments": "{}"}
        return completion("", [{"id": "c", "type": "function", "function": function}])

    (record,) = asked(checkout, tmp_path / "answers.jsonl", breaking, limit=1)
    results = [one["content"] for one in record["messages"] if one["role"] == "tool"]
    assert len(results) == 2
    assert re.search(told, results[0])


def test_a_tiny_model_by_transformers(checkout: Path, tmp_path: Path, tiny_llama_dir: Path) -> None:
    """The dialogues share batches; each prompt is the template's, and the answers are those of one at a time."""
    given = {"model": str(tiny_llama_dir), "backend": "hf", "template": "llama3_toolalpaca", "max_new_tokens": 4}
    given |= {"benchmark": "bfcl_multi_turn", "source": str(checkout), "dtype": "float32"}
    found = [
        {one["id"]: one["prediction"] for one in lines(run(InferOptions.of(given | changes)))}
        for changes in (
            {"out": str(tmp_path / "many.jsonl"), "batch_size": 5},
            {"out": str(tmp_path / "single.jsonl"), "batch_size": 1},
        )
    ]
    assert found[0] == found[1]
    assert [len(json.loads(one)) for one in found[0].values()].count(2) == 4


def test_what_the_model_reads_is_the_dialogue() -> None:
    call = {"id": "c", "type": "function", "function": {"name": "f", "arguments": '{"x": 1}'}}
    messages = [
        {"role": "user", "content": "a"},
        {"role": "assistant", "content": "I look.", "tool_calls": [call]},
        {"role": "tool", "content": "1"},
        {"role": "tool", "content": "2"},
        {"role": "assistant", "content": "b"},
    ]
    assert [(one.role, one.content) for one in bfcl.spoken(messages)] == [
        ("user", "a"),
        ("function", 'I look.\n[{"name": "f", "arguments": {"x": 1}}]'),
        ("observation", "1\n</tool_response>\n<tool_response>\n2"),
        ("assistant", "b"),
    ]


def test_options_without_an_effect_are_named(checkout: Path, tmp_path: Path) -> None:
    given = {"model": "m", "backend": "vllm", "turns": 3, "out": str(tmp_path / "o.jsonl")}
    given |= {"benchmark": "bfcl_multi_turn", "source": str(checkout)}
    with pytest.raises(OptionError) as caught:
        run(InferOptions.of(given))
    assert "--turns has no effect with bfcl_multi_turn" in caught.value.message
    assert "give --backend hf, or serve the model" in caught.value.message
