"""What decides the data of the steps, and what was built."""

from __future__ import annotations

from dataclasses import dataclass, field
from pathlib import Path
from typing import Final

from ..errors import OptionError
from . import examples
from .compress_model import NEEDING_MODEL, check_installed, mark_of
from .prompts import FINALS
from .records import PARTS

COMPRESSORS: Final = ("extractive", "self_info", "tools", "llmlingua2")
ONE, MT_COT, STEP_BY_STEP = "one", "mt_cot", "step_by_step"


@dataclass(frozen=True, kw_only=True)
class Settings:
    """What decides the data of the steps.

    Attributes:
        shares: S_t of each step, 1 first and 0 last.
        shots: K, examples of the first step.
        examples: how they are chosen, one of `examples.CHOICES`.
        parts: of the knowledge that are used, of `records.PARTS`.
        compressor: one of `COMPRESSORS`.
        compressor_model: folder of the model that self_info and llmlingua2 ask.
        final: "question", or "reference" for the published code's last prompt.
        keep_share: share of the records that keep S = 1 in every step.
        drop_share: share of the records that are without knowledge in every step.
        rationales: whether targets are rationales, where records have them, or the answers alone.
        rows: of each record: `ONE`, or an answer and, apart from it, a rationale.
        retrieved: knowledge is what a search for the question finds in documents, not the record's own.
        seed: of all draws.
    """

    shares: tuple[float, ...]
    shots: int = 6
    examples: str = "similar"
    parts: tuple[str, ...] = PARTS
    compressor: str = "extractive"
    compressor_model: str = ""
    final: str = "question"
    keep_share: float = 0.0
    drop_share: float = 0.0
    rationales: bool = True
    rows: str = ONE
    retrieved: bool = False
    seed: int = 42


@dataclass
class Counts:
    """What was built.

    Attributes:
        records: all of them.
        without_knowledge: those that lack what the steps would take away, and the places of the first.
        shortened: records whose prompts lose more than the step takes, to fit, with their places.
    """

    records: int = 0
    without_knowledge: int = 0
    places: list[str] = field(default_factory=list)
    shortened: dict[str, None] = field(default_factory=dict)


def check_settings(settings: Settings) -> None:
    """Check what the types do not say.

    Raises:
        OptionError: an unknown name or a share outside of 0 to 1, all of them at once.
    """
    problems = [
        f"{option}={value!r}: choose one of {', '.join(choices)}"
        for option, value, choices in (
            ("skintern_compressor", settings.compressor, COMPRESSORS),
            ("skintern_examples", settings.examples, examples.CHOICES),
            ("skintern_final", settings.final, FINALS),
        )
        if value not in choices
    ]
    if unknown := [part for part in settings.parts if part not in PARTS]:
        problems.append(f"skintern_parts: {unknown[0]!r} is none of {', '.join(PARTS)}")
    if not settings.parts:
        problems.append(f"skintern_parts is empty; name some of {', '.join(PARTS)}")
    for option, number in (("skintern_shots", settings.shots), ("seed", settings.seed)):
        if isinstance(number, bool) or not isinstance(number, int) or number < 0:
            problems.append(f"{option}={number!r}: give a whole number of at least 0")
    share = settings.keep_share
    if isinstance(share, bool) or not isinstance(share, int | float) or not 0 <= share <= 1 - settings.drop_share:
        problems.append(f"skintern_keep_share={share!r}: give a share from 0 to 1")
    problems += _model_problems(settings)
    if problems:
        raise OptionError.listing("SKIntern's options do not fit:", problems)


def _model_problems(settings: Settings) -> list[str]:
    if settings.compressor not in NEEDING_MODEL:
        return (
            [f"skintern_compressor_model has no effect with skintern_compressor: {settings.compressor}; remove it"]
            if settings.compressor_model
            else []
        )
    try:
        if settings.compressor == "llmlingua2":
            check_installed()
            if not settings.compressor_model:
                return ["skintern_compressor: llmlingua2 needs skintern_compressor_model, the folder of its weights"]
        if settings.compressor_model:
            mark_of(Path(settings.compressor_model))
    except OptionError as error:
        return [error.message.rstrip(".")]
    return []
