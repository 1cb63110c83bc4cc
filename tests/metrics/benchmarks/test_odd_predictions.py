"""Any prediction gets a verdict: no text, no message and no call that a model may write ends a run of a scorer."""

from __future__ import annotations

import json
from collections.abc import Callable, Sequence
from pathlib import Path
from types import SimpleNamespace
from typing import Any

import pytest
from hypothesis import HealthCheck, given, settings
from hypothesis import strategies as st

from llamafactory_ext.errors import DataError
from llamafactory_ext.metrics import Prediction
from llamafactory_ext.metrics.answers import Answered, Scored
from llamafactory_ext.metrics.benchmarks import rotbench, toolalpaca, tooleyes
from llamafactory_ext.metrics.benchmarks.api_bank import score as api_bank
from llamafactory_ext.metrics.references import Item
from llamafactory_ext.metrics.report import Mode

pytestmark = pytest.mark.fast

TOOLS = json.dumps([{"name": name, "parameters": {"type": "object"}} for name in ("weather", "ask", "finish")])
GOLD = 'Thought: t\nAction: weather\nAction Input: {"city": "Rome", "unit": "None"}'
SYSTEM = {"from": "system", "value": f"Tools:\n{TOOLS}\n\nLet's Begin!"}
USER = {"from": "user", "value": "?"}
API = {"Name": "Days", "NLDocumentation": "doc"}
STEPS = [{"Action": "weather", "Action_Input": '{"city": "Rome"}'}, {"Action": "x", "Action_Input": "{bad"}]
ITEMS = {
    "rotbench": Item(
        "clean:0", "clean", {"conversations": [SYSTEM, USER, {"from": "assistant", "value": [GOLD, GOLD]}]}
    ),
    "tooleyes": Item("tooleyes:0", "s", {"conversations": [SYSTEM, USER], "path": "p"}),
    "toolalpaca": Item("Days:0", "Days", {"api": API, "index": 0, "instruction": "?", "golden_answer": STEPS}),
    "api_bank": Item("level-1-api:0", "level-1-api", {"expected_output": "API-Request: [weather(city='Rome')]"}),
    "api_bank replies": Item("level-1-response:0", "level-1-response", {"expected_output": "AI: It is done."}),
    "api_bank level 3": Item("level-3-batch-inf-response:0", "level-3-batch-inf-response", {"output": "It is done."}),
}
# Pieces of calls, whole and broken, so that texts come near to what scorers read.
PIECES = (
    *(
        "Action:",
        "Action Input:",
        "\nAction: weather",
        "\nAction Input: ",
        "Thought:",
        '{"city": "Rome"}',
        "{",
        "}",
        "[",
        "]",
    ),
    *(
        "<tool_call>",
        "</tool_call>",
        '{"name": "weather", "arguments": ',
        "[weather(",
        "city='Rome'",
        ")]",
        "null",
        '""',
        "'",
    ),
    *(
        "API-Request: ",
        "1e999",
        "NaN",
        "-",
        "\\u",
        "\0",
        "\n",
        "finish",
        "AI:",
        "...",
        "<think>",
        "</think>",
        "Observation:",
    ),
    *("[" * 3000, "9" * 5000, '{"a":' * 2000, "a. " * 500),
)
texts = st.one_of(st.text(), st.lists(st.sampled_from(PIECES), max_size=8).map("".join))
scalars = st.one_of(st.none(), st.booleans(), st.integers(), st.floats(), texts)
values = st.recursive(
    scalars,
    lambda inner: st.one_of(st.lists(inner, max_size=3), st.dictionaries(st.text(max_size=5), inner, max_size=3)),
)
functions = st.one_of(
    values,
    st.fixed_dictionaries({}, optional={"name": st.one_of(texts, values), "arguments": st.one_of(texts, values)}),
)
calls = st.one_of(
    values,
    st.lists(st.one_of(values, st.fixed_dictionaries({}, optional={"id": values, "function": functions})), max_size=3),
)
roles = st.one_of(st.sampled_from(("assistant", "tool", "user", "function", "observation")), values)
messages = st.fixed_dictionaries(
    {}, optional={"role": roles, "content": st.one_of(texts, values), "tool_calls": calls}
)


def judge(reply: str) -> Any:
    return SimpleNamespace(options=SimpleNamespace(model="m"), ask=lambda prompt: reply, summary=dict)


@pytest.fixture(scope="module")
def folder(tmp_path_factory: pytest.TempPathFactory) -> Path:
    made = tmp_path_factory.mktemp("toolalpaca")
    (made / "Evaluation.txt").write_text("${documentation}${instruction}${standard}${solution}", encoding="utf-8")
    return made


@pytest.mark.parametrize("mode", ["official", "strict"])
@pytest.mark.parametrize("name", ITEMS)
@settings(max_examples=60, suppress_health_check=[HealthCheck.function_scoped_fixture, HealthCheck.too_slow])
@given(text=texts, said=st.one_of(st.none(), st.lists(messages, max_size=4)), reply=texts)
def test_every_prediction_has_a_verdict(name: str, mode: Mode, folder: Path, text: str, said: Any, reply: str) -> None:
    item = ITEMS[name]
    record = {
        "id": item.id,
        "benchmark": name,
        "prompt_hash": "p",
        "model_hash": "m",
        "prediction": text,
        "messages": said,
    }
    try:
        prediction = Prediction.from_record(json.loads(json.dumps(record)))
    except DataError:  # half a surrogate pair: no prediction file holds it
        return
    scorers: dict[str, Callable[[Sequence[Answered], Mode], Scored]] = {
        "rotbench": rotbench.score,
        "tooleyes": tooleyes.score,
        "toolalpaca": lambda answered, mode: toolalpaca.score(answered, mode, judge(reply), folder),
    }
    if name == "api_bank" and mode == "official":
        api_bank.published_call(text)  # what is made of the call then is the sandbox's: test_execution.py
        return
    scored = scorers.get(name, api_bank.score)([Answered(item, prediction)], mode)
    assert scored.verdicts[-1].id == item.id
    assert all(0 <= value <= 1 for verdict in scored.verdicts for value in verdict.scores.values())
    json.dumps([verdict.detail for verdict in scored.verdicts], ensure_ascii=False).encode()
