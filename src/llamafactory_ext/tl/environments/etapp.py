"""ETAPP's mini world as an environment: the user's world changes by calls, and the checks of the case are the reward.

`tl_environment: llamafactory_ext.tl.environments.etapp:etapp`. A record's `id` is that of a case, as
`llamafactory-ext etapp export-sft` writes it (`mara_lindqvist:07`, also with a trial behind `@`).
"""

from __future__ import annotations

from collections.abc import Mapping
from typing import Any

from ...errors import DataError
from ...etapp.cases import Case, Source, open_source
from ...etapp.checks import Deeds, check
from ...etapp.sandbox import Sandbox
from ...etapp.world import diff
from .protocol import ANSWER, Action, Step


class EtappWorld:
    """The world of one case: the reward is the share of its checks that hold at the end.

    Args:
        source: has the worlds and cases.
        extras: what an effect that nobody asked for takes from the reward.

    Checks: "task" and "personal", whether all conditions of either kind hold; "extras", 1 where nothing else was
    changed.
    """

    def __init__(self, source: Source, extras: float = 0.0) -> None:
        self.source, self.extras = source, extras
        self.case: Case | None = None
        self.box: Sandbox | None = None

    def reset(self, record: Mapping[str, Any]) -> None:
        """See `Environment`."""
        try:
            self.case = self.source.case(str(record.get("id")))
        except DataError as error:
            raise LookupError(error.message) from None
        if self.case.checks is None:
            raise LookupError(f"{self.case.id} has no checks, only a judge can tell about it")
        self.box = Sandbox(self.source.worlds[self.case.user].fork(), self.case.now, self.case.given)

    def step(self, action: Action) -> Step:
        """See `Environment`."""
        assert self.box is not None
        if action.problem:
            told: str | list[str] = self.box.unreadable(action.problem)
        else:
            told = [self.box.call(call) for call in action.calls]
        self.box.turn += 1
        return self._judged(action) if action.end else Step(told)

    def _judged(self, action: Action) -> Step:
        assert self.case is not None
        assert self.case.checks is not None
        assert self.box is not None
        answer = action.text if action.end == ANSWER else ""
        changes = [list(change) for change in diff(self.box.start, self.box.world)]
        deeds = Deeds([one.record() for one in self.box.log], answer, changes, self.source.worlds[self.case.user])
        outcome = check(self.case.checks, self.source.slots.get(self.case.user, {}), deeds)
        parts = {"task": outcome.part(personal=False), "personal": outcome.part(personal=True)}
        checks = {name: float(holds) for name, holds in parts.items() if holds is not None}
        extras = len(outcome.collateral)
        return Step("", True, outcome.partial - self.extras * extras, checks | {"extras": float(not extras)})


def etapp(source: str = "mini", extras: float = 0.0) -> EtappWorld:
    """Return the world of one case; what `tl_environment` names.

    Args:
        source: mini, mini-one-tool, or the folder of a checkout.
        extras: what an effect that nobody asked for takes from the reward.
    """
    return EtappWorld(_opened(source), float(extras))


_OPENED: dict[str, Source] = {}


def _opened(source: str) -> Source:
    """Return a source, read once in a process."""
    if source not in _OPENED:
        _OPENED[source] = open_source(source)
    return _OPENED[source]
