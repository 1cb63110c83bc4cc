"""The options about data that all methods share: declarations, defaults, and which values they take.

Annotations stay real objects here (no postponed evaluation): HfArgumentParser resolves them in another namespace.
"""

from collections.abc import Mapping
from dataclasses import dataclass, field
from typing import Final, Literal

from ..methods import titles
from .values import Rule, rules_of

_TYPES: Final = titles("finetuning_type")


@dataclass
class DataArguments:
    """Options of every method about the examples that it trains on."""

    cutoff_action: Literal["keep", "drop", "error"] = field(
        default="keep",
        metadata={
            "help": f"TL: what becomes of examples longer than cutoff_len, with {_TYPES} too: trained on what is "
            "left, left out, or an error. TL-PPO cuts no prompt: what is left of a dialogue are the calls that fit."
        },
    )
    record_check: Literal["warn", "error"] = field(
        default="warn",
        metadata={
            "help": "TL: what happens where the text that the template makes of a record says something else than the "
            f"record, with {_TYPES} too: counted and reported, or an error."
        },
    )


RULES: Final[Mapping[str, Rule]] = rules_of(DataArguments)
