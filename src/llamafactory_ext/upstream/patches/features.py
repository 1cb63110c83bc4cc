"""What of ours works with the LLaMA-Factory that is loaded: a broken patch switches off only what needs it."""

from __future__ import annotations

import os
import sys
from enum import StrEnum

from ...errors import UpstreamError
from ...methods import listed, methods
from .compat import OLDEST, is_too_old, upstream_name, upstream_version

DOCTOR = "`llamafactory-ext doctor` tells more"
_OF_OTHER_CODE = (AttributeError, TypeError, NameError, KeyError)  # when one version's code meets another's
_told: list[str] = []
_ADAPTERS = listed(tuple(row.name for row in methods() if row.adapter))
_PHASED = listed(tuple(row.name for row in methods() if row.phased))


class Feature(StrEnum):
    """One thing that works or does not, by the words in which it is reported."""

    _ignore_ = "row"  # noqa: RUF100
    for row in methods():
        vars()[row.name.upper()] = row.shown
    OPTIONS = "reading of our options"
    MODELS = f"chat and api with {_ADAPTERS}"
    EXPORT = f"export of {_ADAPTERS} models"
    EVAL = "the parser of evaluation"
    TEMPLATES = "our templates"
    CHAT_TEMPLATE = "the chat template of exported models"
    FIGURES = "our figures in the training log"
    ERRORS = "one message for an error of several processes"
    BOARD = "our fields in LLaMA Board"
    DATA_TAB = "LLaMA Board's data tab"
    PROGRESS = f"LLaMA Board's progress of {_PHASED}"
    PREVIEW = "quotes in LLaMA Board's commands"
    CHOICES = "our methods in LLaMA Board's lists"
    ADDRESS = "LLaMA Board on this machine's address only"


TRAINING = tuple(Feature(row.shown) for row in methods())
OF_ADAPTERS = tuple(Feature(row.shown) for row in methods() if row.adapter)
METHODS = (*TRAINING, Feature.MODELS, Feature.EXPORT)
PAGE = (Feature.BOARD, Feature.DATA_TAB, Feature.PROGRESS, Feature.PREVIEW, Feature.CHOICES, Feature.ADDRESS)


def broken() -> dict[str, tuple[str, tuple[Feature, ...]]]:
    """Return what has changed too much, by the name of the upstream object: the problem, and what needs it."""
    from .table import PATCHES, USES

    found = {part.name: (part.problem(), part.needed_by) for part in (*PATCHES, *USES)}
    return {name: (problem, needed_by) for name, (problem, needed_by) in found.items() if problem}


def works(feature: Feature) -> bool:
    """Tell whether nothing that a feature needs is broken."""
    return all(feature not in needed_by for _, needed_by in broken().values())


def problems_of(*wanted: Feature) -> list[str]:
    """Return one sentence for each upstream object that a feature misses."""
    return [f"{name} {problem}" for name, (problem, needed_by) in broken().items() if set(wanted) & set(needed_by)]


def require(*wanted: Feature) -> None:
    """Refuse a run of ours whose method misses something; say once what else is off.

    Raises:
        UpstreamError: with what has changed, in which version, and the next step.
    """
    error = refusal(*wanted)
    if error is not None:
        raise error
    tell_what_is_off()


def refusal(*wanted: Feature) -> UpstreamError | None:
    """Return the error with which `require` ends a run, if it does."""
    what = " and ".join(dict.fromkeys(wanted))
    rest = f"Runs without our methods are untouched. {DOCTOR}; or install an unchanged LLaMA-Factory {OLDEST}."
    if wanted and is_too_old():
        return UpstreamError(f"{what} needs LLaMA-Factory {OLDEST} or newer; this is {upstream_name()}. {rest}")
    problems = problems_of(*wanted)
    if not problems:
        return None
    more = f", and {len(problems) - 3} more" if len(problems) > 3 else ""
    return UpstreamError(
        f"{what} does not work with {upstream_name()}: {'; '.join(problems[:3])}{more}. {rest}".replace("\n", " ")
    )


def refusal_of_parts(error: BaseException, *wanted: Feature) -> UpstreamError | None:
    """Return the error of a run of ours when modules of upstream do not fit together; None for any other error."""
    at = str(getattr(error, "name", "") or getattr(error, "filename", "") or "")
    what, text = " and ".join(wanted), (str(error).splitlines() or [""])[0]
    if isinstance(error, (ImportError, SyntaxError)) and "llamafactory" in at:
        return UpstreamError(
            f"{what} cannot start, as {upstream_name()} cannot be imported, with or without llamafactory_ext: {text}. "
            f"Are its files of two versions? Update the whole clone, or install it again; {DOCTOR}."
        )
    if not isinstance(error, _OF_OTHER_CODE) or not _raised_by_upstream(error):
        return None
    from . import seen

    mixed = seen.mixed(seen.loaded_fingerprints(), upstream_version())
    if not mixed:
        return None
    return UpstreamError(
        f"{what} cannot go on, as {upstream_name()} {mixed}; with or without llamafactory_ext: "
        f"{type(error).__name__}: {text}. Update the whole clone, or install it again; {DOCTOR}."
    )


def _raised_by_upstream(error: BaseException) -> bool:
    trace = error.__traceback__
    while trace is not None and trace.tb_next is not None:
        trace = trace.tb_next
    name = "" if trace is None else str(trace.tb_frame.f_globals.get("__name__"))
    return name.partition(".")[0] == "llamafactory"


def tell_what_is_off(*among: Feature) -> None:
    """Print one line about what is off although the run goes on, once in a process and on one rank."""
    from . import table

    off = dict.fromkeys(feature for _, needed_by in broken().values() for feature in needed_by)
    off = {feature: None for feature in off if not among or feature in among}
    lines = [f"off: {', '.join(off)}; everything else works"] if off else []
    if others := table.patched_by_others():
        lines.append(f"another package has replaced {', '.join(others)} as well")
    line = f"llamafactory_ext with {upstream_name()}: {'; '.join(lines)}. {DOCTOR}." if lines else ""
    if line and line not in _told:
        _told.append(line)
        if os.environ.get("RANK", "0") == "0":
            print(line, file=sys.stderr, flush=True)
