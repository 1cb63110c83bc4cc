"""The real table's data: parts that share nothing, published files that are missing or damaged, IFEval's rules."""

from __future__ import annotations

import json
import shutil
from pathlib import Path
from typing import Any

import pytest

from lab.published_world import ifeval, write_world
from llamafactory_ext.errors import DataError
from llamafactory_ext.lab.real import data as data_module
from llamafactory_ext.lab.real.data import Prepared, prepare, prompt_of, read_held
from llamafactory_ext.lab.real.ifeval import RULES, can_be_judged, kept
from llamafactory_ext.lab.real.sources import SOURCES, find, hellaswag_items, ifeval_items, utterance

pytestmark = pytest.mark.fast


@pytest.fixture(scope="module")
def world(tmp_path_factory: pytest.TempPathFactory) -> Path:
    return write_world(tmp_path_factory.mktemp("world"))


@pytest.fixture(scope="module")
def prepared(world: Path, tmp_path_factory: pytest.TempPathFactory) -> Prepared:
    with pytest.MonkeyPatch.context() as patch:
        patch.setattr(data_module, "MIXTURES", {"calls": (12, 0), "mix": (12, 8), "mix_less": (12, 4)})
        return prepare(world, tmp_path_factory.mktemp("out"))


def records(prepared: Prepared, name: str) -> list[dict[str, Any]]:
    found: list[dict[str, Any]] = json.loads((prepared.folder / f"{name}.json").read_text("utf-8"))
    return found


def test_no_item_is_in_two_parts(prepared: Prepared) -> None:
    held = read_held(prepared.held)
    trained = {prompt_of(one) for name in prepared.hashes if name != "held" for one in records(prepared, name)}
    halves = {
        half: {one["prompt"] for items in sets.values() for one in items if "prompt" in one}
        for half, sets in held.items()
    }
    assert len(trained) > 20
    assert min(len(prompts) for prompts in halves.values()) > 10
    assert not trained & halves["validation"]
    assert not trained & halves["test"]
    assert not halves["validation"] & halves["test"]


def test_calls_of_one_chain_stay_together(prepared: Prepared) -> None:
    trained = {utterance(one["input"]) for one in records(prepared, "real_calls")}
    held = {
        utterance(one["prompt"].partition("descriptions:")[2])
        for one in read_held(prepared.held)["validation"]["calls"]
    }
    assert len(trained) > 3
    assert len(held) > 3
    assert not trained & held


def test_mixtures_have_the_calls_and_equally_many_of_each_general_set(prepared: Prepared) -> None:
    calls = {prompt_of(one) for one in records(prepared, "real_calls")}
    assert len(calls) == 12
    for name, each in (("real_mix", 8), ("real_mix_less", 4), ("real_mix_quarter", 2), ("real_mix_less_quarter", 1)):
        mixed = records(prepared, name)
        tasks = [one["task"] for one in mixed if one["mark"] == "general"]
        assert {task: tasks.count(task) for task in tasks} == {"math": each, "instructions": each, "facts": each}
        assert {prompt_of(one) for one in mixed if one["mark"] == "tool"} <= calls


def test_tool_searcher_is_apart_and_prompts_that_cannot_be_judged_are_counted(prepared: Prepared) -> None:
    test = read_held(prepared.held)["test"]
    assert {len(test["level_3"]), len(test["level_3_search"])} == {3}
    assert all("ToolSearcher" in one["record"]["output"] for one in test["level_3_search"])
    assert len(test["ifeval"]) == 2
    assert prepared.counts["ifeval_left_out"] == 1


def test_the_same_files_give_the_same_data(world: Path, tmp_path: Path) -> None:
    first, second = prepare(world, tmp_path / "a"), prepare(world, tmp_path / "b")
    assert first.hashes == second.hashes
    assert prepare(world, tmp_path / "a").hashes == first.hashes


def test_every_missing_file_is_named_at_once(tmp_path: Path) -> None:
    (tmp_path / "ifeval").mkdir()
    with pytest.raises(DataError) as raised:
        find(tmp_path)
    assert raised.value.message.count("\n") == len(SOURCES)
    with pytest.raises(DataError, match="is no folder"):
        find(tmp_path / "none")


@pytest.mark.parametrize("text", ["one line\n", "ctx\nseven\na\nb\nc\nd\n", "ctx\n4\na\nb\nc\nd\n"])
def test_a_damaged_hellaswag_is_named(text: str, tmp_path: Path) -> None:
    path = tmp_path / "hellaswag_val.txt"
    path.write_text(text, "utf-8")
    with pytest.raises(DataError, match=r"hellaswag_val\.txt.* get the published file again"):
        hellaswag_items(path)


@pytest.mark.parametrize("odd", [None, True, 1.5, float("nan"), [1], {}, "\ud800", "left out"])
def test_odd_values_of_a_rule_are_named_when_they_are_read(odd: Any, tmp_path: Path) -> None:
    """Not after hours, when the first replies are judged."""
    path = tmp_path / "input_data.jsonl"
    cases = {name: given for name, given, _, _ in RULE_CASES if given}
    for name, given in cases.items():
        for key in given:
            values = {**given, key: odd}
            if odd == "left out":
                del values[key]
            elif isinstance(odd, str) and isinstance(given[key], str):
                continue
            path.write_text(json.dumps(ifeval(1, (name, given), (name, values))) + "\n", "utf-8")
            with pytest.raises(DataError, match=rf"input_data\.jsonl.*{name}: {key}"):
                list(ifeval_items(path))
    path.write_text("".join(json.dumps(ifeval(1, case)) + "\n" for case in cases.items()), "utf-8")
    assert len(list(ifeval_items(path))) == len(cases)


def test_a_number_that_json_has_not_is_no_traceback(world: Path, tmp_path: Path) -> None:
    shutil.copytree(world, tmp_path / "w")
    path = tmp_path / "w/api_bank/test-data/level-1-api.json"
    path.write_text(path.read_text("utf-8").replace('"id": 0', '"id": NaN'), "utf-8")
    with pytest.raises(DataError, match="NaN"):
        prepare(tmp_path / "w", tmp_path / "out")


# rule, what it is given, replies that keep it, replies that do not
RULE_CASES: list[tuple[str, dict[str, Any], tuple[str, ...], tuple[str, ...]]] = [
    ("keywords:existence", {"keywords": ["lamp", "a.b"]}, ("A Lamp, A.B",), ("lamp", "lamp axb")),
    ("keywords:frequency", {"keyword": "at", "relation": "at least", "frequency": 2}, ("at At",), ("at",)),
    ("keywords:frequency", {"keyword": "at", "relation": "less than", "frequency": 2}, ("at",), ("at at",)),
    ("keywords:forbidden_words", {"forbidden_words": ["can"]}, ("a candle",), ("yes we CAN",)),
    (
        "keywords:letter_frequency",
        {"letter": "L", "let_relation": "at least", "let_frequency": 3},
        ("lull",),
        ("lul",),
    ),
    ("length_constraints:number_words", {"relation": "less than", "num_words": 3}, ("two words",), ("a b c",)),
    (
        "length_constraints:number_paragraphs",
        {"num_paragraphs": 2},
        ("a\n***\nb", "a\n***\nb\n***"),
        ("a", "a*** ***b"),
    ),
    (
        "length_constraints:nth_paragraph_first_word",
        {"num_paragraphs": 2, "nth_paragraph": 2, "first_word": "so"},
        ("a\n\n'So, b",),
        ("so a\n\nb", "a\n\nb\n\nso"),
    ),
    ("detectable_content:number_placeholders", {"num_placeholders": 2}, ("[a] and [b]",), ("[a]",)),
    ("detectable_content:postscript", {"postscript_marker": "P.S."}, ("x\nP.S. y", "x\np. s. y"), ("x",)),
    ("detectable_content:postscript", {"postscript_marker": "P.P.S"}, ("x\nP.P.S y",), ("x P.S. y",)),
    ("detectable_format:number_bullet_lists", {"num_bullets": 2}, ("* a\n* b", "- a\n * b"), ("* a", "**a**\n* b")),
    ("detectable_format:constrained_response", {}, ("Well. My answer is no.",), ("my answer is no", "No.")),
    ("detectable_format:number_highlighted_sections", {"num_highlights": 2}, ("*a* **b**",), ("*a* ** **",)),
    (
        "detectable_format:multiple_sections",
        {"section_spliter": "PART", "num_sections": 2},
        ("PART 1\na\nPART 2\nb",),
        ("PART 1\na",),
    ),
    ("detectable_format:json_format", {}, ('{"a": 1}', '```json\n{"a": 1}\n```'), ("{a: 1}",)),
    ("detectable_format:title", {}, ("<<A title>>\nx",), ("<a>", "<< >>")),
    ("combination:two_responses", {}, ("a******b",), ("a", "a******a", "a******b******c")),
    ("combination:repeat_prompt", {"prompt_to_repeat": "Do it."}, ("do it. Yes",), ("Yes. Do it.",)),
    ("startend:end_checker", {"end_phrase": "The end."}, ('x the end."',), ("The end. x",)),
    ("startend:quotation", {}, ('"x"',), ('"x', '"')),
    (
        "change_case:capital_word_frequency",
        {"capital_relation": "at least", "capital_frequency": 2},
        ("A BIG dog",),
        ("A big Dog",),
    ),
    ("change_case:english_capital", {}, ("ALL OF IT 1!",), ("ALL of it",)),
    ("change_case:english_lowercase", {}, ("all of it 1!",), ("All of it",)),
    ("punctuation:no_comma", {}, ("a. b",), ("a, b",)),
]


@pytest.mark.parametrize(("name", "given", "good", "bad"), RULE_CASES, ids=lambda value: str(value)[:40])
def test_rules(name: str, given: dict[str, Any], good: tuple[str, ...], bad: tuple[str, ...]) -> None:
    assert [kept(text, [(name, given)]) for text in good] == [[True]] * len(good)
    assert [kept(text, [(name, given)]) for text in (*bad, " ")] == [[False]] * (len(bad) + 1)


def test_every_rule_has_a_case_and_others_are_left_out() -> None:
    assert {name for name, *_ in RULE_CASES} == RULES.keys()
    assert not can_be_judged([("punctuation:no_comma", {}), ("language:response_language", {})])
