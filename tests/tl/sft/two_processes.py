"""What test_sft_training.py starts under torchrun: several runs, one after the other."""

import json
import sys
from pathlib import Path

import pytest
import torch
from torch import distributed

sys.path.insert(0, str(Path(__file__).parents[2]))

from llamafactory.train.tuner import run_exp

torch.set_num_threads(1)


def main() -> None:
    # Upstream ends each run's process group; a second one cannot be made under the same torchrun.
    with pytest.MonkeyPatch.context() as patch:
        patch.setattr(distributed, "destroy_process_group", lambda: None)
        for options in json.loads(Path(sys.argv[1]).read_text("utf-8")):
            run_exp(options, [])
    distributed.destroy_process_group()


if __name__ == "__main__":
    main()
