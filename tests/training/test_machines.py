"""Runs on two machines, simulated by processes with folders of their own: killed, frozen, resumed, refused.

A sample of the deaths runs each time, all of them with ALL_TESTS=1.
"""

from __future__ import annotations

import json
import signal
import sys
from dataclasses import dataclass
from pathlib import Path
from typing import Any

import pytest
import torch

import tiny
from checkpoint.resume_cases import METHODS, Model, outcome
from ppo_runs import write_ppo_data
from processes import run
from runs import differing
from sampling import sample
from tl.trajectories import records, write_data

DRIVER = Path(__file__).with_name("nodes_driver.py")
MODEL = Model(tied=True, biased=False, dtype=torch.float32)
RESULTS = ("model.safetensors", "critic.safetensors", "optimizer.safetensors")
KILLED, STOPPED = int(signal.SIGKILL), int(signal.SIGSTOP)


@dataclass(frozen=True)
class Death:
    """A machine that dies once.

    Attributes:
        method: of `METHODS`.
        moment: as `nodes_driver.At` has it.
        rank: of its process.
        shared: whether the machines share a disk.
    """

    method: str
    moment: str
    rank: int
    shared: bool

    @property
    def name(self) -> str:
        disks = "shared" if self.shared else "separate"
        return f"{self.method}-{self.moment.replace(':', '.')}-{self.rank}-{disks}"

    @property
    def folders(self) -> list[str]:
        return [self.name] * 2 if self.shared else [f"{self.name}-a", f"{self.name}-b"]

    @property
    def changes(self) -> dict[str, Any]:
        return {} if self.shared else {"save_on_each_node": True}


def deaths(method: str, *moments: str) -> list[Death]:
    """Each machine at each moment on each kind of disk."""
    return [
        Death(method, moment if rank == 0 or moment != "mark" else "states", rank, shared)
        for moment in moments
        for rank in (0, 1)
        for shared in (True, False)
    ]


DEATHS = [
    Death("citi", "importance", 0, shared=False),
    *sample(deaths("citi", "importance", "rp:2", "mi:3", "mark", "uco:3"), 1, seed=3),
    *sample(deaths("tl_sft-lora", "3", "mark"), 1, seed=1),
    *sample(deaths("tl_ppo-full", "3", "mark"), 1, seed=2),
    *sample(deaths("tl_ppo-lora-own", "3", "mark") + deaths("tl_sft-full", "3", "mark"), 0),
]
REFUSED = {
    "separate": ({"folders": ["x", "y"]}, "Name a folder on a disk that all machines share, or set save_on_each_node"),
    "other": (
        {"own": {"1": {"per_device_train_batch_size": 1}}},
        "per_device_train_batch_size: 2 for process 0 on ",
    ),
    "data": ({"own": {"1": {"dataset_dir": "../other"}}}, "training data (hash): "),
    "stream": (
        {"own": {"1": {"dataset_dir": "../other"}}, "changes": {"streaming": True}},
        "training data (hash): ",
    ),
    "queries": ({"own": {"1": {"dataset_dir": "../other_ppo"}}, "method": "tl_ppo-lora"}, "training data (hash): "),
    "base": ({"own": {"1": {"model_name_or_path": "../other_model"}}}, "base model (hash): "),
    "elastic": (
        {"variables": {"RDZV_ID": "run", "MIN_NNODES": "1", "MAX_NNODES": "2"}},
        "MIN_NNODES=1 and MAX_NNODES=2: a run goes on exactly with as many processes",
    ),
}


@dataclass(frozen=True)
class Field:
    """All runs, by name."""

    folder: Path

    def codes(self, name: str) -> list[int | None]:
        found: list[int | None] = json.loads((self.folder / f"{name}.json").read_text("utf-8"))
        return found

    def said(self, name: str, rank: int) -> str:
        return (self.folder / f"{name}-{rank}.log").read_text("utf-8")

    def outcome(self, name: str) -> Any:
        return {
            key: value
            for key, value in outcome(self.folder / name / "out").items()
            if key.split(":")[0].endswith(RESULTS)
        }


def methods() -> list[str]:
    return list(dict.fromkeys(death.method for death in DEATHS))


@pytest.fixture(scope="module")
def field(tmp_path_factory: pytest.TempPathFactory) -> Field:
    folder = tmp_path_factory.mktemp("machines")
    model = MODEL.save(folder / "model")
    tiny.save_tiny_model(folder / "other_model", seed=1, tie_word_embeddings=True)
    write_ppo_data(folder / "other_ppo", 15)
    write_data(folder / "other", records(11))
    jobs: list[dict[str, Any]] = []

    def add(name: str, method: str, folders: list[str], changes: dict[str, Any] | None = None, **more: Any) -> None:
        make, own = METHODS[method]
        options = make(model, folder / "data", Path("out"), **own) | {"per_device_train_batch_size": 2}
        for each in folders:
            (folder / each).mkdir(exist_ok=True)
        places = [str(folder / each) for each in folders]
        jobs.append({"name": name, "options": options | (changes or {}), "folders": places, **more})

    for method in methods():
        # On a disk that all see, save_on_each_node must change nothing.
        add(method, method, [method] * 2, {"save_on_each_node": True})
    for death in DEATHS:
        add(death.name, death.method, death.folders, death.changes, at={str(death.rank): [death.moment, KILLED]})
        if death.method == "tl_sft-lora":
            for count, batch in ((1, 2), (1, 4), (3, 2)):
                folders = [death.folders[0]] * count
                add(f"as-{count}-{batch}", death.method, folders, {"per_device_train_batch_size": batch})
        add(f"{death.name}-again", death.method, death.folders, death.changes)
    for name, (more, _) in REFUSED.items():
        add(name, **({"method": "tl_sft-full", "folders": [name] * 2} | more))
    add("frozen", "tl_sft-full", ["frozen"] * 2, {"ddp_timeout": 16}, at={"1": ["2", STOPPED]})
    (folder / "jobs.json").write_text(json.dumps(jobs), encoding="utf-8")
    command = [sys.executable, str(DRIVER), str(folder)]
    result = run(command, folder, limit=3600, JE_ARROW_MALLOC_CONF="background_thread:false")
    assert result.returncode == 0, result.stdout[-2000:] + result.stderr[-3000:]
    return Field(folder)


@pytest.mark.parametrize("method", methods())
def test_one_process_speaks(field: Field, method: str) -> None:
    assert field.codes(method) == [0, 0], field.said(method, 0)[-3000:]
    assert field.said(method, 1) == ""
    assert "save_on_each_node has no effect" in field.said(method, 0)
    assert not list((field.folder / method).rglob("*.tmp"))


@pytest.mark.parametrize("death", DEATHS, ids=lambda death: death.name)
def test_a_repeated_command_ends_with_the_same_bits(field: Field, death: Death) -> None:
    codes = field.codes(death.name)
    assert codes[death.rank] == -KILLED, field.said(death.name, death.rank)[-3000:]
    other = 1 - death.rank
    assert codes[other] == 1
    said = field.said(death.name, other)
    assert "Traceback" not in said
    assert said.count("Another process of this run has ended") == 1
    assert "repeat the command" in said
    again = f"{death.name}-again"
    assert field.codes(again) == [0, 0], field.said(again, 0)[-2000:] + field.said(again, 1)[-2000:]
    expected = field.outcome(death.method)
    assert len(expected) > 10
    for place in death.folders:
        found = field.outcome(place)
        assert differing(found, {name: expected[name] for name in found}) == set()
        assert {name for name in expected if "checkpoint-2" not in name} <= found.keys()


def test_importance_of_a_run_on_separate_disks_is_that_of_one(field: Field) -> None:
    death = DEATHS[0]
    read = [
        json.loads((field.folder / place / "out" / "importance.json").read_text())
        for place in ("citi", *death.folders)
    ]
    assert read[0] == read[1] == read[2]
    assert all(task["tokens"] > 0 for task in read[0]["tasks"].values())


def test_another_division_of_the_data_is_refused_in_one_line(field: Field) -> None:
    for name, count, about in (
        ("as-1-2", 1, "processes: 2"),
        ("as-1-4", 1, "processes: 2, per_device"),
        ("as-3-2", 3, "processes: 2"),
    ):
        assert field.codes(name) == [1] * count
        said = field.said(name, 0)
        assert "Traceback" not in said
        assert f"checkpoint-2 was saved with {about}" in said


@pytest.mark.parametrize("name", REFUSED)
def test_what_cannot_work_is_refused_before_training(field: Field, name: str) -> None:
    assert field.codes(name) == [1, 1]
    for rank in (0, 1):
        said = field.said(name, rank)
        assert "Traceback" not in said
        assert REFUSED[name][1] in said
    # The base is compared once it is loaded, after what is said of the data.
    reports = {"data_report.json", "tl_report.json"} if name == "base" else set()
    assert {path.name for path in field.folder.glob(f"{name}/out/*")} == reports


def test_a_frozen_machine_is_named_and_waited_for_no_longer_than_ddp_timeout(field: Field) -> None:
    assert field.codes("frozen") == [1, None]
    said = field.said("frozen", 0)
    assert "Traceback" not in said
    assert said.count("Process 1 on ") == said.count("has given no sign of life for ") == 1
    assert "has not answered for 16 s (ddp_timeout)" in said
