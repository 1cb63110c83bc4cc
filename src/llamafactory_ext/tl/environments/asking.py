"""Asks environments of a user: many at a time, each for a limited time, and believes nothing that they give back.

What it does: runs steps in threads of their own, reads what comes back, and turns what goes wrong into a `Fault`.
What it does not do: end a step that hangs. Python cannot; its thread is left behind, and so is its environment.
"""

from __future__ import annotations

import math
import queue
import threading
import time
from collections.abc import Callable, Mapping, Sequence
from copy import deepcopy
from dataclasses import dataclass
from typing import Any, Final, TypeVar

from ...errors import ExtError
from ...options.user_functions import described
from ...templates.messages import RESULT_SEPARATOR
from .protocol import LARGEST, Step

T = TypeVar("T")
TIMEOUT, RAISED, UNKNOWN, SHAPE = "timeout", "raised", "unknown", "shape"
KINDS: Final = (TIMEOUT, RAISED, UNKNOWN, SHAPE)
AT_ONCE = 32  # steps
LONGEST = 1_000_000  # characters of an observation
_MOST_CHECKS = 64
_NAMES: Final = frozenset(("observation", "done", "reward", "checks"))
_SHOWN = 60


@dataclass(frozen=True)
class Fault:
    """What went wrong in an environment.

    Attributes:
        kind: one of KINDS.
        what: in words.
    """

    kind: str
    what: str

    @property
    def lies(self) -> bool:
        """Tell whether the environment breaks its protocol, or was given a record of another one."""
        return self.kind in (UNKNOWN, SHAPE)


class _BadStepError(Exception):
    """A step that is none."""


def run_all(tasks: Sequence[Callable[[], T]], seconds: float, at_once: int = AT_ONCE) -> list[T | Fault]:
    """Return what each task returns, or what went wrong in it, in their order.

    Args:
        tasks: each is run in a thread of its own.
        seconds: of one task.
        at_once: tasks that run side by side; those that hang count no more.
    """
    found: dict[int, T | Fault] = {}
    ended: queue.SimpleQueue[tuple[int, Any]] = queue.SimpleQueue()
    waiting, deadlines = list(range(len(tasks)))[::-1], dict[int, float]()
    while waiting or deadlines:
        while waiting and len(deadlines) < at_once:
            place = waiting.pop()
            deadlines[place] = time.monotonic() + seconds
            threading.Thread(target=_run, args=(place, tasks[place], ended), daemon=True).start()
        try:
            place, result = ended.get(timeout=max(min(deadlines.values()) - time.monotonic(), 0.0))
        except queue.Empty:
            now = time.monotonic()
            for place in [place for place, end in deadlines.items() if end <= now]:
                del deadlines[place]
                found[place] = Fault(TIMEOUT, f"it gave no answer within {seconds:g} s")
        else:
            if deadlines.pop(place, None) is not None:
                found[place] = result
    return [found[place] for place in range(len(tasks))]


def _run(place: int, task: Callable[[], Any], ended: queue.SimpleQueue[tuple[int, Any]]) -> None:
    try:
        result: Any = task()
    except _BadStepError as error:
        result = Fault(SHAPE, str(error))
    except ExtError as error:
        result = Fault(RAISED, error.message)
    except BaseException as error:  # whatever a user's environment does, exits included
        result = Fault(RAISED, f"it ended with {described(error)}")
    ended.put((place, result))


def begin(factory: Callable[[], Any], record: Mapping[str, Any]) -> Any:
    """Return a new environment, reset with a record; to be run by `run_all`."""
    made = factory()
    for name in ("reset", "step"):
        if not callable(getattr(made, name, None)):
            raise _BadStepError(f"the environment {type(made).__name__} has no method {name}")
    try:
        made.reset(deepcopy(dict(record)))  # the next episode of the record must see it as it was
    except LookupError as error:
        return Fault(UNKNOWN, f"it does not know the record ({described(error)})")
    return made


def step_of(given: Any) -> Step:
    """Return what an environment gave back as a step with one text; to be run by `run_all`."""
    if isinstance(given, Mapping):
        if strange := [str(name)[:_SHOWN] for name in given if name not in _NAMES]:
            raise _BadStepError(f"its step has an unknown part {strange[0]!a}; there are {', '.join(sorted(_NAMES))}")
        given = Step(**given)
    if not isinstance(given, Step):
        raise _BadStepError(f"its step is {_kind(given)}; return a Step, or a mapping with its names")
    if not isinstance(given.done, bool):
        raise _BadStepError(f"done is {_kind(given.done)}; give True or False")
    return Step(text_of(given.observation), given.done, _number(given.reward, "reward"), _checks(given.checks))


def text_of(given: Any) -> str:
    """Return an observation as one text, outputs of several calls apart as training data has them."""
    parts = [given] if isinstance(given, str) else given
    if not isinstance(parts, list | tuple) or not all(isinstance(part, str) for part in parts):
        raise _BadStepError(f"its observation is {_kind(given)}; give a text, or a list with one for each call")
    if (length := sum(map(len, parts))) > LONGEST:
        raise _BadStepError(f"its observation has {length:,} characters; give at most {LONGEST:,}")
    return RESULT_SEPARATOR.join(parts).encode("utf-8", "replace").decode()


def _number(given: Any, name: str) -> float:
    try:
        value = math.nan if isinstance(given, str) else float(given)
    except (TypeError, ValueError, OverflowError):
        value = math.nan
    if not abs(value) <= LARGEST:
        raise _BadStepError(f"its {name} is {_kind(given)}; give a finite number, of at most {LARGEST:g} either way")
    return value


def _checks(given: Any) -> dict[str, float]:
    if not isinstance(given, Mapping) or not all(isinstance(name, str) and name for name in given):
        raise _BadStepError(f"its checks are {_kind(given)}; give a mapping from names to numbers from 0 to 1")
    if len(given) > _MOST_CHECKS:
        raise _BadStepError(f"it has {len(given)} checks; give at most {_MOST_CHECKS}")
    found = {name: _number(value, f"check {name[:_SHOWN]!a}") for name, value in given.items()}
    if outside := [name for name, value in found.items() if not 0 <= value <= 1]:
        raise _BadStepError(f"its check {outside[0][:_SHOWN]!a} is {found[outside[0]]:g}; give a number from 0 to 1")
    return found


def _kind(given: Any) -> str:
    """Show a value that is wrong, in a few characters."""
    if isinstance(given, int | float | str | bool) or given is None:
        return f"{str(given)[:_SHOWN]!a}" if isinstance(given, str) else str(given)[:_SHOWN]
    return f"of the type {type(given).__name__}"
