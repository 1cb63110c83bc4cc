"""Which components are chosen, the overlap rule, and what is said when a ratio chooses nothing."""

from __future__ import annotations

import pytest
from hypothesis import given
from hypothesis import strategies as st

from llamafactory_ext.citi.selection import Selection, general_importance, normalise, select_components
from llamafactory_ext.errors import OptionError

pytestmark = pytest.mark.fast

SCORES = {f"c{i}": float(i) for i in range(10)}


def test_top_and_bottom_by_rank() -> None:
    selection = select_components(SCORES, SCORES, top=0.2, bottom=0.3)
    assert selection.adapted == ("c9", "c8")
    assert selection.tuned == ("c0", "c1", "c2")
    assert selection.displaced == ()
    assert selection.total == 10


def test_a_component_in_both_goes_to_molora_and_the_next_replaces_it() -> None:
    general = {name: -score for name, score in SCORES.items()} | {"c9": -100.0}
    general = {name: score + 200 for name, score in general.items()}
    selection = select_components(SCORES, general, top=0.2, bottom=0.2)
    assert selection.adapted == ("c9", "c8")
    assert selection.displaced == ("c9", "c8")
    assert selection.tuned == ("c7", "c6")


def test_equal_scores_keep_the_models_order() -> None:
    equal = dict.fromkeys(SCORES, 1.0)
    selection = select_components(equal, equal, top=0.2, bottom=0.2)
    assert selection.adapted == ("c0", "c1")
    assert selection.tuned == ("c2", "c3")


def test_the_other_ends_of_the_ranking() -> None:
    bottom = select_components(SCORES, SCORES, top=0.2, bottom=0.2, end="bottom")
    assert (bottom.adapted, bottom.tuned, bottom.displaced) == (("c0", "c1"), ("c2", "c3"), ("c0", "c1"))
    assert bottom.end == "bottom"
    drawn = {select_components(SCORES, SCORES, 0.3, 0, end="random", seed=seed).adapted for seed in range(200)}
    assert {len(set(names)) for names in drawn} == {3}
    assert {name for names in drawn for name in names} == set(SCORES)
    again = {select_components(SCORES, SCORES, 0.3, 0, end="random", seed=5).adapted for _ in range(3)}
    assert len(again) == 1
    # Which components are drawn does not depend on how important they are.
    reverse = {name: -score + 9 for name, score in SCORES.items()}
    assert select_components(reverse, SCORES, 0.3, 0, end="random", seed=5).adapted in again


def test_equal_scores_at_the_bottom_keep_the_models_order() -> None:
    equal = dict.fromkeys(SCORES, 1.0)
    assert select_components(equal, equal, top=0.2, bottom=0, end="bottom").adapted == ("c0", "c1")


@given(st.lists(st.floats(0, 1), min_size=10, max_size=60), st.floats(0.1, 0.5), st.floats(0, 0.5), st.randoms())
def test_never_twice_never_too_many(scores: list[float], top: float, bottom: float, random) -> None:
    tool = {f"c{i}": score for i, score in enumerate(scores)}
    shuffled = list(scores)
    random.shuffle(shuffled)
    general = {f"c{i}": score for i, score in enumerate(shuffled)}
    if 0 < bottom * len(scores) < 1:
        bottom = 0
    selection = select_components(tool, general, top, bottom)
    assert not set(selection.adapted) & set(selection.tuned)
    assert len(selection.adapted) <= top * len(scores) + 1e-9
    assert len(selection.tuned) <= bottom * len(scores) + 1e-9
    floor = min(tool[name] for name in selection.adapted)
    assert all(tool[name] <= floor for name in tool if name not in selection.adapted)
    assert Selection.from_dict(selection.to_dict()) == selection
    other = select_components(tool, general, top, bottom, end="random", seed=1)
    assert not set(other.adapted) & set(other.tuned)
    assert (len(other.adapted), len(other.tuned)) == (len(selection.adapted), len(selection.tuned))
    assert Selection.from_dict(other.to_dict()) == other


def test_ratios_that_select_nothing_say_what_would() -> None:
    four = {name: SCORES[name] for name in list(SCORES)[:4]}
    with pytest.raises(OptionError, match=r"citi_top_ratio=0.2 selects 0 of 4 linears; raise it to at least 0.25"):
        select_components(four, four, top=0.2, bottom=0.25)
    with pytest.raises(OptionError, match=r"citi_bottom_ratio=0.1 selects 0 of 4 .* or set it to 0"):
        select_components(four, four, top=0.25, bottom=0.1)
    select_components(four, four, top=0.25, bottom=0.25)
    select_components(four, four, top=0.25, bottom=0)


def test_the_raised_ratio_really_selects_one() -> None:
    for total in range(1, 300):
        scores = {str(i): 1.0 for i in range(total)}
        with pytest.raises(OptionError) as caught:
            select_components(scores, scores, top=1e-6, bottom=0)
        suggested = float(str(caught.value).rsplit(" ", 1)[1].rstrip("."))
        assert len(select_components(scores, scores, top=suggested, bottom=0).adapted) == 1


def test_normalised_scores_sum_to_one_and_tasks_weigh_the_same() -> None:
    assert sum(normalise(SCORES).values()) == pytest.approx(1)
    thousandfold = {name: 1000 * score for name, score in SCORES.items()}
    combined = general_importance({"math": SCORES, "code": thousandfold})
    assert combined == pytest.approx({name: 2 * score for name, score in normalise(SCORES).items()})


@pytest.mark.parametrize("bad", [float("nan"), float("inf"), -1.0])
def test_bad_scores_are_named(bad: float) -> None:
    with pytest.raises(OptionError, match="c3"):
        normalise(SCORES | {"c3": bad})


def test_all_zero_and_different_names_are_refused() -> None:
    with pytest.raises(OptionError, match="importance 0"):
        normalise(dict.fromkeys(SCORES, 0.0))
    with pytest.raises(OptionError, match="different components"):
        select_components(SCORES, {"x": 1.0})
