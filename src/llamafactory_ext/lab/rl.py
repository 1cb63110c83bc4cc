"""`llamafactory-ext lab rl`: what acting in an environment teaches the tiny model, beside others in the same time.

Supervised training, at last on dialogues most of which end too early, gives the start. From it go on, each on the
tasks of `lab_chains`: `stage: tl_ppo` in the environment by `examples/yaml/tl/tl_rl_tiny.yaml`, the stage with one
turn at a time, supervised training on the right dialogues, and the environment with a critic. All are
`llamafactory-cli train`. Other tasks are played greedily from checkpoints. What an earlier command finished is not
done again.
"""

from __future__ import annotations

import math
from collections.abc import Iterator, Mapping, Sequence
from dataclasses import asdict, dataclass
from pathlib import Path
from random import Random
from typing import Any

from ..checkpoint.atomic import read_json
from ..checkpoint.own import claim, claim_plain, own_file, own_json
from ..errors import CheckpointError, DataError, OptionError
from .chains import chains
from .datasets import CHAINS, DATA_SEED, ENTRIES
from .methods import PACKAGE_ROOT, SHIPPED_MODEL
from .place import held
from .ppo import run_training
from .rl_picture import draw
from .trajectories import turn

HELD_OUT, HELD_OUT_SEED = 200, 2
STARTERS, STARTERS_SEED = 400, 3
EARLY = 7  # of ten dialogues that end too early
YAML, SFT_YAML = "tl/tl_rl_tiny.yaml", "tl_sft_tiny.yaml"
START_LEGS: tuple[Mapping[str, Any], ...] = (
    {"dataset": "rl_right", "num_train_epochs": 1},
    {"dataset": "rl_early", "num_train_epochs": 1},
)
_ONE_TURN = dict.fromkeys(("tl_environment", "tl_max_turns", "tl_episode_tokens", "tl_observation_tokens"))
_CRITIC = {"tl_advantage": "gae", "tl_group_size": None, "tl_clip_high": None, "tl_critic": "shared"}


@dataclass(frozen=True)
class Arm:
    """One way to go on from the start.

    Attributes:
        name: of its folders.
        label: for people.
        yaml: of its training.
        steps: updates; supervised and single turns take about as long as the environment's first point.
        points: checkpoints that are played, the last one included.
        options: that differ from the file's; None drops one.
    """

    name: str
    label: str
    yaml: str
    steps: int
    points: int
    options: Mapping[str, Any]


ARMS = (
    Arm("group", "in the environment, groups", YAML, 12, 2, {}),
    Arm("single", "one turn at a time, groups", YAML, 9, 1, _ONE_TURN),
    Arm("sft", "supervised, right dialogues", SFT_YAML, 150, 1, {"dataset": "lab_chains"}),
    Arm("gae", "in the environment, critic", YAML, 12, 1, _CRITIC),
)


@dataclass(frozen=True)
class Point:
    """What a checkpoint did with the held-out tasks.

    Attributes:
        step: updates before it.
        seconds: of one core that the training took up to there, its start included.
        success: share of tasks with all right calls and the right answer.
        reward: mean of the environment's.
        turns: mean of an episode's.
        count: tasks.
    """

    step: int
    seconds: float
    success: float
    reward: float
    turns: float
    count: int

    @property
    def error(self) -> float:
        """The binomial standard error of `success`."""
        return math.sqrt(self.success * (1 - self.success) / self.count)

    def gain(self, start: Point) -> float:
        """Return how far success has risen, in standard errors of the difference of two samples."""
        error = math.hypot(self.error, start.error)
        return (self.success - start.success) / error if error else math.inf


@dataclass(frozen=True)
class Curve:
    """One run: its way, its seed, its points with the start as the first, and its seconds on the wall's clock."""

    arm: str
    label: str
    seed: int
    points: tuple[Point, ...]
    wall: float

    def to_dict(self) -> dict[str, Any]:
        """Return plain JSON values, with standard errors and the gain."""
        points = [{**asdict(point), "standard_error": round(point.error, 4)} for point in self.points]
        gain = round(self.points[-1].gain(self.points[0]), 2)
        return {
            "arm": self.arm,
            "label": self.label,
            "seed": self.seed,
            "wall_seconds": self.wall,
            "gain_in_standard_errors": gain,
            "points": points,
        }


def learn(out: Path, seeds: int = 3, arms: Sequence[str] = (), root: Path = PACKAGE_ROOT) -> list[Curve]:
    """Train and play, and write ``rl.json`` and ``rl.png`` into `out` after each run.

    Args:
        out: folder for data, models and results.
        seeds: how many runs of each way.
        arms: names of the ways; none are all.
        root: the repository, whose examples/ and data/ are used.
    """
    chosen = [arm for arm in ARMS if not arms or arm.name in arms]
    if unknown := sorted(set(arms) - {arm.name for arm in ARMS}):
        known = ", ".join(arm.name for arm in ARMS)
        raise OptionError(f"lab rl knows no --arms {', '.join(unknown)}; take from {known}.")
    if missing := [name for name in (YAML, SFT_YAML) if not (root / "examples/yaml" / name).is_file()]:
        raise DataError(f"lab rl needs examples/yaml/{', '.join(missing)}; run it from a clone of the repository.")
    out = out.resolve()
    claim_plain(out)
    claim([out / "rl.json", out / "rl.png"])
    names = [*(f"start-{number}" for number in range(1, 1 + len(START_LEGS))), "start-played"]
    names += [f"{arm.name}-{seed}" for seed in range(1, seeds + 1) for arm in chosen]
    with held(out, [f"{name}{end}" for name in names for end in ("", ".log")]):
        return _curves(out, seeds, chosen, root)


def _curves(out: Path, seeds: int, arms: Sequence[Arm], root: Path) -> list[Curve]:
    """Train the start, then all ways with each seed; the results are written after each."""
    data = write_tasks(out / "data")
    start = SHIPPED_MODEL
    for number, leg in enumerate(START_LEGS, 1):
        run_training(root, SFT_YAML, out / f"start-{number}", _begins(start, data) | dict(leg))
        start = out / f"start-{number}"
    first = _played(root, data, start, out / "start-played", 0, 0.0)
    curves: list[Curve] = []
    for seed in range(1, seeds + 1):
        for arm in arms:
            curves.append(_curve(root, data, start, out, arm, seed, first))
            own_json(out / "rl.json", {"flawed_of_ten": EARLY, "runs": [curve.to_dict() for curve in curves]})
            with own_file(out / "rl.png") as staged, staged.open("wb") as picture:
                draw(curves, picture)
    return curves


def write_tasks(folder: Path) -> Path:
    """Return the data sets as LLaMA-Factory's; always the same content, no task in two of them."""
    tasks = chains(CHAINS, DATA_SEED)
    seen = {_asked(record) for record in tasks}
    sets = {"lab_chains": tasks}
    for name, count, seed in (("rl_held_out", HELD_OUT, HELD_OUT_SEED), ("rl_right", STARTERS, STARTERS_SEED)):
        sets[name] = list(_others(count, seed, seen))
        seen |= {_asked(record) for record in sets[name]}
    sets["rl_early"] = list(ended_early(sets["rl_right"]))
    for name, records in sets.items():
        own_json(folder / f"{name}.json", records)
    entry = ENTRIES["lab_chains"]
    own_json(folder / "dataset_info.json", {name: {**entry, "file_name": f"{name}.json"} for name in sets})
    return folder


def ended_early(records: Sequence[Mapping[str, Any]]) -> Iterator[dict[str, Any]]:
    """Yield dialogues, most of them with an invented answer in the place of what follows the first output."""
    rng = Random(f"early/{STARTERS_SEED}")
    for number, record in enumerate(records):
        turns = record["conversations"]
        if number % 10 < EARLY:
            turns = [*turns[:3], turn("gpt", f"Done. The number is {rng.choice('ABCD')}{rng.randint(10, 99)}.")]
        yield {**record, "conversations": turns}


def _others(count: int, seed: int, seen: set[str]) -> Iterator[dict[str, Any]]:
    fresh = (record for record in chains(2 * count, seed) if _asked(record) not in seen)
    for _, record in zip(range(count), fresh, strict=False):
        yield record


def _asked(record: Mapping[str, Any]) -> str:
    return str(record["conversations"][0]["value"])


def _begins(start: Path, data: Path) -> dict[str, Any]:
    return {"model_name_or_path": start, "dataset_dir": data, "plot_loss": "false"}


def _curve(root: Path, data: Path, start: Path, out: Path, arm: Arm, seed: int, first: Point) -> Curve:
    """Train one way with one seed, and play its checkpoints."""
    folder, each = out / f"{arm.name}-{seed}", arm.steps // arm.points
    alone = {"do_eval": "false", "val_size": None} if arm.yaml == YAML else {}
    options = _begins(start, data) | alone
    options |= {"max_steps": arm.steps, "seed": seed, "save_strategy": "steps", "save_steps": each}
    cost = run_training(root, arm.yaml, folder, options | dict(arm.options))
    points = [first]
    for step in range(each, arm.steps + 1, each):
        played = folder / f"played-{step}"
        seconds = round(cost.cpu * step / arm.steps, 1)
        points.append(_played(root, data, folder / f"checkpoint-{step}", played, step, seconds))
    return Curve(arm.name, arm.label, seed, tuple(points), cost.wall)


def _played(root: Path, data: Path, model: Path, folder: Path, step: int, seconds: float) -> Point:
    """Play the held-out tasks greedily.

    Raises:
        CheckpointError: the result of an earlier evaluation is missing or damaged.
    """
    options = {"do_train": "false", "dataset": None, "val_size": None, "eval_dataset": "rl_held_out"}
    run_training(root, YAML, folder, _begins(model, data) | options)
    path = folder / "eval_results.json"
    try:
        found = read_json(path, "result of an evaluation")
        success, reward, turns = (round(float(found[f"eval_{name}"]), 4) for name in ("success", "reward", "turns"))
    except (KeyError, TypeError, ValueError, OverflowError) as error:
        raise CheckpointError(
            f"{path} is no evaluation ({error!r}); remove {folder.name}.cost.json beside it."
        ) from None
    return Point(step, seconds, success, reward, turns, HELD_OUT)
