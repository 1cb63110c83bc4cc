"""BFCL's official multi_turn verdicts are those of its own checker, where a machine has a checkout of it.

LLAMAFACTORY_EXT_BFCL names a clone of github.com/ShishirPatil/gorilla, or its leaderboard's folder alone.
LLAMAFACTORY_EXT_BFCL_ROUNDS asks for more than two changed trajectories of each item, LLAMAFACTORY_EXT_BFCL_OUT names
a JSON file for the figures.
"""

import ast
import hashlib
import json
import os
import subprocess
import sys
from collections import Counter
from collections.abc import Mapping
from pathlib import Path
from typing import Any

import pytest

from llamafactory_ext.data.public.bfcl_files import bound, parameter_names
from llamafactory_ext.metrics import read_references, score
from llamafactory_ext.metrics.benchmarks.bfcl_multi_turn.checkout import Checkout, find_checkout
from llamafactory_ext.metrics.references import Item
from metrics.benchmarks.bfcl.trajectory_changes import CHANGES, Call, changed
from metrics.isolation import isolation_problem
from processes import run

ROUNDS = int(os.environ.get("LLAMAFACTORY_EXT_BFCL_ROUNDS", "2"))


@pytest.fixture(scope="module")
def checkout() -> Checkout:
    root = os.environ.get("LLAMAFACTORY_EXT_BFCL")
    if not root:
        pytest.skip("LLAMAFACTORY_EXT_BFCL names no checkout of gorilla, BFCL's repository")
    if (problem := isolation_problem()) is not None:
        pytest.skip(problem)
    return find_checkout(Path(root), Path(root))


def gold_calls(item: Item, functions: list[dict[str, Any]]) -> list[list[Call]]:
    return [[gold_call(text, functions) for text in texts] for texts in item.record["ground_truth"]]


def gold_call(text: str, functions: list[dict[str, Any]]) -> Call:
    node = ast.parse(text.strip(), mode="eval").body
    assert isinstance(node, ast.Call)
    name = ast.unparse(node.func)
    named = {str(keyword.arg): ast.literal_eval(keyword.value) for keyword in node.keywords}
    return name, bound(parameter_names(functions, name), [ast.literal_eval(one) for one in node.args], named)


def theirs(folder: Path, jobs: list[dict[str, Any]], work: Path) -> list[str]:
    (work / "job.json").write_text(json.dumps(jobs), encoding="utf-8")
    script = Path(__file__).with_name("published_multi_turn.py")
    result = run([sys.executable, str(script), str(folder), str(work / "job.json")], work)
    assert result.returncode == 0, result.stderr[-3000:]
    found: list[str] = json.loads(result.stdout)
    return found


def test_each_verdict_is_that_of_the_published_checker(checkout: Checkout, tmp_path: Path) -> None:
    items = read_references("bfcl_multi_turn", checkout.root).items
    documented = {name: checkout.functions([name]) for item in items for name in item.record["involved_classes"]}
    gold = [
        gold_calls(item, [one for name in item.record["involved_classes"] for one in documented[name]])
        for item in items
    ]
    figures: Counter[str] = Counter()
    kinds: Counter[str] = Counter()
    differing = []
    for seed in range(max(ROUNDS, -(-1_000 // len(items)))):
        jobs, lines, made = [], [], []
        for number, item in enumerate(items):
            others = [call for calls in gold[number - 1] for call in calls] or [("pwd", {})]
            methods = [one["name"] for name in item.record["involved_classes"] for one in documented[name]]
            one = changed(gold[number], others, methods, number + seed * 13, seed)
            record = {key: item.record[key] for key in ("id", "initial_config", "involved_classes", "question")}
            jobs.append(
                {"record": record, "gold": item.record["ground_truth"], "result": one.result, "calls": one.calls}
            )
            lines.append(json.dumps({"id": item.id, "prediction": one.result}))
            made.append(one)
            kinds.update(one.kinds)
        published = theirs(checkout.root, jobs, tmp_path)
        file = tmp_path / "predictions.jsonl"
        file.write_text("\n".join(lines) + "\n", encoding="utf-8")
        for verdict, told, one in zip(
            score("bfcl_multi_turn", file, checkout.root).verdicts, published, made, strict=True
        ):
            figures["trajectories"] += 1
            figures["right"] += not told
            figures[told or "right"] += bool(told)
            if (verdict.category if verdict.category != "correct" else "") != told:
                differing.append((verdict, told, one.kinds, one.result))
    figures["kinds of change"] = len(kinds)
    figures["differences"] = len(differing)
    keep(checkout, figures)
    assert not differing, (len(differing), differing[:5])
    assert figures["trajectories"] >= 1_000
    assert set(kinds) == set(CHANGES)
    assert 0.05 * figures["trajectories"] < figures["right"] < 0.95 * figures["trajectories"]


def keep(checkout: Checkout, figures: Mapping[str, int]) -> None:
    out = os.environ.get("LLAMAFACTORY_EXT_BFCL_OUT")
    if not out:
        return
    words = ["git", "-C", str(checkout.root), "rev-parse", "HEAD"]
    commit = subprocess.run(words, capture_output=True, text=True, check=False).stdout.strip()
    hashed = hashlib.sha256()
    for path in sorted((checkout.root / checkout.package / "eval_checker/multi_turn_eval").rglob("*.py")):
        hashed.update(path.read_bytes())
    origin = {"commit": commit} if commit else {"sha256 of multi_turn_eval/*.py": hashed.hexdigest()}
    path = Path(out)
    kept = json.loads(path.read_text("utf-8")) if path.exists() else {}
    kept["multi_turn_v4"] = origin | dict(sorted(figures.items()))
    path.write_text(json.dumps(kept, indent=2) + "\n", encoding="utf-8")
