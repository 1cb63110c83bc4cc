"""The class that takes the place of upstream's FinetuningArguments: with our options, types and stages.

"Lowering": upstream's own checks know four fine-tuning types and six stages. `__post_init__` shows them the nearest
ones, which each method's row names; afterwards `finetuning_type` is ours again. `stage` stays "sft", which keeps
packing, chat and evaluation as they are; `tl_stage` says which stage was asked for. Annotations stay real objects here
(no postponed evaluation), because HfArgumentParser resolves them in another module's namespace.
"""

from collections.abc import Iterator
from contextlib import contextmanager
from contextvars import ContextVar
from dataclasses import dataclass, field, fields
from difflib import get_close_matches
from functools import cache
from typing import Any, Literal, get_args, get_type_hints

from ...errors import OptionError, UpstreamError
from ...methods import Kind, chosen, load, names, row_of
from ...options.groups import GROUPS, changed_options, normalise, option_names
from .features import TRAINING, Feature, require, works

HEADING = "These options do not work:"
ARGUMENTS = tuple(group.arguments for group in GROUPS)
OPTIONS: tuple[Kind, ...] = ("stage", "finetuning_type")
_collected: ContextVar[list[str] | None] = ContextVar("_collected", default=None)


@contextmanager
def collecting_problems() -> Iterator[list[str]]:
    """Let FinetuningArguments add its problems within to the yielded list, and not raise them."""
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
    """Return everything that is wrong within the fine-tuning options, before upstream looks at them."""
    problems = normalise(args)
    if mistyped := [line for option in OPTIONS for line in _mistyped(option, getattr(args, option), base)]:
        return mistyped + problems
    rows = chosen(args.finetuning_type, args.stage)
    ours = bool(rows) or any(changed_options(args, kind) for kind in ARGUMENTS)
    for option in OPTIONS if ours else ():
        known = (*_choices(base, option), *names("stage"), *names("finetuning_type"))
        if getattr(args, option) not in known:
            return [f"{option}={getattr(args, option)} does not exist; take one of {', '.join(known)}", *problems]
    for group in GROUPS:
        problems += group.misplaced(args, getattr(args, group.option))
    for row in reversed(rows):
        problems += load(row.check_options)(args) if row.check_options else []
    return problems


@cache
def _choices(base: type, option: str) -> tuple[Any, ...]:
    """Return the values that upstream's own class offers for an option."""
    return get_args(get_type_hints(base)[option])


def _is_plain(args: Any, base: type) -> bool:
    """Tell whether nothing here is ours; upstream's class then does everything."""
    try:
        own = all(getattr(args, option) in _choices(base, option) for option in OPTIONS)
        return own and not any(changed_options(args, kind) for kind in ARGUMENTS)
    except Exception:  # a run that is not ours must not notice
        return not chosen(args.finetuning_type, args.stage)


def _mistyped(option: Kind, given: Any, base: type) -> list[str]:
    """Say what a value was meant to be that is almost one of ours; all others are upstream's to judge."""
    known = (*_choices(base, option), *names(option))
    close = [] if given in known else get_close_matches(str(given), known, n=1, cutoff=0.7)
    ours = close and close[0] in names(option)
    return [f"{option}={given} does not exist; did you mean {close[0]}?"] if ours else []


def extend_finetuning_arguments(base: type) -> type:
    """Return the class that replaces upstream's FinetuningArguments: its fields and ours, our types and stages.

    Args:
        base: upstream's dataclass; its `__post_init__` still makes its checks, for the nearest type and stage.

    Raises:
        UpstreamError: it has an option of one of our names.
    """
    if taken := {option.name for option in fields(base)} & set(option_names()):
        raise UpstreamError(f"it has options of our names: {', '.join(sorted(taken))}")
    upstreams = {option.name: option for option in fields(base)}
    stages = Literal[(*_choices(base, "stage"), *names("stage"))]  # type: ignore[valid-type]
    types = Literal[(*_choices(base, "finetuning_type"), *names("finetuning_type"))]  # type: ignore[valid-type]

    @dataclass
    class FinetuningArguments(*ARGUMENTS, base):  # type: ignore[misc, valid-type]
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
            if stage := row_of(self.stage, "stage"):
                self.tl_stage, self.stage = stage.name, stage.nearest
            if kind := row_of(self.finetuning_type, "finetuning_type"):
                self.finetuning_type = kind.nearest
                super().__post_init__()
                self.finetuning_type = kind.name
            else:
                super().__post_init__()

    # Pickle and error messages find the class where upstream's was.
    FinetuningArguments.__module__, FinetuningArguments.__qualname__ = base.__module__, base.__qualname__
    extended: type[Any] = FinetuningArguments
    return extended
