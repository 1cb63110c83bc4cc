"""The options that all our methods share about how a run speaks.

Annotations stay real objects here (no postponed evaluation): HfArgumentParser resolves them in another namespace.
"""

from collections.abc import Mapping
from dataclasses import dataclass, field
from typing import Final

from ..methods import titles
from .values import Number, Rule, rules_of

_TYPES: Final = titles("finetuning_type")


@dataclass
class RunArguments:
    """Options of every method about its log, and about an estimate in the place of a run."""

    dry_run: bool = field(
        default=False,
        metadata={
            "help": f"TL: train nothing, with {_TYPES} too: say what would be trained, kept, cut and left out, "
            "and estimate memory, time and disk. Measured in a few steps where the model fits, else computed from its "
            "configuration."
        },
    )
    dry_run_gpus: int = field(
        default=0,
        metadata={
            "help": "TL: with dry_run, estimate for so many GPUs from the model's configuration alone, with the "
            "engine that fsdp or deepspeed names; no weights are read. 0: this machine."
        },
    )
    verbose: bool = field(
        default=False,
        metadata={
            "help": "TL: the log has everything that LLaMA-Factory and transformers say, the model's configuration at "
            "each load included; without it, our methods' runs leave that out."
        },
    )


RULES: Final[Mapping[str, Rule]] = rules_of(
    RunArguments,
    dry_run_gpus=Number(0, whole=True),
)
