"""Responses from the rollout against transformers' own generation, and its batching, stopping and sampling."""

from __future__ import annotations

from collections import Counter
from dataclasses import replace
from typing import Any

import pytest
import torch
from transformers import PreTrainedModel, PreTrainedTokenizerFast

import tiny
from llamafactory_ext.tl.ppo.rollout.local import Response, Sampling, buckets, choose, draw, draw_responses, pad_left

pytestmark = pytest.mark.fast

GREEDY = Sampling(max_tokens=12, end_ids=frozenset({4}), pad_id=1, temperature=0)
PROMPTS = [[0, 50, 60], [0, 51, 61, 71, 81, 91, 101], [0, 52], [0, 53, 63, 73, 83], [0, 54, 64, 74]]


@pytest.fixture(scope="module", params=tiny.ARCHITECTURES)
def model(request: pytest.FixtureRequest) -> PreTrainedModel:
    return tiny.tiny_model(request.param)


@pytest.fixture(scope="module")
def llama() -> PreTrainedModel:
    return tiny.tiny_model()


def answers(model: PreTrainedModel, sampling: Sampling, prompts: list[list[int]] = PROMPTS) -> list[Response]:
    words = tiny.tiny_tokenizer()
    return draw_responses(model, prompts, sampling, words.decode, device=torch.device("cpu"))


def generated(model: PreTrainedModel, prompt: list[int], ends: list[int]) -> tuple[int, ...]:
    """What transformers writes, one prompt at a time, without padding."""
    ids = torch.tensor([prompt])
    mask = torch.ones_like(ids)
    out = model.generate(
        input_ids=ids, attention_mask=mask, max_new_tokens=12, do_sample=False, eos_token_id=ends, pad_token_id=1
    )
    return tuple(out[0, len(prompt) :].tolist())


@pytest.mark.parametrize("cache", ["dynamic", "static"])
@pytest.mark.parametrize("rows", [2, 64])
def test_greedy_responses_are_those_of_transformers(model: PreTrainedModel, cache: str, rows: int) -> None:
    free = [generated(model, prompt, [4]) for prompt in PROMPTS]
    ends = [4, free[0][2], free[3][5]]  # tokens that make some responses end early
    expected = [generated(model, prompt, ends) for prompt in PROMPTS]
    assert len({len(ids) for ids in expected}) > 1
    found = answers(model, replace(GREEDY, end_ids=frozenset(ends), cache=cache, rows=rows))
    assert [response.ids for response in found] == expected
    assert [response.ended for response in found] == [ids[-1] in ends for ids in expected]


def test_rows_that_have_ended_leave_the_batch(llama: PreTrainedModel) -> None:
    free = [generated(llama, prompt, [4]) for prompt in PROMPTS]
    ends = frozenset(ids[1] for ids in free[1:])
    sizes = []
    hook = llama.register_forward_pre_hook(
        lambda _, __, inputs: sizes.append(len(inputs["input_ids"])), with_kwargs=True
    )
    try:
        responses = answers(llama, replace(GREEDY, end_ids=ends))
    finally:
        hook.remove()
    assert sizes[0] == len(PROMPTS)
    assert sizes[-1] < len(PROMPTS)
    assert len(sizes) == max(len(response.ids) for response in responses)


def test_processes_that_must_stay_together_make_equally_many_calls(llama: PreTrainedModel) -> None:
    ends = frozenset({generated(llama, PROMPTS[0], [4])[0]})
    calls, asked = [], []
    hook = llama.register_forward_pre_hook(lambda *_: calls.append(1))

    def all_closed(mine: bool) -> bool:
        asked.append(mine)
        return False

    try:
        sampling = replace(GREEDY, end_ids=ends)
        device = torch.device("cpu")
        words = tiny.tiny_tokenizer()
        (response,) = draw_responses(llama, PROMPTS[:1], sampling, words.decode, device=device, all_closed=all_closed)
    finally:
        hook.remove()
    assert len(response.ids) == 1
    assert response.ended
    assert asked[0]
    assert len(calls) == 12


def test_stop_texts_end_a_response_and_stay_in_it(
    llama: PreTrainedModel, tiny_tokenizer: PreTrainedTokenizerFast
) -> None:
    free = generated(llama, PROMPTS[1], [4])
    text = tiny_tokenizer.decode(free)
    stop = next(text[at : at + 3] for at in range(2, len(text) - 3) if "�" not in text[at : at + 3])
    (response,) = answers(llama, replace(GREEDY, stop=(stop,)), PROMPTS[1:2])
    assert response.ended
    assert free[: len(response.ids)] == response.ids
    assert stop in tiny_tokenizer.decode(response.ids)
    assert stop not in tiny_tokenizer.decode(response.ids[:-1])


def test_buckets_hold_every_prompt_once_sorted_by_length() -> None:
    lengths = [3, 9, 1, 4, 9, 2, 6]
    groups = list(buckets(lengths, 3))
    assert sorted(place for group in groups for place in group) == list(range(7))
    assert [[lengths[place] for place in group] for group in groups] == [[9, 9, 6], [4, 3, 2], [1]]


def test_padding_is_on_the_left() -> None:
    ids, mask = pad_left([[7, 8], [9]], 1)
    assert ids.tolist() == [[7, 8], [1, 9]]
    assert mask.tolist() == [[1, 1], [0, 1]]


def test_sampling_draws_from_the_models_distribution() -> None:
    torch.manual_seed(0)
    shares = (0.5, 0.3, 0.15, 0.05)
    logits = torch.tensor(shares).log().expand(4000, 4)

    def drawn(**changes: Any) -> Counter[int]:
        tokens, logp = choose(logits, replace(GREEDY, **({"temperature": 1.0} | changes)))
        if changes.get("temperature", 1.0) in (0, 1):  # of the whole distribution, whatever is left of it
            assert torch.allclose(logp, torch.tensor(shares)[tokens].log())
        return Counter(tokens.tolist())

    found = drawn()
    for token, share in enumerate(shares):
        assert abs(found[token] / 4000 - share) < 5 * (share * (1 - share) / 4000) ** 0.5
    found = drawn(top_k=2)
    assert set(found) == {0, 1}
    assert abs(found[0] / 4000 - 0.625) < 0.04
    assert set(drawn(top_p=0.6)) == {0, 1}
    assert set(drawn(top_p=0.5)) == {0}
    assert set(drawn(top_k=2, top_p=0.6)) == {0}  # of the two that are left, the first has 0.625
    assert set(drawn(temperature=0.01)) == {0}
    assert set(drawn(temperature=0)) == {0}


def test_what_has_no_weight_is_never_drawn() -> None:
    torch.manual_seed(0)
    weights = torch.tensor([0, 0, 1e-3, 0, 1, 0, 0]).expand(3000, 7)
    assert set(draw(weights).tolist()) == {2, 4}


def test_the_same_seed_gives_the_same_responses(llama: PreTrainedModel) -> None:
    found = []
    for _ in range(2):
        torch.manual_seed(3)
        found.append(answers(llama, replace(GREEDY, temperature=1.0)))
    assert found[0] == found[1]
