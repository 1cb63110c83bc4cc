"""BFCL: the executable split's TS, PI and CF, the AST checks case by case, and gold answers."""

import json
from pathlib import Path
from typing import Any

import pytest

from llamafactory_ext.errors import DataError
from llamafactory_ext.metrics import Report, score
from llamafactory_ext.metrics.report import Mode
from metrics.published_data import published, write_predictions


def write_lines(path: Path, *records: dict[str, Any]) -> None:
    path.parent.mkdir(exist_ok=True)
    path.write_text("".join(json.dumps(record) + "\n" for record in records), encoding="utf-8")


def executable(tmp_path: Path, gold: list[str], answer: str, mode: Mode) -> Report:
    record = {"id": "exec_0", "question": [[]], "function": [], "ground_truth": gold}
    write_lines(tmp_path / "BFCL_v3_exec_simple.json", record)
    return score("bfcl", write_predictions(tmp_path / "p.jsonl", "bfcl", {"exec_0": answer}), tmp_path, mode)


TWO = ["f(a=1, b='x')", "g(c=[1, 2])"]


@pytest.mark.parametrize(
    ("gold", "answer", "official", "strict"),
    [
        (TWO, "[g(c=[1, 2]), f(a=1.0, b='x')]", 3, 3),
        (TWO, "f(a=1, b='x')", 3, 0),
        (TWO, "f(a=1, b='y')\ng(c=[1, 2])", 2, 2),
        (TWO, "f(a=1)\ng(c=[1, 2])", 1, 1),
        (TWO, "f(a=1, b='x')\nh(c=1)", 3, 0),
        (["f(p=1/6)"], "[f(p=1/6)]", 3, 3),
        (["f(p=True)"], "f(p=1)", 2, 2),
        (["math.f(x=(1, 2))"], '{"name": "math.f", "arguments": {"x": [1, 2]}}', 3, 3),
        (["f(a=1)"], "I would call f.", 0, 0),
        (["f(a=1)"], "f(a=", 0, 0),
        (["f(a=1)"], "", 0, 0),
    ],
)
def test_executable_split(tmp_path: Path, gold: list[str], answer: str, official: int, strict: int) -> None:
    for mode, level in (("official", official), ("strict", strict)):
        (verdict,) = executable(tmp_path, gold, answer, mode).verdicts  # type: ignore[arg-type]
        assert [verdict.scores[name] for name in ("TS", "PI", "CF")] == [float(level > place) for place in range(3)]


def test_foreign_gold(tmp_path: Path) -> None:
    with pytest.raises(DataError, match="exec_0: a published call is none"):
        executable(tmp_path, ["no call"], "f(a=1)", "official")


STOPS = "the published checker stops here (KeyError)"
PROPERTIES = {
    "n": {"type": "integer"},
    "x": {"type": "float"},
    "s": {"type": "string"},
    "b": {"type": "boolean"},
    "l": {"type": "array", "items": {"type": "string"}},
    "ns": {"type": "array", "items": {"type": "integer"}},
    "xs": {"type": "array", "items": {"type": "float"}},
    "t": {"type": "tuple", "items": {"type": "integer"}},
    "d": {"type": "dict"},
    "ds": {"type": "array", "items": {"type": "dict"}},
}


def ast_report(tmp_path: Path, allowed: dict[str, list[Any]], answer: str, mode: Mode, required: tuple = ()) -> Report:
    functions = [{"name": "f", "parameters": {"properties": PROPERTIES, "required": list(required)}}]
    write_lines(tmp_path / "BFCL_v3_simple.json", {"id": "simple_0", "question": [[]], "function": functions})
    answers = {"id": "simple_0", "ground_truth": [{"f": allowed}]}
    write_lines(tmp_path / "possible_answer" / "BFCL_v3_simple.json", answers)
    return score("bfcl_ast", write_predictions(tmp_path / "p.jsonl", "bfcl_ast", {"simple_0": answer}), tmp_path, mode)


@pytest.mark.parametrize(
    ("allowed", "answer", "official", "strict"),
    [
        ({"n": [1]}, "f(n=1)", "right", True),
        ({"n": [1]}, "[f(n=1)]", "right", True),
        ({"n": [1]}, "```f(n=1)```", "right", True),
        ({"n": [1]}, "f(n=1.0)", "type_error", True),
        ({"n": [1]}, "f(n=True)", "type_error", False),
        ({"x": [2.0]}, "f(x=2)", "right", True),
        ({"s": ["April 1, 2024"]}, "f(s='april 1,2024')", "right", True),
        ({"s": ["it's"]}, "f(s='it\"s')", "right", True),
        ({"s": ["a"]}, "f(s='b')", "value_error:string", False),
        ({"b": [True]}, "f(b=False)", "value_error:others", False),
        ({"l": [["A b", "c"]]}, "f(l=['a B', 'C'])", "right", True),
        ({"l": [["a", "c"]]}, "f(l=['c', 'a'])", "value_error:list/tuple", False),
        # A list needs items of the declared type, or of the first answer's first item.
        ({"l": [["a", 1]]}, "f(l=['a', 1])", "type_error:nested", True),
        ({"l": [[1, "a"]]}, "f(l=['a', 1])", "value_error:list/tuple", False),
        ({"ns": [[1, 2]]}, "f(ns=[1.0, 2])", "type_error:nested", True),
        ({"ns": [[1, 2]]}, "f(ns=[True, 2])", "type_error:nested", False),
        ({"xs": [[2.5, 3]]}, "f(xs=[2.5, 3])", "type_error:nested", True),
        ({"t": [[1, 2]]}, "f(t=(1, 2))", "right", True),
        ({"l": [["a"]]}, "f(l=('a',))", "type_error", True),
        ({"d": [{"k": ["V"], "o": ["", 1]}]}, "f(d={'k': 'v'})", "right", True),
        ({"d": [{"k": ["v"]}]}, "f(d={'k': 'v', 'z': 1})", "value_error:dict", False),
        ({"ds": [[{"k": [1]}, {"k": [2]}]]}, "f(ds=[{'k': 1}, {'k': 2}])", "right", True),
        ({"ds": [[{"k": [1]}]]}, "f(ds=[{'k': 1}, {'k': 2}])", "value_error:list/tuple", False),
        ({"n": [1], "s": ["", "x"]}, "f(n=1)", "right", True),
        ({"n": [1], "s": ["x"]}, "f(n=1)", "missing_optional", False),
        ({"n": [1]}, "f(n=1, q=2)", "unexpected_param", False),
        ({"n": [1]}, "g(n=1)", "wrong_func_name", False),
        ({"n": [1]}, "[f(n=1), f(n=1)]", "wrong_count", False),
        ({"s": ["len"]}, "f(s=len)", "right", False),
        ({"n": [1]}, '{"name": "f", "arguments": {"n": 1}}', "ast_decoder", True),
        ({"n": [1]}, "I call [f(n=1)]", "ast_decoder", True),
        ({"n": [1]}, "```python\nf(n=1)\n```", "ast_decoder", True),
        ({"n": [1]}, "r = f(n=1)", "ast_decoder", True),
        ({"n": [-5]}, "f(n=+5)", "right", False),
        ({"n": [5]}, "f(n=+5)", "value_error:others", True),
        ({"n": [6]}, "f(n=2*3)", "right", None),
        ({"s": ["..."]}, "f(s=...)", "right", None),
        ({"s": ["a"]}, "f(s=a.b)", "ast_decoder", None),
        ({"s": ["a"]}, "f(s=lambda: 1)", "ast_decoder", None),
        ({"d": [{"1": [2]}]}, "f(d={1: 2})", "value_error:dict", None),
        ({"n": [1]}, "Api().f(n=1)", "right", None),
        ({"s": ["", "x"]}, "f(s='')", "right", False),
        ({"s": ["", "x"]}, "f(s='-')", "right", False),
        ({"d": [{"k": {"in": ["v"]}}]}, "f(d={'k': {'in': 'v'}})", STOPS, True),
        ({"n": [1]}, "[f(n={{1: 2}})]", "ast_decoder", False),
        ({"n": [1]}, "[f(n={[1]})]", "ast_decoder", False),
        ({"n": [1]}, "[f(n={[1]: 2})]", "ast_decoder", False),
        ({"n": [1]}, "[f(n=9**9**9**9)]", "ast_decoder", False),
        ({"n": [1]}, "there is nothing to call", "ast_decoder", False),
    ],
)
def test_ast_checks(
    tmp_path: Path, allowed: dict[str, list[Any]], answer: str, official: str, strict: bool | None
) -> None:
    """`strict` is None where it depends on which python values are read at all, which is not this scorer's matter."""
    (verdict,) = ast_report(tmp_path, allowed, answer, "official").verdicts
    assert (verdict.category, verdict.scores["AST"]) == (official, float(official == "right"))
    (verdict,) = ast_report(tmp_path, allowed, answer, "strict").verdicts
    assert strict is None or verdict.scores["AST"] == float(strict)


def test_required_parameters(tmp_path: Path) -> None:
    (verdict,) = ast_report(tmp_path, {"n": ["", 1]}, "f()", "official", required=("n",)).verdicts
    assert verdict.category == "missing_required"


def test_missing_answers(tmp_path: Path) -> None:
    ast_report(tmp_path, {"n": [1]}, "f(n=1)", "official")
    write_lines(tmp_path / "possible_answer" / "BFCL_v3_simple.json", {"id": "simple_9", "ground_truth": []})
    with pytest.raises(DataError, match="has no answer for simple_0"):
        score("bfcl_ast", tmp_path / "p.jsonl", tmp_path)


def test_gold_answers_of_the_published_split(tmp_path: Path) -> None:
    folder = published("bfcl_v3")
    gold = {}
    for path in folder.glob("BFCL_v3_exec_*.json"):
        for line in path.read_text("utf-8").splitlines():
            record = json.loads(line)
            gold[record["id"]] = f"[{', '.join(record['ground_truth'])}]"
    file = write_predictions(tmp_path / "p.jsonl", "bfcl", gold)
    for mode in ("official", "strict"):
        report = score("bfcl", file, folder, mode)  # type: ignore[arg-type]
        assert {figure.value for figure in report.figures} == {1.0}
        assert not report.partial


def test_gold_answers_of_the_published_ast_split(tmp_path: Path) -> None:
    """Two of the 600 published answers fail the published checker: a required parameter, another name."""
    folder = published("bfcl_v3")
    gold = {}
    for path in (folder / "possible_answer").glob("*.json"):
        for line in path.read_text("utf-8").splitlines():
            record = json.loads(line)
            gold[record["id"]] = f"[{', '.join(first_call(call) for call in record['ground_truth'])}]"
    file = write_predictions(tmp_path / "p.jsonl", "bfcl_ast", gold)
    wrong = {
        verdict.id: verdict.category
        for verdict in score("bfcl_ast", file, folder).verdicts
        if not verdict.scores["AST"]
    }
    assert wrong == {"simple_200": "missing_required", "simple_363": "wrong_func_name"}
    assert score("bfcl_ast", file, folder, "strict").figure("AST").value == 1.0


def first_call(call: dict[str, dict[str, list[Any]]]) -> str:
    ((name, allowed),) = call.items()
    given = {key: first(values[0]) for key, values in allowed.items() if values[0] != ""}
    return f"{name}({', '.join(f'{key}={value!r}' for key, value in given.items())})"


def first(value: Any) -> Any:
    if isinstance(value, dict):
        return {key: first(values[0]) for key, values in value.items() if values[0] != ""}
    return [first(item) for item in value] if isinstance(value, list) else value
