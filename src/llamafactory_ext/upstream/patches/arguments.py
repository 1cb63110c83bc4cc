"""The class that takes the place of upstream's FinetuningArguments: with our options, type `citi` and our stages.

"Lowering": upstream's own checks know four fine-tuning types and six stages. `__post_init__` shows them the nearest
ones, `lora` and `sft`; afterwards `finetuning_type` is "citi" again. `stage` stays "sft", which keeps packing, chat
and evaluation as they are, and `tl_stage` says which stage was asked for. Annotations stay real objects here (no
postponed evaluation), because HfArgumentParser resolves them in another module's namespace.
"""

from collections.abc import Iterator
from contextlib import contextmanager
from contextvars import ContextVar
from dataclasses import dataclass, field
from difflib import get_close_matches
from typing import Any, Literal, get_args

from ...citi.conflicts import finetuning_conflicts
from ...citi.options import CitiArguments
from ...errors import OptionError
from ...methods import GROUPS, normalise
from ...options.data import DataArguments
from ...options.stages import STAGES
from ...tl.conflicts import stage_conflicts
from ...tl.ppo.options import TlPpoArguments
from ...tl.sft.options import TlArguments

NEAREST_TYPE = "lora"
NEAREST_STAGE = "sft"
HEADING = "These options do not work:"
_Stage = Literal["pt", "sft", "rm", "ppo", "dpo", "kto", "tl_sft", "tl_ppo"]
_Type = Literal["lora", "oft", "freeze", "full", "citi"]
_collected: ContextVar[list[str] | None] = ContextVar("_collected", default=None)


@contextmanager
def collecting_problems() -> Iterator[list[str]]:
    """Within this context FinetuningArguments adds its problems to the yielded list and does not raise them."""
    problems: list[str] = []
    token = _collected.set(problems)
    try:
        yield problems
    finally:
        _collected.reset(token)


def _report(problems: list[str]) -> None:
    collected = _collected.get()
    if collected is None:
        raise OptionError.listing(HEADING, problems)
    collected.extend(problems)


def _problems(args: Any, base: type) -> list[str]:
    """Everything that is wrong within the fine-tuning options, before upstream looks at them."""
    problems = normalise(args)
    if mistyped := [
        *_mistyped("stage", args.stage, _Stage),
        *_mistyped("finetuning_type", args.finetuning_type, _Type),
    ]:
        return mistyped + problems
    for group in GROUPS:
        problems += group.misplaced(args, getattr(args, group.option))
    if args.stage in STAGES:
        problems += stage_conflicts(args)
    if args.finetuning_type == "citi":
        problems += finetuning_conflicts(args, base)
    return problems


def _mistyped(option: str, given: Any, values: Any) -> list[str]:
    """What to say about a value that is almost one of ours; all others are upstream's to judge."""
    known = get_args(values)
    close = [] if given in known else get_close_matches(str(given), known, n=1, cutoff=0.7)
    ours = (*STAGES, "citi")
    return [f"{option}={given} does not exist; did you mean {close[0]}?"] if close and close[0] in ours else []


def extend_finetuning_arguments(base: type) -> type:
    """The class that replaces upstream's FinetuningArguments: its fields, ours, type `citi` and our stages.

    Args:
        base: upstream's dataclass; its `__post_init__` still makes every check it makes for `lora` and `sft`.
    """

    @dataclass
    class FinetuningArguments(CitiArguments, TlArguments, TlPpoArguments, DataArguments, base):  # type: ignore[misc, valid-type]
        """Upstream's fine-tuning options and ours."""

        stage: _Stage = field(default="sft", metadata={"help": "Which stage will be performed in training."})
        finetuning_type: _Type = field(default="lora", metadata={"help": "Which fine-tuning method to use."})
        tl_stage: str | None = field(default=None, init=False)

        def __post_init__(self) -> None:
            problems = _problems(self, base)
            if problems:
                _report(problems)
                return
            if self.stage in STAGES:
                self.tl_stage, self.stage = self.stage, NEAREST_STAGE  # type: ignore[assignment]
            if self.finetuning_type == "citi":
                self.finetuning_type = NEAREST_TYPE  # type: ignore[assignment]
                super().__post_init__()
                self.finetuning_type = "citi"
            else:
                super().__post_init__()

    # Pickle and error messages find the class where upstream's was.
    FinetuningArguments.__module__, FinetuningArguments.__qualname__ = base.__module__, base.__qualname__
    extended: type[Any] = FinetuningArguments
    return extended
