"""What test_engines.py starts under torchrun: runs of CITI on engines that spread the model over two processes."""

import json
import os
import sys
from pathlib import Path
from typing import Any

from torch.distributed.tensor import DTensor
from transformers import TrainerCallback

sys.path.insert(0, str(Path(__file__).parents[1]))

from fsdp_on_cpu import one_process_group
from runs import Interrupt, phase_of, train


class Spread(TrainerCallback):
    """Whether the parameters are spread, for each phase: which of them are not whole between two steps."""

    def __init__(self) -> None:
        self.parts: dict[str, list[int]] = {}

    def on_step_end(self, args: Any, state: Any, control: Any, model: Any = None, **_: Any) -> None:
        parameters = list(model.parameters())
        away = [weight for weight in parameters if isinstance(weight, DTensor) or weight.numel() == 0]
        self.parts[phase_of(args)] = [len(away), len(parameters)]


def main() -> None:
    folder = Path(sys.argv[1]).resolve().parent
    with one_process_group():
        for name, job in json.loads((folder / "jobs.json").read_text("utf-8")).items():
            spread = Spread()
            interrupts = [Interrupt(job["interrupt"], "on_train_begin")] if "interrupt" in job else []
            try:
                run = train(job["options"], spread, *interrupts)
            except KeyboardInterrupt:
                continue
            if os.environ["RANK"] == "0":
                seen = {"parts": spread.parts, "said": run.said}
                (folder / f"{name}.json").write_text(json.dumps(seen), encoding="utf-8")


if __name__ == "__main__":
    main()
