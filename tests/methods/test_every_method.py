"""What every method does, whichever it is: over the rows of methods.py, so that a further one inherits all of it."""

from __future__ import annotations

import shutil
from dataclasses import dataclass, fields
from pathlib import Path
from typing import Any

import llamafactory.train.tuner  # noqa: F401  # as the command does: upstream first
import pytest
import torch
from llamafactory.hparams import get_train_args
from llamafactory.train.tuner import export_model, run_exp
from safetensors.torch import load_file
from transformers import AutoModelForCausalLM, TrainerCallback

import option_runs
from llamafactory_ext.board.options import options_of as declared_options
from llamafactory_ext.board.panels import panel_values
from llamafactory_ext.errors import OptionError
from llamafactory_ext.methods import Method, load, methods, row_of
from llamafactory_ext.options.groups import GROUPS

ROWS = {row.name: row for row in methods()}
every_method = pytest.mark.parametrize("name", ROWS)
STEPS = {"max_steps": 4, "save_strategy": "steps", "save_steps": 2, "overwrite_cache": True}


class Interrupt(TrainerCallback):
    """Ctrl+C after the third step of the first training, one checkpoint behind it."""

    def on_step_end(self, args: Any, state: Any, control: Any, **_: Any) -> None:
        if state.global_step == 3:
            raise KeyboardInterrupt


def weights(folder: Path) -> dict[str, torch.Tensor]:
    """All that a run has trained, its phases and checkpoints included."""
    return {
        f"{path.relative_to(folder)}:{name}": weight
        for path in sorted(folder.rglob("*.safetensors"))
        for name, weight in load_file(path).items()
    }


@dataclass(frozen=True)
class Life:
    """A run that was not interrupted, and one that was and was repeated."""

    row: Method
    options: dict[str, Any]
    straight: Path
    broken: Path
    left: set[str]

    @property
    def model(self) -> str:
        return str(self.options["model_name_or_path"])


@pytest.fixture(scope="module")
def world(tmp_path_factory: pytest.TempPathFactory) -> dict[str, str]:
    return option_runs.make_world(tmp_path_factory.mktemp("world"))


@pytest.fixture(scope="module")
def lives(world: dict[str, str], tmp_path_factory: pytest.TempPathFactory) -> dict[str, Life]:
    """Each method's, made when it is first asked for."""

    class Lives(dict[str, Life]):
        def __missing__(self, name: str) -> Life:
            self[name] = live(ROWS[name], world, tmp_path_factory.mktemp(name))
            return self[name]

    return Lives()


def live(row: Method, world: dict[str, str], folder: Path) -> Life:
    places = {"model_name_or_path": world["model"], "dataset_dir": world["data"]}
    options = option_runs.options_of(row.name, STEPS | places)
    run_exp(options | {"output_dir": str(folder / "straight")}, [])
    with pytest.raises(KeyboardInterrupt):
        run_exp(options | {"output_dir": str(folder / "broken")}, [Interrupt()])
    left = {path.name for path in (folder / "broken").iterdir()}
    run_exp(options | {"output_dir": str(folder / "broken")}, [])
    return Life(row, options, folder / "straight", folder / "broken", left)


def test_every_row_has_a_command() -> None:
    assert ROWS.keys() == option_runs.METHODS.keys(), "add its options to tests/option_runs.py, METHODS"


# Runs


@every_method
def test_interrupted_is_uninterrupted(lives: dict[str, Life], name: str) -> None:
    life = lives[name]
    assert not life.left & {"adapter_model.safetensors", "model.safetensors"}, "an interrupted run looks finished"
    one, other = weights(life.straight), weights(life.broken)
    assert len(one) > 2
    assert one.keys() == other.keys()
    assert [tensor for tensor in one if not one[tensor].equal(other[tensor])] == []


@every_method
def test_the_adapter_off_is_the_base(lives: dict[str, Life], name: str) -> None:
    from peft import PeftModel

    life = lives[name]
    base = AutoModelForCausalLM.from_pretrained(life.model).eval()
    ids = torch.arange(1, 17)[None]
    with torch.no_grad():
        plain = base(ids).logits
        tuned = PeftModel.from_pretrained(base, life.straight).eval()
        with tuned.disable_adapter():
            off = tuned(ids).logits
        on = tuned(ids).logits
    assert off.equal(plain)
    assert not on.equal(plain)


@every_method
def test_the_export_in_transformers_is_the_adapter(lives: dict[str, Life], name: str, tmp_path: Path) -> None:
    from peft import PeftModel

    life = lives[name]
    export_model(
        {
            "model_name_or_path": life.model,
            "adapter_name_or_path": str(life.straight),
            "finetuning_type": life.options["finetuning_type"],
            "template": life.options["template"],
            "export_dir": str(tmp_path / "export"),
        }
    )
    ids = torch.arange(1, 17)[None]
    tuned = PeftModel.from_pretrained(AutoModelForCausalLM.from_pretrained(life.model), life.straight).eval()
    exported = AutoModelForCausalLM.from_pretrained(tmp_path / "export").eval()
    with torch.no_grad():
        torch.testing.assert_close(exported(ids).logits, tuned(ids).logits, rtol=1e-4, atol=1e-4)
    row = row_of(name)
    assert row is not None
    if row.adapter is not None:
        assert exported.config.model_type in load(row.adapter.model_types)
    shutil.rmtree(tmp_path / "export")


# Options


def command(row: Method, world: dict[str, str], **changes: Any) -> dict[str, Any]:
    places = {"model_name_or_path": world["model"], "dataset_dir": world["data"], "output_dir": "nowhere"}
    return option_runs.options_of(row.name, STEPS | places | changes)


@every_method
def test_all_wrong_values_stand_in_one_message(world: dict[str, str], name: str) -> None:
    row, wrong = ROWS[name], {}
    for option, rule in load(row.rules).items():
        try:
            rule.read("§")
        except ValueError:
            wrong[option] = "§"
    assert len(wrong) > 2
    with pytest.raises(OptionError) as caught:
        get_train_args(command(row, world, enable_liger_kernel=True, **wrong))
    lines = caught.value.message.splitlines()
    assert all(any(line.startswith(f"  - {option}='§': give ") for line in lines) for option in wrong), lines
    assert any(line.startswith("  - enable_liger_kernel") for line in lines)


@every_method
def test_a_form_gives_the_command_that_gives_the_form(world: dict[str, str], name: str) -> None:
    row = ROWS[name]
    entered = {option.name: option.default for group in GROUPS for option in declared_options(group.arguments)} | {
        option: value for option, value in option_runs.METHODS[name].items() if option in load(row.rules)
    }
    chosen = {option: option_runs.METHODS[name][option] for option in ("finetuning_type", "stage")}
    made = panel_values(chosen, entered)
    assert {option.name for option in fields(load(row.arguments)) if entered[option.name] is not None} <= made.keys()
    plain = {option: value for option, value in command(row, world).items() if option not in entered}
    *_, finetuning, _ = get_train_args(plain | made)
    again = {option: getattr(finetuning, option) for option in made}
    assert panel_values(chosen, entered | again) == made


@every_method
def test_its_options_are_refused_elsewhere(world: dict[str, str], name: str) -> None:
    row = ROWS[name]
    option = next(option for option in declared_options(load(row.arguments)) if option.kind in ("whole", "number"))
    other = command(row, world, stage="sft", finetuning_type="lora")
    plain = {key: value for key, value in other.items() if key not in load(row.rules)}
    with pytest.raises(OptionError, match=f"{option.name} has no effect with .*set {row.option}: {row.name}"):
        get_train_args(plain | {option.name: option.default / 2 if option.kind == "number" else option.default + 1})


@every_method
def test_unused_it_leaves_upstreams_options_alone(world: dict[str, str], name: str) -> None:
    row = ROWS[name]
    other = command(row, world, stage="sft", finetuning_type="lora", learning_rate=1e-3)
    plain = {
        key: value for key, value in other.items() if key not in {rule for group in GROUPS for rule in group.rules}
    }
    *_, finetuning, _ = get_train_args(plain)
    defaults = load(row.arguments)()
    assert (finetuning.stage, finetuning.finetuning_type, finetuning.tl_stage) == ("sft", "lora", None)
    assert all(getattr(finetuning, option.name) == getattr(defaults, option.name) for option in fields(defaults))


def test_every_method_that_trains_says_what_an_estimate_reads() -> None:
    ours = [row for row in methods() if row.run.startswith("llamafactory_ext.")]
    assert ours
    assert [row.name for row in ours if not row.lengths] == []
