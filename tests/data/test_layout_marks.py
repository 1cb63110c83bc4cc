"""What a record itself leaves out of the loss: by marks on its turns, or by a mask beside them."""

from __future__ import annotations

from typing import Any

import pytest

from data.test_layouts import CITY, DONE, USER, calls, read
from llamafactory_ext.data.entries import Dialogue

pytestmark = pytest.mark.fast


def silent(record: dict[str, Any], **entry: Any) -> list[int]:
    found = read(record, **entry)
    assert isinstance(found, Dialogue), found
    return sorted(found.silent)


LONG = [USER, calls(CITY), {"role": "tool", "content": "1"}, {"role": "tool", "content": "2"}, DONE, USER, DONE]


@pytest.mark.parametrize(
    ("mask", "expected"),
    [
        ([0, 1, 0, 0, 1, 0, 1], []),
        ([0, 0, 0, 0, 1, 0, 1], [1]),
        ([1, 1, 1, 1, 0, 1, 1], [3]),
        ([1, 0, 1], [3]),
        ([False, True, False], [1, 5]),
        (None, []),
    ],
)
def test_a_loss_mask_counts_messages_or_turns_of_the_model_as_the_record_has_them(
    mask: Any, expected: list[int]
) -> None:
    assert silent({"messages": LONG, "loss_mask": mask}) == expected


_SYSTEM = {"role": "system", "content": "S"}
_RESULT = {"role": "tool", "content": "1"}
_TWO_ROUNDS = [USER, calls(CITY), _RESULT, _RESULT, calls(CITY), _RESULT, _RESULT, _RESULT, DONE]


@pytest.mark.parametrize(
    ("messages", "mask", "expected"),
    [
        ([_SYSTEM, USER, calls(CITY), _RESULT, _RESULT, DONE], [1, 1, 0, 1, 1, 1], [1]),
        ([_SYSTEM, USER, calls(CITY), _RESULT, _RESULT, DONE], [0, 0, 1, 0, 0, 0], [3]),
        ([_SYSTEM, USER, calls(CITY), _RESULT, _RESULT, DONE], [0, 1], [1]),
        (_TWO_ROUNDS, [1, 1, 1, 1, 0, 1, 1, 1, 1], [3]),
        (_TWO_ROUNDS, [1, 0, 1, 1, 1, 1, 1, 1, 0], [1, 5]),
        (_TWO_ROUNDS, [0, 1, 0], [1, 5]),
        ([USER, calls(CITY), _RESULT, DONE], [0, 1, 0, 0], [3]),
        ([USER, DONE, USER, calls(CITY), _RESULT, _RESULT, _RESULT, DONE], [1, 0, 1], [3]),
    ],
)
def test_a_loss_mask_counts_results_in_a_row_one_by_one(messages: Any, mask: Any, expected: list[int]) -> None:
    """Upstream's loader makes one turn of them, and so counts fewer."""
    assert silent({"messages": messages, "loss_mask": mask}) == expected


def test_a_mask_of_the_merged_turns_is_refused_with_the_numbers() -> None:
    found = read({"messages": _TWO_ROUNDS, "loss_mask": [0, 1, 0, 1, 0, 1]})
    assert isinstance(found, str)
    assert "6 items" in found
    assert "9 messages" in found
    assert "3 turns" in found


@pytest.mark.parametrize("mask", [[1], [1, 1], [1] * 5, [1] * 8, "1,0,1", [1, 2, 1], [1, "x", 1], {}])
def test_any_other_mask_is_refused_with_the_numbers(mask: Any) -> None:
    found = read({"messages": LONG, "loss_mask": mask})
    assert isinstance(found, str)
    assert '"loss_mask"' in found


def test_a_turns_own_mark_in_every_layout() -> None:
    quiet = {**DONE, "loss": False}
    assert silent({"messages": [USER, quiet, USER, DONE]}) == [1]
    assert silent({"messages": [USER, {**DONE, "weight": 0}, USER, {**DONE, "weight": 1}]}) == [1]
    assert silent({"messages": [{"role": "system", "content": "S"}, USER, DONE, USER, quiet]}) == [3]
    assert silent({"messages": [USER, DONE, USER, quiet], "loss_mask": [0, 1]}) == [1, 3]
    said = [{"from": "human", "value": "a"}, {"from": "gpt", "value": "b", "loss": False}]
    assert silent({"conversations": said}, formatting="sharegpt", columns={"messages": "conversations"}) == [1]
    columns = {"prompt": "p", "response": "r", "history": "h"}
    record = {"p": "a", "r": "b", "h": [["c", "d"]], "loss_mask": [0, 1]}
    assert silent(record, formatting="alpaca", columns=columns) == [1]
    assert (
        read({"messages": [USER, {**DONE, "loss": "no"}]})
        == "turn 2: \"loss\" is 'no'; write true or false, or 1 or 0"
    )


@pytest.mark.parametrize("formatting", ["openai", "sharegpt"])
@pytest.mark.parametrize(
    ("weight", "quiet", "told"),
    [
        (0, True, False),
        (0.0, True, False),
        (False, True, False),
        (1, False, False),
        (None, False, False),
        (0.5, False, True),
        (2, False, True),
        ("0", False, True),
    ],
)
def test_a_weight_on_a_turn_is_kept_or_told_in_every_layout(
    formatting: str, weight: Any, quiet: bool, told: bool
) -> None:
    role, content, names = (
        ("role", "content", ("user", "assistant")) if formatting == "openai" else ("from", "value", ("human", "gpt"))
    )
    messages = [{role: name, content: "a"} for name in names * 2]
    messages[1]["weight"] = weight
    found = read({"m": messages}, formatting=formatting, columns={"messages": "m"})
    assert isinstance(found, Dialogue)
    assert sorted(found.silent) == ([1] if quiet else [])
    assert [number for number, _ in found.lost] == ([2] if told else [])


NAMES = [("loss", False), ("weight", 0), ("train", False), ("training", False), ("trainable", 0), ("masked", True)]


@pytest.mark.parametrize(("key", "off"), [*NAMES, ("train_on_turn", False), ("masked", 1)])
def test_marks_of_other_tools_are_kept(key: str, off: Any) -> None:
    on = not off
    turns = [USER, {**DONE, key: off}, USER, {**DONE, key: on}]
    assert silent({"messages": turns}) == [1]
    shared = [
        {"from": {"user": "human", "assistant": "gpt"}[turn["role"]], "value": turn["content"]} for turn in turns
    ]
    shared[1][key], shared[3][key] = off, on
    found = read({"conversations": shared}, formatting="sharegpt")
    assert isinstance(found, Dialogue)
    assert (sorted(found.silent), found.lost) == ([1], ())


@pytest.mark.parametrize("key", ["loss_scale", "loss_weight", "mask", "train_detail", "trained", "no_loss", "learn"])
def test_any_other_mark_of_a_turn_is_told_by_its_name(key: str) -> None:
    found = read({"messages": [{**USER, key: 0}, {**DONE, key: 0}, USER, {**DONE, key: None}]})
    assert isinstance(found, Dialogue)
    assert [(number, what.split()[0]) for number, what in found.lost] == [(2, f'"{key}"')]


@pytest.mark.parametrize("key", ["loss", "train", "weight", "weights", "mask", "loss_masks", "train_on_turns"])
def test_any_other_mark_of_a_record_is_told_by_its_name(key: str) -> None:
    for record, entry in (
        ({"messages": [USER, DONE], key: [0]}, {}),
        ({"instruction": "a", "input": "", "output": "b", key: False}, {"formatting": "alpaca"}),
    ):
        found = read(record, **entry)
        assert isinstance(found, Dialogue)
        assert [(number, what.split()[0]) for number, what in found.lost] == [(0, f'"{key}"')]


def test_marks_that_contradict_each_other_are_refused() -> None:
    found = read({"messages": [USER, {**DONE, "loss": True, "train": False}]})
    assert isinstance(found, str)
    assert "'loss' and 'train' contradict each other" in found


@pytest.mark.parametrize("key", ["id", "name", "trainer", "glossary", "weightless", "unmasked_name", "source"])
def test_other_keys_are_no_marks(key: str) -> None:
    found = read({"messages": [USER, {**DONE, key: "x"}], key: "x"})
    assert isinstance(found, Dialogue)
    assert found.lost == ()
