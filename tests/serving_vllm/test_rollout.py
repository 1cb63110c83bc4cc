"""`tl_rollout: vllm` on a server of vLLM itself: it draws what the policy would, before and after every update."""

from __future__ import annotations

import json
import shutil
from collections.abc import Iterator
from dataclasses import replace
from pathlib import Path
from typing import Any

import pytest
import torch
from peft import LoraConfig, get_peft_model
from transformers import AutoModelForCausalLM, AutoTokenizer, PreTrainedTokenizerBase

from llamafactory_ext import lab
from llamafactory_ext.errors import OptionError
from llamafactory_ext.tl.ppo.rollout.local import Response, Sampling, draw_responses
from llamafactory_ext.tl.ppo.rollout.server import ServerRollout
from serving_vllm.ppo_run import check_training
from serving_vllm.servers import ask, serve, wait_until_ready

ROOT = Path(__file__).parents[2]
MODEL = Path(lab.__file__).parent / "model"
RANK = 8
GREEDY = Sampling(max_tokens=12, end_ids=frozenset({4}), pad_id=7, temperature=0.0, rows=2)


@pytest.fixture(scope="module")
def url(tmp_path_factory: pytest.TempPathFactory) -> Iterator[str]:
    """A server of the embedded model whose generation_config.json asks for another way of drawing."""
    folder = tmp_path_factory.mktemp("served")
    shutil.copytree(MODEL, folder / "model")
    wrong = {"repetition_penalty": 1.9, "top_k": 1, "min_p": 0.9, "eos_token_id": list(range(200, 600))}
    (folder / "model" / "generation_config.json").write_text(json.dumps(wrong))
    options = ("--max-model-len", "1024", "--enable-lora", "--max-lora-rank", str(RANK), "--max-num-seqs", "16")
    process, address = serve(folder / "model", folder / "log", *options, VLLM_ALLOW_RUNTIME_LORA_UPDATING="True")
    try:
        wait_until_ready(address, process, folder / "log")
        yield f"{address}/v1"
    finally:
        process.terminate()
        process.wait(120)


@pytest.fixture(scope="module")
def tokenizer() -> PreTrainedTokenizerBase:
    return AutoTokenizer.from_pretrained(MODEL)


def policy(rank: int = 4) -> Any:
    """The embedded model with an adapter that acts."""
    torch.manual_seed(0)
    base = AutoModelForCausalLM.from_pretrained(MODEL, dtype=torch.float32)
    return get_peft_model(base, LoraConfig(r=rank, target_modules="all-linear", init_lora_weights=False)).eval()


def questions(tokenizer: PreTrainedTokenizerBase) -> list[list[int]]:
    texts = ("Please send a pizza to", "What is 12 plus 30? The answer", "Please", "A reminder: call Ann at noon.")
    return [tokenizer.encode(text) for text in texts]


def source(url: str, folder: Path, model: Any, tokenizer: PreTrainedTokenizerBase) -> ServerRollout:
    return ServerRollout(url, 600.0, folder, model, publishes=True)


def local(model: Any, sampling: Sampling, tokenizer: PreTrainedTokenizerBase) -> list[Response]:
    """Without the log-probabilities, which a server's responses leave to the trainer."""
    drawn = draw_responses(model, questions(tokenizer), sampling, tokenizer.decode, device=torch.device("cpu"))
    return [Response(answer.ids, answer.ended) for answer in drawn]


def told(answers: list[Response]) -> list[Response]:
    """Without the log-probabilities that the server tells with every token."""
    assert all(len(answer.engine_logp) == len(answer.ids) and max(answer.engine_logp) <= 0 for answer in answers)
    return [Response(answer.ids, answer.ended) for answer in answers]


def move(model: Any, seed: int) -> None:
    drawn = torch.Generator().manual_seed(seed)
    with torch.no_grad():
        for name, weight in model.named_parameters():
            if "lora_B" in name:
                weight.add_(torch.randn(weight.shape, generator=drawn) * 0.5)


def test_the_server_follows_the_policy(url: str, tmp_path: Path, tokenizer: PreTrainedTokenizerBase) -> None:
    model, asked = policy(), questions(tokenizer)
    draw = source(url, tmp_path, model, tokenizer)
    seen = []
    for step in range(3):
        seen.append(local(model, GREEDY, tokenizer))
        assert told(draw(asked, GREEDY, step)) == seen[-1]
        move(model, step)
    assert len({str(answers) for answers in seen}) == 3, (
        "the policy's answers have to change for this test to say something"
    )
    again = source(url, tmp_path, model, tokenizer)  # a run that was cut off and goes on, at a step the server knows
    assert told(again(asked, GREEDY, 2)) == local(model, GREEDY, tokenizer)
    served = [card["id"] for card in ask(f"{url}/models")["data"] if card["id"].startswith("tl_ppo_2_")]
    assert sorted(served) == sorted([draw.name, again.name])


def test_end_tokens_and_stop_texts_end_as_they_do_here(
    url: str, tmp_path: Path, tokenizer: PreTrainedTokenizerBase
) -> None:
    model = policy()
    draw, free = source(url, tmp_path, model, tokenizer), local(model, GREEDY, tokenizer)
    longest = max(free, key=lambda answer: len(answer.ids))
    token, text = longest.ids[2], tokenizer.decode(longest.ids[2:4])
    for changes in ({"end_ids": frozenset({4, token})}, {"stop": (text, "never said")}):
        sampling = replace(GREEDY, **changes)
        expected = local(model, sampling, tokenizer)
        assert expected != free
        assert told(draw(questions(tokenizer), sampling, 0)) == expected


def test_drawn_responses_differ_and_stay_within_the_limit(
    url: str, tmp_path: Path, tokenizer: PreTrainedTokenizerBase
) -> None:
    sampling = Sampling(max_tokens=6, end_ids=frozenset({4}), pad_id=7, temperature=1.5, rows=16)
    answers = source(url, tmp_path, policy(), tokenizer)(questions(tokenizer)[:1] * 16, sampling, 0)
    assert len({answer.ids for answer in answers}) > 4  # top_k: 1 of the model's own settings would make them one
    assert all(len(answer.ids) == 6 or answer.ended for answer in answers)


def test_a_server_of_another_model_or_of_smaller_rank_is_refused(
    url: str, tmp_path: Path, tokenizer: PreTrainedTokenizerBase
) -> None:
    other = policy()
    with torch.no_grad():
        other.get_output_embeddings().weight.mul_(3)
    with pytest.raises(OptionError, match="does not run the policy in training: its log-probabilities differ by"):
        source(url, tmp_path, other, tokenizer)(questions(tokenizer), GREEDY, 0)
    with pytest.raises(OptionError, match=r"load_lora_adapter refuses with status \d+: .*rank"):
        source(url, tmp_path, policy(RANK * 2), tokenizer)(questions(tokenizer), GREEDY, 0)


def test_a_server_of_too_short_context_is_refused(
    url: str, tmp_path: Path, tokenizer: PreTrainedTokenizerBase
) -> None:
    draw = source(url, tmp_path, policy(), tokenizer)
    with pytest.raises(OptionError, match=r"completions refuses with status 400: .*1024"):
        draw([[5] * 1030], GREEDY, 0)
    no_end = replace(GREEDY, end_ids=frozenset({6}))
    with pytest.raises(OptionError, match=r"cuts a response at 4 tokens.*--max-model-len of at least 1032"):
        draw([[5] * 1020], no_end, 0)


def test_a_run_trains_on_responses_of_its_newest_policy(url: str, tmp_path: Path) -> None:
    check_training(url, MODEL, "llama3_api_bank", tmp_path)
