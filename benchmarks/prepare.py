"""Row 13: preparing data of tl_sft and citi, read back and compared, against upstream's supervised preparation."""

from __future__ import annotations

import json
import time
from collections.abc import Callable, Mapping
from typing import Any

from llamafactory.data.processor import SupervisedDatasetProcessor
from llamafactory.hparams import DataArguments
from measure import Figure, Row, time_ratio
from setting import SHAPES, Setting
from transformers import AutoTokenizer

from llamafactory_ext.lab.evaluate import SHIPPED_MODEL
from llamafactory_ext.tl.sft.examples import Settings
from llamafactory_ext.upstream.pipeline.fitting import fit_template
from llamafactory_ext.upstream.pipeline.requests import request_marks, request_records, request_weights
from llamafactory_ext.upstream.pipeline.weights import WeighedMarkedProcessor, WeighedProcessor

TEMPLATE = "qwen3"
DIALOGUES = 500  # the ratio does not depend on their number
GOAL = 1.25
_SCHEMA = {
    "type": "object",
    "properties": {
        "city": {"type": "string", "description": "The city, as people who live there write it."},
        "days": {"type": "integer", "description": "For how many days."},
    },
    "required": ["city"],
}
_NAMES = ("get_weather", "get_weather_today", "find_city", "get_time", "book_hotel")


def run(setting: Setting) -> list[Row]:
    """Dialogues of two calls with results and an answer, five tools each; CPU time of one process."""
    count = DIALOGUES if setting.shape is not SHAPES["toy"] else 4
    tokenizer = AutoTokenizer.from_pretrained(SHIPPED_MODEL)
    data_args = DataArguments(template=TEMPLATE, cutoff_len=8192)
    parts = {"tokenizer": tokenizer, "processor": None}
    template = fit_template(parts, data_args)

    def prepare(kind: Any, asked: Any, rows: Mapping[str, list[Any]]) -> Callable[[], None]:
        processor = kind(template=template, data_args=asked, **parts)
        return lambda: processor.preprocess_dataset(dict(rows))

    plain = _rows(count)
    marked = plain | {"_mark": ["tool"] * count, "_task": ["tool"] * count}
    weighed = request_records(request_weights(data_args, Settings()), "keep")
    calls = {
        "upstream": prepare(SupervisedDatasetProcessor, data_args, plain),
        "tl_sft": prepare(WeighedProcessor, weighed, plain),
        "citi": prepare(WeighedMarkedProcessor, request_records(request_marks(data_args), "keep"), marked),
    }
    found = _cpu_times(calls, setting.rounds)
    row = Row("13", f"preparing {count} dialogues with two calls, read back / upstream's supervised preparation")
    row.settings = {"template": TEMPLATE, "tokenizer": "the embedded model's", "clock": "CPU time of one process"}
    ours = ("tl_sft", "citi")
    row.figures = [time_ratio(f"{name}: time / upstream", name, "upstream", found, GOAL) for name in ours]
    each = sorted(found["upstream"])[len(found["upstream"]) // 2] / count
    row.figures.append(Figure("upstream: microseconds per dialogue", each * 1e6, unit="us"))
    return [row]


def _cpu_times(calls: Mapping[str, Callable[[], None]], rounds: int) -> dict[str, list[float]]:
    found: dict[str, list[float]] = {name: [] for name in calls}
    for turn in range(rounds + 1):
        for name, call in calls.items():
            start = time.process_time()
            call()
            if turn:  # the first is a warm-up
                found[name].append(time.process_time() - start)
    return found


def _rows(count: int) -> dict[str, list[Any]]:
    """Aligned examples as upstream's loader hands them on."""
    tools = json.dumps([{"name": name, "description": f"Does {name}.", "parameters": _SCHEMA} for name in _NAMES])
    prompts, responses = [], []
    for i in range(count):
        call = json.dumps({"name": _NAMES[i % len(_NAMES)], "arguments": {"city": f"Town {i}", "days": i % 7}})
        result = json.dumps({"degrees": i % 30, "sky": "clear"})
        turns = [("user", f"How will the weather of town {i} be?"), ("function", call), ("observation", result)]
        turns += turns[1:]
        prompts.append([{"role": role, "content": content} for role, content in turns])
        responses.append([{"role": "assistant", "content": f"It will be {i % 30} degrees, and clear; take a hat."}])
    empty = dict.fromkeys(("_images", "_videos", "_audios"), [None] * count)
    return {"_prompt": prompts, "_response": responses, "_system": [""] * count, "_tools": [tools] * count, **empty}
