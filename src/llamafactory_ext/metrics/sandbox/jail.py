"""The isolated side: a script of its own, standard library only, that shuts itself in and then runs the program.

Order matters: namespaces first, then the mounts that need their rights, then a child that is process 1 of its own
world, which gives up all rights, limits itself, and only then reads the program.
"""

import ctypes
import io
import json
import os
import runpy
import signal
import sys
import traceback
from collections.abc import Iterable
from pathlib import Path
from typing import Any

import syscall_filter  # type: ignore[import-not-found]

_LIBC: Any = ctypes.CDLL(None, use_errno=True) if sys.platform == "linux" else None
_NAMESPACES = 0x00020000 | 0x04000000 | 0x08000000 | 0x10000000 | 0x20000000 | 0x40000000
_MS_RDONLY, _MS_NOSUID, _MS_NODEV, _MS_REMOUNT, _MS_BIND, _MS_REC, _MS_PRIVATE = 1, 2, 4, 32, 4096, 16384, 1 << 18
_MNT_DETACH = 2
_PR_SET_PDEATHSIG, _PR_CAPBSET_DROP, _PR_SET_NO_NEW_PRIVS = 1, 24, 38
_CAPABILITY_VERSION = 0x20080522
_AT_FDCWD, _AT_RECURSIVE = -100, 0x8000
_SYSTEM = ("/usr", "/lib", "/lib64", "/lib32", "/bin")
_DEVICES = ("/dev/null", "/dev/zero", "/dev/urandom")
_WORK = "/work"


class RefusedError(Exception):
    """A part of the isolation that this machine does not give."""


def main() -> None:
    """Read the job from standard input, shut in, run, report."""
    job = json.load(sys.stdin)
    try:
        _enter_namespaces()
        _build_root(job["root"], job["readable"], job["limits"]["disk_mb"])
    except (RefusedError, OSError) as error:
        _tell(job, "refused", str(error))
        sys.exit(1)
    child = os.fork()
    if child:
        _, status = os.waitpid(child, 0)
        sys.exit(os.WIFSIGNALED(status))
    try:
        _give_up_rights(job["limits"])
    except (RefusedError, OSError) as error:
        _tell(job, "refused", str(error))
        os._exit(1)
    _tell(job, "started")
    _run(job)


def _run(job: dict[str, Any]) -> None:
    state, error = "finished", ""
    sys.stdin = io.StringIO(job["stdin"])
    sys.argv = ["program.py"]
    del sys.path[0]
    try:
        Path("program.py").write_text(job["source"], encoding="utf-8", errors="surrogatepass")
        runpy.run_path("program.py", run_name="__main__")
    except BaseException as caught:
        state, error = "failed", _shown(caught)
    try:
        sys.stdout.flush()
    except (OSError, ValueError) as caught:
        state, error = "failed", _shown(caught)
    _tell(job, state, error)
    os._exit(0)


def _shown(error: BaseException) -> str:
    try:
        return "".join(traceback.format_exception_only(error))[:2000]
    except Exception:
        return type(error).__name__


def _tell(job: dict[str, Any], state: str, error: str = "") -> None:
    line = json.dumps({"state": state, "error": error, "nonce": job["nonce"]})
    os.write(job["report"], f"\n{line}\n".encode())


def _check(result: int, what: str) -> None:
    if result != 0:
        number = ctypes.get_errno()
        raise RefusedError(f"{what}: {os.strerror(number)}")


def _enter_namespaces() -> None:
    user, group = os.getuid(), os.getgid()
    _check(_LIBC.unshare(_NAMESPACES), "namespaces cannot be made")
    for name, content in (("setgroups", "deny"), ("uid_map", f"{user} {user} 1"), ("gid_map", f"{group} {group} 1")):
        Path(f"/proc/self/{name}").write_text(content, encoding="ascii")


def _mount(source: str, target: str, kind: str | None, flags: int, data: str = "") -> None:
    words = (source.encode(), target.encode(), kind.encode() if kind else None)
    _check(_LIBC.mount(*words, ctypes.c_ulong(flags), data.encode() or None), f"{target} cannot be mounted")


def _build_root(root: str, readable: Iterable[str], disk_mb: int) -> None:
    """A root that holds the interpreter's folders and the readable ones, all read-only, and an empty work folder."""
    _mount("none", "/", None, _MS_REC | _MS_PRIVATE)
    _mount("tmpfs", root, "tmpfs", _MS_NOSUID | _MS_NODEV, "size=1m,mode=0755")
    shown: list[str] = []
    for path in (*_SYSTEM, *_interpreter(), *readable):
        inside = Path(root + path)
        if Path(path).is_symlink():
            inside.symlink_to(Path(path).readlink())
        elif Path(path).is_dir() and not any(f"{path}/".startswith(f"{other}/") for other in shown):
            inside.mkdir(parents=True, exist_ok=True)
            _mount(path, root + path, None, _MS_BIND | _MS_REC)
            _make_read_only(root + path)
            shown.append(path)
    Path(f"{root}/dev").mkdir()
    for path in _DEVICES:
        Path(root + path).touch()
        _mount(path, root + path, None, _MS_BIND)
    Path(root + _WORK).mkdir()
    _mount("tmpfs", root + _WORK, "tmpfs", _MS_NOSUID | _MS_NODEV, f"size={disk_mb}m,mode=0700")
    _mount("none", root, None, _MS_REMOUNT | _MS_BIND | _MS_RDONLY | _MS_NOSUID | _MS_NODEV)
    os.chdir(root)
    _check(_LIBC.syscall(syscall_filter.number("pivot_root"), b".", b"."), "the root cannot be changed")
    _check(_LIBC.umount2(b".", _MNT_DETACH), "the old root cannot be left")
    os.chdir(_WORK)


def _interpreter() -> list[str]:
    """Folders of the running interpreter: its library and what it loads later."""
    return [path for path in (sys.base_prefix, sys.base_exec_prefix) if path not in ("", "/")]


def _make_read_only(path: str) -> None:
    """Read-only with everything mounted below (mount_setattr, Linux 5.12)."""
    attributes = (ctypes.c_uint64 * 4)(1 | 2 | 4, 0, 0, 0)
    result = _LIBC.syscall(
        syscall_filter.number("mount_setattr"),
        _AT_FDCWD,
        path.encode(),
        _AT_RECURSIVE,
        ctypes.byref(attributes),
        ctypes.c_size_t(ctypes.sizeof(attributes)),
    )
    _check(result, f"{path} cannot be made read-only")


def _give_up_rights(limits: dict[str, int]) -> None:
    """Limits, no capabilities, no new privileges, and the filter; nothing of it can be taken back."""
    import resource  # Windows has none; this runs on Linux only

    _check(_LIBC.prctl(_PR_SET_PDEATHSIG, signal.SIGKILL, 0, 0, 0), "the end of the parent cannot be followed")
    megabytes = 1 << 20
    for kind, most in (
        (resource.RLIMIT_AS, limits["memory_mb"] * megabytes),
        (resource.RLIMIT_FSIZE, limits["disk_mb"] * megabytes),
        (resource.RLIMIT_CPU, limits["seconds"] + 2),
        (resource.RLIMIT_NOFILE, limits["open_files"]),
        (resource.RLIMIT_NPROC, limits["threads"]),
        (resource.RLIMIT_CORE, 0),
    ):
        hard = resource.getrlimit(kind)[1]
        allowed = most if hard == resource.RLIM_INFINITY else min(most, hard)
        resource.setrlimit(kind, (allowed, allowed))
    os.umask(0o077)
    for capability in range(64):
        if _LIBC.prctl(_PR_CAPBSET_DROP, capability, 0, 0, 0) != 0:
            break
    header = (ctypes.c_uint32 * 2)(_CAPABILITY_VERSION, 0)
    _check(_LIBC.capset(ctypes.byref(header), ctypes.byref((ctypes.c_uint32 * 6)())), "rights cannot be given up")
    _check(_LIBC.prctl(_PR_SET_NO_NEW_PRIVS, 1, 0, 0, 0), "new privileges cannot be ruled out")
    syscall_filter.install(_LIBC)
