"""An optimizer, a scheduler, a gradient scaler and random generators go on exactly where they were saved."""

from __future__ import annotations

import json
import random
from collections.abc import Callable
from pathlib import Path
from typing import Any

import numpy as np
import pytest
import torch
from torch import Tensor, nn
from torch.optim.lr_scheduler import LRScheduler
from transformers import Adafactor, get_scheduler

from llamafactory_ext.checkpoint.optimizer import by_name, by_number, group_names
from llamafactory_ext.checkpoint.plain import read_state, write_state
from llamafactory_ext.checkpoint.random_states import collect_states, restore_states
from llamafactory_ext.errors import CheckpointError

pytestmark = pytest.mark.fast

OPTIMIZERS: dict[str, Callable[[Any], torch.optim.Optimizer]] = {
    "adamw": lambda groups: torch.optim.AdamW(groups, lr=0.1),
    "amsgrad": lambda groups: torch.optim.AdamW(groups, lr=0.1, amsgrad=True),
    "adafactor with momentum": lambda groups: Adafactor(groups, lr=0.1, relative_step=False, beta1=0.9),
    "adafactor": lambda groups: Adafactor(groups, lr=0.1, relative_step=False, scale_parameter=False),
    "sgd": lambda groups: torch.optim.SGD(groups, lr=0.1),
    "sgd with momentum": lambda groups: torch.optim.SGD(groups, lr=0.1, momentum=0.9),
    "adagrad": lambda groups: torch.optim.Adagrad(groups, lr=0.1),
    "rmsprop": lambda groups: torch.optim.RMSprop(groups, lr=0.1, momentum=0.5),
}
SCHEDULES = {
    "linear": {},
    "cosine": {},
    "cosine_with_restarts": {"num_cycles": 2},
    "polynomial": {},
    "constant_with_warmup": {},
    "inverse_sqrt": {},
    "cosine_with_min_lr": {"min_lr_rate": 0.1},
    "reduce_lr_on_plateau": {},
}


class Trained:
    """A model with two parameter groups, one frozen parameter and one parameter that gets no gradient at first."""

    def __init__(self, optimizer: str, schedule: str = "linear", dtype: torch.dtype = torch.float32) -> None:
        torch.manual_seed(1)
        self.model = nn.ModuleDict({"a": nn.Linear(4, 3), "b": nn.Linear(3, 2), "late": nn.Linear(4, 2)}).to(dtype)
        self.model["b"].bias.requires_grad_(False)
        groups = [
            {"params": [self.model["b"].weight, self.model["late"].weight], "weight_decay": 0.1},
            {"params": [self.model["a"].bias, self.model["a"].weight], "weight_decay": 0.0},
        ]
        self.optimizer = OPTIMIZERS[optimizer](groups)
        self.scheduler: LRScheduler = get_scheduler(
            schedule,
            self.optimizer,
            num_warmup_steps=2,
            num_training_steps=10,
            scheduler_specific_kwargs=dict(SCHEDULES[schedule]),
        )
        self.dtype = dtype

    def steps(self, first: int, last: int) -> None:
        for step in range(first, last):
            x = torch.randn(5, 4, generator=torch.Generator().manual_seed(step)).to(self.dtype)
            y = self.model["b"](self.model["a"](x).tanh())
            loss = (y + self.model["late"](x) if step > 5 else y).float().square().sum()
            loss.backward()
            self.optimizer.step()
            plateau = isinstance(self.scheduler, torch.optim.lr_scheduler.ReduceLROnPlateau)
            self.scheduler.step(*([loss.item()] if plateau else []))
            self.optimizer.zero_grad()

    @property
    def names(self) -> list[list[str]]:
        return group_names(self.optimizer.param_groups, self.model.named_parameters())

    def save(self, folder: Path) -> None:
        torch.save(self.model.state_dict(), folder / "model")
        write_state(folder, "optimizer", by_name(self.optimizer.state_dict(), self.names))
        write_state(folder, "scheduler", self.scheduler.state_dict())

    def load(self, folder: Path) -> None:
        self.model.load_state_dict(torch.load(folder / "model", weights_only=True))
        self.optimizer.load_state_dict(by_number(read_state(folder, "optimizer", "state"), self.names))
        self.scheduler.load_state_dict(read_state(folder, "scheduler", "state"))

    def everything(self) -> list[Tensor]:
        states = [value for state in self.optimizer.state.values() for value in state.values()]
        return [*self.model.parameters(), *(torch.as_tensor(value) for value in states if value is not None)]


def resumed_equals_straight(folder: Path, **settings: Any) -> None:
    straight, first, second = Trained(**settings), Trained(**settings), Trained(**settings)
    straight.steps(0, 9)
    first.steps(0, 4)
    first.save(folder)
    second.load(folder)
    second.steps(4, 9)
    pairs = zip(straight.everything(), second.everything(), strict=True)
    assert all(torch.equal(left, right) for left, right in pairs)
    assert straight.scheduler.state_dict() == second.scheduler.state_dict()
    assert straight.optimizer.param_groups[0]["lr"] == second.optimizer.param_groups[0]["lr"]


@pytest.mark.parametrize("optimizer", OPTIMIZERS)
def test_optimizers_go_on_exactly(tmp_path: Path, optimizer: str) -> None:
    resumed_equals_straight(tmp_path, optimizer=optimizer, schedule="linear")


@pytest.mark.parametrize("schedule", SCHEDULES)
def test_schedules_go_on_exactly(tmp_path: Path, schedule: str) -> None:
    resumed_equals_straight(tmp_path, optimizer="adamw", schedule=schedule)


def test_half_precision_goes_on_exactly(tmp_path: Path) -> None:
    resumed_equals_straight(tmp_path, optimizer="adamw", dtype=torch.bfloat16)


def test_the_files_name_parameters(tmp_path: Path) -> None:
    trained = Trained("adamw")
    trained.steps(0, 1)
    trained.save(tmp_path)
    data = json.loads((tmp_path / "optimizer.json").read_text("utf-8"))
    assert [group["params"] for group in data["param_groups"]] == [["b.weight", "late.weight"], ["a.bias", "a.weight"]]
    assert data["state"]["a.weight"]["exp_avg"] == {"$tensor": "state/a.weight/exp_avg"}
    assert json.loads((tmp_path / "scheduler.json").read_text("utf-8"))["last_epoch"] == 1


def test_the_order_of_parameters_does_not_matter(tmp_path: Path) -> None:
    """By name, not by number: the second optimizer counts its parameters the other way round."""
    first, second = Trained("adamw"), Trained("adamw")
    first.steps(0, 4)
    first.save(tmp_path)
    for group in second.optimizer.param_groups:
        group["params"].reverse()
    second.load(tmp_path)
    for name, parameter in first.model.named_parameters():
        if parameter in first.optimizer.state:
            other = second.model.get_parameter(name)
            left, right = first.optimizer.state[parameter], second.optimizer.state[other]
            assert torch.equal(left["exp_avg"], right["exp_avg"])


def test_other_parameters_are_refused(tmp_path: Path) -> None:
    first, second = Trained("adamw"), Trained("adamw")
    first.save(tmp_path)
    second.optimizer.param_groups[0]["params"].pop()
    with pytest.raises(CheckpointError, match=r"for other parameters \(differing: late.weight\)"):
        second.load(tmp_path)


def test_a_parameter_without_a_name_gets_a_number() -> None:
    weights = [nn.Parameter(torch.zeros(1)), nn.Parameter(torch.zeros(1))]
    groups = torch.optim.SGD([{"params": weights[:1]}, {"params": weights[1:]}], lr=1.0).param_groups
    assert group_names(groups, [("known", weights[0])]) == [["known"], ["parameter 1"]]


def test_gradient_scaler_comes_back(tmp_path: Path) -> None:
    state = {"scale": 65536.0, "growth_factor": 2.0, "backoff_factor": 0.5, "growth_interval": 2000}
    state |= {"_growth_tracker": 3}
    write_state(tmp_path, "scaler", state)
    assert read_state(tmp_path, "scaler", "scaler") == state


def test_random_generators_go_on_exactly(tmp_path: Path) -> None:
    def draw() -> list[float]:
        normal = [random.gauss(0, 1), np.random.standard_normal(), torch.randn(()).item()]
        return [*normal, random.random(), np.random.rand(), torch.rand(()).item()]

    cpu = torch.device("cpu")
    draw()  # half of a pair of normal numbers is in store now
    write_state(tmp_path, "random_state_0", collect_states(cpu))
    expected = draw() + draw()
    restore_states(read_state(tmp_path, "random_state_0", "random state"), cpu)
    assert draw() + draw() == expected
