"""Hostile answers, as root and as a user, by our own runner and by bubblewrap: none passes, outlives or harms."""

from __future__ import annotations

import ctypes
import itertools
import json
import os
import signal
import sys
import time
from collections.abc import Callable, Iterator
from pathlib import Path
from typing import Any

import pytest

import sampling
from llamafactory_ext.errors import OptionError
from llamafactory_ext.metrics import sandbox
from llamafactory_ext.metrics.sandbox import Limits, run_program, run_tests, runners
from metrics.isolation import isolation_problem
from metrics.sandbox.attacks import ATTACKS, RIGHT, TESTS
from sampling import sample

LIMITS = Limits(seconds=3, memory_mb=300)
PATIENT = Limits(seconds=120, memory_mb=300)
NOBODY = 65534


@pytest.fixture(scope="module", autouse=True)
def _isolated() -> None:
    problem = isolation_problem()
    if problem is not None:
        pytest.skip(problem)


RUNNERS, USERS = ("own", "bubblewrap"), ("root", "user")


@pytest.fixture
def runner(request: pytest.FixtureRequest, monkeypatch: pytest.MonkeyPatch) -> str:
    if request.param == "own":
        monkeypatch.setattr(runners, "bubblewrap", lambda: None)
    elif runners.bubblewrap() is None:
        pytest.skip("bubblewrap (bwrap) is not installed or may not make namespaces here")
    return str(request.param)


@pytest.fixture
def user(request: pytest.FixtureRequest) -> str:
    if request.param == "root" and os.getuid() != 0:
        pytest.skip("the tests do not run as root")
    return str(request.param)


BY_EVERY_RUNNER = pytest.mark.parametrize("runner", RUNNERS, indirect=True)
BY_EVERY_USER = pytest.mark.parametrize("user", USERS, indirect=True)


@pytest.fixture
def firsts(monkeypatch: pytest.MonkeyPatch) -> list[int]:
    """Numbers of the processes 1 of all worlds that were started."""
    found: list[int] = []
    identify = runners.Started._identify

    def noted(self: runners.Started, number: int) -> None:
        found.append(number)
        identify(self, number)

    monkeypatch.setattr(runners.Started, "_identify", noted)
    return found


def as_user(user: str, function: Callable[[], Any]) -> Any:
    """Call a function as root or, in a process of its own, as a user without rights; its result must be JSON."""
    if user == "root" or os.getuid() != 0:
        return function()
    reading, writing = os.pipe()
    child = os.fork()
    if child == 0:
        os.close(reading)
        try:
            _make_reachable([sys.base_prefix, sys.prefix, str(Path(sandbox.__file__).resolve().parent)])
            os.setgroups([])
            os.setresgid(NOBODY, NOBODY, NOBODY)
            os.setresuid(NOBODY, NOBODY, NOBODY)
            runners_cached = getattr(runners.bubblewrap, "cache_clear", None)
            if runners_cached:
                runners_cached()
            result: Any = ["returned", function()]
        except BaseException as error:
            result = ["raised", f"{type(error).__name__}: {error}"]
        with os.fdopen(writing, "w") as file:
            json.dump(result, file)
        os._exit(0)
    os.close(writing)
    with os.fdopen(reading) as file:
        how, result = json.load(file)
    os.waitpid(child, 0)
    assert how == "returned", result
    return result


def _make_reachable(needed: list[str]) -> None:
    """Let everybody reach these folders, in this process's view only."""
    libc = ctypes.CDLL(None, use_errno=True)
    assert libc.unshare(0x00020000) == 0
    assert libc.mount(b"none", b"/", None, ctypes.c_ulong(16384 | 1 << 18), None) == 0
    opened = {path: os.open(path, os.O_PATH) for path in needed}
    closed = {
        next((str(part) for part in reversed(Path(path).parents) if not part.stat().st_mode & 1), "")
        for path in needed
    } - {""}
    for folder in closed:
        assert libc.mount(b"tmpfs", folder.encode(), b"tmpfs", 0, b"mode=0755") == 0
        for path, descriptor in opened.items():
            if path.startswith(f"{folder}/"):
                Path(path).mkdir(parents=True)
                assert libc.mount(f"/proc/self/fd/{descriptor}".encode(), path.encode(), None, 4096, None) == 0


def numbers_left(firsts: list[int]) -> list[int]:
    """Worlds that still live; process 1 outlives all others of its world."""
    return [number for number in firsts if Path(f"/proc/{number}").exists()]


def _tried() -> list[tuple[str, str, str]]:
    """Every attack as one of the users by one of the runners; with ALL_TESTS=1 as each by each."""
    found = []
    for place, name in enumerate(ATTACKS):
        for number, (user, runner) in enumerate(itertools.product(USERS, RUNNERS)):
            if sampling.ALL or number == place % 4:
                found.append((name, user, runner))
    return found


@pytest.mark.parametrize(("name", "user", "runner"), _tried(), indirect=["user", "runner"])
def test_no_attack_passes_or_outlives(name: str, user: str, runner: str, firsts: list[int]) -> None:
    def attacked() -> list[Any]:
        begun = time.monotonic()
        outcome = run_tests(ATTACKS[name], TESTS, entry="solve", limits=LIMITS)
        beside = run_tests(RIGHT, TESTS, entry="solve", limits=PATIENT)
        return [
            outcome.status,
            outcome.output,
            beside.status,
            len(firsts),
            numbers_left(firsts),
            time.monotonic() - begun,
        ]

    status, output, beside, worlds, left, _ = as_user(user, attacked)
    assert status in ("failed", "killed", "timeout"), output
    assert beside == "finished"
    assert worlds >= 4  # a world that could not be made is made again
    assert left == []
    assert len(output) <= LIMITS.disk_mb << 20
    assert "root:" not in output


def test_there_are_enough_of_every_kind() -> None:
    kinds = [name.partition(":")[0] for name in ATTACKS]
    assert len(ATTACKS) >= 60
    assert all(kinds.count(kind) >= 4 for kind in ("outlive", "memory", "pass", "read", "write", "reach"))


WHOLE = [
    name for name in ATTACKS if name.startswith("outlive: ") and "def solve(x):\n    return 9" not in ATTACKS[name]
]


@BY_EVERY_RUNNER
@pytest.mark.parametrize("name", sample(WHOLE, 6))
def test_whole_programs_do_not_outlive_their_limit(name: str, runner: str, firsts: list[int]) -> None:
    run_program(ATTACKS[name], limits=LIMITS)
    assert len(firsts) == 1
    assert numbers_left(firsts) == []


@BY_EVERY_RUNNER
def test_all_in_one_scoring(tmp_path: Path, runner: str) -> None:
    """Right answers between hostile ones: each item's verdict is its own."""
    from llamafactory_ext.metrics import score
    from metrics.published_data import write_predictions

    names = [name for name in ATTACKS if name.startswith("pass: ")]
    answers, records = {}, []
    for number, text in enumerate(part for name in names for part in (ATTACKS[name], RIGHT)):
        identifier = f"HumanEval/{number}"
        record = {
            "task_id": identifier,
            "prompt": "import math\n\n\n",
            "entry_point": "solve",
            "canonical_solution": RIGHT,
        }
        records.append(record | {"test": TESTS.replace("check(solve)\n", "")})
        answers[identifier] = text
    references = tmp_path / "HumanEval.jsonl"
    references.write_text("".join(json.dumps(record) + "\n" for record in records), encoding="utf-8")
    predictions = write_predictions(tmp_path / "p.jsonl", "humaneval", answers)
    report = score("humaneval", predictions, references, execute=True)
    found = [verdict.scores["HE"] for verdict in report.verdicts]
    assert found == [0.0, 1.0] * len(names)


@BY_EVERY_RUNNER
@BY_EVERY_USER
def test_threads_are_counted_where_no_limit_does(runner: str, user: str) -> None:
    source = """
import threading, time
threading.stack_size(65536)
for _ in range(60):
    threading.Thread(target=time.sleep, args=(3600,), daemon=True).start()
time.sleep(3600)
"""
    outcome = as_user(user, lambda: list(vars(run_program(source, limits=Limits(seconds=100, threads=20))).values()))
    assert outcome[0] in ("killed", "failed"), outcome


@BY_EVERY_RUNNER
def test_a_killed_scorer_leaves_nothing(runner: str, firsts: list[int]) -> None:
    reading, writing = os.pipe()
    child = os.fork()
    if child == 0:
        identify = runners.Started._identify

        def told(self: runners.Started, number: int) -> None:
            identify(self, number)
            os.write(writing, f"{number}\n".encode())

        runners.Started._identify = told  # type: ignore[method-assign]
        run_program("import time; time.sleep(3600)", limits=PATIENT)
        os._exit(0)
    number = int(os.read(reading, 100))
    os.kill(child, signal.SIGKILL)
    os.waitpid(child, 0)
    deadline = time.monotonic() + 60
    while _lives(number) and time.monotonic() < deadline:
        time.sleep(0.05)
    assert not _lives(number)


def _lives(number: int) -> bool:
    """Tell whether a process still does anything; the dead may wait for a parent that asks."""
    try:
        return Path(f"/proc/{number}/stat").read_text("ascii").rpartition(")")[2].split()[0] != "Z"
    except OSError:
        return False


@pytest.fixture
def below() -> Iterator[Callable[[str], Path]]:
    """Folders at odd places of the machine, removed afterwards."""
    made: list[Path] = []

    def make(place: str) -> Path:
        folder = Path(place)
        try:
            folder.mkdir(parents=True)
        except OSError as error:
            pytest.skip(f"{place} cannot be made: {error.strerror}")
        made.append(folder)
        (folder / "data.txt").write_text("seen", encoding="utf-8")
        return folder

    yield make
    for folder in made:
        (folder / "data.txt").unlink()
        folder.rmdir()


@BY_EVERY_RUNNER
@pytest.mark.parametrize(
    "place", [f"{runners.WORK}/sandboxed_checkout", "/dev/shm/sandboxed_checkout", "/tmp/sandboxed_checkout"]
)
def test_a_checkout_anywhere_is_seen(place: str, runner: str, below: Callable[[str], Path]) -> None:
    folder = below(f"{place}_{os.getpid()}")
    source = f"import os\nprint(open({str(folder / 'data.txt')!r}).read(), os.listdir('.'))\nopen('/dev/null', 'w')"
    outcome = run_program(source, limits=PATIENT, readable=[folder])
    assert (outcome.status, outcome.output) == ("finished", "seen ['program.py']\n"), outcome
    written = run_program(f"open({str(folder / 'data.txt')!r}, 'w')", limits=PATIENT, readable=[folder])
    assert written.status == "failed"


def test_values_arrive_as_they_are() -> None:
    """What honest answers return passes as in one process."""
    program = """
import collections, decimal, fractions, enum
class Colour(enum.IntEnum):
    RED = 1
VALUES = [None, True, 0, -7, 10 ** 5000, 1.5, float('inf'), -0.0, 1 + 2j, '', 'é\\ud800', b'x', bytearray(b'y'), [],
    [1, [2]], (1,), {1, 2}, frozenset({3}), {'a': [1], (1, 2): None}, range(3), collections.Counter('aab'),
    collections.OrderedDict(a=1), decimal.Decimal('1.5'), fractions.Fraction(1, 3), Colour.RED]
def solve(n, *, twice=False):
    if n == 'generator':
        return (x for x in [1, 2])
    if n == 'error':
        raise ValueError('bad')
    return VALUES[n]
"""
    tests = """
from decimal import Decimal
from fractions import Fraction
VALUES = [None, True, 0, -7, 10 ** 5000, 1.5, float('inf'), -0.0, 1 + 2j, '', 'é\\ud800', b'x', bytearray(b'y'), [],
    [1, [2]], (1,), {1, 2}, frozenset({3}), {'a': [1], (1, 2): None}, range(3), {'a': 2, 'b': 1}, {'a': 1},
    Decimal('1.5'), Fraction(1, 3), 1]
for number, value in enumerate(VALUES):
    assert solve(number, twice=True) == value, value
    assert type(solve(number)) is type(value), value
assert tuple(solve('generator')) == (1, 2)
try:
    solve('error')
except ValueError as error:
    assert 'bad' in str(error)
else:
    raise AssertionError
assert helper(1) == 2
"""
    context = "def helper(x):\n    return x + 1\n\ndef solve(x):\n    '''Unfinished.'''\n"
    outcome = run_tests(program, tests, entry="solve", context=context, limits=PATIENT)
    assert outcome.status == "finished", outcome


def test_bubblewrap_is_used_where_it_works(monkeypatch: pytest.MonkeyPatch, tmp_path: Path) -> None:
    broken = tmp_path / "bwrap"
    broken.write_text("#!/bin/sh\nexit 1\n", encoding="utf-8")
    broken.chmod(0o755)
    monkeypatch.setattr(runners, "BUBBLEWRAP", str(broken))
    runners.bubblewrap.cache_clear()
    try:
        assert runners.bubblewrap() is None
        assert run_program("print(1)", limits=PATIENT).output == "1\n"
    finally:
        runners.bubblewrap.cache_clear()


def test_no_isolation_says_so(monkeypatch: pytest.MonkeyPatch) -> None:
    monkeypatch.setattr(runners, "bubblewrap", lambda: None)
    monkeypatch.setattr(sandbox, "_BOOT", "import sys; sys.exit('no such thing')")
    with pytest.raises(OptionError, match=r"cannot be isolated here: no such thing\. Score on a Linux machine"):
        run_program("print(1)")


def test_a_world_that_ends_before_it_begins_is_tried_again(monkeypatch: pytest.MonkeyPatch) -> None:
    monkeypatch.setattr(runners, "bubblewrap", lambda: None)
    begin, boots = runners.start, ["raise SystemExit", "raise SystemExit", sandbox._BOOT]

    def start(job: Any, readable: Any, boot: str, output: Any, error: Any) -> runners.Started:
        return begin(job, readable, boots.pop(0), output, error)

    monkeypatch.setattr(runners, "start", start)
    assert run_program("print(1)", limits=PATIENT).output == "1\n"
    boots[:] = ["raise SystemExit"] * 3
    with pytest.raises(OptionError, match="the isolated process ended before it began"):
        run_program("print(1)", limits=PATIENT)
