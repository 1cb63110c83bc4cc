"""Row 13: preparing data of tl_sft and citi, read back and compared, against upstream's supervised preparation.

Once with the same tools in every dialogue, whose text is encoded once, and once with other tools in each; with the
embedded model's tokenizer and with a byte-level BPE of 32,000 tokens that splits texts as Qwen's does. Apart (row
"prepare"), 20,000 dialogues for tl_sft and 40,000 records for citi, half of them without tools, in batches.
"""

from __future__ import annotations

import json
import random
import time
from collections.abc import Callable, Iterator, Mapping, Sequence
from pathlib import Path
from typing import Any

import transformers
from llamafactory.data.processor import SupervisedDatasetProcessor
from llamafactory.hparams import DataArguments
from measure import Figure, Row, time_ratio
from setting import SHAPES, Setting
from tokenizers import Regex, Tokenizer, decoders, models, pre_tokenizers, trainers
from transformers import AutoTokenizer, PreTrainedTokenizerFast

from llamafactory_ext.lab.methods import SHIPPED_MODEL
from llamafactory_ext.tl.sft.examples import Settings
from llamafactory_ext.upstream.pipeline.fitting import fit_template
from llamafactory_ext.upstream.pipeline.requests import request_marks, request_records, request_weights
from llamafactory_ext.upstream.pipeline.weights import WeighedMarkedProcessor, WeighedProcessor

TEMPLATE = "qwen3"
DIALOGUES = 200  # the ratio does not depend on their number
GOAL = 1.25
BATCH = 1_000  # as upstream's loader hands records on
SIZES = {"tl_sft": 20_000, "citi": 40_000}
_SCHEMA = {
    "type": "object",
    "properties": {
        "city": {"type": "string", "description": "The city, as people who live there write it."},
        "days": {"type": "integer", "description": "For how many days."},
    },
    "required": ["city"],
}
_NAMES = ("get_weather", "get_weather_today", "find_city", "get_time", "book_hotel")


_SPLIT = (
    r"(?i:'s|'t|'re|'ve|'m|'ll|'d)|[^\r\n\p{L}\p{N}]?\p{L}+|\p{N}| ?[^\s\p{L}\p{N}]+[\r\n]*|\s*[\r\n]+|\s+(?!\S)|\s+"
)
_VERBS = ("get", "find", "list", "book", "cancel", "update", "search", "compare", "convert", "send")
_THINGS = ("weather", "flight", "hotel", "time", "currency", "route", "recipe", "ticket", "invoice", "calendar")
_WORDS = (
    *("the", "of", "which", "user", "query", "value", "place", "given"),
    *("returns", "data", "current", "local", "within", "number", "name", "date", "format"),
)


def run(setting: Setting) -> list[Row]:
    """Dialogues of two calls with results and an answer, five tools each; CPU time of one process."""
    toy = setting.shape is SHAPES["toy"]
    count = 4 if toy else DIALOGUES
    row = Row("13", f"preparing {count} dialogues with two calls, read back / upstream's supervised preparation")
    row.settings = {"template": TEMPLATE, "clock": "CPU time of one process"}
    tokenizers = {"the embedded model's tokenizer": AutoTokenizer.from_pretrained(SHIPPED_MODEL)}
    if not toy:
        tokenizers["32,000 tokens"] = _large_tokenizer()
    for about, tokenizer in tokenizers.items():
        for tools, rows in (("the same tools", _rows(count)), ("other tools in each", _rows(count, own_tools=True))):
            found = _cpu_times(_preparations(tokenizer, rows, count), setting.rounds)
            row.figures += [
                time_ratio(f"{name}, {tools}, {about}: time / upstream", name, "upstream", found, GOAL)
                for name in ("tl_sft", "citi")
            ]
            each = sorted(found["upstream"])[len(found["upstream"]) // 2] / count
            name = f"upstream, {tools}, {about}: microseconds per dialogue"
            row.figures.append(Figure(name, each * 1e6, unit="us"))
    return [row]


def whole(setting: Setting) -> list[Row]:
    """As many dialogues as a user has, other tools in each; every batch is a round of both preparations."""
    toy = setting.shape is SHAPES["toy"]
    batch = 4 if toy else BATCH
    tokenizer = AutoTokenizer.from_pretrained(SHIPPED_MODEL)
    rows = []
    for name, wanted in SIZES.items():
        size = 2 * batch if toy else wanted
        general = name == "citi"
        row = Row("prepare", f"preparing {size:,} records by {name}, read back / upstream's supervised preparation")
        row.settings = {"template": TEMPLATE, "clock": "CPU time of one process", "batch": batch}
        found: dict[str, list[float]] = {"upstream": [], name: []}
        for start in range(0, size, batch):
            records = _rows(batch, own_tools=True, start=start, general=general)
            made = _preparations(tokenizer, records, batch)
            order = list(found) if start // batch % 2 else list(reversed(found))
            for one, seconds in _cpu_times({one: made[one] for one in order}, 1, warm=start == 0).items():
                found[one] += seconds
        row.figures.append(time_ratio(f"{name}: time / upstream", name, "upstream", found, GOAL))
        row.figures += [Figure(f"{one}: CPU time", sum(taken), unit="s") for one, taken in found.items()]
        rows.append(row)
    return rows


def _preparations(tokenizer: Any, rows: dict[str, list[Any]], count: int) -> dict[str, Callable[[], None]]:
    """What is compared, by its name."""
    data_args = DataArguments(template=TEMPLATE, cutoff_len=8192)
    parts = {"tokenizer": tokenizer, "processor": None}
    template = fit_template(parts, data_args)

    def prepare(kind: Any, asked: Any, rows: Mapping[str, list[Any]]) -> Callable[[], None]:
        processor = kind(template=template, data_args=asked, **parts)
        return lambda: processor.preprocess_dataset(dict(rows))

    marked = rows | {"_mark": ["tool"] * count, "_task": ["tool"] * count}
    weighed = request_records(request_weights(data_args, Settings()), "keep")
    return {
        "upstream": prepare(SupervisedDatasetProcessor, data_args, rows),
        "tl_sft": prepare(WeighedProcessor, weighed, rows),
        "citi": prepare(WeighedMarkedProcessor, request_records(request_marks(data_args), "keep"), marked),
    }


def _cpu_times(calls: Mapping[str, Callable[[], None]], rounds: int, *, warm: bool = True) -> dict[str, list[float]]:
    found: dict[str, list[float]] = {name: [] for name in calls}
    for turn in range(rounds + warm):
        for name, call in calls.items():
            start = time.process_time()
            call()
            if turn >= warm:  # the first is a warm-up
                found[name].append(time.process_time() - start)
    return found


def _large_tokenizer() -> Any:
    """A byte-level BPE trained on the sources of transformers."""
    bpe = Tokenizer(models.BPE())
    steps = [pre_tokenizers.Split(Regex(_SPLIT), "isolated")]
    steps.append(pre_tokenizers.ByteLevel(add_prefix_space=False, use_regex=False))
    bpe.pre_tokenizer, bpe.decoder = pre_tokenizers.Sequence(steps), decoders.ByteLevel()
    alphabet = sorted(pre_tokenizers.ByteLevel.alphabet())
    trainer = trainers.BpeTrainer(vocab_size=32_000, initial_alphabet=alphabet, show_progress=False)
    bpe.train_from_iterator(_sources(), trainer)
    bpe.add_special_tokens(["<|im_start|>", "<|im_end|>", "<tool_call>", "</tool_call>", "<think>", "</think>"])
    return PreTrainedTokenizerFast(tokenizer_object=bpe, **dict.fromkeys(("eos_token", "pad_token"), "<|im_end|>"))


def _sources() -> Iterator[str]:
    for path in sorted(Path(transformers.__file__).parent.glob("models/*/modeling_*.py"))[:100]:
        yield path.read_text("utf-8")[:40_000]


def _rows(count: int, *, own_tools: bool = False, start: int = 0, general: bool = False) -> dict[str, list[Any]]:
    """Aligned examples as upstream's loader hands them on; of `general` ones every other has no tools."""
    names, column = list(_NAMES), _column(_NAMES, [f"Does {name}." for name in _NAMES])
    prompts, responses, columns = [], [], []
    for i in range(start, start + count):
        if general and i % 2:
            asked = f"Write {i} words on {' '.join(random.Random(i).choices(_WORDS, k=30))}."
            prompts.append([{"role": "user", "content": asked}])
            responses.append([{"role": "assistant", "content": " ".join(random.Random(-i).choices(_WORDS, k=120))}])
            columns.append("")
            continue
        if own_tools:
            draw = random.Random(i)
            names = [f"{draw.choice(_VERBS)}_{draw.choice(_THINGS)}_{k}" for k in range(5)]
            column = _column(names, [" ".join(draw.choices(_WORDS, k=10)) for _ in names])
        call = json.dumps({"name": names[i % len(names)], "arguments": {"city": f"Town {i}", "days": i % 7}})
        result = json.dumps({"degrees": i % 30, "sky": "clear"})
        turns = [("user", f"How will the weather of town {i} be?"), ("function", call), ("observation", result)]
        turns += turns[1:]
        prompts.append([{"role": role, "content": content} for role, content in turns])
        responses.append([{"role": "assistant", "content": f"It will be {i % 30} degrees, and clear; take a hat."}])
        columns.append(column)
    empty = dict.fromkeys(("_images", "_videos", "_audios"), [None] * count)
    return {"_prompt": prompts, "_response": responses, "_system": [""] * count, "_tools": columns, **empty}


def _column(names: Sequence[str], about: Sequence[str]) -> str:
    """Tools as the text of a record's column."""
    tools = [
        {"name": name, "description": text, "parameters": _SCHEMA} for name, text in zip(names, about, strict=True)
    ]
    return json.dumps(tools)
