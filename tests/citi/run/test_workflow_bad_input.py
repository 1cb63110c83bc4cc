"""Each thing a user can get wrong ends in one clear error, and nothing is left half-written."""

from __future__ import annotations

import json
from collections.abc import Callable
from pathlib import Path
from typing import Any

import llamafactory.train.tuner  # noqa: F401  # as the command does: upstream first
import pytest
import torch
from llamafactory.hparams import get_infer_args
from llamafactory.model import load_model, load_tokenizer

import tiny
from forked import run as run_process
from llamafactory_ext.citi.importance import linear_components
from llamafactory_ext.errors import CheckpointError, DataError, ExtError, OptionError
from processes import write_yaml
from runs import WEIGHTS, Interrupt, Run, citi_options, equal, train

Change = Callable[[Path, list[dict[str, Any]], dict[str, Any]], None]


def refused(options: dict[str, Any], kind: type[ExtError]) -> str:
    """The message; the output folder must be as untouched as if the command had never been given."""
    with pytest.raises(kind) as error:
        train(options)
    assert not Path(options["output_dir"]).exists(), "something was written"
    return error.value.message


def changed_data(folder: Path, change: Change) -> Path:
    """The data set `tiny` after `change(folder, records, info)`."""
    tiny.write_tiny_data(folder, 16)
    records, info = tiny.tiny_records(16), json.loads((folder / "dataset_info.json").read_text("utf-8"))
    change(folder, records, info)
    if (folder / "tiny.json").exists() and (folder / "tiny.json").stat().st_size > 2:
        (folder / "tiny.json").write_text(json.dumps(records), encoding="utf-8")
    (folder / "dataset_info.json").write_text(json.dumps(info), encoding="utf-8")
    return folder


def only(mark: str) -> Change:
    def change(_: Path, records: list[dict[str, Any]], __: dict[str, Any]) -> None:
        records[:] = [record for record in records if record["mark"] == mark]

    return change


def set_field(name: str, value: Any) -> Change:
    def change(_: Path, records: list[dict[str, Any]], __: dict[str, Any]) -> None:
        records[3][name] = value

    return change


def drop_columns(_: Path, __: list[dict[str, Any]], info: dict[str, Any]) -> None:
    del info["tiny"]["columns"]["mark"], info["tiny"]["columns"]["task"]


@pytest.mark.parametrize(
    ("change", "message"),
    [
        (only("general"), 'no example is marked "tool"; add tool data'),
        (only("tool"), 'no example is marked "general"; add general data'),
        (lambda folder, *_: (folder / "tiny.json").unlink(), "tiny.json does not exist"),
        (lambda folder, *_: (folder / "tiny.json").write_text("["), "tiny.json"),
        (lambda folder, *_: (folder / "tiny.json").write_text(""), "tiny.json"),
        (set_field("mark", "Tool"), 'write "tool" or "general"'),
        (set_field("mark", None), "mark"),
        (set_field("output", 7), "tiny.json"),
        (drop_columns, "states no mark"),
        (lambda _, __, info: info.pop("tiny"), 'data set "tiny" is not in'),
    ],
    ids=[
        "no tool examples",
        "no general examples",
        "no file",
        "cut file",
        "empty file",
        "unknown mark",
        "no mark",
        "answer no text",
        "no mark column",
        "no entry",
    ],
)
def test_data_that_cannot_be_used(tiny_llama_dir: Path, tmp_path: Path, change: Change, message: str) -> None:
    data = changed_data(tmp_path / "data", change)
    assert message in refused(citi_options(tiny_llama_dir, data, tmp_path / "run"), DataError)


@pytest.mark.parametrize("content", [None, "{"])
def test_a_missing_or_malformed_dataset_info(tiny_llama_dir: Path, tmp_path: Path, content: str | None) -> None:
    (tmp_path / "data").mkdir()
    if content:
        (tmp_path / "data" / "dataset_info.json").write_text(content)
    assert "dataset_info.json" in refused(citi_options(tiny_llama_dir, tmp_path / "data", tmp_path / "run"), DataError)


def test_max_samples_may_leave_a_kind_out(tiny_llama_dir: Path, tiny_data_dir: Path, tmp_path: Path) -> None:
    """The files hold both kinds; what is left of them does not."""
    message = refused(citi_options(tiny_llama_dir, tiny_data_dir, tmp_path / "run", max_samples=1), DataError)
    assert "no general example is among those that are trained: max_samples: 1" in message


def test_evaluation_data_without_marks(tiny_llama_dir: Path, tmp_path: Path) -> None:
    def add_plain(_: Path, __: list[dict[str, Any]], info: dict[str, Any]) -> None:
        info["plain"] = {"file_name": "tiny.json"}

    data = changed_data(tmp_path / "data", add_plain)
    options = citi_options(tiny_llama_dir, data, tmp_path / "run", eval_dataset="plain", do_eval=True)
    assert "the entry states no mark" in refused(options, DataError)


def test_answers_that_are_all_cut_off(tiny_llama_dir: Path, tiny_data_dir: Path, tmp_path: Path) -> None:
    options = citi_options(tiny_llama_dir, tiny_data_dir, tmp_path / "run", cutoff_len=2)
    assert "raise cutoff_len" in refused(options, DataError)


@pytest.mark.parametrize("packing", [False, True])
def test_tokenized_data_without_marks(
    tiny_llama_dir: Path, tiny_data_dir: Path, tmp_path: Path, packing: bool
) -> None:
    """Made by another method with the same data; refused, and left alone."""
    tokenized = tmp_path / "tokenized"
    common = {"tokenized_path": str(tokenized), "packing": packing}
    plain = citi_options(tiny_llama_dir, tiny_data_dir, tmp_path / "lora", **common)
    plain = {name: value for name, value in plain.items() if not name.startswith("citi_")}
    train(plain | {"finetuning_type": "lora", "max_steps": 1, "lora_rank": 2})
    files = sorted(tokenized.rglob("*"))
    assert files
    message = refused(citi_options(tiny_llama_dir, tiny_data_dir, tmp_path / "run", **common), DataError)
    assert message.startswith(f"tokenized_path={tokenized} was made without marks; delete it")
    assert sorted(tokenized.rglob("*")) == files


def test_tokenized_data_with_marks_is_used_again(tiny_llama_dir: Path, tiny_data_dir: Path, tmp_path: Path) -> None:
    """The counterpart: CITI's own tokenized data gives the same run a second time."""
    runs = [
        train(
            citi_options(
                tiny_llama_dir,
                tiny_data_dir,
                tmp_path / name,
                tokenized_path=str(tmp_path / "tokenized"),
                citi_phases="rp",
                overwrite_cache=None,
            )
        )
        for name in ("first", "second")
    ]
    assert equal(runs[0].weights(), runs[1].weights())


@pytest.mark.parametrize(
    ("ratios", "message"),
    [
        ({"citi_top_ratio": 0.05}, "citi_top_ratio=0.05 selects 0 of 14 linears; raise it to at least 0.0715"),
        ({"citi_bottom_ratio": 0.05}, "citi_bottom_ratio=0.05 selects 0 of 14 linears; raise it to at least 0.0715"),
        ({"citi_top_ratio": 0.01, "citi_bottom_ratio": 0.01}, "citi_bottom_ratio=0.01 selects 0 of 14 linears"),
    ],
    ids=["top", "bottom", "both"],
)
def test_a_ratio_that_selects_nothing(
    tiny_llama_dir: Path, tiny_data_dir: Path, tmp_path: Path, ratios: dict[str, float], message: str
) -> None:
    text = refused(citi_options(tiny_llama_dir, tiny_data_dir, tmp_path / "run", **ratios), OptionError)
    assert message in text
    assert text.count("selects 0 of 14") == len(ratios)


def test_no_bottom_ratio_skips_the_phase_that_needs_it(
    tiny_llama_dir: Path, tiny_data_dir: Path, tmp_path: Path
) -> None:
    """As the message about a bottom ratio that selects nothing promises."""
    run = train(citi_options(tiny_llama_dir, tiny_data_dir, tmp_path / "run", citi_bottom_ratio=0))
    assert [path.name for path in sorted(run.path.glob("phase-*"))] == ["phase-1-rp", "phase-2-mi"]
    assert not any("Phase uco" in line for line in run.said)


def test_nothing_to_tune_and_only_that_phase(tiny_llama_dir: Path, tiny_data_dir: Path, tmp_path: Path) -> None:
    options = citi_options(tiny_llama_dir, tiny_data_dir, tmp_path / "run", citi_bottom_ratio=0, citi_phases="uco")
    assert "citi_bottom_ratio" in refused(options, OptionError)


def test_a_model_without_linears_is_refused() -> None:
    model = torch.nn.Sequential(torch.nn.Embedding(4, 4), torch.nn.LayerNorm(4))
    with pytest.raises(OptionError, match=r"Sequential has no linear modules .* choose a model built from them"):
        linear_components(model)


# The data or the base behind an interrupted run


@pytest.fixture
def interrupted(tmp_path: Path) -> dict[str, Any]:
    """Options of a run that stopped between its phases, on a model and data of its own."""
    base = tiny.save_tiny_model(tmp_path / "base")
    data = tiny.write_tiny_data(tmp_path / "data", 16)
    options = citi_options(base, data, tmp_path / "run", citi_phases="rp,mi")
    with pytest.raises(KeyboardInterrupt):
        train(options, Interrupt("mi", "on_train_begin"))
    return options


def test_a_base_that_has_changed_meanwhile(interrupted: dict[str, Any]) -> None:
    tiny.save_tiny_model(interrupted["model_name_or_path"], seed=1)
    with pytest.raises(CheckpointError, match="another base model"):
        train(interrupted)


def test_data_that_has_changed_meanwhile(interrupted: dict[str, Any]) -> None:
    file = Path(interrupted["dataset_dir"]) / "tiny.json"
    file.write_text(file.read_text("utf-8").replace("item 0", "item 99"), encoding="utf-8")
    with pytest.raises(CheckpointError, match="data"):
        train(interrupted)


@pytest.mark.parametrize(
    "change",
    [{"optim": "sgd"}, {"max_grad_norm": 0.1}, {"adam_beta2": 0.9}, {"train_on_prompt": True}, {"mask_history": True}],
    ids=lambda change: next(iter(change)),
)
def test_other_settings_that_shape_the_outcome(interrupted: dict[str, Any], change: dict[str, Any]) -> None:
    (name,) = change
    with pytest.raises(CheckpointError, match=f"  - {name}: "):
        train(interrupted | change)


# Loading a checkpoint


@pytest.fixture(scope="module")
def finished(tiny_llama_dir: Path, tiny_data_dir: Path, tmp_path_factory: pytest.TempPathFactory) -> Run:
    return train(citi_options(tiny_llama_dir, tiny_data_dir, tmp_path_factory.mktemp("finished"), citi_phases="rp,mi"))


def load_for_chat(base: Path, adapter: Path) -> Any:
    """As `llamafactory-cli chat` and `export` load it."""
    model_args, _, finetuning_args, _ = get_infer_args(
        {
            "model_name_or_path": str(base),
            "adapter_name_or_path": str(adapter),
            "template": "llama3",
            "finetuning_type": "citi",
            "infer_dtype": "float32",
        }
    )
    return load_model(load_tokenizer(model_args)["tokenizer"], model_args, finetuning_args)


def test_a_checkpoint_loads_on_its_own_base(finished: Run, tiny_llama_dir: Path) -> None:
    assert load_for_chat(tiny_llama_dir, finished.path).peft_config["default"].peft_type == "MOLORA"


@pytest.mark.parametrize("other", [{"seed": 1}, {"layers": 3}], ids=str)
def test_a_checkpoint_from_another_base(finished: Run, tmp_path: Path, other: dict[str, Any]) -> None:
    base = tiny.save_tiny_model(tmp_path / "base", **other)
    with pytest.raises(CheckpointError, match="was trained on another base model than this one"):
        load_for_chat(base, finished.path)


def test_a_checkpoint_from_another_family_is_seen_before_its_base_is_loaded(finished: Run, tmp_path: Path) -> None:
    base = tiny.save_tiny_model(tmp_path / "base", "phi3")
    with pytest.raises(OptionError, match=r"belongs to another base than .*name its own"):
        load_for_chat(base, finished.path)


def test_a_checkpoint_without_weights(tiny_llama_dir: Path, finished: Run, tmp_path: Path) -> None:
    (tmp_path / "adapter_config.json").write_bytes((finished.path / "adapter_config.json").read_bytes())
    with pytest.raises(OptionError, match=f"has no {WEIGHTS}"):
        load_for_chat(tiny_llama_dir, tmp_path)


# As the user sees it


def test_the_command_shows_one_message_and_no_traceback(tiny_llama_dir: Path, tmp_path: Path) -> None:
    data = changed_data(tmp_path / "data", only("general"))
    options = citi_options(tiny_llama_dir, data, tmp_path / "run")
    write_yaml(tmp_path / "citi.yaml", options)
    result = run_process(["llamafactory-cli", "train", "citi.yaml"], tmp_path)
    assert result.returncode == 2
    assert "Traceback" not in result.stdout + result.stderr
    assert result.stderr.rstrip().splitlines()[-2:] == [
        "DataError: The training data cannot be used:",
        '  - no example is marked "tool"; add tool data (for example "api_bank", see: llamafactory-ext data convert '
        '--help) to "dataset"',
    ]
    assert not (tmp_path / "run").exists()
