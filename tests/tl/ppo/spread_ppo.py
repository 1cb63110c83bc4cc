"""What test_ppo_engines.py starts under torchrun: runs of PPO on engines that spread the model over two processes."""

import json
import os
import sys
from pathlib import Path
from typing import Any

from transformers import TrainerCallback

sys.path.insert(0, str(Path(__file__).parents[2]))

from fsdp_on_cpu import one_process_group
from llamafactory_ext.tl.ppo.engines import is_spread
from ppo_runs import train


class Spread(TrainerCallback):
    """How many of the parameters are spread after a step."""

    def __init__(self) -> None:
        self.counts = (0, 0)

    def on_step_end(self, args: Any, state: Any, control: Any, model: Any = None, **_: Any) -> None:
        parameters = list(model.parameters())
        self.counts = (sum(map(is_spread, parameters)), len(parameters))


def main() -> None:
    folder = Path(sys.argv[1]).resolve().parent
    with one_process_group():
        for name, options in json.loads((folder / "jobs.json").read_text("utf-8")).items():
            spread = Spread()
            train(options, spread)
            if os.environ["RANK"] == "0":
                (folder / f"{name}.json").write_text(json.dumps(spread.counts), encoding="utf-8")


if __name__ == "__main__":
    main()
