"""How upstream's parser treats `finetuning_type: citi`: accepted like lora, every problem reported at once."""

import pickle
from pathlib import Path
from typing import Any

import pytest
from llamafactory.extras.constants import METHODS, PEFT_METHODS
from llamafactory.hparams import FinetuningArguments, get_infer_args, get_train_args

from llamafactory_ext.errors import OptionError
from llamafactory_ext.upstream.patches.command import bare_words, given_options, requested_type
from processes import train_options

pytestmark = pytest.mark.fast


@pytest.fixture
def options(tiny_llama_dir: Path, tiny_data_dir: Path, tmp_path: Path) -> dict[str, Any]:
    return train_options(tiny_llama_dir, tiny_data_dir, tmp_path / "out")


def problems_of(options: Any) -> str:
    with pytest.raises(OptionError) as caught:
        get_train_args(options)
    return caught.value.message


def test_citi_is_treated_as_lora_by_the_parser(options: dict[str, Any]) -> None:
    _, _, training_args, finetuning_args, _ = get_train_args(options | {"citi_rp_lr": "1e-3", "citi_phases": "rp,mi"})
    assert finetuning_args.finetuning_type == "citi"
    assert training_args.label_names == ["labels"]
    assert training_args.resume_from_checkpoint is None
    assert finetuning_args.citi_rp_lr == 1e-3
    assert finetuning_args.citi_phases == ["rp", "mi"]
    assert finetuning_args.use_ref_model is False
    assert finetuning_args.to_dict()["finetuning_type"] == "citi"


def test_command_line_style(options: dict[str, Any]) -> None:
    words = [word for name, value in options.items() for word in (f"--{name}", str(value))]
    *_, finetuning_args, _ = get_train_args(
        [*words, "--citi_top_ratio", "0.3", "--citi_phases=mi", "--citi-rank", "4"]
    )
    assert (finetuning_args.citi_top_ratio, finetuning_args.citi_phases, finetuning_args.citi_rank) == (0.3, ["mi"], 4)
    message = problems_of([*words, "--citi_top_ratio", "x", "--citi_rnak=3", "--lora_rank", "4"])
    assert "citi_top_ratio='x'" in message
    assert "did you mean citi_rank?" in message
    assert "lora_rank has no effect" in message


@pytest.mark.parametrize(
    ("option", "given", "meant"),
    [("stage", "tl_stf", "tl_sft"), ("stage", "tl-ppo", "tl_ppo"), ("finetuning_type", "cit", "citi")],
)
def test_a_mistyped_method_is_named(options: dict[str, Any], option: str, given: str, meant: str) -> None:
    message = problems_of(options | {"citi_rank": 4, option: given})
    assert f"{option}={given} does not exist; did you mean {meant}?" in message
    assert "remove it" not in message
    options = {name: value for name, value in options.items() if not name.startswith("citi_")}
    assert "does not exist" in problems_of(options | {option: given})


def test_all_problems_in_one_message(options: dict[str, Any], tmp_path: Path) -> None:
    wrong = {
        "citi_top_ratoi": 0.2,
        "citi_rank": "many",
        "citi_top_ratio": 0.8,
        "citi_bottom_ratio": 0.3,
        "citi_importance_load": str(tmp_path / "none.json"),
        "stage": "dpo",
        "use_galore": True,
        "use_muon": True,
        "use_dft_loss": True,
        "use_llama_pro": True,
        "pissa_init": True,
        "use_dora": True,
        "lora_target": "q_proj",
        "pure_bf16": True,
        "resize_vocab": True,
        "quantization_bit": 4,
        "streaming": True,
        "adapter_name_or_path": "somewhere",
        "resume_from_checkpoint": "somewhere",
    }
    assert "citi_top_ratio=0.8 and citi_bottom_ratio=0.3 overlap" in problems_of(options | wrong)
    del wrong["citi_bottom_ratio"]
    wrong["citi_top_ratio"] = 0
    lines = problems_of(options | wrong).splitlines()[1:]
    for name in wrong:
        assert sum(line.startswith((f"  - {name} ", f"  - {name}=", f"  - {name}:")) for line in lines) == 1, name
    for line in lines:
        assert any(advice in line for advice in (";", "did you mean", "give ")), line


@pytest.mark.parametrize(
    ("given", "expected"),
    [
        (
            {"citi_adapter": "lora", "citi_num_experts": 2, "citi_router_beta": 0},
            {
                "citi_num_experts has no effect with citi_adapter: lora; remove it, or set citi_adapter: molora",
                "citi_router_beta has no effect with citi_adapter: lora; remove it, or set citi_adapter: molora",
                "citi_phases: citi_adapter: lora has no router for phase rp to train; set citi_phases: mi,uco",
            },
        ),
        (
            {"citi_adapter": "full", "citi_rank": 32, "citi_phases": "mi,uco", "quantization_bit": 4},
            {
                "citi_rank has no effect with citi_adapter: full; remove it, or set citi_adapter: molora",
                "citi_phases=mi,uco: with citi_adapter: full the chosen components are tuned in phase mi, and nothing "
                "else is; set citi_phases: mi",
                "quantization_bit: citi_adapter: full cannot tune quantized components; set citi_adapter: lora or "
                "load the model unquantized",
            },
        ),
        (
            {"citi_router_neutral": "false"},
            {
                "citi_router_beta=0.01: with citi_router_neutral: false there is no gate that the router loss could "
                "raise on general data; set citi_router_beta: 0",
                "citi_phases: with citi_router_neutral: false there is no router loss, and nothing else moves the "
                "router in phase rp; set citi_phases: mi,uco",
            },
        ),
    ],
    ids=["lora", "full", "no neutral gate"],
)
def test_ablations_that_contradict_themselves(
    options: dict[str, Any], given: dict[str, Any], expected: set[str]
) -> None:
    assert set(problems_of(options | given).splitlines()[1:]) == {f"  - {problem}" for problem in expected}


@pytest.mark.parametrize(
    "given",
    [
        {"citi_adapter": "lora", "citi_phases": "mi,uco", "citi_rank": 32, "citi_alpha": 32},
        {"citi_adapter": "lora", "citi_phases": "mi", "citi_select": "random"},
        {"citi_adapter": "full", "citi_phases": "mi", "citi_select": "bottom"},
        {"citi_router_neutral": False, "citi_router_beta": 0, "citi_phases": "mi,uco"},
    ],
    ids=str,
)
def test_ablations_that_work(options: dict[str, Any], given: dict[str, Any]) -> None:
    *_, finetuning_args, _ = get_train_args(options | given)
    assert finetuning_args.citi_adapter == given.get("citi_adapter", "molora")


def test_a_kernel_for_gpus_on_a_cpu(options: dict[str, Any]) -> None:
    message = problems_of(options | {"use_cpu": True, "citi_kernel": "triton"})
    assert "citi_kernel: triton cannot be used, as it needs a GPU; set citi_kernel: torch" in message
    assert "citi_kernel has no effect with citi_adapter: full" in problems_of(
        options | {"citi_adapter": "full", "citi_phases": "mi", "citi_kernel": "triton"}
    )


def test_citi_options_without_citi(options: dict[str, Any]) -> None:
    message = problems_of(options | {"finetuning_type": "lora", "citi_rank": 4, "citi_lr": 1})
    assert "citi_rank has no effect with finetuning_type: lora; remove it, or set finetuning_type: citi" in message
    assert "citi_lr is not an option" in message


def test_upstreams_own_complaints_join_the_list(options: dict[str, Any]) -> None:
    message = problems_of(options | {"citi_rank": 0, "leraning_rate": 1})
    assert "citi_rank=0" in message
    assert "leraning_rate" in message
    assert "Please specify dataset for training." in problems_of({**options, "dataset": None})


def test_a_name_that_upstream_does_not_know(options: dict[str, Any]) -> None:
    words = [word for name, value in options.items() for word in (f"--{name}", str(value))]
    for given in (options | {"evl_steps": 3, "zzzz": 1}, [*words, "--evl_steps", "3", "--zzzz=1"]):
        message = problems_of(given)
        assert "evl_steps is no option of this command; did you mean eval_steps?" in message
        assert "zzzz is no option of this command; correct the name, or remove it" in message


def test_values_arrive_in_the_type_of_their_option(options: dict[str, Any]) -> None:
    given = {"max_steps": "2.0", "save_total_limit": "1e0", "adam_beta1": "0.8", "seed": "7.0"}
    words = [word for name, value in (options | given).items() for word in (f"--{name}", str(value))]
    for args in (options | given, words):
        _, _, training_args, *_ = get_train_args(args)
        found = [getattr(training_args, name) for name in given]
        assert found == [2, 1, 0.8, 7]
        assert [type(value) for value in found] == [int, int, float, int]
    _, _, training_args, *_ = get_train_args(
        options | {"run_name": 2026, "logging_steps": 0, "logging_strategy": False, "dataloader_pin_memory": "no"}
    )
    assert (training_args.run_name, training_args.dataloader_pin_memory) == ("2026", False)


def test_direct_construction_raises() -> None:
    with pytest.raises(OptionError, match="citi_rank=0: give a whole number from 1 up"):
        FinetuningArguments(finetuning_type="citi", citi_rank=0)
    with pytest.raises(AssertionError, match="Invalid fine-tuning method"):
        FinetuningArguments(finetuning_type="another")
    with pytest.raises(OptionError, match=r"did you mean citi\?"):
        FinetuningArguments(finetuning_type="citii")
    args = FinetuningArguments(finetuning_type="citi")
    assert pickle.loads(pickle.dumps(args)) == args


def test_output_folder(options: dict[str, Any]) -> None:
    folder = Path(options["output_dir"])
    (folder / "phase-1-rp" / "checkpoint-3").mkdir(parents=True)
    get_train_args(options)  # interrupted: the workflow resumes
    (folder / "adapter_model.safetensors").touch()
    assert "holds a finished run; choose another folder, or set overwrite_output_dir: true" in problems_of(options)
    get_train_args(options | {"overwrite_output_dir": True})
    (folder / "adapter_model.safetensors").unlink()
    (folder / "checkpoint-8").mkdir()
    assert "holds checkpoints of another kind of run" in problems_of(options)


def test_inference(tiny_llama_dir: Path) -> None:
    options = {
        "model_name_or_path": str(tiny_llama_dir),
        "adapter_name_or_path": "some/adapter",
        "template": "llama3",
        "finetuning_type": "citi",
    }
    model_args, _, finetuning_args, _ = get_infer_args(options)
    assert finetuning_args.finetuning_type == "citi"
    assert model_args.adapter_name_or_path == ["some/adapter"]
    with pytest.raises(OptionError, match="infer_backend: vllm cannot load citi adapters"):
        get_infer_args(options | {"infer_backend": "vllm"})


def test_model_and_template_that_do_not_exist(options: dict[str, Any], tmp_path: Path) -> None:
    message = problems_of(
        options | {"model_name_or_path": str(tmp_path / "none"), "template": "lama3", "citi_rank": 0}
    )
    assert f"model_name_or_path={tmp_path / 'none'} cannot be found (" in message
    assert "template=lama3 does not exist; did you mean llama3" in message
    assert "citi_rank=0" in message
    assert "has no config.json; correct the path" in problems_of(options | {"model_name_or_path": str(tmp_path)})
    assert "model_name_or_path=some/model cannot be found" in problems_of(
        options | {"model_name_or_path": "some/model"}
    )


def test_other_types_are_untouched(options: dict[str, Any]) -> None:
    for kind in ("lora", "full", "freeze", "oft"):
        *_, finetuning_args, _ = get_train_args(options | {"finetuning_type": kind})
        assert finetuning_args.finetuning_type == kind
    with pytest.raises(ValueError, match="Some keys are not used"):
        get_train_args(options | {"finetuning_type": "lora", "leraning_rate": 1})


def test_lists_that_others_have_imported() -> None:
    assert METHODS == ["full", "freeze", "lora", "oft", "citi", "data"]
    assert {"lora", "oft", "citi", "data"} == PEFT_METHODS


def test_reading_raw_arguments() -> None:
    words = ["--finetuning-type", "citi", "--flag", "--citi_phases", "rp", "mi", "--citi_rank=3"]
    assert given_options(words) == {
        "finetuning_type": "citi",
        "flag": [],
        "citi_phases": ["rp", "mi"],
        "citi_rank": "3",
    }
    assert getattr(requested_type(words), "name", None) == "citi"
    assert requested_type(["-h"]) is None
    assert requested_type(None) is None


@pytest.mark.parametrize("parse", [get_infer_args, get_train_args])
@pytest.mark.parametrize("type_", ["citi", "data"])
@pytest.mark.parametrize("first", [0, 1, 2])
def test_words_that_are_read_behind_a_file_alone_are_named(parse: Any, type_: str, first: int) -> None:
    """`llamafactory-cli export model_name_or_path=m ...` without a YAML; dashes before some of the words."""
    given = {"finetuning_type": type_, "model_name_or_path": "m", "template": "llama3", "export_dir": "out"}
    flags = [word for name, value in [*given.items()][:first] for word in (f"--{name}", value)]
    bare = [f"{name}={value}" for name, value in [*given.items()][first:]]
    assert bare_words([*flags, *bare]) == bare
    with pytest.raises(OptionError) as caught:
        parse([*flags, *bare])
    name, _, value = bare[0].partition("=")
    assert f"{bare[0]} and {len(bare) - 1} more: such words are read behind the name of a file" in caught.value.message
    assert f"name a YAML first, or write --{name} {value}" in caught.value.message


@pytest.mark.parametrize(
    "words",
    [
        None,
        {"a": "b=c"},
        ["-h"],
        ["--optim_args", "betas=0.9"],
        ["--optim_args=betas=0.9"],
        ["--names", "x", "y", "z"],
    ],
)
def test_values_that_hold_an_equals_sign_are_values(words: Any) -> None:
    assert bare_words(words) == []


@pytest.mark.parametrize(("raw", "shown"), [("nan", "nan"), (float("nan"), "nan"), ("inf", "inf"), ("x", "'x'")])
def test_numbers_stand_without_quotes_however_they_came(options: dict[str, Any], raw: Any, shown: str) -> None:
    assert f"citi_top_ratio={shown}: give" in problems_of(options | {"citi_top_ratio": raw})
