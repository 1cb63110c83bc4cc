"""Writes docs/scale.md: `python -m llamafactory_ext.lab.scale_page > docs/scale.md`."""

from __future__ import annotations

from types import SimpleNamespace
from typing import Any, Final

from torch import nn
from transformers import LlamaConfig

from ..citi.options import CitiArguments
from ..tl.ppo.options import TlPpoArguments
from ..tl.stages import PPO_STAGE, SFT_STAGE
from ..training.scale import (
    CONTEXT,
    GIB,
    GPU_BANDWIDTH,
    GPU_FLOPS,
    GPU_FLOPS_32,
    LOGIT_TOKENS,
    UTILISATION,
    Engine,
    Sizes,
    Work,
    checkpoint_bytes,
    choose_engine,
    memory,
    seconds,
)
from ..training.skeleton import skeleton
from ..upstream.patches.dry_run_computed import sizes_of, works_of

# Published configurations of Llama 3; nothing is downloaded.
MODELS: Final = {
    "8B": LlamaConfig(
        vocab_size=128256,
        hidden_size=4096,
        intermediate_size=14336,
        num_hidden_layers=32,
        num_attention_heads=32,
        num_key_value_heads=8,
        tie_word_embeddings=False,
    ),
    "70B": LlamaConfig(
        vocab_size=128256,
        hidden_size=8192,
        intermediate_size=28672,
        num_hidden_layers=80,
        num_attention_heads=64,
        num_key_value_heads=8,
        tie_word_embeddings=False,
    ),
}
GPUS: Final = (1, 2, 4, 8, 16, 32, 64)
ROOM: Final = 76 * GIB  # of a GPU with 80 GiB
EXAMPLES, LENGTH, LONGEST, BATCH = 100_000, 600, 2048, 4
METHODS: Final = {
    "citi": "citi",
    "tl_sft, full": "tl_sft",
    "tl_sft, LoRA": "tl_sft lora",
    "tl_ppo, LoRA": "tl_ppo lora",
}
TITLES: Final = {
    "one": "one process",
    "ddp": "DDP",
    "zero1": "ZeRO-1",
    "zero2": "ZeRO-2",
    "zero3": "ZeRO-3",
    "fsdp": "FSDP 2",
}


def groups_of(method: str) -> tuple[Any, ...]:
    """Return the options that the table assumes; those that no method reads are left out."""
    stage, _, kind = method.partition(" ")
    finetuning: dict[str, Any] = {**vars(CitiArguments()), **vars(TlPpoArguments())}
    finetuning |= {
        "finetuning_type": "citi" if stage == "citi" else kind or "full",
        "tl_stage": None if stage == "citi" else stage,
        "lora_target": ["all"],
        "lora_rank": 16,
    }
    training = {"per_device_train_batch_size": BATCH, "num_train_epochs": 1.0}
    model = {"disable_gradient_checkpointing": False}
    return tuple(SimpleNamespace(**part) for part in (model, {}, training, finetuning))


def rows_of(name: str, model: nn.Module, sizes: Sizes) -> list[str]:
    """Return the rows of one model: a method and a number of GPUs each."""
    rows = []
    for title, method in METHODS.items():
        works = works_of(model, groups_of(method), float(EXAMPLES * LENGTH), LONGEST)
        for gpus in GPUS:
            engine = _engine(sizes, works, gpus)
            peak = max(memory(sizes, work, engine, gpus).total for work in works) / GIB
            hours = sum(seconds(sizes, work, gpus) for work in works) / 3600
            disk = sum(checkpoint_bytes(work.trained) for work in works) / GIB
            fits = f"{peak:.0f}" if peak * GIB <= ROOM else f"{peak:.0f} (does not fit)"
            rows.append(f"| {name} | {title} | {gpus} | {TITLES[engine]} | {fits} | {hours:.1f} | {disk:.1f} |")
    return rows


def _engine(sizes: Sizes, works: list[Work], gpus: int) -> Engine:
    """Return the simplest engine under which every phase fits."""
    order: tuple[Engine, ...] = ("one", "ddp", "zero1", "zero2", "fsdp")
    return max((choose_engine(sizes, work, gpus, ROOM) for work in works), key=order.index)


def page() -> str:
    """Return the page."""
    rows, facts = [], []
    for name, config in MODELS.items():
        model = skeleton(config)
        sizes = sizes_of(model, small=True)
        facts.append(f"| {name} | {sizes.weights:,} | {sizes.linear:,} | {sizes.of_a_layer:,} |")
        rows += rows_of(name, model, sizes)
    return TEXT.format(
        flops=GPU_FLOPS / 1e12,
        share=UTILISATION * 100,
        bandwidth=GPU_BANDWIDTH / 1e12,
        wide=GPU_FLOPS_32 / 1e12,
        context=CONTEXT / GIB,
        logits=LOGIT_TOKENS,
        room=ROOM / GIB,
        examples=EXAMPLES,
        length=LENGTH,
        longest=LONGEST,
        batch=BATCH,
        facts="\n".join(facts),
        rows="\n".join(rows),
        stages=f"`{SFT_STAGE}` and `{PPO_STAGE}`",
    )


TEXT: Final = """# What a run takes

`llamafactory-cli train x.yaml dry_run=true` estimates a run before you start it. It says what is trained, kept, cut
and left out, and gives the parameters by phase, memory, time and disk. Nothing is written to `output_dir`.

- If the model fits, the dry run makes a few steps of each phase in a temporary folder, with eight examples per task
  for importance. Time and disk are scaled up to the whole run; memory is the peak of these steps. Batches of longer
  examples than those of the trial take more.
- The formulas below are used with `dry_run_gpus=N`. They are also used if the model does not fit, or if the engine
  cannot be tried (one process, or no DeepSpeed). They need the model's `config.json`, its tokenizer and the data,
  but no weights and no GPU. `fsdp` and `deepspeed` in the file choose the engine.

benchmarks/README.md compares the estimates with real runs of the embedded model.

## Formulas

P is the number of weights and T the number of trained ones. N is the number of GPUs, and b the bytes of a frozen
weight (2 with `bf16: true`).

| what | bytes on one GPU |
|---|---|
| weights | b (P - trained weights of the base) + 4 T |
| gradients | 4 T |
| AdamW | 8 T |
| activations, recomputed | 2 x tokens of a micro-batch x (hidden x layers + 6 hidden + 2 key/value + 4 inner) |
| logits | 4 x min(tokens of a micro-batch, {logits}) x vocabulary, as the loss forms them in blocks |
| CUDA and fragments | {context:g} GiB |

ZeRO-1 divides AdamW's moments by N, ZeRO-2 the gradients too, ZeRO-3 and FSDP the weights as well. On top, the last
two hold two whole layers at a time. `stage: tl_ppo` keeps frozen weights a second time for a reference under full
tuning, or for a critic of its own.

Time: for each weight of a linear and each token, the forward pass takes 2 FLOPs and the backward pass 2 more. Weight
gradients take 2 more if the weights are trained, and recomputation another 2. Phase RP of citi is only a forward
pass. We assume that a GPU computes at {share:.0f} % of {flops:.0f} TFLOPS (an H100 in bfloat16). `tl_ppo` draws
tokens at the pace at which the GPU's memory ({bandwidth:.2f} TB/s) reads the weights, 64 responses at once.
Importance of citi is a pass with weight gradients over `citi_importance_samples` examples of each task. If it
computes in float32 (`citi_importance_dtype`), the pace is {share:.0f} % of {wide:.0f} TFLOPS. The table below leaves
importance out; `dry_run_gpus` counts it, unless `citi_importance_load` names a file. Loading and evaluation are not
counted.

Disk: 12 T for a checkpoint (weights and moments), 4 T for the result. `save_total_limit` bounds the number of
checkpoints, for each phase of citi.

Which components citi adapts and tunes is known only after importance, so the formulas count each component with the
mean size.

## Table: computed, not measured

The data has {examples:,} examples of {length} tokens on average, the longest {longest}; a GPU takes {batch} at a
time. Training has one epoch ({stages}) or the paper's epochs (citi). LoRA has rank 16 on all linears. Options are
`bf16: true` and recomputed activations. The engine is the simplest under which {room:.0f} GiB suffice. Disk is for
one checkpoint of each phase.

| model | method | GPUs | engine | GiB per GPU | hours | disk, GiB |
|---|---|---|---|---|---|---|
{rows}

| model | weights | in linears | in a layer |
|---|---|---|---|
{facts}

tests/training/test_scale.py compares weights and AdamW's bytes with both models on torch's meta device.
"""


if __name__ == "__main__":
    print(page(), end="")
