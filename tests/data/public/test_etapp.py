"""ETAPP's training data: the longest record of a dialogue becomes one dialogue, calls and results in their roles."""

from __future__ import annotations

import json
from pathlib import Path
from typing import Any

import pytest

from data.samples import ETAPP_TURNS, chatml
from llamafactory_ext.data.public.convert import Request, convert
from llamafactory_ext.errors import DataError
from llamafactory_ext.toolcalls import detect

pytestmark = pytest.mark.fast


def run(folder: Path, records: list[Any]) -> tuple[Any, list[dict[str, Any]]]:
    source = folder / "training_data_qwen_format_fc.json"
    source.write_text(json.dumps(records))
    done = convert(Request("etapp", source, folder / "out"))
    return done, json.loads(done.output.read_text())


def test_beginnings_of_a_dialogue_are_left_out(tmp_path: Path) -> None:
    first = chatml(*ETAPP_TURNS[:2], reply=ETAPP_TURNS[2][1])
    last = chatml(*ETAPP_TURNS, reply="It is dim.<|im_end|>")
    other = chatml(ETAPP_TURNS[0], ("user", "Hello."), reply="Hello!")
    done, rows = run(tmp_path, [first, last, other])
    assert (done.written, len(done.dropped)) == (2, 1)
    turns = rows[0]["conversations"]
    assert [turn["from"] for turn in turns] == ["human", "function_call", "observation", "gpt"]
    (found,) = detect(turns[1]["value"])
    assert (found.call.name, dict(found.call.arguments)) == ("set_lamp", {"level": 3})
    assert "I dim it." in turns[1]["value"]
    assert turns[2]["value"] == "{}"
    assert turns[3]["value"] == "It is dim."
    assert json.loads(rows[0]["tools"])[0]["function"]["name"] == "set_lamp"
    assert rows[0]["system"] == "You help one user."
    assert (rows[0]["mark"], rows[0]["task"]) == ("tool", "etapp")


def test_react(tmp_path: Path) -> None:
    said = 'Thought: dim it\nAction: set_lamp\nAction Input: {"level": 3}'
    turns = [("system", "Tools stand here."), ("user", "Dim."), ("assistant", said), ("user", "done")]
    _, (row,) = run(tmp_path, [chatml(*turns, reply="Thought: done\nFinal Answer: It is dim.")])
    assert [turn["from"] for turn in row["conversations"]] == ["human", "function_call", "observation", "gpt"]
    assert row["conversations"][3]["value"] == "It is dim."


@pytest.mark.parametrize(
    "record",
    [{"input": "hello", "output": "x"}, {"input": 3, "output": "x"}, chatml(("assistant", "I"), reply="x"), []],
)
def test_other_records_are_refused(tmp_path: Path, record: Any) -> None:
    with pytest.raises(DataError, match="not records of etapp"):
        run(tmp_path, [record])
