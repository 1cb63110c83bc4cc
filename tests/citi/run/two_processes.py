"""What test_trainer.py starts under torchrun: runs of CITI, and importance in float64 on one and on two processes."""

import json
import os
import sys
from datetime import timedelta
from pathlib import Path
from typing import Any

import pytest
import torch
from torch import distributed

sys.path.insert(0, str(Path(__file__).parents[2]))

import tiny
from llamafactory_ext.citi.importance_file import Importance
from llamafactory_ext.citi.scoring import compute_importance, shapes_of
from runs import train

torch.set_num_threads(1)


def collate(rows: list[dict[str, Any]]) -> dict[str, torch.Tensor]:
    length = max(len(row["input_ids"]) for row in rows)
    padded = {name: [row[name] + [fill] * (length - len(row[name])) for row in rows] for name, fill in FILL.items()}
    return {name: torch.tensor(values) for name, values in padded.items()}


FILL = {"input_ids": 1, "labels": -100, "attention_mask": 0, "citi_marks": 0}


class Rows:
    """An unpacked, marked data set of random tokens: 9 tool, 7 math, 2 instructions examples."""

    def __init__(self) -> None:
        draw = torch.Generator().manual_seed(3)
        self.tasks = ["tool"] * 9 + ["math"] * 7 + ["instructions"] * 2
        self.rows = []
        for task in self.tasks:
            length = int(torch.randint(4, 12, (), generator=draw))
            ids = torch.randint(5, 380, (length,), generator=draw).tolist()
            mark = 2 if task == "tool" else 1
            row = {"input_ids": ids, "labels": [-100, *ids[1:]], "attention_mask": [1] * length}
            self.rows.append({**row, "citi_marks": [mark] * length})

    def __getitem__(self, key: Any) -> Any:
        if key == "citi_task":
            return self.tasks
        return self.rows[key] if isinstance(key, int) else [row[key] for row in self.rows]

    def select(self, rows: Any) -> Any:
        """As a data set does, for one column."""
        return {"labels": [self.rows[row]["labels"] for row in rows]}


def scores(folder: Path) -> dict[str, dict[str, float]]:
    model = tiny.tiny_model(dtype=torch.float64)
    start = Importance("tiny", shapes_of(model), {})
    found = compute_importance(
        model,
        Rows(),
        collate,
        start,
        samples=7,
        batch_size=2,
        reduction="dataset",
        seed=0,
        path=folder / "importance.json",
    )
    return {name: task.scores for name, task in found.tasks.items()}


def main() -> None:
    folder, rank = Path(sys.argv[1]).resolve().parent, int(os.environ["RANK"])
    if rank == 0:
        (folder / "scores_1.json").write_text(json.dumps(scores(folder / "one")), encoding="utf-8")
    distributed.init_process_group("gloo", timeout=timedelta(minutes=2))
    together = scores(folder / "both")
    if rank == 0:
        (folder / "scores_2.json").write_text(json.dumps(together), encoding="utf-8")
    # Upstream ends each run's process group; a second one cannot be made under the same torchrun.
    with pytest.MonkeyPatch.context() as patch:
        patch.setattr(distributed, "destroy_process_group", _nothing)
        for options in json.loads((folder / "jobs.json").read_text("utf-8")).values():
            train(options)
    distributed.destroy_process_group()


def _nothing() -> None:
    pass


if __name__ == "__main__":
    main()
