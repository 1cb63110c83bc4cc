"""Runs beside the papers' tables: printed figures, missing and partial ones, and what every figure rests on."""

from __future__ import annotations

import json
import re
from html.parser import HTMLParser
from pathlib import Path
from typing import Any

import pytest

from llamafactory_ext.errors import DataError, OptionError
from llamafactory_ext.metrics.report import Figure, Report, write_report
from llamafactory_ext.report.figures import chosen_rows, colours_of
from llamafactory_ext.report.report import report
from llamafactory_ext.report.runs import Run, read_runs
from llamafactory_ext.report.tables import MEAN, Table, beside, details, published, written

pytestmark = pytest.mark.fast

CITI_ROW = (58.92, 34.51, 77.33, 54.88, 64.69, 76.94)
GENERAL = {"gsm8k": "GSM", "humaneval": "HE", "triviaqa": "TQA", "mt_bench": "MT"}


def scored(benchmark: str, values: dict[str, float], mode: str = "official", **changes: Any) -> Report:
    """A score report over 100 items."""
    figures = tuple(Figure(name, value, 100, 3, 0.01) for name, value in values.items())
    fields = {
        "predictions_sha256": "a" * 64,
        "references_sha256": "b" * 64,
        "model_hashes": ("c" * 64,),
        "n_references": 100,
        "n_predictions": 100,
    }
    return Report(benchmark, mode, figures, **(fields | changes))  # type: ignore[arg-type]


def save(folder: Path, *reports: Report) -> Path:
    for made in reports:
        write_report(made, folder / f"{made.benchmark}.{made.mode}.json")
    return folder


def table(name: str, *runs: Run) -> Table:
    (found,) = (beside(one, runs) for one in published() if one.id == name)
    return found


def test_the_papers_tables() -> None:
    tables = {one.id: one for one in published()}
    assert [len(one.rows) for one in tables.values()] == [12, 12, 8, 8, 10, 9, 8, 0, 0, 0]  # ETAPP's are not to be had
    for one in (one for one in tables.values() if one.rows):
        assert re.fullmatch(r"(CITI, arXiv:2409\.13202|TL-Training, arXiv:2412\.15495), Table \d", one.source)
        assert all(len(row.values) == len(one.columns) and not row.is_ours for row in one.rows)
    (citi,) = (row for row in tables["citi-3"].rows if (row.group, row.name) == ("Llama-3", "CITI"))
    assert citi.values == CITI_ROW
    assert tables["tl-4"].rows[-1].values == (0.82, 4.84, 77.75)


@pytest.mark.parametrize(("name", "over_lora", "over_ft"), [("citi-3", 7.59, 31.95), ("citi-4", 8.96, 29.03)])
def test_the_paper_s_own_summary_follows_from_the_means(name: str, over_lora: float, over_ft: float) -> None:
    """Section 1 gives CITI's lead in general abilities, averaged over models and tasks."""
    means = {(row.group, row.name): row.values[-1] for row in table(name).rows}

    def mean(method: str) -> float:
        values = [means[group, method] for group in ("Llama-3", "Phi-3", "Mistral")]
        return sum(value for value in values if value is not None) / 3

    assert mean("CITI") - mean("LoRA") == pytest.approx(over_lora, abs=0.05)
    assert mean("CITI") - mean("FT") == pytest.approx(over_ft, abs=0.05)


def test_our_figures_stand_below_with_their_errors(tmp_path: Path) -> None:
    (run,) = read_runs([f"ours={save(tmp_path, scored('api_bank', {'C': 0.5, 'R': 0.25}))}"])
    (row,) = table("citi-3", run).ours
    assert row.name == "ours (official)"
    assert row.values == (50.0, 25.0, None, None, None, None, None)
    assert [written(row, place) for place in range(3)] == ["50.00 ± 1.00", "25.00 ± 1.00", "–"]
    assert table("tl-4", run).ours == ()


def test_the_general_mean_needs_all_four_whole(tmp_path: Path) -> None:
    reports = [scored(name, {figure: 0.5}) for name, figure in GENERAL.items()]
    (whole,) = read_runs([str(save(tmp_path / "whole", *reports))])
    assert table("citi-3", whole).ours[0].values[-1] == 50.0
    (without,) = read_runs([str(save(tmp_path / "without", *reports[1:]))])
    assert table("citi-3", without).ours[0].values[-1] is None
    partial = scored("gsm8k", {"GSM": 0.5}, n_predictions=40)
    (part,) = read_runs([str(save(tmp_path / "part", partial, *reports[1:]))])
    (row,) = table("citi-3", part).ours
    assert row.values[-1] is None
    assert written(row, 2) == "50.00 ± 1.00 (partial, 40/100)"
    assert table("citi-3", part).columns[-1] == MEAN


def test_modes_are_rows_of_their_own(tmp_path: Path) -> None:
    save(tmp_path, scored("api_bank", {"C": 0.5}), scored("api_bank", {"C": 0.4}, "strict"))
    rows = table("citi-3", *read_runs([f"ours={tmp_path}"])).ours
    assert [(row.name, row.values[0]) for row in rows] == [("ours (official)", 50.0), ("ours (strict)", 40.0)]


def test_of_rotbench_the_published_part_counts(tmp_path: Path) -> None:
    values = {"TS": 0.5, "TS (clean)": 0.8, "TS (heavy)": 0.2}
    (run,) = read_runs([str(save(tmp_path, scored("rotbench", values)))])
    (row,) = table("tl-3", run).ours
    assert row.values[3] == 80.0


def test_every_figure_names_what_it_rests_on(tmp_path: Path) -> None:
    judged = scored("toolalpaca", {"P": 0.5}, judge={"model": "local-judge", "tokens": 12})
    runs = read_runs([f"ours={save(tmp_path, judged)}"])
    (line,) = details(runs)
    assert line[:8] == ("ours", "toolalpaca/P", "50.00", "1.00", "100", "3", "official", "100 of 100")
    assert line[8:] == ("a" * 12, "b" * 12, "c" * 12, "local-judge")


class Page(HTMLParser):
    """Collects what a page would load and checks that its elements are closed."""

    def __init__(self) -> None:
        super().__init__()
        self.open: list[str] = []
        self.loads: list[str] = []
        self.rows = 0

    def handle_starttag(self, tag: str, attrs: list[tuple[str, str | None]]) -> None:
        self.rows += tag == "tr"
        self.loads += [value or "" for name, value in attrs if name in ("src", "href")]
        if tag not in ("meta", "img", "link", "br"):
            self.open.append(tag)

    def handle_endtag(self, tag: str) -> None:
        assert self.open.pop() == tag


def test_the_whole_report(tmp_path: Path, capsys: pytest.CaptureFixture[str]) -> None:
    one = save(
        tmp_path / "one",
        scored("api_bank", {"C": 0.5, "R": 0.3}, notes=("a <ceiling> | of 85.8 %",)),
        scored("gsm8k", {"GSM": 0.7}, n_predictions=50),
        scored("tooleyes", {"DE": 0.01, "CE": 0.1, "VA": 0.7}),
    )
    two = save(tmp_path / "two", scored("api_bank", {"C": 0.4, "R": 0.2}))
    out = tmp_path / "report"
    report(str(one), f"second={two}", out=str(out), beside_model="Phi-3")
    assert capsys.readouterr().out.split() == [
        str(out / name) for name in ("report.md", "report.json", "report.html", "radar.png", "bars.png")
    ]
    page = Page()
    page.feed((out / "report.html").read_text("utf-8"))
    assert page.open == []
    assert len(page.loads) == 2
    assert all(load.startswith("data:image/png;base64,") for load in page.loads)
    assert page.rows > 67
    text = (out / "report.html").read_text("utf-8")
    assert "a &lt;ceiling&gt; | of 85.8 %" in text
    assert "<ceiling>" not in text
    written_text = (out / "report.md").read_text("utf-8")
    assert "| Llama-3: CITI | 58.92 | 34.51 |" in written_text
    assert "| **one (official)** | **50.00 ± 1.00** |" in written_text
    assert "**70.00 ± 1.00 (partial, 50/100)**" in written_text
    assert "- one (official): api_bank: a &lt;ceiling&gt; \\| of 85.8 %" in written_text
    data = json.loads((out / "report.json").read_text("utf-8"))
    (row,) = (row for row in data["tables"][0]["rows"] if row["name"] == "second (official)")
    assert row["figures"]["api_bank/C"]["n"] == 100
    assert row["figures"]["api_bank/C"]["model_hashes"] == ["c" * 64]
    assert row["figures"]["gsm8k/GSM"] is None
    assert all((out / name).read_bytes().startswith(b"\x89PNG") for name in ("radar.png", "bars.png"))
    first = {path.name: path.read_bytes() for path in out.iterdir()}
    report(str(one), f"second={two}", out=str(out), beside_model="Phi-3")
    assert {path.name: path.read_bytes() for path in out.iterdir()} == first


def test_pictures_take_one_family_and_one_colour_for_each_run(tmp_path: Path) -> None:
    assert [row.name for row in chosen_rows(table("citi-3"), "Phi-3")] == ["untrained", "FT", "LoRA", "CITI"]
    assert [row.name for row in chosen_rows(table("tl-3"), "Phi-3")] == ["TL-CodeLLaMA-2"]
    words = [f"{name}={save(tmp_path / name, scored('api_bank', {'C': 0.5}))}" for name in ("one", "two")]
    assert len(set(colours_of(read_runs(words)).values())) == 2


def test_figures_outside_the_papers_make_a_report_without_pictures(tmp_path: Path) -> None:
    save(tmp_path / "run", scored("bfcl_ast", {"AST": 0.5}))
    report(str(tmp_path / "run"), out=str(tmp_path / "out"))
    assert sorted(path.name for path in (tmp_path / "out").iterdir()) == ["report.html", "report.json", "report.md"]
    assert "| run | bfcl_ast/AST | 50.00 |" in (tmp_path / "out" / "report.md").read_text("utf-8")


def test_what_cannot_be_reported(tmp_path: Path) -> None:
    good = save(tmp_path / "good", scored("gsm8k", {"GSM": 0.5}))
    (tmp_path / "empty").mkdir()
    (tmp_path / "empty" / "other.json").write_text("{}")
    cut = save(tmp_path / "cut", scored("gsm8k", {"GSM": 0.5}))
    (cut / "gsm8k.official.json").write_text('{"benchmark": "gsm8k", "figures": [')
    twice = save(tmp_path / "twice", scored("gsm8k", {"GSM": 0.5}))
    write_report(scored("gsm8k", {"GSM": 0.6}), twice / "again.json")
    latin = save(tmp_path / "latin", scored("gsm8k", {"GSM": 0.5}))
    (latin / "gsm8k.official.json").write_bytes(b'{"benchmark": "gsm8k\xff"}')
    for words, told in (
        ([], "report needs runs"),
        ([good, good], 'two runs are called "good"; name them'),
        ([tmp_path / "none"], "there is no run here"),
        ([tmp_path / "empty"], "holds no score report; run `llamafactory-ext score"),
        ([cut], r"gsm8k\.official\.json is no JSON"),
        ([twice], r"gsm8k\.official\.json and .*again\.json are different official reports on gsm8k"),
        ([latin], r"gsm8k\.official\.json is no JSON"),
    ):
        with pytest.raises((OptionError, DataError), match=told):
            report(*map(str, words), out=str(tmp_path / "out"))
    with pytest.raises(OptionError, match="--beside_model"):
        report(str(good), beside_model="GPT")
    assert not (tmp_path / "out").exists()
