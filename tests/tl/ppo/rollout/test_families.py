"""The rollout of every structure answers as transformers generates: windows, experts, norms, states of hybrids."""

from __future__ import annotations

import pytest
import torch

import tiny
from family_models import family_model
from llamafactory_ext.tl.ppo.rollout.local import Sampling, draw_responses

PROMPTS = [[0, 50, 60], [0, 51, 61, 71, 81, 91, 101], [0, 52], [0, *range(40, 70)], [0, 54, 64, 74]]


@pytest.mark.parametrize(
    "name", ["qwen2", "qwen3", "qwen3_moe", "gemma2", "gemma3", "phi4_mini", "smollm3", "qwen3_5"]
)
def test_responses_are_those_of_transformers(name: str) -> None:
    model = family_model(name)
    expected = []
    for prompt in PROMPTS:
        ids = torch.tensor([prompt])
        settings = {"max_new_tokens": 24, "do_sample": False, "eos_token_id": [4, 5], "pad_token_id": 1}
        out = model.generate(input_ids=ids, attention_mask=torch.ones_like(ids), **settings)
        expected.append(tuple(out[0, len(prompt) :].tolist()))
    ends = frozenset({4, 5, expected[0][2], expected[3][7]})  # tokens at which some rows leave the batch early
    cut = [ids[: next((n + 1 for n, token in enumerate(ids) if token in ends), 24)] for ids in expected]
    assert len({len(ids) for ids in cut}) > 1
    for rows in (2, 64):
        sampling = Sampling(max_tokens=24, end_ids=ends, pad_id=1, temperature=0, rows=rows)
        found = draw_responses(model, PROMPTS, sampling, tiny.tiny_tokenizer().decode, device=torch.device("cpu"))
        assert [response.ids for response in found] == cut
