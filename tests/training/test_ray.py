"""A local Ray cluster of two workers trains what two processes train; one worker dies, and the command is repeated.

One method runs each time, all of them with ALL_TESTS=1.
"""

from __future__ import annotations

import json
import re
import sys
from pathlib import Path
from typing import Any

import pytest
import torch
from llamafactory.extras.packages import is_ray_available

from checkpoint.resume_cases import METHODS, Model, outcome
from processes import run
from runs import differing
from sampling import sample

KINDS = sample(["tl_sft-lora", "citi", "tl_ppo-full"], 1)
RESULTS = ("model.safetensors", "critic.safetensors", "optimizer.safetensors")
pytestmark = pytest.mark.skipif(
    not is_ray_available(), reason="ray is not installed: pip install 'llamafactory_ext[dev]'"
)


@pytest.fixture(scope="module")
def printed(tmp_path_factory: pytest.TempPathFactory) -> tuple[Path, list[str]]:
    """The folder of all runs, and what each printed."""
    folder = tmp_path_factory.mktemp("ray")
    model = Model(tied=True, biased=False, dtype=torch.float32).save(folder / "model")
    jobs: list[dict[str, Any]] = []
    for method in KINDS:
        make, own = METHODS[method]
        for name, dies in (("straight", False), ("killed", True), ("killed", False)):
            options = make(model, folder / "data", folder / f"{method}-{name}", **own)
            jobs.append({"options": options | {"per_device_train_batch_size": 2}, "dies": dies})
    (folder / "jobs.json").write_text(json.dumps(jobs), encoding="utf-8")
    tests = Path(__file__).parents[1]
    result = run(
        [sys.executable, str(Path(__file__).with_name("ray_runs.py")), str(folder)],
        folder,
        limit=1800,
        USE_RAY="1",
        CUDA_VISIBLE_DEVICES="0,1",
        PYTHONPATH=f"{tests}:{tests.parent / 'src'}",
    )
    assert result.returncode == 0, result.stdout[-3000:] + result.stderr[-3000:]
    parts = [re.split(r"^job \d+\n", text, flags=re.MULTILINE)[1:] for text in (result.stdout, result.stderr)]
    return folder, [out + errors for out, errors in zip(*parts, strict=True)]


@pytest.mark.parametrize("method", KINDS)
def test_a_repeated_command_ends_with_the_same_bits(printed: tuple[Path, list[str]], method: str) -> None:
    folder, said = printed
    first = 3 * KINDS.index(method)
    straight, killed, _ = said[first : first + 3]
    expected, found = (
        {
            name: value
            for name, value in outcome(folder / f"{method}-{kind}").items()
            if name.split(":")[0].endswith(RESULTS)
        }
        for kind in ("straight", "killed")
    )
    assert len(expected) > 10, straight[-3000:]
    assert found.keys() == expected.keys()
    assert differing(found, expected) == set()
    assert "Traceback" not in killed
    assert len(re.findall(r"repeat the command", killed, re.IGNORECASE)) == 1, killed[-3000:]
    assert straight.count("Running training") <= 3
