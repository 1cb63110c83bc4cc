"""The table of options is complete, says what it does in every message, and its page is current."""

from __future__ import annotations

import dataclasses
from pathlib import Path
from typing import Any

import pytest
from llamafactory.hparams import parser

from llamafactory_ext.options.fates.declared import declared_rules
from llamafactory_ext.options.fates.judge import (
    broken_conditions,
    defaults_of,
    methods_of,
    normal_names,
    passed_over,
    read_values,
    refusals,
    same,
    unknown,
    wrong_values,
)
from llamafactory_ext.options.fates.page import page
from llamafactory_ext.options.fates.row import METHODS, SHOWN
from llamafactory_ext.options.fates.table import PARTS, ROWS
from llamafactory_ext.options.groups import RULES, option_names
from llamafactory_ext.options.values import Number, Switch, Text, Texts

pytestmark = pytest.mark.fast

DEFAULTS = defaults_of(parser._TRAIN_ARGS)
COMMANDS: dict[str, dict[str, Any]] = {
    "citi": {"stage": "sft", "finetuning_type": "citi"},
    "data": {"stage": "sft", "finetuning_type": "data"},
    "tl_sft": {"stage": "tl_sft"},
    "tl_ppo": {"stage": "tl_ppo"},
    "skintern": {"stage": "skintern"},
}


def test_every_option_of_upstream_has_a_row() -> None:
    """Those that only another version has may stand in the table too; none may be missing."""
    assert set(DEFAULTS) - set(ROWS) - set(option_names()) == set()
    assert len(DEFAULTS) > 300
    names = [row.name for rows in PARTS.values() for row in rows]
    assert len(names) == len(set(names))


def test_a_row_of_none_of_ours() -> None:
    assert set(ROWS) & set(option_names()) == set()


def test_the_page_is_current() -> None:
    written = (Path(__file__).parents[2] / "docs" / "options.md").read_text("utf-8")
    assert written == page(), "run: python -m llamafactory_ext.options.fates.page > docs/options.md"


@pytest.mark.parametrize("method", METHODS)
def test_texts_give_a_reason_and_a_next_step(method: str) -> None:
    for row in ROWS.values():
        fate = row.fate(method)
        text = fate.text.format(method=SHOWN[method])
        assert bool(text) == (fate.kind != "works"), row.name
        if fate.kind == "refused":
            assert any(f"{word} " in f"{text} " for word in ("remove it", "set", "remove")), (row.name, text)
        assert not text.endswith("."), row.name


@pytest.mark.parametrize("method", METHODS)
def test_every_row_is_tried_or_says_why_not(method: str) -> None:
    for row in ROWS.values():
        tried = row.trial is not None
        assert tried or row.untried, row.name


@pytest.mark.parametrize(
    ("raw", "default", "expected"),
    [
        ("true", True, True),
        (False, False, True),
        (0, False, False),
        ("0.0", 0.0, True),
        (1, 1.0, True),
        ("none", None, True),
        ("a", "b", False),
        (["x"], None, False),
        (True, 1, False),
    ],
)
def test_values_that_say_the_same_as_a_default(raw: Any, default: Any, expected: bool) -> None:
    assert same(raw, default) == expected


def test_methods_of_a_command() -> None:
    assert methods_of({"stage": "sft", "finetuning_type": "lora"}) == ()
    assert methods_of({"finetuning_type": "citi"}) == ("citi",)
    assert methods_of({"stage": "tl_sft", "finetuning_type": "citi"}) == ("citi", "tl_sft")
    assert methods_of({"stage": "tl_ppo", "finetuning_type": "citi"}) == ("tl_ppo",)


def test_flags_of_the_command_line() -> None:
    assert normal_names({"no_use_kv_cache": [], "packing": [], "lora_rank": "3"}, DEFAULTS) == {
        "use_kv_cache": False,
        "packing": True,
        "lora_rank": "3",
    }


@pytest.mark.parametrize(
    ("name", "value"),
    [
        ("cutoff_len", -1),
        ("cutoff_len", None),
        ("per_device_train_batch_size", 0),
        ("gradient_accumulation_steps", 0),
        ("lora_rank", "many"),
        ("adam_beta1", 1.5),
        ("max_grad_norm", -1),
        ("seed", -3),
        ("val_size", -0.1),
        ("num_train_epochs", 0),
        ("packing", "perhaps"),
        ("save_total_limit", 0),
        ("flash_attn", "fa9"),
    ],
)
def test_values_out_of_range(name: str, value: Any) -> None:
    (message,) = wrong_values({name: value}, DEFAULTS).values()
    assert message.startswith(f"{name}={value!r}: give ")


@pytest.mark.parametrize(
    ("given", "read"),
    [
        ({"max_steps": 2.0}, {"max_steps": 2}),
        ({"max_steps": "1e3"}, {"max_steps": 1000}),
        ({"save_total_limit": "1"}, {"save_total_limit": 1}),
        ({"adam_beta1": "0.9"}, {"adam_beta1": 0.9}),
        ({"learning_rate": "1e-4"}, {"learning_rate": 1e-4}),
        ({"warmup_steps": "2"}, {"warmup_steps": 2}),
        ({"warmup_steps": 2, "learning_rate": 1e-4, "packing": False}, {}),
        ({"packing": "yes"}, {"packing": True}),
        ({"packing": 0}, {"packing": False}),
        ({"run_name": 2026}, {"run_name": "2026"}),
        ({"model_revision": 1.0}, {"model_revision": "1.0"}),
        ({"save_strategy": False, "logging_strategy": False}, {"save_strategy": "no", "logging_strategy": "no"}),
        ({"save_strategy": DEFAULTS["save_strategy"], "save_total_limit": None, "seed": "many"}, {}),
    ],
    ids=str,
)
def test_values_become_what_their_options_take(given: dict[str, Any], read: dict[str, Any]) -> None:
    found = read_values(given, DEFAULTS)
    assert found == read
    assert [type(value) for value in found.values()] == [type(value) for value in read.values()]


@pytest.mark.parametrize(
    ("steps", "strategy"),
    [("logging_steps", "logging_strategy"), ("save_steps", "save_strategy"), ("eval_steps", "eval_strategy")],
)
def test_no_steps_where_nothing_counts_them(steps: str, strategy: str) -> None:
    for never in ("no", False):
        assert wrong_values({steps: 0, strategy: never}, DEFAULTS) == {}
        assert wrong_values({steps: -1, strategy: never}, DEFAULTS).keys() == {steps}
    assert wrong_values({steps: 0, strategy: "steps"}, DEFAULTS).keys() == {steps}


def test_what_is_written_in_has_the_type_of_its_field() -> None:
    """A value that a rule reads is one that upstream's field can hold."""
    kinds = {part.name: str(part.type) for kind in parser._TRAIN_ARGS for part in dataclasses.fields(kind)}
    for name, row in ROWS.items():
        if name in kinds and isinstance(row.takes, Switch):
            assert "bool" in kinds[name], name
        elif name in kinds and isinstance(row.takes, Number):
            assert "int" in kinds[name] or (not row.takes.whole and "float" in kinds[name]), name
        elif name in kinds and isinstance(row.takes, Text):
            assert "str" in kinds[name] or "Literal" in kinds[name], name


DECLARED = declared_rules(parser._TRAIN_ARGS)
LISTS = [name for name, rule in DECLARED.items() if isinstance(rule, Texts) and name not in RULES]


def test_options_without_a_rule_of_their_own_go_by_their_type() -> None:
    assert {"dataset", "eval_dataset", "lora_target", "additional_target", "report_to", "fsdp"} <= set(LISTS)
    for name, default in DEFAULTS.items():
        if name in DECLARED and default is not None:
            DECLARED[name].read(getattr(default, "value", default))
    wrong = {
        "quantization_method": "foo",
        "image_max_pixels": "big",
        "optim_args": [1],
        "double_quantization": "maybe",
    }
    assert wrong_values(wrong, DEFAULTS, DECLARED).keys() == wrong.keys()


@pytest.mark.parametrize("name", LISTS)
def test_a_list_of_texts_holds_texts_alone(name: str) -> None:
    for wrong in (None, True, ["tiny"], {"tiny": 1}):
        (message,) = wrong_values({name: ["tiny", wrong]}, DEFAULTS, DECLARED).values()
        assert message == f"{name}={['tiny', wrong]!r}: give a text, or a list of texts"
    assert wrong_values({name: {"tiny": 1}}, DEFAULTS, DECLARED).keys() == {name}
    assert wrong_values({name: True}, DEFAULTS, DECLARED)[name].startswith(f"{name} names nothing: ")
    for fine, read in ((["tiny", 2026], ["tiny", "2026"]), (2026, "2026"), ([0.5, "b"], ["0.5", "b"])):
        assert wrong_values({name: fine}, DEFAULTS, DECLARED) == {}
        assert read_values({name: fine}, DEFAULTS, DECLARED) == {name: read}
    for fine in ("tiny,more", ["tiny", "more"]):
        assert wrong_values({name: fine}, DEFAULTS, DECLARED) == read_values({name: fine}, DEFAULTS, DECLARED) == {}


def test_upstreams_own_values_are_in_range() -> None:
    """What upstream takes as a default, our rules take too."""
    for name, default in DEFAULTS.items():
        row = ROWS.get(name)
        if row is not None and row.takes is not None and default is not None:
            row.takes.read(getattr(default, "value", default))


@pytest.mark.parametrize("method", METHODS)
def test_defaults_are_never_refused_nor_warned_of(method: str) -> None:
    given = {name: getattr(value, "value", value) for name, value in DEFAULTS.items()} | COMMANDS[method]
    given = {name: value for name, value in given.items() if not ROWS.get(name) or not ROWS[name].instead(method)}
    assert refusals(given, DEFAULTS, trains=True) == {}
    assert passed_over(given, DEFAULTS) == []


@pytest.mark.parametrize(
    ("given", "ours", "fits"),
    [
        ({"temperature": 0.95}, {}, False),
        ({"temperature": 0.7}, {"tl_temperature": 0.7}, True),
        ({"max_new_tokens": 256}, {}, False),
        ({"top_p": 0.9}, {"tl_top_p": 0.8}, False),
        ({"do_sample": True}, {}, True),
        ({"do_sample": False}, {}, False),
        ({"ppo_epochs": 4}, {"tl_ppo_epochs": 4}, True),
    ],
)
def test_a_file_made_for_upstreams_ppo(given: dict[str, Any], ours: dict[str, Any], fits: bool) -> None:
    """Options with a counterpart of ours are refused unless both say the same, defaults of upstream included."""
    found = refusals({"stage": "tl_ppo"} | given | ours, DEFAULTS, trains=True)
    assert (found == {}) == fits
    (name,) = given
    assert fits or ROWS[name].instead("tl_ppo").partition(":")[0] in found[name]


def test_an_option_that_the_table_does_not_know() -> None:
    newer = dataclasses.make_dataclass("Newer", [("brand_new", int, 3)])
    defaults = DEFAULTS | defaults_of([newer])
    line = unknown({"stage": "tl_sft", "brand_new": 4}, defaults)
    assert line is not None
    assert line.startswith("brand_new: newer than this version of llamafactory_ext")
    assert "\n" not in line
    assert unknown({"stage": "sft", "brand_new": 4}, defaults) is None
    assert unknown({"stage": "tl_sft"}, defaults) is None


def test_options_of_another_finetuning_type() -> None:
    given = {"stage": "tl_sft", "finetuning_type": "full", "lora_rank": 4}
    assert passed_over(given, DEFAULTS) == ["lora_rank has no effect with finetuning_type: full."]
    assert passed_over(given | {"finetuning_type": "lora"}, DEFAULTS) == []


def test_options_of_a_switch_that_is_off() -> None:
    assert passed_over({"stage": "tl_sft", "pissa_iter": 4}, DEFAULTS) == [
        "pissa_iter has no effect without pissa_init."
    ]
    assert passed_over({"stage": "tl_sft", "pissa_iter": 4, "pissa_init": True}, DEFAULTS) == []


def test_learning_rate_of_citi_and_of_ppo_after_it() -> None:
    given = {"finetuning_type": "citi", "learning_rate": 1e-3}
    assert "citi_rp_*" in passed_over(given | {"stage": "sft"}, DEFAULTS)[0]
    assert passed_over(given | {"stage": "tl_ppo"}, DEFAULTS) == []


def test_chat_and_prediction_go_by_few_rows() -> None:
    given = {"finetuning_type": "citi", "lora_rank": 4, "use_unsloth": True}
    assert set(refusals(given, DEFAULTS, trains=False)) == {"use_unsloth"}
    assert set(refusals(given, DEFAULTS, trains=True)) == {"use_unsloth", "lora_rank"}


def test_a_condition_about_an_option_that_this_version_lacks() -> None:
    """Groups without any option stand for a version that has renamed them all."""
    assert broken_conditions({"stage": "tl_sft"}, (object(),)) == []
