"""What an architecture allows is found out from config.json alone, with a row of the table or without one."""

from __future__ import annotations

import ast
import json
import sys
from pathlib import Path
from types import SimpleNamespace
from typing import Any

import pytest
import torch
from transformers import CONFIG_MAPPING, AutoModelForCausalLM

from llamafactory_ext import cli
from llamafactory_ext.citi.architecture import Architecture
from llamafactory_ext.citi.run.early import early_problems
from llamafactory_ext.citi.trial import shrunk
from llamafactory_ext.errors import CheckpointError
from llamafactory_ext.families import Family, family_of
from llamafactory_ext.upstream.doctor import model_checks
from tiny import save_tiny_model

pytestmark = pytest.mark.fast
SIZES = {"num_hidden_layers": 4}
# Kinds of linears for which eq. 4 is 0: norms on q and k, behind both sub-layers, both, none.
HIDDEN = {
    "llama": set(),
    "phi3": set(),
    "qwen2": set(),
    "qwen3": {"q_proj", "k_proj"},
    "qwen3_moe": {"q_proj", "k_proj"},
    "gemma2": {"v_proj", "o_proj", "up_proj", "down_proj"},
    "gemma3_text": {"q_proj", "k_proj", "v_proj", "o_proj", "up_proj", "down_proj"},
    "olmo2": {"q_proj", "k_proj", "v_proj", "o_proj", "up_proj", "down_proj"},
    "deepseek_v3": None,  # heads of other numbers; whatever it finds
    "granite": set(),
}


def folder_of(model_type: str, folder: Path, **changes: Any) -> Path:
    """A folder with nothing but a config.json of large sizes."""
    CONFIG_MAPPING[model_type](**(SIZES | changes)).save_pretrained(folder)
    return folder


@pytest.mark.parametrize("model_type", HIDDEN)
def test_a_configuration_alone_tells_whether_it_trains_and_what_eq_4_leaves_out(
    model_type: str, tmp_path: Path
) -> None:
    found = Architecture(folder_of(model_type, tmp_path))
    assert found.obstacle is None
    assert found.trial.problem is None
    if HIDDEN[model_type] is not None:
        assert {*found.trial.vanishing} == HIDDEN[model_type]
    assert bool(found.experts) == (model_type in ("qwen3_moe", "deepseek_v3"))


@pytest.mark.parametrize("model_type", ["qwen3", "gemma3_text", "qwen3_moe"])
def test_the_row_to_try_is_the_row_that_there_is(model_type: str, tmp_path: Path) -> None:
    printed = ast.parse(Architecture(folder_of(model_type, tmp_path)).row().rstrip(","), mode="eval").body
    assert isinstance(printed, ast.Call)
    assert ast.unparse(printed.func) == "Family"
    row = Family(**{word.arg: ast.literal_eval(word.value) for word in printed.keywords if word.arg})
    known = family_of(model_type)
    assert known is not None
    for name in ("model_type", "config", "model", "experts"):
        assert getattr(row, name) == getattr(known, name)
    assert {*row.linears} <= {*known.linears}
    assert {*known.structure} - {*row.structure} <= {"sliding window"}


def test_an_architecture_without_a_row_gets_one_to_try(tmp_path: Path) -> None:
    checks, row = model_checks(folder_of("olmo2", tmp_path))
    found = {check.what: check for check in checks}
    assert found["trains: olmo2"].state == "ok"
    assert "28 linears: 4 q_proj" in found["trains: olmo2"].found
    assert found["importance"].state == "warning"
    assert found["exports, and serves with vLLM"].state == "warning"
    assert "add a row to families.py" in found["exports, and serves with vLLM"].next_step
    assert 'model_type="olmo2",' in row
    assert 'model="Olmo2ForCausalLM",' in row
    assert 'structure=("q/k norm", "post-norm"),' in row


def test_a_model_with_a_row_is_said_to_train_export_and_serve(tmp_path: Path) -> None:
    checks, row = model_checks(save_tiny_model(tmp_path / "model"))
    assert row == ""
    assert {check.what: check.state for check in checks} == {
        "trains: llama": "ok",
        "importance": "ok",
        "template": "ok",
        "exports": "ok",
        "serves with vLLM": "ok",
        "files": "ok",
    }


def test_what_vllm_lacks_and_what_experts_leave_out_is_said(tmp_path: Path) -> None:
    served = {check.what: check for check in model_checks(folder_of("smollm3", tmp_path / "a"))[0]}
    assert served["serves with vLLM"].state == "warning"
    assert served["serves with vLLM"].next_step == "run the export with transformers"
    left = {check.what: check for check in model_checks(folder_of("qwen3_moe", tmp_path / "b"))[0]}["left as they are"]
    assert left.found.endswith("of experts")
    assert int(left.found.partition(" ")[0].replace(",", "")) > 10**8


def test_a_configuration_that_contradicts_its_weights_is_named(tmp_path: Path) -> None:
    folder = save_tiny_model(tmp_path / "model")
    config = json.loads((folder / "config.json").read_text("utf-8"))
    (folder / "config.json").write_text(json.dumps(config | {"num_hidden_layers": 3}), encoding="utf-8")
    (files,) = (check for check in model_checks(folder)[0] if check.what == "files")
    assert files.state == "broken"
    assert "its files lack model.layers.2." in files.found
    assert files.next_step == "get the model again"


@pytest.mark.parametrize(
    ("config", "message"),
    [
        (None, "has no config.json; name the folder of a model"),
        ("{", "is no JSON"),
        ("{}", "has no model_type; get the model again"),
    ],
)
def test_a_folder_without_a_usable_configuration_is_named(config: str | None, message: str, tmp_path: Path) -> None:
    if config is not None:
        (tmp_path / "config.json").write_text(config, encoding="utf-8")
    with pytest.raises(CheckpointError, match=message):
        Architecture(tmp_path)


@pytest.mark.parametrize(
    ("path", "message"),
    [
        ("config.json", "is a file; name the folder that holds"),
        (
            "Qwen/Qwen3-4B",
            "there is no folder Qwen/Qwen3-4B; correct the path, or fetch a model of the hub first (hf d",
        ),
        ("loop", "there is no folder"),
        ("adapter", "is an adapter, not a model; name the folder of its base"),
    ],
)
def test_what_is_no_folder_of_a_model_is_named(
    path: str, message: str, tmp_path: Path, monkeypatch: pytest.MonkeyPatch
) -> None:
    (tmp_path / "config.json").write_text("{}")
    (tmp_path / "loop").symlink_to("loop")
    (tmp_path / "adapter").mkdir()
    (tmp_path / "adapter" / "adapter_config.json").write_text("{}")
    monkeypatch.chdir(tmp_path)
    with pytest.raises(CheckpointError) as caught:
        Architecture(Path(path))
    assert message in caught.value.message


@pytest.mark.parametrize(
    ("config", "message"),
    [
        ({"model_type": "mamba9"}, "cannot read a configuration of mamba9 ("),
        ({"model_type": "new", "auto_map": {"AutoConfig": "x.Y"}}, "brings code of its own; run it with trust_remote"),
        ({"model_type": "gpt2"}, "has no linear modules"),
        ({"model_type": "t5"}, "has an encoder of its own for the prompt"),
        (
            {"model_type": "phi3", "vocab_size": 64},
            "no model can be made by its config.json (AssertionError: Padding_idx",
        ),
    ],
)
def test_what_stands_in_the_way_is_one_line(config: dict[str, Any], message: str, tmp_path: Path) -> None:
    (tmp_path / "config.json").write_text(json.dumps(config), encoding="utf-8")
    obstacle = Architecture(tmp_path).obstacle
    assert obstacle is not None
    assert message in obstacle
    assert "\n" not in obstacle
    checks, row = model_checks(tmp_path)
    assert checks[0].state == "broken"
    assert row == ""


def test_the_command_prints_the_row_and_fails_where_files_are_missing(
    tmp_path: Path, monkeypatch: pytest.MonkeyPatch, capsys: pytest.CaptureFixture[str]
) -> None:
    monkeypatch.setattr(sys, "argv", ["llamafactory-ext", "doctor", "--model", str(folder_of("granite", tmp_path))])
    with pytest.raises(SystemExit) as end:
        cli.main()
    said = capsys.readouterr().out
    assert end.value.code == 1, "there are no weights"
    assert "model.safetensors" in said
    assert "A row to try" in said
    assert 'model_type="granite",' in said


def test_a_tiny_model_has_a_layer_of_each_kind() -> None:
    config = CONFIG_MAPPING["gemma3_text"](num_hidden_layers=26)
    small = shrunk(config)
    assert {*small.layer_types} == {*config.layer_types} == {"sliding_attention", "full_attention"}
    assert small.num_hidden_layers == len(small.layer_types) == 6
    assert config.hidden_size > small.hidden_size


@pytest.mark.parametrize(
    ("model_type", "export", "adapter", "refused"),
    [
        ("olmo2", "model", "molora", True),
        ("olmo2", "none", "molora", False),
        ("olmo2", "model", "lora", False),  # it is merged into the base
        ("qwen3", "model", "molora", False),
    ],
)
def test_what_cannot_be_exported_is_refused_before_training(
    model_type: str, export: str, adapter: str, refused: bool
) -> None:
    with torch.device("meta"):
        model = AutoModelForCausalLM.from_config(CONFIG_MAPPING[model_type](**SIZES))
    args = SimpleNamespace(
        citi_adapter=adapter,
        citi_export=export,
        citi_importance_save=None,
        citi_importance_load=None,
        citi_importance_score="auto",
        citi_top_ratio=0.2,
        citi_bottom_ratio=0.1,
        citi_phases=["rp", "mi", "uco"],
        citi_rp_epochs=1,
        citi_mi_epochs=1,
        citi_uco_epochs=1,
        citi_rp_lr=1,
        citi_mi_lr=1,
        citi_uco_lr=1,
    )
    problems = early_problems(model, args)
    assert len(problems) == refused
    if refused:
        assert "no exported type for the architecture olmo2" in problems[0]
        assert "citi_export: none" in problems[0]
