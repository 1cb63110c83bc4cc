"""`llamafactory-ext lab ppo`: does TL-Training's PPO teach the tiny model anything? Curves of several seeds.

Supervised training ends on calls most of which are mistaken; `stage: tl_ppo` goes on from there with
`examples/yaml/tl_ppo_tiny.yaml`. Both are `llamafactory-cli train`. Before, during and after, all held-out requests
for seen tools are answered greedily; none of them, nor their key, is in any training data. What an earlier command
finished is not done again, and an interrupted run goes on.
"""

from __future__ import annotations

import math
import os
import subprocess
import sys
import time
from collections.abc import Mapping, Sequence
from dataclasses import asdict, dataclass
from pathlib import Path
from random import Random
from typing import IO, Any

from ..checkpoint.atomic import read_json
from ..checkpoint.own import claim, claim_plain, own_file, own_json
from ..errors import CheckpointError, DataError, UpstreamError
from ..toolcalls import ToolCall, parse_calls, render_calls
from . import world
from .datasets import record
from .methods import PACKAGE_ROOT, SHIPPED_MODEL
from .place import held
from .trajectories import mistaken

QUERIES, QUERIES_SEED, HELD_OUT = 4000, 2, 400
FLAWED, FLAWED_SEED = 1500, 3
# First the tool data itself, then calls of which nine in ten are mistaken, as in data whose errors stay in the loss.
SFT_LEGS: tuple[dict[str, Any], ...] = (
    {},
    {"dataset": "flawed_calls", "num_train_epochs": 2, "learning_rate": 1e-3},
)
EVAL_EVERY = 10
_COLUMNS = {"prompt": "instruction", "query": "input", "response": "output"}


@dataclass(frozen=True)
class Curve:
    """What one seed's evaluations gave.

    Attributes:
        seed: of the run.
        steps: updates before each evaluation.
        reward: mean reward of the held-out requests.
        reward_se: its standard error.
        correct: share of them answered with exactly the right call.
        count: how many they are.
        seconds: of the training, evaluations included.
    """

    seed: int
    steps: Sequence[int]
    reward: Sequence[float]
    reward_se: Sequence[float]
    correct: Sequence[float]
    count: int
    seconds: float

    @classmethod
    def read(cls, folder: Path, seed: int, count: int) -> Curve:
        """Return the curve that a run's `trainer_state.json` holds.

        Raises:
            CheckpointError: the file is missing or damaged.
        """
        path = folder / "trainer_state.json"
        try:
            return cls._of(read_json(path, "training log")["log_history"], seed, count)
        except (KeyError, TypeError, ValueError, AttributeError, OverflowError, StopIteration, IndexError) as error:
            raise CheckpointError(
                f"{path} holds no curve of `lab ppo` ({type(error).__name__}: {error}); remove {folder}, and run the "
                "command again."
            ) from None

    @classmethod
    def _of(cls, history: Any, seed: int, count: int) -> Curve:
        points = {int(entry["step"]): entry for entry in history if "eval_reward" in entry}
        seconds = next(entry["train_runtime"] for entry in history if "train_runtime" in entry)
        names = ("eval_reward", "eval_reward_se", "eval_part_correct")
        values = {name: [float(points[step][name]) for step in sorted(points)] for name in names}
        if not points or not all(map(math.isfinite, [seconds, *(one for some in values.values() for one in some)])):
            raise ValueError("no evaluation, or a figure that is no number")
        if not all(0 <= share <= 1 for share in values["eval_part_correct"]):
            raise ValueError("a share beyond 0 to 1")
        reward, errors, correct = values.values()
        return cls(seed, sorted(points), reward, errors, correct, count, float(seconds))

    @property
    def correct_se(self) -> list[float]:
        """Binomial standard errors of `correct`."""
        return [math.sqrt(share * (1 - share) / self.count) for share in self.correct]

    def gains(self) -> dict[str, float]:
        """Return how far reward and accuracy have risen, also in standard errors of the difference of two samples."""
        reward, correct = (values[-1] - values[0] for values in (self.reward, self.correct))
        errors = (math.hypot(values[0], values[-1]) for values in (self.reward_se, self.correct_se))
        reward_error, correct_error = errors
        return {
            "reward": round(reward, 4),
            "reward_in_standard_errors": round(reward / reward_error, 2) if reward_error else math.inf,
            "correct": round(correct, 4),
            "correct_in_standard_errors": round(correct / correct_error, 2) if correct_error else math.inf,
        }

    def to_dict(self) -> dict[str, Any]:
        """Return the curve as plain JSON values."""
        return {
            "seed": self.seed,
            "train_seconds": round(self.seconds, 1),
            "steps": list(self.steps),
            "reward": [round(value, 4) for value in self.reward],
            "reward_standard_error": [round(value, 4) for value in self.reward_se],
            "correct": [round(value, 4) for value in self.correct],
            "correct_standard_error": [round(value, 4) for value in self.correct_se],
            "gains": self.gains(),
        }


def learn(
    out: Path, seeds: int = 3, sft: Path | None = None, root: Path = PACKAGE_ROOT, overrides: Mapping[str, Any] = {}
) -> list[Curve]:
    """Train, and write ``ppo.json`` and ``ppo.png`` into `out`.

    Args:
        out: folder for data, models and results.
        seeds: how many runs of PPO.
        sft: a model to start from; None trains one.
        root: the repository, whose examples/ and data/ are used.
        overrides: options of the PPO runs that differ from the YAML file's.
    """
    missing = [
        name for name in ("full_tiny.yaml", "tl_ppo_tiny.yaml") if not (root / "examples/yaml" / name).is_file()
    ]
    if missing:
        raise DataError(f"lab ppo needs examples/yaml/{', '.join(missing)}; run it from a clone of the repository.")
    out = out.resolve()
    claim_plain(out)
    claim([out / "ppo.json", out / "ppo.png"], inputs=[sft] if sft else [])
    legs = [f"sft-{number}" for number in range(1, 1 + len(SFT_LEGS))] if sft is None else []
    names = [*legs, *(f"seed-{seed}" for seed in range(1, seeds + 1))]
    with held(out, [f"{name}{end}" for name in names for end in ("", ".log")]):
        data = write_queries(out / "data")
        start = sft.resolve() if sft else _supervised(out, data, root)
        curves = []
        for seed in range(1, seeds + 1):
            folder = out / f"seed-{seed}"
            if not (folder / "train_results.json").is_file():
                _train(root, "tl_ppo_tiny.yaml", folder, {**ppo_options(start, data, seed), **overrides})
            curves.append(Curve.read(folder, seed, HELD_OUT))
    own_json(out / "ppo.json", {"sft": [dict(leg) for leg in SFT_LEGS], "runs": [one.to_dict() for one in curves]})
    with own_file(out / "ppo.png") as staged, staged.open("wb") as picture:
        draw_curves(curves, picture)
    return curves


def ppo_options(start: Path, data: Path, seed: int) -> dict[str, Any]:
    """Return what differs from `tl_ppo_tiny.yaml`: requests of one call, evaluation, seed, the lab's template."""
    return {
        "model_name_or_path": start,
        "template": "llama3",
        "dataset_dir": data,
        "dataset": "ppo_queries",
        "eval_dataset": "ppo_held_out",
        "eval_strategy": "steps",
        "eval_steps": EVAL_EVERY,
        "eval_on_start": "true",
        "max_steps": 20,
        "seed": seed,
        "plot_loss": "false",
    }


def write_queries(folder: Path) -> Path:
    """Return requests for PPO and the held-out ones as LLaMA-Factory data sets; always the same content."""
    sets = {
        "ppo_queries": world.tool_training(QUERIES, QUERIES_SEED),
        "ppo_held_out": world.held_out(HELD_OUT)["tool_seen"],
    }
    contents = {name: [record(example) for example in examples] for name, examples in sets.items()}
    contents["flawed_calls"] = flawed_calls()
    for name, content in contents.items():
        own_json(folder / f"{name}.json", content)
    info = {name: {"file_name": f"{name}.json", "columns": _COLUMNS} for name in contents}
    own_json(folder / "dataset_info.json", info)
    return folder


def flawed_calls() -> list[dict[str, str]]:
    """Return requests for tools, nine in ten answered by a mistaken call."""
    rng = Random(f"flawed/{FLAWED_SEED}")
    found = []
    for number, example in enumerate(world.tool_training(FLAWED, FLAWED_SEED)):
        flawed = record(example)
        if number % 10 < 9:
            words, _, _ = flawed["output"].partition("[")
            (call,) = parse_calls(flawed["output"], "api_bank")
            name, arguments = mistaken(call.name, {key: str(value) for key, value in call.arguments.items()}, rng)
            flawed["output"] = words + render_calls([ToolCall(name, arguments)], "api_bank")
        found.append(flawed)
    return found


def draw_curves(curves: Sequence[Curve], path: Path | IO[bytes]) -> None:
    """Return mean reward and share of right calls over the updates, a line per seed, with standard errors."""
    import matplotlib

    matplotlib.use("agg")
    from matplotlib import pyplot

    figure, panels = pyplot.subplots(1, 2, figsize=(10, 4), dpi=150)
    titles = ("mean reward", "exactly right calls, %")
    for panel, title in zip(panels, titles, strict=True):
        for curve in curves:
            scale = 100 if "%" in title else 1
            values, errors = (curve.correct, curve.correct_se) if scale == 100 else (curve.reward, curve.reward_se)
            panel.errorbar(
                curve.steps,
                [scale * value for value in values],
                yerr=[scale * error for error in errors],
                marker="o",
                capsize=3,
                label=f"seed {curve.seed}",
            )
        panel.set_xlabel("PPO updates")
        panel.set_title(f"{title}, {curves[0].count} held-out requests", fontsize=10)
        panel.grid(alpha=0.25)
        for side in ("top", "right"):
            panel.spines[side].set_visible(False)
    panels[0].legend(frameon=False)
    figure.savefig(path, bbox_inches="tight")
    pyplot.close(figure)


def _supervised(out: Path, data: Path, root: Path) -> Path:
    start = SHIPPED_MODEL
    for number, leg in enumerate(SFT_LEGS, 1):
        folder = out / f"sft-{number}"
        if not (folder / "train_results.json").is_file():
            where = {"dataset_dir": data} if "dataset" in leg else {}
            _train(root, "full_tiny.yaml", folder, {"model_name_or_path": start, **where, **leg})
        start = folder
    return start


@dataclass(frozen=True)
class Cost:
    """Seconds that a training took on the wall's clock and of the processor, its start included."""

    wall: float
    cpu: float


def run_training(root: Path, yaml: str, folder: Path, options: Mapping[str, Any]) -> Cost:
    """Run `llamafactory-cli train` on one core, with its output in a log beside the folder; once.

    Args:
        root: the repository.
        yaml: a file in its examples/yaml.
        folder: the run's.
        options: that differ from the file's; None drops one.

    Raises:
        UpstreamError: it fails; the message names the log.
        CheckpointError: what an earlier run left is damaged.
    """
    kept = folder.with_name(f"{folder.name}.cost.json")
    if kept.is_file():
        found = read_json(kept, "cost of an earlier run")
        try:
            return Cost(float(found["wall"]), float(found["cpu"]))
        except (KeyError, TypeError, ValueError, OverflowError) as error:
            raise CheckpointError(f"{kept} is no cost of a run ({error!r}); remove it to train anew.") from None
    began, before = time.monotonic(), os.times()
    _train(root, yaml, folder, options)
    after = os.times()
    cpu = after.children_user + after.children_system - before.children_user - before.children_system
    cost = Cost(round(time.monotonic() - began, 1), round(cpu, 1))
    own_json(kept, asdict(cost))
    return cost


def _train(root: Path, yaml: str, folder: Path, options: Mapping[str, Any]) -> None:
    """Run `llamafactory-cli train` on one core, with its output in a log beside the folder.

    Raises:
        UpstreamError: it fails; the message names the log.
    """
    log, began = folder.with_name(f"{folder.name}.log"), time.monotonic()
    program = str(Path(sys.executable).with_name("llamafactory-cli"))
    words = [
        f"~{name}" if value is None else f"{name}={value}" for name, value in {"output_dir": folder, **options}.items()
    ]
    environment = dict(os.environ, OMP_NUM_THREADS="1", HF_HUB_OFFLINE="1", CUDA_VISIBLE_DEVICES="")
    print(f"{folder.name}: training, see {log}", flush=True)
    with log.open("wb") as file:
        command = [program, "train", f"examples/yaml/{yaml}", *words]
        code = subprocess.run(command, cwd=root, env=environment, stdout=file, stderr=file, check=False).returncode
    if code != 0:
        raise UpstreamError(f"{folder.name} failed with exit code {code}; read {log}, then run the command again.")
    print(f"{folder.name}: done in {time.monotonic() - began:.0f} s", flush=True)
