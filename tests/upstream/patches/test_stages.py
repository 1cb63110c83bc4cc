"""How upstream's parser treats `stage: tl_sft` and `stage: tl_ppo`: accepted like sft, every problem at once."""

import pickle
from pathlib import Path
from typing import Any

import pytest
from llamafactory.hparams import FinetuningArguments, get_infer_args, get_train_args

from llamafactory_ext.errors import OptionError
from llamafactory_ext.toolcalls import FORMATS
from llamafactory_ext.upstream.patches.command import requested
from processes import train_options

pytestmark = pytest.mark.fast


@pytest.fixture
def options(tiny_llama_dir: Path, tiny_data_dir: Path, tmp_path: Path) -> dict[str, Any]:
    return train_options(tiny_llama_dir, tiny_data_dir, tmp_path / "out", stage="tl_sft", finetuning_type="lora")


def problems_of(options: Any) -> set[str]:
    with pytest.raises(OptionError) as caught:
        get_train_args(options)
    return {line.removeprefix("  - ") for line in caught.value.message.splitlines()[1:]}


@pytest.mark.parametrize("stage", ["tl_sft", "tl_ppo"])
@pytest.mark.parametrize("kind", ["lora", "full", "freeze", "oft", "citi"])
def test_a_stage_is_sft_to_upstream(options: dict[str, Any], stage: str, kind: str) -> None:
    *_, found, _ = get_train_args(options | {"stage": stage, "finetuning_type": kind, "tl_skip_bad": "true"})
    assert (found.stage, found.tl_stage, found.finetuning_type, found.tl_skip_bad) == ("sft", stage, kind, True)
    assert pickle.loads(pickle.dumps(found)) == found


def test_upstreams_stages_are_untouched(options: dict[str, Any]) -> None:
    *_, found, _ = get_train_args(options | {"stage": "dpo"})
    assert (found.stage, found.tl_stage) == ("dpo", None)


def test_command_line_style(options: dict[str, Any]) -> None:
    words = [word for name, value in options.items() for word in (f"--{name}", str(value))]
    *_, found, _ = get_train_args([*words, "--tl_w_max", "4", "--tl-use-mae=false", "--tl_call_format", "qwen"])
    assert (found.tl_stage, found.tl_w_max, found.tl_use_mae, found.tl_call_format) == ("tl_sft", 4.0, False, "qwen")
    assert [row.name for row in requested(words)] == ["tl_sft"]
    assert "tl_w_max='big': give a number from 1 to 1000" in problems_of([*words, "--tl_w_max", "big"])


def test_all_problems_in_one_message(options: dict[str, Any]) -> None:
    wrong = {
        "tl_wmax": 3,
        "tl_use_pkt": False,
        "tl_key_variant": "reference",
        "tl_call_format": "xml",
        "use_dft_loss": True,
        "streaming": True,
        "max_steps": -1,
        "label_smoothing_factor": 1.1,
        "predict_with_generate": True,
        "use_unsloth": True,
        "citi_rank": 3,
    }
    assert problems_of(options | wrong) == {
        "tl_wmax is not an option; did you mean tl_w_max?",
        "tl_key_variant has no effect with tl_use_pkt: false; remove it",
        f"tl_call_format='xml': give one of auto, {', '.join(FORMATS)}",
        "use_dft_loss replaces the loss that stage: tl_sft computes; remove it",
        "streaming needs max_steps: the length of a stream is not known; set it",
        "label_smoothing_factor=1.1: give a number from 0 to 1",
        "predict_with_generate does not work while stage: tl_sft trains; remove it, and predict with the finished "
        "model by a second command: do_predict: true and predict_with_generate: true without do_train",
        "use_unsloth replaces the model's forwards, which stage: tl_sft reads and replaces itself; remove it",
        "citi_rank has no effect with finetuning_type: lora; remove it, or set finetuning_type: citi",
    }


def test_own_judges_of_feedback_take_the_place_of_the_rules(options: dict[str, Any]) -> None:
    judge = {"tl_feedback_function": "feedback_judges:flag"}
    *_, found, _ = get_train_args(options | judge)
    assert found.tl_feedback_function == "feedback_judges:flag"
    assert problems_of(options | judge | {"tl_feedback_rules": "reference"}) == {
        "tl_feedback_rules has no effect with tl_feedback_function, which judges alone; remove either"
    }
    assert problems_of(options | judge | {"tl_use_mae": False}) == {
        "tl_feedback_function has no effect with tl_use_mae: false; remove it"
    }
    assert problems_of(options | {"tl_feedback_function": 3}) == {"tl_feedback_function=3: give a text or nothing"}


def test_options_of_another_stage(options: dict[str, Any]) -> None:
    wrong = {"tl_w_max": 3, "tl_skip_bad": True}
    advice = "; remove it, or set stage: tl_sft"
    assert problems_of(options | wrong | {"stage": "sft"}) == {
        f"{name} has no effect with stage: sft{advice}" for name in wrong
    }
    assert problems_of(options | wrong | {"stage": "tl_ppo"}) == {f"tl_w_max has no effect with stage: tl_ppo{advice}"}
    with pytest.raises(OptionError, match="tl_w_max has no effect with stage: sft"):
        FinetuningArguments(tl_w_max=3)


def test_checkpoints_are_left_to_the_workflow_unless_one_is_named(options: dict[str, Any]) -> None:
    checkpoint = Path(options["output_dir"]) / "checkpoint-3"
    checkpoint.mkdir(parents=True)
    (checkpoint / "trainer_state.json").write_text("{}", "utf-8")
    for given, expected in ((None, None), (True, None), (str(checkpoint), str(checkpoint))):
        _, _, training_args, *_ = get_train_args(options | {"resume_from_checkpoint": given})
        assert training_args.resume_from_checkpoint == expected


def test_inference(tiny_llama_dir: Path) -> None:
    options = {"model_name_or_path": str(tiny_llama_dir), "template": "llama3", "stage": "tl_sft"}
    _, _, found, _ = get_infer_args(options)
    assert (found.stage, found.tl_stage) == ("sft", "tl_sft")
