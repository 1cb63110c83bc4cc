"""A run is called complete when it is: trials, ids, modes, settings that answers depend on, damaged episodes."""

from __future__ import annotations

import contextlib
import json
import os
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
from llamafactory_ext.etapp.judges import report_for
from llamafactory_ext.etapp.judging import Judged, prompt_of
from llamafactory_ext.etapp.judging import report_of as judged_of
from llamafactory_ext.etapp.mini import load, load_gold
from llamafactory_ext.etapp.page import read_runs, write
from llamafactory_ext.etapp.run import RunOptions, run
from llamafactory_ext.etapp.whole import settings_of
from llamafactory_ext.metrics.report import write_report
from llamafactory_ext.serving.infer.identity import settings_hash

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


NAMES = ("x.jsonl", "x.txt", "x.json", "x", "x.txt.jsonl", "x.jsonl.jsonl", ".jsonl", "X.JSONL")


@pytest.mark.parametrize("one", NAMES)
@pytest.mark.parametrize("other", NAMES)
def test_no_two_files_share_a_report(one: str, other: str, tmp_path: Path) -> None:
    """Files of one folder have reports of their own, or need a place for them."""
    for name in (one, other):
        (tmp_path / name).touch()
    found = []
    for name in {one, other}:
        with contextlib.suppress(OptionError):
            found.append(report_for(tmp_path / name, "check"))
    assert len(found) == len(set(found))
    assert found or one != other


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


BESIDE: dict[str, Any] = {
    "empty": b"",
    "no JSON": b"{",
    "no text": b"\xff\xfe",
    "a list": b"[1]",
    "deep": b"[" * 100_000,
    "an object": b"{}",
    "long": b" " * (2 << 20),
    "no trials": {"trials": None},
    "trials of another kind": {"trials": "2"},
    "trials that are true": {"trials": True},
    "no trial at all": {"trials": 0},
    "too many trials": {"trials": 10**9},
    "no questions": {"questions": None},
    "a share of questions": {"questions": 1.5},
    "another benchmark": {"benchmark": "bfcl"},
    "no source": {"source": None},
    "no model": {"model_hash": 7},
    "an odd encyclopedia": {"wikipedia": []},
}


@pytest.mark.parametrize("what", [*BESIDE, "a pipe", "a folder", "a loop"])
def test_settings_that_cannot_be_read_make_no_run_whole(what: str, tmp_path: Path) -> None:
    """Half-done trials would pass as done; without the file, the command of the run writes it anew."""
    path = go(tmp_path / "a.jsonl", trials=2)
    path.write_text("".join(line for line in lines(path) if "@1" not in line))
    beside = tmp_path / "a.jsonl.settings.json"
    told = json.loads(beside.read_text())
    beside.unlink()
    if what in BESIDE:
        odd = BESIDE[what]
        beside.write_bytes(odd if isinstance(odd, bytes) else json.dumps(told | odd).encode())
    elif what == "a pipe":
        os.mkfifo(beside)
    elif what == "a folder":
        beside.mkdir()
    else:
        beside.symlink_to(beside.name)
    for reads in (lambda: checked(path), lambda: read_runs(SOURCE, [str(path)])):
        with pytest.raises(
            DataError, match=r"a\.jsonl\.settings\.json: .* cannot be read .*Delete this file, and rep"
        ):
            reads()
    shutil.rmtree(beside) if what == "a folder" else beside.unlink()
    report = checked(path)
    assert any("no settings lie beside a.jsonl" in note for note in report.notes)
    go(path, trials=2)
    assert not checked(path).partial
    assert not any("no settings" in note for note in checked(path).notes)


@pytest.mark.parametrize("lacking", ["wikipedia", "prompts", "wording", "embedder", "loop", "faults"])
def test_settings_of_earlier_versions_are_read(lacking: str, tmp_path: Path) -> None:
    path = go(tmp_path / "a.jsonl", trials=2)
    beside = tmp_path / "a.jsonl.settings.json"
    told = {k: v for k, v in json.loads(beside.read_text()).items() if k != lacking}
    model = settings_hash({k: v for k, v in told.items() if k not in ("model_hash", "questions")})
    text = "".join(line for line in lines(path) if "@1" not in line).replace(told["model_hash"], model)
    beside.write_text(json.dumps(told | {"model_hash": model}))
    path.write_text(text)
    assert checked(path).partial


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
    records = {one["id"]: one for one in map(json.loads, lines(path))}
    other = records[f"{CASES[0].id}@1"]
    other |= {"id": f"{CASES[0].id}@7"}
    other["episode"]["trial"] = 7
    path.write_text("".join(json.dumps(one) + "\n" for one in records.values()))
    with pytest.raises(DataError, match=r"@7 is a trial beyond the 2 of this run"):
        read_acted(SOURCE, path)


@pytest.mark.parametrize(
    ("name", "other"), [("sandbox", "reference"), ("setting", "retrieval"), ("strategy", "react")]
)
def test_no_figure_mixes_modes(name: str, other: str, tmp_path: Path) -> None:
    path, others = go(tmp_path / "a.jsonl"), go(tmp_path / "b.jsonl", **{name: other})
    own = [one for one in lines(path) if one.startswith(f'{{"id": "{CASES[0].id}"')]
    path.write_text("".join([*own, *(one for one in lines(others) if one[:40] != own[0][:40])]))
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
    left = records[:1] if sandbox == "reference" else records[:1] + records[2:]
    path.write_text("".join(json.dumps(one) + "\n" for one in left))
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
    path, nested = go(tmp_path / "a.jsonl"), "[" * depth + "]" * depth
    records = {one["id"]: one for one in map(json.loads, lines(path))}
    reads = place == "arguments"  # those of a call with an effect are the effect's
    record, call = next(
        (one, call)
        for one in records.values()
        for call in one["episode"]["calls"]
        if (call["effect"] is None) == reads and one["episode"]["diff"]
    )
    if place == "message":
        record["messages"][0]["x"] = DEEP
    elif place == "diff":
        record["episode"]["diff"] = [["home/x", None, DEEP]]
    elif place == "effect":
        call["effect"]["args"]["x"] = DEEP
    else:
        written = json.dumps(call["arguments"], ensure_ascii=False)
        for function in (made["function"] for one in record["messages"] for made in one.get("tool_calls", ())):
            if function["arguments"] == written:
                function["arguments"] = f'{{"x": {nested}}}'
        call["arguments"] = {"x": DEEP}
    text = "".join(json.dumps(one) + "\n" for one in records.values())
    path.write_text(text.replace(f'"{DEEP}"', nested))
    try:
        file, acted = read_acted(SOURCE, path)
    except DataError:
        assert depth > 90 or place == "effect"  # which is what the tool makes of the call's arguments
        return
    assert depth < 100
    write_report(report_of(SOURCE, file, acted, 3), tmp_path / "checked.json")
    assert all(prompt_of(SOURCE, one) for one in acted)
    write(SOURCE, read_runs(SOURCE, [str(path)]), tmp_path / "page", [path])
    export(SOURCE, acted, {}, Wanted(checks="any"), tmp_path / "sft.json", path)
