"""How errors of this package end: one message without a traceback, and once, whatever the number of processes.

Standard library and methods.py only, and loaded by path at interpreter start-up (see `_llamafactory_ext_start`). In a
distributed run several processes may meet the same error, and their parents fail in turn: a folder named by an
environment variable tells them what has been said.
"""

import hashlib
import os
import re
import signal
import sys
import tempfile
from collections.abc import Iterator, Sequence
from contextlib import contextmanager
from types import FrameType, TracebackType
from typing import Any

from llamafactory_ext.methods import names

DEBUG = "LLAMAFACTORY_EXT_DEBUG"
ERROR_FOLDER = "LLAMAFACTORY_EXT_ERROR_FOLDER"
ATTEMPT = "TORCHELASTIC_RESTART_COUNT"
RUN = "run"  # the note that the processes of a run of ours work together
ERRORS = "llamafactory_ext.errors"
_CHOICE = r"""(?:^|[\s"'{,-])(finetuning_type|stage)["']?(?:\s*[:=]\s*|\s+)["']?(%s)\b"""
_COMMENT = re.compile(r"(?m)^\s*#.*$")
SIGNALS = {2: "Ctrl-C", 15: "SIGTERM"}
broken: list[str] = []
"""Why this package cannot be imported in this process."""


class InstallationError(ImportError):
    """This package is installed but cannot be imported, and a run needs it."""

    @classmethod
    def of(cls, methods: list[str]) -> "InstallationError":
        """Return the error of a run that asks for these methods."""
        return cls(
            f"{' and '.join(methods)} cannot run: llamafactory_ext is installed but cannot be imported "
            f"({'; '.join(broken)}); runs without it are untouched. Install its requirements again: "
            "pip install -e '.[train]' in the clone of llamafactory_ext"
        )

    @property
    def message(self) -> str:
        """The text for the user, without a traceback."""
        return str(self.args[0])


def methods_in(words: Sequence[str]) -> list[str]:
    """Return the methods of ours that options ask for.

    Args:
        words: of a command line, with the names of configuration files among them, or `name: value` each.
    """
    texts = []
    for word in words:
        texts.append(str(word))
        if str(word).endswith((".yaml", ".yml", ".json")) and os.path.isfile(word):
            try:
                with open(word, encoding="utf-8", errors="replace") as file:
                    texts.append(file.read().replace("\0", ""))  # as UTF-16 has them, which is refused later
            except OSError:
                continue
    found = re.findall(_CHOICE % "|".join(map(re.escape, names())), _COMMENT.sub("", "\n".join(texts)))
    return [f"{name}: {value}" for name, value in dict.fromkeys(found)]


def install_excepthook() -> None:
    """Chain our exception hook in front of the present one, once."""
    previous = sys.excepthook
    if getattr(previous, "of_llamafactory_ext", False):
        return

    def excepthook(kind: type[BaseException], error: BaseException, trace: TracebackType | None) -> None:
        if explain(error) or explain_interrupt(error) is not None:
            pass
        elif os.environ.get(DEBUG) == "1" or not (error_was_reported() or _say_that_children_ended(error)):
            previous(kind, error, trace)

    excepthook.of_llamafactory_ext = True  # type: ignore[attr-defined]
    sys.excepthook = excepthook


def explain(error: BaseException) -> bool:
    """Print the message of the error of ours that is behind another one; return whether there is any."""
    ours = None if os.environ.get(DEBUG) == "1" else _find_our_error(error) or _find_cause(error)
    if ours is not None:
        report(ours)
    return ours is not None


def explain_interrupt(error: BaseException) -> int | None:
    """Print how a run of ours that a signal has ended goes on; return its exit code, None for any other error."""
    if not isinstance(error, KeyboardInterrupt) or os.environ.get(DEBUG) == "1":
        return None
    number = getattr(error, "number", None)
    if number is None and not methods_in(sys.argv[1:]):
        return None
    early = (
        f"Interrupted by {SIGNALS.get(number or 2)} before training began: nothing was written. Repeat the command."
    )
    _say_once(getattr(error, "message", "") or early)
    return 128 + (number or 2)


@contextmanager
def handing_signals_on() -> Iterator[list[int]]:
    """Let a signal within end this process by an exception, or be handed on to the child that it waits for.

    Upstream waits for torchrun in `subprocess.run`, which kills its child when an exception interrupts it; the
    workers of torchrun would be left alone then. Yields the signals that were handed on.
    """
    taken: list[int] = []

    def take(number: int, frame: FrameType | None) -> None:
        child = _awaited(frame)
        if child is None:
            error = KeyboardInterrupt()
            error.number = number  # type: ignore[attr-defined]
            raise error
        taken.append(number)
        if number == signal.SIGTERM or not sys.stdin or not sys.stdin.isatty():  # a terminal tells all by itself
            child.send_signal(number)

    try:
        before = {number: signal.signal(number, take) for number in (signal.SIGINT, signal.SIGTERM)}
    except ValueError:  # not the main thread, which alone hears signals
        before = {}
    try:
        yield taken
    finally:
        for number, handler in before.items():
            signal.signal(number, handler)


def _awaited(frame: FrameType | None) -> Any:
    """Return the child that `subprocess.run` waits for in one of these frames."""
    while frame is not None:
        if frame.f_globals.get("__name__") == "subprocess" and frame.f_code.co_name == "run":
            return frame.f_locals.get("process")
        frame = frame.f_back
    return None


def report(error: Any) -> None:
    """Print the message of one of our errors, unless another process of this run has already printed the same."""
    _say_once(f"{type(error).__name__}: {error.message}")


def _say_once(text: str) -> None:
    folder = os.environ.get(ERROR_FOLDER)
    if folder and os.path.isdir(folder):
        name = f"{hashlib.sha256(text.encode()).hexdigest()[:16]}-{os.environ.get(ATTEMPT, '0')}"
        try:
            os.close(os.open(os.path.join(folder, name), os.O_CREAT | os.O_EXCL))
        except FileExistsError:
            return
    print(text, file=sys.stderr, flush=True)


def error_was_reported() -> bool:
    """Tell whether a process of this distributed run has printed one of our errors; later failures follow from it."""
    folder = os.environ.get(ERROR_FOLDER)
    names = [name for name in os.listdir(folder) if name != RUN] if folder and os.path.isdir(folder) else []
    # A worker that torchrun has restarted starts afresh; torchrun itself and its parent see all attempts.
    attempt = os.environ.get(ATTEMPT)
    return any(attempt is None or name.endswith(f"-{attempt}") for name in names)


def note_run() -> None:
    """Note that this is a run of ours, so that its parents explain the death of a process, which cannot itself."""
    folder = os.environ.get(ERROR_FOLDER)
    if folder and os.path.isdir(folder):
        with open(os.path.join(folder, RUN), "w", encoding="utf-8"):
            pass


def _say_that_children_ended(error: BaseException) -> bool:
    """Say in one line why a run of ours has ended, if this is torchrun or the process that gave Ray its workers."""
    folder, source = os.environ.get(ERROR_FOLDER), type(error).__module__.partition(".")[0]
    if not folder or not (source == "ray" or type(error).__module__.startswith("torch.distributed")):
        return False
    if not os.path.isfile(os.path.join(folder, RUN)) and not methods_in(sys.argv[1:]):
        return False
    causes = [
        f"process {rank} was ended by {failure.signal_name()}"
        for rank, failure in getattr(error, "failures", {}).items()
        if failure.exitcode < 0
    ]
    reason = "; ".join(causes) or (str(error).strip().splitlines() or [type(error).__name__])[0][:200]
    _say_once(
        f"The run has ended before its time: {reason}. Repeat the command on all machines: it goes on from its newest "
        "complete checkpoint, if it has saved one."
    )
    return True


@contextmanager
def error_folder() -> Iterator[None]:
    """Give this process and its children a folder in which the errors already reported are noted."""
    try:
        made = tempfile.TemporaryDirectory(prefix="llamafactory_ext_")
    except OSError:  # no place for notes: every process then reports for itself
        yield
        return
    with made as folder:
        before = os.environ.get(ERROR_FOLDER)
        os.environ[ERROR_FOLDER] = folder
        try:
            yield
        finally:
            if before is None:
                del os.environ[ERROR_FOLDER]
            else:
                os.environ[ERROR_FOLDER] = before


def _find_cause(error: BaseException) -> Any:
    """Say why a run of ours has failed somewhere in upstream's code: it is one that we cannot be plugged into."""
    try:
        methods = methods_in(sys.argv[1:]) if isinstance(error, Exception) else []
        if methods and broken:
            return InstallationError.of(methods)
        features = sys.modules.get("llamafactory_ext.upstream.patches.features")
        if not methods or features is None:
            return None
        wanted = [features.Feature(method) for method in methods]
        return features.refusal(*wanted) or features.refusal_of_parts(error, *wanted)
    except Exception:  # the first error is the one to show
        return None


def _find_our_error(error: BaseException) -> Any:
    """Return the error of our family behind `error`: itself, what it was raised from, or what a Ray worker sent."""
    family = (InstallationError, *filter(None, [getattr(sys.modules.get(ERRORS), "ExtError", None)]))
    seen: Any = error
    while seen is not None:
        remote = getattr(seen, "cause", None)
        for candidate in (remote, seen):
            if isinstance(candidate, family):
                return candidate
        seen = seen.__cause__
    return None
