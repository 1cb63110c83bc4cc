"""Every mistake of a first day, with every method: a few lines with the next step, exit code 2, nothing loaded."""

from __future__ import annotations

import json
import re
import subprocess
import sys
from importlib.util import find_spec
from typing import Any

import pytest
import yaml

import mistake_runs
import mistake_world
import mistakes
import option_runs
from llamafactory_ext.options.command_file import CHECKS
from sampling import ALL

LONGEST = 12  # lines of a message


def _cases(number: int, row: mistakes.Mistake) -> list[tuple[mistakes.Mistake, str]]:
    """Each row with one method, in turn; with ALL_TESTS=1 with all of them."""
    methods = list(row.methods or mistakes.METHODS)
    return [(row, method) for place, method in enumerate(methods) if ALL or place == number % len(methods)]


CASES = [case for number, row in enumerate(mistakes.MISTAKES) for case in _cases(number, row)]


def _missing(row: mistakes.Mistake) -> bool:
    return not any(find_spec(package) for package in row.packages)


@pytest.fixture(scope="module")
def results(tmp_path_factory: pytest.TempPathFactory) -> dict[tuple[str, str], dict[str, Any]]:
    """What each wrong command ended with."""
    folder = tmp_path_factory.mktemp("mistakes")
    world = mistake_world.make_world(folder)
    cases = []
    for number, (row, method) in enumerate(CASES):
        places = {
            "model_name_or_path": world["model"],
            "dataset_dir": world["data"],
            "output_dir": str(folder / "out" / str(number)),
        }
        own = {name: mistakes.filled(value, world) for name, value in row.options.items()}
        options = {**option_runs.BASE, **mistakes.METHODS[method], **places, **own}
        text: str | bytes = yaml.safe_dump({k: v for k, v in options.items() if v is not None}, sort_keys=False)
        if row.yaml is not None:
            text = row.yaml(str(text))
        path = folder / f"{number}.yaml"
        path.write_bytes(text if isinstance(text, bytes) else text.encode())
        environment = dict(row.environment) | ({CHECKS: "1"} if method in mistakes.BASELINES else {})
        words = ["train", mistakes.filled(row.file, world) or str(path), *row.words]
        cases.append({"words": words, "environment": environment, "out": places["output_dir"]})
    (folder / "cases.json").write_text(json.dumps(cases))
    command = [sys.executable, mistake_runs.__file__, "cases.json", "results.json", "2"]
    done = subprocess.run(command, cwd=folder, capture_output=True, text=True, check=False)
    assert done.returncode == 0, done.stderr[-2000:]
    found = json.loads((folder / "results.json").read_text("utf-8"))
    return {(row.name, method): result for (row, method), result in zip(CASES, found, strict=True)}


def test_the_table_is_large_enough() -> None:
    names = [row.name for row in mistakes.MISTAKES]
    assert len(names) == len(set(names)) > 90
    for method in ("citi", "tl_sft", "tl_ppo", "lora"):
        assert len([row for row, other in CASES if other == method]) > (80 if ALL else 10)


@pytest.mark.parametrize(("row", "method"), CASES, ids=[f"{row.name}-{method}" for row, method in CASES])
def test_mistake(row: mistakes.Mistake, method: str, results: dict[tuple[str, str], dict[str, Any]]) -> None:
    if not _missing(row):
        pytest.skip(f"{', '.join(row.packages)} is installed here")
    run = results[row.name, method]
    printed = run["printed"]
    assert run["code"] == 2, printed[-1500:]
    assert "Traceback" not in printed
    assert "A MODEL IS LOADED" not in printed
    (start,) = [match.start() for match in re.finditer(r"^\w+Error: ", printed, re.MULTILINE)]
    message = printed[start:].rstrip()
    assert len(message.splitlines()) <= LONGEST, message
    for word in row.says:
        assert word in message
