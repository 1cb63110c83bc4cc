"""The world is a function of its seeds, and no held-out item occurs in training."""

from pathlib import Path
from random import Random

import pytest

from llamafactory_ext.lab import world
from llamafactory_ext.lab.datasets import record, training_files
from llamafactory_ext.lab.example import Example, Generator
from llamafactory_ext.lab.facts import KNOWLEDGE, WORDINGS
from llamafactory_ext.lab.scoring import parse_call
from llamafactory_ext.lab.tools import TOOLS, tool_seen, tool_unseen

pytestmark = pytest.mark.fast

DATA = Path(__file__).parents[2] / "data"


@pytest.mark.parametrize("task", world.ABILITIES)
def test_sampling_is_deterministic_and_splits_are_disjoint(task: str) -> None:
    held_out = world.sample(task, "test", 60, 3)
    assert held_out == world.sample(task, "test", 60, 3)
    assert held_out != world.sample(task, "test", 60, 4)
    training = world.sample(task, "train", 300, 3)
    assert not {example.key for example in held_out} & {example.key for example in training}
    assert not {example.prompt for example in held_out} & {example.prompt for example in training}


def test_every_held_out_fact_is_taught_in_other_words() -> None:
    for town, facts in KNOWLEDGE.items():
        for relation in facts:
            splits = [Example("facts", "", "", f"{town} {relation} {wording}").split for wording in range(WORDINGS)]
            assert splits.count("train") >= 2


def test_unseen_tools_share_no_name_and_no_noun_with_seen_ones() -> None:
    seen, unseen = TOOLS["seen"], TOOLS["unseen"]
    assert not {tool.name for tool in seen} & {tool.name for tool in unseen}
    assert not {tool.noun for tool in seen} & {tool.noun for tool in unseen}
    training = world.tool_training(200, 1)
    assert not any(tool.name in example.prompt for tool in unseen for example in training)


@pytest.mark.parametrize("generate", [tool_seen, tool_unseen])
def test_calls_can_be_answered_from_the_prompt(generate: Generator) -> None:
    rng = Random(5)
    for _ in range(200):
        example = generate(rng)
        call = parse_call(example.answer)
        assert call is not None
        assert f'"apiCode": "{call.name}"' in example.prompt
        words = example.prompt.partition("\nUser: ")[2]
        assert all(value in words for _, value in call.arguments)


def test_shipped_data_files_regenerate() -> None:
    import json

    for name, records in training_files().items():
        assert json.loads((DATA / name).read_text(encoding="utf-8")) == records, (
            f"run `llamafactory-ext lab data`: {name}"
        )


def test_record_keeps_the_prompt_upstream_puts_together() -> None:
    for example in world.tool_training(20, 1):
        row = record(example)
        assert f"{row['instruction']}\n{row['input']}" == example.prompt
        assert (row["mark"], row["task"]) == ("tool", "tool")
