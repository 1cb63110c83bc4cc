"""Long work says where it is, on a terminal and in a file."""

from __future__ import annotations

import io

import pytest
from rich.console import Console

from llamafactory_ext.progress import EVERY, Shown, short

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
        shown.tell(second, "answers", 40, 40)  # the end is told once
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


@pytest.mark.parametrize(
    ("name", "expected"),
    [
        ("math", "math"),
        ("a" * 30 + "b" * 30, "a" * 19 + "..." + "b" * 18),
        ("two\nlines\tand \x1b[31mred\u202e", "two lines and [31mred"),
        ("\ud800half", "half"),
        ("", ""),
    ],
)
def test_a_name_leaves_room_for_the_bar(name: str, expected: str) -> None:
    assert short(name) == expected


@pytest.mark.parametrize("is_terminal", [True, False])
def test_a_long_name_is_one_line(is_terminal: bool) -> None:
    file = io.StringIO()
    with Shown(Console(file=file, width=100, force_terminal=is_terminal)) as shown:
        piece = shown.add("[red]" + "long " * 100)
        shown.tell(piece, "[b]training[/b] " + "x" * 20, 5, 10)
    if is_terminal:
        assert all(word in file.getvalue() for word in ("[red]long", "[b]training[/b]"))
    else:
        (line,) = file.getvalue().splitlines()
        assert line.startswith("[red]long")


def test_bars_on_a_terminal() -> None:
    file = io.StringIO()
    with Shown(Console(file=file, width=120, force_terminal=True)) as shown:
        piece = shown.add("CITI")
        shown.tell(piece, "training", 5, 10)
    assert "training 5/10" in file.getvalue()
