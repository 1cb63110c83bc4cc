"""What a teacher says becomes records: kept, counted, asked once, and nothing half-written."""

from __future__ import annotations

import json
from collections.abc import Callable
from pathlib import Path
from typing import Any

import pytest

from llamafactory_ext.commands.skintern import Skintern
from llamafactory_ext.data.entries import DataEntry
from llamafactory_ext.errors import DataError, ExtError, OptionError
from llamafactory_ext.skintern.build import Steps
from llamafactory_ext.skintern.collect import collect, ends_in, read_knowledge
from llamafactory_ext.skintern.records import read_skintern_records
from llamafactory_ext.skintern.settings import Settings
from metrics.judge_stub import Stub, judge_stub

pytestmark = pytest.mark.fast

CUE = "Therefore, the answer is"
KNOWLEDGE = "Summary\n1. Add.\n2. Say it.\n\nSupplement\n- Sums commute."
KEY = "sk-very-secret"


def write(folder: Path, answers: list[str], questions: list[str] | None = None) -> Path:
    folder.mkdir(parents=True, exist_ok=True)
    path = folder / "sums.json"
    asked = questions or [f"What is {number} + {number + 1}?" for number in range(len(answers))]
    records = [{"instruction": q, "input": "", "output": a} for q, a in zip(asked, answers, strict=True)]
    path.write_text(json.dumps(records), "utf-8")
    return path


def collected(path: Path, ask: Callable[[str, int], str], **changes: int) -> Any:
    entry = DataEntry.of_file(path)
    return collect(entry, list(read_skintern_records(entry)), ask, **changes)


def teacher(rationale: str = f"So. {CUE} {{}}", knowledge: str = KNOWLEDGE) -> Callable[[str, int], str]:
    """A teacher that knows the answer, which stands at the end of every prompt."""

    def ask(prompt: str, attempt: int) -> str:
        answer = prompt.rpartition("Its answer: ")[2]
        return knowledge if "Summary" in prompt else f"{attempt}: {rationale.format(answer)}"

    return ask


@pytest.mark.parametrize(
    ("answer", "rationale", "kept"),
    [
        ("7", f"3 + 4 make 7. {CUE} 7.", True),
        ("7", f"{CUE} 8. No: {CUE} 7", True),
        ("1,800", f"{CUE} $1800.00", True),
        ("(B)", f"{CUE} (B) blue.", True),
        ("Yes", f"{CUE} yes.", True),
        ("valid", f"{CUE} invalid.", False),
        ("a b", f"{CUE} a, b.", True),
        ("7", "It is 7.", False),
        ("7", f"{CUE} 8.", False),
        ("7", f"{CUE}", False),
        ("7", "", False),
    ],
)
def test_a_rationale_ends_in_the_answer(tmp_path: Path, answer: str, rationale: str, kept: bool) -> None:
    (record,) = read_skintern_records(DataEntry.of_file(write(tmp_path, [answer])))
    assert ends_in(rationale, record) is kept


@pytest.mark.parametrize(
    ("reply", "parts"),
    [
        (KNOWLEDGE, ("1. Add.\n2. Say it.", "- Sums commute.")),
        ("**Summary:**\n1. Add.\n\n### Supplement\nSums.", ("1. Add.", "Sums.")),
        ("# supplement\nSums.\n# SUMMARY\n1. Add.", ("1. Add.", "Sums.")),
        ("Summary\n1. Add.", None),
        ("Summary\n\nSupplement\n- Sums.", None),
        ("Summary of all:\nx\n\nSupplementary: y", None),
        ("I cannot help with that.", None),
        ("", None),
    ],
)
def test_knowledge_has_two_parts(reply: str, parts: tuple[str, str] | None) -> None:
    read = read_knowledge(reply)
    assert (read and (read["summary"], read["supplement"])) == parts


def test_one_record_for_each_rationale_and_the_build_reads_them(tmp_path: Path) -> None:
    path = write(tmp_path, ["1", "3", "5"])
    found = collected(path, teacher())
    assert [record["id"] for record in found.records] == ["0.1", "0.2", "1.1", "1.2", "2.1", "2.2"]
    assert all(record["knowledge"]["summary"].startswith("1. Add") for record in found.records)
    assert found.lines() == ["all: 6 of 6 rationales end in the answer"]


def test_the_result_is_the_same_however_many_are_asked_at_a_time(tmp_path: Path) -> None:
    path = write(tmp_path, [str(number) for number in range(1, 20, 2)])
    assert collected(path, teacher(), concurrency=1).records == collected(path, teacher(), concurrency=8).records


def test_wrong_replies_are_dropped_and_counted(tmp_path: Path) -> None:
    path = write(tmp_path, ["1", "3", "5"])

    def ask(prompt: str, attempt: int) -> str:
        if "Summary" in prompt:
            return "nothing" if "0 + 1" in prompt else KNOWLEDGE
        return f"{CUE} 99" if "1 + 2" in prompt else "no idea" if attempt else teacher()(prompt, attempt)

    found = collected(path, ask)
    assert [record["id"] for record in found.records] == ["0.1", "2.1"]
    assert found.records[0]["knowledge"] == {}
    tally = found.tallies[""]
    assert (tally.asked, tally.kept, tally.no_cue, tally.unread) == (6, 2, 2, 1)
    said = " ".join(found.lines())
    assert "1 records have no rationale and are left out, such as index 1." in said
    assert "1 records have no knowledge, such as index 0." in said


def test_unread_knowledge_is_asked_for_once_more(tmp_path: Path) -> None:
    asked: list[int] = []

    def ask(prompt: str, attempt: int) -> str:
        if "Summary" not in prompt:
            return teacher()(prompt, attempt)
        asked.append(attempt)
        return KNOWLEDGE if attempt % 2 else "no"

    found = collected(write(tmp_path, ["1"]), ask, rationales=1)
    assert asked == [0, 1]
    assert found.records[0]["knowledge"]["supplement"] == "- Sums commute."


def test_the_candidate_most_like_the_question_stays(tmp_path: Path) -> None:
    other, near = (
        "Summary\n1. Look.\n\nSupplement\n- Whales swim.",
        "Summary\n1. Bake.\n\nSupplement\n- Bread is baked.",
    )

    def ask(prompt: str, attempt: int) -> str:
        return (near if attempt == 2 else other) if "Summary" in prompt else teacher()(prompt, attempt)

    found = collected(write(tmp_path, ["1"], ["Who baked the bread?"]), ask, rationales=1, candidates=2)
    assert found.records[0]["knowledge"]["supplement"] == "- Bread is baked."


def test_a_teacher_that_is_never_right_leaves_nothing(tmp_path: Path) -> None:
    with pytest.raises(DataError, match=r"0 of 4 rationales end in the answer.*4 do not say"):
        collected(write(tmp_path, ["1", "3"]), lambda *_: "I do not know.")


# The verb


@pytest.fixture
def environment(monkeypatch: pytest.MonkeyPatch) -> Callable[[Stub], None]:
    def point(stub: Stub) -> None:
        for name, value in (("URL", stub.url), ("MODEL", "t-1"), ("KEY", KEY)):
            monkeypatch.setenv(f"LLAMAFACTORY_EXT_TEACHER_{name}", value)
        monkeypatch.delenv("LLAMAFACTORY_EXT_TEACHER_PRICES", raising=False)

    return point


def everything(folder: Path) -> dict[str, bytes]:
    return {path.name: path.read_bytes() for path in folder.rglob("*") if path.is_file()}


def test_the_verb_resumes_and_its_result_can_be_built(
    tmp_path: Path, environment: Callable[[Stub], None], capsys: pytest.CaptureFixture[str]
) -> None:
    path, out = write(tmp_path / "in", ["1", "1"]), tmp_path / "out"
    good = f"So. {CUE} 1."
    with judge_stub() as stub:
        environment(stub)
        stub.answers = [good, KNOWLEDGE, (404, f"gone, {KEY}", {})]
        with pytest.raises(OptionError, match=r"The teacher t-1 .* gave no answer .*2 replies are kept") as caught:
            Skintern().collect(str(path), str(out), rationales=1, concurrency=1)
        assert set(everything(out)) == {"teacher.jsonl"}
        stub.answers = [good, KNOWLEDGE]
        Skintern().collect(str(path), str(out), rationales=1, concurrency=1)
        assert len(stub.bodies) == 5
        assert {body["temperature"] for body in stub.bodies} == {0.8}
        first = everything(out)
        Skintern().collect(str(path), str(out), rationales=1, concurrency=1)
        assert len(stub.bodies) == 5
        assert {name: text for name, text in everything(out).items() if name != "report.json"} == {
            name: text for name, text in first.items() if name != "report.json"
        }
    assert KEY.encode() not in b"".join(everything(out).values())
    assert KEY not in capsys.readouterr().out + caught.value.message
    steps = Steps(DataEntry.named("sums", out), Settings(shares=(1.0, 0.0), shots=0))
    assert "Sums commute" in steps.at(0, 0)["instruction"]
    assert steps.at(1, 1)["output"] == good


@pytest.mark.parametrize(
    ("changes", "named"),
    [
        ({"rationales": 0}, "--rationales"),
        ({"candidates": "x"}, "--candidates"),
        ({"concurrency": True}, "--concurrency"),
        ({"temperature": 3}, "--temperature"),
        ({"max_tokens": -1}, "--max_tokens"),
        ({"data": "nothing"}, "nothing"),
        ({"test": "sums"}, "2 of 2 records ask what an item"),
        ({}, "LLAMAFACTORY_EXT_TEACHER_URL"),
    ],
)
def test_what_cannot_be_asked_is_named_and_nothing_written(
    tmp_path: Path, monkeypatch: pytest.MonkeyPatch, changes: dict[str, Any], named: str
) -> None:
    for name in ("URL", "MODEL", "KEY"):
        monkeypatch.delenv(f"LLAMAFACTORY_EXT_TEACHER_{name}", raising=False)
    path = write(tmp_path / "in", ["1", "3"])
    changes = changes | ({"test": str(path)} if "test" in changes else {})
    with pytest.raises(ExtError, match=named):
        Skintern().collect(**{"data": str(path), "out": str(tmp_path / "out"), **changes})
    assert not (tmp_path / "out").exists()


def test_a_record_that_asks_what_a_test_item_asks_is_no_training_record(tmp_path: Path) -> None:
    data = write(tmp_path / "in", ["1", "2"], ["Which one? (A) red (B) blue", "Else?"])
    test = write(tmp_path / "test", ["1"], ["which one?  (B) blue (A) red"])
    with pytest.raises(DataError, match=r"1 of 2 records ask what an item of .*: index 0 \(test item: index 0\)"):
        Skintern().build(str(data), str(tmp_path / "out"), test=str(test))
    assert not (tmp_path / "out").exists()
