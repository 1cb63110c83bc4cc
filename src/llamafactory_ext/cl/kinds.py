"""The kinds of methods that a comparison knows: one row each, with its source and its settings.

No torch here: a file of options is read by these rows alone.
"""

from __future__ import annotations

import math
from collections.abc import Mapping
from dataclasses import dataclass, field, replace
from typing import Any, Final, Literal


@dataclass(frozen=True)
class Setting:
    """A number that a kind takes.

    Attributes:
        default: where the file says nothing.
        least, most: its range.
        is_whole: whether it is a whole number.
    """

    default: float
    least: float = 0.0
    most: float = math.inf
    is_whole: bool = False

    def problem(self, value: Any) -> str | None:
        """Return what a value should be; None if it is right."""
        is_number = isinstance(value, int if self.is_whole else int | float) and not isinstance(value, bool)
        if is_number and math.isfinite(value) and self.least <= value <= self.most:
            return None
        end = "" if self.most == math.inf else f" to {self.most:g}"
        return f"give a {'whole ' if self.is_whole else ''}number from {self.least:g}{end}"


@dataclass(frozen=True, kw_only=True)
class Kind:
    """One kind of method.

    Attributes:
        name: in the file of options.
        what: it does, in a line.
        paper: where it was published.
        settings: numbers of its own, by name.
        starts: what a task's training starts from: the base, the adapter of the task before (`own`), or a new LoRA on
            the base with all earlier ones added (`sum`).
        has_whole: whether the adapter that answers is another than the one that was trained.
        state: file beside the adapter that the next task needs.
        rival: name of the training with steps of its own beside LLaMA-Factory's, if it has any.
        plain_first: whether its first task is trained as `seq_lora` trains it.
    """

    name: str
    what: str
    paper: str = ""
    settings: Mapping[str, Setting] = field(default_factory=dict)
    starts: Literal["base", "own", "sum"] = "own"
    has_whole: bool = False
    state: str = ""
    rival: str = ""
    plain_first: bool = True

    @property
    def is_rival(self) -> bool:
        """Whether its training is more than LLaMA-Factory's."""
        return bool(self.rival)


WHOLE: Final = "whole"  # folder within an adapter's, with the one that answers
_ROWS: Final = (
    Kind(name="data", what="DATA, one run per task", paper="arXiv:2502.11482", plain_first=False),
    Kind(name="seq_lora", what="LoRA, the same adapter continues"),
    Kind(name="replay", what="the same, with a share of every earlier task's training items"),
    Kind(name="multi_task", what="LoRA on all tasks at once: an upper bound, not a sequence", starts="base"),
    Kind(name="per_task", what="a LoRA for each task from the base: likewise", starts="base"),
    Kind(
        name="inc_lora",
        what="a new LoRA per task on the frozen sum of the earlier ones",
        paper="arXiv:2310.14152 (IncLoRA)",
        starts="sum",
        has_whole=True,
        rival="inc_lora",
    ),
    Kind(
        name="olora",
        what="the same, and the new A stays orthogonal to the earlier ones",
        paper="arXiv:2310.14152",
        settings={"orthogonality": Setting(0.5), "l2": Setting(0.0)},
        starts="sum",
        has_whole=True,
        rival="olora",
    ),
    Kind(
        name="slao",
        what="LoRA from the orthonormalised A of the task before; B is merged by 1/sqrt(t)",
        paper="arXiv:2512.23017",
        has_whole=True,
        rival="slao",
    ),
    Kind(
        name="ewc",
        what="seq_lora with a penalty on weights by their diagonal Fisher information",
        paper="arXiv:1612.00796",
        settings={"strength": Setting(1.0), "items": Setting(256, 1, is_whole=True)},
        state="fisher.safetensors",
        rival="ewc",
    ),
    Kind(
        name="lwf",
        what="seq_lora with a distillation from the adapter of the task before",
        paper="arXiv:1606.09282",
        settings={"strength": Setting(1.0), "temperature": Setting(2.0, 0.01)},
        rival="lwf",
    ),
    Kind(
        name="osf",
        what="all linears, but the span of their largest singular values is frozen",
        paper="arXiv:2504.07097",
        settings={"kept": Setting(0.5, 0.0, 0.99)},
        starts="sum",
        has_whole=True,
        rival="osf",
        plain_first=False,
    ),
)
KINDS: Final[Mapping[str, Kind]] = {row.name: row for row in _ROWS}
_DATA: Final = KINDS["data"]
# Ways to keep what DATA's shared pairs have learnt, `data_protect` in a file of options.
PROTECTED: Final[Mapping[str, Kind]] = {
    "project": replace(
        _DATA,
        what="DATA; steps of A and B leave out what earlier tasks' tokens use",
        settings={"energy": Setting(0.95, 0.0, 1.0), "items": Setting(256, 1, is_whole=True)},
        state="spans.safetensors",
        rival="data_project",
    ),
    "experts": replace(
        _DATA,
        what="a DATA adapter per task; the prompt's embeddings choose one, or the base",
        starts="base",
    ),
}
# Kinds that the literature compares with and that are refused here, with the reason.
REFUSED: Final[Mapping[str, str]] = {
    "citi": "CITI learns from one mixture of tool and general data in three phases. Its adapter holds routers, so it "
    "cannot be merged for a next task. Training it anew on all data so far is no sequence. Leave it out, and compare "
    "`multi_task` with a CITI run by itself"
}


def row_of(kind: str, protect: str = "") -> Kind:
    """Return the row of a kind, with its protection if it has one."""
    return PROTECTED[protect] if protect else KINDS[kind]


def settings_problems(kind: Kind, given: Mapping[Any, Any], where: str) -> list[str]:
    """Return a sentence for each setting that a kind does not take.

    Args:
        kind: of the method.
        given: its settings in the file.
        where: the method's name in the file.
    """
    problems = []
    for name, value in given.items():
        setting = kind.settings.get(name) if isinstance(name, str) else None
        if setting is None:
            known = ", ".join(kind.settings) or "none"
            problems.append(f"{where}.settings.{name} is unknown; kind: {kind.name} takes {known}")
        elif wrong := setting.problem(value):
            problems.append(f"{where}.settings.{name}={value!r}: {wrong}")
    return problems


def with_defaults(kind: Kind, given: Mapping[str, Any]) -> dict[str, float]:
    """Return all settings of a kind."""
    return {name: given.get(name, setting.default) for name, setting in kind.settings.items()}
