"""Judges told apart: verdicts are their report's, figures of two judges are not compared, no report is lost."""

from __future__ import annotations

import json
import shutil
from collections.abc import Callable
from pathlib import Path
from typing import Any

import pytest

from etapp.judged_runs import CASES, SOURCE, J, judged
from llamafactory_ext.commands import etapp_scoring
from llamafactory_ext.commands.etapp import Etapp
from llamafactory_ext.errors import DataError, ExtError, OptionError
from llamafactory_ext.etapp.checking import read_acted
from llamafactory_ext.etapp.judge_prompt import CRITERIA, form
from llamafactory_ext.etapp.judges import judge_of, judgements, read_judged, report_beside
from llamafactory_ext.etapp.judging import asking
from llamafactory_ext.etapp.page import read_runs, write
from llamafactory_ext.metrics.report import read_report
from metrics.judge_stub import judge_stub

pytestmark = pytest.mark.fast


def edited(path: Path, **changes: Any) -> None:
    path.write_text(json.dumps(json.loads(path.read_text()) | changes))


def lines(path: Path, change: Callable[[list[str]], object]) -> None:
    kept = path.read_text().splitlines(keepends=True)
    change(kept)
    path.write_text("".join(kept))


UNTIED: dict[str, tuple[Callable[[Path, Path], object], str]] = {
    "a verdict less": (lambda report, verdicts: lines(verdicts, lambda kept: kept.pop()), "other verdicts than"),
    "a score raised": (
        lambda report, verdicts: verdicts.write_text(verdicts.read_text().replace("4", "5")),
        "other verdicts than",
    ),
    "another order": (lambda report, verdicts: lines(verdicts, lambda kept: kept.reverse()), "other verdicts than"),
    "another judge's": (
        lambda report, verdicts: shutil.copy(
            judged(report.with_name("gold.jsonl"), 1, out="b.json").with_name("b.verdicts.jsonl"), verdicts
        ),
        "other verdicts than",
    ),
    "another judge's report": (
        lambda report, verdicts: shutil.copy(judged(report.with_name("gold.jsonl"), 1, out="b.json"), report),
        "other verdicts than",
    ),
    "an earlier version's": (
        lambda report, verdicts: edited(report, verdicts_sha256=""),
        "an earlier version wrote it",
    ),
    "no verdicts": (lambda report, verdicts: verdicts.unlink(), "cannot be read"),
    "no report": (lambda report, verdicts: report.unlink(), "with its report beside it"),
    "the checks'": (lambda report, verdicts: Etapp().check(str(report.with_name("gold.jsonl"))), ""),
}


def readers(folder: Path) -> dict[str, Callable[[], object]]:
    """All that read a judge's verdicts."""
    run, verdicts, human = folder / "gold.jsonl", folder / "gold.judge.verdicts.jsonl", folder / "human.jsonl"
    rows = [{"id": case.id, **{name.lower(): 3 for name in CRITERIA}} for case in CASES]
    human.write_text("".join(json.dumps(row) + "\n" for row in rows))
    data, page = str(folder.parent / "sft.json"), str(folder.parent / "page")
    return {
        "report": lambda: Etapp().report(str(run), out=page),
        "export_sft": lambda: Etapp().export_sft(str(run), data, verdicts=str(verdicts)),
        "agree": lambda: Etapp().agree(str(human), str(verdicts)),
    }


@pytest.mark.parametrize("reader", ["report", "export_sft", "agree"])
@pytest.mark.parametrize("spoil", UNTIED)
def test_verdicts_count_with_their_own_report_alone(spoil: str, reader: str, runs: Path) -> None:
    report = judged(runs / "gold.jsonl")
    reads = readers(runs)[reader]
    reads()
    change, told = UNTIED[spoil]
    change(report, runs / "gold.judge.verdicts.jsonl")
    if not told or (spoil, reader) == ("no report", "report"):
        reads()  # another file beside; without a report there was no judge
        return
    with pytest.raises(DataError, match=told) as error:
        reads()
    assert "\n" not in error.value.message


def test_a_judge_killed_between_its_files_leaves_nothing_to_be_read(
    runs: Path, monkeypatch: pytest.MonkeyPatch
) -> None:
    """The report is written last; until then the verdicts are not those that the old one names."""
    judged(runs / "gold.jsonl")

    def killed(*_: Any) -> None:
        raise KeyboardInterrupt

    with monkeypatch.context() as patch:
        patch.setattr("llamafactory_ext.metrics.report.own_json", killed)
        with pytest.raises(KeyboardInterrupt):
            judged(runs / "gold.jsonl", 1)
    for reads in readers(runs).values():
        with pytest.raises(DataError, match="other verdicts than those of"):
            reads()
    judged(runs / "gold.jsonl", 1)
    for name in ("report", "agree"):
        readers(runs)[name]()


OTHERS: dict[str, dict[str, Any]] = {
    "model": {"told": J | {"model": "other"}},
    "temperature": {"told": J | {"temperature": 1.0}},
    "reading": {"mode": "official"},
    "prompt": {"words": "of the checkout 123"},
    "samples": {"samples": 3},
    "good_from": {"least": dict.fromkeys(CRITERIA, 3)},
}


@pytest.mark.parametrize("part", OTHERS)
def test_figures_of_two_judges_are_not_compared(part: str, runs: Path, tmp_path: Path) -> None:
    """Every part of a judge is named; where one differs, no difference is told and no row holds figures of both."""
    judged(runs / "gold.jsonl")
    judged(runs / "null.jsonl", 1, **OTHERS[part])
    found = read_runs(SOURCE, [str(runs / f"{name}.jsonl") for name in ("gold", "null")])
    one, other = (judge_of(run.judgements[0].report) for run in found)
    assert {name for name in one if one[name] != other[name]} == {part}
    page = [path.read_text() for path in write(SOURCE, found, tmp_path / "page")]
    told = json.loads(page[1])
    assert {row["figure"] for row in told["differences"]} == {"SR", "partial", "SR without extras"}
    assert told["judges"] == json.loads(json.dumps([one, other]))
    for text in (page[0], page[2]):
        assert "null against gold, PRC, PSN, PTV: not compared, by judge 2 and judge 1" in text
        assert "judge 1: model j, temperature 0.0, prompt " in text
        assert "judge 2: " in text
    rows = [line for line in page[0].splitlines() if line.startswith(("| PRC", "| good"))]
    assert len(rows) == 4
    assert all(row.count("–") == 1 for row in rows)


def test_one_judges_figures_are_compared_and_the_judge_is_named(runs: Path, tmp_path: Path) -> None:
    judged(runs / "gold.jsonl", 5, told=J | {"replies": 4})
    judged(runs / "null.jsonl", 1, told=J | {"replies": 9}, cases=3)
    found = read_runs(SOURCE, [str(runs / f"{name}.jsonl") for name in ("gold", "null")])
    page = [path.read_text() for path in write(SOURCE, found, tmp_path / "page")]
    gaps = {row["figure"]: (row["n"], row["difference"]) for row in json.loads(page[1])["differences"]}
    assert gaps["PRC"] == (3, pytest.approx(-0.8))
    assert gaps["SR"] == (4, -1)
    for text in (page[0], page[2]):
        assert "judge 1: model j, " in text
        assert "it judged gold, null" in text
        assert "null against gold, PRC: -80.0%, n = 3 (-80.0% to -80.0%)" in text
        assert "not compared" not in text


def test_a_run_may_have_several_judges(runs: Path, tmp_path: Path) -> None:
    """Reports of all modes and prompts are found, and others that begin as they do; each judge is compared apart."""
    for name in ("gold", "null"):
        path = runs / f"{name}.jsonl"
        judged(path, out=f"{name}.judge.official.json", mode="official")
        judged(path, out=f"{name}.judge.official.checkout.json", mode="official", words="of the checkout 1")
        judged(path, out=f"{name}.judge.checkout.json", words="of the checkout 1")
    judged(runs / "gold.jsonl", told=J | {"model": "second"}, out="gold.judge.second.json")
    shutil.copy(runs / "gold.judge.second.json", runs / "null.judge.second.json")
    (runs / "gold.judge.notes.json").write_text("[]")
    found = read_runs(SOURCE, [str(runs / f"{name}.jsonl") for name in ("gold", "null")])
    assert [len(run.judgements) for run in found] == [4, 3]
    text = write(SOURCE, found, tmp_path / "page")[0].read_text()
    assert text.count("against gold, PRC by judge") == 3
    assert "null.judge.second.json is of another prediction file" in text


REPLACED: dict[str, tuple[dict[str, Any], str]] = {
    "the same": ({}, ""),
    "another model": ({"told": J | {"model": "other"}}, "model was other, is now j"),
    "other samples": ({"samples": 2}, "samples was 2, is now 1"),
    "another good": ({"least": dict.fromkeys(CRITERIA, 3)}, "good_from was"),
    "another prompt": ({"words": "of the checkout 1"}, "prompt was of the checkout 1"),
    "another reading": ({"mode": "official"}, "reading was official"),
}


@pytest.mark.parametrize("before", REPLACED)
def test_no_report_of_another_judge_is_replaced(before: str, runs: Path, monkeypatch: pytest.MonkeyPatch) -> None:
    given, told = REPLACED[before]
    report = judged(runs / "gold.jsonl", **({"told": J} | given))
    kept = {path: path.read_bytes() for path in runs.iterdir()}
    with judge_stub() as stub:
        stub.answers = [reply(case) for case in [*CASES, CASES[-1]]]
        asks(monkeypatch, stub.url)
        if told:
            with pytest.raises(OptionError, match=told):
                Etapp().judge(str(runs / "gold.jsonl"), concurrency=1)
            assert not stub.bodies
            assert {path: path.read_bytes() for path in runs.iterdir()} == kept
            Etapp().judge(str(runs / "gold.jsonl"), concurrency=1, out=str(runs / "gold.judge.other.json"))
            assert len(read_runs(SOURCE, [str(runs / "gold.jsonl")])[0].judgements) == 2
        else:
            Etapp().judge(str(runs / "gold.jsonl"), concurrency=1)
            assert report.read_bytes() != kept[report]


def test_a_report_that_another_command_wrote_meanwhile_is_kept(runs: Path, monkeypatch: pytest.MonkeyPatch) -> None:
    def late(*given: Any) -> Any:
        judged(runs / "gold.jsonl", told=J | {"model": "other"})
        return asking(*given)

    monkeypatch.setattr(etapp_scoring, "asking", late)
    with judge_stub() as stub:
        asks(monkeypatch, stub.url)
        with pytest.raises(OptionError, match="is another judge's report"):
            Etapp().judge(str(runs / "gold.jsonl"))
        assert not stub.bodies
    assert judge_of(read_report(runs / "gold.judge.json"))["model"] == "other"


def test_no_report_on_more_cases_is_replaced(runs: Path, monkeypatch: pytest.MonkeyPatch) -> None:
    path, report = runs / "gold.jsonl", runs / "gold.judge.json"
    with judge_stub() as stub:
        stub.answers = [reply(case) for case in [*CASES, CASES[-1]]]
        asks(monkeypatch, stub.url)
        Etapp().judge(str(path), limit=2, concurrency=1)
        Etapp().judge(str(path), concurrency=1)  # goes on with the rest
        kept, asked = report.read_bytes(), len(stub.bodies)
        assert asked == 4
        for limit in (1, 3):
            with pytest.raises(OptionError, match=r"verdicts on \d cases that would not be judged now"):
                Etapp().judge(str(path), limit=limit)
        assert (report.read_bytes(), len(stub.bodies)) == (kept, asked)
        Etapp().judge(str(path), limit=4)
    assert len(read_judged(runs / "gold.judge.verdicts.jsonl")) == 4


def test_checks_and_judges_replace_none_of_each_other(runs: Path, monkeypatch: pytest.MonkeyPatch) -> None:
    path = runs / "gold.jsonl"
    report = judged(path)
    with pytest.raises(OptionError, match="is a judge's report and would be replaced"):
        Etapp().check(str(path), out=str(report))
    Etapp().check(str(path))
    asks(monkeypatch, "http://127.0.0.1:9")
    with pytest.raises(OptionError, match="is no judge's report and would be replaced"):
        Etapp().judge(str(path), out=str(runs / "gold.check.json"))


def test_files_that_differ_in_their_suffix_have_reports_of_their_own(runs: Path) -> None:
    names = [report_beside(Path(f"a{suffix}"), "check").name for suffix in (".jsonl", ".txt", ".json", ".jsonl.1")]
    assert names[0] == "a.check.json"
    assert len(set(names)) == 4


def asks(monkeypatch: pytest.MonkeyPatch, url: str) -> None:
    monkeypatch.setenv("LLAMAFACTORY_EXT_JUDGE_URL", url)
    monkeypatch.setenv("LLAMAFACTORY_EXT_JUDGE_MODEL", "j")


def reply(case: Any) -> str:
    whole = form(case)
    for name in CRITERIA:
        whole[name]["Final Assessment"]["score"] = 4
    return json.dumps(whole)


@pytest.mark.parametrize("word", ["={}", " ={}", "a=", "="])
def test_a_run_has_a_name_and_a_file(word: str, runs: Path) -> None:
    with pytest.raises(ExtError, match=r"lacks a name or a file|is needed|name a file"):
        Etapp().report(word.format(runs / "gold.jsonl"), out=str(runs / "page"))


def test_reports_of_another_run_with_a_like_name_are_left_alone(runs: Path) -> None:
    """A run may be called a.judge.jsonl; its reports and settings are none of the run a.jsonl."""
    for name in ("null.jsonl", "null.jsonl.settings.json"):
        shutil.copy(runs / name, runs / name.replace("null", "gold.judge"))
    judged(runs / "gold.judge.jsonl")
    Etapp().check(str(runs / "gold.judge.jsonl"))
    file, _ = read_acted(SOURCE, runs / "gold.jsonl")
    found, notes = judgements(runs / "gold.jsonl", file.sha256)
    assert (found, len(notes)) == ([], 1)
    assert read_report(runs / "gold.judge.judge.json").judge
