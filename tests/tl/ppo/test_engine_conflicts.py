"""What is said about settings of FSDP and DeepSpeed that tl_ppo cannot live with."""

from __future__ import annotations

from types import SimpleNamespace
from typing import Any

import pytest
from accelerate.utils.deepspeed import HfDeepSpeedConfig

from llamafactory_ext.tl.ppo.engine_conflicts import ppo_engine_conflicts

ZERO2 = {"zero_optimization": {"stage": 2}}
ZERO3 = {"zero_optimization": {"stage": 3}}
FSDP = {"fsdp": "full_shard", "fsdp_config": {"version": 2}}


def problems(*, mismatches: tuple[str, ...] = (), quantization_bit: int | None = None, **settings: Any) -> list[str]:
    config: Any = HfDeepSpeedConfig(settings["deepspeed"]) if "deepspeed" in settings else None
    if config is not None:
        config.mismatches = list(mismatches)
    defaults: dict[str, Any] = {
        "deepspeed": None,
        "hf_deepspeed_config": config,
        "fsdp": "",
        "fsdp_config": {},
        "load_best_model_at_end": False,
        "save_only_model": False,
        "do_train": True,
    }
    return ppo_engine_conflicts(
        SimpleNamespace(quantization_bit=quantization_bit), SimpleNamespace(**(defaults | settings))
    )


@pytest.fixture(autouse=True)
def no_variables(monkeypatch: pytest.MonkeyPatch) -> None:
    for name in ("ACCELERATE_USE_FSDP", "ACCELERATE_USE_DEEPSPEED", "FSDP_VERSION", "FSDP_ACTIVATION_CHECKPOINTING"):
        monkeypatch.delenv(name, raising=False)


@pytest.mark.parametrize(
    "settings",
    [
        {"load_best_model_at_end": True, "save_only_model": True, "quantization_bit": 4, "do_train": False},
        FSDP,
        {"deepspeed": ZERO2, "quantization_bit": 4},
        {"deepspeed": ZERO3, "save_only_model": True},
    ],
)
def test_what_works_is_not_spoken_of(settings: dict[str, Any]) -> None:
    assert problems(**settings) == []


@pytest.mark.parametrize(
    ("settings", "parts"),
    [
        ({"fsdp": "full_shard"}, ("version: 2",)),
        ({**FSDP, "fsdp_config": {"version": 2, "activation_checkpointing": True}}, ("activation_checkpointing",)),
        ({**FSDP, "quantization_bit": 4}, ("quantization_bit", "ZeRO-2")),
        ({**FSDP, "save_only_model": True}, ("save_only_model", "remove it")),
        ({**FSDP, "do_train": False}, ("do_train", "remove deepspeed or fsdp")),
        ({"deepspeed": ZERO3, "quantization_bit": 4}, ("quantization_bit", "ZeRO-2")),
        ({"deepspeed": ZERO2, "load_best_model_at_end": True}, ("load_best_model_at_end", "remove it")),
        ({"deepspeed": {**ZERO2, "optimizer": {"type": "AdamW"}}}, ("part optimizer", "tl_critic_lr")),
        ({"deepspeed": {**ZERO2, "scheduler": {"type": "WarmupLR"}}}, ("part scheduler", "lr_scheduler_type")),
        ({"deepspeed": ZERO2, "mismatches": ("- ds x=4 vs hf y=8",)}, ("differ (ds x=4 vs hf y=8)", "auto")),
    ],
)
def test_each_conflict_is_one_sentence_with_the_next_step(settings: dict[str, Any], parts: tuple[str, ...]) -> None:
    (said,) = problems(**settings)
    for part in parts:
        assert part in said


def test_engines_of_accelerate_launch_are_looked_at_as_well(monkeypatch: pytest.MonkeyPatch) -> None:
    monkeypatch.setenv("ACCELERATE_USE_FSDP", "true")
    assert "fsdp_version: 2" in problems()[0]
    monkeypatch.setenv("FSDP_VERSION", "2")
    assert problems() == []
    monkeypatch.setenv("ACCELERATE_USE_DEEPSPEED", "true")
    assert "option deepspeed" in problems()[0]
