"""The readers of ETAPP, each with a file that it takes: episodes, a judge's verdicts, people's scores, a checkout."""

from __future__ import annotations

import hashlib
import json
import tempfile
from collections.abc import Callable
from functools import cache
from pathlib import Path
from typing import Any

from etapp.small_checkout import make
from llamafactory_ext.etapp.agents import agent
from llamafactory_ext.etapp.agreement import agreement
from llamafactory_ext.etapp.checking import read_acted, report_of
from llamafactory_ext.etapp.checkout import INSTRUCTIONS, OPTIONAL, PROFILES, Checkout
from llamafactory_ext.etapp.export import Wanted, export
from llamafactory_ext.etapp.judging import prompt_of
from llamafactory_ext.etapp.mini import load, load_gold
from llamafactory_ext.etapp.page import read_runs, write
from llamafactory_ext.etapp.run import RunOptions, run
from llamafactory_ext.metrics.report import read_verdicts, write_report

SOURCE = load()
CASES = SOURCE.cases[:2]
SCORES = {"procedure": 4, "personalization": 4, "proactivity": 3}
JUDGED = {
    "benchmark": "etapp",
    "mode": "strict",
    "figures": [],
    "references_sha256": "b",
    "model_hashes": ["c"],
    "n_references": 3,
    "n_predictions": 2,
    "notes": [],
    "judge": {"model": "m"},
}


def _lines(records: list[Any]) -> str:
    return "".join(json.dumps(one) + "\n" for one in records)


@cache
def episodes(sandbox: str = "strict") -> str:
    with tempfile.TemporaryDirectory() as folder:
        path = Path(folder) / "e.jsonl"
        run(SOURCE, CASES, agent("gold", load_gold()), {}, RunOptions(sandbox=sandbox, quiet=True), path)
        return path.read_text("utf-8")


def _episodes(path: Path) -> None:
    file, acted = read_acted(SOURCE, path)
    write_report(report_of(SOURCE, file, acted, 48), path.parent / "checked.json")
    for one in acted:
        prompt_of(SOURCE, one)
    write(SOURCE, read_runs(SOURCE, [str(path)]), path.parent / "page", [path])
    export(SOURCE, acted, {}, Wanted(checks="any"), path.parent / "sft.json", path)


def _judged(verdicts: Path, episodes: bytes) -> None:
    """Write the report that names these verdicts, whatever they hold."""
    named = {"predictions_sha256": episodes, "verdicts_sha256": verdicts.read_bytes()}
    told = JUDGED | {name: hashlib.sha256(content).hexdigest() for name, content in named.items()}
    report = verdicts.with_name(verdicts.name.replace(".verdicts.jsonl", ".json"))
    report.write_text(json.dumps(told), encoding="utf-8")


def _verdicts(path: Path) -> None:
    folder, content = path.parent, episodes().encode()
    (folder / "e.jsonl").write_bytes(content)
    _judged(path, content)
    (folder / "human.jsonl").write_text(HUMAN, encoding="utf-8")
    write(SOURCE, read_runs(SOURCE, [f"{folder}/e.jsonl"]), folder / "page")
    agreement(folder / "human.jsonl", path)
    _, acted = read_acted(SOURCE, folder / "e.jsonl")
    export(SOURCE, acted, {one.id: one for one in read_verdicts(path)}, Wanted(), folder / "sft.json", path)


def _human(path: Path) -> None:
    verdicts = path.parent / "v.verdicts.jsonl"
    verdicts.write_text(VERDICTS, encoding="utf-8")
    _judged(verdicts, b"")
    agreement(path, verdicts)


def _in_checkout(name: str) -> Callable[[Path], None]:
    def read(path: Path) -> None:
        clone = make(path.parent / "clone")
        (clone / name).write_bytes(path.read_bytes())
        checkout = Checkout(clone)
        checkout.source(), checkout.missing()

    return read


def _made(name: str) -> str:
    with tempfile.TemporaryDirectory() as folder:
        return (make(Path(folder)) / name).read_text("utf-8")


HUMAN = _lines([{"id": case.id, **SCORES} for case in CASES])
VERDICTS = _lines(
    [
        {"id": case.id, "scores": {"PRC": 0.8}, "category": "good", "parsed": True, "detail": json.dumps(SCORES)}
        for case in CASES
    ]
)
TABLE = str(OPTIONAL["find_accommodations"])
ETAPP_READERS: dict[str, tuple[str, str, Callable[[Path], Any]]] = {
    "etapp episodes": ("e.jsonl", episodes(), _episodes),
    "etapp published episodes": ("e.jsonl", episodes("reference"), _episodes),
    "etapp verdicts": ("e.judge.verdicts.jsonl", VERDICTS, _verdicts),
    "etapp people": ("h.jsonl", HUMAN, _human),
    "etapp instructions": ("i.json", _made(INSTRUCTIONS), _in_checkout(INSTRUCTIONS)),
    "etapp profiles": ("p.json", _made(PROFILES), _in_checkout(PROFILES)),
    "etapp table": ("t.csv", _made(TABLE), _in_checkout(TABLE)),
}
