"""Process 1 of the program's world: it starts the program, runs no line of it, and reports how it ended."""

import os
import signal
from typing import Any

_KEPT = 8192  # bytes of the program's last words


def guard(job: dict[str, Any]) -> None:
    """Start the program as the only other process, wait for its end, report; never returns."""
    import records  # type: ignore[import-not-found]
    import rights  # type: ignore[import-not-found]

    token = os.urandom(16)
    hearing, saying = os.pipe()
    child = os.fork()
    if not child:
        os.close(hearing)
        _become_program(job, saying, token)
    os.close(saying)
    rights.give_up_capabilities()
    for number in (signal.SIGINT, signal.SIGTERM, signal.SIGHUP):
        signal.signal(number, signal.SIG_IGN)
    for channel in job["channel"]:
        os.close(channel)
    first, last = _heard(hearing, job["report"])
    status = os.waitpid(child, 0)[1]
    if first and first[0][0] == records.STARTED:
        kind, text = _end(last, token, status)
        records.send(job["report"], kind, text)
    elif not first:
        records.send(job["report"], records.REFUSED, "the isolated process ended before the program began")
    os._exit(0)


def _become_program(job: dict[str, Any], saying: int, token: bytes) -> None:
    """Give up all rights and run the program; never returns."""
    import program  # type: ignore[import-not-found]
    import records  # type: ignore[import-not-found]
    import rights  # type: ignore[import-not-found]

    try:
        _close_all_but({0, 1, 2, saying, *job["channel"]})
        rights.give_up_rights(job["limits"])
    except BaseException as error:
        records.send(saying, records.REFUSED, str(error))
        os._exit(1)
    records.send(saying, records.STARTED)
    kind, text = program.run(job)
    os.write(saying, token + records.pack(kind, text))
    os._exit(0)


def _close_all_but(kept: set[int]) -> None:
    import resource

    highest = min(resource.getrlimit(resource.RLIMIT_NOFILE)[0], 1 << 20)
    first = 0
    for number in sorted(kept):
        if first < number:  # an empty range would be taken for the whole
            os.closerange(first, number)
        first = number + 1
    os.closerange(first, highest)


def _heard(hearing: int, report: int) -> tuple[list[tuple[int, str]], bytes]:
    """Return the first record, which the program could not yet write, and the last bytes; passes the first on."""
    import records  # type: ignore[import-not-found]

    first: list[tuple[int, str]] = []
    begun, last = b"", b""
    while True:
        part = os.read(hearing, 65536)
        if not part:
            return first, last
        if first:
            last = (last + part)[-_KEPT:]
            continue
        begun += part
        first = records.unpack(begun)[:1]
        if first:
            os.write(report, records.pack(*first[0]))
            last = begun[len(records.pack(*first[0])) :][-_KEPT:]


def _end(last: bytes, token: bytes, status: int) -> tuple[int, str]:
    """Return how the program ended: by its own word where it left politely, else by the kernel's."""
    import records  # type: ignore[import-not-found]

    words = records.unpack(last[last.rfind(token) + len(token) :]) if token in last else []
    if words and status == 0 and words[0][0] in (records.FINISHED, records.FAILED):
        return words[0]
    if os.WIFSIGNALED(status):
        number = os.WTERMSIG(status)
        return records.KILLED, f"ended by signal {number} ({signal.strsignal(number)})"
    return records.KILLED, f"left with exit code {os.waitstatus_to_exitcode(status)} before its end"
