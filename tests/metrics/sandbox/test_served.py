"""A served program: one that something else ended before it began is started again, and no pipe stays open."""

from __future__ import annotations

from collections.abc import Sequence
from pathlib import Path
from typing import Any

import pytest

from llamafactory_ext.errors import OptionError
from llamafactory_ext.metrics.sandbox import Limits, NotBegunError, served
from metrics.isolation import isolation_problem

pytestmark = pytest.mark.fast


def open_files() -> int:
    return len(list(Path("/proc/self/fd").iterdir()))


def worlds(begins: Sequence[bool]) -> Any:
    """Worlds of which some end without a word before they begin."""
    left = list(begins)

    class World:
        has_ended = True

        def __init__(self, *_: Any) -> None:
            self.has_begun = left.pop(0)

        def __exit__(self, *_: Any) -> None: ...

        def outcome(self) -> Any:
            raise NotBegunError

    return World


@pytest.mark.parametrize(("begins", "starts"), [([True], True), ([False, False, True], True), ([False] * 3, False)])
def test_a_program_that_did_not_begin_is_started_again(
    begins: list[bool], starts: bool, monkeypatch: pytest.MonkeyPatch
) -> None:
    monkeypatch.setattr(served, "World", worlds(begins))
    before = open_files()
    if starts:
        with served.Served("", "f", Limits(seconds=1)):
            assert open_files() == before + 2
    else:
        with pytest.raises(OptionError, match="ended before it began"):
            served.Served("", "f", Limits(seconds=1))
    assert open_files() == before


def test_calls_share_a_state_until_one_ends_the_program() -> None:
    problem = isolation_problem()
    if problem is not None:
        pytest.skip(problem)
    source = "seen = []\ndef f(x):\n    seen.append(x)\n    if x == 3:\n        raise SystemExit\n    return seen"
    before = open_files()
    with served.Served(source, "f", Limits(seconds=30)) as program:
        assert [program.call(number, seconds=20) for number in (1, 2)] == [[1], [1, 2]]
        for _ in range(2):
            with pytest.raises(served.EndedError):
                program.call(3, seconds=20)
    assert open_files() == before
