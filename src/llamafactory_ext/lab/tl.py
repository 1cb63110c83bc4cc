"""`llamafactory-ext lab tl`: the ablation of TL-Training in miniature (arXiv:2412.15495, Table 5), eight rows.

Supervised training with and without MAE and PKT on trajectories most of which begin with a mistaken call, then PPO
(IRM) from each. Settings are those of `tl_sft_tiny.yaml` and `tl_ppo_tiny.yaml`. All rows answer the same held-out
requests greedily. A finished pair of trainings is kept with a hash of what it was made from, and not run again.
"""

from __future__ import annotations

import hashlib
import json
import math
import statistics
from collections.abc import Mapping, Sequence
from dataclasses import asdict, dataclass
from pathlib import Path
from typing import Any

from ..checkpoint.atomic import read_json
from ..checkpoint.own import as_json, claim, claim_plain, own_file, own_json, own_text
from ..errors import CheckpointError, DataError
from .datasets import DATA_SEED, ENTRIES, TRAJECTORIES
from .methods import PACKAGE_ROOT, SHIPPED_MODEL
from .place import held
from .ppo import Curve, run_training
from .table_files import claim_table
from .tl_page import draw
from .trajectories import trajectories

SFT_YAML, PPO_YAML = "tl_sft_tiny.yaml", "tl_ppo_tiny.yaml"
FLAWED, FLAWED_SHARE = 300, 0.9
REQUESTS, REQUESTS_SEED = 1000, 5
HELD_OUT, HELD_OUT_SEED = 400, 6
PPO_STEPS = 20
FILES, SETS = ("tl.json", "tl.png"), ("tl_flawed", "tl_requests", "tl_held_out", "lab_trajectories")


@dataclass(frozen=True)
class Variant:
    """One way to train the first stage.

    Attributes:
        row: its name in Table 5.
        further: the name of the row that goes on from it by PPO.
        label: for people.
        mae: whether erroneous calls leave the loss.
        pkt: whether key tokens weigh more.
    """

    row: str
    further: str
    label: str
    mae: bool
    pkt: bool


VARIANTS = (
    Variant("none", "irm", "plain", mae=False, pkt=False),
    Variant("mae", "mae_irm", "MAE", mae=True, pkt=False),
    Variant("pkt", "pkt_irm", "PKT", mae=False, pkt=True),
    Variant("mae_pkt", "all", "MAE + PKT", mae=True, pkt=True),
)
PARTS = ("mae", "pkt", "irm")
MEASURES = ("reward", "correct")


@dataclass(frozen=True)
class Pair:
    """Both trainings of a variant with one seed.

    Attributes:
        variant: name of the first stage's row.
        seed: of both.
        made_from: hash of files, data, base and options.
        reward: mean of the held-out requests, before and after PPO.
        correct: share of exactly right calls, before and after.
        seconds: of one core, of each training with its start.
    """

    variant: str
    seed: int
    made_from: str
    reward: tuple[float, float]
    correct: tuple[float, float]
    seconds: tuple[float, float]

    @classmethod
    def read(cls, found: Any, path: Path) -> Pair:
        """Return a pair that an earlier command kept.

        Raises:
            CheckpointError: it is something else.
        """
        try:
            values = {name: (float(found[name][0]), float(found[name][1])) for name in (*MEASURES, "seconds")}
            if not all(math.isfinite(value) for pair in values.values() for value in pair):
                raise ValueError("a figure that is no number")
            return cls(str(found["variant"]), int(found["seed"]), str(found["made_from"]), **values)
        except (KeyError, TypeError, ValueError, IndexError, OverflowError) as error:
            raise CheckpointError(f"{path} holds no table of `lab tl` ({error!r}); move it away.") from None


def learn(out: Path, seeds: int = 3, root: Path = PACKAGE_ROOT, overrides: Mapping[str, Any] = {}) -> dict[str, Any]:
    """Train what is not there yet, and write ``tl.json`` and ``tl.png`` into `out` after each pair.

    Args:
        out: folder for data, models and results.
        seeds: how many runs of each row.
        root: the repository, whose examples/, data/ and docs/tl.json are used.
        overrides: options of all trainings that differ from the files'.
    """
    if missing := [name for name in (SFT_YAML, PPO_YAML) if not (root / "examples/yaml" / name).is_file()]:
        raise DataError(f"lab tl needs examples/yaml/{', '.join(missing)}; run it from a clone of the repository.")
    out = out.resolve()
    claim_plain(out)
    claim([out / "data" / f"{name}.json" for name in (*SETS, "dataset_info")])
    known = claim_table(out, FILES, ("rows", "effects"))
    kept = _kept([out / FILES[0], root / "docs" / FILES[0]])
    wanted = [(variant, seed) for seed in range(1, seeds + 1) for variant in VARIANTS]
    names = [f"{row}-{seed}" for variant, seed in wanted for row in (variant.row, variant.further)]
    found: dict[str, Any] = {}
    with held(out, [f"{name}{end}" for name in names for end in ("", ".log")]):
        data = write_data(out / "data")
        pairs: list[Pair] = []
        for variant, seed in wanted:
            made_from = _fingerprint(variant, seed, root, data, overrides)
            pair = kept.get((variant.row, seed, made_from))
            pairs.append(pair or _trained(variant, seed, made_from, out, root, data, overrides))
            found = summary(pairs, seeds)
            own_text(out / FILES[0], as_json(found), known)
            with own_file(out / FILES[1], known) as staged, staged.open("wb") as picture:
                draw(found, picture)
    return found


def write_data(folder: Path) -> Path:
    """Write flawed trajectories, requests for PPO, held-out requests and lab_trajectories as data sets.

    The folder is returned. No request is in two of them, but for those of lab_trajectories that the flawed ones share.
    """
    flawed = trajectories(FLAWED, DATA_SEED, FLAWED_SHARE, mistakes_only=True)
    shipped = trajectories(TRAJECTORIES, DATA_SEED)
    requests = _others(REQUESTS, REQUESTS_SEED, flawed + shipped)
    held_out = _others(HELD_OUT, HELD_OUT_SEED, flawed + shipped + requests)
    sets = dict(zip(SETS, (flawed, requests, held_out, shipped), strict=True))
    for name, records in sets.items():
        own_json(folder / f"{name}.json", records)
    entry = ENTRIES["lab_trajectories"]
    own_json(folder / "dataset_info.json", {name: {**entry, "file_name": f"{name}.json"} for name in sets})
    return folder


def _others(count: int, seed: int, than: Sequence[Mapping[str, Any]]) -> list[dict[str, Any]]:
    """Return trajectories without errors, none with a request of the others."""
    seen = {_asked(record) for record in than}
    fresh = [record for record in trajectories(2 * count, seed, 0.0) if _asked(record) not in seen]
    return fresh[:count]


def _asked(record: Mapping[str, Any]) -> str:
    return str(record["conversations"][0]["value"])


def sft_options(variant: Variant, seed: int, data: Path) -> dict[str, Any]:
    """Return the first stage's options that differ from its file."""
    words = {"tl_use_mae": str(variant.mae).lower(), "tl_use_pkt": str(variant.pkt).lower()}
    return {"dataset_dir": data, "dataset": "tl_flawed", "seed": seed, "plot_loss": "false", **words}


def ppo_options(start: Path, seed: int, data: Path) -> dict[str, Any]:
    """Return the second stage's options that differ from its file."""
    return {
        "model_name_or_path": start,
        "dataset_dir": data,
        "dataset": "tl_requests",
        "eval_dataset": "tl_held_out",
        "eval_strategy": "steps",
        "eval_steps": PPO_STEPS,
        "eval_on_start": "true",
        "max_steps": PPO_STEPS,
        "seed": seed,
        "plot_loss": "false",
    }


def _trained(
    variant: Variant, seed: int, made_from: str, out: Path, root: Path, data: Path, overrides: Mapping[str, Any]
) -> Pair:
    first, second = out / f"{variant.row}-{seed}", out / f"{variant.further}-{seed}"
    began = run_training(root, SFT_YAML, first, {**sft_options(variant, seed, data), **overrides})
    went_on = run_training(root, PPO_YAML, second, {**ppo_options(first, seed, data), **overrides})
    curve = Curve.read(second, seed, HELD_OUT)
    reward, correct = ((values[0], values[-1]) for values in (curve.reward, curve.correct))
    return Pair(variant.row, seed, made_from, reward, correct, (began.cpu, went_on.cpu))


def _fingerprint(variant: Variant, seed: int, root: Path, data: Path, overrides: Mapping[str, Any]) -> str:
    """Return a hash of all that decides a pair: files, data sets, base, options."""
    here = Path("data")
    options = [sft_options(variant, seed, here), ppo_options(Path(variant.row), seed, here), dict(overrides)]
    digest = hashlib.sha256(json.dumps(options, default=str, sort_keys=True).encode())
    used = [root / "examples/yaml" / name for name in (SFT_YAML, PPO_YAML)]
    used += [SHIPPED_MODEL / "model.safetensors", *sorted(data.glob("*.json"))]
    for path in used:
        digest.update(path.read_bytes())
    return digest.hexdigest()[:16]


def _kept(files: Sequence[Path]) -> dict[tuple[str, int, str], Pair]:
    """Return the pairs of earlier commands by variant, seed and hash."""
    found = {}
    for path in files:
        if not path.is_file():
            continue
        read = read_json(path, "table of an earlier command")
        runs = read.get("runs") if isinstance(read, dict) else None
        for one in runs if isinstance(runs, list) else [None]:
            pair = Pair.read(one, path)
            found[pair.variant, pair.seed, pair.made_from] = pair
    return found


def summary(pairs: Sequence[Pair], seeds: int) -> dict[str, Any]:
    """Return the content of tl.json: eight rows, what each part does, and the pairs themselves.

    Args:
        pairs: that are there.
        seeds: that each row should have.
    """
    rows = []
    for variant in VARIANTS:
        mine = [pair for pair in pairs if pair.variant == variant.row]
        for place, (name, label) in enumerate(((variant.row, ""), (variant.further, ", then IRM"))):
            if mine:
                rows.append(_row(name, variant.label + label, mine, place))
    counts = {variant.row: sum(pair.variant == variant.row for pair in pairs) for variant in VARIANTS}
    return {
        "data": {"trajectories": FLAWED, "begin_with_a_mistake": FLAWED_SHARE, "held_out": HELD_OUT},
        "unit": "reward of section 3.3; per cent of exactly right calls; se over the seeds, with one over the items",
        "rows": rows,
        "missing": {name: seeds - count for name, count in counts.items() if count < seeds},
        "effects": {part: _effect(part, pairs) for part in PARTS},
        "runs": [asdict(pair) for pair in pairs],
    }


def _row(name: str, label: str, mine: Sequence[Pair], place: int) -> dict[str, Any]:
    return {
        "name": name,
        "label": label,
        "seeds": [pair.seed for pair in mine],
        "reward": _figure([pair.reward[place] for pair in mine], 3),
        "correct": _figure([100 * pair.correct[place] for pair in mine], 2, of=HELD_OUT),
        "seconds": round(statistics.fmean(pair.seconds[place] for pair in mine), 1),
    }


def _figure(values: Sequence[float], digits: int, of: int = 0) -> dict[str, float | None]:
    """Return mean and standard error over the seeds; for one seed that of `of` items, for a share in per cent."""
    mean, error = statistics.fmean(values), None
    if len(values) > 1:
        error = statistics.stdev(values) / math.sqrt(len(values))
    elif of:
        error = math.sqrt(mean * (100 - mean) / of)
    return {"mean": round(mean, digits), "se": None if error is None else round(error, digits)}


def _effect(part: str, pairs: Sequence[Pair]) -> dict[str, Any]:
    """Return what a part adds, the mean over all settings of the others; paired, its error over the seeds."""
    by_place = {(pair.variant, pair.seed): pair for pair in pairs}
    seeds = [seed for seed in {pair.seed for pair in pairs} if all((v.row, seed) in by_place for v in VARIANTS)]
    found: dict[str, Any] = {"seeds": len(seeds)}
    for measure in MEASURES:
        scale, digits = (100, 2) if measure == "correct" else (1, 3)
        gains = []
        for seed in seeds:
            values = {
                (variant.mae, variant.pkt, bool(place)): getattr(by_place[variant.row, seed], measure)[place]
                for variant in VARIANTS
                for place in (0, 1)
            }
            at = PARTS.index(part)
            gains.append(scale * statistics.fmean((1 if key[at] else -1) * value for key, value in values.items()) * 2)
        found[measure] = _figure(gains, digits) if gains else None
    return found
