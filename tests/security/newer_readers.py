"""Readers of what newer commands write and read: the lab's rows, SKIntern's figures, comparisons, runs' own files."""

from __future__ import annotations

import csv
import io
import json
import shutil
from collections.abc import Callable
from pathlib import Path
from typing import Any

import yaml

from llamafactory_ext.analyse.parts import Parts
from llamafactory_ext.board.progress import curve, read_progress
from llamafactory_ext.checkpoint.base import MANIFEST
from llamafactory_ext.citi.run.folder import RunFolder
from llamafactory_ext.cl.measured import fact
from llamafactory_ext.cl.place import held
from llamafactory_ext.cl.plan import read_plan
from llamafactory_ext.cl.sources import convert as convert_tasks
from llamafactory_ext.cl.tasks import read_records
from llamafactory_ext.cl.toolsets import read_api_bank
from llamafactory_ext.data.entries import DataEntry
from llamafactory_ext.errors import CheckpointError, DataError
from llamafactory_ext.foreign import parsed
from llamafactory_ext.lab.methods import METHODS, SHIPPED_MODEL
from llamafactory_ext.lab.place import COLUMNS, measured_in, row_in
from llamafactory_ext.lab.ppo import Curve
from llamafactory_ext.lab.table import summary
from llamafactory_ext.lab.table_page import page as table_page
from llamafactory_ext.lab.table_rows import winner
from llamafactory_ext.metrics.judge import _read_log
from llamafactory_ext.metrics.kept import KeptVerdicts
from llamafactory_ext.serving.agent.tools import ToolFailureError
from llamafactory_ext.skintern.build import Steps
from llamafactory_ext.skintern.internalised import FIGURES, CallCost, Internalised, Row, Share
from llamafactory_ext.skintern.paper import GROUPS, beside
from llamafactory_ext.skintern.preview import side_by_side
from llamafactory_ext.skintern.records import read_skintern_records
from llamafactory_ext.skintern.report import read_runs, to_json
from llamafactory_ext.skintern.report_page import draw, page
from llamafactory_ext.skintern.score import READINGS, Cost, Reading, Scores
from llamafactory_ext.skintern.settings import Settings
from llamafactory_ext.tl.environments.openapi import address_of, operations_of
from skintern.knowledge import COLUMNS as KNOWLEDGE_COLUMNS
from skintern.knowledge import knowledge_records

CITI = METHODS[-1]
PLAN = {"citi_rank": 2, "dataset": ["a"]}


def _row(name: str = "citi", **more: Any) -> dict[str, Any]:
    scores = {key: {"n": 8, "right": 4, "accuracy": 0.5, "standard_error": 0.1, "unparsable": 0} for key in COLUMNS}
    made = {"label": "CITI, seed 42", "made_from": "x", "options": ["seed=42"], "training_seconds": 2.0}
    return {"name": name, **made, "general": 0.5, "scores": scores, **more}


def _lab_row(path: Path) -> None:
    row = row_in(path)
    assert row is not None
    row |= {"name": "citi-42"}
    found = summary(["citi"], 1, [row], {"citi": [row] * 4})
    winner("citi", [row] * 4)
    table_page(found)
    json.dumps(found, allow_nan=False)


def _lab_curve(path: Path) -> None:
    found = Curve.read(path.parent, 1, 400)
    found.to_dict(), found.correct_se


TRAINED = {
    "log_history": [
        *({"step": step, "eval_reward": 1.0, "eval_reward_se": 0.1, "eval_part_correct": 0.5} for step in (0, 10)),
        {"step": 10, "train_runtime": 3.0},
    ]
}


def _skintern_report(path: Path) -> None:
    runs, paper = read_runs([f"ours={path}"]), beside(GROUPS[0])
    json.dumps(to_json(runs, paper), allow_nan=False)
    page(runs, paper, b"").encode()
    if len(path.read_bytes()) % 4 == 0:  # pictures take long
        draw(runs, paper, io.BytesIO())


def _skintern_data(path: Path) -> None:
    info = {"knowledge": {"file_name": path.name, "columns": KNOWLEDGE_COLUMNS}}
    (path.parent / "dataset_info.json").write_text(json.dumps(info), encoding="utf-8")
    entry = DataEntry.named("knowledge", path.parent)
    list(read_skintern_records(entry))
    made = Steps(entry, Settings(shares=(1.0, 0.0), shots=1))
    for step in range(2):
        json.dumps(list(made.step(step)), ensure_ascii=False).encode()
    side_by_side(made, 0)


def _comparison() -> str:
    tasks = [{"name": name, "train": "train.json", "test": "test.json"} for name in ("one", "two")]
    return yaml.safe_dump(
        {"name": "c", "out": "out", "model": str(SHIPPED_MODEL), "template": "llama3", "methods": {"seq_lora": {}}}
        | {"seeds": [1], "train": {"max_steps": 2}, "tasks": tasks, "evaluate": {"base": True}}
    )


def _cl_plan(path: Path) -> None:
    for name, first in (("train", 0), ("test", 9)):
        items = [{"instruction": f"{number}", "input": "", "output": "x"} for number in range(first, first + 3)]
        (path.parent / f"{name}.json").write_text(json.dumps(items), encoding="utf-8")
    text = path.read_text("utf-8", errors="surrogateescape")
    for name in ("train.json", "test.json"):
        text = text.replace(f": {name}", f": {path.parent / name}")
    path.write_text(text.replace("out: out", f"out: {path.parent / 'out'}"), "utf-8", errors="surrogateescape")
    read_plan(path)


def _trace(path: Path) -> None:
    items = [{"prompt": f"t{number}", "answer": "1"} for number in range(3)]
    path.with_name("test.json").write_text(json.dumps(items), encoding="utf-8")
    convert_tasks("trace", path.parent, path.parent / "out", allow_leak=True)


def _cl_benchmark(path: Path) -> None:
    folder = path.parent / "NLI" / "MNLI"
    folder.mkdir(parents=True)
    shutil.copyfile(path, folder / "train.json")
    items = [{"sentence": f"test {i}", "label": "neutral"} for i in range(3)]
    (folder / "test.json").write_text(json.dumps(items), encoding="utf-8")
    (folder / "labels.json").write_text('["neutral"]', encoding="utf-8")
    (path.parent / "instruction_config.json").write_text('{"NLI": [{"instruction": "Which?"}]}', encoding="utf-8")
    convert_tasks("cl_benchmark", folder, path.parent / "out", allow_leak=True)


def _toolsets(path: Path) -> None:
    (path.parent / "meta").mkdir()
    (path.parent / "test-data").mkdir()
    rows = [["id", "应用场景", "类名"], *([str(n), domain, f"Api{n}"] for n, domain in enumerate(DOMAINS))]
    text = io.StringIO()
    csv.writer(text).writerows(rows)
    (path.parent / "meta" / "all_apis.csv").write_text(text.getvalue(), encoding="utf-8")
    shutil.move(path, path.parent / "test-data" / "level-1-api.json")
    read_api_bank(path.parent)


DOMAINS = ("账户管理", "健康管理", "日程安排和管理", "财务管理")
CALLS = [
    {
        "file": f"{n}-{dialogue}.jsonl",
        "instruction": "Generate.",
        "input": f"User: {n} {dialogue}",
        "expected_output": f"API-Request: [Api{n}(key='{dialogue}')]",
    }
    for n in range(len(DOMAINS))
    for dialogue in range(4)
]


def _mark(path: Path) -> None:
    with held(path.parent, "c"):
        pass


def _step(path: Path) -> None:
    if not fact(path):
        raise CheckpointError("nothing that can be read")


def _part(path: Path) -> None:
    class Shown:
        def add(self, what: str) -> int:
            return 0

        def tell(self, *_: Any) -> None:
            pass

    parts = Parts(path.parent, "icc")
    (path.parent / "parts").mkdir()
    key = "deea0f7771b9f0a5"  # of {"model": "m"}
    target = path.parent / "parts" / f"icc-{key}.json"
    path.replace(target)
    parts.part("one", {"model": "m"}, lambda: 1, Shown())  # type: ignore[arg-type]


def _phases(path: Path) -> None:
    (path.parent / "phase-1-rp").mkdir()
    log = {"current_steps": 1, "total_steps": 2, "loss": 1.0}
    (path.parent / "phase-1-rp" / "trainer_log.jsonl").write_text(json.dumps(log) + "\n")
    _progress(path.parent)


def _progress(folder: Path) -> None:
    found = read_progress(folder)
    if found is None:
        raise CheckpointError("no run in phases")
    found.percentage, found.running, curve(found.phases, "loss")
    [(phase.last("loss"), phase.steps) for phase in found.phases]


def _logged(path: Path) -> None:
    (path.parent / "phase-1-rp").mkdir()
    path.replace(path.parent / "phase-1-rp" / "trainer_log.jsonl")
    manifest = {"phases": [{"name": "rp", "title": "RP"}]}
    (path.parent / MANIFEST).write_text(json.dumps(manifest))
    _progress(path.parent)
    raise CheckpointError("read")


def _run_manifest(path: Path) -> None:
    folder = RunFolder(path.parent, [])
    folder.check(PLAN | RunFolder.LATER)
    folder.day()


def _openapi(path: Path) -> None:
    try:
        document = parsed(path.read_bytes())
        operations, _ = operations_of(document, "http://127.0.0.1:8000/openapi.json")
        if not operations:
            raise ValueError("no operation")
    except ValueError as error:  # which an episode counts as a fault of its environment
        raise DataError(str(error)) from None
    for operation in operations.values():
        json.dumps(operation.described())
        for arguments in ({}, dict.fromkeys(operation.places, "a/../b"), {key: [1, {}] for key in operation.places}):
            try:
                address_of(operation, arguments)
            except ToolFailureError:
                continue


OPENAPI = {
    "openapi": "3.1.0",
    "servers": [{"url": "/v1"}],
    "paths": {
        "/lamps/{id}": {
            "parameters": [{"name": "id", "in": "path", "required": True, "schema": {"type": "integer"}}],
            "get": {"operationId": "show", "summary": "Show.", "parameters": [{"$ref": "#/components/parameters/q"}]},
            "put": {
                "requestBody": {"content": {"application/json": {"schema": {"$ref": "#/components/schemas/lamp"}}}}
            },
        }
    },
    "components": {
        "parameters": {"q": {"name": "q", "in": "query", "schema": {"type": "string"}, "description": "d"}},
        "schemas": {"lamp": {"type": "object", "properties": {"level": {"type": "integer"}}, "required": ["level"]}},
    },
}


def _kept(path: Path) -> None:
    KeptVerdicts(path, "x")


KEPT = (
    '{"verdicts of an unfinished scoring": "x"}\n'
    '{"id": "1", "scores": {"TS": 1.0}, "category": "c", "parsed": true, "detail": "d", "group": "g"}\n'
)
SCORES = Scores(
    "gsm8k", dict.fromkeys(READINGS, Reading(0.5, 0.1, 4)), 4, 1, True, Cost(9.0, 3.0, 1e9, 1e6, 1e9), ("note",)
)
MEASURED = Internalised(
    tuple(Row(step, 1.0 - step, {name: Share(3, 8) for name in FIGURES}) for step in (0, 1)),
    {"documents": CallCost(300.0, 20.0, 1e6, 1e9)},
    42,
)
REPLY = {"key": "k", "text": "t", "prompt_tokens": 3, "completion_tokens": 4}
NEWER_READERS: dict[str, tuple[str, str, Callable[[Path], Any]]] = {
    "lab row": ("citi.json", json.dumps(_row()), _lab_row),
    "lab evaluation": ("e.json", json.dumps(_row()), measured_in),
    "lab curve": ("trainer_state.json", json.dumps(TRAINED), _lab_curve),
    "skintern scores": ("s.json", json.dumps(SCORES.to_json()), _skintern_report),
    "skintern measurement": ("s.json", json.dumps(MEASURED.to_json()), _skintern_report),
    "skintern records": ("k.json", json.dumps(knowledge_records(3)), _skintern_data),
    "teacher's log": ("teacher.jsonl", (json.dumps(REPLY) + "\n") * 2, _read_log),
    "kept verdicts": ("v.jsonl", KEPT, _kept),
    "cl comparison": ("cl.yaml", _comparison(), _cl_plan),
    "cl records": ("r.json", json.dumps([{"instruction": "a", "input": "", "output": "b"}] * 2), read_records),
    "cl trace": ("train.json", json.dumps([{"prompt": "a", "answer": "b"}] * 2), _trace),
    "cl benchmark": ("t.json", json.dumps([{"sentence": "a", "label": "neutral"}] * 2), _cl_benchmark),
    "cl api_bank": ("c.json", json.dumps(CALLS), _toolsets),
    "cl mark": ("comparison.json", json.dumps({"format": "llamafactory_ext comparison 1", "name": "c"}), _mark),
    "cl step": ("f.json", json.dumps({"made_from": "x", "score": 1.0}), _step),
    "analysis part": ("p.json", json.dumps({"made_from": {"model": "m"}, "value": 1}), _part),
    "phases": (MANIFEST, json.dumps({"phases": [{"name": "rp", "title": "RP"}]}), _phases),
    "manifest": (MANIFEST, json.dumps({"plan": PLAN | RunFolder.LATER, "date": "2026-01-01"}), _run_manifest),
    "openapi": ("o.json", json.dumps(OPENAPI), _openapi),
}
