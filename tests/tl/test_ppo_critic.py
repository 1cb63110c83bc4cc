"""Log-probabilities and values of padded batches against one row at a time; the reference is put in place and out."""

from __future__ import annotations

import pytest
import torch

import tiny
from llamafactory_ext.tl.critic import ActorCritic
from llamafactory_ext.tl.ppo_experience import Experience
from llamafactory_ext.tl.ppo_reference import Reference

PROMPTS = [[0, 50, 60], [0, 51, 61, 71, 81], [0, 52]]
RESPONSES = [[90, 91, 4], [92], [93, 94, 95, 96, 4]]


@pytest.mark.parametrize("own_critic", [False, True])
@pytest.mark.parametrize("architecture", tiny.ARCHITECTURES)
def test_padding_changes_neither_log_probabilities_nor_values(architecture: str, own_critic: bool) -> None:
    policy = tiny.tiny_model(architecture)
    model = ActorCritic(policy, own_critic=own_critic, temperature=0.7)
    torch.manual_seed(1)
    torch.nn.init.normal_(model.value_head.weight)
    batch = Experience.of(PROMPTS, RESPONSES, pad_id=1)
    with torch.no_grad():
        logp_BR, values_BR = model(*batch.inputs())
        for row, (prompt, response) in enumerate(zip(PROMPTS, RESPONSES, strict=True)):
            out = policy(torch.tensor([prompt + response]), output_hidden_states=True)
            before = slice(len(prompt) - 1, -1)
            expected = (out.logits[0, before] / 0.7).log_softmax(-1)[range(len(response)), response]
            assert torch.allclose(logp_BR[row, : len(response)], expected, atol=1e-5)
            values = model.value_head(out.hidden_states[-1][0, before]).squeeze(-1)
            assert torch.allclose(values_BR[row, : len(response)], values, atol=1e-5)


def test_the_reference_is_the_policy_as_it_was_and_leaves_it_as_it_is() -> None:
    policy = tiny.tiny_model()
    ids = torch.tensor([PROMPTS[1]])
    with torch.no_grad():
        start = policy(ids).logits
        reference = Reference(policy, "start", fresh=False)
        for weight in policy.parameters():
            weight.add_(0.01)
        moved = policy(ids).logits
        with reference.in_place():
            assert torch.equal(policy(ids).logits, start)
        assert torch.equal(policy(ids).logits, moved)
    assert not torch.equal(start, moved)
    assert reference.copied == sum(weight.numel() for weight in policy.parameters())
