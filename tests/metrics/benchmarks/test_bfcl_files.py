"""BFCL's files of v3 and v4: which are read, by whose decoder, and what is asked, converted and scored of them."""

import json
from pathlib import Path
from typing import Any

import pytest

from llamafactory_ext.data.public.bfcl_files import bound, paired_answers
from llamafactory_ext.data.public.convert import Request, convert
from llamafactory_ext.errors import DataError, OptionError
from llamafactory_ext.metrics import Prediction, Report, read_references, score
from llamafactory_ext.metrics.benchmarks.pairing import can_pair
from llamafactory_ext.metrics.report import Mode
from llamafactory_ext.serving.infer.names import SentNames
from llamafactory_ext.serving.infer.questions import of_benchmark
from metrics.published_data import write_predictions

pytestmark = pytest.mark.fast

FUNCTION = {
    "name": "geo.area",
    "description": "Area.",
    "parameters": {
        "type": "dict",
        "properties": {"base": {"type": "integer"}, "sides": {"type": "array", "items": {"type": "integer"}}},
        "required": ["base"],
    },
}
RIGHT = "[geo.area(base=3, sides=[1, 2])]"


def record(id_: str, **more: Any) -> dict[str, Any]:
    return {"id": id_, "question": [[{"role": "user", "content": "How large?"}]], "function": [FUNCTION], **more}


def write(path: Path, *records: dict[str, Any]) -> None:
    path.parent.mkdir(parents=True, exist_ok=True)
    path.write_text("".join(json.dumps(one) + "\n" for one in records), encoding="utf-8")


def write_ast(folder: Path, category: str, version: str = "v3") -> str:
    id_ = f"{category}_0"
    write(folder / f"BFCL_{version}_{category}.json", record(id_))
    answer = {"id": id_, "ground_truth": [{"geo.area": {"base": [3], "sides": ["", [1, 2]]}}]}
    write(folder / "possible_answer" / f"BFCL_{version}_{category}.json", answer)
    return id_


def scored(folder: Path, benchmark: str, answers: dict[str, str], mode: Mode = "official", **more: Any) -> Report:
    return score(benchmark, write_predictions(folder / "p.jsonl", benchmark, answers), folder, mode, **more)


@pytest.mark.parametrize(
    ("answer", "v3", "v4"),
    [
        (RIGHT, 1, 1),
        (RIGHT[1:-1], 1, 1),
        (f"[{RIGHT}]", 1, 0),
        (f"{RIGHT}]", 1, 0),
        (f"[{RIGHT}", 1, 0),
        (f"'{RIGHT}'", 1, 0),
        (f"[ {RIGHT[1:-1]} ]", 0, 1),
        (f"```\n{RIGHT}\n```", 1, 1),
        (f"```python\n{RIGHT}\n```", 0, 0),
    ],
)
def test_the_decoders_of_both_versions(tmp_path: Path, answer: str, v3: int, v4: int) -> None:
    for version, right in (("v3", v3), ("v4", v4)):
        folder = tmp_path / version
        id_ = write_ast(folder, "simple" if version == "v3" else "simple_python", version)
        report = scored(folder, "bfcl_ast", {id_: answer})
        assert report.figure("AST").value == right
        assert any(f"BFCL {version}" in note for note in report.notes)
        other = "v4" if version == "v3" else "v3"
        report = scored(folder, "bfcl_ast", {id_: answer}, bfcl_version=other)
        assert report.figure("AST").value == (v4 if version == "v3" else v3)
    with pytest.raises(OptionError, match="no decoder of BFCL 'v2'"):
        scored(tmp_path / "v3", "bfcl_ast", {"simple_0": answer}, bfcl_version="v2")


def test_other_formats_are_read_only_when_asked_for_and_counted(tmp_path: Path) -> None:
    call = json.dumps({"name": "geo_area", "arguments": {"base": 3}})
    answers = {write_ast(tmp_path, "simple"): f"<tool_call>\n{call}\n</tool_call>"}
    refused = scored(tmp_path, "bfcl_ast", answers)
    assert (refused.figure("AST").value, refused.figure("AST").parse_failures) == (0, 1)
    assert any("--any_format" in note and note.startswith("1 of 1") for note in refused.notes)
    read = scored(tmp_path, "bfcl_ast", answers, any_format=True)
    assert read.figure("AST").value == 1
    assert any("another format" in note for note in read.notes)
    assert scored(tmp_path, "bfcl_ast", answers, "strict").figure("AST").value == 1


def test_tool_calls_of_an_endpoint_are_read_under_declared_names(tmp_path: Path) -> None:
    call = {"function": {"name": "geo_area", "arguments": '{"base": 3, "sides": [1, 2]}'}}
    message = {"role": "assistant", "content": "", "tool_calls": [call]}
    write(tmp_path / "BFCL_v3_exec_simple.json", record("exec_simple_0", ground_truth=["geo.area(3, sides=[1, 2])"]))
    for benchmark, id_ in (("bfcl_ast", write_ast(tmp_path, "simple")), ("bfcl", "exec_simple_0")):
        one = Prediction(id_, benchmark, "prompt", "model", "", (message,))
        (tmp_path / "p.jsonl").write_text(one.to_line(), encoding="utf-8")
        report = score(benchmark, tmp_path / "p.jsonl", tmp_path)
        assert report.figures[-1].value == 1
        assert any("tool_calls" in note for note in report.notes)


@pytest.mark.parametrize("mode", ["official", "strict"])
@pytest.mark.parametrize("category", ["irrelevance", "live_irrelevance", "live_relevance"])
def test_irrelevance_and_relevance(tmp_path: Path, category: str, mode: Mode) -> None:
    answers = {"0": RIGHT, "1": "None of them fits.", "2": "", "3": "[]", "4": "[geo.area(base=3"}
    write(tmp_path / f"BFCL_v4_{category}.json", *map(record, answers))
    report = scored(tmp_path, "bfcl_ast", answers, mode)
    wants = category == "live_relevance"
    assert [list(verdict.scores.values()) for verdict in report.verdicts] == [[wants], *([[not wants]] * 4)]
    assert report.figures[0].name == ("Relevance" if wants else "Irrelevance")
    assert len(of_benchmark("bfcl_ast", tmp_path).questions) == 5


@pytest.mark.parametrize(
    ("category", "told"),
    [
        ("java", "written in java"),
        ("simple_javascript", "written in javascript"),
        ("multi_turn_base", "several turns"),
        ("rest", "the category 'rest' is not read"),
        ("web_search", "the category 'web_search' is not read"),
    ],
)
def test_files_that_are_refused_in_one_line(tmp_path: Path, category: str, told: str) -> None:
    write_ast(tmp_path, "simple", "v4")
    path = tmp_path / f"BFCL_v4_{category}.json"
    write(path, record("x_0"))
    for benchmark in ("bfcl", "bfcl_ast"):
        with pytest.raises(DataError, match=told) as caught:
            read_references(benchmark, path)
        assert "\n" not in caught.value.message
    with pytest.raises(DataError, match=told):
        convert(Request("bfcl", path, tmp_path / "out"))
    assert category in " ".join(read_references("bfcl_ast", tmp_path).notes)


def test_files_of_the_other_benchmark_and_of_two_versions(tmp_path: Path) -> None:
    write_ast(tmp_path, "simple")
    with pytest.raises(DataError, match="belongs to the benchmark bfcl_ast"):
        read_references("bfcl", tmp_path / "BFCL_v3_simple.json")
    write_ast(tmp_path, "live_simple", "v4")
    with pytest.raises(DataError, match="files of BFCL v3 and v4"):
        read_references("bfcl_ast", tmp_path)


def test_an_id_given_twice_and_one_that_differs_from_its_answer(tmp_path: Path) -> None:
    write(tmp_path / "BFCL_v3_live_relevance.json", record("r_0"), record("r_0"))
    assert [item.id for item in read_references("bfcl_ast", tmp_path).items] == ["r_0", "r_0#2"]
    records = [{"id": str(number)} for number in range(100)]
    answers = [{"id": str(number), "ground_truth": [number]} for number in range(99)]
    answers.append({"id": "a typing error", "ground_truth": [99]})
    assert paired_answers(records, answers) == [[number] for number in range(100)]
    assert paired_answers(records[:1], answers[-1:]) == [None]
    assert paired_answers(records, answers[:98])[98:] == [None, None]


POSITIONAL = ["geo.area(3, [1, 2])", "geo.area(3, sides=[1, 2])", "geo.area(base=3, sides=[1, 2])"]


@pytest.mark.parametrize("gold", POSITIONAL)
@pytest.mark.parametrize("answer", POSITIONAL)
def test_positional_arguments_are_bound_in_the_declared_order(tmp_path: Path, gold: str, answer: str) -> None:
    write(tmp_path / "BFCL_v3_exec_simple.json", record("exec_simple_0", ground_truth=[gold]))
    for mode in ("official", "strict"):
        report = scored(tmp_path, "bfcl", {"exec_simple_0": f"[{answer}]"}, mode)  # type: ignore[arg-type]
        assert {figure.value for figure in report.figures} == {1}
        assert any("by position" in note for note in report.notes) is (answer != POSITIONAL[-1])
    assert len(of_benchmark("bfcl", tmp_path).questions) == 1
    made = convert(Request("bfcl", tmp_path, tmp_path / "out"))
    (converted,) = json.loads(made.output.read_text("utf-8"))
    assert json.loads(converted["conversations"][-1]["value"])["arguments"] == {"base": 3, "sides": [1, 2]}


@pytest.mark.parametrize("answer", ["[geo.area(3, 4, 5)]", "[geo.area(3, base=3)]", "[geo.area(**{'base': 3})]"])
def test_calls_that_python_would_refuse_are_wrong(tmp_path: Path, answer: str) -> None:
    write(tmp_path / "BFCL_v3_exec_simple.json", record("exec_simple_0", ground_truth=["geo.area(base=3)"]))
    assert scored(tmp_path, "bfcl", {"exec_simple_0": answer}).figure("CF").value == 0


def test_gold_calls_moved_to_a_file_of_their_own(tmp_path: Path) -> None:
    write(tmp_path / "question" / "BFCL_v4_exec_simple.json", record("exec_simple_0"))
    gold = {"id": "exec_simple_0", "ground_truth": [POSITIONAL[0]]}
    write(tmp_path / "possible_answer" / "BFCL_v4_exec_simple.json", gold)
    (item,) = read_references("bfcl", tmp_path / "question").items
    assert item.record["ground_truth"] == [POSITIONAL[0]]
    assert convert(Request("bfcl", tmp_path / "question", tmp_path / "out")).written == 1


def test_binding() -> None:
    assert bound(["a", "b"], [1], {"b": 2}) == {"a": 1, "b": 2}
    for positional, keywords in (([1, 2, 3], {}), ([1], {"a": 1})):
        with pytest.raises(ValueError, match="by position"):
            bound(["a", "b"], positional, keywords)


def test_pairs_are_found_where_the_first_that_fits_would_block() -> None:
    assert can_pair([{1, 2}, {1}], [1, 2], lambda wanted, found: found in wanted)
    assert not can_pair([{1}, {1}], [1, 2], lambda wanted, found: found in wanted)


def test_strict_pairs_as_well_as_can_be_and_official_in_order(tmp_path: Path) -> None:
    write(tmp_path / "BFCL_v3_parallel.json", record("parallel_0"))
    golds = [{"geo.area": {"base": [3], "sides": ["", [1, 2]]}}, {"geo.area": {"base": [3], "sides": [""]}}]
    write(tmp_path / "possible_answer" / "BFCL_v3_parallel.json", {"id": "parallel_0", "ground_truth": golds})
    answers = {"parallel_0": "[geo.area(base=3), geo.area(base=3, sides=[1, 2])]"}
    assert scored(tmp_path, "bfcl_ast", answers).figure("AST").value == 0
    assert scored(tmp_path, "bfcl_ast", answers, "strict").figure("AST").value == 1


def test_names_with_dots_are_sent_and_turned_back() -> None:
    names = SentNames(["geo.area", "geo_length"])
    assert names.changed
    tools = names.tools([{"type": "function", "function": {"name": "geo.area"}}])
    assert tools[0]["function"]["name"] == "geo_area"
    said = {"role": "assistant", "tool_calls": [{"id": "a", "function": {"name": "geo_area", "arguments": "{}"}}]}
    read = names.reply(said)
    assert read["tool_calls"][0]["function"]["name"] == "geo.area"
    assert names.messages([read]) == [said]
    assert not SentNames(["a.b", "a_b"]).changed
    assert not SentNames(["a_b"]).changed
    assert names.reply({"content": "x", "tool_calls": ["none"]}) == {"content": "x", "tool_calls": ["none"]}
