"""`tl_rollout: vllm` on models of other families than Llama, whose test is test_rollout.py: the server follows."""

from __future__ import annotations

from collections.abc import Iterator
from pathlib import Path

import pytest
import torch
from peft import LoraConfig, get_peft_model
from transformers import AutoTokenizer

from family_models import family_model
from llamafactory_ext.lab.methods import SHIPPED_MODEL
from llamafactory_ext.tl.ppo.rollout.local import Response, Sampling, draw_responses
from llamafactory_ext.tl.ppo.rollout.server import ServerRollout
from sampling import ALL
from serving_vllm.ppo_run import check_training
from serving_vllm.servers import serve, wait_until_ready

GREEDY = Sampling(max_tokens=12, end_ids=frozenset({4}), pad_id=1, temperature=0.0, rows=3)
TEXTS = ("Remind me of item 3.", "What is 12 plus 30? The answer", "Say", "A reminder: call at noon in Paris.")
Served = tuple[str, str, Path]
# Room for the embedded model's tokenizer with the marks of a template.
SIZES = {"vocab_size": 1312, "max_position_embeddings": 2048}
TEMPLATES = {"qwen3": "qwen3_nothink", "gemma3": "gemma3"}


@pytest.fixture(scope="module", params=["qwen3", "gemma3"] if ALL else ["gemma3"])
def served(request: pytest.FixtureRequest, tmp_path_factory: pytest.TempPathFactory) -> Iterator[Served]:
    """A server of a family's model with adapters that change while it runs: the family, the address, the model."""
    folder = tmp_path_factory.mktemp("served")
    family_model(request.param, **SIZES).save_pretrained(folder / "model")
    AutoTokenizer.from_pretrained(SHIPPED_MODEL).save_pretrained(folder / "model")
    options = ("--max-model-len", "2048", "--enable-lora", "--max-lora-rank", "8", "--max-num-seqs", "16")
    process, address = serve(folder / "model", folder / "log", *options, VLLM_ALLOW_RUNTIME_LORA_UPDATING="True")
    try:
        wait_until_ready(address, process, folder / "log")
        yield request.param, f"{address}/v1", folder / "model"
    finally:
        process.terminate()
        process.wait(120)


def test_the_server_follows_the_policy(served: Served, tmp_path: Path) -> None:
    name, url, folder = served
    tokenizer = AutoTokenizer.from_pretrained(folder)
    torch.manual_seed(0)
    config = LoraConfig(r=4, target_modules="all-linear", init_lora_weights=False)
    model = get_peft_model(family_model(name, **SIZES), config).eval()
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


def test_a_run_trains_on_responses_of_its_newest_policy(served: Served, tmp_path: Path) -> None:
    name, url, folder = served
    check_training(url, folder, TEMPLATES[name], tmp_path)
