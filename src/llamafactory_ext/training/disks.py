"""Whether the machines of a run share the disk that its output_dir is on, found before anything is trained."""

from __future__ import annotations

import contextlib
import socket
import time
import uuid
from collections.abc import Callable, Iterator
from pathlib import Path
from typing import Any

from ..checkpoint.locks import folder_held
from ..errors import CheckpointError, OptionError
from .processes import by_main, from_all, from_main

PATIENCE = 5  # looks, a second apart: network disks show new files late


def settle_disks(training_args: Any, say: Callable[[str], None]) -> None:
    """Look for a token of the main process in output_dir, and let the writers be as many as there are disks.

    Raises:
        OptionError: some machine does not see the main one's output_dir, and save_on_each_node is off.
        CheckpointError: output_dir cannot be written.
    """
    folder = Path(training_args.output_dir)
    token = folder / from_main(f".{uuid.uuid4().hex}.tmp")
    by_main(lambda: _write(token))
    sees = from_all((_sees(token), socket.gethostname()))
    by_main(lambda: token.unlink(missing_ok=True))
    blind = [(number, host) for number, (seen, host) in enumerate(sees) if not seen]
    if not blind:
        if training_args.save_on_each_node:
            training_args.save_on_each_node = False  # or several processes would write the same files at once
            say("save_on_each_node has no effect: all processes see the same output_dir, and one of them writes it.")
        return
    number, host = blind[0]
    about = f"output_dir: process {number} on {host} does not see what process 0 on {sees[0][1]} wrote into {folder}"
    if not training_args.save_on_each_node:
        raise OptionError(
            f"{about}. Name a folder on a disk that all machines share, or set save_on_each_node: true, with which "
            "each machine keeps its checkpoints itself."
        )
    others = from_all(_sees_machine(folder, training_args.local_process_index == 0))
    if not all(others):
        raise OptionError(
            f"{about}, while other machines share a disk; save_on_each_node: true needs a folder that each machine "
            "has for itself, and without it all machines must share one."
        )


@contextlib.contextmanager
def held(training_args: Any, writes: bool) -> Iterator[None]:
    """Hold output_dir while the block trains in it; the hold ends with the process, however it ends.

    Args:
        training_args: upstream's group of the options.
        writes: whether this process is one of those that write.

    Raises:
        CheckpointError: another training writes output_dir, or it cannot be written.
    """
    if not training_args.do_train:
        yield
        return
    folder = Path(training_args.output_dir)
    with contextlib.ExitStack() as stack:
        is_ours = True
        if writes:
            if not folder.exists():
                stack.callback(_remove_if_empty, folder)  # a run that is refused leaves nothing behind
            _make(folder)
            is_ours = stack.enter_context(folder_held(folder))
        if not all(from_all(is_ours)):
            raise CheckpointError(
                f"output_dir: another training is writing {folder} at this moment. Wait for its end, or name another "
                "folder."
            )
        yield


def _remove_if_empty(folder: Path) -> None:
    with contextlib.suppress(OSError):
        folder.rmdir()


def _make(folder: Path) -> None:
    try:
        folder.mkdir(parents=True, exist_ok=True)
    except OSError as error:
        raise CheckpointError(
            f"output_dir: {folder} cannot be written ({error.strerror}); name another folder."
        ) from None


def _write(token: Path) -> None:
    try:
        token.parent.mkdir(parents=True, exist_ok=True)
        token.touch()
    except OSError as error:
        raise CheckpointError(
            f"output_dir: {token.parent} cannot be written ({error.strerror}); name another folder."
        ) from None


def _sees(token: Path) -> bool:
    for left in reversed(range(PATIENCE)):
        if token.is_file():
            return True
        if left:
            time.sleep(1)
    return False


def _sees_machine(folder: Path, writes: bool) -> bool:
    """Tell whether this process sees the tokens of its own machine's writer and of no other machine's."""
    token = folder / f".{uuid.uuid4().hex}.tmp" if writes else None
    if token is not None:
        _write(token)
    written = from_all((str(token) if token is not None else None, socket.gethostname()))
    visible = [(Path(name).is_file(), host) for name, host in written if name is not None]
    from_all(None)  # all have looked
    if token is not None:
        token.unlink(missing_ok=True)
    return sum(seen for seen, _ in visible) == 1
