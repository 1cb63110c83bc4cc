"""Beats of every process, so that one whose machine is frozen or out of reach is named while the others wait for it.

Each process tells the store of torch's process group that it lives, from a thread of its own; the main process looks
after all others, and they look after it. What it does not do: end anything. That is left to ddp_timeout.
"""

from __future__ import annotations

import os
import socket
import threading
import time
from collections.abc import Callable, Iterator
from contextlib import contextmanager, suppress
from datetime import timedelta
from typing import TYPE_CHECKING

from torch import distributed

if TYPE_CHECKING:
    from torch.distributed import Store  # type: ignore[attr-defined]

BEAT = 5.0  # seconds
SILENT = 60.0  # seconds without a beat until a process is named
ENDED = "ended"


@contextmanager
def watched(hosts: list[str], silent: float, say: Callable[[str], None]) -> Iterator[None]:
    """Name each process that stays silent within; all processes of the run must enter.

    Args:
        hosts: of each process.
        silent: seconds without a beat until one is named.
        say: tells the user.
    """
    store = _store()
    if store is None:
        yield
        return
    watch = _Watch(*store, hosts, silent, say)
    thread = threading.Thread(target=watch.run, daemon=True, name="beats")
    thread.start()
    try:
        yield
    finally:
        watch.end()
        thread.join(BEAT)


def _store() -> tuple[Store, tuple[str, int]] | None:
    """Return a connection of our own to the store by which the processes have met, and its address."""
    from torch.distributed import PrefixStore, TCPStore  # type: ignore[attr-defined]  # not in every build of torch

    address, port = os.environ.get("MASTER_ADDR"), os.environ.get("MASTER_PORT")
    if not address or not port:
        return None
    try:
        store = TCPStore(address, int(port), is_master=False, timeout=timedelta(seconds=30), wait_for_workers=False)
    except (RuntimeError, ValueError):
        return None
    attempt = os.environ.get("TORCHELASTIC_RESTART_COUNT", "0")
    return PrefixStore(f"llamafactory_ext/{attempt}", store), (address, int(port))


class _Watch:
    """What the thread does.

    Args:
        store: shared by all processes.
        address: of the store.
        hosts: of each process.
        silent: seconds without a beat until one is named.
        say: tells the user.
    """

    def __init__(
        self, store: Store, address: tuple[str, int], hosts: list[str], silent: float, say: Callable[[str], None]
    ) -> None:
        self._store, self._address, self._hosts, self._silent, self._say = store, address, hosts, silent, say
        self._rank = distributed.get_rank()
        others = range(1, len(hosts)) if self._rank == 0 else range(1)
        self._seen = {number: (b"", time.monotonic()) for number in others}
        self._named: set[int] = set()
        self._stop = threading.Event()

    def run(self) -> None:
        """Beat and look until the end."""
        beats, pause = 0, min(BEAT, self._silent / 4)
        while not self._stop.is_set():
            beats += 1
            self._tell(str(beats))
            for number in self._seen:
                self._look_at(number)
            self._stop.wait(pause)

    def end(self) -> None:
        """Stop and let the others know that this process has not died."""
        self._stop.set()
        self._tell(ENDED)

    def _tell(self, value: str) -> None:
        if self._is_there():
            with suppress(RuntimeError):
                self._store.set(str(self._rank), value)

    def _is_there(self) -> bool:
        """Tell whether the store still listens: torch would write pages about a connection that has gone."""
        try:
            socket.create_connection(self._address, timeout=BEAT).close()
        except OSError:
            return False
        return True

    def _look_at(self, number: int) -> None:
        value, since = self._seen[number]
        try:
            # A key that is not there yet would be waited for.
            known = self._is_there() and self._store.check([str(number)])
            found = self._store.get(str(number)) if known else value
        except RuntimeError:
            found = value
        if found != value or found == ENDED.encode():
            if number in self._named and not self._stop.is_set():
                self._named.discard(number)
                self._say(f"Process {number} on {self._hosts[number]} answers again.")
            self._seen[number] = (found, time.monotonic())
        elif (waited := time.monotonic() - since) > self._silent and number not in self._named:
            self._named.add(number)
            if not self._stop.is_set():
                self._say(
                    f"Process {number} on {self._hosts[number]} has given no sign of life for {waited:.0f} s: its "
                    "machine is frozen, or the network is interrupted. The others wait for it until ddp_timeout. If "
                    "it does not come back, end the run on all machines and repeat the command."
                )
