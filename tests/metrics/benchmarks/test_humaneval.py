"""HumanEval: only by flag, only isolated; continuations and chat answers."""

import contextlib
import json
from pathlib import Path

import pytest

from llamafactory_ext.errors import DataError, OptionError
from llamafactory_ext.metrics import score
from llamafactory_ext.metrics.answers import Answered
from llamafactory_ext.metrics.benchmarks import humaneval
from llamafactory_ext.metrics.benchmarks.humaneval import solution
from llamafactory_ext.metrics.kept import KeptVerdicts
from llamafactory_ext.metrics.predictions import Prediction
from llamafactory_ext.metrics.references import Item
from llamafactory_ext.metrics.report import Mode, Verdict
from llamafactory_ext.metrics.sandbox import Outcome
from metrics.isolation import isolation_problem
from metrics.published_data import published, write_predictions

pytestmark = pytest.mark.fast

RECORD = {
    "task_id": "HumanEval/0",
    "prompt": "import math\n\n\ndef area(r: float) -> int:\n    '''Rounded area.'''\n",
    "entry_point": "area",
    "canonical_solution": "    return round(math.pi * r * r)\n",
    "test": "def check(candidate):\n    assert candidate(1) == 3\n",
}
RIGHT = RECORD["canonical_solution"]
CHAT = f"Here it is:\n```python\ndef area(r):\n{RIGHT}```\nThat rounds."


def written(folder: Path, *answers: str) -> tuple[Path, Path]:
    records = [RECORD | {"task_id": f"HumanEval/{number}"} for number in range(len(answers))]
    path = folder / "HumanEval.jsonl"
    path.write_text("".join(json.dumps(record) + "\n" for record in records), encoding="utf-8")
    texts = {f"HumanEval/{number}": answer for number, answer in enumerate(answers)}
    return write_predictions(folder / "p.jsonl", "humaneval", texts), path


def test_needs_the_flag(tmp_path: Path) -> None:
    with pytest.raises(OptionError, match="Add --execute"):
        score("humaneval", *written(tmp_path, RIGHT))


def test_pass_at_1(tmp_path: Path) -> None:
    problem = isolation_problem()
    files = written(tmp_path, RIGHT, "    return 4\n", CHAT, "    exit()\n")
    if problem is not None:
        with pytest.raises(OptionError, match="cannot be isolated"):
            score("humaneval", *files, execute=True)
        pytest.skip(problem)
    official = score("humaneval", *files, "official", execute=True)
    assert [verdict.category for verdict in official.verdicts] == ["passed", "failed", "failed", "failed"]
    assert "AssertionError" in official.verdicts[1].detail
    assert score("humaneval", *files, "strict", execute=True).figure("HE").value == 0.5


def test_an_interrupted_scoring_goes_on(tmp_path: Path, monkeypatch: pytest.MonkeyPatch) -> None:
    """Each verdict is kept as it falls; what was kept for other predictions is not taken."""
    files = written(tmp_path, RIGHT, "    return 4\n", RIGHT)
    kept = tmp_path / "kept.jsonl"
    run: list[str] = []

    def tests(program: str, *_: object, **__: object) -> Outcome:
        run.append(program)
        if len(run) == 2:
            raise KeyboardInterrupt
        return Outcome("finished", "", "")

    monkeypatch.setattr(humaneval, "run_tests", tests)
    with pytest.raises(KeyboardInterrupt):
        score("humaneval", *files, execute=True, kept=kept)
    assert len(kept.read_text(encoding="utf-8").splitlines()) == 2
    assert score("humaneval", *files, execute=True, kept=kept).figure("HE").n == 3
    assert len(run) == 4
    assert not kept.exists()


def test_only_kept_verdicts_are_replaced(tmp_path: Path) -> None:
    mine = tmp_path / "kept.jsonl"
    mine.write_text("mine\n", encoding="utf-8")
    with pytest.raises(DataError, match="would be overwritten"):
        KeptVerdicts(mine, "any")
    assert mine.read_text(encoding="utf-8") == "mine\n"
    first = KeptVerdicts(tmp_path / "other.jsonl", "first")
    first.add(Verdict("1", {"HE": 1.0}))
    with pytest.raises(DataError, match="by another process"):
        KeptVerdicts(tmp_path / "other.jsonl", "first")
    first._file.close()
    assert KeptVerdicts(tmp_path / "other.jsonl", "second").get("1") is None


@pytest.mark.parametrize(
    ("mode", "answer", "kept"),
    [
        ("official", RIGHT, True),
        ("strict", RIGHT, True),
        ("strict", f"```python\n{RIGHT}```", True),
        ("strict", CHAT, False),
        ("strict", f"```\ndef helper():\n    pass\n\ndef area(r):\n{RIGHT}", False),
    ],
)
def test_programs(mode: Mode, answer: str, kept: bool) -> None:
    one = Answered(Item("HumanEval/0", "", RECORD), Prediction("HumanEval/0", "humaneval", "", "", answer))
    text = solution(one, mode)
    assert text.startswith("import math")
    assert ("Rounded area." in text) is kept
    assert text.count("def area") == 1
    compile(text, "program", "exec")


@pytest.mark.parametrize("mode", ["official", "strict"])
def test_a_method_of_a_class_is_not_the_function_that_is_asked_for(mode: Mode) -> None:
    """As in the published evaluators, whose tests call the function by its name."""
    method = "class Solution:\n    def area(self, r):\n        return round(math.pi * r * r)\n"
    one = Answered(
        Item("HumanEval/0", "", RECORD), Prediction("HumanEval/0", "humaneval", "", "", f"```python\n{method}```")
    )
    made: dict[str, object] = {}
    with contextlib.suppress(SyntaxError):
        exec(solution(one, mode), made)
    area = made.get("area")
    assert not callable(area) or area(1) is None


def test_published_solutions_pass(tmp_path: Path) -> None:
    """Ten of them, to stay quick."""
    folder = published("humaneval")
    problem = isolation_problem()
    if problem is not None:
        pytest.skip(problem)
    from llamafactory_ext.metrics import read_references

    items = read_references("humaneval", folder).items[::17]
    answers = {item.id: item.record["canonical_solution"] for item in items}
    report = score("humaneval", write_predictions(tmp_path / "p.jsonl", "humaneval", answers), folder, execute=True)
    assert (report.figure("HE").value, report.figure("HE").n, report.partial) == (1.0, 10, True)
