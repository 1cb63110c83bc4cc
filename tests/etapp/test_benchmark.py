"""`infer` and `score` take ETAPP as they take other benchmarks, and give what `etapp run` and `etapp check` give."""

from __future__ import annotations

import json
from pathlib import Path
from typing import Any

import pytest

from llamafactory_ext.checkpoint.own import sha256
from llamafactory_ext.commands.score import score
from llamafactory_ext.errors import OptionError
from llamafactory_ext.etapp.checking import read_acted, report_of
from llamafactory_ext.etapp.mini import load
from llamafactory_ext.metrics import read_references
from llamafactory_ext.metrics.report import verdicts_path
from llamafactory_ext.serving.infer.run import infer
from metrics.judge_stub import judge_stub

pytestmark = pytest.mark.fast
SOURCE = load()


def ask(folder: Path, url: str, **changes: Any) -> Path:
    given = {"benchmark": "etapp", "source": "mini", "model": "m", "backend": "openai", "url": url, "limit": 3}
    infer(**(given | {"out": str(folder / "a.jsonl")} | changes))
    return folder / "a.jsonl"


def test_infer_and_score(tmp_path: Path) -> None:
    with judge_stub() as stub:
        stub.answers = ["I would rather not."]
        path = ask(tmp_path, stub.url, max_new_tokens=7)
        assert {body["max_tokens"] for body in stub.bodies} == {7}
        asked = len(stub.bodies)
        ask(tmp_path, stub.url, max_new_tokens=7)
        assert len(stub.bodies) == asked  # the same command asks nothing again
    score("etapp", str(path), "mini", "strict")
    found = json.loads((tmp_path / "a.strict.json").read_text())
    file, acted = read_acted(SOURCE, path)
    named = found.pop("verdicts_sha256")
    assert named == sha256(verdicts_path(path.with_name("a.strict.json")))
    assert found == json.loads(json.dumps(report_of(SOURCE, file, acted, len(SOURCE.cases)).to_json()))
    assert found["n_predictions"] == 3


@pytest.mark.parametrize(
    ("changes", "told"),
    [
        ({"backend": "hf"}, "--backend openai"),
        ({"turns": 3}, "--turns has no effect"),
        ({"template": "llama3"}, "--template has no effect"),
        ({"source": "nowhere"}, "nowhere"),
    ],
)
def test_options_that_cannot_be(tmp_path: Path, changes: dict[str, Any], told: str) -> None:
    with pytest.raises(Exception, match=told):
        ask(tmp_path, "http://127.0.0.1:9/v1", **changes)
    assert list(tmp_path.iterdir()) == []


def test_the_published_evaluator_is_a_judge(tmp_path: Path) -> None:
    (tmp_path / "a.jsonl").write_text("")
    with pytest.raises(OptionError, match=r"etapp judge --predictions .* --mode official"):
        score("etapp", str(tmp_path / "a.jsonl"), "mini")
    with pytest.raises(OptionError, match="no items"):
        read_references("etapp", tmp_path)
