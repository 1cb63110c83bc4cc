"""Whole runs on OpenAI messages, for every method: what a run says of its data before it trains, and keeps."""

from __future__ import annotations

import contextlib
import json
from pathlib import Path
from typing import Any

import pytest
import torch
from llamafactory.train.tuner import run_exp

import tiny
from checkpoint.resume_cases import Interrupt
from llamafactory_ext.data.intake import Cut, Intake
from llamafactory_ext.errors import CheckpointError, DataError, ExtError, OptionError
from llamafactory_ext.tl.intake_report import REPORT, check_intake, intake_lines
from processes import train_options

TOOLS = [
    {"name": "get", "description": "D.", "parameters": {"type": "object", "properties": {"a": {"type": "string"}}}}
]
METHODS: dict[str, dict[str, Any]] = {
    "citi": {
        "stage": "sft",
        "finetuning_type": "citi",
        "dataset": "calls,talk",
        "citi_top_ratio": 0.3,
        "citi_bottom_ratio": 0.2,
        "citi_importance_samples": 2,
        "citi_report_samples": 0,
        "citi_phases": "mi",
    },
    "tl_sft": {"stage": "tl_sft", "finetuning_type": "full", "dataset": "calls,talk"},
    "tl_ppo": {"stage": "tl_ppo", "finetuning_type": "full", "dataset": "calls", "tl_max_new_tokens": 4},
}


def calls(number: int, size: int = 1) -> dict[str, Any]:
    """A record whose prompt is so many words long."""
    given = {"a": number} if number % 2 else {"b": [number]}
    messages = [
        {"role": "user", "content": f"Go {number} " + "far " * size},
        {"role": "assistant", "content": None, "tool_calls": [{"function": {"name": "get", "arguments": given}}]},
        {"role": "tool", "content": "1"},
        {"role": "assistant", "content": "ok"},
    ]
    return {"messages": messages, "tools": TOOLS, "id": number if number % 2 else str(number)}


@pytest.fixture(scope="module")
def data(tmp_path_factory: pytest.TempPathFactory) -> Path:
    """Three usable records with calls, one of them long, one that begins with the assistant, and two of plain talk."""
    folder = tmp_path_factory.mktemp("messages")
    broken = {"messages": calls(9)["messages"][1:], "tools": TOOLS}
    talk = [
        {"messages": [{"role": "user", "content": "Hi"}, {"role": "assistant", "content": f"So {i}"}]} for i in (1, 2)
    ]
    info = {}
    for name, records, mark in (
        ("calls", [calls(1), calls(2), calls(3, 300), broken], "tool"),
        ("talk", talk, "general"),
    ):
        (folder / f"{name}.json").write_text(json.dumps(records))
        info[name] = {"file_name": f"{name}.json", "formatting": "openai", "mark": mark, "task": mark}
    (folder / "dataset_info.json").write_text(json.dumps(info))
    return folder


def options(method: str, model: Path, data: Path, output: Path, **changes: Any) -> dict[str, Any]:
    own = {"template": "llama3", "cutoff_len": 4096, "max_steps": 1, "save_strategy": "no", "overwrite_cache": True}
    return train_options(model, data, output, **(own | {"per_device_train_batch_size": 1} | METHODS[method] | changes))


def report(folder: Path) -> dict[str, Any]:
    found: dict[str, Any] = json.loads((folder / REPORT).read_text("utf-8"))
    return found


@pytest.mark.parametrize("method", METHODS)
def test_every_method_trains_on_messages_and_keeps_the_counts(
    method: str, tiny_llama_dir: Path, data: Path, tmp_path: Path
) -> None:
    run_exp(options(method, tiny_llama_dir, data, tmp_path))
    found = report(tmp_path)["train"]
    assert (found["read"], found["trained"]) == ((4, 3) if method == "tl_ppo" else (6, 5))
    (reason,) = found["left_out"].items()
    assert reason == (
        'a turn is of "function_call" where human or observation is due',
        {"count": 1, "places": ["calls.json, index 3, turn 1"]},
    )
    (line,) = intake_lines({"train": Intake.from_dict(found)}, 4096)
    assert line.startswith(
        f"Training data: read {found['read']}, trained {found['trained']}, left out 1: a turn is of"
    )


@pytest.mark.parametrize("method", METHODS)
def test_what_cutoff_len_cuts_is_kept_left_out_or_an_error(
    method: str, tiny_llama_dir: Path, data: Path, tmp_path: Path
) -> None:
    short = options(method, tiny_llama_dir, data, tmp_path / "out", cutoff_len=900)
    with pytest.raises(DataError, match=r"cutoff_len: 900") as refused:
        run_exp(short | {"cutoff_action": "error"})
    assert "cutoff_action: drop" in refused.value.message
    run_exp(short | {"cutoff_action": "drop"})
    found = report(tmp_path / "out")
    assert found["cutoff_action"] == "drop"
    assert found["train"]["cut"]["tool"]["cut"] == 1
    assert found["train"]["trained"] == (2 if method == "tl_ppo" else 4)
    run_exp(short | {"output_dir": str(tmp_path / "kept"), "cutoff_action": "keep"})
    kept = report(tmp_path / "kept")["train"]
    assert kept["cut"]["tool"]["cut"] == 1
    # What is left of a dialogue are its first tokens; to tl_ppo, which cuts no prompt, the calls that fit: none here.
    assert kept["trained"] == (2 if method == "tl_ppo" else 5)


@pytest.mark.parametrize("method", METHODS)
def test_data_of_a_kind_that_cutoff_len_leaves_nothing_of_is_refused(
    method: str, tiny_llama_dir: Path, data: Path, tmp_path: Path
) -> None:
    given = options(method, tiny_llama_dir, data, tmp_path, cutoff_len=120, cutoff_action="drop")
    with pytest.raises(DataError, match=r"(?i)cutoff_len: 120 .* leaves nothing to train.* raise cutoff_len"):
        run_exp(given)


@pytest.mark.parametrize(
    ("cut", "action", "refused"),
    [
        (Cut(2, 2, 1, 1, 2), "keep", True),
        (Cut(2, 2, 1, 1, 1), "keep", False),
        (Cut(2, 2, 1, 1, 0), "drop", True),
        (Cut(2, 1, 1, 0, 1), "drop", False),
        (Cut(), "keep", False),
    ],
)
def test_only_a_kind_without_anything_left_is_refused(cut: Cut, action: str, refused: bool) -> None:
    intakes = {"train": Intake(4, cut={"tool": cut, "general": Cut(2)})}
    with pytest.raises(DataError, match="all 2 tool examples") if refused else contextlib.nullcontext():
        check_intake(intakes, 64, action, "warn")


@pytest.mark.parametrize(("dataset", "told"), [("talk", True), ("calls,talk", False)])
def test_tl_sft_tells_of_data_without_calls(
    dataset: str, told: bool, tiny_llama_dir: Path, data: Path, tmp_path: Path, monkeypatch: pytest.MonkeyPatch
) -> None:
    said: list[str] = []
    monkeypatch.setattr("llamafactory_ext.tl.sft.workflow.logger.warning_rank0", said.append)
    run_exp(options("tl_sft", tiny_llama_dir, data, tmp_path, dataset=dataset))
    assert any("none of the 2 examples holds a call" in line for line in said) is told


def test_served_prompts_are_compared_though_arguments_are_of_several_types(
    tiny_llama_dir: Path, data: Path, tmp_path: Path
) -> None:
    run_exp(options("tl_sft", tiny_llama_dir, data, tmp_path))
    served = json.loads((tmp_path / "tl_report.json").read_text(encoding="utf-8"))["served_prompt"]
    assert served["compared"] == 3
    assert "problem" not in served


@pytest.mark.parametrize("method", METHODS)
def test_a_run_goes_on_only_with_the_cutoff_action_it_began_with(
    method: str, tiny_llama_dir: Path, data: Path, tmp_path: Path
) -> None:
    given = options(method, tiny_llama_dir, data, tmp_path, save_strategy="steps", save_steps=1, max_steps=2)
    run_exp(given)
    (tmp_path / "adapter_model.safetensors").unlink(missing_ok=True)  # as if it had been interrupted
    with pytest.raises(CheckpointError, match="cutoff_action"):
        run_exp(given | {"cutoff_action": "drop"})


def test_the_option_belongs_to_our_methods(tiny_llama_dir: Path, data: Path, tmp_path: Path) -> None:
    given = options("tl_sft", tiny_llama_dir, data, tmp_path, stage="sft", finetuning_type="lora")
    with pytest.raises(OptionError, match=r"cutoff_action has no effect with stage: sft"):
        run_exp(given | {"cutoff_action": "drop"})
    with pytest.raises(OptionError, match=r"cutoff_action='cut': give one of keep, drop, error"):
        run_exp(options("citi", tiny_llama_dir, data, tmp_path, cutoff_action="cut"))


@pytest.mark.parametrize("method", METHODS)
def test_a_token_beyond_the_vocabulary_ends_the_run_before_the_model_is_loaded(
    method: str, tiny_llama_dir: Path, data: Path, tmp_path: Path, monkeypatch: pytest.MonkeyPatch
) -> None:
    def never(*_: Any, **__: Any) -> Any:
        raise AssertionError("the model was loaded")

    for room in ("citi.run.inputs", "tl.sft.workflow", "tl.ppo.workflow"):
        monkeypatch.setattr(f"llamafactory_ext.{room}.load_model", never)
    with pytest.raises(ExtError, match=r"template qwen writes the token 38\d, but the model has 384 tokens"):
        run_exp(options(method, tiny_llama_dir, data, tmp_path, template="qwen"))


def test_citi_adds_tokens_that_are_there_again_wherever_the_adapter_is_loaded(
    tiny_llama_dir: Path, data: Path, tmp_path: Path, caplog: pytest.LogCaptureFixture
) -> None:
    from llamafactory.chat import ChatModel
    from llamafactory.train.tuner import export_model
    from transformers import AutoModelForCausalLM

    out = tmp_path / "out"
    caplog.set_level("WARNING", "llamafactory.citi")
    run = options("citi", tiny_llama_dir, data, out, template="qwen", resize_vocab=True, citi_mi_lr=0.1)
    run_exp(run)
    assert any("citi trains no embeddings" in line and "additional_target" in line for line in caplog.messages)
    given = {
        "model_name_or_path": str(tiny_llama_dir),
        "adapter_name_or_path": str(out),
        "finetuning_type": "citi",
        "template": "qwen",
    }
    ids = torch.tensor([[0, 380, 384, 12, 385, 30]])

    @torch.no_grad()
    def logits(**more: Any) -> torch.Tensor:
        found: torch.Tensor = ChatModel(given | more).engine.model(ids).logits  # type: ignore[attr-defined]
        return found

    plain = logits()
    assert plain.shape[-1] == 448
    assert torch.equal(plain, logits(resize_vocab=True))
    assert len({tuple(row) for row in logits()[0].tolist()}) == ids.shape[1]
    export_model({**given, "export_dir": str(tmp_path / "exported")})
    exported = AutoModelForCausalLM.from_pretrained(tmp_path / "exported").eval()
    with torch.no_grad():
        torch.testing.assert_close(exported(ids).logits, plain)


def test_a_run_with_new_rows_goes_on_where_it_was_interrupted(
    tiny_llama_dir: Path, data: Path, tmp_path: Path
) -> None:
    from safetensors.torch import load_file

    whole, part = (
        options(
            "citi",
            tiny_llama_dir,
            data,
            tmp_path / name,
            template="qwen",
            resize_vocab=True,
            citi_phases="mi",
            citi_mi_lr=0.1,
            max_steps=4,
            save_strategy="steps",
            save_steps=2,
        )
        for name in ("whole", "part")
    )
    run_exp(whole)
    with pytest.raises(KeyboardInterrupt):
        run_exp(part, [Interrupt()])
    run_exp(part)
    expected, found = (load_file(tmp_path / name / "adapter_model.safetensors") for name in ("whole", "part"))
    assert expected.keys() == found.keys()
    assert all(torch.equal(expected[name], found[name]) for name in expected)


def test_new_rows_are_the_same_at_every_load() -> None:
    from llamafactory_ext.upstream.pipeline.new_rows import settle_new_rows

    def grown(seed: int, *, tied: bool) -> Any:
        model = tiny.tiny_model(tie_word_embeddings=tied)
        torch.manual_seed(seed)
        model.resize_token_embeddings(400, mean_resizing=False)
        settle_new_rows(model, 384)
        return model.state_dict()

    for tied in (False, True):
        first, second = grown(1, tied=tied), grown(2, tied=tied)
        assert all(torch.equal(first[name], second[name]) for name in first)
        rows = first["model.embed_tokens.weight"][384:]
        assert len({tuple(row) for row in rows.tolist()}) == 16
