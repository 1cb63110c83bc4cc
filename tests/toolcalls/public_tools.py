"""Every tool of the published data, as (format, data), and the call texts beside them."""

from __future__ import annotations

import json
import os
from collections.abc import Iterator
from functools import cache
from pathlib import Path
from typing import Any

import pytest

_ROOT = Path(__file__).resolve().parents[2]
SHARED = Path(os.environ.get("LLAMAFACTORY_EXT_SHARED", _ROOT.parent / "shared")) / "data"

needs_public_data = pytest.mark.skipif(
    not (SHARED / "api_bank").is_dir(),
    reason="the published data is absent: set LLAMAFACTORY_EXT_SHARED to the folder that holds data/api_bank",
)


def load(path: str) -> Any:
    return json.loads((SHARED / path).read_text("utf-8"))


def lines(path: str) -> list[Any]:
    return [json.loads(line) for line in (SHARED / path).read_text("utf-8").splitlines()]


def api_bank_records() -> list[dict[str, Any]]:
    files = ("test-data/level-1-api", "test-data/level-3-batch-inf", "training-data/lv3-api-train")
    return [record for name in files for record in load(f"api_bank/{name}.json")]


def _api_bank() -> Iterator[Any]:
    for record in api_bank_records():
        for line in f"{record['instruction']}\n{record['input']}".split("\n"):
            if line.startswith('{"'):
                yield json.loads(line)


def _bfcl() -> Iterator[Any]:
    for path in sorted((SHARED / "bfcl_v3").glob("BFCL_v3_*.json")):
        for record in lines(f"bfcl_v3/{path.name}"):
            yield from record["function"]


def _rotbench() -> Iterator[Any]:
    prompts = [record for name in ("clean", "slight") for record in load(f"rotbench/First_Turn/{name}.json")]
    prompts += load("tooleyes/scenario_data_zero_processed.json")
    marker = "following tools:\n"
    for record in prompts:
        system = record["conversations"][0]["value"]
        tools, _ = json.JSONDecoder().raw_decode(system, system.index(marker) + len(marker))
        yield from tools
    for path in sorted((SHARED / "tooleyes/Tool_Library").rglob("*.json")):
        yield from json.loads(path.read_text("utf-8"))


def _toolalpaca() -> Iterator[Any]:
    for api in load("toolalpaca/eval_real.json"):
        for name, text in api["Function_Description"].items():
            if name != "components":
                yield f"{name}: {text}"


@cache
def public_tools(format_name: str) -> tuple[Any, ...]:
    """Each different description of one source."""
    sources = {"api_bank": _api_bank, "bfcl": _bfcl, "rotbench": _rotbench, "toolalpaca": _toolalpaca}
    return tuple({json.dumps(data): data for data in sources[format_name]()}.values())
