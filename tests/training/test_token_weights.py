"""Weights as whole numbers, hidden in labels: what moves the labels moves the weights; a loss is noticed."""

import pytest
import torch
from hypothesis import given
from hypothesis import strategies as st

from llamafactory_ext.errors import DataError
from llamafactory_ext.training.token_weights import (
    WEIGHTS_COLUMN,
    code_of,
    hidden_labels,
    hide,
    reveal,
    reveal_batch,
    weights_of,
)

pytestmark = pytest.mark.fast

TOKENS = st.lists(st.tuples(st.integers(0, 300_000), st.floats(0.01, 1000)) | st.none(), max_size=12)


@given(TOKENS)
def test_hidden_weights_come_back_with_the_labels_unchanged(tokens: list[tuple[int, float] | None]) -> None:
    labels = [-100 if token is None else token[0] for token in tokens]
    codes = [0 if token is None else code_of(token[1]) for token in tokens]
    row = {"labels": labels, WEIGHTS_COLUMN: codes}
    hidden = hidden_labels(row)
    assert row == {}
    assert hidden == hide(labels, codes)
    assert reveal(hidden) == (labels, codes)
    found_labels, found_codes = reveal_batch(torch.tensor([[*hidden, -100]], dtype=torch.long))
    assert found_labels.tolist() == [[*labels, -100]]
    assert found_codes.tolist() == [[*codes, 0]]
    weights = [0.0 if token is None else token[1] for token in tokens]
    assert weights_of(torch.tensor(codes, dtype=torch.long)).tolist() == pytest.approx(weights, abs=1e-6, rel=1e-6)


def test_one_is_exact() -> None:
    assert weights_of(torch.tensor([code_of(1.0), code_of(9.0), code_of(2.5)])).tolist() == [1.0, 9.0, 2.5]


@pytest.mark.parametrize(
    "codes", [None, [0, 1], [0, 1, 1, 1], [1, 1, 0], [0, 0, 1], [0, -1, 1]], ids=["lost", "short", "long", *"shz"]
)
def test_lost_or_misaligned_weights_are_an_error(codes: list[int] | None) -> None:
    row = {"labels": [-100, 5, 6]} | ({} if codes is None else {WEIGHTS_COLUMN: codes})
    with pytest.raises(DataError, match=r"to have the data tokenized again"):
        hidden_labels(row)
