"""BFCL's official verdicts are those of its own evaluator, where a machine has a checkout of it.

LLAMAFACTORY_EXT_BFCL names a clone of github.com/ShishirPatil/gorilla with its history: the evaluator and the data of
v3 are taken from the commit of 2024-12-17, those of v4 from HEAD. LLAMAFACTORY_EXT_BFCL_ROUNDS asks for more than one
prediction of each item, LLAMAFACTORY_EXT_BFCL_OUT names a JSON file for the figures.
"""

import ast
import json
import os
import subprocess
import sys
from collections import Counter
from collections.abc import Mapping, Sequence
from pathlib import Path
from typing import Any

import pytest

from llamafactory_ext.data.public.bfcl_files import CHECKED, DETECTION, EXECUTABLE
from llamafactory_ext.metrics import Verdict, read_references, score
from llamafactory_ext.metrics.benchmarks.bfcl import BY_POSITION
from llamafactory_ext.metrics.benchmarks.bfcl_reading import OTHER_FORMAT
from llamafactory_ext.metrics.references import Item
from llamafactory_ext.metrics.report import Mode
from metrics.benchmarks.bfcl.changes import Changed, changed
from metrics.benchmarks.bfcl.published import LEADERBOARD, constant
from metrics.published_data import write_predictions
from processes import run

V3 = "34c10d0fe2a5d13b610a20750311ef4c17af8a5d"
ROUNDS = int(os.environ.get("LLAMAFACTORY_EXT_BFCL_ROUNDS", "1"))
SETS = {
    "ast_v3": ("bfcl_ast", "v3", CHECKED),
    "ast_v4": ("bfcl_ast", "v4", CHECKED),
    "detection_v3": ("bfcl_ast", "v3", DETECTION),
    "detection_v4": ("bfcl_ast", "v4", DETECTION),
    "executable_v3": ("bfcl", "v3", EXECUTABLE),
}


def git(checkout: Path, *words: str) -> str:
    return subprocess.run(["git", "-C", str(checkout), *words], capture_output=True, text=True, check=True).stdout


@pytest.fixture(scope="module")
def checkout() -> Path:
    root = os.environ.get("LLAMAFACTORY_EXT_BFCL")
    if not root:
        pytest.skip("LLAMAFACTORY_EXT_BFCL names no checkout of gorilla, BFCL's repository")
    try:
        top = Path(git(Path(root), "rev-parse", "--show-toplevel").strip())
        git(top, "cat-file", "-e", f"{V3}:{LEADERBOARD}/bfcl/model_handler/utils.py")
    except (OSError, subprocess.CalledProcessError) as error:
        pytest.skip(f"{root} is no clone of gorilla with its history ({error}): git clone it without --depth")
    return top


def data(checkout: Path, version: str, categories: frozenset[str], folder: Path) -> Path:
    """The published files of some categories, with their answers."""
    commit, inside = (V3, "data") if version == "v3" else ("HEAD", "bfcl_eval/data")
    for category in sorted(categories):
        for name in (f"BFCL_{version}_{category}.json", f"possible_answer/BFCL_{version}_{category}.json"):
            try:
                content = git(checkout, "show", f"{commit}:{LEADERBOARD}/{inside}/{name}")
            except subprocess.CalledProcessError:
                continue
            (folder / name).parent.mkdir(parents=True, exist_ok=True)
            (folder / name).write_text(content, encoding="utf-8")
    return folder


def gold_calls(item: Item) -> list[tuple[str, dict[str, Any]]]:
    """The first allowed values, the calls of an executable item, or of a detection item a call made up."""
    if "possible_answer" in item.record:
        return [
            (name, {key: first(values[0]) for key, values in allowed.items() if values and values[0] != ""})
            for answer in item.record["possible_answer"]
            for name, allowed in answer.items()
        ]
    if "ground_truth" not in item.record:
        names = [function["name"] for function in item.record["function"]] or ["f"]
        return [(names[0], {"n": 3, "x": 2.5, "s": "a b", "l": [1, 2], "d": {"k": "v"}})]
    calls = []
    for text in item.record["ground_truth"]:
        node = ast.parse(text.strip(), mode="eval").body
        assert isinstance(node, ast.Call)
        order = next(f for f in item.record["function"] if f["name"] == ast.unparse(node.func))["parameters"]
        given = dict(zip(order["properties"], node.args, strict=False))
        given |= {str(keyword.arg): keyword.value for keyword in node.keywords}
        calls.append((ast.unparse(node.func), {key: constant(value) for key, value in given.items()}))
    return calls


def first(value: Any) -> Any:
    """The first allowed values within a value; in objects some are stated bare."""
    if isinstance(value, dict):
        chosen = {key: values[0] if isinstance(values, list) and values else values for key, values in value.items()}
        return {key: first(one) for key, one in chosen.items() if one != ""}
    return [first(item) for item in value] if isinstance(value, list) else value


def predictions(items: Sequence[Item], seed: int) -> dict[str, Changed]:
    found, other = {}, gold_calls(items[-1])
    for number, item in enumerate(items):
        calls = gold_calls(item)
        found[item.id] = changed(calls, other, number + seed * 17, seed)
        other = calls
    return found


def ours(benchmark: str, texts: Mapping[str, str], folder: Path, work: Path, mode: Mode) -> dict[str, Verdict]:
    file = write_predictions(work / "predictions.jsonl", benchmark, texts)
    return {verdict.id: verdict for verdict in score(benchmark, file, folder, mode).verdicts}


def theirs(checkout: Path, commit: str, kind: str, items: Sequence[Item], texts: Mapping[str, str], work: Path) -> Any:
    asked = [
        {
            "record": {"id": item.id, "function": item.record["function"]},
            "answer": item.record.get("possible_answer", item.record.get("ground_truth")),
            "group": item.group,
            "text": texts[item.id],
        }
        for item in items
    ]
    job = work / "job.json"
    job.write_text(json.dumps({"commit": commit, "kind": kind, "items": asked}), encoding="utf-8")
    result = run([sys.executable, str(Path(__file__).with_name("published.py")), str(checkout), str(job)], work)
    assert result.returncode == 0, result.stderr[-3000:]
    return dict(zip(texts, json.loads(result.stdout), strict=True))


@pytest.mark.parametrize("name", SETS)
def test_each_verdict_is_that_of_the_published_evaluator(checkout: Path, tmp_path: Path, name: str) -> None:
    benchmark, version, categories = SETS[name]
    commit = V3 if version == "v3" else "HEAD"
    folder = data(checkout, version, categories, tmp_path / "data")
    items = read_references(benchmark, folder).items
    rounds = max(ROUNDS, -(-1_000 // len(items)))
    figures: Counter[str] = Counter()
    kinds: Counter[str] = Counter()
    differing = []
    for seed in range(rounds):
        made = predictions(items, seed)
        texts = {id_: one.text for id_, one in made.items()}
        found = theirs(checkout, commit, name.partition("_")[0], items, texts, tmp_path)
        kinds.update(kind for one in made.values() for kind in one.kinds)
        official = ours(benchmark, texts, folder, tmp_path, "official")
        strict = ours(benchmark, texts, folder, tmp_path, "strict") if benchmark == "bfcl" else official
        for id_, text in texts.items():
            figures["predictions"] += 1
            figures["right"] += int(official[id_].scores[list(official[id_].scores)[-1]])
            if not agree(official[id_], strict[id_], found[id_], figures):
                differing.append((id_, text, made[id_].kinds, official[id_], found[id_]))
    figures["kinds of change"] = len(kinds)
    figures["undocumented differences"] = len(differing)
    keep(name, checkout, commit, figures)
    assert not differing, differing[:20]
    assert figures["predictions"] >= 1_000
    assert len(kinds) >= 40
    assert 0.05 * figures["predictions"] < figures["right"] < 0.95 * figures["predictions"]


def agree(official: Verdict, strict: Verdict, published: Any, figures: Counter[str]) -> bool:
    """Whether ours is theirs; of the executable split, but for the two differences that the docs state."""
    if isinstance(published, bool):
        (value,) = official.scores.values()
        return bool(value) is published
    if official.detail == OTHER_FORMAT:
        figures["documented: other format, which theirs does not decode"] += 1
        return not published["decoded"]
    if official.detail == BY_POSITION:
        figures["documented: arguments by position, which theirs drops"] += 1
        return bool(published["decoded"])
    return bool(official.scores["CF"]) is published["first"] and bool(strict.scores["CF"]) is published["all"]


def keep(name: str, checkout: Path, commit: str, figures: Mapping[str, int]) -> None:
    out = os.environ.get("LLAMAFACTORY_EXT_BFCL_OUT")
    if not out:
        return
    path = Path(out)
    kept = json.loads(path.read_text("utf-8")) if path.exists() else {}
    kept[name] = {"commit": git(checkout, "rev-parse", commit).strip(), **dict(sorted(figures.items()))}
    path.write_text(json.dumps(kept, indent=2) + "\n", encoding="utf-8")
