"""The isolated side: a script of its own, standard library only, that shuts itself in and then has a program run.

Order matters: namespaces first, then the mounts that need their rights, then a child that is process 1 of its own
world. That child runs no foreign line itself: with its end the kernel ends whatever the program left behind.
"""

import ctypes
import json
import os
import select
import sys
from collections.abc import Iterable
from pathlib import Path
from typing import Any

import program  # type: ignore[import-not-found]  # noqa: F401  # what follows is out of reach in the new root
import records  # type: ignore[import-not-found]
import rights  # type: ignore[import-not-found]
import syscall_filter  # type: ignore[import-not-found]
import values  # type: ignore[import-not-found]  # noqa: F401
import warden  # type: ignore[import-not-found]
from rights import RefusedError

_LIBC: Any = rights.LIBC
_NAMESPACES = 0x00020000 | 0x04000000 | 0x08000000 | 0x10000000 | 0x20000000 | 0x40000000
_MS_RDONLY, _MS_NOSUID, _MS_NODEV, _MS_REMOUNT, _MS_BIND, _MS_REC, _MS_PRIVATE = 1, 2, 4, 32, 4096, 16384, 1 << 18
_MNT_DETACH = 2
_AT_FDCWD, _AT_RECURSIVE = -100, 0x8000
_DEVICES = ("/dev/null", "/dev/zero", "/dev/urandom")
_MOST_FILES = 16_384  # in the work folder


def main() -> None:
    """Read the job from standard input, shut in, have it run."""
    job = json.load(sys.stdin)
    if job["shut_in"]:  # by another program, which started this one as process 1
        _guard(job)
    try:
        _enter_namespaces()
        rights.follow_parent()
        if os.getppid() != job["parent"]:
            raise RefusedError("the process that asked has ended")
        _build_root(job)
    except (RefusedError, OSError) as error:
        records.send(job["report"], records.REFUSED, str(error))
        sys.exit(1)
    watched, held = os.pipe()
    child = os.fork()
    if child:
        os.close(watched)
        records.send(job["report"], records.IDENTITY, str(child))
        _, status = os.waitpid(child, 0)
        sys.exit(os.WIFSIGNALED(status))
    os.close(held)
    try:
        rights.follow_parent()
    except RefusedError as error:
        records.send(job["report"], records.REFUSED, str(error))
        os._exit(1)
    if select.select([watched], [], [], 0)[0]:
        os._exit(1)  # the parent ended before it could be followed
    os.close(watched)
    _guard(job)


def _guard(job: dict[str, Any]) -> None:
    """Be process 1."""
    try:
        os.chdir(job["work"])
        warden.guard(job)
    except BaseException as error:
        records.send(job["report"], records.REFUSED, f"{type(error).__name__}: {error}")
        os._exit(1)


def _enter_namespaces() -> None:
    user, group = os.getuid(), os.getgid()
    rights.check(_LIBC.unshare(_NAMESPACES), "namespaces cannot be made")
    for name, content in (("setgroups", "deny"), ("uid_map", f"{user} {user} 1"), ("gid_map", f"{group} {group} 1")):
        Path(f"/proc/self/{name}").write_text(content, encoding="ascii")


def _mount(source: str, target: str, kind: str | None, flags: int, data: str = "") -> None:
    words = (source.encode(), target.encode(), kind.encode() if kind else None)
    rights.check(_LIBC.mount(*words, ctypes.c_ulong(flags), data.encode() or None), f"{target} cannot be mounted")


def _build_root(job: dict[str, Any]) -> None:
    """Return a root with the interpreter's folders and the readable ones, all read-only, and an empty work folder."""
    root, work = job["root"], job["work"]
    _mount("none", "/", None, _MS_REC | _MS_PRIVATE)
    _mount("tmpfs", root, "tmpfs", _MS_NOSUID | _MS_NODEV, "size=1m,mode=0755")
    _show(root, job["shown"])
    Path(f"{root}/dev").mkdir(exist_ok=True)
    for path in _DEVICES:
        if not Path(root + path).exists():
            Path(root + path).touch()
            _mount(path, root + path, None, _MS_BIND)
    Path(root + work).mkdir()
    size = f"size={job['limits']['disk_mb']}m,nr_inodes={_MOST_FILES},mode=0700"
    _mount("tmpfs", root + work, "tmpfs", _MS_NOSUID | _MS_NODEV, size)
    _mount("none", root, None, _MS_REMOUNT | _MS_BIND | _MS_RDONLY | _MS_NOSUID | _MS_NODEV)
    os.chdir(root)
    rights.check(_LIBC.syscall(syscall_filter.number("pivot_root"), b".", b"."), "the root cannot be changed")
    rights.check(_LIBC.umount2(b".", _MNT_DETACH), "the old root cannot be left")


def _show(root: str, paths: Iterable[str]) -> None:
    shown: list[str] = []
    for path in paths:
        inside = Path(root + path)
        if any(f"{path}/".startswith(f"{other}/") for other in shown):
            continue
        if Path(path).is_symlink():
            inside.parent.mkdir(parents=True, exist_ok=True)
            inside.symlink_to(Path(path).readlink())
        elif Path(path).is_dir():
            inside.mkdir(parents=True, exist_ok=True)
            _mount(path, root + path, None, _MS_BIND | _MS_REC)
            _make_read_only(root + path)
            shown.append(path)


def _make_read_only(path: str) -> None:
    """Make it read-only with everything mounted below (mount_setattr, Linux 5.12)."""
    attributes = (ctypes.c_uint64 * 4)(1 | 2 | 4, 0, 0, 0)
    result = _LIBC.syscall(
        syscall_filter.number("mount_setattr"),
        _AT_FDCWD,
        path.encode(),
        _AT_RECURSIVE,
        ctypes.byref(attributes),
        ctypes.c_size_t(ctypes.sizeof(attributes)),
    )
    rights.check(result, f"{path} cannot be made read-only")
