"""xLAM, ToolACE, Hermes and APIGen-MT: what is lost has a reason and a place, what is kept passes the check."""

from __future__ import annotations

from pathlib import Path
from typing import Any

import pytest

from data.published import NEW, run
from data.samples import SAMPLES, apigen_mt, hermes, toolace, xlam
from llamafactory_ext.data.checks.audit import audit
from llamafactory_ext.data.entries import DataEntry
from llamafactory_ext.data.family import SHAREGPT, Drop, Foreign
from llamafactory_ext.data.public.convert import FAMILIES, Request, convert
from llamafactory_ext.errors import DataError

pytestmark = pytest.mark.fast


@pytest.mark.parametrize(
    ("family", "record", "reason"),
    [
        ("xlam", xlam(answers="[{"), "its answers are no JSON list of calls"),
        ("xlam", xlam(tools="nothing"), "its tools are no JSON list"),
        ("xlam", xlam(answers="[]"), "states no call"),
        ("xlam", xlam(" "), "empty prompt"),
        ("xlam", xlam(query=3), "a message holds no text"),
        (
            "xlam",
            xlam("x", {"name": "set_lamp", "arguments": "level 3"}),
            "the arguments of a call are no JSON object",
        ),
        ("xlam", xlam("x", {"name": "set_lamp", "arguments": [3]}), "the arguments of a call are no JSON object"),
        ("xlam", xlam("x", {"arguments": {}}), "a call has no name"),
        ("xlam", xlam("x", "set_lamp"), "a call is no JSON object"),
        ("xlam", xlam("x", {"name": "lamp", "arguments": {}}), "names a tool that"),
        ("xlam", xlam(answers='[{"name": "set_lamp", "arguments": {"x": NaN}}]'), "its answers are no JSON list"),
        ("xlam", xlam(answers='[{"name": "set_lamp", "arguments": {"x": 1e999}}]'), "what JSON cannot write"),
        ("xlam", xlam(answers='[{"name": "set_lamp", "arguments": {"x": "\\ud800"}}]'), "what JSON cannot write"),
        ("xlam", xlam(tools='[{"description": "x"}]'), "a tool is no JSON object with a name"),
        ("xlam", xlam(tools='[{"name": "set_lamp", "parameters": [1]}]'), "the parameters of a tool"),
        ("xlam", {key: value for key, value in xlam().items() if key != "answers"}, 'has no "answers"'),
        ("toolace", toolace(("user", "x"), ("assistant", "[Set Lamp(level=3]")), "a call does not parse"),
        (
            "toolace",
            toolace(("user", "x"), ("assistant", '[Set Lamp(level="3)]')),
            "an argument of a call is no value",
        ),
        (
            "toolace",
            toolace(("user", "x"), ("assistant", "[Set Lamp(level=three)]")),
            "an argument of a call is no value",
        ),
        ("toolace", toolace(("user", "x"), ("assistant", "[Set Lamp(level=1, level=2)]")), "a call does not parse"),
        ("toolace", toolace(("user", "x"), ("assistant", "[Set Lamp(1, 2, 3, 4, 5, 6)]")), "a call does not parse"),
        ("toolace", toolace(("user", "x"), ("assistant", "[Set Lamp(level=3")), "a call does not parse"),
        ("toolace", toolace(("user", "x"), ("assistant", "[Open Door(level=3)]")), "names a tool that"),
        ("toolace", toolace(("user", "x"), ("assistant", "")), "empty output"),
        ("toolace", toolace(("user", "x")), "no answer of the assistant"),
        ("toolace", toolace(), "the dialogue has no turn"),
        ("toolace", toolace(("robot", "x")), "of a role that"),
        (
            "toolace",
            toolace(("user", "x")) | {"system": 'You may use: [{"name": "x"'},
            "the list of tools in its system",
        ),
        ("hermes", hermes(("human", "x"), ("gpt", "<tool_call>{'name': </tool_call>")), "a call does not parse"),
        ("hermes", hermes(("human", "x"), ("gpt", "<tool_call></tool_call>")), "a <tool_call> is empty"),
        ("hermes", hermes(("human", "x"), ("gpt", "<tool_call>{'name': 'lamp'}</tool_call>")), "names a tool that"),
        ("hermes", hermes(("human", "x"), ("gpt", "y"), tools="[{'name':"), "what stands in <tools>"),
        ("hermes", hermes(("human", "x"), ("gpt", "Action: set_lamp\nAction Input: {")), "does not parse"),
        ("hermes", hermes(("human", "x")), "no answer of the assistant"),
        ("hermes", {"id": "x", "conversations": [], "category": ""}, "the dialogue has no turn"),
        ("hermes", {"id": "x", "conversations": ["x"], "category": ""}, "a message is no JSON object"),
        (
            "hermes",
            {"id": "x", "conversations": [{"from": "gpt"}], "category": ""},
            'a message lacks "from" or "value"',
        ),
        ("apigen_mt", apigen_mt(("human", "x"), ("function_call", "{'name'")), "a call does not parse"),
        ("apigen_mt", apigen_mt(("human", "x"), ("function_call", "[]")), "a call does not parse"),
        ("apigen_mt", apigen_mt(("human", "x"), ("gpt", "y"), tools="x"), "its tools are no JSON list"),
        ("apigen_mt", apigen_mt(("human", "x"), ("observation", "y"), ("gpt", "z")), "is due"),
        ("apigen_mt", apigen_mt(("human", "x"), ("gpt", "y")) | {"conversations": [None]}, "a message is no JSON"),
    ],
)
def test_damaged_records_are_dropped_with_their_reason_and_place(
    family: str, record: Any, reason: str, tmp_path: Path
) -> None:
    outcome = FAMILIES[family].read(record)
    assert isinstance(outcome, Drop), outcome
    assert reason in outcome.reason
    result, kept = run(family, [*SAMPLES[family], record, *SAMPLES[family]], tmp_path, "file.json")
    assert [(drop.file, drop.place) for drop in result.dropped] == [("file.json", "index 1")]
    assert len(kept) == result.written == 2
    with pytest.raises(DataError, match=r"file\.json, index 0: "):
        run(family, [record], tmp_path, "file.json")


@pytest.mark.parametrize("family", NEW)
@pytest.mark.parametrize("other", [name for name in FAMILIES if name not in ("bfcl", "toolalpaca")])
def test_records_of_other_families_are_refused_by_name(family: str, other: str) -> None:
    for record in SAMPLES[other]:
        assert isinstance(FAMILIES[family].read(record), Foreign) == (family != other)


@pytest.mark.parametrize("family", NEW)
def test_a_wrong_name_is_told(family: str, tmp_path: Path) -> None:
    with pytest.raises(DataError, match=rf"looks like .*{family}"):
        run("gsm8k", SAMPLES[family], tmp_path, "file.json")
    for record in (3, None, "text", [], {}, {"a": 1}, {"conversations": 3}, {"system": "x", "chat": "y"}):
        assert isinstance(FAMILIES[family].read(record), Foreign)


@pytest.mark.parametrize("family", NEW)
@pytest.mark.parametrize("name", ["file.json", "file.jsonl"])
@pytest.mark.parametrize("mark", [b"", b"\xef\xbb\xbf"])
def test_lists_lines_and_byte_order_marks_are_read(family: str, name: str, mark: bytes, tmp_path: Path) -> None:
    records = [*SAMPLES[family], *SAMPLES[family]]
    result, kept = run(family, records, tmp_path, name)
    source = tmp_path / "in" / name
    source.write_bytes(mark + source.read_bytes())
    again = convert(Request(family, source, tmp_path / "out"))
    assert (again.sha256, len(kept)) == (result.sha256, 2)


@pytest.mark.parametrize("family", NEW)
def test_the_result_passes_the_check(family: str, tmp_path: Path) -> None:
    result, _ = run(family, SAMPLES[family], tmp_path, "file.json")
    found = audit(DataEntry.named(family, tmp_path / "out"))
    assert found.lines() == []
    assert found.calls == {"xlam": 1, "toolace": 2, "hermes": 1, "apigen_mt": 2}[family]
    assert result.output.name == f"{family}.json"


@pytest.mark.parametrize("family", NEW)
def test_upstream_takes_every_example(family: str) -> None:
    pytest.importorskip("llamafactory", reason="LLaMA-Factory is not installed: its converter reads the records")
    from llamafactory.data.converter import SharegptDatasetConverter
    from llamafactory.data.parser import DatasetAttr
    from llamafactory.hparams import DataArguments

    attributes = DatasetAttr("file", dataset_name=family)
    attributes.join(SHAREGPT.entry(f"{family}.json"))
    example = FAMILIES[family].read(SAMPLES[family][0])
    assert not isinstance(example, Drop | Foreign)
    taken = SharegptDatasetConverter(attributes, DataArguments())(example.columns)
    turns = example.columns["conversations"]
    assert [message["content"] for part in ("_prompt", "_response") for message in taken[part]] == [
        message["value"] for message in turns
    ]
    assert (taken["_tools"], taken["_system"]) == (example.columns["tools"], example.columns["system"])
