"""Transcripts in the page of a run (README.md): the best and the worst episode of its first and its last batch.

They show whether a reward is earned by doing the task. What tools and policies write stands in fences that it cannot
close.
"""

from __future__ import annotations

import json
import re
from collections.abc import Mapping, Sequence
from pathlib import Path
from typing import Any, Final

from ...checkpoint.atomic import write_text
from .episode_log import FILE

PAGE, HEAD = "README.md", "## Episodes\n"
_INTRO: Final = f"""
The best and the worst episode of the first and of the last batch, by reward; `{FILE}` has those of all batches. Look
for rewards that are earned without the task being done.
"""


def add_episodes(folder: Path) -> None:
    """Put the transcripts at the end of the page of a run, in the place of an earlier run's."""
    path, log = folder / PAGE, folder / FILE
    if not log.is_file():
        return
    kept = [json.loads(line) for line in log.read_text("utf-8").splitlines()]
    page = path.read_text("utf-8") if path.is_file() else ""
    write_text(path, f"{page.partition(HEAD)[0].rstrip()}\n\n{HEAD}{episodes_text(kept)}".lstrip())


def episodes_text(kept: Sequence[Mapping[str, Any]]) -> str:
    """Return the transcripts of the first and the last batch as Markdown."""
    steps = sorted({one["step"] for one in kept})
    chosen = [one for one in kept if one["step"] in (steps[0], steps[-1])] if steps else []
    return _INTRO + "".join(_episode(one) for one in chosen)


def _episode(one: Mapping[str, Any]) -> str:
    checks = ", ".join(f"{_plain(name)} {value:g}" for name, value in one["checks"].items())
    fault = f"; {_plain(one['fault'])}" if one["fault"] else ""
    facts = f"Reward {one['reward']:g}; ended by: {one['end']}; turns: {one['turns']}; {checks or 'no checks'}{fault}."
    turns = [["user", one["asked"]], *one["transcript"]]
    said = "".join(f"\n{role}:\n\n{_fenced(text)}\n" for role, text in turns)
    return f"\n### Step {one['step']}, {one['which']}: {_plain(one['place'])}\n\n{facts}\n{said}"


def _fenced(text: str) -> str:
    longest = max(map(len, re.findall("`+", text)), default=0)
    fence = "`" * max(3, longest + 1)
    return f"{fence}text\n{text}\n{fence}"


def _plain(text: str) -> str:
    """Return a text as one line without marks of Markdown."""
    return re.sub(r"[\s`*<>\[\]#|\\]+", " ", text).strip()
