"""Three readings of a prediction file, what a prompt costs, and the report of several files."""

from __future__ import annotations

import json
from pathlib import Path
from typing import Any

import pytest

import tiny
from llamafactory_ext.commands.skintern import Skintern
from llamafactory_ext.errors import DataError, ExtError, OptionError
from llamafactory_ext.skintern import paper
from llamafactory_ext.skintern.flops import ModelSize, cache_bytes, generation_flops, reference_macs
from llamafactory_ext.skintern.internalised import (
    FIGURES,
    CallCost,
    Internalised,
    Row,
    Share,
    from_json,
)
from llamafactory_ext.skintern.report import read_runs, to_json
from llamafactory_ext.skintern.report_runs import curves, pooled, relative
from llamafactory_ext.skintern.score import READINGS, read_gsm8k, read_scores
from metrics.published_data import write_predictions

pytestmark = pytest.mark.fast

CUE = "Therefore, the answer is"


@pytest.mark.parametrize(
    ("reply", "gold", "strict", "lenient", "reference"),
    [
        (f"6 * 3 = 18. {CUE} 18.", "18", True, True, True),
        (f"{CUE} 18.0.", "18", True, True, False),  # a text that is not "18"
        (f"{CUE} $1,800.", "1800", True, True, True),
        (f"{CUE} 1800.", "1,800", True, True, True),
        (f"{CUE} -5.", "-5", True, True, True),
        (f"{CUE} 3.5 hours.", "3.5", True, True, True),
        ("It is 18.", "18", False, True, True),  # no cue
        (f"{CUE} 17. Or 18?", "18", True, True, True),
        (f"{CUE} 17.\nAt 18 h.", "18", False, False, True),  # the published code takes the last number
        (f"{CUE} 18.\n\nQuestion: What is 3 + 4?\nAnswer: 7", "18", True, True, True),
        ("", "18", False, False, False),
        ("no number", "18", False, False, False),
    ],
)
def test_gsm8k_in_three_readings(reply: str, gold: str, strict: bool, lenient: bool, reference: bool) -> None:
    read = read_gsm8k(reply, gold)
    assert (read["strict"], read["lenient"], read["reference"]) == (strict, lenient, reference)
    assert read["cue missing"] is (CUE not in reply)


def write_bbh(folder: Path) -> Path:
    folder.mkdir(parents=True)
    examples = [
        {"input": "Is it?\nOptions:\n(A) red\n(B) blue", "target": "(B)"},
        {"input": "Is it not?\nOptions:\n(A) red\n(B) blue", "target": "(A)"},
    ]
    (folder / "hyperbaton.json").write_text(json.dumps({"examples": examples}), "utf-8")
    return folder


@pytest.fixture
def scored(tmp_path: Path) -> Path:
    """A score file of two items: one right with the cue, one right without it."""
    references = write_bbh(tmp_path / "bbh")
    write_predictions(tmp_path / "p.jsonl", "bbh", {"hyperbaton:0": f"{CUE} (B).", "hyperbaton:1": "So it is\n(A)"})
    Skintern().score("bbh", str(tmp_path / "p.jsonl"), str(references))
    return tmp_path / "p.skintern.json"


def test_all_readings_come_from_one_file(scored: Path, capsys: pytest.CaptureFixture[str]) -> None:
    Skintern().score("bbh", str(scored.parent / "p.jsonl"), str(scored.parent / "bbh"))
    found = read_scores(scored)
    assert {name: found.readings[name].value for name in READINGS} == {
        "strict": 0.5,
        "lenient": 1.0,
        "reference": 1.0,
        "cue missing": 0.5,
    }
    assert found.readings["strict"].n == found.n_references == 2
    assert "strict        50.00 % ± 50.00  (n = 2 of 2)" in capsys.readouterr().out


def test_gsm8k_is_scored_like_the_others(tmp_path: Path) -> None:
    (tmp_path / "g").mkdir()
    lines = [{"question": "How many?", "answer": f"So.\n#### {number}"} for number in (18, 5)]
    (tmp_path / "g" / "test.jsonl").write_text("".join(json.dumps(line) + "\n" for line in lines), "utf-8")
    write_predictions(tmp_path / "p.jsonl", "gsm8k", {"test:0": f"{CUE} 18.0.", "test:1": "It is 5"})
    Skintern().score("gsm8k", str(tmp_path / "p.jsonl"), str(tmp_path / "g"), out=str(tmp_path / "s.json"), step=2)
    found = read_scores(tmp_path / "s.json")
    assert [found.readings[name].value for name in READINGS] == [0.5, 1.0, 0.5, 0.5]
    assert found.step == 2


def test_costs_are_those_of_the_prompts_and_answers(tmp_path: Path) -> None:
    model = tiny.save_tiny_model(tmp_path / "model")
    references = write_bbh(tmp_path / "bbh")
    write_predictions(tmp_path / "p.jsonl", "bbh", {"hyperbaton:0": "(B)"})
    Skintern().score("bbh", str(tmp_path / "p.jsonl"), str(references), model=str(model))
    cost = read_scores(tmp_path / "p.skintern.json").cost
    assert cost is not None
    size = ModelSize.of(json.loads((model / "config.json").read_text("utf-8")))
    lengths = round(cost.prompt_tokens), round(cost.generated_tokens)
    assert lengths[0] > 20
    assert (cost.flops, cost.kv_bytes) == (generation_flops(size, *lengths), cache_bytes(size, *lengths))
    assert cost.reference_macs == reference_macs(size, lengths[0])


@pytest.mark.parametrize(
    ("changes", "named"),
    [
        ({"benchmark": "humaneval"}, "bbh, agieval, gsm8k, arc"),
        ({"predictions": "none.jsonl"}, "none.jsonl"),
        ({"references": "none"}, "none"),
        ({"model": "none"}, "config.json"),
        ({"step": 77}, "--step"),
        ({"step": "x"}, "--step"),
        ({"knowledge": "maybe"}, "knowledge"),
    ],
)
def test_what_cannot_be_scored_is_named(scored: Path, changes: dict[str, Any], named: str) -> None:
    folder = scored.parent
    given = {"benchmark": "bbh", "predictions": str(folder / "p.jsonl"), "references": str(folder / "bbh")}
    with pytest.raises(ExtError, match=named):
        Skintern().score(**{**given, "out": str(folder / "other.json"), **changes})
    assert not (folder / "other.json").exists()


# The report


def file_of(path: Path, value: float, **changes: Any) -> Path:
    reading = {"value": value, "standard_error": 0.05, "n": 100}
    cost = dict.fromkeys(("prompt_tokens", "generated_tokens", "flops", "kv_bytes", "reference_macs"), 1.0)
    record = {
        "kind": "skintern scores",
        "benchmark": "bbh",
        "readings": dict.fromkeys(READINGS, reading),
        "n_references": 100,
        "step": 0,
        "knowledge": False,
        "cost": cost | {"flops": changes.pop("flops", 1e9)},
        "notes": [],
    }
    path.parent.mkdir(parents=True, exist_ok=True)
    path.write_text(json.dumps(record | changes), "utf-8")
    return path


def test_means_and_costs_of_the_runs(tmp_path: Path) -> None:
    file_of(tmp_path / "a" / "bbh.json", 0.4)
    file_of(tmp_path / "a" / "arc.json", 0.6, benchmark="arc")
    b = file_of(tmp_path / "b.json", 0.8, flops=4e9)
    runs = read_runs([f"a={tmp_path / 'a'}", f"b={b}"])
    assert [run.mean for run in runs] == pytest.approx([50, 80])
    assert runs[0].error == pytest.approx(100 * 0.05 * 2**0.5 / 2)
    assert relative(runs) == pytest.approx({"a": 1.0, "b": 4.0})


def test_a_run_that_states_no_cost_is_no_point(tmp_path: Path) -> None:
    """Zero FLOPs, as a file that was changed by hand may have it, are no measure for the others."""
    free, b = file_of(tmp_path / "free.json", 0.4, flops=0.0), file_of(tmp_path / "b.json", 0.8, flops=4e9)
    assert relative(read_runs([f"free={free}", f"b={b}"])) == {"b": 1.0}
    assert relative(read_runs([f"free={free}"])) == {}
    Skintern().report(f"free={free}", out=str(tmp_path / "drawn"))
    assert (tmp_path / "drawn" / "report.png").is_file()


def test_the_curve_has_the_steps_and_the_mean_the_last_one(tmp_path: Path) -> None:
    files = [
        file_of(tmp_path / f"{step}{known}.json", value, step=step, knowledge=known)
        for step, known, value in ((1, True, 0.9), (1, False, 0.1), (2, True, 0.8), (2, False, 0.7))
    ]
    runs = read_runs([f"ours={','.join(map(str, files))}"])
    assert runs[0].mean == pytest.approx(70)
    points = curves(runs)
    assert [at for at, _, _ in points["ours: bbh, bare"]] == [1, 2]
    assert [value for _, value, _ in points["ours: bbh, bare"]] == pytest.approx([10, 70])
    assert [value for _, value, _ in points["ours: bbh, with knowledge"]] == pytest.approx([90, 80])


def internalised() -> Internalised:
    rows = tuple(
        Row(step, share, {name: Share(count, 40) for name in FIGURES})
        for step, share, count in ((0, 1.0, 4), (4, 0.0, 30))
    )
    return Internalised(rows, {"documents": CallCost(100, 10, 2e4, 4e9), "bare": CallCost(25, 10, 5e3, 1e9)}, 42)


def test_the_table_of_tools_has_errors_and_costs() -> None:
    text = internalised().text()
    assert from_json(internalised().to_json()) == internalised()
    for words in ("before", "after step 4 (last)", "10.0 ± 4.7", "75.0 ± 6.8", "(n = 40)", "prompt tokens", "4.00"):
        assert words in text


def test_runs_of_several_seeds_have_their_spread() -> None:
    """Of one run the error is that of its items, of several that between them."""
    one, other = internalised(), internalised()
    rows = [Row(row.step, row.share, dict.fromkeys(FIGURES, Share(20, 40))) for row in other.rows]
    other = Internalised(tuple(rows), other.costs, 43)
    ((_, value, error), _) = pooled([one])[FIGURES[0]]
    assert (value, error) == pytest.approx((10, 100 * Share(4, 40).error))
    (first, last) = pooled([one, other])[FIGURES[0]]
    assert first == pytest.approx((0, 30, 20))
    assert last == pytest.approx((4, 62.5, 12.5))


def test_three_files_are_written_and_stand_alone(tmp_path: Path, capsys: pytest.CaptureFixture[str]) -> None:
    file_of(tmp_path / "b.json", 0.8, step=1)
    (tmp_path / "run").mkdir()
    (tmp_path / "run" / "internalised.json").write_text(json.dumps(internalised().to_json()), "utf-8")
    words = [f"<b>={tmp_path / 'b.json'}", f"tools={tmp_path / 'run'}"]
    Skintern().report(*words, out=str(tmp_path / "out"))
    page = (tmp_path / "out" / "report.html").read_text("utf-8")
    assert "&lt;b&gt;" in page
    assert "<b>" not in page
    assert "data:image/png;base64," in page
    assert "http" not in page.replace("http-equiv", "")
    assert (tmp_path / "out" / "report.png").read_bytes().startswith(b"\x89PNG")
    record = json.loads((tmp_path / "out" / "report.json").read_text("utf-8"))
    assert [run["label"] for run in record["runs"]] == ["<b>", "tools"]
    assert record["paper"][0] == {
        "group": "TinyLLaMA",
        "method": "zero-shot",
        "mean": 12.5,
        "relative_flops": 1.0,
    }
    assert capsys.readouterr().out.splitlines()[-1].endswith("report.html")
    before = (tmp_path / "out" / "report.json").read_bytes()
    Skintern().report(*words, out=str(tmp_path / "out"))
    assert (tmp_path / "out" / "report.json").read_bytes() == before


@pytest.mark.parametrize("group", paper.GROUPS)
def test_every_models_points_have_a_unit(group: str) -> None:
    points = paper.beside(group)
    assert any(point.cost == 1 for point in points)
    assert any(point.method == "SKIntern" for point in points)
    assert to_json([], points)["source"]


@pytest.mark.parametrize(
    "content", ["{", "[]", "{}", '{"kind": "skintern scores"}', '{"kind": "skintern internalised"}']
)
def test_what_is_no_figure_is_named(tmp_path: Path, content: str) -> None:
    (tmp_path / "x.json").write_text(content, "utf-8")
    with pytest.raises(DataError, match=r"x\.json"):
        Skintern().report(f"a={tmp_path / 'x.json'}", out=str(tmp_path / "out"))
    assert not (tmp_path / "out").exists()


def test_runs_that_do_not_belong_together_are_refused(tmp_path: Path) -> None:
    one, other = file_of(tmp_path / "1.json", 0.1), file_of(tmp_path / "2.json", 0.2)
    for words, named in (
        ([], "needs figures"),
        ([f"a={one}", f"a={other}"], "stands twice"),
        ([f"a={one},{other}"], "two files are of bbh"),
        ([f"a={tmp_path / 'none'}"], "has no figures"),
    ):
        with pytest.raises(ExtError, match=named):
            read_runs(words)
    with pytest.raises(OptionError, match="--group"):
        Skintern().report(f"a={one}", out=str(tmp_path / "out"), group="Llama")
