"""A folder in the layout of the public files, with a few records of our own in each."""

from __future__ import annotations

import bz2
import json
from collections.abc import Iterable
from pathlib import Path
from typing import Any

ASK = "\nGenerate an API request in the format of [ApiName(key1='value1')].\nAPI-Request: ...\n\nAPI descriptions:\n"


def call(number: int, tool: str = "SetLamp", **more: Any) -> dict[str, Any]:
    """A call in API-Bank's layout; the user's words name the number."""
    return {
        "instruction": ASK,
        "input": f"User: Dim lamp {number}.TIME: now\nGenerate API Request: ",
        "output": f"API-Request: [{tool}(level='{number}')]",
        **more,
    }


def reply(number: int) -> dict[str, Any]:
    """A reply in API-Bank's layout."""
    return {"instruction": ASK, "input": f"User: Hello {number}.\nGenerate", "output": f"Lamp {number} is set."}


def ifeval(number: int, *rules: tuple[str, dict[str, Any]]) -> dict[str, Any]:
    """A prompt of IFEval."""
    names, given = [name for name, _ in rules], [one for _, one in rules]
    return {"key": number, "prompt": f"Write {number}.", "instruction_id_list": names, "kwargs": given}


def write_world(folder: Path) -> Path:
    """Write the folder and return it."""
    api = folder / "api_bank"
    chains = [call(number, tool) for number in range(40) for tool in ("SetLamp", "ToolSearcher")]
    for place, one in enumerate(chains):
        one["input"] += f"step {place % 2}"
    _json(api / "training-data/lv3-api-train.json", chains)
    _json(api / "test-data/level-1-api.json", [call(n, file="f", id=n) for n in range(4)])
    level_3 = [
        call(n, "ToolSearcher" if n % 2 else "SetLamp", sample_id=n, api_id=0) | {"instruction": ASK + "Level 3."}
        for n in range(6)
    ]
    _json(api / "test-data/level-3-batch-inf.json", level_3)
    _json(api / "test-data/level-1-response.json", [reply(n) for n in range(3)])
    _json(api / "test-data/level-3-batch-inf-response.json", [reply(n) for n in range(3)])
    sums = ({"question": f"What is {n} plus 1?", "answer": f"It is {n + 1}.\n#### {n + 1}"} for n in range(30))
    _lines(folder / "gsm8k/train.jsonl", sums)
    sums = ({"question": f"What is {n} less 1?", "answer": f"It is {n - 1}.\n#### {n - 1}"} for n in range(20))
    _lines(folder / "gsm8k/test.jsonl", sums)
    facts = ({"question": f"who was number {n}", "answer": [f"Mr {n}", "x"]} for n in range(40))
    _lines(folder / "nq_open/NQ-open.dev.jsonl", facts)
    said = [{"instruction": f"Say {n}.", "input": "", "output": f"Here is {n}."} for n in range(40)]
    _json(folder / "llamafactory_demo/alpaca_en_demo.json", said)
    comma = ("en:punctuation:no_comma", {})
    prompts = [ifeval(0, comma), ifeval(1, comma), ifeval(2, ("en:language:response_language", {"language": "bn"}))]
    _lines(folder / "ifeval/input_data.jsonl", prompts)
    items = [f"A man sits on roof {n}. he\n{n % 4}\nruns.\nsleeps.\nfalls off.\nsings it.\n" for n in range(12)]
    path = folder / "hellaswag/hellaswag_val_full.txt.bz2"
    path.parent.mkdir(parents=True)
    path.write_bytes(bz2.compress("".join(items).encode()))
    return folder


def _json(path: Path, records: list[dict[str, Any]]) -> None:
    path.parent.mkdir(parents=True, exist_ok=True)
    path.write_text(json.dumps(records), "utf-8")


def _lines(path: Path, records: Iterable[dict[str, Any]]) -> None:
    path.parent.mkdir(parents=True, exist_ok=True)
    path.write_text("".join(f"{json.dumps(record)}\n" for record in records), "utf-8")
