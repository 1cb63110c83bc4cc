"""Log-probabilities and values of padded batches against one row at a time; the reference is put in place and out."""

from __future__ import annotations

import pytest
import torch

import tiny
from llamafactory_ext.tl.ppo.critic import ActorCritic
from llamafactory_ext.tl.ppo.experience import Experience
from llamafactory_ext.tl.ppo.reference import Reference
from llamafactory_ext.tl.ppo.rollout.local import Sampling, draw_responses

pytestmark = pytest.mark.fast

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


@pytest.mark.parametrize("cache", ["dynamic", "static"])
@pytest.mark.parametrize("own_critic", [False, True])
@pytest.mark.parametrize("architecture", tiny.ARCHITECTURES)
def test_a_rollout_gives_what_a_pass_over_its_responses_gives(architecture: str, own_critic: bool, cache: str) -> None:
    policy = tiny.tiny_model(architecture).eval()
    model = ActorCritic(policy, own_critic=own_critic, temperature=0.7)
    torch.manual_seed(1)
    torch.nn.init.normal_(model.value_head.weight)
    # Every third token ends a response, so that rows leave the batch.
    ends = frozenset(range(0, policy.config.vocab_size, 3))
    sampling = Sampling(max_tokens=8, end_ids=ends, pad_id=1, temperature=0.7, top_k=60, rows=4, cache=cache)
    prompts = PROMPTS * 2
    with model.rollout_values() as values:
        responses = draw_responses(policy, prompts, sampling, str, device=torch.device("cpu"), values=values)
    assert len({len(response.ids) for response in responses}) > 2
    batch = Experience.of(prompts, [response.ids for response in responses], pad_id=1)
    with torch.no_grad():
        logp_NR, values_NR = (part_NR * batch.mask_NR for part_NR in model(*batch.inputs()))
    assert torch.allclose(batch.column([response.logp for response in responses]), logp_NR, atol=1e-5)
    if own_critic:
        assert not any(response.values for response in responses)
    else:
        assert values_NR.any()
        assert torch.allclose(batch.column([response.values for response in responses]), values_NR, atol=1e-5)


@pytest.mark.parametrize("own_critic", [False, True])
def test_log_probabilities_and_values_come_alone_on_request(own_critic: bool) -> None:
    model = ActorCritic(tiny.tiny_model(), own_critic=own_critic, temperature=1.0)
    torch.nn.init.normal_(model.value_head.weight)
    inputs = Experience.of(PROMPTS, RESPONSES, pad_id=1).inputs()
    with torch.no_grad():
        logp_BR, values_BR = model(*inputs)
        assert torch.equal(*model(*inputs, values=False), logp_BR)
        assert torch.equal(*model(*inputs, logp=False), values_BR)


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
