"""Shorter knowledge: whole at 1, nothing at 0, nested and counted between."""

from __future__ import annotations

import itertools
import math
import os
import subprocess
import sys

import pytest
from hypothesis import given, settings
from hypothesis import strategies as st

from llamafactory_ext.errors import OptionError
from llamafactory_ext.skintern.compress import Extractive, compress

pytestmark = pytest.mark.fast

TEXT = """1. Find the unknown x.
2. Use `f(a, b)` with 3.5 and the value.
- the the
Don't forget 数学题 the units, e.g. km/h."""
SHARES = (1.0, 0.9, 2 / 3, 0.5, 1 / 3, 0.1, 0.01, 0.0)
texts = st.text(st.one_of(st.characters(codec="utf-8"), st.sampled_from("ab 1.\n-`'数")), max_size=200)


@settings(deadline=None)
@given(texts, st.lists(st.floats(0, 1), min_size=2, max_size=4))
def test_a_smaller_share_keeps_part_of_a_larger_one(text: str, shares: list[float]) -> None:
    ranked = Extractive.over(text.splitlines()).rank(text)
    kept = [ranked.kept(share) for share in sorted(shares)]
    assert all(set(less) <= set(more) for less, more in itertools.pairwise(kept))
    for share in shares:
        assert len(ranked.kept(share)) == math.ceil(share * len(ranked.spans) - 1e-9)
        assert ranked.kept(share) == sorted(ranked.kept(share))


@settings(deadline=None)
@given(texts, st.floats(0, 1))
def test_the_ends_are_exact_and_the_middle_is_made_of_the_text(text: str, share: float) -> None:
    assert compress(text, 1) == text
    assert compress(text, 0) == ""
    left = iter(text)
    assert all(char.isspace() or char in left for char in compress(text, share))  # the order of words stays


def test_a_lines_number_stays_only_with_a_word_of_its_line() -> None:
    for share in SHARES:
        for line in compress(TEXT, share).splitlines():
            assert line not in ("1.", "2.", "-"), (share, line)
    assert compress("1.\n2.\nword", 0.3) == "word"


def test_rare_words_figures_and_code_stay_longest() -> None:
    corpus = ["the sum of the parts"] * 9 + ["the derivative"]
    assert compress("the sum of the derivative parts", 0.1, corpus) == "derivative"
    assert compress("the sum of the 42 parts", 0.1, corpus) == "42"
    assert compress("the sum of `sum` the parts", 0.1, corpus) == "sum"
    assert compress("the sum of `sum()` parts", 0.3, corpus) == "sum()"
    assert Extractive.over(corpus).score("the") == pytest.approx(1.0)


@pytest.mark.parametrize("text", ["", " ", "\n\n", "word", "数", "...", "\u200b", "a" * 10_000])
def test_odd_texts(text: str) -> None:
    for share in SHARES:
        assert len(compress(text, share)) <= len(text)


@pytest.mark.parametrize("share", [-0.1, 1.1, float("nan"), "half", None, True])
def test_a_share_outside_of_0_to_1_is_refused(share: float) -> None:
    with pytest.raises(OptionError, match="share"):
        compress("text", share)


def test_every_process_keeps_the_same_words() -> None:
    code = "import sys; from llamafactory_ext.skintern.compress import compress; print(compress(sys.argv[1], 0.5))"
    runs = {
        subprocess.run(
            [sys.executable, "-c", code, TEXT],
            env={**os.environ, "PYTHONHASHSEED": seed, "PYTHONIOENCODING": "utf-8"},
            capture_output=True,
            text=True,
            encoding="utf-8",
            check=True,
        ).stdout
        for seed in ("0", "1")
    }
    assert runs == {f"{compress(TEXT, 0.5)}\n"}
