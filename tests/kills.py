"""Which moments of a run it is killed at."""

from __future__ import annotations

import random
import re
from collections.abc import Sequence
from dataclasses import dataclass

from runs import PHASES
from sampling import sample

STEPS = 3  # of every phase
TRIED = sample(range(50), 14, seed=25)  # of the chosen moments, by their places
Moment = Sequence[str]  # stage, kind, what; as `probe.Probe` sees them
# In each phase one moment before an operation of each kind, and one special one.
KINDS = ("open", "write", "fsync", "os.remove", "os.rmdir", "os.mkdir")
RENAMES = {"rp": r"checkpoint-\d+/complete.json", "mi": r"phase-2-mi/adapter", "uco": r"phase-3-uco/checkpoint-\d+"}


@dataclass(frozen=True)
class Kill:
    """One death.

    Attributes:
        name: for the report; also the output_dir.
        kill_at: number of the moment.
        tear: whether the file in work is cut in half as well.
    """

    name: str
    kill_at: int
    tear: bool


def choose(moments: Sequence[Moment]) -> list[Kill]:
    """26 moments of saving, each kind of file operation in each phase, and 24 moments of training, all seeded."""
    draw, kills = random.Random(0), []

    def pick(label: str, stage: str, kind: str, count: int, what: str = "") -> None:
        fitting = [
            i
            for i, moment in enumerate(moments)
            if moment[0] == stage
            and (moment[1] == kind or (not kind and moment[1] != "training"))
            and re.search(f"{what}$", moment[2])
        ]
        for i in draw.sample(fitting, count):
            kills.append(Kill(f"{label}-{stage}-{i}", i, tear=len(kills) % 2 == 0))

    pick("saving", "start", "", 3)
    for phase in PHASES:
        for kind in KINDS:
            pick(f"saving-{kind.removeprefix('os.')}", phase, kind, 1)
        pick("saving-rename", phase, "rename", 1, RENAMES[phase])
    pick("saving", "finish", "", 2)
    pick("training", "start", "training", 3)
    for phase in PHASES:
        pick("training", phase, "training", 7)
    return kills
