"""The mini world that is shipped: three JSON files and how they are read; this module run as a program writes them."""

from __future__ import annotations

import hashlib
import json
from dataclasses import replace
from datetime import datetime
from functools import lru_cache
from pathlib import Path
from typing import Any

from ..checkpoint.atomic import write_text
from ..toolcalls import ToolCall
from .calls import TIME
from .cases import Case, Source
from .mini_cases import cases, gold, slots_of
from .mini_people import PEOPLE
from .mini_world import records, shared
from .sandbox import Sandbox
from .world import Shared, World

FOLDER = Path(__file__).parent / "mini"
FILES = ("world.json", "cases.json", "gold.json")
_SHORT = 2000
_ROWS = ("events", "alarms", "mails", "health", "summaries", "workouts", "favourites", "cart")
_SHARED = ("lodgings", "attractions", "restaurants", "flights", "songs", "products", "news", "encyclopedia")


def generated() -> dict[str, str]:
    """Return the files' texts by their names; always the same."""
    users = {person.key: records(person) | {"slots": slots_of(person)} for person in PEOPLE}
    contents = ({"shared": shared(), "users": users}, cases(), gold())
    return {
        name: json.dumps(content, ensure_ascii=False, indent=0) + "\n"
        for name, content in zip(FILES, contents, strict=True)
    }


@lru_cache(maxsize=1)
def load() -> Source:
    """Read the shipped files."""
    texts = {name: (FOLDER / name).read_text("utf-8") for name in FILES}
    world, listed = json.loads(texts["world.json"]), json.loads(texts["cases.json"])
    lists: dict[str, Any] = {name: tuple(world["shared"][name]) for name in _SHARED}
    common = Shared(weather=world["shared"]["weather"], **lists)
    return Source(
        "mini",
        hashlib.sha256("".join(texts.values()).encode()).hexdigest(),
        {user: _world(user, record, common) for user, record in world["users"].items()},
        {user: record["slots"] for user, record in world["users"].items()},
        tuple(_case(record) for record in listed),
    )


@lru_cache(maxsize=1)
def one_tool() -> Source:
    """Return the cases for models with a small context: gold calls one tool, which alone is on offer.

    Cases whose tool shows more than `_SHORT` characters are left out.
    """
    whole, cases = load(), []
    for key, right in load_gold().items():
        case, names = whole.case(key), {call["name"] for call in right["calls"]}
        if len(names) == 1:
            box = Sandbox(whole.worlds[case.user].fork(), case.now, case.given)
            shown = sum(len(box.call(ToolCall(call["name"], call["arguments"]))) for call in right["calls"])
            cases += [replace(case, given=tuple(names))] if shown <= _SHORT else []
    return replace(whole, name="mini-one-tool", sha256=f"{whole.sha256} one tool", cases=tuple(cases))


def load_gold() -> dict[str, Any]:
    """Read the gold trajectories: by case, "calls" in order and the "answer"."""
    return dict(json.loads((FOLDER / "gold.json").read_text("utf-8")))


def _world(user: str, record: dict[str, Any], common: Shared) -> World:
    rows: dict[str, Any] = {name: tuple(record[name]) for name in _ROWS}
    return World(user, record["city"], record["profile"], record["preferences"], common, **rows)


def _case(record: dict[str, Any]) -> Case:
    return Case(
        record["id"],
        record["user"],
        int(record["id"].rpartition(":")[2]),
        datetime.strptime(record["now"], TIME),
        record["place"],
        record["query"],
        tuple(record["given"]),
        tuple(record["personal"]),
        tuple(record["proactive"]),
        record["checks"],
        tuple(record["follow_ups"]),
    )


if __name__ == "__main__":
    for file, text in generated().items():
        write_text(FOLDER / file, text)
