"""Weights as whole numbers; a loss of them is noticed."""

import pytest
import torch
from hypothesis import given
from hypothesis import strategies as st

from llamafactory_ext.errors import DataError
from llamafactory_ext.training.token_weights import WEIGHTS_COLUMN, check_weights, code_of, weights_of

pytestmark = pytest.mark.fast


@given(st.lists(st.floats(0.01, 1000), max_size=12))
def test_weights_come_back_from_their_codes(weights: list[float]) -> None:
    codes = [code_of(weight) for weight in weights]
    assert weights_of(torch.tensor(codes, dtype=torch.long)).tolist() == pytest.approx(weights, abs=1e-6, rel=1e-6)


def test_one_is_exact() -> None:
    assert weights_of(torch.tensor([code_of(1.0), code_of(9.0), code_of(2.5)])).tolist() == [1.0, 9.0, 2.5]


def test_weights_on_the_trained_tokens_are_taken() -> None:
    check_weights({"labels": [-100, 5, 6], WEIGHTS_COLUMN: [0, 1, 9]})


@pytest.mark.parametrize(
    "codes", [None, [0, 1], [0, 1, 1, 1], [1, 1, 0], [0, 0, 1], [0, -1, 1]], ids=["lost", "short", "long", *"shz"]
)
def test_lost_or_misaligned_weights_are_an_error(codes: list[int] | None) -> None:
    row = {"labels": [-100, 5, 6]} | ({} if codes is None else {WEIGHTS_COLUMN: codes})
    with pytest.raises(DataError, match=r"to have the data tokenized again"):
        check_weights(row)
