"""Long work says where it is, on a terminal and in a file."""

from __future__ import annotations

import io

import pytest
from rich.console import Console

from llamafactory_ext.progress import EVERY, Shown

pytestmark = pytest.mark.fast


class Clock:
    """Seconds that a test sets."""

    now = 0.0

    def __call__(self) -> float:
        return self.now


def test_lines_in_a_file() -> None:
    clock, file = Clock(), io.StringIO()
    with Shown(Console(file=file, width=200), clock) as shown:
        first, second = shown.add("CITI"), shown.add("answers.jsonl", 10, 40)
        for second_passed in range(0, 61, 5):
            clock.now = second_passed
            shown.tell(first, "training", second_passed * 2, 300)
        shown.tell(first, "measuring")
        clock.now = 3720.0
        shown.tell(second, "answers", 11, 40)
        clock.now += EVERY
        shown.tell(second, "answers", 26, 40)
        shown.tell(second, "answers", 27, 40)
        shown.tell(second, "answers", 40, 40)
    assert file.getvalue().splitlines() == [
        "CITI: training 0/300, after 0:00:00",
        "CITI: training 60/300, after 0:00:30, about 0:02:00 left",
        "CITI: training 120/300, after 0:01:00, about 0:01:30 left",
        "CITI: measuring, after 0:00:00",
        "answers.jsonl: answers 11/40, after 0:00:00",
        "answers.jsonl: answers 26/40, after 0:00:30, about 0:00:28 left",
        "answers.jsonl: answers 40/40, after 0:00:30",
    ]


def test_what_it_shows_is_no_markup() -> None:
    file = io.StringIO()
    with Shown(Console(file=file, width=200)) as shown:
        shown.tell(shown.add("[bold]run[/]"), "at [0]")
    assert file.getvalue() == "[bold]run[/]: at [0], after 0:00:00\n"


def test_bars_on_a_terminal() -> None:
    file = io.StringIO()
    with Shown(Console(file=file, width=120, force_terminal=True)) as shown:
        piece = shown.add("CITI")
        shown.tell(piece, "training", 5, 10)
    assert "training 5/10" in file.getvalue()
