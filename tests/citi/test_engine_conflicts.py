"""What is said about settings of FSDP and DeepSpeed that the phases of citi cannot live with."""

from __future__ import annotations

from types import SimpleNamespace
from typing import Any

import pytest
from accelerate.utils.deepspeed import HfDeepSpeedConfig

from llamafactory_ext.citi.engine_conflicts import engine_conflicts

ZERO3 = {"zero_optimization": {"stage": 3}}


def problems(
    *,
    deepspeed: dict[str, Any] | None = None,
    mismatches: tuple[str, ...] = (),
    fsdp: str = "",
    fsdp_config: dict[str, Any] | None = None,
    quantization_bit: int | None = None,
    loraplus_lr_ratio: float | None = None,
    load_best_model_at_end: bool = False,
) -> list[str]:
    config: Any = HfDeepSpeedConfig(deepspeed) if deepspeed is not None else None
    if config is not None:
        config.mismatches = list(mismatches)
    training = SimpleNamespace(
        deepspeed=deepspeed,
        hf_deepspeed_config=config,
        fsdp=fsdp,
        fsdp_config=fsdp_config or {},
        load_best_model_at_end=load_best_model_at_end,
    )
    return engine_conflicts(
        SimpleNamespace(quantization_bit=quantization_bit),
        training,
        SimpleNamespace(loraplus_lr_ratio=loraplus_lr_ratio),
    )


@pytest.fixture(autouse=True)
def no_variables(monkeypatch: pytest.MonkeyPatch) -> None:
    for name in ("ACCELERATE_USE_FSDP", "ACCELERATE_USE_DEEPSPEED", "FSDP_VERSION", "FSDP_ACTIVATION_CHECKPOINTING"):
        monkeypatch.delenv(name, raising=False)


def test_without_an_engine_nothing_is_said() -> None:
    assert problems(quantization_bit=4, loraplus_lr_ratio=16, load_best_model_at_end=True) == []


@pytest.mark.parametrize(
    "settings",
    [
        {"deepspeed": ZERO3},
        {"deepspeed": {**ZERO3, "optimizer": {"type": "AdamW", "params": {"lr": "auto"}}}},
        {"deepspeed": {"zero_optimization": {"stage": 2}}, "quantization_bit": 4},
        {"deepspeed": ZERO3, "mismatches": ("- ds optimizer.params.lr=1 vs hf learning_rate=5e-05",)},
        {"fsdp": "full_shard", "fsdp_config": {"version": 2}},
    ],
)
def test_what_leaves_the_phases_free_is_taken(settings: dict[str, Any]) -> None:
    assert problems(**settings) == []


@pytest.mark.parametrize(
    ("settings", "words"),
    [
        ({"deepspeed": {**ZERO3, "scheduler": {"type": "WarmupLR"}}}, ("scheduler", "lr_scheduler_type")),
        ({"deepspeed": {"optimizer": {"type": "AdamW", "params": {"lr": 1e-4}}}}, ("one lr", "auto")),
        ({"deepspeed": {"optimizer": {"type": "AdamW"}}}, ("one lr", "auto")),
        (
            {"deepspeed": {"optimizer": {"params": {"lr": "auto"}}}, "loraplus_lr_ratio": 16},
            ("loraplus_lr_ratio", "no effect"),
        ),
        (
            {"deepspeed": ZERO3, "mismatches": ("- ds train_batch_size=4 vs hf train_batch_size (calculated)=8",)},
            ("train_batch_size=4", "auto"),
        ),
        ({"deepspeed": ZERO3, "quantization_bit": 4}, ("quantization_bit", "ZeRO-2")),
        ({"deepspeed": ZERO3, "load_best_model_at_end": True}, ("load_best_model_at_end", "remove it")),
        ({"fsdp": "full_shard"}, ("version 2",)),
        ({"fsdp": "full_shard", "fsdp_config": {"version": 2}, "quantization_bit": 8}, ("quantization_bit", "DDP")),
        (
            {"fsdp": "full_shard", "fsdp_config": {"version": 2, "activation_checkpointing": True}},
            ("activation_checkpointing", "remove it"),
        ),
    ],
)
def test_each_conflict_is_one_sentence_with_the_next_step(settings: dict[str, Any], words: tuple[str, ...]) -> None:
    (sentence,) = problems(**settings)
    assert all(word in sentence for word in words), sentence


def test_accelerates_own_launcher(monkeypatch: pytest.MonkeyPatch) -> None:
    monkeypatch.setenv("ACCELERATE_USE_FSDP", "true")
    assert len(problems()) == 1
    monkeypatch.setenv("FSDP_VERSION", "2")
    assert problems() == []
    monkeypatch.setenv("ACCELERATE_USE_DEEPSPEED", "true")
    (sentence,) = problems()
    assert "FORCE_TORCHRUN=1" in sentence
