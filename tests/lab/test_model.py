"""The shipped model: its format is LLaMA-Factory's `llama3`, and it answers as recorded."""

import json
from pathlib import Path

import pytest
import torch
from transformers import AutoTokenizer

from llamafactory_ext.errors import CheckpointError
from llamafactory_ext.lab import world
from llamafactory_ext.lab.evaluate import ends_right, evaluate, load, reply_to
from llamafactory_ext.lab.methods import SHIPPED_MODEL
from llamafactory_ext.lab.scoring import is_right
from llamafactory_ext.lab.tokenizer import encode_turn

pytestmark = pytest.mark.fast

RECORDED = json.loads((Path(__file__).parent / "recorded_answers.json").read_text(encoding="utf-8"))


def test_encoding_equals_upstreams_template_and_the_chat_template() -> None:
    template = pytest.importorskip("llamafactory.data.template", reason="needs llamafactory").TEMPLATES["llama3"]
    tokenizer = AutoTokenizer.from_pretrained(SHIPPED_MODEL)
    for examples in world.held_out(10).values():
        for example in examples:
            turns = [{"role": "user", "content": example.prompt}, {"role": "assistant", "content": example.answer}]
            ids, asked = encode_turn(tokenizer, example.prompt, example.answer)
            prompt_ids, answer_ids = template.encode_oneturn(tokenizer, turns)
            assert (prompt_ids, answer_ids) == (ids[:asked], ids[asked:])
            assert tokenizer.apply_chat_template(turns, return_dict=False) == ids
            opened = tokenizer.apply_chat_template(turns[:1], return_dict=False, add_generation_prompt=True)
            assert opened == ids[:asked]
            assert tokenizer.decode(answer_ids, skip_special_tokens=True) == example.answer


@pytest.mark.parametrize("text", ["naïve 漢字 😀", "  two  blanks\n\n\tand a tab\n", "BookTable(city='Rome')", ""])
def test_any_text_survives_the_tokenizer(text: str) -> None:
    tokenizer = AutoTokenizer.from_pretrained(SHIPPED_MODEL)
    assert tokenizer.decode(tokenizer.encode(text, add_special_tokens=False)) == text


def test_digits_are_single_tokens() -> None:
    tokenizer = AutoTokenizer.from_pretrained(SHIPPED_MODEL)
    assert tokenizer.tokenize("2024") == ["2", "0", "2", "4"]


def test_shipped_model_is_small_and_has_enough_linears() -> None:
    assert sum(file.stat().st_size for file in SHIPPED_MODEL.rglob("*")) <= 10_000_000
    model, _ = load(SHIPPED_MODEL)
    layers = model.get_submodule("model.layers")
    assert sum(isinstance(module, torch.nn.Linear) for module in layers.modules()) >= 42
    assert 1_000_000 <= model.num_parameters() <= 5_000_000
    assert model.config.head_dim == 32


def test_shipped_model_repeats_its_recorded_answers() -> None:
    model, tokenizer = load(SHIPPED_MODEL)
    assert reply_to(model, tokenizer, [row["prompt"] for row in RECORDED]) == [row["reply"] for row in RECORDED]


def test_shipped_model_has_its_abilities() -> None:
    scores = evaluate(limit=24).scores
    for task in world.ABILITIES:
        assert scores[task].accuracy >= 0.6, task


def test_shipped_model_calls_other_tools_in_stated_formats_and_over_several_turns() -> None:
    model, tokenizer = load(SHIPPED_MODEL)
    sets = world.other_calls(24)
    replies = reply_to(model, tokenizer, [example.prompt for example in sets["other_calls"]])
    right = [is_right(example, reply) for example, reply in zip(sets["other_calls"], replies, strict=True)]
    assert sum(right) >= 15
    assert any(ends_right(model, tokenizer, example) for example in sets["turns"])


def test_card_states_the_measured_figures() -> None:
    measured = json.loads((SHIPPED_MODEL / "evaluation.json").read_text(encoding="utf-8"))
    card = (SHIPPED_MODEL / "README.md").read_text(encoding="utf-8")
    assert sum(measured["scores"][task]["accuracy"] for task in world.ABILITIES) / len(world.ABILITIES) >= 0.85
    assert measured["scores"]["other_calls"]["accuracy"] >= 0.8
    for task, score in measured["scores"].items():
        assert score["n"] >= 200
        assert score["accuracy"] >= 0.75 or task not in world.ABILITIES, task
        assert f"| {task} | {score['n']} | {score['accuracy']:.1%} |" in card


def test_loading_something_else_is_a_clear_error(tmp_path: Path) -> None:
    with pytest.raises(CheckpointError, match=r"config\.json"):
        load(tmp_path)
    with pytest.raises(CheckpointError, match=r"adapter_config\.json"):
        load(SHIPPED_MODEL, tmp_path)


def test_left_padding_does_not_change_a_reply() -> None:
    model, tokenizer = load(SHIPPED_MODEL)
    prompts = [example.prompt for examples in world.held_out(3).values() for example in examples]
    alone = [reply_to(model, tokenizer, [prompt])[0] for prompt in prompts]
    assert reply_to(model, tokenizer, prompts) == alone
    assert any(is_right(example, reply) for example, reply in zip(world.held_out(3)["math"], alone, strict=False))
