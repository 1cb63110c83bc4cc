"""The panels are read off the options' dataclasses; every field has words in every language we promise."""

from __future__ import annotations

from dataclasses import dataclass, field, fields
from typing import Literal

import pytest

from llamafactory_ext.board.options import options_of
from llamafactory_ext.board.panels import PANELS, panel_values, problems_of
from llamafactory_ext.board.texts import LANGUAGES, message, table, texts
from llamafactory_ext.options.groups import GROUPS, option_names

CITI = {"finetuning_type": "citi", "stage": "sft"}
LORA = {"finetuning_type": "lora", "stage": "sft"}


@dataclass
class Example:
    a_switch: bool = field(default=True, metadata={"help": "AB: whether."})
    a_whole: int = 3
    a_number: float | None = None
    a_word: Literal["x", "y"] = "y"
    a_text: str | None = field(default=None, metadata={"help": "A path: nothing in capitals stands before."})
    some_words: list[str] = field(default_factory=lambda: ["r", "m", "u"])


def test_options_follow_the_dataclass() -> None:
    options = {option.name: option for option in options_of(Example)}
    assert [option.kind for option in options.values()] == ["switch", "whole", "number", "choice", "text", "choices"]
    assert options["a_switch"].help == "Whether."
    assert options["a_text"].help == "A path: nothing in capitals stands before."
    assert options["a_word"].choices == ("x", "y")
    assert options["some_words"].choices == ("r", "m", "u")
    assert options["some_words"].value(["u", "r"]) == ["r", "u"]
    assert options["a_whole"].value(4.0) == 4
    assert options["a_text"].value("  ") is None
    assert options["a_number"].value(None) is None
    assert options["a_switch"].value(False) is False


@pytest.mark.parametrize("group", GROUPS, ids=lambda group: group.values[0])
def test_every_option_stands_in_a_panel_with_the_default_of_the_yaml(group: object) -> None:
    (panel,) = (panel for panel in PANELS if panel.group is group)
    assert [option.name for option in panel.options] == [declared.name for declared in fields(panel.group.arguments)]
    defaults = panel.group.arguments()
    assert all(option.default == getattr(defaults, option.name) for option in panel.options)


def test_a_run_reads_its_own_panel_and_what_others_share_with_it() -> None:
    entered = {option.name: option.default for panel in PANELS for option in panel.options}
    assert panel_values(LORA, entered) == {}
    named = option_names(GROUPS[0].arguments)
    left_out = {"citi_importance_load", "citi_importance_save"}
    assert panel_values(CITI, entered).keys() == (set(named) - left_out) | {
        "cutoff_action",
        "record_check",
        "dry_run",
        "dry_run_gpus",
        "verbose",
    }
    assert "tl_w_max" in panel_values({"finetuning_type": "full", "stage": "tl_sft"}, entered)
    both = panel_values({"finetuning_type": "full", "stage": "tl_ppo"}, entered)
    assert "tl_call_format" in both
    assert "tl_w_max" not in both


def test_the_fields_defaults_are_accepted_and_wrong_values_named() -> None:
    entered = {option.name: option.default for panel in PANELS for option in panel.options}
    assert problems_of(panel_values(CITI, entered)) == []
    wrong = panel_values(CITI, entered | {"citi_top_ratio": 7, "citi_rank": 2.5})
    assert [line.partition(":")[0] for line in problems_of(wrong)] == ["citi_top_ratio=7", "citi_rank=2.5"]


@pytest.mark.parametrize("language", ["en", "zh"])
def test_every_element_has_words_of_its_own_language(language: str) -> None:
    words = texts(language)
    for panel in PANELS:
        assert words["elements"][panel.name]["label"]
        for option in panel.options:
            assert words["elements"][option.name]["label"], option.name
            assert table()[option.name][language]["info"]
    assert words["elements"].keys() == texts("en")["elements"].keys()
    assert words["messages"].keys() == texts("en")["messages"].keys()


def test_chinese_is_chinese_and_other_languages_fall_back() -> None:
    for name, entry in table().items():
        assert entry.keys() == set(LANGUAGES)
        assert any("\u4e00" <= letter <= "\u9fff" for text in entry["zh"].values() for letter in str(text)), name
        assert entry["ko"] == entry["en"]
    assert message("importance", "ru") == message("importance", "en")


def test_no_text_belongs_to_an_element_that_is_gone() -> None:
    known = {name for panel in PANELS for name in (panel.name, *(option.name for option in panel.options))}
    ours = {name for name in texts("en")["elements"] if name.startswith(("citi_", "tl_"))}
    assert ours <= known
