"""`tl_rollout: vllm` on models of other families than Llama, whose test is test_rollout.py: the server follows."""

from __future__ import annotations

from collections.abc import Iterator
from pathlib import Path

import pytest
import torch
from peft import LoraConfig, get_peft_model

from family_models import family_model
from llamafactory_ext.tl.ppo.rollout.local import Response, Sampling, draw_responses
from llamafactory_ext.tl.ppo.rollout.server import ServerRollout
from sampling import ALL
from serving_vllm.servers import serve, wait_until_ready
from tiny import tiny_tokenizer

GREEDY = Sampling(max_tokens=12, end_ids=frozenset({4}), pad_id=1, temperature=0.0, rows=3)
TEXTS = ("Remind me of item 3.", "What is 12 plus 30? The answer", "Say", "A reminder: call at noon in Paris.")


@pytest.fixture(params=["qwen3", "gemma3"] if ALL else ["gemma3"])
def served(request: pytest.FixtureRequest, tmp_path: Path) -> Iterator[tuple[str, str]]:
    """A server of a family's model with adapters that change while it runs: the family and the address."""
    family_model(request.param).save_pretrained(tmp_path / "model")
    tiny_tokenizer().save_pretrained(tmp_path / "model")
    options = ("--max-model-len", "256", "--enable-lora", "--max-lora-rank", "8")
    process, address = serve(tmp_path / "model", tmp_path / "log", *options, VLLM_ALLOW_RUNTIME_LORA_UPDATING="True")
    try:
        wait_until_ready(address, process, tmp_path / "log")
        yield request.param, f"{address}/v1"
    finally:
        process.terminate()
        process.wait(120)


def test_the_server_follows_the_policy(served: tuple[str, str], tmp_path: Path) -> None:
    name, url = served
    tokenizer = tiny_tokenizer()
    torch.manual_seed(0)
    config = LoraConfig(r=4, target_modules="all-linear", init_lora_weights=False)
    model = get_peft_model(family_model(name), config).eval()
    asked = [tokenizer.encode(text) for text in TEXTS]
    draw = ServerRollout(url, 600.0, tmp_path / "run", model, publishes=True)
    seen = []
    for step in range(2):
        drawn = draw_responses(model, asked, GREEDY, tokenizer.decode, device=torch.device("cpu"))
        seen.append([Response(answer.ids, answer.ended) for answer in drawn])
        assert [Response(answer.ids, answer.ended) for answer in draw(asked, GREEDY, step)] == seen[-1]
        moves = torch.Generator().manual_seed(step)
        with torch.no_grad():
            for parameter_name, weight in model.named_parameters():
                if "lora_B" in parameter_name:
                    weight.add_(torch.randn(weight.shape, generator=moves) * 0.5)
    changed = [one != other for one, other in zip(*seen, strict=True)]
    assert sum(changed) >= len(TEXTS) / 2, "the policy's answers have to change for this test to say something"
