"""A run is called complete when it is: trials, ids, modes, settings that answers depend on, damaged episodes."""

from __future__ import annotations

import json
import shutil
from collections.abc import Callable
from dataclasses import replace
from pathlib import Path
from typing import Any

import pytest

from etapp.acting import saying
from etapp.small_checkout import make
from llamafactory_ext.errors import DataError, OptionError
from llamafactory_ext.etapp.agents import agent
from llamafactory_ext.etapp.cases import Source, open_source, split_id, trial_id
from llamafactory_ext.etapp.checking import read_acted, report_of
from llamafactory_ext.etapp.export import Wanted, export
from llamafactory_ext.etapp.judge_reading import Verdict
from llamafactory_ext.etapp.judging import Judged, prompt_of
from llamafactory_ext.etapp.judging import report_of as judged_of
from llamafactory_ext.etapp.mini import load, load_gold
from llamafactory_ext.etapp.page import read_runs, write
from llamafactory_ext.etapp.run import RunOptions, run
from llamafactory_ext.etapp.whole import settings_of
from llamafactory_ext.metrics.report import write_report

pytestmark = pytest.mark.fast
SOURCE = load()
CASES = SOURCE.cases[:3]


def go(path: Path, **options: Any) -> Path:
    return run(SOURCE, CASES, agent("gold", load_gold()), {"model": "m"}, RunOptions(quiet=True, **options), path)


def checked(path: Path, cases: int = 3) -> Any:
    file, acted = read_acted(SOURCE, path)
    return report_of(SOURCE, file, acted, cases)


def lines(path: Path) -> list[str]:
    return path.read_text("utf-8").splitlines(keepends=True)


@pytest.mark.parametrize("kept", [1, 3, 4, 8])
def test_a_run_with_trials_missing_is_partial(kept: int, tmp_path: Path) -> None:
    """However many lines a killed run of three trials left, the report says that cases lack trials."""
    path = go(tmp_path / "a.jsonl", trials=3)
    whole = checked(path)
    assert not whole.partial
    assert not any("not complete" in note for note in whole.notes)
    path.write_text("".join(lines(path)[:kept]))
    report = checked(path)
    assert report.partial
    assert any(f"the run is not complete: {kept} of 9 episodes" in note for note in report.notes)
    folder = tmp_path / "page"
    write(SOURCE, read_runs(SOURCE, [str(path)]), folder, [path])
    for name in ("report.html", "report.md"):
        assert "PARTIAL: a, checks: " in (folder / name).read_text()
    go(path, trials=3)
    assert not checked(path).partial


def test_without_settings_the_ids_tell_the_trials(tmp_path: Path) -> None:
    path = go(tmp_path / "a.jsonl", trials=2)
    (tmp_path / "a.jsonl.settings.json").unlink()
    assert not checked(path).partial
    path.write_text("".join(line for line in lines(path) if f'"{CASES[1].id}@1"' not in line))
    report = checked(path)
    assert (report.partial, report.n_predictions) == (True, 2)


def test_a_judges_report_counts_whole_cases_alone(tmp_path: Path) -> None:
    path = go(tmp_path / "a.jsonl", trials=2)
    file, acted = read_acted(SOURCE, path)
    names = ("Procedure", "Personalization", "Proactivity")
    verdict = Verdict(dict.fromkeys(names, 4), dict.fromkeys(names, ()))
    judged = [Judged(one, (verdict,), 1, False) for one in acted]
    assert not judged_of(SOURCE, file, judged, "strict", {}, 3).partial
    judged[0] = replace(judged[0], verdicts=())
    assert judged_of(SOURCE, file, judged, "strict", {}, 3).partial


@pytest.mark.parametrize(
    "suffix", ["@", "@0", "@01", "@-1", "@1@1", "@x", "@ 1", "@1 ", "@\u0661", "@1.0", "@" + "9" * 40]
)
def test_a_trial_has_one_id_alone(suffix: str, tmp_path: Path) -> None:
    path = go(tmp_path / "a.jsonl", trials=2)
    path.write_text(path.read_text("utf-8").replace(f'"{CASES[0].id}@1"', json.dumps(CASES[0].id + suffix)))
    with pytest.raises(DataError, match="ends with no trial"):
        read_acted(SOURCE, path)


@pytest.mark.parametrize("trial", [0, 1, 2, 10, 999_999_999])
def test_ids_of_trials_are_read_back(trial: int) -> None:
    assert split_id(trial_id("a:00", trial)) == ("a:00", trial)


def test_a_trial_beyond_the_run_is_refused(tmp_path: Path) -> None:
    path = go(tmp_path / "a.jsonl", trials=2)
    path.write_text(path.read_text("utf-8").replace(f'"{CASES[0].id}@1"', f'"{CASES[0].id}@7"'))
    with pytest.raises(DataError, match=r"@7 is a trial beyond the 2 of this run"):
        read_acted(SOURCE, path)


@pytest.mark.parametrize(
    ("name", "other"), [("sandbox", "reference"), ("setting", "retrieval"), ("strategy", "react")]
)
def test_no_figure_mixes_modes(name: str, other: str, tmp_path: Path) -> None:
    path = go(tmp_path / "a.jsonl")
    records = [json.loads(line) for line in lines(path)]
    records[1]["episode"][name] = other
    path.write_text("".join(json.dumps(one) + "\n" for one in records))
    with pytest.raises(DataError, match=f"episodes of several runs: their {name} is "):
        read_acted(SOURCE, path)


@pytest.mark.parametrize("sandbox", ["strict", "reference"])
@pytest.mark.parametrize(
    "spoil",
    [
        lambda episode: episode.clear(),
        lambda episode: episode.update(calls=7),
        lambda episode: episode.update(calls=[{}]),
        lambda episode: episode["calls"][0].pop("name"),
        lambda episode: episode["calls"][0].update(arguments=[1]),
        lambda episode: episode["calls"][0].update(failed=1),
        lambda episode: episode.update(sandbox="x"),
        lambda episode: episode.pop("diff"),
    ],
)
def test_a_damaged_episode_is_not_gone_on_with(sandbox: str, spoil: Callable[[Any], object], tmp_path: Path) -> None:
    """The message says what helps: without its line, the same command acts the case anew."""
    path = go(tmp_path / "a.jsonl", sandbox=sandbox)
    records = [json.loads(line) for line in lines(path)]
    spoil(records[1]["episode"])
    content = "".join(json.dumps(one) + "\n" for one in records)
    path.write_text(content)
    for reads in (lambda: go(path, sandbox=sandbox), lambda: read_acted(SOURCE, path)):
        with pytest.raises(
            DataError, match=rf"{records[1]['id']} is damaged .*delete its line, and repeat the command"
        ):
            reads()
        assert path.read_text() == content
    path.write_text("".join(json.dumps(one) + "\n" for one in (records[0], records[2])))
    go(path, sandbox=sandbox)
    assert len(read_acted(SOURCE, path)[1]) == 3


WIKI = '{"title": "Tea", "text": "Leaves in water."}\n'


def clone(tmp_path: Path, text: str) -> Source:
    file = tmp_path / "wiki.jsonl"
    file.write_text(text)
    return open_source(str(make(tmp_path / "clone")), str(file) if text else "")


@pytest.mark.parametrize("other", ["", WIKI * 2])
def test_a_run_goes_on_with_its_own_encyclopedia_alone(other: str, tmp_path: Path) -> None:
    ask = lambda *_: saying([], "done")  # noqa: E731
    options, path = RunOptions(quiet=True), tmp_path / "a.jsonl"
    source = clone(tmp_path, WIKI)
    run(source, source.cases, ask, {}, options, path)
    run(source, source.cases, ask, {}, options, path)
    shutil.rmtree(tmp_path / "clone")
    source = clone(tmp_path, other)
    with pytest.raises(OptionError, match="wikipedia was"):
        run(source, source.cases, ask, {}, options, path)


def test_cases_lack_no_encyclopedia_that_their_run_had(tmp_path: Path) -> None:
    """A check needs none; it knows from the run's settings whether there was one."""
    source = clone(tmp_path, WIKI)
    run(source, source.cases, lambda *_: saying([], "done"), {}, RunOptions(quiet=True), tmp_path / "a.jsonl")
    bare = open_source(str(tmp_path / "clone"))
    file, acted = read_acted(bare, tmp_path / "a.jsonl")
    notes = report_of(bare, file, acted, 6).notes
    assert not any("search_from_wikipedia" in note for note in notes)
    assert sum(bool(one.case.degraded) for one in acted) == 2  # a song for each of the two users
    assert sum(bool(case.degraded) for case in bare.cases) == 4
    assert any("search_from_wikipedia has no data here" in note for note in bare.notes)


def test_a_run_names_the_words_that_its_model_reads(tmp_path: Path) -> None:
    path = go(tmp_path / "a.jsonl")
    words = settings_of(path)["wording"]
    assert words == RunOptions().wording.digest
    assert replace(RunOptions().wording, sentences={"turns": "x"}).digest != words  # type: ignore[type-var]
    beside = tmp_path / "a.jsonl.settings.json"
    beside.write_text(beside.read_text().replace(words, "0" * 16))
    model_hash = json.loads(lines(path)[0])["model_hash"]
    path.write_text(path.read_text().replace(model_hash, "0" * len(model_hash)))
    with pytest.raises(OptionError, match="wording was"):
        go(path)


DEEP = "in the place of nested lists"


@pytest.mark.parametrize("depth", [60, 94, 95, 96, 97, 98, 150, 930, 950, 960, 970, 980, 985, 990, 995, 5000])
@pytest.mark.parametrize("place", ["arguments", "effect", "diff", "message"])
def test_deep_values_are_refused_or_go_through_everything(place: str, depth: int, tmp_path: Path) -> None:
    """What can be read can also be checked, judged, shown and exported."""
    path = go(tmp_path / "a.jsonl")
    records = [json.loads(line) for line in lines(path)]
    call = records[0]["episode"]["calls"][0]
    if place == "message":
        records[0]["messages"][0]["x"] = DEEP
    elif place == "diff":
        records[0]["episode"]["diff"] = [["a", None, DEEP]]
    elif place == "effect":
        call["effect"] = {"tool": call["name"], "args": {"x": DEEP}}
    else:
        call["arguments"] = {"x": DEEP}
    text = "".join(json.dumps(one) + "\n" for one in records)
    path.write_text(text.replace(f'"{DEEP}"', "[" * depth + "]" * depth))
    try:
        file, acted = read_acted(SOURCE, path)
    except DataError:
        assert depth > 90
        return
    assert depth < 100
    write_report(report_of(SOURCE, file, acted, 3), tmp_path / "checked.json")
    assert all(prompt_of(SOURCE, one) for one in acted)
    write(SOURCE, read_runs(SOURCE, [str(path)]), tmp_path / "page", [path])
    export(SOURCE, acted, {}, Wanted(checks="any"), tmp_path / "sft.json", path)
