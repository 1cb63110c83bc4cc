"""Transcripts in the page of a run."""

from __future__ import annotations

import json
from pathlib import Path
from typing import Any

import pytest

from llamafactory_ext.tl.ppo.episode_log import FILE
from llamafactory_ext.tl.ppo.episode_page import HEAD, PAGE, add_episodes

pytestmark = pytest.mark.fast


def kept(step: int, which: str, said: str, **changes: Any) -> dict[str, Any]:
    """Return an episode as the log has it."""
    episode = {"step": step, "which": which, "place": "tasks.json, index 3", "id": "3", "reward": 0.5, "end": "answer"}
    episode |= {"turns": 1, "checks": {"calls": 1.0, "answer": 0.0}, "fault": None, "asked": f"do {said}"}
    return episode | {"transcript": [["policy", said], ["environment", f"after {said}"]]} | changes


def page(folder: Path, *episodes: dict[str, Any], before: str | None = None) -> str:
    """Return the page of a run with these episodes."""
    if before is not None:
        (folder / PAGE).write_text(before, "utf-8")
    (folder / FILE).write_text("".join(f"{json.dumps(one)}\n" for one in episodes), "utf-8")
    add_episodes(folder)
    return (folder / PAGE).read_text("utf-8")


def test_it_has_the_episodes_of_the_first_and_the_last_batch(tmp_path: Path) -> None:
    episodes = [kept(step, which, f"{which}-{step}") for step in (2, 10, 9) for which in ("best", "worst")]
    text = page(tmp_path, *episodes, before="# Card\n\nwords\n")
    assert text.startswith("# Card\n\nwords\n\n## Episodes\n")
    for said in ("best-2", "worst-2", "best-10", "worst-10"):
        assert all(f"```text\n{part}\n```" in text for part in (f"do {said}", said, f"after {said}"))
    assert "best-9" not in text
    assert "Reward 0.5; ended by: answer; turns: 1; calls 1, answer 0." in text


def test_a_later_run_takes_the_place_of_an_earlier_one(tmp_path: Path) -> None:
    page(tmp_path, kept(1, "best", "old"), before="# Card\n")
    text = page(tmp_path, kept(1, "best", "new"))
    assert (text.count(HEAD), "old" in text, text.startswith("# Card\n")) == (1, False, True)


@pytest.mark.parametrize("said", ["```", "a\n`````\n# Head", "", "``` ` ````"])
def test_no_text_closes_its_fence(said: str, tmp_path: Path) -> None:
    inside, fence, read = False, "", list[str]()
    text = page(tmp_path, kept(1, "best", said, fault=f"raised: {said} [x](y)"))
    for line in text.partition("policy:\n")[2].partition("environment:\n")[0].splitlines():
        if not inside and line.startswith("```"):
            inside, fence = True, line.removesuffix("text")
        elif inside and line == fence:
            inside = False
        elif inside:
            read.append(line)
    assert not inside
    assert read == said.split("\n")
    assert "[x]" not in text


def test_a_run_without_episodes_keeps_its_page(tmp_path: Path) -> None:
    add_episodes(tmp_path)
    assert not (tmp_path / PAGE).exists()
    assert page(tmp_path).startswith(HEAD)
