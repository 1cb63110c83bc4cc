"""What else can be told of a checkout: its commit, and which of the published prompts it can give."""

from __future__ import annotations

import re
from pathlib import Path

from ..checkpoint.own import refuse_special
from ..errors import DataError
from .checkout import OPTIONAL, Checkout
from .published_judge import published_prompter
from .wording import published

FIRST = "565d82a"
_RESTAURANTS, _MAP = "7863ab1", "c43869e"  # the commit that adds the table; the one that needs four files no longer
_MAP_FILE, _NEVER_THERE = "toolkit/Navigation/Map.py", "city_building_information"
_COMMIT = re.compile("[0-9a-f]{40}")
_MOST_BYTES = 1 << 20


def commit_of(checkout: Checkout) -> str:
    """Return which commit the checkout is of: as Git's own files say it, else as the content suggests."""
    stated = _stated(checkout.folder / ".git")
    if stated:
        return f"commit {stated}, as its .git says"
    has_table = checkout.has(str(OPTIONAL["find_restaurants"]))
    code = _text(checkout.folder / _MAP_FILE)
    if not code:
        return "commit unknown: it has neither .git nor the code of the map"
    later = [name for name, is_there in ((_RESTAURANTS, has_table), (_MAP, _NEVER_THERE not in code)) if is_there]
    return f"commit guessed: with {' and '.join(later)}" if later else f"commit guessed: {FIRST}, the first"


def _stated(git: Path) -> str:
    """Return the commit that a folder of Git names; "" where there is none."""
    head = _text(git / "HEAD").strip()
    if head.startswith("ref: refs/"):
        name = head.removeprefix("ref: ")
        packed = [line.split() for line in _text(git / "packed-refs").split("\n")]
        loose = _text(git / name).strip() if ".." not in name else ""
        head = loose or next((words[0] for words in packed if words[1:] == [name]), "")
    return head[:12] if _COMMIT.fullmatch(head) else ""


def _text(path: Path) -> str:
    """Return the text of a small file; "" where there is none."""
    try:
        refuse_special(path)
        return path.read_text("utf-8") if not path.is_symlink() and path.stat().st_size <= _MOST_BYTES else ""
    except (DataError, OSError, ValueError):
        return ""


def prompts_lacking(checkout: Checkout) -> list[str]:
    """Return a line for each kind of prompts that the checkout cannot give, with the reason; nothing is run."""
    lacking = []
    for verb, read in (("run", published), ("judge", published_prompter)):
        try:
            read(checkout)
        except DataError as error:
            why = error.message.removeprefix("--prompts checkout: ").replace(f"{checkout.folder}/", "")
            why = why.removeprefix(f"{checkout.folder} ")
            lacking.append(f"`etapp {verb} --prompts checkout` cannot be used: {why}")
    return lacking
