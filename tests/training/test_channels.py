"""Numbers of tokens found again wherever somebody else has moved the tokens."""

from __future__ import annotations

import pytest
import torch
from hypothesis import given
from hypothesis import strategies as st

from llamafactory_ext.data import hidden
from llamafactory_ext.data.marks import TokenMarks
from llamafactory_ext.training.channels import (
    CHANNELS,
    Channel,
    Example,
    at_places,
    hide_places,
    read_packed,
    read_places,
)

pytestmark = pytest.mark.fast
PAD = 3
IDS = st.lists(st.integers(0, 200_000), min_size=1, max_size=5)


@given(st.lists(st.tuples(IDS, st.booleans()), max_size=8))
def test_packed_examples_keep_their_numbers(examples: list[tuple[list[int], bool]]) -> None:
    """Whatever order a processor puts examples in, and with padding in between."""
    made = [
        Example({"_mark": "tool" if is_tool else "general"}, ids, ids, [7 + place for place in range(len(ids))])
        for ids, is_tool in examples
    ]
    order = list(reversed(range(len(made))))
    row = [token for i in order for token in [*hidden.hide(made[i].ids, i + 1), PAD]]
    ids, found = read_packed(row, made, CHANNELS)
    assert ids == [token for i in order for token in [*made[i].ids, PAD]]
    assert found["tl_weights"] == [code for i in order for code in [*made[i].weights, 0]]  # type: ignore[misc]
    if not examples:
        return
    marks = TokenMarks.from_codes(torch.tensor([found["citi_marks"]]))
    assert marks.is_tool[0].tolist() == [flag for i in order for flag in [*[examples[i][1]] * len(made[i].ids), False]]
    assert marks.sample[0].tolist() == [n for k, i in enumerate(order) for n in [*[k] * len(made[i].ids), -1]]
    assert marks.mask[0].tolist() == [n >= 0 for n in marks.sample[0].tolist()]


@given(st.lists(st.lists(st.integers(-100, 300_000).filter(lambda n: n in (-100, *range(300_001)))), min_size=1))
def test_places_come_back_with_the_labels_unchanged(rows: list[list[int]]) -> None:
    """Padded on the right, with some tokens taken out of the padded batch."""
    width = 1 + max(map(len, rows))
    padded = torch.tensor([[*row, *[-100] * (width - len(row))] for row in hide_places(rows)])
    kept = list(range(0, width, 2))
    labels, places = read_places(padded[:, kept])
    whole = [[*row, *[-100] * (width - len(row))] for row in rows]
    assert labels.tolist() == [[row[i] for i in kept] for row in whole]
    codes = [[100 * r + i + 1 for i in range(len(row))] for r, row in enumerate(rows)]
    expected = [[[*row, *[0] * width][i] for i in kept] for row in codes]
    assert at_places(codes, places).tolist() == expected


def test_channels_differ_in_name_and_request() -> None:
    for names in ([one.column for one in CHANNELS], [one.asked for one in CHANNELS]):
        assert len(names) == len(set(names)) == 2
    assert all(isinstance(one, Channel) for one in CHANNELS)
