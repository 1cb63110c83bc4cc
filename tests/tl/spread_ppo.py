"""What test_ppo_engines.py starts under torchrun: runs of PPO on engines that spread the model over two processes."""

import json
import os
import sys
from datetime import timedelta
from pathlib import Path
from typing import Any

import pytest
import torch
from torch import distributed
from transformers import TrainerCallback

sys.path.insert(0, str(Path(__file__).parents[1]))

from fsdp_on_cpu import let_fsdp_run_on_a_cpu
from llamafactory_ext.tl.ppo_engines import is_spread
from ppo_runs import train

torch.set_num_threads(1)


class Spread(TrainerCallback):
    """How many of the parameters are spread after a step."""

    def __init__(self) -> None:
        self.counts = (0, 0)

    def on_step_end(self, args: Any, state: Any, control: Any, model: Any = None, **_: Any) -> None:
        parameters = list(model.parameters())
        self.counts = (sum(map(is_spread, parameters)), len(parameters))


def main() -> None:
    folder = Path(sys.argv[1]).resolve().parent
    distributed.init_process_group("gloo", timeout=timedelta(minutes=2))
    with pytest.MonkeyPatch.context() as patch:
        # Upstream ends each run's process group; a second one cannot be made under the same torchrun.
        patch.setattr(distributed, "destroy_process_group", lambda: None)
        let_fsdp_run_on_a_cpu(patch)
        for name, options in json.loads((folder / "jobs.json").read_text("utf-8")).items():
            spread = Spread()
            train(options, spread)
            if os.environ["RANK"] == "0":
                (folder / f"{name}.json").write_text(json.dumps(spread.counts), encoding="utf-8")
    distributed.destroy_process_group()


if __name__ == "__main__":
    main()
