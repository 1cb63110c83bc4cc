"""Small records in the shape of each public data set, written by us."""

from __future__ import annotations

import json
from pathlib import Path
from typing import Any

_ASK = "\nGenerate an API request in the format of [ApiName(key1='value1')].\nAPI-Request: ...\n\nAPI descriptions:\n"


def api_call(n: int, **more: Any) -> dict[str, Any]:
    """One API-Bank record that asks for a call."""
    call = f"API-Request: [SetLamp(level='{n}')]"
    return {
        "instruction": _ASK,
        "input": f"User: Dim the lamp to {n}.\nGenerate API Request: ",
        "output": call,
        **more,
    }


def api_answer(n: int, **more: Any) -> dict[str, Any]:
    """One API-Bank record that asks for words."""
    record = api_call(n, **more)
    return {**record, "output": f"AI: The lamp stands at {n}.\n"}


SAMPLES: dict[str, list[dict[str, Any]]] = {
    "api_bank": [api_call(1), api_call(2), api_answer(1)],
    "alpaca": [
        {"instruction": "Say hello.", "input": "", "output": "Hello."},
        {"instruction": "Sing", "output": "La"},
    ],
    "alpaca_gpt4": [{"instruction": "Name a tree.", "input": "", "output": "Oak."}],
    "code_alpaca": [{"instruction": "Add.", "input": "a, b", "output": "def f(a, b): return a + b"}],
    "gsm8k": [{"question": "1 + 1?", "answer": "One and one.\n#### 2"}, {"question": "2 + 2?", "answer": "#### 4"}],
    "metamath": [
        {"query": "What is 3?", "response": "Three. The answer is: 3", "type": "x", "original_question": "3?"}
    ],
    "nq_open": [{"question": "who built it", "answer": ["Ada", "Ada B."]}],
    "triviaqa": [
        {"Question": "Where is it?", "QuestionId": "t_1", "Answer": {"Value": "Here", "Aliases": ["here"]}},
        {"Question": "Who is it?", "QuestionId": "t_2", "Answer": {"Value": "Me", "Aliases": []}},
    ],
}
FILE_NAMES = {
    "api_bank": "lv3-train.json",
    "alpaca": "alpaca_en.json",
    "alpaca_gpt4": "alpaca_gpt4_data.json",
    "code_alpaca": "code_alpaca_20k.json",
    "gsm8k": "train.jsonl",
    "metamath": "MetaMathQA-395K.json",
    "nq_open": "NQ-open.train.jsonl",
    "triviaqa": "unfiltered-web-train.json",
}


def write_sample(name: str, folder: Path, file_name: str = "") -> Path:
    """Write the sample of data set `name` as its publisher would; returns the file."""
    folder.mkdir(parents=True, exist_ok=True)
    path = folder / (file_name or FILE_NAMES[name])
    records = SAMPLES[name]
    if path.suffix == ".jsonl":
        path.write_text("\n".join(map(json.dumps, records)) + "\n", encoding="utf-8")
    else:
        whole = {"Data": records, "Version": 1} if name == "triviaqa" else records
        path.write_text(json.dumps(whole, indent=2), encoding="utf-8")
    return path
