"""Rows 11 and 12: a step of `stage: tl_sft` against upstream's own, and the weighted loss at a large vocabulary."""

from __future__ import annotations

import tempfile
from collections.abc import Callable
from functools import partial
from pathlib import Path
from typing import Any

import torch
from llamafactory.data import get_template_and_fix_tokenizer
from llamafactory.data.collator import SFTDataCollatorWith4DAttentionMask
from llamafactory.hparams import DataArguments, FinetuningArguments, TrainingArguments
from llamafactory.train.sft.trainer import CustomSeq2SeqTrainer
from measure import Figure, Row, peak_bytes, time_ratio, times
from setting import Setting
from torch import Tensor, nn
from transformers import AutoTokenizer

from llamafactory_ext.lab.methods import SHIPPED_MODEL
from llamafactory_ext.tl.sft.trainer import TlSftTrainer
from llamafactory_ext.training.losses import IGNORE_INDEX, summed_nll
from llamafactory_ext.training.token_weights import WEIGHTS_COLUMN, code_of
from llamafactory_ext.upstream.pipeline.channels import CarryingCollator

VOCABULARY = 128_256
CUTOFF = 2048  # tokens: LLaMA-Factory's default length of an example
KEY_SHARE = 0.05  # tokens that weigh 9


def step(setting: Setting) -> list[Row]:
    """Row 11: collating, forward and backward, as the trainers do them."""
    setting = setting.long()
    model, batch = setting.model().requires_grad_(True), setting.batch()
    draw = torch.Generator().manual_seed(0)
    rows = []
    for ids, labels in zip(batch.inputs["input_ids"].tolist(), batch.labels.tolist(), strict=True):
        heavy = (torch.rand(len(ids), generator=draw) < KEY_SHARE).tolist()
        codes = [
            0 if label == IGNORE_INDEX else code_of(9.0 if key else 1.0)
            for label, key in zip(labels, heavy, strict=True)
        ]
        rows.append({"input_ids": ids, "attention_mask": [1] * len(ids), "labels": labels, WEIGHTS_COLUMN: codes})
    plain = [{name: value for name, value in row.items() if name != WEIGHTS_COLUMN} for row in rows]
    calls = {
        "tl_sft": _step(TlSftTrainer, partial(CarryingCollator, columns=(WEIGHTS_COLUMN,)), model, rows),
        "upstream": _step(CustomSeq2SeqTrainer, SFTDataCollatorWith4DAttentionMask, model, plain),
    }
    found = times(calls, rounds=setting.rounds, device=setting.device)
    memory = {name: peak_bytes(call, setting.device) for name, call in calls.items()}
    row = Row("11", "tl_sft step with weights / upstream's supervised step, full fine-tuning, no optimiser")
    row.settings = setting.describe(model, memory)
    row.figures = [
        time_ratio("time / upstream", "tl_sft", "upstream", found, 1.02),
        Figure("peak / upstream", memory["tl_sft"] / memory["upstream"]),
    ]
    return [row]


def _step(trainer_class: Any, collator_class: Any, model: nn.Module, rows: list[dict[str, Any]]) -> Callable[[], None]:
    tokenizer = AutoTokenizer.from_pretrained(SHIPPED_MODEL)
    device = next(model.parameters()).device
    with tempfile.TemporaryDirectory() as folder:
        arguments = TrainingArguments(output_dir=str(Path(folder)), use_cpu=device.type == "cpu", report_to="none")
    collate = collator_class(
        template=get_template_and_fix_tokenizer(tokenizer, DataArguments(template="llama3")),
        tokenizer=tokenizer,
        processor=None,
        pad_to_multiple_of=8,
    )
    trainer = trainer_class(
        model=model,
        args=arguments,
        finetuning_args=FinetuningArguments(finetuning_type="full"),
        processor=None,
        tokenizer=tokenizer,
        data_collator=collate,
    )
    trainer.current_gradient_accumulation_steps = 1

    def step() -> None:
        batch = collate([dict(row) for row in rows])
        trainer.training_step(model, batch, trainer._get_num_items_in_batch([batch], device))
        model.zero_grad(set_to_none=True)

    return step


def loss(setting: Setting) -> list[Row]:
    """Row 12: half the tokens masked; gradients of hidden states and head; a short batch, then a row of upstream's."""
    if setting.shape.hidden < 64:
        return [_loss(setting, 24, 32, 512, frozen=True), _loss(setting, 48, 32, 512)]
    return [_loss(setting, 512, 256, VOCABULARY, frozen=True), _loss(setting, CUTOFF, 256, VOCABULARY)]


def _loss(setting: Setting, tokens: int, width: int, vocabulary: int, *, frozen: bool = False) -> Row:
    """One size of row 12; `frozen`: with the head frozen too."""
    draw = torch.Generator().manual_seed(0)
    head = nn.Linear(width, vocabulary, bias=False, device=setting.device)
    hidden_BTD = torch.randn(1, tokens, width, generator=draw).to(setting.device).requires_grad_(True)
    labels_BT = torch.randint(0, vocabulary, (1, tokens), generator=draw).to(setting.device)
    labels_BT[:, ::2] = IGNORE_INDEX
    weights_BT = torch.where(torch.rand(1, tokens, generator=draw) < KEY_SHARE, 9.0, 1.0).to(setting.device)

    def full() -> Tensor:
        logits = head(hidden_BTD)[:, :-1].flatten(0, 1)
        nll = nn.functional.cross_entropy(logits, labels_BT[:, 1:].flatten(), reduction="none")
        return (nll * weights_BT[:, 1:].flatten()).sum()

    def ours() -> Tensor:
        return summed_nll(hidden_BTD, labels_BT, head, weights_BT=weights_BT)

    losses = {"full": full, "ours": ours}
    library, remark = _cut_cross_entropy(hidden_BTD, head, labels_BT, weights_BT)
    if library is not None:
        losses["cut-cross-entropy"] = library
    calls = {name: _backward(function, hidden_BTD, head) for name, function in losses.items()}
    if frozen:
        for name in ("full", "ours"):
            calls[f"{name}, frozen head"] = _backward(losses[name], hidden_BTD, head, frozen=True)
    found = times(calls, rounds=min(setting.rounds, 6 if frozen else 3), device=setting.device)
    memory, gradients = {}, {}
    for name, call in calls.items():
        memory[name] = peak_bytes(call, setting.device)
        if name in losses:
            gradients[name] = (hidden_BTD.grad, head.weight.grad)
    head_bytes = head.weight.numel() * head.weight.itemsize
    title = f"weighted cross entropy, V={vocabulary}, half of {tokens} tokens masked / full logits with reduction none"
    row = Row("12", title)
    row.settings = {
        "tokens": tokens,
        "width": width,
        "peak_mib": {name: round(value / 2**20, 2) for name, value in memory.items()},
        "head_gradient_mib": round(head_bytes / 2**20, 2),
        "worst_relative_gradient_error": _apart(gradients),
        "cut-cross-entropy": remark,
        "liger": "its fused linear cross entropy takes no weights per token and needs a GPU",
    }
    row.figures = []
    for name in losses:
        if name != "full":
            beyond = (memory[name] - head_bytes) / (memory["full"] - head_bytes)
            row.figures += [
                time_ratio(f"{name}: time / full logits", name, "full", found, 0.35 if name == "ours" else None),
                Figure(
                    f"{name}: peak beyond the head's gradient / full logits", beyond, 0.10 if name == "ours" else None
                ),
                Figure(f"{name}: peak with the head's gradient / full logits", memory[name] / memory["full"]),
            ]
    if frozen:
        mine, theirs = "ours, frozen head", "full, frozen head"
        row.figures += [
            time_ratio("frozen head: time / full logits", mine, theirs, found),
            Figure("frozen head: peak / full logits", memory[mine] / memory[theirs]),
        ]
    return row


def _cut_cross_entropy(
    hidden_BTD: Tensor, head: nn.Linear, labels_BT: Tensor, weights_BT: Tensor
) -> tuple[Callable[[], Tensor] | None, str]:
    """The library's loss, if it is there and runs, and what to say about it."""
    try:
        from cut_cross_entropy import linear_cross_entropy
    except ImportError:
        return None, "not installed"

    def library() -> Tensor:
        kept = labels_BT[:, 1:] != IGNORE_INDEX
        nll = linear_cross_entropy(
            hidden_BTD[:, :-1][kept],
            head.weight,
            labels_BT[:, 1:][kept],
            reduction="none",
            impl="cce_exact" if hidden_BTD.is_cuda else "torch_compile",
        )
        return (nll * weights_BT[:, 1:][kept]).sum()

    try:
        library().backward()
    except Exception as error:  # whatever compilers say where they do not work
        return None, f"does not run here: {type(error).__name__}: {error}".splitlines()[0][:160]
    return library, "runs"


def _backward(
    function: Callable[[], Tensor], hidden_BTD: Tensor, head: nn.Linear, *, frozen: bool = False
) -> Callable[[], None]:
    def call() -> None:
        head.weight.requires_grad_(not frozen)
        hidden_BTD.grad = head.weight.grad = None
        function().backward()

    return call


def _apart(gradients: dict[str, tuple[Tensor, Tensor]]) -> dict[str, float]:
    """The worst difference from the full logits' gradients, relative to the greatest of them."""
    return {
        name: max(
            ((mine - theirs).abs().max() / theirs.abs().max()).item()
            for mine, theirs in zip(found, gradients["full"], strict=True)
        )
        for name, found in gradients.items()
        if name != "full"
    }
