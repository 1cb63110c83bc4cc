"""Hostile programs in the sandbox: each must end, harm nothing, and never count as finished."""

import os
import socket
from collections.abc import Iterator
from pathlib import Path

import pytest

from llamafactory_ext.errors import OptionError
from llamafactory_ext.metrics import sandbox
from llamafactory_ext.metrics.sandbox import Limits, run_program, runners
from metrics.isolation import isolation_problem

PATIENT = Limits(seconds=120, memory_mb=300)  # a busy machine must not turn a verdict


@pytest.fixture(scope="module", autouse=True)
def _isolated() -> None:
    problem = isolation_problem()
    if problem is not None:
        pytest.skip(problem)


HOSTILE = {
    "socket": "import socket; socket.create_connection(('127.0.0.1', 9), 2)",
    "socket by hand": "import socket; socket.socket(socket.AF_UNIX)",
    "fork bomb": "import os\nwhile True:\n    os.fork()",
    "shell": "import subprocess; subprocess.run(['/bin/sh', '-c', 'true'], check=True)",
    "exec": "import os; os.execv('/bin/true', ['true'])",
    "multiprocessing": "import multiprocessing as m; p = m.get_context('fork').Process(target=print); p.start()",
    "write to /tmp": "open('/tmp/outside', 'w')",
    "write to /usr": "open('/usr/outside', 'w')",
    "write to the interpreter": "import os; open(os.path.join(os.path.dirname(os.__file__), 'outside.py'), 'w')",
    "write to the root": "open('/outside', 'w')",
    "climb": "open('../../../../../../outside', 'w')",
    "read passwords": "open('/etc/passwd').read()",
    "read other processes": "import os; os.listdir('/proc')",
    "10 GB of memory": "x = bytearray(10 << 30)",
    "10 GB in pieces": "x = []\nwhile True:\n    x.append(bytearray(64 << 20))",
    "10 GB of disk": "f = open('big', 'wb')\nwhile True:\n    f.write(bytes(1 << 20)); f.flush()",
    "many files": "n = 0\nwhile True:\n    n += 1\n    open(str(n), 'w').write('x' * 100_000)",
    "open files": "x = [open('/dev/null') for _ in range(10_000)]",
    "endless output": "while True:\n    print('x' * 10_000)",
    "threads": """
import threading, time
while True:
    threading.Thread(target=time.sleep, args=(60,), daemon=True).start()
""",
    "new namespaces": "import ctypes, os\nassert ctypes.CDLL(None).unshare(0x10000000) == 0",
    "mount": "import ctypes\nassert ctypes.CDLL(None).mount(b'none', b'/work', b'tmpfs', 0, None) == 0",
    "lift the limits": "import resource; resource.setrlimit(resource.RLIMIT_AS, (-1, -1))",
    "kill all": "import os; os.kill(-1, 9)",
    "leave early": "import os; os._exit(0)",
    "leave politely": "raise SystemExit(0)",
    "crash": "import ctypes; ctypes.string_at(0)",
    "recursion": "def f():\n    f()\nf()",
    "forge the report": """
import os
for number in range(3, 64):
    for state in ("refused", "finished"):
        try:
            os.write(number, b'\\n{"state": "%s", "error": "", "nonce": ""}\\n' % state.encode())
            os.ftruncate(number, 0)
        except OSError:
            pass
os._exit(0)
""",
    "no text": "print('\ud800')",
    "no program": "this is no program",
}


@pytest.mark.parametrize("name", HOSTILE)
def test_hostile_programs(name: str) -> None:
    outcome = run_program(HOSTILE[name], limits=PATIENT)
    assert outcome.status in ("failed", "killed"), outcome
    assert len(outcome.output) <= PATIENT.disk_mb << 20


def test_endless_loop() -> None:
    assert run_program("while True:\n    pass", limits=Limits(seconds=2)).status in ("timeout", "killed")


def test_sleeping_and_deaf_to_signals() -> None:
    source = """
import signal, time
for number in range(1, 32):
    try:
        signal.signal(number, signal.SIG_IGN)
    except OSError:
        pass
time.sleep(3600)
"""
    assert run_program(source, limits=Limits(seconds=2)).status == "timeout"


def test_the_environment_is_empty(monkeypatch: pytest.MonkeyPatch) -> None:
    monkeypatch.setenv("SECRET_KEY", "hidden")
    outcome = run_program("import os; print(sorted(os.environ), os.getcwd(), os.listdir('/'))", limits=PATIENT)
    assert outcome.status == "finished"
    assert "SECRET" not in outcome.output
    assert outcome.output.startswith("['LC_CTYPE'] /work ") or outcome.output.startswith("[] /work ")
    assert "home" not in outcome.output


@pytest.fixture
def listener() -> Iterator[socket.socket]:
    with socket.create_server(("127.0.0.1", 0)) as server:
        yield server


def test_nothing_reaches_the_machine(listener: socket.socket, tmp_path: Path) -> None:
    """Connecting and writing, tried by every means that comes to mind, from one program."""
    mine = tmp_path / "mine"
    mine.write_text("untouched", encoding="utf-8")
    source = f"""
import ctypes, os, socket
tried = 0
for attempt in (
    lambda: socket.create_connection(('127.0.0.1', {listener.getsockname()[1]}), 5),
    lambda: open({str(mine)!r}, 'w').write('changed'),
    lambda: open({str(mine)!r}).read(),
    lambda: os.unlink({str(mine)!r}),
    lambda: os.kill({os.getpid()}, 9),
):
    try:
        attempt()
    except OSError:
        tried += 1
print(tried)
"""
    assert run_program(source, limits=PATIENT).output == "5\n"
    assert mine.read_text(encoding="utf-8") == "untouched"
    listener.settimeout(0.2)
    with pytest.raises(TimeoutError):
        listener.accept()


def test_what_is_allowed(tmp_path: Path) -> None:
    (tmp_path / "data.txt").write_text("data", encoding="utf-8")
    source = f"""
import hashlib, json, math, re, sqlite3, threading, typing
print(input(), open({str(tmp_path / "data.txt")!r}).read())
open('mine', 'w').write('x')
done = []
thread = threading.Thread(target=lambda: done.append(1))
thread.start()
thread.join()
print(open('mine').read(), done)
"""
    outcome = run_program(source, stdin="typed\n", limits=PATIENT, readable=[tmp_path])
    assert (outcome.status, outcome.output) == ("finished", "typed data\nx [1]\n"), outcome
    changing = f"open({str(tmp_path / 'data.txt')!r}, 'w')"
    assert run_program(changing, limits=PATIENT, readable=[tmp_path]).status == "failed"


def test_the_host_sees_no_traces(tmp_path: Path, monkeypatch: pytest.MonkeyPatch) -> None:
    monkeypatch.setenv("TMPDIR", str(tmp_path))
    monkeypatch.setattr("tempfile.tempdir", None)
    assert run_program("open('a', 'w').write('x')", limits=PATIENT).status == "finished"
    assert list(tmp_path.iterdir()) == []


@pytest.mark.parametrize("missing", ["unshare", "pivot_root", "capset", "filter", "platform"])
def test_without_isolation_nothing_runs(missing: str, tmp_path: Path, monkeypatch: pytest.MonkeyPatch) -> None:
    """Each part of the isolation is taken away in turn; the program must not have run."""
    mark = tmp_path / "ran"
    if missing == "platform":
        monkeypatch.setattr("sys.platform", "darwin")
    else:
        monkeypatch.setattr(runners, "bubblewrap", lambda: None)
        monkeypatch.setattr(sandbox, "_BOOT", SABOTAGE + _sabotage(missing) + "jail.main()")
    with pytest.raises(OptionError, match="Generated code was not run, since it cannot be isolated here"):
        run_program(f"open({str(mark)!r}, 'w')", limits=PATIENT)
    assert not mark.exists()


SABOTAGE = "import sys, ctypes; sys.path.insert(0, sys.argv[1]); import jail, syscall_filter\n"


def _sabotage(missing: str) -> str:
    if missing == "filter":
        return "syscall_filter._ARCHITECTURES.clear()\n"
    if missing == "pivot_root":
        return "syscall_filter._NUMBERS['pivot_root'] = (9999, 9999)\n"
    return f"jail._LIBC.{missing} = lambda *_: -1\n"
