"""Whatever computes attention, training goes the same way: padded rows, packed ones, and packed ones kept apart."""

from __future__ import annotations

import json
from pathlib import Path
from types import SimpleNamespace
from typing import Any

import pytest
import torch
from llamafactory.train.tuner import run_exp
from peft import get_peft_model
from safetensors.torch import load_file
from torch import Tensor
from transformers import AutoConfig, AutoModelForCausalLM

from beside_lora import assert_same
from flash_attention import HALF, FlashAttention, install
from llamafactory_ext.citi.scoring import scoring_mode
from llamafactory_ext.molora import MoLoraConfig
from llamafactory_ext.options import attention
from llamafactory_ext.options.attention import KNOWN_BAD, attention_conflicts, attention_remarks
from ppo_runs import ppo_options, steps, write_ppo_data
from ppo_runs import train as train_ppo
from processes import train_options
from runs import PHASES, citi_options, train
from tiny import HEADS, HIDDEN, INTERMEDIATE, KV_HEADS

WINDOW = 6
MODELS: dict[str, dict[str, Any]] = {
    "llama": {},
    "qwen2": {},
    "qwen3": {"head_dim": HIDDEN // HEADS},
    "mistral": {"sliding_window": None},
    "mistral, sliding window": {"sliding_window": WINDOW},
}
ROWS: dict[str, dict[str, Any]] = {
    "padded": {},
    "packed": {"packing": True},
    "packed neatly": {"packing": True, "neat_packing": True},
}


@pytest.fixture
def flash(monkeypatch: pytest.MonkeyPatch) -> FlashAttention:
    """The stand-in, in float32 too, where differences are not hidden by rounding."""
    monkeypatch.setattr(attention, "FLASH", ())
    return install(monkeypatch)


# One step of each model


def gradients(model: str, implementation: str, batch: dict[str, Any]) -> dict[str, Tensor]:
    torch.manual_seed(0)
    config = AutoConfig.for_model(
        model.partition(",")[0],
        vocab_size=64,
        hidden_size=HIDDEN,
        intermediate_size=INTERMEDIATE,
        num_hidden_layers=2,
        num_attention_heads=HEADS,
        num_key_value_heads=KV_HEADS,
        initializer_range=0.2,
        **MODELS[model],
    )
    base = AutoModelForCausalLM.from_config(config, attn_implementation=implementation)
    settings = {
        "target_modules": ["q_proj", "v_proj", "down_proj"],
        "modules_to_save": ["k_proj"],
        "init_weights": False,
    }
    adapted = get_peft_model(base, MoLoraConfig(r=4, alpha=32, **settings))
    loss = adapted(**batch).loss
    loss.backward()
    found = {name: parameter.grad for name, parameter in adapted.named_parameters() if parameter.grad is not None}
    return {"loss": loss.detach(), **found}


LENGTHS = (5, 9, 8)


def batch_of(kind: str, implementation: str) -> dict[str, Any]:
    """Three examples in rows as upstream's collators hand them to the model."""
    draw = torch.Generator().manual_seed(1)
    parts = [torch.randint(5, 64, (length,), generator=draw) for length in LENGTHS]
    labels = [torch.cat([torch.tensor([-100]), part[1:]]) for part in parts]
    if kind == "padded":
        pad = torch.nn.utils.rnn.pad_sequence
        mask = pad([torch.ones_like(part) for part in parts], batch_first=True)
        rows = {"input_ids": pad(parts, batch_first=True), "attention_mask": mask}
        return rows | {"labels": pad(labels, batch_first=True, padding_value=-100)}
    batch: dict[str, Any] = {"input_ids": torch.cat(parts)[None], "labels": torch.cat(labels)[None]}
    batch["attention_mask"] = torch.ones_like(batch["input_ids"])
    if kind == "packed neatly":
        batch["position_ids"] = torch.cat([torch.arange(length) for length in LENGTHS])[None]
        batch["attention_mask"] = None
        if implementation != "flash_attention_2":
            example = torch.repeat_interleave(torch.arange(len(parts)), torch.tensor(LENGTHS))
            seen = (example[:, None] == example[None, :]).tril()
            batch["attention_mask"] = torch.where(seen, 0.0, torch.finfo(torch.float32).min)[None, None]
    return batch


@pytest.mark.fast
@pytest.mark.parametrize("kind", ROWS)
@pytest.mark.parametrize("model", MODELS)
def test_every_attention_gives_the_loss_and_gradients_of_sdpa(model: str, kind: str, flash: FlashAttention) -> None:
    # Examples packed neatly are as if each had a row of its own.
    wanted = gradients(model, "sdpa", batch_of("padded" if kind == "packed neatly" else kind, "sdpa"))
    for implementation in ("eager", "sdpa"):
        if "window" not in model or kind != "packed neatly":  # upstream's mask of blocks knows no window
            assert_same(gradients(model, implementation, batch_of(kind, implementation)), wanted)
    assert not any(flash.calls.values())
    assert_same(gradients(model, "flash_attention_2", batch_of(kind, "flash_attention_2")), wanted)
    assert flash.calls["whole" if kind == "packed" else "varlen"] == 2


@pytest.mark.fast
def test_windows_and_boundaries_change_the_loss(flash: FlashAttention) -> None:
    """Else the table above compared nothing."""
    plain, neat = (batch_of(kind, "flash_attention_2") for kind in ("packed", "packed neatly"))
    losses = [
        gradients(model, "flash_attention_2", batch)["loss"].item()
        for model in ("mistral", "mistral, sliding window")
        for batch in (plain, neat)
    ]
    assert len({round(loss, 4) for loss in losses}) == 4


# Whole runs


def _moves(found: dict[str, Tensor], wanted: dict[str, Tensor]) -> float:
    assert found.keys() == wanted.keys()
    return max((found[name].float() - wanted[name].float()).abs().max().item() for name in wanted)


def _losses(folder: Path) -> list[float]:
    history = json.loads((folder / "trainer_state.json").read_text("utf-8"))["log_history"]
    return [entry["loss"] for entry in history if "loss" in entry]


def settings_of(kind: str, name: str) -> dict[str, Any]:
    """Rows of one kind for one attention.

    transformers sees where positions start again and keeps the examples of a packed row apart under FlashAttention;
    sdpa does so with neat packing only. A warning says it at the start.
    """
    rows = ROWS["packed neatly"] if (kind, name) == ("packed", "sdpa") else ROWS[kind]
    common = {"flash_attn": name, "max_steps": 2, "cutoff_len": 200, "per_device_train_batch_size": 1}
    # Adam divides by the gradient's size, which would show rounding where that is near zero.
    return {**common, "adam_epsilon": 1e-3, **rows}


@pytest.mark.parametrize("kind", ROWS)
def test_all_phases_of_citi_end_where_sdpa_ends(
    kind: str, flash: FlashAttention, tiny_llama_dir: Path, tiny_data_dir: Path, tmp_path: Path
) -> None:
    names = ("sdpa", "fa2") if kind == "packed" else ("sdpa", "fa2", "disabled")
    wanted, *others = [
        train(citi_options(tiny_llama_dir, tiny_data_dir, tmp_path / name, **settings_of(kind, name)))
        for name in names
    ]
    assert sum(flash.calls.values()) > 0
    for run in others:
        assert _moves(run.weights(), wanted.weights()) < 1e-4
        for phase in PHASES:
            pairs = zip(run.steps(phase), wanted.steps(phase), strict=True)
            assert all(found["loss"] == pytest.approx(step["loss"], abs=1e-4) for found, step in pairs)


@pytest.mark.parametrize("kind", ROWS)
def test_tl_sft_ends_where_sdpa_ends(
    kind: str, flash: FlashAttention, tiny_llama_dir: Path, tiny_data_dir: Path, tmp_path: Path
) -> None:
    common = {"stage": "tl_sft", "finetuning_type": "lora", "learning_rate": 1e-2, "save_strategy": "no", "seed": 7}
    for name in ("sdpa", "fa2"):
        changes = {**common, "overwrite_cache": True, **settings_of(kind, name)}
        run_exp(train_options(tiny_llama_dir, tiny_data_dir, tmp_path / name, **changes))
    assert sum(flash.calls.values()) > 0
    found, wanted = (load_file(tmp_path / name / "adapter_model.safetensors") for name in ("fa2", "sdpa"))
    assert _moves(found, wanted) < 1e-4
    assert _losses(tmp_path / "fa2") == pytest.approx(_losses(tmp_path / "sdpa"), abs=1e-4)
    assert any(tensor.abs().max() > 1e-3 for name, tensor in wanted.items() if "lora_B" in name)


def test_tl_ppo_answers_and_learns_as_with_sdpa(flash: FlashAttention, tiny_llama_dir: Path, tmp_path: Path) -> None:
    data, logged = write_ppo_data(tmp_path / "data"), {}
    for name in ("sdpa", "fa2"):
        changes = {"flash_attn": name, "tl_temperature": 0, "adam_epsilon": 1e-3}
        logged[name] = steps(train_ppo(ppo_options(tiny_llama_dir, data, tmp_path / name, **changes)))
    assert flash.calls["varlen"] > 0
    for found, wanted in zip(logged["fa2"], logged["sdpa"], strict=True):
        for key in ("loss", "reward", "kl", "value_loss"):
            assert found[key] == pytest.approx(wanted[key], abs=1e-4), key


@pytest.mark.fast
def test_importance_in_float32_leaves_flash_attention_alone(monkeypatch: pytest.MonkeyPatch) -> None:
    """It computes in 16 bits only; sdpa stands in for it, and it is back afterwards."""
    found = install(monkeypatch, HALF)
    config = AutoConfig.for_model("llama", vocab_size=64, hidden_size=HIDDEN, intermediate_size=INTERMEDIATE,
                                  num_hidden_layers=2, num_attention_heads=HEADS)  # fmt: skip
    model = AutoModelForCausalLM.from_config(config, attn_implementation="flash_attention_2").to(torch.bfloat16)
    ids = torch.arange(12)[None]
    with scoring_mode(model, float32=True, checkpointing=False):
        assert model(ids).logits.dtype == torch.float32
    assert not any(found.calls.values())
    with scoring_mode(model, float32=False, checkpointing=False):
        assert model(ids).logits.dtype == torch.bfloat16
    assert sum(found.calls.values()) == 2


# What is refused


def options(**changes: Any) -> tuple[SimpleNamespace, ...]:
    model = {"flash_attn": "fa2", "quantization_bit": None}
    data = {"neat_packing": False, "packing": False}
    training = {"do_train": True, "bf16": True, "fp16": False, "do_eval": False}
    training |= {"per_device_train_batch_size": 2, "per_device_eval_batch_size": 8}
    return tuple(
        SimpleNamespace(**{name: changes.get(name, value) for name, value in group.items()})
        for group in (model, data, training, {"pure_bf16": False})
    )


@pytest.mark.fast
@pytest.mark.parametrize(
    ("changes", "upstream", "messages"),
    [
        ({}, "0.9.5", []),
        ({"flash_attn": "sdpa", "bf16": False, "neat_packing": True}, "0.9.5", []),
        ({"flash_attn": "disabled", "bf16": False}, "0.9.5", []),
        ({"flash_attn": "auto", "bf16": False}, "0.9.5", []),
        ({"bf16": False}, "0.9.5", ["flash_attn: fa2 computes in 16 bits only; set bf16: true"]),
        ({"bf16": False, "fp16": True}, "0.9.5", []),
        ({"bf16": False, "quantization_bit": 4}, "0.9.5", []),
        ({"bf16": False, "pure_bf16": True}, "0.9.5", []),
        ({"bf16": False, "do_train": False}, "0.9.5", []),
        ({"neat_packing": True}, "0.9.5", ["per_device_train_batch_size: 2 does not work with neat_packing"]),
        ({"neat_packing": True, "per_device_train_batch_size": 1}, "0.9.5", []),
        (
            {"neat_packing": True, "do_eval": True},
            "0.9.5",
            ["per_device_train_batch_size: 2", "per_device_eval_batch_size: 8"],
        ),
        ({"flash_attn": "fa3"}, "0.9.5", ["flash_attn: fa3 is not known to LLaMA-Factory 0.9.5; set flash_attn: fa2"]),
        ({"flash_attn": "fa3"}, "0.9.6.dev0", []),
        (
            {"flash_attn": "fa3", "neat_packing": True},
            "0.9.6.dev0",
            ["neat_packing does not work with flash_attn: fa3"],
        ),
        ({"flash_attn": "fa3", "bf16": False}, "0.9.6.dev0", ["flash_attn: fa3 computes in 16 bits only"]),
    ],
)
def test_what_attention_cannot_do_is_said_before_loading(
    changes: dict[str, Any], upstream: str, messages: list[str]
) -> None:
    problems = attention_conflicts(*options(**changes), upstream)
    assert len(problems) == len(messages)
    assert all(problem.startswith(message) for problem, message in zip(problems, messages, strict=True))


@pytest.mark.fast
@pytest.mark.parametrize(
    ("changes", "said"),
    [
        ({"packing": True}, False),
        ({"packing": True, "per_device_train_batch_size": 1}, True),
        ({"packing": True, "per_device_train_batch_size": 1, "flash_attn": "sdpa"}, False),
        ({"packing": True, "per_device_train_batch_size": 1, "neat_packing": True}, False),
        ({"per_device_train_batch_size": 1}, False),
    ],
)
def test_what_packing_means_under_flash_attention_is_said(changes: dict[str, Any], said: bool) -> None:
    model, data, training, _ = options(**changes)
    assert bool(attention_remarks(model, data, training)) == said


@pytest.mark.fast
@pytest.mark.parametrize(("asked", "problems"), [("fa2", 1), ("sdpa", 0), ("disabled", 0), ("auto", 0)])
def test_versions_that_crash_are_refused_for_training_and_chat(
    asked: str, problems: int, monkeypatch: pytest.MonkeyPatch
) -> None:
    monkeypatch.setattr(attention, "version", lambda name: {"transformers": "5.6.0"}[name])
    model, data, training, finetuning = options(flash_attn=asked)
    for group in (training, None):
        found = attention_conflicts(model, data, group, finetuning, "0.9.5")
        assert len(found) == problems
        assert all("under transformers 5.6.0; pip install 'transformers==5.5.4', or set" in text for text in found)
    monkeypatch.setattr(attention, "version", lambda name: "5.6.1")
    assert attention_conflicts(model, data, training, finetuning, "0.9.5") == []


@pytest.mark.fast
def test_the_doctor_names_them(monkeypatch: pytest.MonkeyPatch) -> None:
    from llamafactory_ext.upstream.doctor import version_checks

    monkeypatch.setattr(attention, "version", lambda name: "5.6.0")
    (line,) = [check for check in version_checks() if check.state == "broken"]
    assert (line.what, line.next_step) == ("flash_attn: fa2", "pip install 'transformers==5.5.4'")
    assert "transformers 5.6.0" in line.found
    assert len(KNOWN_BAD) == 1
