"""What test_ray.py starts: runs over a local Ray cluster, one after the other.

Upstream plans a GPU and ten CPUs for each worker, and waits for ever where there are none: the cluster claims to have
both, twice. The workers themselves are untouched, and told to use the CPU. `jobs.json` in the folder lists the runs.
"""

import json
import os
import signal
import sys
from pathlib import Path
from typing import Any

import ray
from llamafactory.train import trainer_utils, tuner
from transformers import TrainerCallback

from llamafactory_ext._report import error_folder

tuner.get_device_name = trainer_utils.get_device_name = lambda: "gpu"


class Die(TrainerCallback):
    """SIGKILL for the second worker after the third step: of phase mi in a run of citi."""

    def on_step_end(self, args: Any, state: Any, control: Any, **_: Any) -> None:
        folder = args.output_dir.rpartition("/")[2]
        if os.environ["RANK"] == "1" and state.global_step == 3 and not folder.endswith(("-rp", "-uco")):
            os.kill(os.getpid(), signal.SIGKILL)


def run(job: dict[str, Any]) -> None:
    ray.init(num_cpus=20, num_gpus=2, include_dashboard=False, object_store_memory=100_000_000)
    options = {"ray_num_workers": 2, "master_addr": ray.util.get_node_ip_address()}
    try:
        tuner.run_exp(job["options"] | options, [Die()] if job["dies"] else [])
    except Exception:
        sys.excepthook(*sys.exc_info())  # type: ignore[arg-type]
    finally:
        ray.shutdown()


if __name__ == "__main__":
    for number, each in enumerate(json.loads((Path(sys.argv[1]) / "jobs.json").read_text("utf-8"))):
        for stream in (sys.stdout, sys.stderr):
            print(f"job {number}", file=stream, flush=True)
        with error_folder():
            run(each)
