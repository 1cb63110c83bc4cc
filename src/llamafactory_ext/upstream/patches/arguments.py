"""The class that takes the place of upstream's FinetuningArguments: with our options, type `citi` and our stages.

"Lowering": upstream's own checks know four fine-tuning types and six stages. `__post_init__` shows them the nearest
ones, `lora` and `sft`; afterwards `finetuning_type` is "citi" again. `stage` stays "sft", which keeps packing, chat
and evaluation as they are, and `tl_stage` says which stage was asked for. Annotations stay real objects here (no
postponed evaluation), because HfArgumentParser resolves them in another module's namespace.
"""

from collections.abc import Iterator
from contextlib import contextmanager
from contextvars import ContextVar
from dataclasses import dataclass, field, fields
from difflib import get_close_matches
from functools import cache
from typing import Any, Literal, get_args, get_type_hints

from ...citi.conflicts import finetuning_conflicts
from ...citi.options import CitiArguments
from ...errors import OptionError, UpstreamError
from ...methods import GROUPS, normalise, option_names
from ...options.data import DataArguments
from ...options.groups import changed_options
from ...options.run import RunArguments
from ...options.stages import STAGES
from ...tl.conflicts import stage_conflicts
from ...tl.ppo.options import TlPpoArguments
from ...tl.sft.options import TlArguments
from .features import TRAINING, Feature, require, works

NEAREST_TYPE = "lora"
NEAREST_STAGE = "sft"
HEADING = "These options do not work:"
METHOD = "citi"
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
        *_mistyped("stage", args.stage, (*_choices(base, "stage"), *STAGES)),
        *_mistyped("finetuning_type", args.finetuning_type, (*_choices(base, "finetuning_type"), METHOD)),
    ]:
        return mistyped + problems
    ours = args.stage in STAGES or args.finetuning_type == METHOD
    ours = ours or any(changed_options(args, group.arguments) for group in GROUPS)
    for option in ("stage", "finetuning_type") if ours else ():
        known = (*_choices(base, option), *STAGES, METHOD)
        if getattr(args, option) not in known:
            return [f"{option}={getattr(args, option)} does not exist; take one of {', '.join(known)}", *problems]
    for group in GROUPS:
        problems += group.misplaced(args, getattr(args, group.option))
    if args.stage in STAGES:
        problems += stage_conflicts(args)
    if args.finetuning_type == METHOD:
        problems += finetuning_conflicts(args)
    return problems


@cache
def _choices(base: type, option: str) -> tuple[Any, ...]:
    """The values that upstream's own class offers for an option."""
    return get_args(get_type_hints(base)[option])


def _is_plain(args: Any, base: type) -> bool:
    """Whether nothing here is ours; upstream's class then does everything."""
    try:
        own = args.stage in _choices(base, "stage") and args.finetuning_type in _choices(base, "finetuning_type")
        return own and not any(changed_options(args, group.arguments) for group in GROUPS)
    except Exception:  # a run that is not ours must not notice
        return args.stage not in STAGES and args.finetuning_type != METHOD


def _mistyped(option: str, given: Any, known: tuple[Any, ...]) -> list[str]:
    """What to say about a value that is almost one of ours; all others are upstream's to judge."""
    close = [] if given in known else get_close_matches(str(given), known, n=1, cutoff=0.7)
    ours = (*STAGES, METHOD)
    return [f"{option}={given} does not exist; did you mean {close[0]}?"] if close and close[0] in ours else []


def extend_finetuning_arguments(base: type) -> type:
    """The class that replaces upstream's FinetuningArguments: its fields, ours, type `citi` and our stages.

    Args:
        base: upstream's dataclass; its `__post_init__` still makes every check it makes for `lora` and `sft`.

    Raises:
        UpstreamError: it has an option of one of our names.
    """
    if taken := {option.name for option in fields(base)} & set(option_names()):
        raise UpstreamError(f"it has options of our names: {', '.join(sorted(taken))}")
    upstreams = {option.name: option for option in fields(base)}
    stages = Literal[(*_choices(base, "stage"), *STAGES)]  # type: ignore[valid-type]
    types = Literal[(*_choices(base, "finetuning_type"), METHOD)]  # type: ignore[valid-type]

    @dataclass
    class FinetuningArguments(  # type: ignore[misc, valid-type]
        CitiArguments, TlArguments, TlPpoArguments, DataArguments, RunArguments, base
    ):
        """Upstream's fine-tuning options and ours."""

        stage: stages = field(  # type: ignore[valid-type]
            default=upstreams["stage"].default, metadata=upstreams["stage"].metadata
        )
        finetuning_type: types = field(  # type: ignore[valid-type]
            default=upstreams["finetuning_type"].default, metadata=upstreams["finetuning_type"].metadata
        )
        tl_stage: str | None = field(default=None, init=False)

        def __post_init__(self) -> None:
            if _is_plain(self, base):
                super().__post_init__()
                return
            named = [f"finetuning_type: {self.finetuning_type}", f"stage: {self.stage}"]
            if not works(Feature.OPTIONS):  # nothing before this could refuse a run of ours
                require(*(feature for feature in TRAINING if feature in named))
            problems = _problems(self, base)
            if problems:
                _report(problems)
                return
            if self.stage in STAGES:
                self.tl_stage, self.stage = self.stage, NEAREST_STAGE
            if self.finetuning_type == METHOD:
                self.finetuning_type = NEAREST_TYPE
                super().__post_init__()
                self.finetuning_type = METHOD
            else:
                super().__post_init__()

    # Pickle and error messages find the class where upstream's was.
    FinetuningArguments.__module__, FinetuningArguments.__qualname__ = base.__module__, base.__qualname__
    extended: type[Any] = FinetuningArguments
    return extended
