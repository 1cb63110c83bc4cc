"""Answers are scored by exact match, calls by what they mean."""

import pytest

from llamafactory_ext.lab.example import Example
from llamafactory_ext.lab.scoring import MISTAKES, Call, Score, is_right, mistake, parse_call, score

GOLD = Example("tool", "?", "API-Request: [BookTable(city='Rome', count='4')]", "k", mark="tool")


@pytest.mark.parametrize(
    "reply",
    [
        "API-Request: [BookTable(city='Rome', count='4')]",
        'API-Request: [BookTable(count="4", city="Rome")]',
        "API-Request:[BookTable(city='Rome', count=4)]",
        "Sure! API-Request: [BookTable(city='Rome', count='4')]",
        "[BookTable(city='Rome', count='4')] is what you need.",
    ],
)
def test_equal_calls_are_right(reply: str) -> None:
    assert is_right(GOLD, reply)


@pytest.mark.parametrize(
    "reply",
    [
        "",
        "BookTable(city='Rome', count='4')",
        "API-Request: [BookTable(city='Rome', count='4')",
        "API-Request: [BookTable('Rome', '4')]",
        "API-Request: [BookTable(city='Rome', city='Rome')]",
        "API-Request: [BookTable(city=__import__('os'), count='4')]",
        "API-Request: [A(), B()]",
        "Call: {BookTable city='Rome' count='4'}",
        "API-Request: " + "[" * 5000,
    ],
)
def test_unparsable_replies(reply: str) -> None:
    assert parse_call(reply) is None
    assert not is_right(GOLD, reply)


@pytest.mark.parametrize(
    "arguments",
    ["**{'city': 'Rome'}", "city='Rome'", "city='Roma', count='4'", "city='Rome', count='4', day='Monday'"],
)
def test_parsable_but_wrong(arguments: str) -> None:
    reply = f"API-Request: [BookTable({arguments})]"
    assert parse_call(reply) is not None
    assert not is_right(GOLD, reply)


@pytest.mark.parametrize(
    ("reply", "category"),
    [
        ("[BookTable(count='4', city='Rome')]", ""),
        ("Done.", "NO_API_CALL"),
        ("[BookTables(city='Rome', count='4')]", "API_NAME_MISMATCH"),
        ("[BookTable(city='Rome', count='4', day='Monday')]", "INVALID_INPUT_PARAMETER"),
        ("[BookTable(town='Rome')]", "INVALID_INPUT_PARAMETER"),
        ("[BookTable(city='Rome')]", "MISS_INPUT_ARGUMENT"),
        ("[BookTable(city='Roma', count='4')]", "INPUT_MISMATCH"),
    ],
)
def test_wrong_calls_have_api_banks_categories(reply: str, category: str) -> None:
    assert mistake(GOLD, reply) == category
    assert is_right(GOLD, reply) == (category == "")
    found = score([GOLD, GOLD], [reply, "no call"]).to_dict()["mistakes"]
    assert set(found) == set(MISTAKES)
    assert found["NO_API_CALL"] == 1 + (category == "NO_API_CALL")
    assert sum(found.values()) == 1 + (category != "")


def test_parsed_call_sorts_its_arguments() -> None:
    assert parse_call("API-Request: [F(b='2', a='1')]") == Call("F", (("a", "1"), ("b", "2")))


def test_only_what_follows_the_marker_counts() -> None:
    gold = Example("math", "?", "2+3=5. Answer: 5", "k")
    assert is_right(gold, "3+2=5. Answer: 5")
    assert not is_right(gold, "2+3=5. Answer: 55")
    assert not is_right(gold, "")


def test_score_counts_and_standard_error() -> None:
    result = score([GOLD] * 4, [GOLD.answer, GOLD.answer, "what?", "API-Request: [F()]"])
    assert (result.n, result.right, result.unparsable) == (4, 2, 1)
    assert result.standard_error == pytest.approx(0.25)
    assert Score(10, 10).standard_error == 0
