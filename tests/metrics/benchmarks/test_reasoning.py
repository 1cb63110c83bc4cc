"""BBH, AGIEval and ARC: what is read from a reply, strictly and as published."""

from __future__ import annotations

from decimal import Decimal
from typing import Any

import pytest

from llamafactory_ext.errors import DataError
from llamafactory_ext.metrics.answers import Answered, Context
from llamafactory_ext.metrics.benchmarks.cued_answers import behind_cue, read_choice, read_number, reference_answer
from llamafactory_ext.metrics.benchmarks.reasoning import run_agieval, run_arc, run_bbh
from llamafactory_ext.metrics.predictions import Prediction
from llamafactory_ext.metrics.references import Item, References, read_references
from metrics.published_data import published

pytestmark = pytest.mark.fast

CUE = "Therefore, the answer is"
NONE = References("bbh", (), "", ())
STRICT, OFFICIAL = Context(mode="strict", references=NONE), Context(mode="official", references=NONE)
OPTIONS = {"A": "3.5", "B": "Paris", "C": "a dog"}


def given(item: Item, reply: str) -> Answered:
    return Answered(item, Prediction(item.id, "bbh", "p", "m", reply))


def answered(record: dict[str, Any], reply: str, group: str = "task") -> list[Answered]:
    return [Answered(Item("x:0", group, record), Prediction("x:0", "bbh", "p", "m", reply))]


@pytest.mark.parametrize(
    ("reply", "said"),
    [
        (f"First, ... {CUE} (B).", "(B)"),
        (f"{CUE} 3.5.", "3.5"),
        (f"{CUE} (A).\n{CUE} (C).", "(C)"),
        (f"{CUE} (A).\n\nQuestion: next?\nAnswer: {CUE} (B).", "(A)"),
        ("<think>the answer is (C)</think> The final answer is: **(B)**", "(B)"),
        (f"{CUE}\nyes", "yes"),
        ("It is (B).", None),
        ("", None),
    ],
)
def test_what_stands_behind_the_cue(reply: str, said: str | None) -> None:
    assert behind_cue(reply) == said


@pytest.mark.parametrize(
    ("text", "letter"),
    [
        ("(B)", "B"),
        ("(A) 3.5", "A"),
        ("B", "B"),
        ("B.", "B"),
        ("option A", "A"),
        ("Paris", "B"),
        ("A dog", "C"),
        ("(A) or (B)", None),
        ("(D)", None),
        ("London", None),
        ("I'm not sure", None),
        ("", None),
    ],
)
def test_a_choice(text: str, letter: str | None) -> None:
    assert read_choice(text, OPTIONS) == letter


@pytest.mark.parametrize(
    ("text", "number"),
    [
        ("$1,800", "1800"),
        ("18.0", "18"),
        ("3.5", "3.5"),
        ("-47", "-47"),
        ("12 apples", "12"),
        ("x2", None),
        ("20%", "20"),
    ],
)
def test_a_number(text: str, number: str | None) -> None:
    assert read_number(text) == (None if number is None else Decimal(number).normalize())


BBH = [  # record, group, right reply, wrong reply
    ({"input": "Options:\n(A) red\n(B) blue", "target": "(B)"}, "logic", "(B) blue", "(A)"),
    ({"input": "Options:\n(A) red\n(B) blue", "target": "(B)"}, "logic", "blue", "red"),
    ({"input": "?", "target": "Yes"}, "navigate", "yes", "not yes but no"),
    ({"input": "?", "target": "no"}, "sports_understanding", "No", "yes"),
    ({"input": "?", "target": "False"}, "boolean_expressions", "False", "True"),
    ({"input": "?", "target": "valid"}, "formal_fallacies", "valid", "invalid"),
    ({"input": "?", "target": "-47"}, "multistep_arithmetic_two", "-47.0", "47"),
    ({"input": "[ (", "target": ") ]"}, "dyck_languages", ")]", "] )"),
    ({"input": "b a", "target": "a b"}, "word_sorting", "a, b", "b a"),
]


@pytest.mark.parametrize(("record", "group", "right", "wrong"), BBH)
def test_bbhs_kinds_of_answers(record: dict[str, str], group: str, right: str, wrong: str) -> None:
    def scores(reply: str, mode: Any = "strict") -> dict[str, float]:
        return dict(run_bbh(answered(record, reply, group), Context(mode=mode, references=NONE)).verdicts[0].scores)

    assert scores(f"So. {CUE} {right}.") == {"BBH": 1, "BBH lenient": 1, "cue missing": 0}
    assert scores(f"So. {CUE} {wrong}.")["BBH"] == 0
    assert scores(f"So it is\n{right}") == {"BBH": 0, "BBH lenient": 1, "cue missing": 1}
    assert scores("")["BBH lenient"] == 0


def test_the_published_reading_keeps_its_faults() -> None:
    assert reference_answer(f"{CUE} 3.5.") == "3"
    letter = {"input": "Options:\n(A) x\n(B) y", "target": "(B)"}
    fallacy = {"input": "?", "target": "invalid"}
    for record, reply, right in [
        (letter, f"{CUE} BAD", 1.0),
        (letter, f"{CUE} y", 1.0),
        (letter, f"{CUE} option b", 0.0),
        (fallacy, f"{CUE} it is not invalid", 1.0),
        ({"input": "?", "target": "18"}, f"{CUE} 18.0", 1.0),
    ]:
        assert run_bbh(answered(record, reply), OFFICIAL).verdicts[0].scores == {"BBH": right}


def test_agieval_and_arc() -> None:
    agieval = {"question": "?", "options": ["(A)2", "(B)4"], "label": "B"}
    numbered = {"question": "?", "choices": {"text": ["ice", "fog"], "label": ["1", "2"]}, "answerKey": "2"}
    assert run_agieval(answered(agieval, f"{CUE} 4"), STRICT).verdicts[0].scores["AGIEval"] == 1
    assert run_arc(answered(numbered, f"{CUE} (B)"), STRICT).verdicts[0].scores["ARC"] == 1
    assert run_arc(answered(numbered, f"{CUE} ice"), STRICT).verdicts[0].scores["ARC"] == 0


@pytest.mark.parametrize(("benchmark", "kinds"), [("bbh", 27), ("agieval", 3)])
def test_gold_answers_are_right_and_other_ones_wrong(benchmark: str, kinds: int) -> None:
    """In the published files, by every kind of answer."""
    references = read_references(benchmark, published(benchmark))
    run = {"bbh": run_bbh, "agieval": run_agieval}[benchmark]
    groups: dict[str, list[Item]] = {}
    for item in references.items:
        groups.setdefault(item.group, []).append(item)
    assert len(groups) == kinds
    context = Context(mode="strict", references=references)
    for items in groups.values():
        gold = [str(item.record.get("target") or f"({item.record.get('label')})") for item in items]
        right = [given(item, f"So. {CUE} {answer}.") for item, answer in zip(items, gold, strict=True)]
        assert {next(iter(verdict.scores.values())) for verdict in run(right, context).verdicts} == {1.0}
        wrong = [
            given(item, f"So. {CUE} {answer}.")
            for item, answer, own in zip(items, gold[1:] + gold[:1], gold, strict=True)
            if answer != own
        ]
        assert wrong
        assert {next(iter(verdict.scores.values())) for verdict in run(wrong, context).verdicts} == {0.0}


@pytest.mark.parametrize(
    "record",
    [
        {"question": "?", "options": ["2"], "label": "A"},
        {"question": "?", "options": ["(A)2"], "label": "B"},
        {"question": "?", "options": [], "label": None},
    ],
)
def test_a_damaged_item_is_named(record: dict[str, Any]) -> None:
    with pytest.raises(DataError, match="x:0"):
        run_agieval(answered(record, f"{CUE} (A)"), STRICT)


@pytest.mark.parametrize("choices", [{}, {"text": ["a"], "label": []}, [], 3])
def test_damaged_choices_are_named(choices: Any) -> None:
    with pytest.raises(DataError, match="x:0"):
        run_arc(
            answered({"question": "?", "choices": choices, "answerKey": "A"}, ""),
            STRICT,
        )
