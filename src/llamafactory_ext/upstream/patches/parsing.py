"""Wrappers around upstream's argument parser: every problem in one message, our types treated as the nearest.

Upstream's parser compares `finetuning_type` with "lora" in many places (adapters, quantization, label names, DDP).
While it runs, a command of one of our types shows it the nearest of its own; the options it hands out say ours again.
Our stages are `sft` to it, from the options' class on (`arguments.py`).
"""

import functools
from argparse import ArgumentError
from collections.abc import Callable, Iterable, Sequence
from importlib import import_module
from typing import Any

from ...errors import OptionError
from ...methods import row_of
from ...options.attention import attention_remarks
from ...options.command_file import checks_asked
from ...options.fates.conditions import resume_remarks
from ...options.fates.declared import declared_rules
from ...options.fates.judge import (
    defaults_of,
    normal_names,
    passed_over,
    read_values,
    refusals,
    unknown,
    wrong_values,
)
from ...options.groups import RULES, looks_like_ours
from ...options.run import RunArguments
from ...options.values import check_values
from .arguments import HEADING, collecting_problems
from .checking import conflicts, explained, foreign_template, named_by_trial, trains
from .command import RawArgs, bare_problem, given_options, requested, rewritten, without
from .features import Feature, require
from .other_gpus import ENGINE, for_other_gpus
from .patch import Arguments

Function = Callable[..., Any]
_LOWERED = "ext_lowered"  # an attribute: the type of ours that upstream is not shown
# What upstream ends a command with that it cannot understand; a missing package is an ImportError.
FAILURES = (
    ValueError,
    TypeError,
    AssertionError,
    OSError,
    ImportError,
    LookupError,
    AttributeError,
    NotImplementedError,
)


def is_ours(call: Arguments) -> bool:
    """Tell whether a command names a method or an option of ours."""
    args = _read(call["args"])
    return bool(_own_options(args, call["parser"].dataclass_types)) or bool(requested(args)) or checks_asked()


def names_a_method(call: Arguments) -> bool:
    """Tell whether a command asks for a method of ours, or is to be checked as one."""
    args = _read(call["args"])
    return bool(requested(args)) or checks_asked()


def features_of(args: RawArgs, *, trains: bool) -> tuple[Feature, ...]:
    """Return what of ours a command needs."""
    rows = requested(args)
    if not trains:
        return (Feature.MODELS,) if rows else ()
    return tuple(Feature(row.shown) for row in rows)


def _read(args: RawArgs) -> RawArgs:
    from llamafactory.hparams.parser import read_args

    return read_args(args)


def _own_options(args: RawArgs, kinds: Iterable[type]) -> dict[str, Any]:
    known = defaults_of(kinds)
    return {name: value for name, value in given_options(args).items() if looks_like_ours(name, known)}


def wrap_parse_args(original: Function) -> Function:
    """Wrap `_parse_args`: unknown names of ours, wrong values and conflicts end in one OptionError."""

    @functools.wraps(original)
    def parse_args(parser: Any, args: RawArgs = None, *more: Any, **named: Any) -> Any:
        args = _read(args)
        kinds = parser.dataclass_types
        if not any(hasattr(kind, "finetuning_type") for kind in kinds):  # such as Ray's own options
            return original(parser, args, *more, **named)
        if wanted := features_of(args, trains=any(hasattr(kind, "output_dir") for kind in kinds)):
            require(*wanted)
        if not any(issubclass(kind, RunArguments) for kind in kinds):
            require(Feature.OPTIONS)  # options of ours without the class that has them: its patch is broken
        raw = _own_options(args, kinds)
        valid, problems = check_values(raw, RULES)
        defaults = defaults_of(kinds)
        plain = normal_names(given_options(args), defaults)
        args, engine = for_other_gpus(args, plain)
        plain = normal_names(given_options(args), defaults)
        declared = {name: rule for name, rule in declared_rules(kinds).items() if name not in RULES}
        if wanted or checks_asked():
            args = rewritten(args, read_values(plain, defaults, declared))
            plain = normal_names(given_options(args), defaults)
        faults = wrong_values(plain, defaults, declared) | refusals(plain, defaults, trains=trains(plain))
        problems += faults.values()
        dropped = {*(raw.keys() - valid.keys()), *faults, *(f"no_{name}" for name in faults)}
        with collecting_problems() as collected:
            try:
                parsed = original(parser, without(args, dropped), *more, **named)
            except FAILURES as error:
                said = explained(error, plain, defaults)
                if not any(name in line for line in said for name in plain):
                    kept = without(args, dropped)
                    said = named_by_trial(said, plain, lambda name: original(parser, without(kept, {name})))
                said = [line for line in said if not _is_of(faults, line)]
                raise OptionError.listing(HEADING, [*problems, *collected, *said]) from error
        problems += collected
        problems += [line for line in conflicts(args, plain, parsed) if not _is_of(faults, line)]
        if problems:
            raise OptionError.listing(HEADING, problems)
        if engine is not None:
            setattr(next(group for group in parsed if isinstance(group, RunArguments)), ENGINE, engine)
        return parsed

    return parse_args


def _is_of(faults: Iterable[str], line: str) -> bool:
    """Tell whether a sentence misses an option that was given, and dropped for its value."""
    return any(line.startswith((f"{name} is missing", f"Please provide `{name}`")) for name in faults)


def wrap_parse_group(original: Function) -> Function:
    """Wrap `_parse_train_args` and its likes: what follows in upstream's parser sees the nearest type."""

    @functools.wraps(original)
    def parse_group(*args: Any, **named: Any) -> Any:
        try:
            parsed = original(*args, **named)
        except ArgumentError as error:
            if not _withdraw_options(str(error)):
                raise
            parsed = original(*args, **named)
        for group in parsed if isinstance(parsed, tuple) else ():
            if isinstance(group, RunArguments) and (row := row_of(group.finetuning_type)):  # type: ignore[attr-defined]
                group.finetuning_type = row.nearest  # type: ignore[attr-defined]
                setattr(group, _LOWERED, row.name)
        return parsed

    return parse_group


def wrap_get_args(original: Function) -> Function:
    """Wrap `get_train_args` and its likes: hand out our type again, and leave resuming to our workflows."""

    @functools.wraps(original)
    def get_args(args: RawArgs = None, *more: Any, **named: Any) -> Any:
        args = _read(args)
        if requested(args) and (bare := bare_problem(args)) is not None:
            raise OptionError.listing(HEADING, [bare])
        trains = original.__name__ == "get_train_args"
        require(*features_of(args, trains=trains))
        if trains and args is not None:
            from ..pipeline.speaking import let_main_speak

            args = let_main_speak(args)
        try:
            groups = original(args, *more, **named)
        except FAILURES as error:
            raise OptionError.listing(HEADING, explained(error, given_options(args), {})) from error
        if not requested(args):
            return groups
        if trains:
            speak_less(groups)  # before anything is loaded to look at
        else:
            _warn_template(groups)
        for group in groups:
            if name := getattr(group, _LOWERED, None):
                group.finetuning_type = name
                delattr(group, _LOWERED)
            if getattr(group, "do_train", False):
                group.resume_from_checkpoint = _named_checkpoint(args)
                _settle(groups[0], group)
                _warn(args, groups)
                _warn_attention(groups)
        if trains:
            _say_settings(groups)
        return groups

    return get_args


def _settle(model: Any, training: Any) -> None:
    """Give each option that two libraries have to the one whose time is right.

    LLaMA-Factory's loader sets up recomputation and Liger's kernels, before our methods look at the model. Its `fp8`
    asks accelerate by a variable that transformers has read by then; only Transformer Engine gets a patch of its own.
    """
    for name in ("gradient_checkpointing", "activation_checkpointing"):  # one option by two names
        if hasattr(training, name):
            setattr(training, name, False)
    if training.use_liger_kernel:
        model.enable_liger_kernel, training.use_liger_kernel = True, False
    if training.fp8 and training.fp8_backend != "te":
        training.mixed_precision = "fp8"


def speak_less(groups: Sequence[Any]) -> None:
    """Leave out of the log what transformers says at each load, unless the command asks for it."""
    from transformers.utils import logging as transformers_logging

    finetuning = next(group for group in groups if isinstance(group, RunArguments))
    training = next(group for group in groups if hasattr(group, "output_dir"))
    if not finetuning.verbose and training.log_level == "passive":
        from ..pipeline.speaking import leave_out_stale

        transformers_logging.set_verbosity_warning()
        leave_out_stale()


def _say_settings(groups: Sequence[Any]) -> None:
    from llamafactory.extras import logging

    from ..pipeline.speaking import settings_line

    logging.get_logger("llamafactory.ext").info_rank0(settings_line(*groups[:4]))  # whose handler prints it


def _withdraw_options(problem: str) -> bool:
    """Give upstream's own class back to its parser, as another of its groups has an option of one of our names."""
    from .patch import failures, originals, replacements

    parser = import_module("llamafactory.hparams.parser")
    name = "llamafactory.hparams.finetuning_args.FinetuningArguments"
    ours, base, found = replacements.get(name), originals.get(name), False
    for groups in vars(parser).values():
        if ours is not None and isinstance(groups, list) and ours in groups:
            groups[groups.index(ours)], found = base, True
    if found:
        failures[name] = f"cannot be replaced, as an option of ours has a namesake ({problem})"
    return found


def _named_checkpoint(args: RawArgs) -> str | None:
    """Return the checkpoint a command names; `true` is none, as our workflows go on from the newest by themselves.

    `false` is none too: the parser made sure that there is nothing to go on from.
    """
    name = given_options(args).get("resume_from_checkpoint")
    return None if name is None or str(name).lower() in ("true", "false", "none", "null", "") else str(name)


def _warn(args: RawArgs, groups: Sequence[Any]) -> None:
    """Say which options have no effect, and which are not known here."""
    from llamafactory.extras import logging

    defaults = defaults_of(type(group) for group in groups)
    given = normal_names(given_options(args), defaults)
    given |= read_values(given, defaults)
    newer = unknown({name: value for name, value in given.items() if name not in RULES}, defaults)
    strange = foreign_template(*groups[:2])
    folder = next((group.output_dir for group in groups if hasattr(group, "output_dir")), "")
    others = [line for line in (newer, strange) if line]
    for line in [*passed_over(given, defaults), *others, *resume_remarks(given, folder)]:
        logging.get_logger(__name__).warning_rank0(line)


def _warn_template(groups: Sequence[Any]) -> None:
    """Say where a model is asked with another template than it was trained with."""
    from llamafactory.extras import logging

    from ..pipeline.trained_with import template_remark

    model, data = groups[:2]
    remark = template_remark(model.adapter_name_or_path or model.model_name_or_path, data.template)
    if remark is not None:
        logging.get_logger(__name__).warning_rank0(remark)


def _warn_attention(groups: Sequence[Any]) -> None:
    from llamafactory.extras import logging

    markers = ("flash_attn", "cutoff_len", "output_dir")
    parts = [next(group for group in groups if hasattr(group, marker)) for marker in markers]
    for line in attention_remarks(*parts):
        logging.get_logger(__name__).warning_rank0(line)
