"""`python -m llamafactory_ext.cl.rivals.training JOB.json`: one task's training by a rival, in a process of its own.

It uses one device: the first that the process sees.
"""

from __future__ import annotations

import os
import sys
from pathlib import Path
from typing import Any

from ...checkpoint.atomic import read_json
from ...errors import ExtError


def train(job: dict[str, Any]) -> None:
    """Train one task and write what the next one needs.

    Args:
        job: kind, settings, before, task, out, seed, options.
    """
    from ...upstream.pipeline.running import run_training
    from .methods import rival

    found = rival(job)
    run_training(found.options(dict(job["options"])), found.callbacks())
    found.finish()


def main() -> None:
    """Run a job; an error of ours is one line and exit code 2."""
    seen = os.environ.get("CUDA_VISIBLE_DEVICES", "0").split(",")
    os.environ["CUDA_VISIBLE_DEVICES"] = seen[0]
    try:
        train(read_json(Path(sys.argv[1]), "job"))
    except ExtError as error:
        print(f"{type(error).__name__}: {error.message}", file=sys.stderr)
        sys.exit(2)


if __name__ == "__main__":
    main()
