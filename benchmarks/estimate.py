"""Estimates of `dry_run: true` beside the runs themselves, on the embedded model: time, memory, disk.

`python benchmarks/estimate.py --out benchmarks/results/estimate_cpu.json` from the repository's root. Each method: an
estimate and the run by turns, each in a process of its own on one core; medians of all turns. Time is the processor's
time of the process, as other work on the machine changes between the two.
"""

from __future__ import annotations

import argparse
import json
import os
import platform
import statistics
import subprocess
import sys
import tempfile
from importlib import metadata
from pathlib import Path
from typing import Any

ROOT = Path(__file__).parents[1]
GOAL = 0.3
RUNS: dict[str, dict[str, Any]] = {
    "citi": {
        "yaml": "citi_tiny.yaml",
        "changes": {"max_samples": 96, "citi_importance_samples": 24, "save_steps": 4, "save_total_limit": 2},
    },
    "tl_sft": {
        "yaml": "tl_sft_tiny.yaml",
        "changes": {"num_train_epochs": 1, "save_strategy": "steps", "save_steps": 25},
    },
    "tl_ppo": {
        "yaml": "tl_ppo_tiny.yaml",
        "changes": {"model_name_or_path": "src/llamafactory_ext/lab/model", "max_steps": 20},
    },
}


def child(options: dict[str, Any], dry: bool) -> dict[str, Any]:
    """Run or estimate in this process, and say what it took."""
    import resource
    import time

    from llamafactory.train.tuner import run_exp

    from llamafactory_ext.training.stopwatch import laps
    from llamafactory_ext.upstream.patches import dry_run

    laps.own_clock = True

    run_exp({**options, "dry_run": True} if dry else options)
    if dry:
        (found,) = dry_run.estimates
        return found.to_dict()
    files = [file for file in Path(options["output_dir"]).rglob("*") if file.is_file()]
    return {
        "seconds": time.process_time(),
        "peak_bytes": resource.getrusage(resource.RUSAGE_SELF).ru_maxrss * 1024,
        "disk_bytes": sum(file.stat().st_size for file in files),
    }


def in_process(options: dict[str, Any], dry: bool) -> dict[str, Any]:
    """The same in a process of its own, on one core."""
    variables = {"OMP_NUM_THREADS": "1", "HF_HUB_OFFLINE": "1", "CUDA_VISIBLE_DEVICES": ""}
    with tempfile.TemporaryDirectory() as folder:
        out = Path(folder) / "found.json"
        command = [sys.executable, __file__, "--child", json.dumps(options), "--dry", str(int(dry)), "--out", str(out)]
        subprocess.run(command, cwd=ROOT, check=True, env=os.environ | variables, stdout=subprocess.DEVNULL)
        found: dict[str, Any] = json.loads(out.read_text("utf-8"))
    return found


def compare(name: str, repeats: int) -> dict[str, Any]:
    """One method: estimates and runs by turns, their medians, and how far these are apart."""
    import yaml

    run = RUNS[name]
    turns = []
    for _ in range(repeats):
        with tempfile.TemporaryDirectory() as folder:
            options = yaml.safe_load((ROOT / "examples/yaml" / run["yaml"]).read_text("utf-8"))
            options |= {**run["changes"], "output_dir": str(Path(folder) / "out"), "overwrite_cache": False}
            turns.append([in_process(options, dry) for dry in (True, False)])
    figures = {}
    for key in ("seconds", "peak_bytes", "disk_bytes"):
        estimated, real = (statistics.median(turn[side][key] for turn in turns) for side in (0, 1))
        figures[key] = {
            "estimated": round(estimated, 1),
            "real": round(real, 1),
            "off": round(estimated / real - 1, 3),
            "each": [[round(side[key], 1) for side in turn] for turn in turns],
        }
    within = all(abs(figure["off"]) <= GOAL for figure in figures.values())
    return {"method": name, "changes": run["changes"], "within_30_percent": within, **figures, "repeats": repeats}


def main() -> None:
    """Compare all methods, or be the child that runs one."""
    parser = argparse.ArgumentParser(description=__doc__)
    parser.add_argument("--out", type=Path, required=True)
    parser.add_argument("--only", nargs="*", default=list(RUNS), choices=list(RUNS))
    parser.add_argument("--repeats", type=int, default=3, help="turns of estimate and run")
    parser.add_argument("--child")
    parser.add_argument("--dry", type=int, default=0)
    given = parser.parse_args()
    if given.child:
        given.out.write_text(json.dumps(child(json.loads(given.child), bool(given.dry))), encoding="utf-8")
        return
    rows = [compare(name, given.repeats) for name in given.only]
    versions = {name: metadata.version(name) for name in ("torch", "transformers", "peft", "llamafactory")}
    machine = {
        "processor": platform.machine(),
        "cores": os.cpu_count(),
        "python": platform.python_version(),
        **versions,
    }
    found = {"goal": GOAL, "machine": machine, "rows": rows}
    given.out.write_text(json.dumps(found, indent=2) + "\n", "utf-8")
    print(json.dumps(rows, indent=2))


if __name__ == "__main__":
    main()
