"""Reads that nobody asked for: what can be told of proactivity without a judge."""

from __future__ import annotations

from dataclasses import replace
from types import SimpleNamespace
from typing import Any

import pytest

from llamafactory_ext.etapp.checking import reads_beyond
from llamafactory_ext.etapp.mini import load

pytestmark = pytest.mark.fast
CASE = replace(
    load().cases[0],
    given=("get_music_list_in_favorites", "play_music", "get_today_emails_until_now", "shut_up_music"),
    checks={"require": [{"tool": "play_music", "args": {}}], "reads": ["get_music_list_in_favorites"]},
)


def call(name: str, failed: str | None = None, effect: Any = None) -> dict[str, Any]:
    return {"name": name, "arguments": {}, "failed": failed, "effect": effect}


@pytest.mark.parametrize(
    ("calls", "expected"),
    [
        ([], 0),
        ([call("get_music_list_in_favorites"), call("play_music", effect={"tool": "play_music"})], 0),
        ([call("get_today_emails_until_now")], 1),
        ([call("get_today_emails_until_now"), call("get_today_emails_until_now")], 1),
        ([call("get_today_emails_until_now", failed="arguments")], 0),
        ([call("shut_up_music", effect={"tool": "shut_up_music"})], 0),
        ([call("search_products_in_shopping_manager")], 0),  # of no use to this case
    ],
)
def test_by_hand(calls: list[dict[str, Any]], expected: int) -> None:
    one: Any = SimpleNamespace(case=CASE, episode={"calls": calls})
    assert reads_beyond(one) == expected


def test_without_checks_nothing_can_be_told() -> None:
    one: Any = SimpleNamespace(case=replace(CASE, checks=None), episode={"calls": [call("play_music")]})
    assert reads_beyond(one) is None
