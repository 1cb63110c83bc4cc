"""The data of the steps: knowledge fades, the last prompt is the question, examples are others' and stay the same."""

from __future__ import annotations

import json
from pathlib import Path
from typing import Any

import pytest

from llamafactory_ext.data.entries import DataEntry
from llamafactory_ext.errors import DataError, OptionError
from llamafactory_ext.skintern.build import Steps
from llamafactory_ext.skintern.prompts import KNOWLEDGE_HEADING
from llamafactory_ext.skintern.schedule import schedule
from llamafactory_ext.skintern.sealed import write_step
from llamafactory_ext.skintern.settings import Settings, check_settings
from skintern.knowledge import COLUMNS, knowledge_records

pytestmark = pytest.mark.fast

SHARES = schedule(4, "linear")
RECORDS = knowledge_records(12)
TOOLS = [
    {
        "name": "f",
        "description": "Say it",
        "parameters": {"properties": {"x": {"type": "string", "description": "What"}}},
    },
    {"name": "g", "description": "Forget it", "parameters": {"properties": {"y": {"type": "string"}}}},
]
CALL = '{"name": "f", "arguments": {"x": "1"}}'


def entry(folder: Path, records: list[Any], **fields: Any) -> DataEntry:
    (folder / "d.json").write_text(json.dumps(records), "utf-8")
    return DataEntry.of("d", {"file_name": "d.json", **fields}, folder / "d.json")


def steps(folder: Path, records: list[Any] | None = None, **settings: Any) -> Steps:
    found = entry(folder, RECORDS if records is None else records, columns=COLUMNS)
    return Steps(found, Settings(**{"shares": SHARES, "shots": 3, **settings}))


def test_the_last_step_is_the_question_alone(tmp_path: Path) -> None:
    for made, record in zip(steps(tmp_path).step(3), RECORDS, strict=True):
        assert made["q"] == record["q"]


def test_knowledge_and_examples_fade(tmp_path: Path) -> None:
    built = steps(tmp_path)
    for index, record in enumerate(RECORDS):
        prompts = [built.at(index, step)["q"] for step in range(4)]
        assert record["k"]["summary"] in prompts[0]
        assert record["k"]["supplement"] in prompts[0]
        assert [prompt.count("\nAnswer: ") for prompt in prompts] == [3, 2, 1, 0]
        assert all(prompt.endswith(record["q"]) for prompt in prompts)
        assert [len(prompt) for prompt in prompts] == sorted(map(len, prompts), reverse=True)


def test_the_target_is_the_rationale_and_never_the_knowledge(tmp_path: Path) -> None:
    made = steps(tmp_path).at(3, 0)
    assert made["a"] == "3 and 4 make 7. Therefore, the answer is 7"
    assert made.keys() == {"q", "a", "t"}


def test_examples_are_of_the_task_and_never_the_item_or_its_double(tmp_path: Path) -> None:
    doubled = [*RECORDS, {**RECORDS[0], "q": " ".join(reversed(RECORDS[0]["q"].split()))}]
    for choice in ("similar", "random"):
        built = steps(tmp_path, doubled, examples=choice, shots=20)
        for index, record in enumerate(built.records):
            solved = built._examples.of(index, 0, 20)
            assert {one.task for one in solved} == {record.task}
            assert {index, 12 if index == 0 else 0 if index == 12 else index}.isdisjoint(
                built.records.index(one) for one in solved
            )


def test_the_same_seed_builds_the_same_and_the_file_is_sealed(tmp_path: Path) -> None:
    one, again, other = steps(tmp_path), steps(tmp_path), steps(tmp_path, seed=1)
    assert [*one.step(1)] == [*again.step(1)] != [*other.step(1)]
    folder = tmp_path / "step"
    write_step({"built": one}, 1, folder)
    before = {file.name: file.read_bytes() for file in folder.iterdir()}
    write_step({"built": again}, 1, folder)
    assert {file.name: file.read_bytes() for file in folder.iterdir()} == before
    with pytest.raises(DataError, match="other records or settings"):
        write_step({"built": other}, 1, folder)
    (folder / "records.jsonl").write_text("", "utf-8")
    with pytest.raises(DataError, match=r"records\.jsonl was changed or removed"):
        write_step({"built": one}, 1, folder)
    changed = steps(tmp_path, [{**RECORDS[0], "k": "other"}, *RECORDS[1:]])
    with pytest.raises(DataError, match="other records or settings"):
        write_step({"built": changed}, 1, folder)


def test_a_step_that_is_there_is_not_made_again(tmp_path: Path, monkeypatch: pytest.MonkeyPatch) -> None:
    """A compressor that is not the same everywhere is asked once; what is refused is not written."""
    built = steps(tmp_path)

    def refuse() -> None:
        raise DataError("too long")

    with pytest.raises(DataError, match="too long"):
        write_step({"built": built}, 0, tmp_path / "step", refuse)
    assert not (tmp_path / "step").exists()
    write_step({"built": built}, 0, tmp_path / "step")
    monkeypatch.setattr(Steps, "step", lambda *_: pytest.fail("built again"))
    write_step({"built": built}, 0, tmp_path / "step", refuse)


def test_what_is_written_is_an_ordinary_data_set(tmp_path: Path) -> None:
    write_step({"built": steps(tmp_path), "other": steps(tmp_path, RECORDS[:3])}, 0, tmp_path / "step")
    read = DataEntry.named("built", tmp_path / "step")
    assert len(list(DataEntry.named("other", tmp_path / "step").records())) == 3
    assert [record["q"] for _, record in read.records()] == [made["q"] for made in steps(tmp_path).step(0)]
    assert not {"knowledge", "rationale"} & read.entry["columns"].keys()


def test_a_prompt_that_is_too_long_loses_examples_and_then_knowledge(tmp_path: Path) -> None:
    found = entry(tmp_path, RECORDS, columns=COLUMNS)
    whole = Steps(found, Settings(shares=SHARES, shots=3))
    lengths = [len(made["q"]) for made in whole.step(0)]
    for room in (max(lengths) + 60, 260, 140, 1):
        built = Steps(found, Settings(shares=SHARES, shots=3), len, room)
        for made, record, free in zip(built.step(0), built.records, whole.step(0), strict=True):
            assert made["q"].endswith(record.question)
            if len(made["q"]) < len(free["q"]):
                assert record.place in built.counts.shortened
                assert len(f"{made['q']}\n{record.target}") <= room or made["q"] == record.question
                assert made["q"].count("Answer: ") == 0 or record.knowledge["summary"] in made["q"]
        assert bool(built.counts.shortened) == (room <= 260)
    assert [made["q"] for made in built.step(0)] == [record["q"] for record in RECORDS]


def test_parts_may_be_left_out(tmp_path: Path) -> None:
    summary = steps(tmp_path, parts=("summary",)).at(0, 0)["q"]
    assert "Add the numbers" in summary
    assert "commute" not in summary
    assert "Answer: " not in summary
    assert "Add the numbers" not in steps(tmp_path, parts=("supplement", "examples")).at(0, 0)["q"]


def test_some_records_may_keep_or_lack_everything(tmp_path: Path) -> None:
    many = [{**RECORDS[0], "id": str(index)} for index in range(400)]
    built = steps(tmp_path, many, keep_share=0.25, drop_share=0.5, shots=0)
    kept = [sum(KNOWLEDGE_HEADING in made["q"] for made in built.step(step)) for step in range(4)]
    assert kept[0] == kept[1] == kept[2] == pytest.approx(200, abs=30)
    assert kept[3] == pytest.approx(100, abs=26)


def test_the_published_last_prompt_keeps_its_heading(tmp_path: Path) -> None:
    made = steps(tmp_path, final="reference", shots=0).at(0, 3)
    assert made["q"].startswith(f"{KNOWLEDGE_HEADING}\n\nQuestion: ")


@pytest.mark.parametrize("layout", ["sharegpt", "openai"])
def test_dialogues_keep_their_layout(tmp_path: Path, layout: str) -> None:
    role, content, human, model = (
        ("from", "value", "human", "gpt") if layout == "sharegpt" else ("role", "content", "user", "assistant")
    )
    column = "conversations" if layout == "sharegpt" else "messages"
    record = {
        column: [
            {role: "system", content: "S"},
            {role: human, content: "Q?"},
            {role: model, content: "7"},
            {role: human, content: "Q2?"},
            {role: model, content: "8"},
        ],
        "k": "Know this.",
        "r": "Because.",
    }
    found = entry(
        tmp_path, [record], formatting=layout, columns={"messages": column, "knowledge": "k", "rationale": "r"}
    )
    built = Steps(found, Settings(shares=SHARES, shots=0))
    first, last = (built.at(0, step)[column] for step in (0, 3))
    assert last == [
        *record[column][:2],
        {role: model, content: "Because. Therefore, the answer is 7"},
        *record[column][3:],
    ]
    assert first[1][content] == f"{KNOWLEDGE_HEADING}\nKnow this.\n\nQuestion: Q?"
    assert first[2:] == last[2:]


def test_tools_fade_and_are_gone_in_the_end(tmp_path: Path) -> None:
    record = {
        "messages": [{"role": "user", "content": "Q?"}, {"role": "assistant", "content": CALL}],
        "tools": json.dumps(TOOLS),
    }
    found = entry(tmp_path, [record], formatting="openai", columns={"messages": "messages", "tools": "tools"})
    built = Steps(found, Settings(shares=SHARES, compressor="tools"))
    tools = [built.at(0, step)["tools"] for step in range(4)]
    assert json.loads(tools[0]) == TOOLS
    assert '"f"' in tools[2]
    assert tools[3] == ""
    assert all(built.at(0, step)["messages"] == record["messages"] for step in range(4))


def test_tools_that_are_none_are_named_with_their_place(tmp_path: Path) -> None:
    record = {"q": "Q?", "a": "A", "tools": "{not json"}
    found = entry(tmp_path, [record], columns={"prompt": "q", "response": "a", "tools": "tools"})
    with pytest.raises(DataError, match=r"d\.json, index 0: these tools are no JSON list"):
        Steps(found, Settings(shares=SHARES))


def test_a_first_turn_in_the_history_gets_the_knowledge(tmp_path: Path) -> None:
    record = {"q": "Q2?", "a": "8", "h": [["Q?", "7"]], "k": "Know this."}
    found = entry(tmp_path, [record], columns={**COLUMNS, "history": "h"})
    made = Steps(found, Settings(shares=SHARES, shots=0)).at(0, 0)
    assert made["h"] == [[f"{KNOWLEDGE_HEADING}\nKnow this.\n\nQuestion: Q?", "7"]]
    assert made["q"] == "Q2?"


@pytest.mark.parametrize(
    ("record", "named"),
    [
        ({"k": 3}, '"k" is no text'),
        ({"k": {"other": "x"}}, "'other'"),
        ({"k": {"summary": 3}}, '"k" is no text'),
        ({"r": ["x"]}, '"r" is no text'),
        ({"id": "same"}, "'same'"),
        ({"q": "half \ud800"}, "half a character"),
        ({"a": 3}, '"a"'),
    ],
)
def test_a_bad_record_is_named_with_its_place(tmp_path: Path, record: dict[str, Any], named: str) -> None:
    with pytest.raises(DataError, match=named):
        steps(tmp_path, [RECORDS[0], {**RECORDS[1], **record}, {**RECORDS[2], **record}])


def test_data_without_any_knowledge_are_refused_and_some_without_are_counted(tmp_path: Path) -> None:
    bare = [{**record, "k": " "} for record in RECORDS]
    with pytest.raises(DataError, match='no record has "knowledge"'):
        steps(tmp_path, bare, shots=0)
    assert steps(tmp_path, [*bare[:5], *RECORDS[5:]]).counts.without_knowledge == 5


def test_settings_that_cannot_be_are_named_at_once() -> None:
    wrong = Settings(shares=SHARES, compressor="x", examples="y", parts=("z",), keep_share=2)
    with pytest.raises(OptionError) as caught:
        check_settings(wrong)
    assert all(word in str(caught.value) for word in ("'x'", "'y'", "'z'", "skintern_keep_share"))
