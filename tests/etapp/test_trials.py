"""Trials of a case are drawn anew: a server gets another seed in each of them."""

from __future__ import annotations

import json
from collections import defaultdict
from collections.abc import Callable
from pathlib import Path
from typing import Any

import pytest

from etapp.test_options import call
from llamafactory_ext.etapp.mini import load
from serving.stub_server import completion, serving

pytestmark = pytest.mark.fast
CASES = load().cases[:3]


def seeds(url: str, folder: Path, requests: list[Any], *words: str) -> dict[str, list[int]]:
    """Run three cases; return the seeds by what a case begins with."""
    (folder / "cases.txt").write_text("\n".join(case.id for case in CASES))
    before = len(requests)
    given = ("--model", "m", "--url", f"{url}/v1", "--out", str(folder / "a.jsonl"), "--cases", f"{folder}/cases.txt")
    code, said = call(["run", *given, *words])
    assert code == 0, said
    found: dict[str, list[int]] = defaultdict(list)
    for body in requests[before:]:
        found[json.dumps(body["messages"][:2])].append(body["seed"])
    return found


def answer(path: str, body: Any) -> Any:
    return (200, {"data": [{"id": "m"}]}) if body is None else completion("Done.")


@pytest.mark.parametrize(
    ("first", "wanted"), [("0", [0, 1, 2]), ("7", [7, 8, 9]), (str(2**63 - 1), [0, 1, 2**63 - 1])]
)
def test_every_trial_has_a_seed_of_its_own(first: str, wanted: list[int], tmp_path: Path) -> None:
    with serving(answer) as server:
        found = seeds(server.url, tmp_path, server.requests, "--trials", "3", "--seed", first, "--temperature", "0.7")
    assert len(found) == len(CASES)
    assert [sorted(set(given)) for given in found.values()] == [wanted] * len(CASES)


def test_a_trial_keeps_its_seed_where_a_run_goes_on(tmp_path: Path) -> None:
    with serving(answer) as server:
        whole = seeds(server.url, tmp_path, server.requests, "--trials", "3")
        path = tmp_path / "a.jsonl"
        lines = path.read_text("utf-8").splitlines(keepends=True)
        path.write_text("".join(line for line in lines if "@2" not in line[:60]), "utf-8")
        again = seeds(server.url, tmp_path, server.requests, "--trials", "3")
    assert {key: {2} for key in whole} == {key: set(given) for key, given in again.items()}


@pytest.mark.parametrize(("words", "is_told"), [((), False), (("--trials", "2"), True)])
def test_equal_trials_are_told_of(words: tuple[str, ...], is_told: bool, tmp_path: Path) -> None:
    given: Callable[..., list[str]] = lambda url, *more: [  # noqa: E731
        *("run", "--model", "m", "--url", f"{url}/v1", "--out", str(tmp_path / f"{len(more)}.jsonl"), *words, *more)
    ]
    (tmp_path / "one.txt").write_text(CASES[0].id)
    one = ("--cases", f"{tmp_path}/one.txt")
    with serving(answer) as server:
        assert ("trials may all be the same" in call(given(server.url, *one))[1]) == is_told
        assert "may all be the same" not in call(given(server.url, *one, "--temperature", "0.5"))[1]
