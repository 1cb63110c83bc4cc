"""Every family in vLLM: greedy tokens and logprobs are those of transformers on the same export, in all modes."""

from __future__ import annotations

from collections.abc import Iterator
from pathlib import Path
from typing import Any

import pytest
import torch
from transformers import AutoModelForCausalLM
from vllm import LLM, SamplingParams

from family_models import MODELS, adapted, family_model
from llamafactory_ext.citi.export import export_citi
from llamafactory_ext.errors import OptionError
from llamafactory_ext.families import family_of
from sampling import ALL
from serving_vllm import stand_in
from serving_vllm.exports import TOKENS, prompts
from serving_vllm.test_engine import engine
from tiny import tiny_tokenizer

SERVED = [name for name, (kind, _) in MODELS.items() if family_of(kind).vllm]
# One of each structure: fused linears, biases, q/k norm, post-norm, experts, hybrid.
STRUCTURES = ["phi4_mini", "qwen2", "qwen3", "gemma3", "qwen3_moe", "qwen3_5"]
GREEDY = SamplingParams(temperature=0, max_tokens=TOKENS, logprobs=1, ignore_eos=True)
CHUNKED = {"max_num_batched_tokens": 48, "max_num_seqs": 8, "enable_chunked_prefill": True, "block_size": 32}


@pytest.fixture(scope="module", autouse=True)
def _without_pictures(tmp_path_factory: pytest.TempPathFactory) -> Iterator[None]:
    """Stand in for torchvision, where it is missing, here and in the workers' processes."""
    with pytest.MonkeyPatch.context() as patch:
        folder = tmp_path_factory.mktemp("plugin")
        stand_in.install(folder)
        patch.syspath_prepend(str(folder))  # which the workers' processes take over
        stand_in.register()
        yield


def export(folder: Path, name: str) -> Path:
    export_citi(adapted(name), tiny_tokenizer(), None, folder, "5GB")
    return folder


def asked(llm: LLM, asked_for: list[list[int]]) -> list[Any]:
    found = llm.generate([{"prompt_token_ids": prompt} for prompt in asked_for], GREEDY, use_tqdm=False)
    return [reply.outputs[0] for reply in found]


def dtype_of(name: str) -> str:
    """Return the number type: vLLM's kernels for the states of hybrid models know one on a CPU."""
    return "bfloat16" if name == "qwen3_5" else "float32"


def assert_equal(folder: Path, name: str, replies: list[Any]) -> None:
    """Each reply's tokens are the likeliest of the export in transformers, and half of them not those of the base.

    In 16 bits, where both round at other places, a token may be the second of two that are as good as equal.
    """
    dtype, near = getattr(torch, dtype_of(name)), 0.15 if dtype_of(name) == "bfloat16" else 2e-3
    model = AutoModelForCausalLM.from_pretrained(folder, dtype=dtype, attn_implementation="eager").eval()
    base = family_model(name).to(dtype)
    changed, equal, places = 0, 0, 0
    for prompt, reply in zip(prompts(), replies, strict=True):
        tokens = list(reply.token_ids)
        ids, start = torch.tensor([prompt + tokens]), len(prompt) - 1
        with torch.no_grad():
            logprobs = model(ids).logits[0, start:-1].float().log_softmax(-1)
            changed += base(ids).logits[0, start:-1].argmax(-1).tolist() != tokens
        best, expected = logprobs.max(-1), logprobs.gather(1, torch.tensor(tokens)[:, None])[:, 0]
        assert (best.values - expected).max() <= (0 if dtype == torch.float32 else near)
        found = [place[token].logprob for place, token in zip(reply.logprobs, tokens, strict=True)]
        assert found == pytest.approx(expected.tolist(), abs=near)
        equal += (best.indices == torch.tensor(tokens)).sum().item()
        places += len(tokens)
    assert equal >= 0.9 * places
    assert changed >= len(replies) / 2


@pytest.mark.parametrize("name", SERVED if ALL else STRUCTURES)
def test_a_family_alone_in_a_batch_in_chunks_and_from_the_cache(name: str, tmp_path: Path) -> None:
    folder = export(tmp_path / name, name)
    with engine(folder, enable_prefix_caching=True, dtype=dtype_of(name), **CHUNKED) as llm:
        together = asked(llm, prompts())
        alone = [asked(llm, [prompt])[0] for prompt in prompts()]
    if dtype_of(name) == "float32":
        assert [reply.token_ids for reply in alone] == [reply.token_ids for reply in together]
    else:  # what is rounded differs with the number of rows
        assert_equal(folder, name, alone)
    assert_equal(folder, name, together)


@pytest.mark.parametrize("name", STRUCTURES if ALL else ["gemma3", "qwen3_moe", "qwen3_5"])
def test_two_processes_share_a_family(name: str, tmp_path: Path) -> None:
    folder = export(tmp_path / name, name)
    spread = {"tensor_parallel_size": 2, "distributed_executor_backend": "mp", "dtype": dtype_of(name)}
    with engine(folder, **spread) as llm:
        replies = asked(llm, prompts())
    assert_equal(folder, name, replies)


def test_a_family_without_a_class_is_refused_before_anything_is_loaded(tmp_path: Path) -> None:
    folder = export(tmp_path / "out", "smollm3")
    with pytest.raises(OptionError, match="no class of its own for SmolLM3; run the export with"), engine(folder):
        pass
