"""Every reader of files, with a file that it takes; the fuzz changes the file's bytes and its values."""

from __future__ import annotations

import json
from collections.abc import Callable
from pathlib import Path
from typing import Any

from citi.test_importance_file import FULL
from data.samples import SAMPLES
from data.test_mix import alpaca
from llamafactory_ext.analyse.overlap import overlaps
from llamafactory_ext.checkpoint.folders import find_fault, newest_checkpoint
from llamafactory_ext.citi.importance_file import Importance
from llamafactory_ext.data.checks.audit import audit
from llamafactory_ext.data.entries import DataEntry
from llamafactory_ext.data.family import ALPACA
from llamafactory_ext.data.files.writing import read_dataset_info
from llamafactory_ext.data.preview.request import from_yaml
from llamafactory_ext.data.public.convert import Request, convert
from llamafactory_ext.errors import CheckpointError, DataError
from llamafactory_ext.metrics.predictions import read_predictions
from llamafactory_ext.metrics.references import read_references
from llamafactory_ext.metrics.report import read_report, read_verdicts
from llamafactory_ext.serving.infer.identity import adapter_base
from llamafactory_ext.serving.infer.questions import of_file
from llamafactory_ext.tl.statistics import error_statistics
from metrics.benchmarks.test_rotbench import WEATHER, record
from security.etapp_readers import ETAPP_READERS
from security.newer_readers import NEWER_READERS
from tl import trajectories

Reader = Callable[[Path], Any]
OPENAI: list[dict[str, Any]] = [
    {
        "messages": [
            {"role": "system", "content": "s"},
            {"role": "user", "content": "q"},
            {
                "role": "assistant",
                "content": None,
                "tool_calls": [
                    {"id": "1", "type": "function", "function": {"name": "f", "arguments": '{"a": 1, "b": [null]}'}}
                ],
            },
            {"role": "tool", "content": "r", "tool_call_id": "1"},
            {"role": "assistant", "content": "done"},
        ],
        "tools": [{"type": "function", "function": {"name": "f", "parameters": {"type": "object"}}}],
    }
] * 2
REPORT = {
    "benchmark": "rotbench",
    "mode": "official",
    "figures": [{"name": "TS", "value": 0.5, "n": 2, "parse_failures": 0, "standard_error": None}],
    "predictions_sha256": "a",
    "references_sha256": "b",
    "model_hashes": ["c"],
    "n_references": 3,
    "n_predictions": 2,
    "notes": ["n"],
    "judge": None,
}


def _lines(records: list[Any]) -> str:
    return "".join(json.dumps(one) + "\n" for one in records)


def _entry(layout: dict[str, Any]) -> Reader:
    def read(path: Path) -> None:
        (path.parent / "dataset_info.json").write_text(json.dumps({"d": {"file_name": path.name, **layout}}))
        entry = DataEntry.named("d", path.parent)
        found = audit(entry)
        if layout.get("formatting") == "sharegpt":
            error_statistics(entry, "structured", None)
        if found.problem or len(found.errors):
            raise DataError(found.problem or "errors")

    return read


def _info(path: Path) -> None:
    (path.parent / "x.json").write_text("[]")
    info = read_dataset_info(path.parent)
    for name in [*info, "x"]:
        DataEntry.named(name, path.parent)
    DataEntry.found("x", path.parent)


def _mark(path: Path) -> None:
    (path.parent / "checkpoint-3").mkdir(exist_ok=True)
    path.replace(path.parent / "checkpoint-3" / "complete.json")
    fault = find_fault(path.parent / "checkpoint-3")
    newest_checkpoint(path.parent)
    if fault is not None and "damaged" in fault:
        raise CheckpointError(fault)


def _adapter(path: Path) -> None:
    adapter_base(path.parent)


def _overlap(path: Path) -> None:
    read = Importance.load(path)
    read.check_scores(path)
    overlaps({name: task.scores for name, task in read.tasks.items()}, 0)


def _importance(path: Path) -> None:
    importance = Importance.load(path)
    importance.select(0.4, 0.4)
    importance.tool_scores(), importance.general_scores(), importance.remarks(0.4, 0.4)


SHAREGPT = {
    "formatting": "sharegpt",
    "columns": {"messages": "conversations", "tools": "tools", "system": "system", "mark": "mark", "task": "task"},
}
OPENAI_LAYOUT = {
    "formatting": "openai",
    "columns": {"messages": "messages", "tools": "tools"},
    "tags": {
        "role_tag": "role",
        "content_tag": "content",
        "user_tag": "user",
        "assistant_tag": "assistant",
        "observation_tag": "tool",
        "function_tag": "function_call",
        "system_tag": "system",
    },
}
INFO = {
    "x": {"file_name": "x.json", "formatting": "sharegpt", "columns": {"messages": "m"}, "tags": {"role_tag": "r"}}
}
READERS: dict[str, tuple[str, str, Reader]] = {
    "alpaca": ("d.json", json.dumps(alpaca("tool", "t", 2)), _entry(ALPACA.entry("d.json"))),
    "sharegpt": ("d.json", json.dumps(trajectories.records(2)), _entry(SHAREGPT)),
    "openai": ("d.json", json.dumps(OPENAI), _entry(OPENAI_LAYOUT)),
    "jsonl": ("d.jsonl", _lines(OPENAI), _entry(OPENAI_LAYOUT)),
    "dataset_info": ("dataset_info.json", json.dumps(INFO), _info),
    "importance": ("importance.json", "", _importance),
    "predictions": (
        "p.jsonl",
        _lines(
            [
                {"id": str(n), "benchmark": "b", "prompt_hash": "p", "model_hash": "m", "prediction": "x"}
                | {"messages": [{"role": "assistant", "content": "x"}]}
                for n in range(2)
            ]
        ),
        read_predictions,
    ),
    "report": ("r.json", json.dumps(REPORT), read_report),
    "verdicts": (
        "v.jsonl",
        _lines([{"id": "1", "scores": {"TS": 1.0}, "category": "c", "parsed": True, "detail": "d", "group": "g"}] * 2),
        read_verdicts,
    ),
    "questions": ("q.json", json.dumps(alpaca("tool", "t", 2)), lambda path: of_file(path, "b")),
    "dialogues": ("q.json", json.dumps(OPENAI), lambda path: of_file(path, "b")),
    "references": ("clean.json", json.dumps([record(WEATHER)] * 2), lambda path: read_references("rotbench", path)),
    "yaml": (
        "y.yaml",
        "model_name_or_path: m\ntemplate: qwen\ndataset: a,b\ncutoff_len: 20\nlist: [1, {a: b}]\n",
        from_yaml,
    ),
    "mark": (
        "mark.json",
        json.dumps({"files": {"a": {"bytes": 1, "sha256": "x"}}, "resumable": True, "run": "r"}),
        _mark,
    ),
    **ETAPP_READERS,
    **NEWER_READERS,
    "importance of tasks": ("importance.json", "", _overlap),
    "adapter": (
        "adapter_config.json",
        json.dumps({"peft_type": "MOLORA", "base_model_name_or_path": "b", "r": 8, "target_modules": ["a"]}),
        _adapter,
    ),
}
_LINES = ("gsm8k", "bfcl", "humaneval", "nq_open")
for _name in SAMPLES:
    READERS[f"convert {_name}"] = (
        "c.jsonl" if _name in ("gsm8k", "humaneval", "nq_open") else "c.json",
        _lines(SAMPLES[_name][:2]) if _name in _LINES else json.dumps(SAMPLES[_name][:2]),
        lambda path, name=_name: convert(  # type: ignore[misc]
            Request(name, path, path.parent / "out", dataset_name=f"d{abs(hash(path.read_bytes()))}")
        ),
    )


def importance_text(folder: Path) -> str:
    FULL.save(folder / "importance.json")
    return (folder / "importance.json").read_text("utf-8")
