"""What a process gives up for good before it runs what nobody has read; a script's part, standard library only."""

import ctypes
import os
import signal
import sys
from typing import Any

LIBC: Any = ctypes.CDLL(None, use_errno=True) if sys.platform == "linux" else None
_PR_SET_PDEATHSIG, _PR_CAPBSET_DROP, _PR_SET_NO_NEW_PRIVS = 1, 24, 38
_CAPABILITY_VERSION = 0x20080522


class RefusedError(Exception):
    """A part of the isolation that this machine does not give."""


def check(result: int, what: str) -> None:
    """Raise a RefusedError unless a system call succeeded."""
    if result != 0:
        number = ctypes.get_errno()
        raise RefusedError(f"{what}: {os.strerror(number)}")


def follow_parent() -> None:
    """Be killed when the parent ends."""
    check(LIBC.prctl(_PR_SET_PDEATHSIG, signal.SIGKILL, 0, 0, 0), "the end of the parent cannot be followed")


def give_up_capabilities() -> None:
    """Drop all capabilities, also for what is started later."""
    for capability in range(64):
        if LIBC.prctl(_PR_CAPBSET_DROP, capability, 0, 0, 0) != 0:
            break
    header = (ctypes.c_uint32 * 2)(_CAPABILITY_VERSION, 0)
    check(LIBC.capset(ctypes.byref(header), ctypes.byref((ctypes.c_uint32 * 6)())), "rights cannot be given up")
    check(LIBC.prctl(_PR_SET_NO_NEW_PRIVS, 1, 0, 0, 0), "new privileges cannot be ruled out")


def give_up_rights(limits: dict[str, int]) -> None:
    """Set limits, no capabilities, no new privileges, and the filter; nothing of it can be taken back."""
    import resource  # Windows has none; this runs on Linux only

    import syscall_filter  # type: ignore[import-not-found]

    megabytes = 1 << 20
    for kind, most in (
        (resource.RLIMIT_AS, limits["memory_mb"] * megabytes),
        (resource.RLIMIT_FSIZE, limits["disk_mb"] * megabytes),
        (resource.RLIMIT_CPU, limits["seconds"] + 2),
        (resource.RLIMIT_NOFILE, limits["open_files"]),
        (resource.RLIMIT_NPROC, limits["threads"]),
        (resource.RLIMIT_CORE, 0),
        (resource.RLIMIT_MSGQUEUE, 0),
        (resource.RLIMIT_MEMLOCK, 0),
        (resource.RLIMIT_SIGPENDING, 256),
    ):
        hard = resource.getrlimit(kind)[1]
        allowed = most if hard == resource.RLIM_INFINITY else min(most, hard)
        resource.setrlimit(kind, (allowed, allowed))
    os.umask(0o077)
    give_up_capabilities()
    syscall_filter.install(LIBC)
