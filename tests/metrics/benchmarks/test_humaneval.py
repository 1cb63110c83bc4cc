"""HumanEval: only by flag, only isolated; continuations and chat answers."""

import json
from pathlib import Path

import pytest

from llamafactory_ext.errors import OptionError
from llamafactory_ext.metrics import score
from llamafactory_ext.metrics.answers import Answered
from llamafactory_ext.metrics.benchmarks.humaneval import program
from llamafactory_ext.metrics.predictions import Prediction
from llamafactory_ext.metrics.references import Item
from llamafactory_ext.metrics.report import Mode
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
    text = program(one, mode)
    assert text.startswith("import math")
    assert ("Rounded area." in text) is kept
    assert text.count("def area") == 1
    assert text.endswith("\ncheck(area)\n")
    compile(text, "program", "exec")


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
