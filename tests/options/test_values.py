"""Option values: text becomes the declared type, everything wrong becomes a sentence with the next step."""

import math
from dataclasses import fields
from typing import Any, Literal, get_args, get_origin

import pytest
from hypothesis import given
from hypothesis import strategies as st

from llamafactory_ext.citi.options import CitiArguments
from llamafactory_ext.data_method.options import DataMethodArguments
from llamafactory_ext.options.groups import GROUPS, RULES, Group, option_names
from llamafactory_ext.options.values import Number, check_values
from llamafactory_ext.skintern.options import SkinternArguments

pytestmark = pytest.mark.fast
BEGINS = {CitiArguments: "CITI: ", SkinternArguments: "SKIntern: ", DataMethodArguments: "DATA: "}


@pytest.mark.parametrize("group", GROUPS, ids=lambda group: group.arguments.__name__)
def test_every_option_has_a_rule_and_help(group: Group) -> None:
    assert tuple(group.rules) == option_names(group.arguments)
    assert set(group.shared) <= set(group.rules)
    for option in fields(group.arguments):
        assert option.metadata["help"].startswith(BEGINS.get(group.arguments, "TL: "))
        assert "%" not in option.metadata["help"]  # argparse would format it
        if get_origin(option.type) is Literal:
            assert str(group.rules[option.name]) == f"one of {', '.join(get_args(option.type))}"


@pytest.mark.parametrize("group", GROUPS, ids=lambda group: group.arguments.__name__)
def test_defaults_pass_their_own_check(group: Group) -> None:
    defaults = group.arguments()
    given = {name: getattr(defaults, name) for name in option_names(group.arguments)}
    assert check_values(given, group.rules) == (given, [])


def test_defaults_are_the_papers() -> None:
    args = CitiArguments()
    assert (args.citi_top_ratio, args.citi_bottom_ratio) == (0.2, 0.1)
    assert (args.citi_num_experts, args.citi_rank, args.citi_alpha) == (4, 8, 2.0)
    assert (args.citi_router_delta, args.citi_router_beta) == (0.95, 0.01)
    assert (args.citi_rp_epochs, args.citi_mi_epochs, args.citi_uco_epochs) == (1.0, 2.0, 1.0)
    assert (args.citi_rp_lr, args.citi_mi_lr, args.citi_uco_lr) == (2e-4, 2e-4, 2e-5)
    assert args.citi_phases == ["rp", "mi", "uco"]
    assert (args.citi_select, args.citi_adapter, args.citi_router_neutral) == ("top", "molora", True)


@pytest.mark.parametrize(
    ("name", "raw", "value"),
    [
        ("citi_rp_lr", "2e-4", 2e-4),
        ("citi_rank", "16", 16),
        ("citi_rank", 16.0, 16),
        ("citi_top_ratio", 1, 1.0),
        ("citi_phases", "rp, MI", ["rp", "mi"]),
        ("citi_phases", ["mi", "uco"], ["mi", "uco"]),
        ("citi_phases", ["rp,uco"], ["rp", "uco"]),
        ("citi_importance_load", "", None),
        ("citi_importance_save", "scores.json", "scores.json"),
        ("citi_router_scope", "token", "token"),
        ("citi_router_neutral", "False", False),
        ("citi_router_neutral", True, True),
        *(("citi_router_neutral", word, True) for word in ("yes", "T", "y", "1", 1)),
        *(("citi_router_neutral", word, False) for word in ("No", "f", "n", "0", 0)),
        ("citi_adapter", "lora", "lora"),
        ("citi_select", "random", "random"),
    ],
)
def test_coercion(name: str, raw: Any, value: Any) -> None:
    values, problems = check_values({name: raw}, RULES)
    assert problems == []
    assert values == {name: value}
    assert type(values[name]) is type(value)


@pytest.mark.parametrize(
    ("name", "raw", "advice"),
    [
        ("citi_top_ratio", 0, "a number above 0 to 1"),
        ("citi_top_ratio", 1.2, "a number above 0 to 1"),
        ("citi_bottom_ratio", 1, "a number from 0 to below 1"),
        ("citi_rank", "8.5", "a whole number from 1 up"),
        ("citi_rank", True, "a whole number from 1 up"),
        ("citi_num_experts", None, "a whole number from 1 up"),
        ("citi_alpha", "nan", "a number above 0"),
        ("citi_mi_lr", "fast", "a number above 0"),
        ("citi_router_neutral", "perhaps", "true or false"),
        ("citi_router_neutral", 2, "true or false"),
        ("citi_router_neutral", 1.0, "true or false"),
        ("citi_router_neutral", None, "true or false"),
        ("citi_adapter", "dora", "one of molora, lora, full"),
        ("citi_select", "down", "one of top, bottom, random"),
        ("citi_router_scope", "tokens", "one of batch, sample, token"),
        ("citi_phases", "mi,rp", "one or more of rp,mi,uco in this order, each once"),
        ("citi_phases", [], "one or more of rp,mi,uco in this order, each once"),
        ("citi_phases", 3, "one or more of rp,mi,uco in this order, each once"),
        ("citi_importance_load", 5, "a file path or empty"),
        ("citi_top_ratoi", 0.2, "did you mean citi_top_ratio?"),
        ("citi_zzz", 0.2, "the options are citi_top_ratio, "),
    ],
)
def test_problems_name_option_value_and_next_step(name: str, raw: Any, advice: str) -> None:
    values, problems = check_values({name: raw}, RULES)
    assert values == {}
    assert len(problems) == 1
    assert problems[0].startswith(name)
    assert advice in problems[0]


@given(st.one_of(st.none(), st.booleans(), st.integers(), st.floats(), st.text(max_size=8), st.lists(st.text())))
def test_any_value_is_read_or_explained(raw: Any) -> None:
    for name in RULES:
        values, problems = check_values({name: raw}, RULES)
        assert len(values) + len(problems) == 1


@given(st.floats(min_value=-2, max_value=2))
def test_ranges(raw: float) -> None:
    rule = Number(0, 1, open_low=True)
    values, _ = check_values({"citi_top_ratio": raw}, RULES)
    assert ("citi_top_ratio" in values) == (0 < raw <= 1)
    assert str(rule) == "a number above 0 to 1"
    assert math.isfinite(values.get("citi_top_ratio", 0.0))
