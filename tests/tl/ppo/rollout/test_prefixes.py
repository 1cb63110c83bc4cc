"""Prompts that begin alike are read once, and give what each gives alone."""

from __future__ import annotations

from collections.abc import Sequence
from dataclasses import replace
from typing import Any

import pytest
import torch

import tiny
from llamafactory_ext.tl.ppo.rollout.local import Response, Sampling, draw_responses
from llamafactory_ext.tl.ppo.rollout.prefixes import families_of

pytestmark = pytest.mark.fast

LONG, OTHER = tuple(range(50, 80)), tuple(range(120, 150))
GREEDY = Sampling(max_tokens=6, end_ids=frozenset({4}), pad_id=1, temperature=0)
ALIKE = [
    (*LONG, 81, 82, 83, 84),
    LONG,
    (*OTHER[:20], 90),
    (*LONG, 81),
    LONG,
    (*OTHER[:20], 91, 92, 93),
    (*LONG, 81, 82, 85),
]


def drawn(model: Any, prompts: Sequence[Sequence[int]], sampling: Sampling = GREEDY) -> tuple[list[Response], int]:
    """Return the responses, and how many positions the model computed."""
    seen: list[int] = []
    hook = model.register_forward_pre_hook(
        lambda _, __, inputs: seen.append(inputs["input_ids"].numel()), with_kwargs=True
    )
    try:
        decode = tiny.tiny_tokenizer().decode
        return draw_responses(model, prompts, sampling, decode, device=torch.device("cpu")), sum(seen)
    finally:
        hook.remove()


@pytest.mark.parametrize("name", tiny.ARCHITECTURES)
def test_prompts_that_begin_alike_give_what_each_gives_alone(name: str) -> None:
    model = tiny.tiny_model(name)
    together, _ = drawn(model, ALIKE)
    for response, prompt in zip(together, ALIKE, strict=True):
        (alone,), _ = drawn(model, [prompt])
        assert response.ids == alone.ids
        assert torch.allclose(torch.tensor(response.logp), torch.tensor(alone.logp), atol=1e-5)


def test_what_they_begin_with_is_read_once() -> None:
    model = tiny.tiny_model()
    prompts = [LONG] * 8
    _, shared = drawn(model, prompts, replace(GREEDY, max_tokens=1))
    _, apart = drawn(model, prompts, replace(GREEDY, max_tokens=1, cache="static"))
    assert (shared, apart) == (len(LONG) - 1 + 8, 8 * len(LONG))


@pytest.mark.parametrize("rows", [2, 3, 64])
def test_rows_of_any_number_share_a_batch(rows: int) -> None:
    model = tiny.tiny_model()
    ids = [[response.ids for response in drawn(model, ALIKE, replace(GREEDY, rows=size))[0]] for size in (1, rows)]
    assert ids[0] == ids[1]


@pytest.mark.parametrize(
    ("prompts", "lengths"),
    [
        ([(5,)], [0]),
        ([(5,), (5,)], [0, 0]),
        ([(5, 6, 7), (5, 6, 7)], [2]),
        ([(5, 6, 7), (8, 6, 7)], [2, 2]),
        ([(5, 6, 7, 8), (5, 6), (5, 6, 7, 9)], [1]),
        ([[5, 6, 7, 8, 9], (5, 6, 1, 2, 3)], [4, 4]),
    ],
)
def test_families(prompts: list[Sequence[int]], lengths: list[int]) -> None:
    family_of, found = families_of(prompts)
    assert sorted(found) == sorted(lengths)
    for row, prompt in enumerate(prompts):
        members = [tuple(other) for place, other in enumerate(prompts) if family_of[place] == family_of[row]]
        length = found[family_of[row]]
        assert length < len(prompt)
        assert {member[:length] for member in members} == {tuple(prompt[:length])}
