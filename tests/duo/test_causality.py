"""No token's output depends on a later one, on padding, on its batch, or on what it is packed with."""

from __future__ import annotations

import pytest
import torch

from duo.adapted import IDS, adapted, logits

pytestmark = pytest.mark.fast

GATES = pytest.mark.parametrize("gate", ["token", "prefix", "none"])
LENGTH = IDS.shape[1]


@pytest.mark.parametrize("architecture", ["llama", "mistral", "phi3"])
@GATES
def test_a_later_token_changes_no_earlier_logit(gate: str, architecture: str) -> None:
    model = adapted(architecture, gate=gate)
    before = logits(model)
    for place in (3, LENGTH - 1):
        ids = IDS.clone()
        ids[:, place] += 1
        found = logits(model, ids)
        assert torch.equal(found[:, :place], before[:, :place])
        assert not torch.equal(found[:, place], before[:, place])


@pytest.mark.parametrize("layers_per_gate", [1, 2, 3, 4])
@GATES
def test_gradients_reach_no_later_token(gate: str, layers_per_gate: int) -> None:
    model = adapted(gate=gate, layers_per_gate=layers_per_gate)
    embedded = model.get_input_embeddings()(IDS).detach().requires_grad_()
    model(inputs_embeds=embedded).logits[:, 4].sum().backward()
    assert not embedded.grad[:, 5:].any()
    assert embedded.grad[:, :5].abs().sum(-1).all()


def test_the_released_codes_gate_is_not_causal() -> None:
    model = adapted(gate="reference")
    ids = IDS.clone()
    ids[:, -1] += 1
    assert not torch.allclose(logits(model, ids)[:, 0], logits(model)[:, 0], atol=1e-5)


def test_prefix_equals_the_released_codes_gate_at_the_last_token() -> None:
    prefix, reference = adapted(gate="prefix", layers_per_gate=4), adapted(gate="reference", layers_per_gate=4)
    logits(prefix)
    logits(reference)
    one, other = (model.base_model.open_gates()[0] for model in (prefix, reference))
    assert torch.allclose(one[..., -1], other[..., -1], atol=1e-6)
    assert not torch.allclose(one[..., 0], other[..., 0], atol=1e-3)


@GATES
@pytest.mark.parametrize("chunks", [[LENGTH - 1, 1], [1] * LENGTH, [4, 3, 2]])
def test_cached_decoding_equals_the_full_pass(gate: str, chunks: list[int]) -> None:
    model = adapted(gate=gate).double()
    whole, cache, found, begin = logits(model), None, [], 0
    for size in chunks:
        with torch.no_grad():
            out = model(input_ids=IDS[:, begin : begin + size], past_key_values=cache, use_cache=True)
        cache, begin = out.past_key_values, begin + size
        found.append(out.logits)
    assert torch.allclose(torch.cat(found, 1), whole, rtol=0, atol=1e-12)


@GATES
def test_a_cropped_cache_goes_on_from_there(gate: str) -> None:
    model = adapted(gate=gate).double()
    with torch.no_grad():
        cache = model(input_ids=IDS, use_cache=True).past_key_values
        cache.crop(5)
        found = model(input_ids=IDS[:, 5:], past_key_values=cache).logits
    assert torch.allclose(found, logits(model)[:, 5:], rtol=0, atol=1e-12)


@GATES
def test_beams_are_what_they_are_without_a_cache(gate: str) -> None:
    model = adapted(gate=gate).double()
    settings = {"num_beams": 3, "max_new_tokens": 5, "do_sample": False, "pad_token_id": 1}
    cached = model.generate(input_ids=IDS, use_cache=True, **settings)
    assert torch.equal(cached, model.generate(input_ids=IDS, use_cache=False, **settings))


def test_a_cache_filled_without_the_gate_is_refused() -> None:
    from llamafactory_ext.errors import OptionError

    model = adapted(gate="prefix")
    with torch.no_grad():
        with model.disable_adapter():
            cache = model(input_ids=IDS, use_cache=True).past_key_values
        with pytest.raises(OptionError, match="filled without this adapter's gate `prefix`"):
            model(input_ids=IDS[:, :1], past_key_values=cache)


@GATES
@pytest.mark.parametrize("attention", ["eager", "sdpa"])
def test_padding_on_either_side_changes_nothing(gate: str, attention: str) -> None:
    model = adapted(gate=gate)
    model.set_attn_implementation(attention)
    alone = logits(model, IDS[:1])[0]
    mask, pad = torch.ones(2, LENGTH + 3, dtype=torch.long), torch.ones(1, 3, dtype=torch.long)
    other = torch.randint(5, 384, (1, LENGTH + 3), generator=torch.Generator().manual_seed(3))
    for left in (True, False):
        padded = torch.cat([pad, IDS[:1]] if left else [IDS[:1], pad], dim=1)
        kept = slice(3, None) if left else slice(None, LENGTH)
        mask[0] = 0
        mask[0, kept] = 1
        positions = (mask.cumsum(-1) - 1).clamp_min(0)
        found = logits(model, torch.cat([padded, other]), attention_mask=mask, position_ids=positions)[0, kept]
        assert torch.allclose(found, alone, rtol=0, atol=1e-5)


@GATES
@pytest.mark.parametrize("attention", ["eager", "sdpa"])
def test_packed_sequences_answer_as_separate_ones(gate: str, attention: str) -> None:
    model = adapted(gate=gate, dtype=torch.float64)
    model.set_attn_implementation(attention)
    parts = [IDS[:1, :4], IDS[1:, :5]]
    positions = torch.cat([torch.arange(part.shape[1]) for part in parts])[None]
    packed = logits(model, torch.cat(parts, 1), position_ids=positions, use_cache=False)
    separate = torch.cat([logits(model, part) for part in parts], 1)
    assert torch.allclose(packed, separate, rtol=0, atol=1e-12)


@GATES
def test_a_batch_answers_as_each_alone(gate: str) -> None:
    model = adapted(gate=gate, dtype=torch.float64)
    alone = torch.cat([logits(model, row[None]) for row in IDS])
    assert torch.allclose(logits(model), alone, rtol=0, atol=1e-12)


def test_a_mask_of_numbers_tells_packed_sequences_apart() -> None:
    """As LLaMA-Factory's packing marks them for FlashAttention: 1 1 1 2 2, and 0 for padding."""
    from llamafactory_ext.duo.causal import running_sums

    numbers = torch.arange(1.0, 7).expand(2, 1, 6)
    mask = torch.tensor([[1, 1, 1, 2, 2, 0]])
    found = running_sums(numbers, {"attention_mask": mask}, ("default", 0))
    assert found[0, 0].tolist() == [1, 3, 6, 4, 9, 0]
