"""From a served model to the page with the real commands: run, check, judge, report, by the script and alone."""

from __future__ import annotations

import json
import shutil
from pathlib import Path

import pytest

from etapp.test_judging import filled, reply
from forked import run
from llamafactory_ext.etapp.mini import load
from metrics.judge_stub import judge_stub
from processes import BIN

SCRIPT = Path(__file__).parents[2] / "examples" / "scripts" / "run_etapp_table.sh"
pytestmark = pytest.mark.skipif(shutil.which("bash") is None, reason="bash is not installed")


def script(folder: Path, *words: str, **variables: str) -> tuple[int, str]:
    path = f"{BIN}:/usr/bin:/bin"
    done = run(["bash", str(SCRIPT), *words], folder, PATH=path, NO_PROXY="127.0.0.1", **variables)
    return done.returncode, done.stdout + done.stderr


def test_two_models_in_one_setting(tmp_path: Path) -> None:
    (tmp_path / "ids.txt").write_text("\n".join(case.id for case in load().cases[:2]))
    with judge_stub() as stub:
        stub.answers = [reply(filled())]  # what the judge says; as a model's answer it is words without a call
        words = ["base=m", f"tuned=n@{stub.url}", "--url", stub.url, "--cases", "ids.txt", "--settings", "given"]
        words += ["--strategies", "fc", "--judge", "--out", "out", "--", "turns=2"]
        judge = {"LLAMAFACTORY_EXT_JUDGE_URL": stub.url, "LLAMAFACTORY_EXT_JUDGE_MODEL": "j"}
        code, said = script(tmp_path, *words, **judge)
        assert code == 0, said
        asked = len(stub.bodies)
        assert {body["model"] for body in stub.bodies} == {"m", "n", "j"}
        code, said = script(tmp_path, *words, **judge)
        assert code == 0, said
        assert len(stub.bodies) == asked  # nothing is asked twice
    steps = [line.split()[0] for line in (tmp_path / "out" / "summary.txt").read_text().splitlines()[1:]]
    assert len(steps) == 7
    found = json.loads((tmp_path / "out" / "report.given.fc" / "report.json").read_text())
    assert [one["name"] for one in found["runs"]] == ["base", "tuned"]
    assert found["runs"][0]["judges"][0]["judge"]["model"] == "j"
    assert found["differences"][0]["difference"] == 0


def test_all_that_is_wrong_at_once(tmp_path: Path) -> None:
    words = ["a/b=x", "--source", "nowhere", "--settings", "x", "--strategies", "y", "--trials", "0", "--judge"]
    code, said = script(tmp_path, *words, "--", "out=z")
    assert code == 2
    wrong = ("a/b", "--source", "--settings", "--strategies", "--trials", "--judge needs", "out is set")
    assert all(part in said for part in wrong), said
    assert not (tmp_path / "saves").exists()
